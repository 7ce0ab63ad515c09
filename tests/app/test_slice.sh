#!/usr/bin/env bash
# rondo slice: a ring in which every machine has only its part of the file, on loopback.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

prompt="Once upon a time"
declare -A pid=()

slices() {
    "$RONDO" slice demo "$tap_folder/first.gguf" --layers 0-1,5 &&
        "$RONDO" slice demo "$tap_folder/second.gguf" --layers 2-3,6 &&
        "$RONDO" slice demo "$tap_folder/last.gguf" --layers 4,7 --ends
}

start_head() {
    rm -f "$tap_folder/token"
    RONDO_STATE=$tap_folder/head "$RONDO" run "$1" "$prompt" --raw --temp 0 -n 20 --json \
        --threads 1 --name head --listen 127.0.0.1:0 --token-file "$tap_folder/token" \
        --workers 2 --rounds 2 --layers 3,3,2 >"$tap_folder/out" 2>"$tap_folder/head.log" &
    pid[head]=$!
    until_true [ -s "$tap_folder/token" ]
}

start_worker() {
    RONDO_STATE=$tap_folder/$1 "$RONDO" join "$(cat "$tap_folder/token")" --threads 1 \
        --name "$1" --model "$tap_folder/$2.gguf" --listen 127.0.0.1 2>"$tap_folder/$1.log" &
    pid[$1]=$!
    until_true grep -q joined "$tap_folder/$1.log"
}

field() {
    grep -o "\"$1\":\(\[[^]]*\]\|\"[^\"]*\"\)" "$tap_folder/$2"
}

a_slice_is_smaller_and_says_what_it_is() {
    slices
    local all part
    all=$(stat -c %s "$tap_root/models/tales-q8_0.gguf")
    part=$(stat -c %s "$tap_folder/first.gguf")
    [ "$part" -lt $((all / 2)) ] || return 1
    "$RONDO" show "$tap_folder/first.gguf" >"$tap_folder/shown" || return 1
    grep -q "a slice with layers 0-1, 5 of 8" "$tap_folder/shown"
}

slices_round_a_ring_answer_as_the_whole_model() {
    trap end_all EXIT
    slices
    start_head "$tap_folder/last.gguf"
    start_worker beta second # the second node's layers come first
    start_worker alpha first
    wait "${pid[head]}"
    "$RONDO" run demo "$prompt" --raw --temp 0 -n 20 --threads 1 --json >"$tap_folder/alone"
    local what
    for what in tokens logits_sha256; do
        [ "$(field $what out)" = "$(field $what alone)" ] || return 1
    done
}

a_head_says_which_layers_nobody_has() {
    trap end_all EXIT
    slices
    start_head demo
    start_worker alpha first
    start_worker gamma first
    until_true grep -q "no worker has layers 2-3, 6" "$tap_folder/head.log"
    start_worker beta second # and goes on when somebody comes who has
    wait "${pid[head]}"
    field tokens out
}

a_slice_alone_is_refused() {
    slices
    local status=0
    "$RONDO" run "$tap_folder/first.gguf" hello 2>"$tap_folder/said" || status=$?
    [ "$status" -eq 1 ] || return 1
    grep -q "is a slice of the model without its" "$tap_folder/said"
}

layers_that_are_none_are_refused() {
    local layers
    for layers in 8 3-1 x "" 0-99; do
        refused "$RONDO" slice demo "$tap_folder/none.gguf" --layers "$layers" \
            2>"$tap_folder/said" || return 1
        grep -q "layers" "$tap_folder/said" || return 1
        [ ! -e "$tap_folder/none.gguf" ] || return 1
    done
    slices
    refused "$RONDO" slice "$tap_folder/first.gguf" "$tap_folder/none.gguf" --layers 2 \
        2>"$tap_folder/said" || return 1
    grep -q "is a slice itself, without layer 2" "$tap_folder/said"
}

tap "a slice is smaller and says what it is" a_slice_is_smaller_and_says_what_it_is
rm -f "$tap_folder"/*.gguf
tap "slices round a ring answer as the whole model" slices_round_a_ring_answer_as_the_whole_model
rm -f "$tap_folder"/*.gguf
tap "a head says which layers nobody has" a_head_says_which_layers_nobody_has
rm -f "$tap_folder"/*.gguf
tap "a slice alone is refused" a_slice_alone_is_refused
rm -f "$tap_folder"/*.gguf
tap "layers that are none are refused" layers_that_are_none_are_refused
tap_end
