#!/usr/bin/env bash
# Checks every #include "room/..." under src/ against docs/layers.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(find src -name '*.[ch]')
awk '
FNR == NR {
    if ($0 ~ /^[a-z]+:/) {
        room = $1; sub(":", "", room); known[room] = 1
        for (i = 2; i <= NF; i++) allowed[room, $i] = 1
    }
    next
}
match($0, /^#include "[a-z]+\//) {
    split(FILENAME, path, "/"); from = path[2]
    to = substr($0, RSTART + 10, RLENGTH - 11)
    if (!(from in known)) { print FILENAME ": room " from " is not in docs/layers"; bad = 1; next }
    if (to != from && to != "base" && !((from, to) in allowed) && !((from, "*") in allowed)) {
        print FILENAME ":" FNR ": " from "/ may not include " to "/ (docs/layers)"; bad = 1
    }
}
END { exit bad }
' docs/layers "${sources[@]}"
twice=$(find src -name '*.[ch]' -printf '%f\n' | sort | uniq -d)
if [ -n "$twice" ]; then
    echo "base names that occur twice: $twice" >&2
    exit 1
fi
