#!/usr/bin/env bash
# Builds the kernel program, or with --check rebuilds it elsewhere and compares it byte for byte with the committed one.
#
# Debian packages: rustc-web libstd-rust-web-dev-bpf llvm-22 llvm-22-dev libpolly-22-dev, and then
#   LLVM_PREFIX=/usr/lib/llvm-22 LLVM_SYS_221_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --locked \
#     --no-default-features --features llvm-22
# Elsewhere: a nightly toolchain with rust-src and bpf-linker; set BPF_RUSTC. The object then differs and --check fails.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
prebuilt=$here/prebuilt
object=page_tracker.bpf.o
rustc=${BPF_RUSTC:-/usr/bin/rustc}
strip=${LLVM_STRIP:-/usr/lib/llvm-22/bin/llvm-strip}
linker=${BPF_LINKER:-$(command -v bpf-linker || echo "${CARGO_HOME:-$HOME/.cargo}/bin/bpf-linker")}

for tool in "$rustc" "$strip" "$linker"; do
    if [ ! -x "$tool" ]; then
        echo "build.sh: $tool is missing; the head of this script lists the packages to install" >&2
        exit 2
    fi
done

# Everything that decides the object's bytes, in a fixed order.
sources() {
    (cd "$root" && find ebpf/abi/src ebpf/abi/Cargo.toml ebpf/program/src ebpf/program/Cargo.toml ebpf/program/Cargo.lock \
        ebpf/build.sh -type f | LC_ALL=C sort)
}

build() { # output
    local target=$1
    local flags="-Clinker=$linker -Cdebuginfo=2 -Clink-arg=--btf --cfg=bpf_target_arch=\"x86_64\""
    flags+=" --remap-path-prefix=$root=/pagesieve --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    (cd "$here/program" && RUSTC=$rustc RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=$(printf '%s' "$flags" | sed 's/ -/\x1f-/g') \
        CARGO_TARGET_DIR=$target cargo build --quiet --locked --release --target bpfel-unknown-none)
    "$strip" -g "$target/bpfel-unknown-none/release/page_tracker" -o "$target/$object"
}

manifest() { # object
    echo "rustc: $("$rustc" --version)"
    echo "linker: $("$linker" --version)"
    echo "flags: -Cdebuginfo=2 -Clink-arg=--btf --cfg=bpf_target_arch=\"x86_64\", release profile, paths remapped, llvm-strip -g"
    (cd "$root" && sources | xargs sha256sum)
    printf '%s  ebpf/prebuilt/%s\n' "$(sha256sum <"$1" | cut -d' ' -f1)" "$object"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build "$work"
if [ "${1:-}" = --check ]; then
    manifest "$work/$object" | diff -u "$prebuilt/MANIFEST" -
    cmp "$work/$object" "$prebuilt/$object"
    echo "build.sh: the committed object is what these sources make"
else
    cp "$work/$object" "$prebuilt/$object"
    manifest "$work/$object" >"$prebuilt/MANIFEST"
    echo "build.sh: wrote $prebuilt/$object ($(stat -c %s "$prebuilt/$object") bytes)"
fi
