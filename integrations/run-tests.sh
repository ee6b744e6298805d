#!/usr/bin/env bash
# Builds and runs each integration whose tools are there; names those that are skipped. The C library is built for it.
set -euo pipefail
cd "$(dirname "$0")"

prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
failed=()

# run NAME DIRECTORY: make test there, in a build directory that goes away.
run() {
    printf '== %s\n' "$1"
    make -s -C "$2" test PREFIX="$prefix" BUILD="$prefix/$1" || failed+=("$1")
}

if ! command -v gcc > /dev/null || ! command -v make > /dev/null; then
    echo "SKIP integrations: no gcc or make"
    exit 0
fi
../scripts/install.sh --debug --prefix "$prefix"
run c c
if command -v verilator > /dev/null; then run verilator verilator; else echo "SKIP integration_verilator: no verilator"; fi
if [[ -e /usr/include/systemc ]]; then run systemc systemc; else echo "SKIP integration_systemc: no libsystemc-dev"; fi
if python3 -c 'import numpy' 2> /dev/null; then run python python; else echo "SKIP integration_python: no numpy"; fi
if ((${#failed[@]} > 0)); then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
