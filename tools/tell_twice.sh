#!/usr/bin/env bash
# Tells a story over three nodes, then on one, and compares.
#
#     tools/tell_twice.sh RONDO MODEL PROMPT [OPTION OF rondo run]...
#
# Three processes on loopback, joined by a token: a head and two workers, each with a state folder of
# its own, as if they were three machines. Exit 0 when tokens and logits are equal. Every process
# is ended, by its id, however this ends.
set -euo pipefail

[ $# -ge 3 ] || {
    echo "usage: tools/tell_twice.sh RONDO MODEL PROMPT [OPTION]..." >&2
    exit 2
}
rondo=$1
model=$2
prompt=$3
shift 3
options=(--temp 0 "$@")

limit=${TELL_LIMIT_S:-120} # seconds for each of the two tellings
folder=$(mktemp -d)
pids=()

clean_up() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    echo "$*" >&2
    local name
    for name in head worker1 worker2; do
        if [ -s "$folder/$name.log" ]; then
            sed "s/^/  $name: /" "$folder/$name.log" >&2
        fi
    done
    exit 1
}

# start NAME COMMAND...: in the background, with a state folder of its own.
start() {
    local name=$1
    shift
    XDG_STATE_HOME=$folder/$name timeout -k 5 "$limit" "$@" >"$folder/$name.out" \
        2>"$folder/$name.log" </dev/null &
    pids+=($!)
}
