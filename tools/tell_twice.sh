#!/usr/bin/env bash
# Tells a story over three nodes, then on one, and compares.
#
#     tools/tell_twice.sh RONDO MODEL PROMPT [OPTION OF rondo run]...
#
# Three processes on loopback, joined by a token: a head and two workers, each with a state folder of
# its own, as if they were three machines. Exit 0 when tokens and logits are equal. However this
# ends, every process it started is ended by its id. TELL_LIMIT_S bounds each of the two tellings.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: tools/tell_twice.sh RONDO MODEL PROMPT [OPTION]..." >&2
    exit 2
fi
rondo=$1
model=$2
prompt=$3
shift 3
share=$(($(nproc) / 3)) # threads for each of three nodes that share this machine
share=$((share > 0 ? share : 1))
options=(--temp 0 --threads "$share" "$@" --json)
limit=${TELL_LIMIT_S:-120}
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
    echo "FAILED: $*" >&2
    local worker
    for worker in worker1 worker2; do
        if [ -s "$folder/$worker.log" ]; then
            sed "s/^/  $worker: /" "$folder/$worker.log" >&2
        fi
    done
    exit 1
}

# start NAME COMMAND...: in the background, with a state folder of its own; ended after the limit.
start() {
    local name=$1
    shift
    XDG_STATE_HOME=$folder/$name timeout -k 5 "$limit" "$@" </dev/null &
    pids+=($!)
}

# What a field of an answer's JSON holds: a list, a string or a number.
field() {
    sed -nE 's/.*"'"$2"'": ?(\[[^]]*\]|"([^"\\]|\\.)*"|[-+.0-9eE]+).*/\1/p' "$folder/$1.json"
}

# A JSON string as text.
unquote() {
    local text=${1#\"}
    printf '%b\n' "${text%\"}" | sed 's/\\"/"/g'
}

tell_on_three() {
    start head "$rondo" run "$model" "$prompt" "${options[@]}" --workers 2 --even --rounds 2 \
        --listen 127.0.0.1:0 --token-file "$folder/token" >"$folder/three.json"
    local head=${pids[-1]}
    until [ -s "$folder/token" ]; do
        kill -0 "$head" 2>/dev/null || fail "the head ended before it had a token"
        sleep 0.05
    done
    local worker
    for worker in worker1 worker2; do
        start "$worker" "$rondo" join "$(cat "$folder/token")" --model "$model" \
            --threads "$share" --name "$worker" --listen 127.0.0.1:0 >"$folder/$worker.log" 2>&1
    done
    wait "$head" || fail "the head ended with status $?"
}

tell_on_one() {
    start alone "$rondo" run "$model" "$prompt" "${options[@]}" >"$folder/one.json"
    wait "${pids[-1]}" || fail "one node alone ended with status $?"
}

times() {
    LC_ALL=C printf 'first token after %.1f ms, then %.2f ms per token\n' "$(field "$1" ttft_ms)" \
        "$(field "$1" tpot_ms)"
}

# What a token costs each node of the ring, and the hop to it, as the nodes reported it.
ring_times() {
    printf '%-10s %12s %14s\n' node compute "hop to it"
    grep -oE '"name":"[^"]*","head":(true|false),"windows":[^{]*"token":\{[^}]*\}' \
        "$folder/three.json" |
        sed -E 's/"head":true,"windows":/"name":"head",/
            s/.*"name":"([^"]*)".*"compute_ms":([^,]*),"hop_us":([^,}]*).*/\1 \2 \3/' |
        while read -r name compute hop; do
            LC_ALL=C printf '%-10s %9.2f ms %11.0f us\n' "$name" "$compute" "$hop"
        done
}

# same FIELD: whether both answers have it and it is equal.
same() {
    local three one
    three=$(field three "$1")
    one=$(field one "$1")
    [ -n "$three" ] && [ "$three" = "$one" ]
}

echo "== three nodes, two rounds"
tell_on_three
printf '\n%s\n\n' "$(unquote "$(field three text)")"
times three
ring_times

printf '\n== one node\n'
tell_on_one
times one

count=$(field one tokens | tr -cd , | wc -c)
printf '\n'
if same tokens && same logits_sha256; then
    echo "equal: $((count + 1)) tokens, and the logits behind them bit for bit"
else
    echo "three: $(field three tokens) $(field three logits_sha256)" >&2
    echo "one:   $(field one tokens) $(field one logits_sha256)" >&2
    fail "three nodes and one node did not tell the same"
fi
