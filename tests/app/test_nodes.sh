#!/usr/bin/env bash
# rondo nodes and rondo run --trace, with a ring of the demo model on loopback.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

declare -A pid=()
export RONDO_STATE=$tap_folder/head
unset XDG_RUNTIME_DIR

# start_head NAME OPTION...: waits until its token is there.
start_head() {
    local name=$1
    shift
    rm -f "$tap_folder/$name.token"
    "$RONDO" run demo "Once upon a time" --raw --temp 0 --threads 1 --name "$name" \
        --listen 127.0.0.1:0 --token-file "$tap_folder/$name.token" "$@" \
        >"$tap_folder/$name.out" 2>"$tap_folder/$name.log" &
    pid[$name]=$!
    until_true [ -s "$tap_folder/$name.token" ]
}

# start_worker NAME HEAD
start_worker() {
    RONDO_STATE=$tap_folder/$1 "$RONDO" join "$(cat "$tap_folder/$2.token")" --threads 1 \
        --name "$1" --listen 127.0.0.1 2>"$tap_folder/$1.log" &
    pid[$1]=$!
}

# nodes_say PATTERN: what rondo nodes prints has such a line; it is in nodes.log.
nodes_say() {
    "$RONDO" nodes >"$tap_folder/nodes.log" 2>&1 && grep -Eq -e "$1" "$tap_folder/nodes.log"
}

without_a_head_there_is_a_sentence() {
    local status=0
    "$RONDO" nodes 2>"$tap_folder/err" || status=$?
    cat "$tap_folder/err"
    [ "$status" -eq 3 ]
    [ "$(wc -l <"$tap_folder/err")" -eq 1 ]
    grep -q 'no head runs' "$tap_folder/err"
}

it_shows_who_has_joined_and_then_the_ring() {
    trap end_all EXIT
    start_head desk --workers 2 --even --rounds 2 -n 100000 --ctx-shift --ctx 256
    until_true nodes_say "^head ${pid[desk]}: demo, waiting for workers; 2 workers wanted$"
    start_worker alpha desk
    until_true nodes_say '^  worker alpha: waiting$'
    start_worker beta desk
    until_true nodes_say '^one token in '
    cat "$tap_folder/nodes.log"
    grep -q '^layer map: 8 layers, 3 nodes, k = 2$' "$tap_folder/nodes.log"
    local line
    for line in '1 alpha +0-1 +5 ' '2 beta +2-3 +6 ' '3 desk \(head\) +4 +7 '; do
        grep -Eq "^  $line" "$tap_folder/nodes.log"
    done
    grep -Eq '^times of a token \(medians of [0-9]+\): [0-9.]+ ms round the ring$' "$tap_folder/nodes.log"
    [ "$(grep -Ec '^(1 alpha|2 beta|3 desk \(head\)) ' "$tap_folder/nodes.log")" -eq 3 ]
    "$RONDO" nodes --json >"$tap_folder/json"
    grep -q "\"pid\":${pid[desk]}," "$tap_folder/json"
    grep -q '"state":"running"' "$tap_folder/json"
    grep -q '"members":\[{"name":"[a-z]*","state":"running"}' "$tap_folder/json"
    grep -q '"last_token":{' "$tap_folder/json"
    # Nobody else may ask.
    [ "$(stat -c %a "$RONDO_STATE/head-${pid[desk]}.sock")" = 600 ]
    kill -INT "${pid[desk]}"
    wait "${pid[desk]}" || true
    [ ! -e "$RONDO_STATE/head-${pid[desk]}.sock" ]
}

several_heads_are_told_apart_and_dead_ones_forgotten() {
    trap end_all EXIT
    start_head one --workers 1 --even
    start_head two --workers 1 --even
    until_true nodes_say "^head ${pid[two]}: demo, waiting"
    until_true nodes_say "^head ${pid[one]}: demo, waiting"
    [ "$(grep -c '^head' "$tap_folder/nodes.log")" -eq 2 ]
    kill -KILL "${pid[two]}"
    wait "${pid[two]}" 2>/dev/null || true
    [ -S "$RONDO_STATE/head-${pid[two]}.sock" ]
    nodes_say "^head ${pid[one]}: demo, waiting"
    [ "$(grep -c '^head' "$tap_folder/nodes.log")" -eq 1 ]
    [ ! -e "$RONDO_STATE/head-${pid[two]}.sock" ]
}

the_runtime_folder_is_used_where_there_is_one() {
    trap end_all EXIT
    mkdir -m 700 "$tap_folder/runtime"
    unset RONDO_STATE
    export XDG_RUNTIME_DIR=$tap_folder/runtime XDG_STATE_HOME=$tap_folder
    start_head one --workers 1 --even
    until_true [ -S "$tap_folder/runtime/rondo/head-${pid[one]}.sock" ]
    nodes_say "^head ${pid[one]}: "
}

a_stuck_client_harms_nobody() {
    trap end_all EXIT
    start_head one --workers 1 --even
    until_true nodes_say "^head ${pid[one]}: "
    # Connects and reads nothing, for as long as the test lasts.
    python3 - "$RONDO_STATE/head-${pid[one]}.sock" <<'PYTHON' &
import os, socket, sys, time
os.chdir(os.path.dirname(sys.argv[1]))
s = socket.socket(socket.AF_UNIX)
s.connect(os.path.basename(sys.argv[1]))
time.sleep(600)
PYTHON
    pid[stuck]=$!
    until_true nodes_say "^head ${pid[one]}: "
    nodes_say "^head ${pid[one]}: "
}

the_trace_has_every_node() {
    trap end_all EXIT
    start_head desk --workers 1 --even -n 8 --trace "$tap_folder/trace.json"
    start_worker alpha desk
    wait "${pid[desk]}"
    grep -q '^one token in ' "$tap_folder/desk.log"
    head -c 400 "$tap_folder/trace.json"
    grep -q '"args":{"name":"alpha"}' "$tap_folder/trace.json"
    grep -q '"args":{"name":"desk (head)"}' "$tap_folder/trace.json"
    # Eight passes, but what a worker reports of the last ones may come when the head has ended.
    [ "$(grep -c '"name":"layers 0-3","cat":"compute","ph":"X"' "$tap_folder/trace.json")" -ge 5 ]
    # Where it cannot be written that is said before anybody joins.
    local status=0
    "$RONDO" run demo x --workers 1 --trace "$tap_folder/no/trace" 2>"$tap_folder/err" || status=$?
    cat "$tap_folder/err"
    [ "$status" -eq 1 ] && grep -q 'cannot write the trace' "$tap_folder/err"
    status=0
    "$RONDO" run demo x --trace "$tap_folder/t" 2>"$tap_folder/err" || status=$?
    [ "$status" -eq 2 ] && grep -q -e '--workers' "$tap_folder/err"
}

mkdir -m 700 "$tap_folder"/{head,alpha,beta}
tap "without a head there is a sentence" without_a_head_there_is_a_sentence
tap "it shows who has joined, and then the ring" it_shows_who_has_joined_and_then_the_ring
tap "several heads are told apart, and dead ones forgotten" several_heads_are_told_apart_and_dead_ones_forgotten
tap "the runtime folder is used where there is one" the_runtime_folder_is_used_where_there_is_one
if command -v python3 >/dev/null; then
    tap "a stuck client harms nobody" a_stuck_client_harms_nobody
else
    tap_skip "a stuck client harms nobody" "no python3"
fi
tap "the trace has every node" the_trace_has_every_node
tap_end
