#!/usr/bin/env bash
# rondo plan, as a user meets it: machines that are not there, plans of them, what could be bought,
# plans that are kept and written by hand, and sentences for what cannot be.
# shellcheck source=tests/support/tap.sh
source "$(dirname "$0")/../support/tap.sh"
cd "$tap_folder"
export LC_ALL=C RONDO_STATE=$tap_folder/state

cat >paper.json <<'END'
{"machines": [{"device": "d4"}, {"device": "d3"}, {"device": "d2"}, {"device": "d1"}]}
END
cat >home.json <<'END'
{"machines": [{"device": "pi5-8gb", "name": "attic"}, {"device": "n100-16gb"},
              {"device": "office-2015-8gb", "name": "desk"}]}
END

# number FILE PATH: what stands in JSON at KEY.KEY..
number() {
    python3 -c 'import json, sys
x = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    x = x[int(key)] if key.isdigit() else x[key]
print(x)' "$1" "$2"
}

at_most() { # A B: A <= B, as numbers
    python3 -c 'import sys; sys.exit(not float(sys.argv[1]) <= float(sys.argv[2]))' "$1" "$2"
}

a_plan_has_layers_memory_times_and_reasons() {
    "$RONDO" plan like:70b --cluster paper.json >out
    grep -Eq '^a token +[0-9.]+ (ms|s), [0-9.]+ tokens/s$' out
    grep -Eq '^first token +[0-9.]+ (ms|s) after a prompt of 256 tokens' out
    [ "$(grep -o '[A-D]\{2,\}' out | tr -d '\n' | wc -c)" -ge 70 ]
    for name in d1 d2 d3 d4; do grep -Eq "^(memory)? +[A-D] $name .*GiB: .*weights" out; done
    grep -q 'read from the disks for each token' out
    grep -q 'rounds, because' out
    grep -q 'layers are planned for GPUs' out
    refused grep -q $'\033' out
}

a_small_model_leaves_machines_out_and_says_what_they_would_cost() {
    "$RONDO" plan like:1b --cluster home.json --objective latency >out
    grep -Eq '^- (attic|n100-16gb) is left out: with it a token would take .* \(\+[0-9.]+ %\)\.$' out
    "$RONDO" plan like:1b --cluster home.json --objective latency --json >json
    [ "$(number json plan.nodes.0.layers)" -eq 16 ]
}

comparing_names_every_other_choice() {
    "$RONDO" plan like:32b --cluster home.json --compare >out
    for what in 'this plan' 'without ' 'desk alone' 'n100-16gb as the head' \
        'as many layers for all'; do
        grep -Eq "^$what" out
    done
    "$RONDO" plan like:32b --cluster home.json --compare --json >json
    local best i
    best=$(number json compare.0.tpot_ms)
    for i in 1 2 3; do at_most "$best" "$(number json compare.$i.tpot_ms)"; done
}

what_would_help_most_is_planned_too() {
    "$RONDO" plan like:70b --cluster paper.json --compare --json >json
    local kind
    for kind in '4 GiB more in ' 'a disk twice as fast in ' 'a processor twice as fast in ' \
        'a network twice as fast'; do
        python3 - "$kind" <<'END'
import json, sys
cases = json.load(open("json"))["compare"]
better = [c for c in cases if c["what"].startswith(sys.argv[1])]
assert len(better) == 1, better
def answer(case):
    return case["tpot_ms"] + case["ttft_ms"] / 256
assert answer(better[0]) <= 1.0001 * answer(cases[0]), better
END
    done
    # Nothing is streamed, so neither memory nor disks help.
    "$RONDO" plan like:1b --cluster home.json --objective latency --compare >out
    grep -Eq '^a processor twice as fast in desk .*-[1-9]' out
    refused grep -Eq '^(4 GiB more|a disk)' out
}

json_has_plan_reasons_and_machines() {
    "$RONDO" plan like:8b:Q8_0 --cluster home.json --users 3 --prompt 512 --json >json
    [ "$(number json plan.model_layers)" -eq 32 ]
    [ "$(number json cluster.machines.2.name)" = desk ]
    number json why.0 | grep -q '\.$'
    number json plan.tokens_per_s >/dev/null
}

