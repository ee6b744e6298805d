#!/usr/bin/env bash
# Links the shared C library from the static one, with versioned symbols: scripts/link-shared.sh libbifolio.a libbifolio.so
# Cargo links a libbifolio.so too, but with a version script of its own, beside which there can be no other.
set -euo pipefail

(($# == 2)) || { echo "usage: scripts/link-shared.sh LIBRARY.a LIBRARY.so" >&2; exit 2; }
capi=$(cd "$(dirname "$0")/../crates/capi" && pwd)
abi=$(sed -n 's/^#define BF_ABI //p' "$capi/include/bifolio.h")
${CC:-cc} -shared -o "$2" -Wl,-soname,"libbifolio.so.$abi" -Wl,--version-script="$capi/bifolio.map" -Wl,--gc-sections \
    -Wl,--whole-archive "$1" -Wl,--no-whole-archive -lpthread -ldl -lm -lgcc_s
