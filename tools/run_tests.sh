#!/usr/bin/env bash
# Runs test programs, counts their TAP and prints one closing line, "N passed, N failed, N skipped".
#
#     tools/run_tests.sh [-t SECONDS] [-x WRAPPER]... PROGRAM...
#
# A program is a cmocka binary, a fuzz target's replay (it gets its corpus folder) or a shell script
# that prints TAP. One that crashes, takes longer than -t, ends before its plan is done or prints no
# plan counts as a failure; the reasons of skipped tests ("# skipped: reason") are shown. -x puts a
# command in front of each program.
set -euo pipefail

limit=300
wrapper=()
while getopts t:x: option; do
    case $option in
    t) limit=$OPTARG ;;
    x) wrapper+=("$OPTARG") ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

export CMOCKA_MESSAGE_OUTPUT=TAP
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Reads TAP; prints "passed failed skipped" and, after them, what was wrong besides failed tests.
# cmocka writes a skipped test as "not ok 3 # SKIP name".
count() {
    awk -v status="$1" -v limit="$limit" '
    /^1\.\.[0-9]+/ {
        plans++; planned += substr($1, 4)
        if ($1 == "1..0" && /# SKIP/) skipped++
    }
    /^(not )?ok / {
        seen++
        if (/# SKIP/) skipped++; else if (/^ok/) passed++; else failed++
    }
    END {
        if (status == 124 || status == 137) note = "took longer than " limit " s"
        else if (status > 128) note = "was ended by signal " status - 128
        else if (!plans) note = "printed no plan"
        else if (seen < planned) note = "ended after " seen + 0 " of " planned " tests"
        else if (status != 0 && !failed) note = "ended with status " status
        if (note) failed++
        print passed + 0, failed + 0, skipped + 0, note
    }' "$out/stdout"
}

passed=0
failed=0
skipped=0
for program; do
    arguments=()
    case $program in
    */fuzz/fuzz_*) arguments=("$root/tests/fuzz/corpus/${program##*/}") ;;
    esac
    status=0
    started=$SECONDS
    timeout -k 10 "$limit" "${wrapper[@]}" "$program" "${arguments[@]}" \
        >"$out/stdout" 2>"$out/stderr" </dev/null || status=$?
    read -r p f s note < <(count "$status")
    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + s))
    if [ "$f" -gt 0 ]; then
        echo "--- $program FAILED${note:+: $note}"
        tail -n 200 "$out/stdout"
        tail -n 200 "$out/stderr"
        echo "---"
    else
        skips=""
        [ "$s" -eq 0 ] || skips=", $s skipped"
        echo "ok   $program: $p passed$skips, $((SECONDS - started)) s"
        grep -hE '^# skipped: |^1\.\.0 # SKIP' "$out/stdout" | sort | uniq -c |
            sed -E 's/^ *([0-9]+) (# skipped: |1\.\.0 # SKIP )/     skipped \1x: /' || true
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
