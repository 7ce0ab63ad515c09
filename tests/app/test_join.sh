#!/usr/bin/env bash
# rondo run --workers, rondo join and rondo token as a user meets them, on loopback.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

declare -A pid=()

# start_head OPTION...: waits until its token is there.
start_head() {
    rm -f "$tap_folder/token"
    RONDO_STATE=$tap_folder/head "$RONDO" run demo "Once upon a time" --raw --temp 0 -n 20 \
        --threads 1 --name head --listen 127.0.0.1:0 --token-file "$tap_folder/token" "$@" \
        >"$tap_folder/out" 2>"$tap_folder/head.log" &
    pid[head]=$!
    until_true [ -s "$tap_folder/token" ]
}

start_worker() {
    RONDO_STATE=$tap_folder/$1 "$RONDO" join "$(cat "$tap_folder/token")" --threads 1 \
        --name "$1" --listen 127.0.0.1 2>"$tap_folder/$1.log" &
    pid[$1]=$!
}

a_worker_without_a_usable_model_ends_at_once() {
    trap end_all EXIT
    start_head --workers 1
    local model status
    printf 'no model' >"$tap_folder/no.gguf"
    for model in "$tap_folder" "$tap_folder/no.gguf" "$tap_folder/absent.gguf"; do
        status=0
        RONDO_STATE=$tap_folder/gamma timeout 30 "$RONDO" join "$(cat "$tap_folder/token")" \
            --model "$model" --listen 127.0.0.1 2>"$tap_folder/gamma.log" || status=$?
        [ "$status" -eq 1 ] || return 1
        grep -q "^rondo: $model: " "$tap_folder/gamma.log" || return 1
    done
}

a_ring_set_in_the_environment_is_no_error_alone() {
    RONDO_ROUNDS=2 "$RONDO" run demo "Once" --raw -n 2 --threads 1 >/dev/null || return 1
    local status=0
    "$RONDO" run demo "Once" --raw -n 2 --rounds 2 >/dev/null 2>&1 || status=$?
    [ "$status" -eq 2 ]
}

joined() { grep -q joined "$tap_folder/$1.log"; }

# field NAME FILE: a list or text of a file with one line of JSON.
field() {
    grep -o "\"$1\":\(\[[^]]*\]\|\"[^\"]*\"\)" "$tap_folder/$2"
}

a_ring_answers_as_one_node_does() {
    trap end_all EXIT
    start_head --workers 2 --rounds 2 --layers 3,2,3 --json
    start_worker alpha
    until_true joined alpha
    start_worker beta
    wait "${pid[head]}"
    "$RONDO" run demo "Once upon a time" --raw --temp 0 -n 20 --threads 1 --json >"$tap_folder/alone"
    local what
    for what in tokens prompt_tokens logits_sha256; do
        [ -n "$(field "$what" alone)" ]
        [ "$(field "$what" out)" = "$(field "$what" alone)" ]
    done
    grep -o '"name":"[a-z]*"\|"windows":\[\[[0-9,]*\],\[[0-9,]*\]\]' "$tap_folder/out" |
        paste -s | tr -d '\t"' >"$tap_folder/map"
    cat "$tap_folder/map"
    [ "$(cat "$tap_folder/map")" = \
        'name:alphawindows:[[0,2],[5,6]]name:betawindows:[[2,3],[6,7]]name:headwindows:[[3,5],[7,8]]' ]
    # The token file was the head's and went with it; a worker stops when it is asked to.
    [ ! -e "$tap_folder/token" ]
    kill -TERM "${pid[alpha]}"
    wait "${pid[alpha]}"
}

ctrl_c_ends_the_wait_for_workers() {
    trap end_all EXIT
    start_head --workers 1
    kill -INT "${pid[head]}"
    local status=0
    wait "${pid[head]}" || status=$?
    [ "$status" -eq 130 ]
}

wrong_words_are_sentences() {
    local status=0
    "$RONDO" join rondo-xyz 2>"$tap_folder/err" || status=$?
    cat "$tap_folder/err"
    [ "$status" -ne 0 ] && [ "$(wc -l <"$tap_folder/err")" -eq 1 ]
    status=0
    "$RONDO" run demo x --rounds 2 2>"$tap_folder/err" || status=$?
    [ "$status" -eq 2 ] && grep -q -e '--workers' "$tap_folder/err"
    status=0
    RONDO_STATE=$tap_folder/head "$RONDO" run demo x --workers 2 --layers 3,2 \
        2>"$tap_folder/err" || status=$?
    [ "$status" -eq 2 ] && grep -q '3 numbers' "$tap_folder/err"
}

tokens_are_listed_expired_and_revoked() {
    trap end_all EXIT
    export RONDO_STATE=$tap_folder/head
    start_head --workers 2 --even
    start_worker alpha
    until_true joined alpha
    "$RONDO" token list
    "$RONDO" token list | grep -q 'valid$'
    "$RONDO" token list | grep -q ' alpha .*known$'
    local id status=0
    id=$("$RONDO" token list | sed -n 's/^\([0-9a-f]\{16\}\) .*valid$/\1/p' | tail -n 1)
    "$RONDO" token list --json | grep -q "\"id\":\"$id\""
    "$RONDO" token expire "$id"
    "$RONDO" token list | grep -q "^$id .*expired$"
    "$RONDO" token revoke "$id"
    "$RONDO" token list | grep -q "^$id .*revoked$"
    "$RONDO" token revoke alpha
    "$RONDO" token list | grep -q ' alpha .*revoked$'
    refused "$RONDO" token revoke nobody
    # Who is new is not let in any more, and is told why.
    start_worker gamma
    wait "${pid[gamma]}" || status=$?
    [ "$status" -eq 5 ] && grep -q revoked "$tap_folder/gamma.log"
}

mkdir -m 700 "$tap_folder"/{head,alpha,beta,gamma}
tap "a ring answers as one node does, logits included" a_ring_answers_as_one_node_does
tap "ctrl-c ends the wait for workers" ctrl_c_ends_the_wait_for_workers
tap "wrong words are sentences" wrong_words_are_sentences
tap "a worker without a usable model ends at once" a_worker_without_a_usable_model_ends_at_once
tap "a ring set in the environment is no error alone" a_ring_set_in_the_environment_is_no_error_alone
tap "tokens are listed, expired and revoked" tokens_are_listed_expired_and_revoked
tap_end
