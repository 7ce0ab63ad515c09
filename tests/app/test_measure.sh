#!/usr/bin/env bash
# rondo measure, as a user meets it: what the machine is, its memory, and the disk of a file.
# shellcheck source=tests/support/tap.sh
source "$(dirname "$0")/../support/tap.sh"
cd "$tap_folder"

a_machine_is_described_without_a_model() {
    "$RONDO" measure >out
    grep -Eq '^processor   .+, [0-9]+ hardware threads$' out
    grep -Eq '^memory      [0-9.]+ [KMGT]iB' out
    grep -Eq '^DRAM        [0-9.]+ GB/s with [0-9]+ threads?$' out
    grep -q '^disk        name a model' out
}

a_file_is_read_every_way_and_one_is_marked() {
    head -c 9000001 /dev/urandom >file
    "$RONDO" measure file --threads 1 >out
    grep -Eq '^disk        (.*/)?file$' out
    grep -Eq '^DRAM .* with 1 thread$' out
    [ "$(grep -c '^\* .*\(io_uring\|direct\|buffered\)' out)" -eq 1 ]
    for way in io_uring direct buffered; do
        [ "$(grep -c "^.  *$way" out)" -eq 1 ]
    done
    [ "$(wc -c <file)" -eq 9000001 ]
}

what_plans_are_made_with_is_measured_once() {
    export RONDO_STATE=$tap_folder/state
    "$RONDO" measure demo --threads 1 >out
    grep -q 'measured now' out
    grep -Eq '^Q8_0 +rows +[0-9.]+ +[0-9.]+ +[0-9.]+$' out
    grep -Eq '^attention +[0-9.]+ GB/s .* f16$' out
    "$RONDO" measure demo --threads 1 >again
    grep -q 'as it was measured before' again
    [ "$(grep Q8_0 out)" = "$(grep Q8_0 again)" ]
    "$RONDO" measure demo --threads 1 --again --json >json
    grep -q '"fresh":true' json
    grep -Eq '"Q8_0":{"rows":\[[0-9.e-]+,[0-9.e-]+,[0-9.e-]+\]' json
    head -c 5000000 /dev/urandom >file
    "$RONDO" measure file >out
    grep -q '^model .*not a GGUF file' out
}

what_cannot_be_measured_is_a_sentence() {
    : >empty
    local bad
    for bad in empty "$tap_folder" no-such-model; do
        refused "$RONDO" measure "$bad" 2>err
        [ "$(wc -l <err)" -eq 1 ]
    done
    refused "$RONDO" measure empty 2>err
    grep -q 'empty: the file is empty' err
    refused "$RONDO" measure "$tap_folder" 2>err
    grep -q 'is not a file' err
}

tap 'a machine is described without a model' a_machine_is_described_without_a_model
tap 'a file is read every way and one is marked' a_file_is_read_every_way_and_one_is_marked
tap 'what plans are made with is measured once' what_plans_are_made_with_is_measured_once
tap 'what cannot be measured is a sentence' what_cannot_be_measured_is_a_sentence
tap_end
