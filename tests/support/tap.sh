# shellcheck shell=bash
# Tests as shell scripts: source this, call tap and tap_skip for each test and tap_end at the end.
# A script that dies before its end prints no plan, which tools/run_tests.sh counts as a failure.
# RONDO names the binary under test; tap_folder is a scratch folder, removed at the end.
set -euo pipefail

tap_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
RONDO=${RONDO:-$tap_root/build/release/rondo}
tap_folder=$(mktemp -d)
trap 'rm -rf "$tap_folder"' EXIT
tap_count=0
tap_failed=0

# tap NAME COMMAND...: passes when the command succeeds; its output is shown when it does not. A
# function runs in a subshell of its own and ends at its first command that fails.
tap() {
    local name=$1 status=0
    shift
    tap_count=$((tap_count + 1))
    set +e # not "if": bash would ignore the function's own errexit there
    (
        set -e
        "$@"
    ) >"$tap_folder/.log" 2>&1
    status=$?
    set -e
    if [ "$status" -eq 0 ]; then
        echo "ok $tap_count - $name"
    else
        tap_failed=$((tap_failed + 1))
        echo "not ok $tap_count - $name"
        sed 's/^/# /' "$tap_folder/.log"
    fi
}

# until_true COMMAND...: tries again and again, for a minute at most.
until_true() {
    local i
    for ((i = 0; i < 1200; i++)); do
        if "$@"; then return 0; fi
        sleep 0.05
    done
    echo "waited in vain: $*"
    tail -n 20 "$tap_folder"/*.log
    return 1
}

# end_all: ends the programs whose numbers are in the array `pid`, by name.
end_all() {
    local name
    for name in "${!pid[@]}"; do
        kill -KILL "${pid[$name]}" 2>/dev/null || true
        wait "${pid[$name]}" 2>/dev/null || true
    done
}

# status N COMMAND...: succeeds when the command exits with N.
status() {
    local want=$1 got=0
    shift
    "$@" || got=$?
    echo "status $got, $want wanted"
    [ "$got" -eq "$want" ]
}

# refused COMMAND...: succeeds when the command fails.
refused() {
    if "$@"; then
        echo "should have failed: $*" >&2
        return 1
    fi
}

# tap_skip NAME REASON
tap_skip() {
    tap_count=$((tap_count + 1))
    echo "# skipped: $2"
    echo "ok $tap_count # SKIP $1"
}

tap_end() {
    echo "1..$tap_count"
    [ "$tap_failed" -eq 0 ]
}
