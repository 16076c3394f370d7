#!/usr/bin/env bash
# Makes what the tests of stock kernels boot: DIR/SERIES/vmlinuz and DIR/SERIES/base.cpio, from Debian packages.
#
# The tests need, on Debian on amd64:
#   apt-get update                                  # so that the kernels can be found
#   apt-get install qemu-system-x86 xz-utils binutils   # dpkg-deb, tar and ldd are always there
# Kernels and busybox-static are only downloaded and unpacked here, some 65 MB for both kernels. Root is not needed, nor KVM. A test
# downloads them only with PAGESIEVE_REQUIRE_KERNEL=1; otherwise run this script once with the folder that the test names.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: tests/stock_kernels/build.sh [-o DIR] [--offline] SERIES...

  SERIES     kernel series, such as 6.1 or 6.12: the newest cloud kernel of it is taken
  -o DIR     where to build (default: stock-kernels/ in the target directory)
  --offline  download nothing

Does nothing for a series that was built from the same package. Exit status 3 if something is missing on this machine.
TEXT
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# In the order in which they are loaded.
modules=(virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd)
out=${CARGO_TARGET_DIR:-$root/target}/stock-kernels
offline=
series=()

missing() {
    echo "build.sh: $*" >&2
    exit 3
}

while [ $# -gt 0 ]; do
    case $1 in
    -o) out=${2:?"-o needs a folder"}; shift 2 ;;
    --offline) offline=1; shift ;;
    -h | --help) usage; exit ;;
    -*) usage >&2; exit 2 ;;
    *) series+=("$1"); shift ;;
    esac
done
[ ${#series[@]} -gt 0 ] || { usage >&2; exit 2; }
for tool in apt-get apt-cache dpkg-deb xz sha256sum; do
    command -v "$tool" >/dev/null || missing "$tool is missing; the head of this script says what is needed"
done
mkdir -p "$out/packages"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/scratch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The newest package of a series, as NAME_VERSION.
kernel_of() {
    local name version
    name=$(apt-cache pkgnames "linux-image-$1." | grep -E -- '-cloud-amd64$' | sort -V | tail -n 1) || missing "no cloud kernel $1 in the package lists: run apt-get update"
    version=$(apt-cache show --no-all-versions "$name" | sed -n 's/^Version: //p')
    echo "${name}_$version"
}

# The file of a package, downloaded if need be.
package() { # NAME_VERSION
    local name=${1%%_*} version=${1#*_} file
    file=$out/packages/${name}_${version//:/%3a}_amd64.deb
    if [ ! -e "$file" ]; then
        [ -z "$offline" ] || missing "$name is not here: run tests/stock_kernels/build.sh -o $out ${series[*]}"
        (cd "$out/packages" && apt-get -q -o APT::Sandbox::User=root download "$name=$version" >&2) \
            || missing "the download of $name failed: run apt-get update and try again"
    fi
    echo "$file"
}

build() { # series, kernel package, busybox package
    local dir=$out/$1 scratch kernel tree release module file
    scratch=$work/$1
    tree=$scratch/tree
    mkdir -p "$dir" "$scratch/kernel" "$scratch/busybox" "$tree"/{bin,lib/modules,proc,sys,dev,tmp,out}
    dpkg-deb -x "$3" "$scratch/busybox"
    cp "$scratch/busybox/bin/busybox" "$tree/bin/busybox"
    kernel=$scratch/kernel
    dpkg-deb -x "$2" "$kernel"
    release=$(cd "$kernel/boot" && echo vmlinuz-*)
    release=${release#vmlinuz-}
    for module in "${modules[@]}"; do
        file=$kernel/lib/modules/$release/kernel/$module.ko
        # Newer kernels have them compressed, which busybox cannot load.
        if [ -e "$file.xz" ]; then xz -d "$file.xz"; fi
        cp "$file" "$tree/lib/modules/${module##*/}.ko"
    done
    printf '%s\n' "${modules[@]##*/}" >"$tree/lib/modules/order"
    (cd "$tree" && find . | LC_ALL=C sort | bin/busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$dir/base.cpio"
    cp "$kernel/boot/vmlinuz-$release" "$dir/vmlinuz"
}

version=$(apt-cache show --no-all-versions busybox-static 2>/dev/null | sed -n 's/^Version: //p' | grep .) \
    || missing "package busybox-static not found: run apt-get update"
busybox=$(package "busybox-static_$version")
for one in "${series[@]}"; do
    kernel=$(kernel_of "$one")
    file=$(package "$kernel")
    stamp=$(sha256sum "$here/build.sh" | cut -d' ' -f1)$'\n'${file##*/}$'\n'${busybox##*/}
    if [ "$(cat "$out/$one/stamp" 2>/dev/null || true)" != "$stamp" ]; then
        rm -f "$out/$one/stamp"
        build "$one" "$file" "$busybox"
        printf '%s\n' "$stamp" >"$out/$one/stamp"
        echo "build.sh: built $out/$one from $kernel" >&2
    fi
done
