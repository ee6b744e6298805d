#!/usr/bin/env bash
# Counts by callgrind the instructions of cases of the buddy allocator, of the engine and of recording a trace, and
# compares them with the file instructions.txt of each crate.
#
# usage: count-instructions.sh            fails if a case takes 5 % more than its file says, of the others 3 %
#        count-instructions.sh --update   writes the files anew
#
# Counts depend neither on the load nor on the speed of the machine, nor on the model of its processor: only the C library
# chooses its instructions by that, to copy and clear memory, and of all that is counted they are one in 700 at most. Counts
# depend on the compiler: with another one than the file tells of, they are shown and not judged. Where valgrind is missing or
# does not run, nothing is counted. It says SKIP, and why, in each of these cases.
set -euo pipefail
cd "$(dirname "$0")/.."

# Folder, package, example, and by how many percent a case may grow.
programs='crates/buddy-cases bifolio-buddy-cases count 5
crates/engine bifolio-engine count_engine 3
crates/trace bifolio-trace count_recorder 3'

main() {
    case "${1-}" in
    '' | --update) ;;
    *) sed -n '2,6p' "$0" | cut -c 3- >&2; exit 2 ;;
    esac
    command -v valgrind > /dev/null || skip "valgrind is not installed"
    [[ $(uname -m) == x86_64 ]] || skip "the counts of the files are of x86_64"
    unset VALGRIND_OPTS
    runs_programs || skip "valgrind does not run programs here"
    # Flags and profiles of the surroundings would change the code that is counted, or where it is put.
    target=${CARGO_TARGET_DIR:-${CARGO_BUILD_TARGET_DIR:-target}}
    unset CARGO_ENCODED_RUSTFLAGS "${!CARGO_BUILD_@}" "${!CARGO_PROFILE_@}"
    # Set to nothing, since that outdoes the flags of a configuration file.
    export RUSTFLAGS=
    trap 'rm -f "$counts"' EXIT
    counts=$(mktemp)
    local folder package example tolerance_percent failed=0
    while read -r folder package example tolerance_percent; do
        judge "$folder/instructions.txt" "$package" "$example" "$@" || failed=1
    done <<< "$programs"
    exit "$failed"
}

# Counts the cases of an example, and compares them with a file or writes that.
judge() {
    baseline=$1 program=$target/release/examples/$3
    cargo build --quiet --release --target-dir "$target" -p "$2" --example "$3" < /dev/null || return
    count_all > "$counts"
    if [[ ${4-} == --update ]]; then
        cp "$counts" "$baseline"
        cat "$baseline"
    else
        compare
    fi
}

skip() {
    echo "SKIP count_instructions: $1"
    exit 0
}

# Tells whether a program does under valgrind what it does without.
runs_programs() {
    [[ $(valgrind --tool=callgrind --callgrind-out-file=/dev/null /bin/echo runs 2> /dev/null) == runs ]]
}

count_all() {
    echo "# Case, calls, instructions; written by scripts/count-instructions.sh --update"
    echo "# $(rustc --version)"
    local name
    for name in $("$program"); do
        count "$name"
    done
}

# Counts what the function `measured` of the example does, and all that it calls.
count() {
    local report calls instructions
    report=$(mktemp)
    if ! calls=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='count*::measured*' \
        --log-file="$report" "$program" "$1"); then
        cat "$report" >&2
        exit 1
    fi
    instructions=$(awk '/Collected :/ { print $NF }' "$report")
    rm -f "$report"
    if ((instructions < calls)); then
        echo "$1: $instructions instructions for $calls calls: callgrind did not find the function to count" >&2
        exit 1
    fi
    echo "$1 $calls $instructions"
}

compare() {
    local judged=1
    if ! diff -q <(sed -n 2p "$baseline") <(sed -n 2p "$counts") > /dev/null; then
        echo "SKIP count_instructions: shown, not judged: $baseline is of another compiler, $(sed -n '2s/# //p' "$baseline")"
        judged=0
    fi
    awk -v tolerance="$tolerance_percent" -v judged="$judged" '
        /^#/ { next }
        FNR == NR { calls[$1] = $2; before[$1] = $3; next }
        {
            seen[$1] = 1
            if (calls[$1] != $2) { verdict = "NOT IN THE BASELINE WITH SO MANY CALLS"; change = 0; bad = 1 }
            else {
                change = 100 * ($3 / before[$1] - 1); verdict = ""
                if (change > tolerance) { verdict = "WORSE"; bad = 1 }
                if (change < -tolerance) { verdict = "better"; better = 1 }
            }
            printf "%-24s %12d instructions, %7.1f a call, %+6.1f %% %s\n", $1, $3, $3 / $2, change, verdict
        }
        END {
            for (name in before) if (!(name in seen)) { printf "%-24s gone\n", name; bad = 1 }
            if (bad || better) print "if this is meant: scripts/count-instructions.sh --update, and commit the file"
            exit bad && judged
        }' "$baseline" "$counts"
}

main "$@"
