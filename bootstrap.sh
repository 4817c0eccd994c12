#!/usr/bin/env bash
# From a fresh Debian 12 machine to a built, tested or demonstrated Lockstep: see usage() below.
# Every step looks first whether it is done already, so a second call starts at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly TORCH_REQUIREMENT="torch==2.11.0"
readonly ARROW_REQUIREMENT="pyarrow==26.0.1"
readonly PYTHON=/usr/bin/python3
readonly VENV=.deps/venv
readonly PEERS=.deps/peers
readonly PEERS_REQUIREMENT="h5py==3.16.0"
readonly LOGS=.deps/log
readonly DEMO_KILL_STEP=220
readonly APT_DEADLINE=30m
readonly PIP_DEADLINE=60m
readonly EXIT_FAILED=1
readonly EXIT_USAGE=2
readonly EXIT_ENVIRONMENT=4

readonly PACKAGES=(
  ca-certificates git g++ cmake ninja-build ccache mold pkg-config
  libhdf5-dev libfyaml-dev libcli11-dev nlohmann-json3-dev libfmt-dev libxxhash-dev libssl-dev
  zlib1g-dev libdeflate-dev libzstd-dev liblz4-dev libblosc-dev
  libcsv-dev libzip-dev libpng-dev libturbojpeg0-dev libhwloc-dev
  libgtest-dev libgmock-dev librapidcheck-dev
  dataset-fashion-mnist python3 python3-venv python3-h5py
  hdf5-plugin-lzf liblzf1 hdf5-filter-plugin hdf5-filter-plugin-blosc-serial
)
readonly MPI_PACKAGES=(openmpi-bin libopenmpi-dev)
# Daemons that one test starts, as root; nobody wants them on a machine that only trains.
readonly TEST_PACKAGES=(iproute2 munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins)

usage() {
  cat <<'END'
usage: ./bootstrap.sh build|test|demo|bench|soak

  build   install what is missing, fetch LibTorch into .deps/, configure and build into build/bin/
  test    build, then run every test
  demo    build, then train a small convolutional net on Fashion-MNIST with 2 ranks, one of which is
          killed on the way
  bench   build, then measure Lockstep against its peers (further arguments go to the benchmark)
  soak    build, then disturb runs at random for MINUTES (10) and compare the states they end with;
          a second argument is the seed that decides what is done

environment
  LOCKSTEP_TORCH_ROOT   a LibTorch 2.11 or newer to use instead of the one from PyPI
  CMAKE_PREFIX_PATH     searched for such a LibTorch too
  LOCKSTEP_JOBS         compilers at a time (default: what cores and memory allow)
An mpicc outside /usr/bin that comes first in PATH is used instead of Debian's Open MPI.
END
}

# fail CODE MESSAGE: MESSAGE says the problem, why it is one, and what to do.
fail() {
  echo "bootstrap: $2" >&2
  exit "$1"
}

seconds_since() { # seconds_since START, both in microseconds as EPOCHREALTIME gives them
  local elapsed=$((${EPOCHREALTIME/[.,]/} - $1))
  printf '%d.%ds\n' $((elapsed / 1000000)) $((elapsed / 100000 % 10))
}

ticker_pid=
stop_ticker() {
  [ -z "$ticker_pid" ] || kill "$ticker_pid" 2>/dev/null || true
  ticker_pid=
}
trap stop_ticker EXIT

# Prints the newest line of a log every half minute, so that a long step is never silent.
start_ticker() { # start_ticker LOG
  (
    # A read that times out waits without a child process that would outlive this one.
    exec 3<> <(:)
    while true; do
      read -rt 30 -u 3 || true
      printf '\n           %s ' "$(tail -n 1 "$1" | tr -d '\r' | cut -c 1-88)"
    done
  ) &
  ticker_pid=$!
}

# step LABEL TEXT COMMAND...: runs it with its output in the log; a line with the time when done,
# the log's end when it failed.
step() {
  local label=$1 text=$2 log=$LOGS/$1.log start=${EPOCHREALTIME/[.,]/} code=0 blame
  shift 2
  mkdir -p "$LOGS"
  printf '%-10s %s ... ' "$label" "$text"
  : >"$log"
  start_ticker "$log"
  "$@" >"$log" 2>&1 </dev/null || code=$?
  stop_ticker
  if [ "$code" -ne 0 ]; then
    echo "failed"
    tail -n 30 "$log" >&2
    case $label in
      build | import) blame=$EXIT_FAILED ;;
      *) blame=$EXIT_ENVIRONMENT ;;
    esac
    [ "$code" -ne 124 ] || echo "bootstrap: step '$label' reached its deadline" >&2
    fail "$blame" "step '$label' failed (exit $code; the end of '$log' is above);\
 mend the cause and run the same command again: finished steps are not repeated"
  fi
  seconds_since "$start"
}

