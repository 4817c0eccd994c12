#!/usr/bin/env bash
# On a machine with a GPU, nvcc, cmake, Python with torch 2.11, and no network: builds Lockstep for
# the GPU, runs the tests that need one, then the benchmark with PyTorch as the peer in the same run.
# prepare.sh gathers what it needs elsewhere; the table is printed and lies in .gpu/result.md.
# Arguments go to the benchmark, such as --rows gpt2,resnet50 (see bench.py); all of it takes at most
# 8 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly PLACE=$PWD/.gpu
readonly ROOT=$PLACE/root
readonly BUILD=$PLACE/build
readonly LIBRARIES=$ROOT/usr/lib/x86_64-linux-gnu
readonly BUILD_DEADLINE=300 TEST_DEADLINE=90
# Of all of it; the benchmark gets what building and tests leave, and no more than it needs.
readonly DEADLINE=480 BENCH_MOST=200 BENCH_END=20

fail() {
  echo "run: $*" >&2
  exit 4
}

for program in nvcc cmake python3 dpkg; do
  command -v "$program" >/dev/null || PATH=$PATH:/usr/local/cuda/bin
  command -v "$program" >/dev/null || fail "$program is not on the PATH"
done
[ -d "$PLACE/packages" ] || fail "$PLACE/packages is not there; run tests/gpu/prepare.sh and carry .gpu"
torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))') ||
  fail "python3 has no torch"

if [ ! -e "$ROOT/.done" ]; then
  for package in "$PLACE"/packages/*.deb; do dpkg -x "$package" "$ROOT"; done
  touch "$ROOT/.done"
fi
export PATH=$ROOT/usr/bin:$PATH
export LD_LIBRARY_PATH=$LIBRARIES:$LIBRARIES/hdf5/serial:$LIBRARIES/openmpi/lib:${LD_LIBRARY_PATH:-}
export PKG_CONFIG_PATH=$LIBRARIES/pkgconfig:$ROOT/usr/share/pkgconfig
export PKG_CONFIG_SYSROOT_DIR=$ROOT
# Open MPI was built for /usr.
export OPAL_PREFIX=$ROOT/usr
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ -n "$architecture" ] || fail "nvidia-smi names no GPU"
configure=(cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release
  -DCMAKE_PREFIX_PATH="$ROOT/usr" -DLOCKSTEP_TORCH_ROOT="$torch"
  -DCMAKE_LIBRARY_ARCHITECTURE=x86_64-linux-gnu -DCMAKE_CUDA_ARCHITECTURES="$architecture"
  -DMPI_C_COMPILER="$ROOT/usr/bin/mpicc.openmpi")
"${configure[@]}" >"$PLACE/configure.log" 2>&1 ||
  { tail -n 30 "$PLACE/configure.log" >&2; fail "configuring failed"; }
timeout "$BUILD_DEADLINE" cmake --build "$BUILD" --target lockstep lockstep-worker lockstep_gpu \
  lockstep_gpu_test lockstep_gpu_training_test lockstep_comm_cuda_test >"$PLACE/build.log" 2>&1 ||
  { tail -n 40 "$PLACE/build.log" >&2; fail "building failed"; }

code=0
for test in lockstep_gpu_test lockstep_gpu_training_test; do
  timeout "$TEST_DEADLINE" "$BUILD/bin/$test" --gtest_brief=1 || code=1
done
left=$((DEADLINE - SECONDS - BENCH_END))
left=$((left < BENCH_MOST ? left : BENCH_MOST))
echo "run: built and tested after $SECONDS s, $left s for the benchmark"
timeout "$((left + BENCH_END))" python3 tests/gpu/bench.py --binaries "$BUILD/bin" \
  --output "$PLACE/result.md" --seconds "$left" "$@" || code=1
[ ! -e "$PLACE/result.md" ] || cat "$PLACE/result.md"
exit "$code"
