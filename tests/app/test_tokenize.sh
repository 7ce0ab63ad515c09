#!/usr/bin/env bash
# rondo tokenize, as a user meets it: tables, ids and JSON, and the way back byte for byte.
# shellcheck source=tests/support/tap.sh
source "$(dirname "$0")/../support/tap.sh"
cd "$tap_folder"

a_table_shows_ids_and_pieces() {
    "$RONDO" tokenize demo $'Once upon\n' >out
    grep -qx "     516  'Once'" out
    grep -qxF "      10  '\\n'" out
    tail -n 1 out | grep -qx '3 tokens, 10 bytes'
}

ids_lead_back_to_any_bytes() {
    head -c 65536 /dev/urandom >text
    "$RONDO" tokenize demo --ids <text >ids
    "$RONDO" tokenize demo --decode <ids | cmp - text
    [ "$(wc -l <ids)" -eq 1 ]
    : >empty
    [ -z "$("$RONDO" tokenize demo --ids <empty)" ]
}

control_tokens_need_the_option() {
    [ "$("$RONDO" tokenize demo --ids --control '<|im_end|>')" = 2047 ]
    "$RONDO" tokenize demo --ids '<|im_end|>' >ids
    refused grep -q 2047 ids
    [ "$("$RONDO" tokenize demo --decode '72 2047')" = H ]
    [ "$("$RONDO" tokenize demo --decode --control '[72, 2047]')" = 'H<|im_end|>' ]
}

json_tells_pieces_and_broken_characters() {
    "$RONDO" tokenize demo --json $'a\xc3\xa4' >out
    grep -qF '"count":3' out
    grep -qF '{"id":97,"piece":"a","control":false}' out
    grep -qF '"bytes":[195]' out
    [ "$("$RONDO" tokenize demo --json --decode '97,195,164')" = $'{"text":"a\xc3\xa4"}' ]
}

what_is_no_id_is_named() {
    local bad
    for bad in 2048 x -1 1x 99999999999999999999 '1;2'; do
        if "$RONDO" tokenize demo --decode "7 $bad" 2>err; then
            return 1
        fi
        [ "$(wc -l <err)" -eq 1 ]
        grep -qF "'$bad' is no token id" err
    done
    status=0
    "$RONDO" tokenize demo --decode --ids 1 2>/dev/null || status=$?
    [ "$status" -eq 2 ]
}

speed_is_told_for_each_text() {
    "$RONDO" tokenize demo --bench 'Once upon a time' >out
    [ "$(wc -l <out)" -eq 11 ]
    grep -Eqx 'text +1048576 +[0-9]+ +[0-9]+[.][0-9]' out
    grep -Eqx 'random letters +1048576 +[0-9]+ +[0-9]+[.][0-9]' out
    code=0
    "$RONDO" tokenize demo --bench --ids x 2>err || code=$?
    [ "$code" -eq 2 ] && grep -q 'figures only' err
    code=0
    "$RONDO" tokenize demo --bench '' 2>err || code=$?
    [ "$code" -eq 2 ] && grep -q 'empty' err
}

tap 'a table shows ids and pieces' a_table_shows_ids_and_pieces
tap 'ids lead back to any bytes' ids_lead_back_to_any_bytes
tap 'control tokens need the option' control_tokens_need_the_option
tap 'JSON tells pieces and broken characters' json_tells_pieces_and_broken_characters
tap 'what is no id is named' what_is_no_id_is_named
tap 'speed is told for each text' speed_is_told_for_each_text
tap_end
