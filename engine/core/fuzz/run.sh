#!/usr/bin/env bash
# Fuzzes one target with the toolchain of the project: run.sh xbzrle|block [seconds] [options of libFuzzer...]
# Needs a C++ compiler for libFuzzer itself. What it finds stays in corpus/ and artifacts/, which are not committed.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:?which target: xbzrle or block}
seconds=${2:-120}
shift $(($# > 1 ? 2 : 1))

# What cargo-fuzz passes, without the address sanitizer: that one needs nightly, and the code under test has no unsafe.
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# With --target the flags are for the targets alone and not for build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=$flags cargo build --locked --release --target "$host" --bin "$target"
mkdir -p "corpus/$target" "artifacts/$target"
exec "${CARGO_TARGET_DIR:-target}/$host/release/$target" -max_total_time="$seconds" -artifact_prefix="artifacts/$target/" \
    -max_len=8400 -timeout=10 -print_final_stats=1 "$@" "corpus/$target"
