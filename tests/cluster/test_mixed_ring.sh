#!/usr/bin/env bash
# Rings of two kinds of processors: this machine's program and the aarch64 one under emulation, on
# loopback. A ring tells bit for bit what one node tells, whoever runs which layers.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"
# shellcheck source=tests/support/aarch64.sh
. "$(dirname "$0")/../support/aarch64.sh"

lacks=$(aarch64_lacks)
if [ -n "$lacks" ]; then
    echo "1..0 # SKIP $lacks"
    exit 0
fi
aarch64_build all

model=$tap_folder/model.gguf
prompt=(--raw --temp 0 -n 12 --threads 1 --json)
declare -A pid=()

# What runs a node: these names are passed around.
# shellcheck disable=SC2034 # read through them
here=("$RONDO")
# shellcheck disable=SC2034
there=(qemu-aarch64 -cpu max "$tap_root/build/aarch64/rondo")

joined() { grep -q joined "$tap_folder/$1.log"; }

# start_head WHERE OPTION...: waits until its token is there.
start_head() {
    local -n program=$1
    rm -f "$tap_folder/token"
    RONDO_STATE=$tap_folder/head "${program[@]}" run "$model" "Once upon a time" "${prompt[@]}" --name head \
        --listen 127.0.0.1:0 --token-file "$tap_folder/token" "${@:2}" \
        >"$tap_folder/out" 2>"$tap_folder/head.log" &
    pid[head]=$!
    until_true [ -s "$tap_folder/token" ]
}

# start_worker NAME WHERE
start_worker() {
    local -n program=$2
    RONDO_STATE=$tap_folder/$1 "${program[@]}" join "$(cat "$tap_folder/token")" --model "$model" \
        --threads 1 --name "$1" --listen 127.0.0.1 2>"$tap_folder/$1.log" &
    pid[$1]=$!
    until_true joined "$1"
}

# field NAME FILE: a list or text of a file with one line of JSON.
field() {
    grep -o "\"$1\":\(\[[^]]*\]\|\"[^\"]*\"\)" "$tap_folder/$2"
}

# ring LAYERS HEAD WORKER...: where each node runs; two rounds.
ring() {
    trap end_all EXIT
    local layers=$1 head=$2 name=a where what
    shift 2
    start_head "$head" --workers $# --rounds 2 --layers "$layers"
    for where in "$@"; do
        start_worker "$name" "$where"
        name=b
    done
    wait "${pid[head]}"
    for what in tokens logits_sha256; do
        [ -n "$(field "$what" alone)" ]
        [ "$(field "$what" out)" = "$(field "$what" alone)" ]
    done
}

mkdir -m 700 "$tap_folder"/{head,a,b}
"$RONDO" synth "$model" --type Q4_K_M --layers 6 --embd 256 --heads 4 --kv-heads 2 --ffn 512 \
    --vocab 600 --seed 5 >/dev/null
"$RONDO" run "$model" "Once upon a time" "${prompt[@]}" >"$tap_folder/alone"
tap "an aarch64 worker and this machine's head answer as one node does" ring 4,2 here there
tap "this machine's worker and an aarch64 head answer as one node does" ring 2,4 there here
tap "a ring with one worker of each kind answers as one node does" ring 2,2,2 here there here
tap_end
