#!/usr/bin/env bash
# script/bootstrap on machines that are made up: a folder of small programs stands in for the
# package tools, so nothing is installed.
# shellcheck source=tests/support/tap.sh
. "$(dirname "$0")/../support/tap.sh"

# fake NAME BODY: a program of that name on the made-up machine.
fake() {
    rm -f "$machine/$1"
    printf '#!/bin/bash\n%s\n' "$2" >"$machine/$1"
    chmod +x "$machine/$1"
}

# A machine with everything but valgrind, and a mirror that works.
new_machine() {
    machine=$(mktemp -d "$tap_folder/machine.XXXXXX")
    local tool
    for tool in bash env grep mktemp tail rm uname; do
        ln -s "$(command -v "$tool")" "$machine/$tool"
    done
    # shellcheck disable=SC2016 # the program's own arguments
    fake dpkg-query '[ "${*: -1}" != valgrind ] && echo "install ok installed"'
    fake apt-get "echo \"\$@\" >>'$machine/calls'"
    fake id 'echo 0'
    fake gcc ''
    fake make ''
    fake pkg-config ''
}

bootstrap() {
    PATH=$machine bash "$tap_root/script/bootstrap" "$@" >"$machine/out" 2>&1 </dev/null
}

does_nothing_when_all_is_there() {
    new_machine
    fake dpkg-query 'echo "install ok installed"'
    bootstrap
    [ ! -e "$machine/calls" ] && [ ! -s "$machine/out" ]
}

installs_what_is_missing() {
    new_machine
    bootstrap
    cat "$machine/out" "$machine/calls"
    grep -q 'install -y --no-install-recommends valgrind$' "$machine/calls"
}

building_needs_less() {
    new_machine
    bootstrap build
    [ ! -e "$machine/calls" ]
}

another_processor_is_added_before_its_libraries() {
    new_machine
    fake uname 'echo x86_64'
    # shellcheck disable=SC2016 # the program's own arguments
    fake dpkg-query '[[ ${*: -1} != *arm64 ]] && echo "install ok installed"'
    fake dpkg "echo dpkg \"\$@\" >>'$machine/calls'"
    bootstrap arm
    cat "$machine/out" "$machine/calls"
    [ "$(head -n 1 "$machine/calls")" = "dpkg --add-architecture arm64" ]
    grep -q 'install -y --no-install-recommends libc6-dev:arm64 libssl-dev:arm64' "$machine/calls"
    # Nothing else builds for it: without them it fails.
    fake apt-get 'exit 100'
    refused bootstrap arm
    grep -q '^bootstrap: could not install libc6-dev:arm64' "$machine/out"
}

an_aarch64_machine_needs_nothing_for_itself() {
    new_machine
    fake uname 'echo aarch64'
    bootstrap arm
    [ ! -e "$machine/calls" ]
}

uses_sudo_when_not_root() {
    new_machine
    fake id 'echo 1000'
    fake sudo "echo sudo >>'$machine/calls'; [ \"\$1\" = -n ] && shift; exec \"\$@\""
    bootstrap
    [ "$(grep -c '^sudo$' "$machine/calls")" -eq 2 ]
}

says_what_to_do_without_sudo() {
    new_machine
    fake id 'echo 1000'
    refused bootstrap
    cat "$machine/out"
    [ "$(cat "$machine/out")" = \
        "bootstrap: not root and no sudo; as root, run: apt-get install valgrind" ]
}

goes_on_when_the_mirror_is_out_of_reach() {
    new_machine
    fake apt-get 'echo "E: Unable to fetch"; exit 100'
    bootstrap
    cat "$machine/out"
    grep -q 'going on without' "$machine/out"
}

fails_with_a_sentence_when_building_is_impossible() {
    new_machine
    fake apt-get 'exit 100'
    fake pkg-config 'exit 1'
    refused bootstrap
    cat "$machine/out"
    tail -n 1 "$machine/out" | grep -q '^bootstrap: could not install valgrind; check the network'
}

tap "does nothing when all is there" does_nothing_when_all_is_there
tap "installs what is missing" installs_what_is_missing
tap "building needs less than testing" building_needs_less
tap "another processor is added before its libraries are installed" \
    another_processor_is_added_before_its_libraries
tap "an aarch64 machine needs nothing for itself" an_aarch64_machine_needs_nothing_for_itself
tap "uses sudo when not root" uses_sudo_when_not_root
tap "says what to do when there is neither root nor sudo" says_what_to_do_without_sudo
tap "goes on when the mirror is out of reach" goes_on_when_the_mirror_is_out_of_reach
tap "fails with a sentence when building is impossible" \
    fails_with_a_sentence_when_building_is_impossible
tap_end
