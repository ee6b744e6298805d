#!/usr/bin/env bash
# Packages every crate that is published, without a registry, and checks what a registry shows of it.
# With --verify each crate is also compiled from its package, which takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    local verify=--no-verify
    if [[ "${1-}" == --verify ]]; then
        verify=
    fi
    local metadata excluded
    metadata=$(cargo metadata --no-deps --offline --format-version 1)
    lacking <<< "$metadata"
    mapfile -t excluded < <(unpublished <<< "$metadata")
    # All at once: a crate then finds the others that it needs, though no registry has them.
    cargo package --workspace "${excluded[@]/#/--exclude=}" $verify --allow-dirty --offline --quiet
    echo "packaged: $(wc -l < <(published <<< "$metadata")) crates"
}

# The crates of a workspace that are published, or not.
published() { names "package['publish'] is None"; }
unpublished() { names "package['publish'] == []"; }

names() {
    python3 -c "
import json, sys
for package in json.load(sys.stdin)['packages']:
    if $1:
        print(package['name'])"
}

# Fails if a published crate lacks something that a registry asks for or shows.
lacking() {
    python3 -c "
import json, sys
shown = ('description', 'readme', 'keywords', 'categories', 'license', 'repository', 'rust_version')
lacking = [f\"{package['name']} has no {field}\" for package in json.load(sys.stdin)['packages']
           if package['publish'] is None for field in shown if not package[field]]
sys.exit('\n'.join(lacking) or 0)"
}

main "$@"