a_saved_plan_is_the_same_when_applied() {
    "$RONDO" plan like:70b --cluster paper.json --save kept.json --json >made
    "$RONDO" plan like:70b --cluster paper.json --apply kept.json --json >applied
    [ "$(number made plan.nodes.1.windows)" = "$(number applied plan.nodes.1.windows)" ]
    at_most "$(number applied plan.tpot_ms)" "$(python3 -c "print(1.02 * $(number made plan.tpot_ms))")"
    at_most "$(number made plan.tpot_ms)" "$(python3 -c "print(1.02 * $(number applied plan.tpot_ms))")"
}

a_plan_may_be_written_by_hand() {
    echo '{"rounds": 2, "nodes": [{"name": "n100-16gb", "layers": 20}, {"name": "desk", "layers": 12}]}' >mine.json
    "$RONDO" plan like:8b --cluster home.json --apply mine.json --json >json
    [ "$(number json plan.nodes.0.windows)" = "['0-9', '16-25']" ]
    "$RONDO" plan like:8b --cluster home.json --layers 0,20,12 --rounds 2 --json >same
    [ "$(number json plan.tpot_ms)" = "$(number same plan.tpot_ms)" ]
    # Windows of one's own, which no formula foretells.
    echo '{"rounds": 2, "nodes": [{"name": "n100-16gb", "windows": ["0-15", "20-23"]},
           {"name": "desk", "windows": ["16-19", "24-31"]}]}' >windows.json
    "$RONDO" plan like:8b --cluster home.json --apply windows.json --json >json
    [ "$(number json plan.nodes.0.layers)" -eq 20 ]
    [ "$(number json plan.nodes.1.windows.1)" = 24-31 ]
    at_most 1 "$(number json plan.tpot_ms)"
}

what_could_be_bought_is_shown_beside_what_is_there() {
    "$RONDO" plan like:70b --cluster home.json --what-if pi5-8gb,desktop-ddr5-64gb >out
    grep -q '^as it is' out
    grep -q '^with pi5-8gb, desktop-ddr5-64gb' out
    "$RONDO" plan like:70b --cluster home.json --what-if pi5-8gb,desktop-ddr5-64gb --json >json
    at_most "$(number json what_if.3.tpot_ms)" "$(number json what_if.1.tpot_ms)"
    at_most "$(number json what_if.2.tpot_ms)" "$(number json what_if.0.tpot_ms)"
    cat >mine.json <<'END'
{"name": "mine", "memory_bytes": "40G", "disk_bytes_per_s": 2e9, "network":
{"latency_us": 100, "bytes_per_s": 1e8}, "cpu": {"weights_bytes_per_s": {"Q4_K": {"lanes": {"1": 5e10}}}}}
END
    "$RONDO" plan like:70b --cluster home.json --what-if ./mine.json >out
    grep -q '^with mine' out
}

every_device_of_the_list_can_be_planned_with() {
    "$RONDO" plan --devices >list
    grep -Eq '^desktop-rtx3060-12gb +13.0 GiB .* 11.5 GiB  desktop, ' list
    sed -n '2,/^$/p' list | sed '$d' >devices
    [ "$(wc -l <devices)" -ge 15 ]
    while read -r name _; do
        echo "{\"machines\": [{\"device\": \"$name\"}]}" >one.json
        "$RONDO" plan like:1b --cluster one.json >out
        grep -Eq '^a token +[0-9.]+ ms' out
    done <devices
}

this_machine_is_measured_without_a_cluster() {
    "$RONDO" plan demo --json --threads 1 >json
    [ "$(number json plan.nodes.0.layers)" -ge 1 ]
    "$RONDO" plan like:1b --threads 1 >out
    grep -q 'no disk was measured' out
}

