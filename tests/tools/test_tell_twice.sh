#!/usr/bin/env bash
# What script/demo and script/story do: three nodes and one must be found equal when they are,
# different when they are not, and nothing may be left running.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

tell() {
    timeout 120 "$tap_root/tools/tell_twice.sh" "$1" demo "Tell me a story about a fox." -n 40
}

# A rondo that tells something else when it is alone: $1 is an edit of its answer.
liar() {
    cat >"$tap_folder/liar" <<EOF
#!/bin/bash
case " \$* " in
*" --workers "* | " join "*) exec -a "\$0" "$RONDO" "\$@" ;;
*) "$RONDO" "\$@" | sed -E '$1' ;;
esac
EOF
    chmod +x "$tap_folder/liar"
}

# No process has this test's scratch folder in its environment: XDG_STATE_HOME lies in TMPDIR.
nothing_is_left() {
    local left
    left=$(grep -lzs "^XDG_STATE_HOME=$TMPDIR/" /proc/[0-9]*/environ || true)
    [ -z "$left" ]
}

equal_stories() {
    tell "$RONDO" | tee "$tap_folder/told"
    grep -q '^equal: 40 tokens' "$tap_folder/told"
}

other_tokens() {
    liar 's/"tokens":\[[0-9]+/"tokens":[1/'
    refused tell "$tap_folder/liar"
}

other_logits() {
    liar 's/"logits_sha256":"./"logits_sha256":"x/'
    refused tell "$tap_folder/liar"
}

no_answer() {
    liar 's/.*//'
    refused tell "$tap_folder/liar"
}

# Its workers never join, so it would wait for them.
killed_half_way() {
    cat >"$tap_folder/waiting" <<EOF
#!/bin/bash
[ "\$1" != join ] || exec sleep 60
exec "$RONDO" "\$@"
EOF
    chmod +x "$tap_folder/waiting"
    "$tap_root/tools/tell_twice.sh" "$tap_folder/waiting" demo "Tell me a story." &
    local pid=$! running=no
    sleep 1
    nothing_is_left || running=yes
    kill "$pid"
    wait "$pid" || true
    nothing_is_left
    [ "$running" = yes ]
}

export TMPDIR=$tap_folder
tap "three nodes and one tell the same" equal_stories
tap "other tokens are noticed" other_tokens
tap "other logits are noticed" other_logits
tap "no answer is no equality" no_answer
tap "a run that is killed ends its processes" killed_half_way
tap "nothing is left running" nothing_is_left
tap_end
