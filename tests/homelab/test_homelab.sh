#!/usr/bin/env bash
# Homes in a box, as root: their limits bind, a ring in one answers as one machine does, and nothing
# is left of them. Every time here is a least one, which a busy machine only makes longer.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

build=$(dirname "$RONDO")
homelab=$build/tests/homelab/homelab
exert=$build/tools/exert
hog=$build/tools/hog
demo=$build/models/tales-q8_0.gguf
mib=1048576

printf 'all model shared\nnode head\nnode one\n' >"$tap_folder/two.home"
if ! "$homelab" up "$tap_folder/two.home" -- true 2>"$tap_folder/why"; then
    echo "1..0 # SKIP $(cat "$tap_folder/why")"
    exit 0
fi

# home LINE...: a description of these lines, as $home.
home() {
    home=$tap_folder/home
    printf '%s\n' "$@" >"$home"
}

# in_home COMMAND: what a shell on the head of $home prints.
in_home() {
    "$homelab" up "$home" -- bash -euc "$1"
}

# left_of ID: the groups, notes and copies of that home which are still there.
left_of() {
    find /sys/fs/cgroup -type d -name "rondo-home-$1-*"
    find /run/rondo-homelab /var/tmp -maxdepth 1 -name "*$1*"
}

id_of_home="basename \$HOMELAB" # for the shell in a home

# at_least MS: whether the last line of its input says that something took as long.
at_least() {
    awk -v least="$1" '{ print } END { exit !($2 == "ms" && $1 >= least) }'
}

# ---- what a node is

