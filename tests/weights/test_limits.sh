#!/usr/bin/env bash
# Models larger than memory, under real limits: control groups that hold a part of the weights, and
# a user who may lock next to nothing. The answer must be that of a run without a limit, to the bit
# of its logits; nobody may be killed; and memory must stay within what --memory promised.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

limited=$(dirname "$RONDO")/tools/limited
mib=1048576
promise=$((64 * mib)) # that the peak may be above --memory
program=$((32 * mib)) # of a limit, for what --memory does not cover and what is left free
passes=23 # of rondo bench: one to warm up, two answers of eleven

if ! "$limited" -o "$tap_folder/report" 0 true 2>"$tap_folder/why"; then
    echo "1..0 # SKIP $(cat "$tap_folder/why")"
    exit 0
fi

model=$tap_folder/model.gguf
"$RONDO" synth "$model" --layers 18 --embd 1024 --heads 16 --kv-heads 4 --ffn 3584 --vocab 8192 \
    --type Q4_K_M -c 512 >"$tap_folder/log" 2>&1
weights=$(stat -c %s "$model")
small=(--ctx 128 --batch 16 --threads 2)

share() { awk -v w="$weights" -v share="$1" 'BEGIN { printf "%.0f", w * share }'; }

# said FILE KEY: a number of a file of JSON.
said() { sed -nE "s/.*\"$2\":([0-9.]+).*/\1/p" "$1"; }

# under LIMIT FILE COMMAND...: with FILE cold, and nothing may hurt.
under() {
    local limit=$1 file=$2
    shift 2
    "$limited" -p -d "$file" -o "$tap_folder/report" "$limit" "$@"
    cat "$tap_folder/report" >&2
    [ "$(said "$tap_folder/report" oom_kills)" -eq 0 ]
    [ "$(said "$tap_folder/report" peak_swap)" -eq 0 ]
}

within() { # MEMORY
    [ "$(said "$tap_folder/report" peak)" -le $(($1 + promise)) ]
}

prompt=(--raw --temp 0 -n 6 --json "Once upon a time there was a")

# Tokens and logits of an answer.
told() { grep -oE '"(tokens|logits_sha256)":(\[[0-9,]*\]|"[0-9a-f]*")' "$1"; }

tells_the_same() { # FILE
    [ "$(told "$1" | wc -l)" -eq 2 ]
    diff <(told "$tap_folder/whole") <(told "$1")
}

same_under() { # SHARE RESIDENCY
    local memory
    memory=$(share "$1")
    under $((memory + program)) "$model" "$RONDO" run "$model" "${prompt[@]}" "${small[@]}" \
        --memory "$memory" --residency "$2" >"$tap_folder/answer"
    tells_the_same "$tap_folder/answer"
    within "$memory"
}

# All that is known is the limit, of which a twentieth stays free.
auto_leaves_headroom() {
    local limit
    limit=$(share 0.75)
    under "$limit" "$model" "$RONDO" run "$model" "${prompt[@]}" "${small[@]}" >"$tap_folder/answer"
    tells_the_same "$tap_folder/answer"
    grep -q ' [1-9][0-9]* MiB streamed' "$tap_folder/answer"
    [ "$(said "$tap_folder/report" peak)" -le $((limit - limit / 20)) ]
}

# What does not fit is read once a pass, not more: with the edges of parts, which lie on no border
# of the disk, and with what is read ahead when it ends, which lies in slots.
the_law() { # SHARE
    local memory streamed slots read
    memory=$(share "$1")
    under $((memory + program)) "$model" "$RONDO" bench "$model" -p 0 -n 11 -r 2 \
        -b 16 -t 2 --memory "$memory" --residency direct -o json >"$tap_folder/bench"
    cat "$tap_folder/bench" >&2
    streamed=$(said "$tap_folder/bench" streamed_bytes)
    slots=$(said "$tap_folder/bench" slot_bytes)
    read=$(said "$tap_folder/bench" read_bytes)
    [ "$streamed" -gt 0 ]
    grep -q '"governed":false' "$tap_folder/bench"
    [ "$read" -ge $((streamed * passes)) ]
    [ "$read" -le $((streamed * passes * 102 / 100 + slots)) ]
}

