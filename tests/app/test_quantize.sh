#!/usr/bin/env bash
# rondo quantize and rondo imatrix, as a user meets them: a model that gets smaller and still talks,
# an importance matrix learned and used, sentences for what is wrong, and nothing left of a file that
# was given up.
# shellcheck source=tests/support/tap.sh
source "$(dirname "$0")/../support/tap.sh"
cd "$tap_folder"

"$RONDO" synth small.gguf --shape 8b --type BF16 --layers 2 --embd 256 --heads 4 --kv-heads 4 \
    --ffn 512 --vocab 1024 --ctx 256 >/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    echo "The fox met a kite, and the kite said: the wind is my friend, and the hill is yours."
done >text

# fails_with CODE COMMAND...: one line on standard error, kept in `err`.
fails_with() {
    local code=$1 status=0
    shift
    "$@" >out 2>err || status=$?
    [ "$status" -eq "$code" ]
    [ "$(wc -l <err)" -eq 1 ]
}

every_type_makes_a_model_that_runs() {
    local type last=999999999 size
    for type in F16 Q8_0 q6_k Q5_K_M Q4_K_M iq4_xs Q3_K_M Q2_K Q4_0; do
        rm -f made.gguf
        "$RONDO" quantize small.gguf made.gguf "$type" | grep -qi "made.gguf: .* $type, .* bits each"
        "$RONDO" run made.gguf "a b" --raw -n 2 --temp 0 >/dev/null
        size=$(stat -c %s made.gguf)
        [ "$size" -lt "$last" ] || [ "$type" = Q4_0 ]
        last=$size
    done
}

verbose_and_json_tell_of_every_tensor() {
    rm -f made.gguf
    "$RONDO" quantize small.gguf made.gguf Q4_K_M -v >out
    grep -Eq '^blk.1.attn_v.weight +256 x 256 +BF16 +Q6_K +' out
    grep -Eq '^blk.0.attn_norm.weight +256 +F32 +as it is +' out
    rm -f made.gguf
    "$RONDO" quantize small.gguf made.gguf Q4_K_M --output-type q8_0 --json >out
    [ "$(wc -l <out)" -eq 1 ]
    grep -qF '{"name":"output.weight","from":"BF16","type":"Q8_0",' out
    grep -q '"bits_per_weight":' out
    "$RONDO" show made.gguf >/dev/null
}

importance_is_learned_and_used() {
    "$RONDO" imatrix small.gguf text -o im.gguf --ctx 64 >out 2>err
    grep -q 'im.gguf: importance of 15 of 16 matrices' out # not of the embedding
    grep -q 'say little' err
    "$RONDO" show im.gguf --full >out
    grep -q 'blk.1.ffn_down.weight.in_sum2' out
    rm -f made.gguf
    "$RONDO" quantize small.gguf made.gguf Q2_K --imatrix im.gguf -v >out 2>err
    grep -q 'nothing of 1 of 16 matrices' err
    grep -Eq '^token_embd.weight.*1 of 1 without importance' out
    "$RONDO" quantize small.gguf plain.gguf Q2_K >/dev/null
    refused cmp -s made.gguf plain.gguf
    "$RONDO" run made.gguf "a b" --raw -n 2 --temp 0 >/dev/null
    fails_with 1 "$RONDO" imatrix small.gguf text -o im.gguf
    grep -q 'im.gguf: is there already' err
}

threads_and_batches_change_no_byte_of_importance() {
    "$RONDO" imatrix small.gguf text -o one.gguf --ctx 64 --threads 1 >/dev/null 2>&1
    "$RONDO" imatrix small.gguf text -o two.gguf --ctx 64 --threads 3 --batch 7 >/dev/null 2>&1
    cmp one.gguf two.gguf
}

what_is_wrong_is_said() {
    rm -f made.gguf
    fails_with 2 "$RONDO" quantize small.gguf made.gguf Q4_K_X
    grep -q "'Q4_K_X' is no type that Rondo quantizes to; there are Q8_0, Q6_K" err
    fails_with 2 "$RONDO" quantize small.gguf made.gguf Q4_K_M --output-type IQ2_S
    grep -q -- "--output-type cannot be 'IQ2_S'" err
    fails_with 1 "$RONDO" quantize small.gguf made.gguf Q4_K_M --imatrix nowhere.dat
    grep -q 'nowhere.dat: cannot be read' err
    fails_with 1 "$RONDO" quantize small.gguf made.gguf Q4_K_M --imatrix text
    grep -q 'text: is no importance matrix' err
    fails_with 1 "$RONDO" quantize small.gguf small.gguf Q4_K_M
    grep -q 'small.gguf: is there already' err
    fails_with 1 "$RONDO" quantize small.gguf nowhere/made.gguf Q4_K_M
    grep -q 'nowhere/made.gguf: cannot be written' err
    fails_with 1 "$RONDO" quantize demo made.gguf Q4_K_M
    grep -q 'Q8_0 already' err
    fails_with 2 "$RONDO" imatrix small.gguf text
    grep -q 'say with -o FILE' err
    fails_with 1 "$RONDO" imatrix small.gguf nowhere.txt -o x.gguf
    [ ! -e made.gguf ] && [ ! -e x.gguf ]
}

ctrl_c_leaves_nothing() {
    local pid status=0 tries=0
    "$RONDO" synth large.gguf --shape 8b --type F16 --layers 8 --embd 512 --heads 8 --kv-heads 8 \
        --ffn 2048 --vocab 8192 --ctx 256 >/dev/null
    "$RONDO" quantize large.gguf given-up.gguf IQ4_XS --threads 1 >out 2>err &
    pid=$!
    until compgen -G 'given-up.gguf.*' >/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 500 ]
        sleep 0.02
    done
    kill -INT "$pid"
    wait "$pid" || status=$?
    [ "$status" -eq 130 ]
    [ ! -s out ]
    refused compgen -G 'given-up.gguf*'
    rm large.gguf
}

tap 'every type makes a model that runs' every_type_makes_a_model_that_runs
tap '-v and JSON tell of every tensor' verbose_and_json_tell_of_every_tensor
tap 'importance is learned and used' importance_is_learned_and_used
tap 'threads and batches change no byte of it' threads_and_batches_change_no_byte_of_importance
tap 'what is wrong is said in one line' what_is_wrong_is_said
tap 'Ctrl-C leaves nothing' ctrl_c_leaves_nothing
tap_end
