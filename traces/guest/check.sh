#!/usr/bin/env bash
# Boots the guest and checks that it lives: "ready" comes, the counter goes on by one for each line, the self-check finds no error,
# and no part of the load fails. Nothing is left behind.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: traces/guest/check.sh [--seconds N] [--timeout N] [CLASS]... [-- OPTION-OF-START.SH...]

  CLASS        idle, light, mixed, heavy-io (default: all four)
  --seconds N  lines of the counter to wait for after "ready" (default 15; the guest prints one a second)
  --timeout N  seconds that one class may take altogether (default 180)

heavy-io gets a disk of its own. Needs what build.sh made, and qemu-system-x86_64.

examples:
  check.sh
  check.sh --seconds 30 mixed -- --memory 4G --machine pc --backend memfd
TEXT
}

die() {
    echo "check.sh: $*" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
seconds=15 limit=180 classes=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=${2:?"--seconds needs a number"}; shift 2 ;;
    --timeout) limit=${2:?"--timeout needs a number"}; shift 2 ;;
    -h | --help) usage; exit ;;
    --) shift; break ;;
    idle | light | mixed | heavy-io) classes+=("$1"); shift ;;
    *) usage >&2; exit 2 ;;
    esac
done
[ ${#classes[@]} -gt 0 ] || classes=(idle light mixed heavy-io)

work=$(mktemp -d)
qemu=
stop() {
    if [ -n "$qemu" ]; then
        kill "$qemu" 2>/dev/null || true
        wait "$qemu" 2>/dev/null || true
        qemu=
    fi
}
trap 'stop; rm -rf "$work"' EXIT

# What is wrong with the console so far; nothing if all is well. The counter has to go on by one, as lines that come twice or
# go missing mean that the console is not what the guest printed.
faults() { # console
    grep -a -e ERROR -e FAILED -e 'Kernel panic' "$1" && return
    # Whole lines only: the last one may be on its way.
    head -n "$(wc -l <"$1")" "$1" | tr -d '\r' | awk '
        match($0, /counter=[0-9]+/) {
            counter = substr($0, RSTART + 8, RLENGTH - 8) + 0
            if (counter != last + 1) print "counter " counter " comes after " last + 0
            last = counter
            if ($0 !~ /errors=0$/) print
        }'
}

lines_after_ready() { # console
    awk '/pagesieve-guest: ready/ { ready = 1 } ready && /counter=/ { lines++ } END { print lines + 0 }' "$1"
}

check() { # class, options of start.sh...
    local class=$1 console=$work/$1.console begin=$SECONDS ready='' wrong
    shift
    : >"$console"
    "$here/start.sh" --class "$class" --console "$console" "$@" 2>"$work/qemu.log" &
    qemu=$!
    while [ "$(lines_after_ready "$console")" -lt "$seconds" ]; do
        if [ -z "$ready" ] && grep -aq 'pagesieve-guest: ready' "$console"; then ready=$((SECONDS - begin)); fi
        wrong=$(faults "$console")
        kill -0 "$qemu" 2>/dev/null || wrong+=" QEMU ended: $(cat "$work/qemu.log")"
        [ $((SECONDS - begin)) -lt "$limit" ] || wrong+=" not done after $limit seconds"
        if [ -n "$wrong" ]; then
            tail -n 40 "$console" >&2
            die "$class: $wrong"
        fi
        sleep 0.5
    done
    # What the last look at the console did not show yet.
    wrong=$(faults "$console")
    [ -z "$wrong" ] || die "$class: $wrong"
    echo "check.sh: $class is well: ready after $ready s; $(grep -a counter= "$console" | tail -n 1 | tr -d '\r')"
    stop
}

for class in "${classes[@]}"; do
    options=()
    if [ "$class" = heavy-io ]; then options=(--disk buffered --disk-file "$work/disk.raw"); fi
    check "$class" "${options[@]}" "$@"
done