as_nobody() {
    local home=$tap_folder/nobody memory
    memory=$(share 0.5)
    chmod 711 "$tap_folder"
    mkdir "$home"
    cp "$RONDO" "$home/rondo"
    chown -R nobody "$home"
    # shellcheck disable=SC2016 # arguments of the inner shell
    under $((memory + program)) "$model" setpriv --reuid nobody --clear-groups \
        env HOME="$home" RONDO_STATE="$home" bash -c 'ulimit -l 8192 && exec "$@"' bash \
        "$home/rondo" run "$model" "${prompt[@]}" "${small[@]}" --memory "$memory" \
        --residency direct >"$tap_folder/answer"
    tells_the_same "$tap_folder/answer"
    within "$memory"
}

# A file system in memory takes no direct reads.
from_memory() {
    local memory
    memory=$(share 0.5)
    mkdir -p "$shm"
    cp "$model" "$shm/model.gguf"
    under $((memory + program)) "$shm/model.gguf" "$RONDO" run "$shm/model.gguf" "${prompt[@]}" \
        "${small[@]}" --memory "$memory" --residency direct >"$tap_folder/answer"
    tells_the_same "$tap_folder/answer"
    within "$memory"
}

# Five megabytes of weights, in less.
the_demo_model_streams() {
    local memory
    "$RONDO" run demo "${prompt[@]}" "${small[@]}" >"$tap_folder/whole"
    for memory in 3 4 5; do
        "$limited" -o "$tap_folder/report" $((memory * mib + program)) "$RONDO" run demo \
            "${prompt[@]}" "${small[@]}" --memory ${memory}M >"$tap_folder/answer"
        cat "$tap_folder/answer"
        grep -q ' [1-9][0-9]* MiB streamed' "$tap_folder/answer"
        tells_the_same "$tap_folder/answer"
        within $((memory * mib))
    done
}

too_little_is_refused() {
    local status=0
    "$RONDO" run "$model" "${prompt[@]}" "${small[@]}" --memory 1M 2>"$tap_folder/said" || status=$?
    cat "$tap_folder/said"
    [ "$status" -eq 4 ]
    [ "$(wc -l <"$tap_folder/said")" -eq 1 ]
    grep -qE '(--memory|--ctx)' "$tap_folder/said"
}

"$RONDO" run "$model" "${prompt[@]}" "${small[@]}" >"$tap_folder/whole" 2>"$tap_folder/log"
for residency in direct mmap; do
    for m in 0.25 0.5 0.75 0.95 1.5; do
        tap "with $m of the weights as memory, $residency, the answer is the same" \
            same_under "$m" "$residency"
    done
done
tap "with nothing but a limit, headroom is left" auto_leaves_headroom
for m in 0.25 0.75 0.95; do
    tap "with $m of the weights as memory, the rest is read once a pass" the_law "$m"
done
if setpriv --reuid nobody --clear-groups true 2>/dev/null; then
    tap "somebody who may lock 8 MiB gets the same answer" as_nobody
else
    tap_skip "somebody who may lock 8 MiB gets the same answer" "there is no setpriv or no nobody"
fi
shm=/dev/shm/rondo-limits-$$
if [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] &&
    [ "$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')" -gt $((weights / 512)) ]; then
    trap 'rm -rf "$tap_folder" "$shm"' EXIT
    tap "a file that lies in memory is streamed too" from_memory
    rm -rf "$shm"
else
    tap_skip "a file that lies in memory is streamed too" "/dev/shm is no file system in memory or full"
fi
tap "the demo model streams" the_demo_model_streams
tap "too little memory is refused in a sentence" too_little_is_refused
tap_end
