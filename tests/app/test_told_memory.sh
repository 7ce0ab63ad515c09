#!/usr/bin/env bash
# What is told of the memory of weights and of waiting for the disk: rondo run -v of one machine,
# the head's tables and --json of a ring, the lines of rondo join.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

model=$tap_folder/model.gguf # 33 MiB
declare -A pid=()

make_model() {
    "$RONDO" synth "$model" --embd 512 --heads 8 --kv-heads 4 --head-dim 64 --ffn 2048 \
        --layers 8 --vocab 4096 --ctx 4096 --seed 1
}

# told PATTERN OPTION...: rondo run -v says a line on standard error.
told() {
    local pattern=$1
    shift
    "$RONDO" run "$model" "a b" --raw --temp 0 -n 8 --ctx 256 --threads 1 -v "$@" \
        >"$tap_folder/out" 2>"$tap_folder/err.log"
    cat "$tap_folder/err.log"
    grep -Eq "^rondo: $pattern\$" "$tap_folder/err.log"
}

one_machine_tells_what_it_kept() {
    local amount='[0-9.]+ [KM]iB'
    told "weights mapped from the file(, $amount turned into lanes in memory)?" --residency mmap
    told "all weights resident, $amount" --residency direct --memory 100M
    told "$amount of weights resident, $amount streamed by .*: $amount read, [0-9.]+ ms of disk wait" \
        --memory 20M
}

# refused AMOUNT CODE PATTERN: rondo run ends with the exit code, and says why.
refused() {
    local code=0
    "$RONDO" run "$model" a --memory "$1" 2>"$tap_folder/err.log" || code=$?
    cat "$tap_folder/err.log"
    [ "$code" = "$2" ] && grep -Eq "$3" "$tap_folder/err.log"
}

amounts_that_make_no_sense_are_refused() {
    refused 0 2 'ask for 1M at least$'
    refused -1 2 'ask for 1M at least$'
    refused 18446744073709551616 2 'more than any machine has'
    refused 101% 2 'more than 0% and at most 100%$'
    refused 7X 2 "not '7X'\$"
    refused 1M 4 'allows 1.0 MiB of memory; the cache takes .* leaves nothing for weights'
}

# start_head OPTION...: waits until its token is there.
start_head() {
    rm -f "$tap_folder/token"
    RONDO_STATE=$tap_folder/head "$RONDO" run "$model" "a b" --raw --temp 0 -n 8 --ctx 256 --threads 1 \
        --workers 1 --even --name kitchen --listen 127.0.0.1:0 --token-file "$tap_folder/token" "$@" \
        >"$tap_folder/out" 2>"$tap_folder/head.log" &
    pid[head]=$!
    until_true [ -s "$tap_folder/token" ]
}

# start_worker NAME OPTION...
start_worker() {
    RONDO_STATE=$tap_folder/$1 "$RONDO" join "$(cat "$tap_folder/token")" -m "$model" --threads 1 \
        --name "$1" --listen 127.0.0.1:0 "${@:2}" >"$tap_folder/$1.log" 2>&1 &
    pid[$1]=$!
}

a_ring_shows_memory_and_waits_of_all() {
    trap end_all EXIT
    start_head --memory 15M
    start_worker attic --memory 12M
    wait "${pid[head]}"
    cat "$tap_folder/head.log" "$tap_folder/attic.log"
    grep -Eq '^  1 attic .* [0-9.]+ [KM]iB \+ [0-9.]+ [KM]iB from disk$' "$tap_folder/head.log"
    grep -Eq '^  2 kitchen \(head\) .* [0-9.]+ [KM]iB \+ [0-9.]+ [KM]iB from disk$' \
        "$tap_folder/head.log"
    grep -Eq 'receive +compute +disk wait +send$' "$tap_folder/head.log"
    grep -Eq '^  1 attic +[0-9-]+ us +[0-9.]+ ms +[0-9.]+ ms +[0-9]+ us$' \
        "$tap_folder/head.log"
    grep -Eq '^ready: .* MiB of weights resident, [1-9][0-9]* MiB streamed by ' \
        "$tap_folder/attic.log"
}

a_ring_tells_programs_all_numbers() {
    trap end_all EXIT
    start_head --memory 15M --json
    start_worker attic --memory 12M
    wait "${pid[head]}"
    cat "$tap_folder/out"
    local number
    for number in resident_bytes streamed_bytes slot_bytes; do
        [ "$(grep -oE "\"$number\":[1-9][0-9]*" "$tap_folder/out" | wc -l)" -eq 2 ]
    done
    [ "$(grep -oE '"disk_wait_ms":[0-9.]+' "$tap_folder/out" | wc -l)" -eq 4 ] # token, prompt
}

a_worker_without_memory_is_named() {
    trap end_all EXIT
    start_head
    start_worker shed --memory 1M
    until_true grep -q 'cannot take part: --memory allows 1.0 MiB' "$tap_folder/shed.log"
    until_true grep -q '^worker shed cannot take part: --memory allows 1.0 MiB' "$tap_folder/head.log"
    start_worker attic # takes its place
    wait "${pid[head]}"
    [ -s "$tap_folder/out" ]
}

tap "a model of 33 MiB is made" make_model
tap "rondo run -v tells what one machine kept of the weights" one_machine_tells_what_it_kept
tap "amounts of memory that make no sense are refused, each with its reason" \
    amounts_that_make_no_sense_are_refused
tap "a ring shows the memory and the waits of all nodes" a_ring_shows_memory_and_waits_of_all
tap "a ring tells programs all numbers" a_ring_tells_programs_all_numbers
tap "a worker without the memory for its part is named at the head" a_worker_without_memory_is_named
tap_end