# The packages that are not installed, of the lists and of those named besides.
missing_packages() { # missing_packages [PACKAGE...]
  local wanted=("${PACKAGES[@]}" "$@") installed package mpi
  mpi=$(command -v mpicc || true)
  if [ -z "$mpi" ] || [ "$mpi" = /usr/bin/mpicc ]; then wanted+=("${MPI_PACKAGES[@]}"); fi
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
    sed -n 's/^installed //p' || true)
  for package in "${wanted[@]}"; do
    grep -qxF "$package" <<<"$installed" || echo "$package"
  done
}

install_packages() { # install_packages [PACKAGE...]
  local -a missing rights=()
  if ! command -v dpkg-query >/dev/null; then
    echo "packages   not a Debian system, so these are yours to provide:"
    echo "           ${PACKAGES[*]} ${MPI_PACKAGES[*]}"
    return
  fi
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0

  if [ "$(id -u)" -ne 0 ]; then
    # With a terminal sudo may ask for the password; without one it must not wait for it.
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
      rights=(sudo)
    else
      cat >&2 <<END
bootstrap: Debian packages are missing and this account may not install them; hand these two lines
to an administrator, then run the same command again:

  apt-get update
  apt-get install --no-install-recommends -y ${missing[*]}

END
      exit "$EXIT_ENVIRONMENT"
    fi
  fi
  local -a apt=(${rights[@]+"${rights[@]}"} env DEBIAN_FRONTEND=noninteractive
    timeout "$APT_DEADLINE" apt-get -q -o Acquire::Retries=3 -o Acquire::http::Timeout=60
    -o DPkg::Lock::Timeout=300)
  step apt-update "reading the package lists" "${apt[@]}" update
  step packages "installing ${#missing[@]} Debian packages" \
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

# A LibTorch that the user brings: the folder with include/ and lib/, or nothing.
own_torch() {
  local -a prefixes
  local prefix
  if [ -n "${LOCKSTEP_TORCH_ROOT:-}" ]; then
    echo "$LOCKSTEP_TORCH_ROOT"
    return
  fi
  IFS=':;' read -ra prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  for prefix in ${prefixes[@]+"${prefixes[@]}"}; do
    if [ -f "$prefix/include/torch/csrc/api/include/torch/torch.h" ]; then
      echo "$prefix"
      return
    fi
  done
}

fetch_venv() {
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV"
  "$VENV/bin/python" -m pip install --no-input --progress-bar off --retries 5 --timeout 60 \
    "$TORCH_REQUIREMENT" "$ARROW_REQUIREMENT" numpy safetensors
  "$VENV/bin/python" -m pip check
}
export -f fetch_venv
export VENV PYTHON TORCH_REQUIREMENT ARROW_REQUIREMENT

fetch_torch() {
  local stamp=$VENV/complete wanted
  # Only a finished download has the stamp: anything else is fetched anew (pip keeps whole files).
  wanted="$TORCH_REQUIREMENT $ARROW_REQUIREMENT numpy safetensors"
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  step torch "fetching $TORCH_REQUIREMENT from PyPI (about 3 GB)" \
    timeout "$PIP_DEADLINE" bash -euc fetch_venv
  echo "$wanted" >"$stamp"
}

# What only the benchmark's peers need, apart from what the build and the tests use.
fetch_peers() {
  [ "$(cat "$PEERS/complete" 2>/dev/null)" != "$PEERS_REQUIREMENT" ] || return 0
  rm -rf "$PEERS"
  step peers "fetching $PEERS_REQUIREMENT from PyPI" timeout "$PIP_DEADLINE" \
    "$VENV/bin/python" -m pip install --no-input --progress-bar off --retries 5 --timeout 60 \
    --no-deps --target "$PEERS" "$PEERS_REQUIREMENT"
  echo "$PEERS_REQUIREMENT" >"$PEERS/complete"
}

# Compilers at a time: a source that includes torch takes 1.4 GB.
job_count() {
  local available_kb limit cores jobs
  if [ -n "${LOCKSTEP_JOBS:-}" ]; then
    echo "$LOCKSTEP_JOBS"
    return
  fi
  available_kb=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)
  if [[ $limit =~ ^[0-9]+$ ]] && [ $((limit / 1024)) -lt "$available_kb" ]; then
    available_kb=$((limit / 1024))
  fi
  cores=$(nproc)
  jobs=$((available_kb / 1600000))
  if [ "$jobs" -gt "$cores" ]; then jobs=$cores; fi
  if [ "$jobs" -lt 1 ]; then jobs=1; fi
  echo "$jobs"
}

