#!/usr/bin/env bash
# A ring over three network namespaces, and what can happen to it: a worker is killed, frozen or
# unplugged, the head is killed, strangers send garbage to every port or hold connections open.
#
#      head 10.77.0.1      alpha 10.77.0.2      beta 10.77.0.3
#            |                    |                   |
#            +--------- bridge in a fourth one -------+
#
# Each test starts its own processes and ends them. The head promises an end within five seconds;
# the guards here are wider, because the machine that runs the tests may be busy.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

tests=(a_killed_worker a_frozen_worker an_unplugged_worker a_killed_head garbage_on_every_port
    a_slow_loris)

ns() { echo "rondo-$$-$1"; }

# Whether this machine lets us make what the drawing shows.
can_make_networks() {
    ip netns add "$(ns probe)" || return 1
    local status=0
    ip -n "$(ns probe)" link add bridge type bridge || status=1
    ip -n "$(ns probe)" link add eth0 type veth peer name eth1 || status=1
    ip netns del "$(ns probe)"
    return "$status"
}

if ! can_make_networks 2>/dev/null; then
    for t in "${tests[@]}"; do
        tap_skip "${t//_/ }" "network namespaces, bridges and veth pairs need root"
    done
    tap_end
    exit
fi

declare -A address=([head]=10.77.0.1 [alpha]=10.77.0.2 [beta]=10.77.0.3)
declare -A pid=()

remove_network() {
    local node
    for node in head alpha beta switch; do
        ip netns del "$(ns "$node")" 2>/dev/null || true
    done
    rm -rf "$tap_folder"
}
trap remove_network EXIT

make_network() {
    ip netns add "$(ns switch)"
    ip -n "$(ns switch)" link add bridge type bridge
    ip -n "$(ns switch)" link set bridge up
    local node
    for node in head alpha beta; do
        ip netns add "$(ns "$node")"
        ip -n "$(ns "$node")" link set lo up
        ip -n "$(ns "$node")" link add eth0 type veth peer name "$node" netns "$(ns switch)"
        ip -n "$(ns "$node")" addr add "${address[$node]}/24" dev eth0
        ip -n "$(ns "$node")" link set eth0 up
        ip -n "$(ns switch)" link set "$node" master bridge up
        mkdir -m 700 "$tap_folder/$node"
    done
}

# ---- Processes. `pid` holds those of the running test; end_all is its last word.

end_all() {
    local node
    for node in "${!pid[@]}"; do
        kill -CONT "${pid[$node]}" 2>/dev/null || true
        kill -KILL "${pid[$node]}" 2>/dev/null || true
        wait "${pid[$node]}" 2>/dev/null || true
    done
}

# start_head WORKERS TOKENS [OPTION...]: a head that answers with the slow model.
start_head() {
    local workers=$1 tokens=$2
    shift 2
    rm -f "$tap_folder/token"
    # No function here: the process must be the one that $! names.
    RONDO_STATE=$tap_folder/head ip netns exec "$(ns head)" "$RONDO" run "$tap_folder/model.gguf" "Once" --raw --temp 0 --seed 1 \
        --threads 1 --workers "$workers" --even --rounds 2 --name head -n "$tokens" \
        --token-file "$tap_folder/token" "$@" >"$tap_folder/out" 2>"$tap_folder/head.log" &
    pid[head]=$!
    until_true "the token" [ -s "$tap_folder/token" ]
}

start_worker() {
    RONDO_STATE=$tap_folder/$1 ip netns exec "$(ns "$1")" "$RONDO" join "$(cat "$tap_folder/token")" --model "$tap_folder/model.gguf" \
        --threads 1 --name "$1" --listen :7701 >"$tap_folder/$1.log" 2>&1 &
    pid[$1]=$!
}

# until_true WHAT COMMAND...: polls for at most half a minute.
until_true() {
    local what=$1 i
    shift
    for ((i = 0; i < 600; i++)); do
        if "$@"; then return 0; fi
        sleep 0.05
    done
    echo "waited in vain for $what"
    show_logs
    return 1
}

said() { grep -q "$2" "$tap_folder/$1.log"; }
answering() { [ -s "$tap_folder/out" ]; }