objectives_differ_in_what_is_best() {
    local what
    for what in answer latency first throughput; do
        "$RONDO" plan like:32b --cluster home.json --users 4 --objective $what --json >$what
    done
    at_most "$(number latency plan.tpot_ms)" "$(number first plan.tpot_ms)"
    at_most "$(number latency plan.tpot_ms)" "$(number answer plan.tpot_ms)"
    at_most "$(number first plan.ttft_ms)" "$(number latency plan.ttft_ms)"
    at_most "$(number latency plan.tpot_ms)" "$(number answer plan.tpot_ms)"
    at_most "$(number latency plan.tokens_per_s)" "$(number throughput plan.tokens_per_s)"
}

# says TEXT ARGUMENT...: refused, with one line that has TEXT.
says() {
    local text=$1
    shift
    refused "$RONDO" plan "$@" >out 2>err
    [ "$(wc -l <err)" -eq 1 ]
    [ ! -s out ]
    cat err
    grep -qF -- "$text" err
}

what_cannot_be_is_a_sentence() {
    says 'which model?'
    says "there is no shape '9000b'; shapes are" like:9000b
    says "there is no weight format 'Q9'" like:8b:Q9
    says 'give one of them' like:8b --model-like 8b
    says 'does not fit a context of 4096' like:8b --cluster home.json --prompt 5000
    says 'cannot be opened' like:8b --cluster none.json
    : >empty.json
    says 'is empty, or a pipe' like:8b --cluster empty.json
    echo '{"machines": [' >broken.json
    says 'is no JSON' like:8b --cluster broken.json
    head -c 3000 /dev/urandom >noise.json
    says 'is no JSON' like:8b --cluster noise.json
    echo '{"machines": [{"device": "pi5-8g"}]}' >near.json
    says 'did you mean pi5-8gb?' like:8b --cluster near.json
    says 'did you mean phone-8gb?' like:8b --cluster home.json --what-if fone-8gb
    says '--layers wants 3 numbers' like:8b --cluster home.json --layers 16,16
    says 'add up to' like:8b --cluster home.json --layers 1,1,1
    echo '{"nodes": [{"name": "cellar", "layers": 32}]}' >strange.json
    says "node 'cellar' is none of the machines" like:8b --cluster home.json --apply strange.json
    echo '{"nodes": [{"name": "attic", "layers": 32}]}' >headless.json
    says 'the head must be the last' like:8b --cluster home.json --apply headless.json
    echo '{"nodes": [{"name": "desk", "layers": 31}]}' >few.json
    says 'have 31 layers together; the model has 32' like:8b --cluster home.json --apply few.json
    echo '{"machines": [{"device": "pi4-8gb", "memory_bytes": "100M"}]}' >tiny.json
    says 'memory are missing' like:70b --cluster tiny.json
    says 'cannot be created' like:8b --cluster home.json --save no/such/folder
}

if command -v python3 >/dev/null; then
    tap 'a plan has layers, memory, times and reasons' a_plan_has_layers_memory_times_and_reasons
    tap 'a small model leaves machines out and says what they would cost' \
        a_small_model_leaves_machines_out_and_says_what_they_would_cost
    tap 'comparing names every other choice' comparing_names_every_other_choice
    tap 'what would help most is planned too' what_would_help_most_is_planned_too
    tap 'JSON has plan, reasons and machines' json_has_plan_reasons_and_machines
    tap 'a saved plan is the same when applied' a_saved_plan_is_the_same_when_applied
    tap 'a plan may be written by hand' a_plan_may_be_written_by_hand
    tap 'what could be bought is shown beside what is there' \
        what_could_be_bought_is_shown_beside_what_is_there
    tap 'every device of the list can be planned with' every_device_of_the_list_can_be_planned_with
    tap 'this machine is measured without a cluster' this_machine_is_measured_without_a_cluster
    tap 'objectives differ in what is best' objectives_differ_in_what_is_best
    tap 'what cannot be is a sentence' what_cannot_be_is_a_sentence
else
    tap_skip 'plans are read' 'python3 is not here, which reads the JSON'
fi
tap_end