build() { # build [PACKAGE...]: what is to be installed besides
  local torch settings jobs
  install_packages "$@"
  torch=$(own_torch)
  if [ -n "$torch" ]; then
    echo "torch      using $torch"
  else
    fetch_torch
  fi

  # Ninja configures again when a CMakeLists.txt changes; this is for what it cannot see.
  settings="in $PWD with torch '$torch', arrow '$(echo "$VENV"/lib/python3*/site-packages/pyarrow)',\
 mpicc '$(command -v mpicc || true)', slurmctld '$(command -v slurmctld || true)'"
  if [ ! -f build/build.ninja ] || [ "$(cat build/configured 2>/dev/null)" != "$settings" ]; then
    step configure "configuring build/" cmake --preset release --fresh \
      -DLOCKSTEP_TORCH_ROOT="$torch" -DLOCKSTEP_BUILD_TRAINER=ON -DLOCKSTEP_BUILD_TESTS=ON
    echo "$settings" >build/configured
  fi
  jobs=$(job_count)
  step build "compiling, $jobs at a time" ninja -C build -j "$jobs"
}

run_tests() {
  echo "test       ctest --preset release"
  ctest --preset release --parallel "$(nproc)" "$@" </dev/null
}

import_split() { # import_split PREFIX OUTPUT
  local folder
  [ ! -f "$2" ] || return 0
  folder=$(dpkg -L dataset-fashion-mnist | sed -n 's,/train-images-idx3-ubyte.gz$,,p')
  [ -n "$folder" ] || fail "$EXIT_ENVIRONMENT" "the package 'dataset-fashion-mnist' holds no\
 training images (another version of it?); look at 'dpkg -L dataset-fashion-mnist'"
  step import "writing $2" build/bin/lockstep data import idx "$folder/$1-images-idx3-ubyte.gz" \
    "$folder/$1-labels-idx1-ubyte.gz" --output "$2"
}

demo() {
  mkdir -p demo
  import_split train demo/fashion-train.h5
  import_split t10k demo/fashion-test.h5
  # Three of the file's twenty epochs: minutes, not an hour. Overrides given here replace this.
  [ $# -gt 0 ] || set -- train.epochs=3
  # A power cut in small: nothing warns the rank, and nobody helps the run up again.
  if [ -z "${LOCKSTEP_FAULT+set}" ]; then
    echo "demo       after $DEMO_KILL_STEP steps rank 1 is killed (kill -9); watch the run go on by itself"
    export LOCKSTEP_FAULT="kill rank=1 phase=step step=$DEMO_KILL_STEP"
  fi
  exec build/bin/lockstep train configs/examples/fashion_mnist_tuned.yaml --ranks 2 \
    data.train=demo/fashion-train.h5 data.test=demo/fashion-test.h5 run.directory=demo/runs "$@"
}

main() {
  local command=${1:-}
  [ $# -eq 0 ] || shift
  case $command in
    build)
      build
      echo "the binaries are in build/bin/"
      ;;
    test)
      if [ "$(id -u)" -eq 0 ]; then build "${TEST_PACKAGES[@]}"; else build; fi
      run_tests "$@"
      ;;
    demo)
      build
      demo "$@"
      ;;
    bench)
      build
      fetch_torch
      fetch_peers
      PYTHONPATH=$PWD/$PEERS exec "$VENV/bin/python" tests/bench/run_bench.py "$@"
      ;;
    soak)
      build
      LOCKSTEP_BIN=$PWD/build/bin PYTHONPATH=$PWD/tests/integration exec "$PYTHON" \
        tests/drills/soak.py "$@"
      ;;
    -h | --help | help) usage ;;
    *)
      usage >&2
      exit "$EXIT_USAGE"
      ;;
  esac
}

main "$@"
