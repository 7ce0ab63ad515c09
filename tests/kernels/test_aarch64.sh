#!/usr/bin/env bash
# The aarch64 program under emulation: which kernels a processor gets, and that they compute what
# this machine's compute, bit for bit.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"
# shellcheck source=tests/support/aarch64.sh
. "$(dirname "$0")/../support/aarch64.sh"

lacks=$(aarch64_lacks)
if [ -n "$lacks" ]; then
    echo "1..0 # SKIP $lacks"
    exit 0
fi
aarch64_build all

level_of() {
    aarch64 "$1" rondo version --json | grep -o '"isa":"[a-z0-9]*"'
}

a_processor_gets_the_kernels_it_can_run() {
    [ "$(level_of cortex-a53)" = '"isa":"scalar"' ] # no dotprod
    [ "$(level_of neoverse-n1)" = '"isa":"neon"' ]  # dotprod, no i8mm
    [ "$(level_of max)" = '"isa":"i8mm"' ]
}

what_it_cannot_run_is_refused() {
    refused aarch64 cortex-a53 rondo run demo x -n 1 --isa neon
    refused aarch64 neoverse-n1 rondo run demo x -n 1 --isa i8mm
    refused aarch64 max rondo run demo x -n 1 --isa avx2
}

# answer RUNNER...: tokens and a digest of all logits.
answer() {
    "$@" --raw --temp 0 -n 6 --threads 1 --json | grep -o '"tokens":\[[^]]*\]\|"logits_sha256":"[^"]*"'
}

logits_are_those_of_this_machine() {
    local format kv model=$tap_folder/$1.gguf
    shift
    for format in "$@"; do
        rm -f "$model"
        "$RONDO" synth "$model" --type "$format" --layers 2 --embd 256 --heads 4 --kv-heads 2 \
            --ffn 512 --vocab 600 --seed 3 >/dev/null
        for kv in f16 q8_0; do
            answer "$RONDO" run "$model" "Once upon a time" --kv "$kv" >"$tap_folder/here"
            answer aarch64 max rondo run "$model" "Once upon a time" --kv "$kv" >"$tap_folder/there"
            echo "$format, cache $kv"
            [ "$(wc -l <"$tap_folder/here")" -eq 2 ]
            diff "$tap_folder/here" "$tap_folder/there"
        done
    done
}

tap "a processor gets the kernels it can run" a_processor_gets_the_kernels_it_can_run
tap "what a processor cannot run is refused" what_it_cannot_run_is_refused
tap "logits of float formats are those of this machine" \
    logits_are_those_of_this_machine floats F32 F16 BF16
tap "logits of formats with blocks of 32 are those of this machine" \
    logits_are_those_of_this_machine small Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4
tap "logits of formats with blocks of 256 are those of this machine" \
    logits_are_those_of_this_machine k Q2_K Q3_K Q4_K_M Q5_K IQ4_XS TQ2_0 TQ1_0
tap "logits of formats with grids are those of this machine" \
    logits_are_those_of_this_machine grids IQ3_S IQ3_XXS IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S
tap_end
