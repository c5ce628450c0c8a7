#!/usr/bin/env bash
# A Jetson at its fastest, for building and measuring engines, and back: max-performance.sh on | off | status
#
# `on` remembers the power mode and the clocks once; `off` brings them back. Needs root. Nobody has run it on a Jetson yet.
set -euo pipefail

STATE=${LC2FER_STATE:-/var/lib/lc2fer}

die() { # CODE TEXT
    echo "$2" >&2
    exit "$1"
}

need() {
    local tool
    for tool in nvpmodel jetson_clocks; do
        command -v "$tool" >/dev/null || die 3 "$tool is not here. A Jetson's power tools were expected. Run this on the Jetson."
    done
}

mode() { nvpmodel -q | sed -n '/NV Power Mode/{n;s/[^0-9].*//;p;}'; } # the number stands below the name

name() { nvpmodel -q | sed -n 's/.*NV Power Mode: *//p'; }

fastest() { # the mode that is called MAXN or MAXN_SUPER: 0 on most modules, 2 on the Orin Nano Super
    nvpmodel -p --verbose | sed -n 's/.*POWER_MODEL: *ID=\([0-9]*\) NAME=MAXN.*/\1/p' | tail -n 1
}

set_mode() { # NUMBER; a change that needs a restart is asked about, and declined
    nvpmodel -m "$1" <<<no >/dev/null || die 1 "nvpmodel did not change to mode $1. Mode $1 was expected. Run: sudo nvpmodel -m $1, and restart if it asks for it."
}

on() {
    local best
    best=$(fastest)
    [[ -n $best ]] || die 1 "nvpmodel names no MAXN mode. One was expected. Choose another by hand: sudo nvpmodel -m NUMBER"
    mkdir -p "$STATE"
    if [[ ! -e $STATE/mode ]]; then
        jetson_clocks --store "$STATE/clocks" >/dev/null
        mode >"$STATE/mode.new"
        mv "$STATE/mode.new" "$STATE/mode"
    fi
    [[ $(mode) == "$best" ]] || set_mode "$best"
    jetson_clocks
    echo "Power mode $(name), clocks at their highest. Back with: $0 off"
}

off() {
    [[ -e $STATE/mode ]] || die 1 "There is nothing to bring back: $STATE/mode is missing. It is written by: $0 on"
    set_mode "$(<"$STATE/mode")"
    jetson_clocks --restore "$STATE/clocks" >/dev/null
    rm "$STATE/mode" "$STATE/clocks"
    echo "Power mode $(name), clocks as before."
}

status() {
    echo "Power mode $(name), $([[ -e $STATE/mode ]] && echo "changed by $0 on" || echo "as it was set")."
}

case ${1-} in
on | off)
    need
    [[ $(id -u) -eq 0 || -n ${LC2FER_STATE-} ]] || die 2 "This user may not change power modes. Root was expected. Run: sudo $0 $1"
    "$1"
    ;;
status)
    need
    status
    ;;
*)
    die 2 "'${1-}' is not on, off or status. Run: $0 on | off | status"
    ;;
esac