nodes_have_names_addresses_and_ways_to_each_other() {
    home "node head" "node one memory 200MiB" "node two delay 1ms"
    in_home "
        [ \$(hostname) = head ]
        [ \"\$HOMELAB_NODES\" = 'head one two' ]
        [ \$('$homelab' in one hostname) = one ]
        [ \$('$homelab' in two sh -c 'echo \$HOMELAB_IP') = 10.77.0.3 ]
        '$homelab' in two '$homelab' in head '$homelab' in one '$exert' serve 900 &
        '$exert' send 10.77.0.2 900 100000"
    [ "$("$homelab" up "$home" -- echo '{two} {ip} {three}')" = "10.77.0.3 10.77.0.1 {three}" ]
}

models_are_copies_or_shared() {
    home "node head" "node one model shared"
    "$homelab" up "$home" --model "$demo" -- bash -euc "
        cmp '$demo' {model}
        [ '$demo' != {model} ]
        [ \$('$homelab' in one sh -c 'echo \$HOMELAB_MODEL') = \$(realpath '$demo') ]
        $id_of_home" >"$tap_folder/id"
    [ -z "$(left_of "$(cat "$tap_folder/id")")" ]
}

the_status_is_that_of_the_command() {
    home "node head"
    status 0 "$homelab" up "$home" -- true
    status 7 "$homelab" up "$home" -- sh -c 'exit 7'
    status 127 "$homelab" up "$home" -- "$tap_folder/not-there"
    status 2 "$homelab" up "$home"
    status 2 "$homelab" up "$tap_folder/not-there" -- true
    status 2 "$homelab" up "$home" --wrong -- true
    status 2 "$homelab" in one true
}

# ---- limits

a_share_of_a_processor_binds() {
    home "node head cpu 0.25" "node one"
    in_home "'$exert' cpu 200" | at_least 700
    home "node head cpus 1"
    [ "$(in_home nproc)" -eq 1 ]
}

memory_binds() {
    home "node head" "node one memory 32MiB"
    status 137 in_home "'$homelab' in one '$hog' $((64 * mib)) 2e9 0"
    in_home "'$homelab' in one '$hog' $((16 * mib)) 2e9 0"
    head -c $((64 * mib)) /dev/zero >"$tap_folder/zeros"
    in_home "'$homelab' in one cat '$tap_folder/zeros' | cmp - '$tap_folder/zeros'"
}

a_read_rate_binds() {
    "$homelab" up "$disk_home" --model "$zeros" -- "$exert" read '{model}' $((16 * mib)) |
        at_least 700
}

# There and back at once, so the time is that of one way.
a_rate_binds() {
    home "all rate 40Mbit/s" "node head" "node one"
    in_home "'$homelab' in one '$exert' serve 900 & '$exert' send {one} 900 2500000" | at_least 400
    home "all rate 40Mbit/s air wifi" "node head" "node one" # each frame four times in the air
    in_home "'$homelab' in one '$exert' serve 900 & '$exert' send {one} 900 1000000" | at_least 700
}

a_delay_is_kept() {
    home "all delay 50ms jitter 10ms" "node head" "node one"
    in_home "'$homelab' in one '$exert' serve 900 & '$exert' send {one} 900 1" | at_least 160
}

loss_and_outages_damage_nothing() {
    home "all delay 1ms jitter 1ms loss 2%" "node head" "node one outage 100ms every 400ms"
    in_home "'$homelab' in one '$exert' serve 900 & '$exert' send {one} 900 1000000"
}

# ---- rings

answer='"tokens":\[[0-9,]*\],"prompt_tokens":\[[0-9,]*\]'

a_ring_in_a_home_answers_as_one_machine_does() {
    "$homelab" run "$tap_folder/two.home" "$demo" --exec "$RONDO" --even --json -n 24 \
        --prompt Once |
        grep -o "$answer" >"$tap_folder/ring"
    "$RONDO" run "$demo" Once --raw --json --temp 0 -n 24 | grep -o "$answer" >"$tap_folder/alone"
    cat "$tap_folder/ring" "$tap_folder/alone"
    cmp "$tap_folder/ring" "$tap_folder/alone"
}

# Without --even the head measures the machines and plans; what it foretells is in the report.
a_plan_is_made_in_a_home() {
    "$homelab" run "$tap_folder/two.home" "$demo" --exec "$RONDO" --json -n 4 \
        --prompt-tokens 20 >"$tap_folder/json"
    grep -q '"planned_tpot_ms":[0-9.]*[1-9]' "$tap_folder/json"
}

# Even shares, because measuring takes longer than all the rest.
every_home_answers() {
    local file n=0
    for file in "$tap_root"/homes/*.home; do
        echo "$file"
        "$homelab" run "$file" "$demo" --exec "$RONDO" --even --json -n 4 --limit 60 \
            --prompt Once >"$tap_folder/json"
        grep -q '"generated":4' "$tap_folder/json"
        [ "$(grep -o '"peak_bytes"' "$tap_folder/json" | wc -l)" -eq "$(grep -c ^node "$file")" ]
        n=$((n + 1))
    done
    [ "$n" -ge 7 ]
}

# The user reads which machine it was, whatever the rest of the home does. The links are slow, because
# the answer must not have ended by then: it is of some hundred tokens.
a_killed_worker_is_told() {
    home "all model shared cpu 0.5 delay 20ms" "node head" "node one"
    # shellcheck disable=SC2016 # the inner shell's variables
    status 3 "$homelab" up "$home" --model "$demo" -- bash -uc '
        folder=$HOMELAB homelab=$1 rondo=$2
        "$rondo" run {model} Once --raw --temp 0 -n 100000 -c 4096 --ctx-shift --workers 1 \
            --even --token-file "$folder/token" --name head >"$folder/out" 2>"$folder/log" &
        head=$!
        until [ -s "$folder/token" ]; do sleep 0.02; done
        "$homelab" in one "$rondo" join "$(cat "$folder/token")" --model {model} --name one &
        worker=$!
        until [ -s "$folder/out" ]; do sleep 0.02; done
        kill -KILL "$worker"
        wait "$head"
        code=$?
        cat "$folder/log"
        exit "$code"' bash "$homelab" "$RONDO" | tee "$tap_folder/said"
    grep -q '^rondo: .*one' "$tap_folder/said"
}

a_failed_ring_says_why() {
    home "all model shared" "node head" "node one"
    status 2 "$homelab" run "$home" "$demo" --exec "$RONDO" -n 4 --prompt Once --no-such-option \
        2>"$tap_folder/said"
    cat "$tap_folder/said"
    grep -q 'no-such-option' "$tap_folder/said"
    status 1 "$homelab" run "$home" "$tap_folder/no-model" --exec "$RONDO" --prompt Once
}

# ---- the end

nothing_is_left_of_a_home() {
    home "all memory 100MiB" "node head" "node one delay 1ms"
    in_home "$id_of_home; '$homelab' in one sleep 1000 & sleep 0.1" >"$tap_folder/id"
    [ -z "$(left_of "$(cat "$tap_folder/id")")" ]
    status 5 "$homelab" up "$home" -- sh -c "$id_of_home; exit 5" >"$tap_folder/id"
    [ -z "$(left_of "$(tail -n 2 "$tap_folder/id" | head -n 1)")" ]
}

# start_home: a home whose processes sleep, as $owner and $id. It ends with the test.
declare -A pid=()
start_home() {
    trap end_all EXIT
    home "all memory 100MiB" "node head" "node one delay 1ms"
    rm -f "$tap_folder/id"
    "$homelab" up "$home" --model "$demo" -- bash -euc "
        '$homelab' in one sleep 98765 &
        $id_of_home >'$tap_folder/id'
        exec sleep 98765" &
    owner=$!
    pid[$owner]=$owner
    until_true [ -s "$tap_folder/id" ]
    id=$(cat "$tap_folder/id")
}

ended_by_a_signal_it_removes_all() {
    start_home
    [ -n "$(left_of "$id")" ]
    kill -TERM "$owner"
    status 143 wait "$owner"
    [ -z "$(left_of "$id")" ]
}

# What a killed owner leaves has no processes, and goes with the next home; others' stay.
killed_it_leaves_no_processes_and_the_next_removes_the_rest() {
    start_home
    local first=$id first_owner=$owner group
    start_home
    group=$(find /sys/fs/cgroup -type d -name "rondo-home-$first-one" | head -n 1)
    kill -KILL "$first_owner"
    wait "$first_owner" || true
    until_true no_process_in "$group"
    [ -n "$(left_of "$first")" ]
    until_true gone_after "$first" "$homelab" clean
    [ -n "$(left_of "$id")" ]
    kill -KILL "$owner"
    wait "$owner" || true
    until_true gone_after "$id" "$homelab" up "$tap_folder/two.home" -- true
}
# The kernel takes a moment to end what a killed home has been.
gone_after() {
    "${@:2}"
    [ -z "$(left_of "$1")" ]
}
no_process_in() { [ -z "$(cat "$1/cgroup.procs")" ]; }

tap "nodes have names, addresses and ways to each other" \
    nodes_have_names_addresses_and_ways_to_each_other
tap "models are copies, or shared" models_are_copies_or_shared
tap "the status is that of the command" the_status_is_that_of_the_command
tap "a share of a processor binds" a_share_of_a_processor_binds
tap "memory binds" memory_binds
disk_home=$tap_folder/disk.home
zeros=$tap_folder/16m
echo "node head disk 16MB/s" >"$disk_home"
head -c $((16 * mib)) /dev/zero >"$zeros"
"$homelab" up "$disk_home" --model "$zeros" -- true 2>"$tap_folder/why" || true
if grep -q 'lies on no disk\|has no control groups for' "$tap_folder/why"; then
    tap_skip "a read rate binds" "$(cat "$tap_folder/why")"
else
    tap "a read rate binds" a_read_rate_binds
fi
tap "a rate binds, of a cable and of the air" a_rate_binds
tap "a delay is kept" a_delay_is_kept
tap "loss and outages damage nothing" loss_and_outages_damage_nothing
tap "a ring in a home answers as one machine does" a_ring_in_a_home_answers_as_one_machine_does
tap "a plan is made in a home" a_plan_is_made_in_a_home
tap "every home of homes/ answers" every_home_answers
tap "a killed worker is told" a_killed_worker_is_told
tap "a ring that fails says why" a_failed_ring_says_why
tap "nothing is left of a home, however its command ends" nothing_is_left_of_a_home
tap "ended by a signal it removes all of it" ended_by_a_signal_it_removes_all
tap "killed it leaves no process, and the next one removes the rest" \
    killed_it_leaves_no_processes_and_the_next_removes_the_rest
tap_end
