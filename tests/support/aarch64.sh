# shellcheck shell=bash
# The aarch64 build on another machine: source this after tap.sh, or with tap_root set.
#
#   aarch64_lacks            prints what is missing to build and run it; nothing: all is there
#   aarch64_build TARGET...  builds into build/aarch64
#   aarch64 CPU PROGRAM ...  runs a program of build/aarch64 on an emulated processor
tap_root=${tap_root:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}

aarch64_lacks() {
    local tool libraries=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
    if [ "$(uname -m)" = aarch64 ]; then
        echo "this machine is one itself: every other test has run it"
        return
    fi
    for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
        if ! command -v "$tool" >/dev/null; then
            echo "no $tool here (script/bootstrap arm)"
            return
        fi
    done
    PKG_CONFIG_LIBDIR=$libraries pkg-config --exists openssl jansson libpcre2-8 libutf8proc libedit ||
        echo "no arm64 libraries here (script/bootstrap arm)"
}

aarch64_build() {
    env -u MAKEFLAGS make --no-print-directory -s -C "$tap_root" -j"$(nproc)" ARCH=aarch64 "$@" >/dev/null
}

aarch64() {
    qemu-aarch64 -cpu "$1" "$tap_root/build/aarch64/$2" "${@:3}"
}
