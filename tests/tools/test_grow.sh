#!/usr/bin/env bash
# A model grown to another shape tells the story of the small one, token for token.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

small=${RONDO_TESTDATA:-}
for file in llama2c/stories260K.bin llama2c/tok512.bin models/stories260K.gguf; do
    if [ ! -r "$small/$file" ]; then
        echo "1..0 # SKIP no test data (RONDO_TESTDATA) with $file"
        exit 0
    fi
done
python=""
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import numpy' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "1..0 # SKIP no python3 with numpy"
    exit 0
fi

tokens_of() {
    "$RONDO" run "$1" "Once upon a time" --raw -n 60 --temp 0 --kv f32 --json |
        sed -nE 's/.*"tokens":(\[[0-9,]+\]).*/\1/p'
}

tells_the_same() {
    "$python" -B "$tap_root/tools/testdata/grow.py" "$small/llama2c/stories260K.bin" \
        "$small/llama2c/tok512.bin" "$tap_folder/grown.gguf" "$@"
    tokens_of "$small/models/stories260K.gguf" >"$tap_folder/small.ids"
    tokens_of "$tap_folder/grown.gguf" >"$tap_folder/grown.ids"
    [ -s "$tap_folder/small.ids" ]
    diff "$tap_folder/small.ids" "$tap_folder/grown.ids"
}

tap "wider and deeper, F32" tells_the_same --type F32
tap "other heads, more tokens, F32" tells_the_same --type F32 --embd 512 --heads 16 --head-dim 64 \
    --ffn 1000 --layers 11 --vocab 600
tap_end