show_logs() {
    tail -n 20 "$tap_folder"/*.log
}

# The head ends by itself: its exit code must be $1. Tells how long that took.
head_ends_with() {
    local begun=$EPOCHREALTIME status=0 i
    for ((i = 0; i < 400; i++)); do
        kill -0 "${pid[head]}" 2>/dev/null || break
        sleep 0.05
    done
    if [ "$i" -eq 400 ]; then
        echo "the head did not end"
        show_logs
        return 1
    fi
    wait "${pid[head]}" || status=$?
    unset 'pid[head]'
    awk -v a="$begun" -v b="$EPOCHREALTIME" \
        'BEGIN { printf "the head ended after %.1f s\n", b - a }' | tee -a "$tap_folder/times"
    cat "$tap_folder/head.log"
    [ "$status" -eq "$1" ]
}

# A ring of three that answers for long.
start_ring() {
    trap end_all EXIT
    start_head 2 4000
    start_worker alpha
    until_true "alpha" said alpha joined
    start_worker beta
    until_true "an answer" answering
}

# A new head takes the workers that are left, or came back, and has its whole answer.
next_head_answers() {
    start_head "$1" 8
    head_ends_with 0
    answering
}

# ---- The tests.

a_killed_worker() {
    start_ring
    kill -KILL "${pid[alpha]}"
    head_ends_with 3
    said head 'rondo: .*alpha'
    next_head_answers 1
}

a_frozen_worker() {
    start_ring
    kill -STOP "${pid[beta]}"
    head_ends_with 3
    said head 'rondo: .*beta'
    next_head_answers 1
    # Thawed, it finds out that it was given up, and comes back.
    kill -CONT "${pid[beta]}"
    next_head_answers 2
}

an_unplugged_worker() {
    start_ring
    ip -n "$(ns switch)" link set beta down
    local status=0
    head_ends_with 3 || status=1
    ip -n "$(ns switch)" link set beta up
    [ "$status" -eq 0 ]
    said head 'rondo: .*beta'
    next_head_answers 2
}

a_killed_head() {
    start_ring
    kill -KILL "${pid[head]}"
    wait "${pid[head]}" || true
    until_true "alpha to wait" said alpha 'waiting for the next head'
    until_true "beta to wait" said beta 'waiting for the next head'
    next_head_answers 2
}

# send_garbage NODE TO PORT: some lines, a TLS record header that lies, and noise.
send_garbage() {
    # shellcheck disable=SC2016 # the inner shell's arguments
    ip netns exec "$(ns "$1")" bash -c '
        exec 3<>"/dev/tcp/$1/$2" || exit 0
        case $3 in
        0) printf "GET / HTTP/1.1\r\n\r\n" >&3 ;;
        1) printf "\x16\x03\x01\xff\xff\x01\x00\xff\xff\xff" >&3 ;;
        2) head -c 100000 /dev/urandom >&3 ;;
        *) : ;;
        esac' garbage "${address[$2]}" "$3" "$4" 2>/dev/null || true
}

garbage_on_every_port() {
    trap end_all EXIT
    start_head 2 300
    start_worker alpha
    until_true "alpha" said alpha joined
    start_worker beta
    until_true "an answer" answering
    local i
    for ((i = 0; i < 12; i++)); do
        send_garbage beta head 7667 $((i % 4))
        send_garbage beta alpha 7701 $((i % 4))
        send_garbage alpha beta 7701 $((i % 4))
    done
    head_ends_with 0
    said head 'connection from .* refused'
    cmp "$tap_folder/out" "$tap_folder/alone"
    kill -0 "${pid[alpha]}" && kill -0 "${pid[beta]}"
}

# Forty connections that send a byte now and then, before anybody joined and while they do.
a_slow_loris() {
    trap end_all EXIT
    start_head 2 300
    # shellcheck disable=SC2016 # the inner shell's arguments
    ip netns exec "$(ns beta)" bash -c '
        for ((i = 0; i < 40; i++)); do
            exec {fd}<>"/dev/tcp/$1/7667" && fds+=("$fd")
        done 2>/dev/null
        while sleep 0.5; do
            for fd in "${fds[@]}"; do printf "\x16" >&"$fd" || true; done
        done 2>/dev/null' loris "${address[head]}" &
    pid[loris]=$!
    sleep 1
    start_worker alpha
    until_true "alpha" said alpha joined
    start_worker beta
    head_ends_with 0
    cmp "$tap_folder/out" "$tap_folder/alone"
}

make_network
"$RONDO" synth "$tap_folder/model.gguf" --layers 6 --embd 512 --heads 8 --kv-heads 4 --ffn 1536 \
    --vocab 1000 --ctx 8192 --type Q8_0 --tokenizer spm >/dev/null
"$RONDO" run "$tap_folder/model.gguf" "Once" --raw --temp 0 --seed 1 --threads 1 -n 300 \
    >"$tap_folder/alone"
for t in "${tests[@]}"; do
    tap "${t//_/ }" "$t"
done
sed 's/^/# /' "$tap_folder/times"
tap_end
