#!/usr/bin/env bash
# rondo run --workers as users meet it when nobody says who runs what: three processes on loopback.
. "$(dirname "$0")/../support/tap.sh"

declare -A pid
model=$tap_folder/model.gguf

# start_head NAME OPTION...: into out and head.log.
start_head() {
    rm -f "$tap_folder/token"
    RONDO_STATE=$tap_folder/head "$RONDO" run "$model" "Once upon a time" --raw --temp 0 \
        -n 12 --threads 1 --name head --listen 127.0.0.1:0 --token-file "$tap_folder/token" "$@" \
        >"$tap_folder/out" 2>"$tap_folder/head.log" &
    pid[head]=$!
    until_true test -s "$tap_folder/token"
}

# start_worker NAME OPTION...
start_worker() {
    local name=$1
    shift
    : >"$tap_folder/$name.log" # of the test before
    RONDO_STATE=$tap_folder/$name "$RONDO" join "$(cat "$tap_folder/token")" \
        --model "$model" --threads 1 --name "$name" --listen 127.0.0.1:0 "$@" \
        2>"$tap_folder/$name.log" &
    pid[$name]=$!
}

text_alone() {
    "$RONDO" run "$model" "Once upon a time" --raw --temp 0 -n 12 --threads 1
}

nobody_who_does_not_help_takes_part() {
    trap end_all EXIT
    cp "$tap_folder/demo.gguf" "$model"
    start_head --workers 2
    start_worker alpha
    start_worker beta
    wait "${pid[head]}"
    [ "$(cat "$tap_folder/out")" = "$(text_alone)" ] || return 1
    grep -q "runs the model alone, which is the quickest: .* ms a token foretold" \
        "$tap_folder/head.log" || return 1
    grep -q "^alpha takes no part" "$tap_folder/head.log" || return 1
    [ "$(find "$tap_folder" -name "survey-*.json" | wc -l)" -eq "$n_surveys" ] || return 1
    ! grep -q "loading" "$tap_folder/alpha.log" || return 1
    # It was there until the end, and waits for the next head.
    until_true grep -q "waiting for the next head" "$tap_folder/alpha.log"
}

what_does_not_fit_is_shared_out() {
    trap end_all EXIT
    cp "$tap_folder/large.gguf" "$model"
    start_head --workers 2 --memory 40M --ctx 256
    start_worker alpha --memory 60M
    start_worker beta --memory 60M
    wait "${pid[head]}"
    [ "$(cat "$tap_folder/out")" = "$(text_alone --ctx 256)" ] || return 1
    grep -q "^layer map: 12 layers, [23] nodes" "$tap_folder/head.log" || return 1
    grep -q "^planned: .* ms a token foretold" "$tap_folder/head.log" || return 1
    grep -q "round the ring, planned " "$tap_folder/head.log"
}

hand_written_layers_have_the_last_word() {
    trap end_all EXIT
    cp "$tap_folder/large.gguf" "$model"
    start_head --workers 2 --layers 6,2,4 --ctx 256
    start_worker alpha
    until_true grep -q joined "$tap_folder/alpha.log"
    start_worker beta
    wait "${pid[head]}"
    [ "$(cat "$tap_folder/out")" = "$(text_alone --ctx 256)" ] || return 1
    grep -q "^  2 beta  *6-7 " "$tap_folder/head.log" || return 1
    grep -q "round the ring, planned " "$tap_folder/head.log" # what it takes is known all the same
}

a_saved_plan_is_applied() {
    trap end_all EXIT
    cp "$tap_folder/large.gguf" "$model"
    cat >"$tap_folder/plan.json" <<'END'
{"rounds": 2, "nodes": [{"name": "beta", "layers": 7}, {"name": "desk", "layers": 5}]}
END
    start_head --workers 2 --apply "$tap_folder/plan.json" --survey "$tap_folder/home.json" \
        --ctx 256
    start_worker alpha
    start_worker beta
    wait "${pid[head]}"
    [ "$(cat "$tap_folder/out")" = "$(text_alone --ctx 256)" ] || return 1
    grep -q "^layer map: 12 layers, 2 nodes, k = 2" "$tap_folder/head.log" || return 1
    grep -q "^  1 beta  *0-[23]  *[67]-9 " "$tap_folder/head.log" || return 1
    ! grep -q loading "$tap_folder/alpha.log" || return 1
    # What the machines said is what plans can be made with afterwards.
    "$RONDO" plan "$model" --cluster "$tap_folder/home.json" --ctx 256 >"$tap_folder/page"
    grep -q beta "$tap_folder/page" || return 1
    end_all
    pid=()
    start_head --workers 1 --apply "$tap_folder/plan.json"
    start_worker alpha
    local status=0
    wait "${pid[head]}" || status=$?
        [ "$status" -eq 2 ] && grep -q "has a worker beta, but none" "$tap_folder/head.log"
}

contradictions_are_refused() {
    local status=0
    RONDO_STATE=$tap_folder/head "$RONDO" run demo x --workers 1 --even --layers 3,5 \
        2>"$tap_folder/err" || status=$?
    [ "$status" -eq 2 ] && grep -q -e "--even" "$tap_folder/err" || return 1
    status=0
    "$RONDO" run demo x --even 2>"$tap_folder/err" || status=$?
    [ "$status" -eq 2 ] && grep -q -e "--workers" "$tap_folder/err"
}

cp "$tap_root/models/tales-q8_0.gguf" "$tap_folder/demo.gguf"
"$RONDO" synth "$tap_folder/large.gguf" --type Q4_K_M --layers 12 --embd 1024 --heads 8 \
    --kv-heads 4 --ffn 3072 --vocab 2048 --ctx 512 --seed 3 >/dev/null

# Machines that are equal: what one measured all remember.
mkdir -m 700 "$tap_folder/head" "$tap_folder/alpha" "$tap_folder/beta"
for file in demo large; do
    RONDO_STATE=$tap_folder/head "$RONDO" measure "$tap_folder/$file.gguf" --threads 1 >/dev/null
done
cp "$tap_folder/head/"survey-*.json "$tap_folder/alpha"
cp "$tap_folder/head/"survey-*.json "$tap_folder/beta"
n_surveys=$(find "$tap_folder" -name "survey-*.json" | wc -l)

tap "nobody who does not help takes part" nobody_who_does_not_help_takes_part
tap "what does not fit is shared out" what_does_not_fit_is_shared_out
tap "hand-written layers have the last word" hand_written_layers_have_the_last_word
tap "a saved plan is applied" a_saved_plan_is_applied
tap "contradictions are refused" contradictions_are_refused
tap_end
