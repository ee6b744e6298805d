#!/usr/bin/env bash
# Builds the C library and installs it with its headers and pkg-config file: scripts/install.sh --prefix DIR [--debug]
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo "usage: scripts/install.sh --prefix DIR [--debug]" >&2
    exit 2
}

prefix='' profile=release
while (($# > 0)); do
    case $1 in
        --prefix) prefix=${2-}; shift 2 || usage ;;
        --debug) profile=dev; shift ;;
        *) usage ;;
    esac
done
[[ -n $prefix ]] || usage

cargo build --quiet --package bifolio-capi --profile "$profile"
target=${CARGO_TARGET_DIR:-target}/${profile/dev/debug}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
abi=$(sed -n 's/^#define BF_ABI //p' crates/capi/include/bifolio.h)

mkdir -p "$prefix/lib/pkgconfig" "$prefix/include"
prefix=$(cd "$prefix" && pwd)
install -m 644 crates/capi/include/bifolio.h crates/capi/include/bifolio.hpp "$prefix/include"
install -m 644 "$target/libbifolio.a" "$prefix/lib"
scripts/link-shared.sh "$target/libbifolio.a" "$prefix/lib/libbifolio.so.$abi"
ln -sf "libbifolio.so.$abi" "$prefix/lib/libbifolio.so"
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" -e "s|@static_libs@|-lpthread -ldl -lm -lgcc_s|" \
    crates/capi/bifolio.pc.in > "$prefix/lib/pkgconfig/bifolio.pc"
echo "installed libbifolio $version (ABI $abi) in $prefix"
