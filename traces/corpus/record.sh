#!/usr/bin/env bash
# Captures the corpus again, as root: builds the guest and the program, then records every capture of captures.toml, or those named.
#
# usage: traces/corpus/record.sh [NAME]...
#
# Needs what traces/guest/build.sh and start.sh need, gcc, and redis (redis-server, redis-tools). Takes about a minute and a half for
# each capture; leave the machine alone meanwhile, since a busy one makes longer epochs.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cd "$root"
traces/guest/build.sh -o "$target/guest"
cargo build --locked --release
exec cargo run --locked --quiet -p pagesieve-traces --example capture -- "$target/release/pagesieve" "$target/guest" "$@"
