#!/usr/bin/env bash
# tools/limited: what it says of a command is true, and nothing is left of it.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

limited=$(dirname "$RONDO")/tools/limited
hog=$(dirname "$RONDO")/tools/hog
mib=1048576

if ! "$limited" -o "$tap_folder/report" 0 true 2>"$tap_folder/why"; then
    echo "1..0 # SKIP $(cat "$tap_folder/why")"
    exit 0
fi

# said KEY: a number of the report.
said() { sed -nE "s/.*\"$1\":([0-9.]+).*/\1/p" "$tap_folder/report"; }

groups() { find /sys/fs/cgroup -type d -name "limited-$1"; }

the_status_is_that_of_the_command() {
    status 0 "$limited" 0 true
    status 7 "$limited" 0 sh -c 'exit 7'
    status 143 "$limited" 0 sh -c 'kill -TERM $$'
    status 127 "$limited" 0 "$tap_folder/not-there"
}

wrong_arguments_are_refused() {
    status 125 "$limited"
    status 125 "$limited" 100
    status 125 "$limited" many true
    status 125 "$limited" -i 0 100 true
    status 125 "$limited" -d "$tap_folder/not-there" 0 true
    status 125 "$limited" -o "$tap_folder/not/there" 0 true
}

the_peak_is_what_was_touched() {
    "$limited" -o "$tap_folder/report" $((128 * mib)) "$hog" $((64 * mib)) 2e9 0.1
    cat "$tap_folder/report"
    [ "$(said peak)" -ge $((64 * mib)) ]
    [ "$(said peak)" -le $((72 * mib)) ]
    [ "$(said oom_kills)" -eq 0 ]
    [ "$(said peak_swap)" -eq 0 ]
}

who_needs_more_is_killed() {
    local way
    for way in "" -p; do
        status 137 "$limited" $way -o "$tap_folder/report" $((32 * mib)) "$hog" $((64 * mib)) 2e9 0
        cat "$tap_folder/report"
        [ "$(said oom_kills)" -eq 1 ]
        [ "$(said limit_hits)" -ge 1 ]
    done
}

# Twice what the limit allows passes through the cache: less than all of it stays.
files_are_read_once_dropped_and_counted() {
    head -c $((32 * mib)) /dev/urandom >"$tap_folder/file"
    "$limited" -d "$tap_folder/file" -o "$tap_folder/report" $((16 * mib)) \
        sh -c "cat '$tap_folder/file' >/dev/null"
    cat "$tap_folder/report"
    [ "$(said peak_file)" -le $((16 * mib)) ]
    [ "$(said oom_kills)" -eq 0 ]
    # A file system without a disk below it has nothing to read.
    case $(stat -f -c %T "$tap_folder") in
    tmpfs | ramfs | overlayfs) ;;
    *) [ "$(said read_bytes)" -ge $((32 * mib)) ] ;;
    esac
}

samples_are_written() {
    "$limited" -i 5 -t "$tap_folder/samples" $((128 * mib)) "$hog" $((64 * mib)) 1e9 0.1 \
        2>"$tap_folder/report"
    [ "$(head -n 1 "$tap_folder/samples")" = "ms,anon,locked,file,swap,available" ]
    [ "$(said samples)" -eq $(($(wc -l <"$tap_folder/samples") - 1)) ]
    awk -F, -v least=$((64 * mib)) '$2 >= least { n++ } END { exit !n }' "$tap_folder/samples"
}

nothing_is_left() {
    "$limited" 0 sh -c 'sleep 1000 & echo $!' >"$tap_folder/child" 2>"$tap_folder/report" &
    local pid=$! signalled
    wait "$pid"
    [ ! -e "/proc/$(cat "$tap_folder/child")" ]
    [ -z "$(groups "$pid")" ]

    "$limited" -o "$tap_folder/report" 0 sleep 1000 &
    signalled=$!
    until [ -n "$(groups "$signalled")" ]; do sleep 0.01; done
    kill -TERM "$signalled"
    status 143 wait "$signalled"
    [ -z "$(groups "$signalled")" ]
}

tap "the status is that of the command" the_status_is_that_of_the_command
tap "wrong arguments are refused" wrong_arguments_are_refused
tap "the peak is what was touched" the_peak_is_what_was_touched
tap "who needs more than the limit is killed, and that is counted" who_needs_more_is_killed
tap "files are dropped before, and read under the limit" files_are_read_once_dropped_and_counted
tap "samples are written" samples_are_written
tap "nothing is left, whether it ends or is ended" nothing_is_left
tap_end
