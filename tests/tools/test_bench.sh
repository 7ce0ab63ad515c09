#!/usr/bin/env bash
# script/bench and the peer that it runs: what they refuse, in a sentence. Measuring is for people.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

out=$tap_folder/out

# code N COMMAND...: succeeds when the command exits with N and says one line.
code() {
    local want=$1 status=0
    shift
    "$@" >"$out" 2>&1 </dev/null || status=$?
    cat "$out"
    [ "$status" -eq "$want" ] && [ "$(wc -l <"$out")" -eq 1 ]
}

sections_that_are_not_there_are_refused() {
    code 2 "$tap_root/script/bench" nonsense
    grep -q 'sections: demo 1b widths' "$out"
    code 2 "$tap_root/script/bench" demo -x
    code 2 "$tap_root/script/bench" -f
}

a_peer_without_its_package_says_so() {
    cd "$tap_folder"
    code 1 node "$tap_root/tools/peers/llama-bench.mjs" model.gguf
    grep -q "no node-llama-cpp in $tap_folder" "$out"
}

a_peer_refuses_wrong_arguments() {
    code 2 node "$tap_root/tools/peers/llama-bench.mjs"
    code 2 node "$tap_root/tools/peers/llama-bench.mjs" model.gguf 0
    code 2 node "$tap_root/tools/peers/llama-bench.mjs" model.gguf 2 512 64 x
}

tap "sections that are not there are refused" sections_that_are_not_there_are_refused
if command -v node >/dev/null; then
    tap "a peer without its package says so" a_peer_without_its_package_says_so
    tap "a peer refuses wrong arguments" a_peer_refuses_wrong_arguments
else
    tap_skip "a peer without its package says so" "node is not installed"
    tap_skip "a peer refuses wrong arguments" "node is not installed"
fi
tap_end
