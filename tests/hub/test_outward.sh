#!/usr/bin/env bash
# Nothing but rondo pull connects to anything outside the cluster: libcurl is used by one room, and
# sockets are connected by the room of the nodes' own links only.
# shellcheck source=tests/support/tap.sh
source "$(dirname "$0")/../support/tap.sh"
cd "$tap_root"

only_hub_includes_curl() {
    grep -rl '#include <curl/' src | sort >"$tap_folder/users"
    [ -s "$tap_folder/users" ]
    refused grep -v '^src/hub/' "$tap_folder/users"
}

only_net_connects_sockets() {
    grep -rlwE 'connect|getaddrinfo|sendto' --include='*.c' src | sort >"$tap_folder/all"
    xargs grep -lE '\b(connect|getaddrinfo|sendto)\(' <"$tap_folder/all" >"$tap_folder/users"
    [ -s "$tap_folder/users" ]
    refused grep -v '^src/net/' "$tap_folder/users"
}

only_pull_downloads() {
    grep -rlE '\b(download_model|fetch_file|request_text)\(' src/app >"$tap_folder/users"
    [ "$(cat "$tap_folder/users")" = src/app/pull.c ]
}

tap 'only the room hub includes libcurl' only_hub_includes_curl
tap 'only the room net connects sockets' only_net_connects_sockets
tap 'only rondo pull downloads' only_pull_downloads
tap_end
