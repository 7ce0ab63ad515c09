#!/usr/bin/env bash
# A SentencePiece vocabulary made a Unigram one has the same tokens, and takes any text.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

spm=${RONDO_TESTDATA:-}/vocab/ggml-vocab-llama-spm.gguf
if [ ! -r "$spm" ]; then
    echo "1..0 # SKIP no test data (RONDO_TESTDATA) with vocab/ggml-vocab-llama-spm.gguf"
    exit 0
fi
command -v python3 >/dev/null || {
    echo "1..0 # SKIP no python3"
    exit 0
}
cd "$tap_folder"
tool=$tap_root/tools/testdata/unigram.py

common_words_are_the_same_tokens() {
    "$tool" "$spm" unigram.gguf
    local text="The house is not there."
    "$RONDO" tokenize unigram.gguf --ids "$text" >got
    "$RONDO" tokenize "$spm" --ids "$text" | cmp - got
    "$RONDO" tokenize unigram.gguf --json x | grep -qF '"kind":"unigram"'
}

any_text_comes_back() {
    local text=$'na\xc3\xafve \xe4\xb8\xad\xf0\x9f\x98\x80  two\n'
    printf %s "$text" >text
    "$RONDO" tokenize unigram.gguf --ids <text >ids
    "$RONDO" tokenize unigram.gguf --decode <ids | cmp - text
}

other_files_are_refused() {
    refused "$tool" "$RONDO" out.gguf 2>err
    grep -q 'no GGUF' err
}

tap 'common words are the same tokens' common_words_are_the_same_tokens
tap 'any text comes back' any_text_comes_back
tap 'other files are refused' other_files_are_refused
tap_end
