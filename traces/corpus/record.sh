#!/usr/bin/env bash
# Records the corpus again: each class of our own workload, in memory of both kinds, with page summaries, as root with eBPF.
set -euo pipefail
cd "$(dirname "$0")"
pagesieve=${PAGESIEVE:-../../target/release/pagesieve}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for class in idle light mixed heavy-io; do
    "$pagesieve" record --source ebpf --fingerprints --class "$class" --duration 30s --force -o "$work/$class.trace" -- \
        "$pagesieve" workload --class "$class" --memory 64MiB --seed 7 --seconds 60
    "$pagesieve" verify "$work/$class.trace"
    mv "$work/$class.trace" "$class.trace"
done
chmod 644 ./*.trace
sha256sum ./*.trace >SHA256SUMS
