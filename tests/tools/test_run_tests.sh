#!/usr/bin/env bash
# The program that counts tests must not be fooled: each way of not passing is tried on it.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

# expect "CLOSING LINE" STATUS BODY: a test program with that body is counted like that.
expect() {
    local closing=$1 status=$2 got=0
    printf '#!/bin/sh\n%s\n' "$3" >"$tap_folder/program"
    chmod +x "$tap_folder/program"
    "$tap_root/tools/run_tests.sh" -t 2 "$tap_folder/program" >"$tap_folder/out" || got=$?
    cat "$tap_folder/out"
    [ "$(tail -n 1 "$tap_folder/out")" = "$closing" ] && [ "$got" -eq "$status" ]
}

tap "passed tests are counted" \
    expect "2 passed, 0 failed, 0 skipped" 0 'echo 1..2; echo ok 1 - a; echo ok 2 - b'
tap "a failed test fails the run" \
    expect "1 passed, 1 failed, 0 skipped" 1 'echo 1..2; echo ok 1 - a; echo not ok 2 - b; exit 1'
tap "cmocka's skipped tests are skipped, not failed" \
    expect "1 passed, 0 failed, 1 skipped" 0 'echo 1..2; echo ok 1 - a; echo "not ok 2 # SKIP b"'
tap "a whole program may be skipped" \
    expect "0 passed, 0 failed, 1 skipped" 0 'echo "1..0 # SKIP needs root"'
tap "two groups in one program add up" \
    expect "2 passed, 0 failed, 0 skipped" 0 'echo 1..1; echo ok 1 - a; echo 1..1; echo ok 1 - b'
tap "a program without a plan fails" expect "0 passed, 1 failed, 0 skipped" 1 'true'
tap "a program that stops half-way fails" \
    expect "1 passed, 1 failed, 0 skipped" 1 'echo 1..3; echo ok 1 - a'
tap "a crash fails" expect "1 passed, 1 failed, 0 skipped" 1 \
    'echo 1..1; echo ok 1 - a; kill -SEGV $$'
tap "a bad status after good tests fails" \
    expect "1 passed, 1 failed, 0 skipped" 1 'echo 1..1; echo ok 1 - a; exit 3'
tap "a program that hangs fails" expect "0 passed, 1 failed, 0 skipped" 1 'echo 1..1; sleep 30'
tap_end
