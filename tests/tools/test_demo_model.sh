#!/usr/bin/env bash
# The demo model's programs in small: the corpus is the same everywhere, training learns, and what
# is exported is a model that runs.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"
cd "$tap_folder"

build() {
    make -s -C "$tap_root/tools/demo_model" WORK="$tap_folder" CC="$1" CFLAGS="-O2 -march=native" -B
}

corpus_is_the_same() {
    ./tales 3 300 >corpus.txt
    ./tales 2 40 >held-out.txt
    [ "$(sha256sum <corpus.txt)" = \
        "be736cd529754edddd7d356bf25807ddfca5dcd6c3cd7341888fdbe4ca562fb8  -" ]
}

# The held-out loss begins at ln 2048 = 7.6.
training_learns() {
    ./train vocab corpus.txt vocab
    ./train fit corpus.txt held-out.txt vocab checkpoint dim=64 layers=2 heads=4 kv=2 ffn=128 \
        steps=40 tokens=600 rate=0.01 threads=2 | tee fit.log
    awk '/held-out loss/ { loss = $5 } END { exit !(loss > 0 && loss < 6) }' fit.log
}

export_runs() {
    ./train gguf vocab checkpoint small.gguf "Small Tales" q8
    "$RONDO" show small.gguf | tee show.log
    grep -q "Small Tales" show.log
    "$RONDO" run small.gguf "Once upon a time" --raw -n 4 --temp 0
}

if command -v clang >/dev/null; then
    tap "both programs build with clang" build clang
else
    tap_skip "both programs build with clang" "clang is not installed"
fi
tap "both programs build with gcc" build gcc
tap "the same seed gives the same corpus" corpus_is_the_same
tap "training learns" training_learns
tap "the exported model runs" export_runs
tap_end
