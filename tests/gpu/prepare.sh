#!/usr/bin/env bash
# Gathers what run.sh needs on a machine with a GPU and no network: the Debian packages that Lockstep
# is built with, in .gpu/packages (about 40 MiB). Run it on Debian with its package lists up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly FOLDER=.gpu/packages
readonly MOST_MIB=60
readonly PACKAGES=(
  ninja-build pkg-config
  libhdf5-dev libfyaml-dev libcli11-dev nlohmann-json3-dev libfmt-dev libxxhash-dev libssl-dev
  zlib1g-dev libdeflate-dev libzstd-dev liblz4-dev libblosc-dev
  libcsv-dev libzip-dev libpng-dev libturbojpeg0-dev libhwloc-dev
  libgtest-dev libgmock-dev librapidcheck-dev
  openmpi-bin libopenmpi-dev
)
# The compiler, the C library and what every system has. Nothing of those may come from elsewhere.
readonly THERE='^(adduser|autoconf|automake|autotools-dev|binutils.*|cdebconf|cpp.*|debconf.*|debianutils'
readonly ALSO='|dpkg|flang.*|gcc.*|gfortran.*|googletest|install-info|libasan.*|libaudit.*|libbinutils'
readonly MORE='|libc-dev-bin|libc6.*|libcc1.*|libclang.*|libcrypt.*|libctf.*|libflang.*|libgcc.*'
readonly REST='|libgfortran.*|libgprofng.*|libllvm.*|libmlir.*|libpam.*|libperl.*|libstdc.*|linux-libc.*'
readonly LAST='|lib[lt]san.*|libubsan.*|libjs-.*|m4|ocl-icd.*|openssh.*|passwd|perl.*|rpcsvc.*|tar|libz3.*)$'

mkdir -p "$FOLDER"
mapfile -t wanted < <(
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances "${PACKAGES[@]}" |
    grep '^[a-z0-9]' | sort -u | grep -Ev "$THERE$ALSO$MORE$REST$LAST"
)
cd "$FOLDER"
for package in "${wanted[@]}"; do
  compgen -G "${package}_*.deb" >/dev/null && continue
  # What is only a name for others has no file.
  apt-cache show "$package" >/dev/null 2>&1 || continue
  apt-get download -qq "$package" || {
    echo "prepare: package $package could not be had; run 'apt-get update' and try again" >&2
    exit 4
  }
done
size=$(du -sm . | cut -f 1)
echo "$size MiB in $FOLDER"
if [ "$size" -gt "$MOST_MIB" ]; then
  echo "prepare: that is more than $MOST_MIB MiB; leave packages out in THERE" >&2
  exit 1
fi
