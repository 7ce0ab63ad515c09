#!/usr/bin/env bash
# Model files that are cut short, changed or replaced while rondo computes with them: an answer ends
# with a sentence, or is the one that it should be; workers stay and serve the next head.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

good=$tap_folder/good.gguf
model=$tap_folder/model.gguf
ways=("--residency mmap" "--residency auto" "--residency direct"
    "--residency direct --memory 40M")
declare -A pid=()

# answer N OPTION...: starts an answer of N tokens; more of them than can be done with soon.
answer() {
    local n=$1
    shift
    rm -f "$tap_folder/out"
    timeout 120 "$RONDO" run "$model" "a b" --raw --temp 0 -n "$n" --ctx 4096 --threads 1 "$@" \
        >"$tap_folder/out" 2>"$tap_folder/err.log" &
    pid[answer]=$!
    until_true [ -s "$tap_folder/out" ]
}

# What was said is the beginning of what the good file says; but for the end of the line, and for a
# character that was not complete.
said_rightly() {
    local said all
    said=$(($(stat -c %s "$tap_folder/out") - 4))
    all=$(stat -c %s "$tap_folder/want")
    cmp -n $((said < all ? said : all)) "$tap_folder/out" "$tap_folder/want"
}

# ends_saying TEXT: code 1, one sentence that names the file.
ends_saying() {
    local status=0
    wait "${pid[answer]}" || status=$?
    cat "$tap_folder/err.log"
    [ "$status" -eq 1 ]
    [ "$(wc -l <"$tap_folder/err.log")" -eq 1 ]
    grep -q "^rondo: $model: .*$1.* start again" "$tap_folder/err.log"
    said_rightly
}

make_model() {
    "$RONDO" synth "$good" --embd 512 --heads 8 --kv-heads 4 --head-dim 64 --ffn 2048 \
        --layers 8 --vocab 4096 --ctx 4096 --seed 1
    "$RONDO" run "$good" "a b" --raw --temp 0 -n 200 --threads 1 >"$tap_folder/want"
}

an_answer_ends_when_its_file_is_cut_short() {
    trap end_all EXIT
    local way size
    for way in "${ways[@]}"; do
        for size in 0 20000000; do
            cp "$good" "$model"
            # shellcheck disable=SC2086 # options
            answer 3500 $way
            truncate -s "$size" "$model"
            ends_saying "cut short while it was in use"
        done
    done
}

an_answer_ends_when_its_file_is_changed() {
    trap end_all EXIT
    local way
    for way in "${ways[@]}"; do
        cp "$good" "$model"
        # shellcheck disable=SC2086 # options
        answer 3500 $way
        printf x | dd of="$model" bs=1 seek=20000000 conv=notrunc status=none
        ends_saying "changed while it was in use"
    done
}

an_answer_goes_on_when_its_file_is_replaced() {
    trap end_all EXIT
    local way
    for way in "${ways[@]}"; do
        cp "$good" "$model"
        # shellcheck disable=SC2086 # options
        answer 60 $way
        printf 'another model' >"$model.new"
        mv "$model.new" "$model"
        wait "${pid[answer]}"
        [ "$(stat -c %s "$tap_folder/out")" -gt 60 ]
        said_rightly
    done
}

start_head() {
    rm -f "$tap_folder/token" "$tap_folder/out"
    RONDO_STATE=$tap_folder/head timeout 120 "$RONDO" run "$good" "a b" --raw --temp 0 -n "$1" \
        --ctx 4096 --threads 1 --workers 1 --even --name head --listen "127.0.0.1:$2" \
        --token-file "$tap_folder/token" >"$tap_folder/out" 2>"$tap_folder/head.log" &
    pid[head]=$!
}

a_worker_says_so_and_serves_the_next_head() {
    trap end_all EXIT
    local status=0 port
    cp "$good" "$model"
    start_head 3500 0
    until_true [ -s "$tap_folder/token" ]
    RONDO_STATE=$tap_folder/alpha "$RONDO" join "$(cat "$tap_folder/token")" --threads 1 \
        --name alpha --model "$model" --listen 127.0.0.1 2>"$tap_folder/alpha.log" &
    pid[alpha]=$!
    until_true [ -s "$tap_folder/out" ]
    truncate -s 0 "$model"
    wait "${pid[head]}" || status=$?
    [ "$status" -eq 1 ]
    grep -q "^rondo: worker alpha: $model: the file was cut short" "$tap_folder/head.log"
    said_rightly
    cp "$good" "$model"
    until_true grep -q 'nothing listens on' "$tap_folder/alpha.log"
    port=$(sed -n 's/.*nothing listens on 127.0.0.1 port \([0-9]*\).*/\1/p' \
        "$tap_folder/alpha.log" | tail -n 1)
    start_head 200 "$port"
    wait "${pid[head]}"
    cmp "$tap_folder/out" "$tap_folder/want"
}

mkdir -m 700 "$tap_folder"/{head,alpha}
tap "a model is made" make_model
tap "an answer ends when its file is cut short" an_answer_ends_when_its_file_is_cut_short
tap "an answer ends when its file is changed" an_answer_ends_when_its_file_is_changed
tap "an answer goes on when its file is replaced" an_answer_goes_on_when_its_file_is_replaced
tap "a worker says so and serves the next head" a_worker_says_so_and_serves_the_next_head
tap_end
