#!/usr/bin/env bash
# Builds the guest: DIR/vmlinuz and DIR/initramfs.cpio.zst, from Debian packages and the program in program/.
#
# Needs: Debian on amd64 with package lists (apt-get update), apt-get, dpkg-deb, xz, zstd, and cargo. Packages are downloaded into
# DIR/packages and unpacked beside it; none is installed, and root is not needed.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: traces/guest/build.sh [-o DIR] [--kernel PACKAGE]

  -o DIR            where to build (default: guest/ in the target directory)
  --kernel PACKAGE  another kernel (default: what linux-image-cloud-amd64 depends on)

Does nothing if DIR was built from the same sources and packages.
TEXT
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
program=pagesieve-guest
target=x86_64-unknown-linux-gnu
# What runs in the guest, and the modules it needs (those that are part of the kernel are left out).
packages=(busybox-static coreutils e2fsprogs redis-tools redis-server sqlite3 tar tcc xz-utils)
binaries=(/usr/bin/{dd,redis-benchmark,redis-cli,redis-server,sqlite3,tar,tcc,xz} /usr/sbin/mke2fs)
modules=(virtio_pci virtio_blk virtio_net virtio_balloon virtio_mem ext4)

die() {
    echo "build.sh: $*" >&2
    exit 1
}

out=${CARGO_TARGET_DIR:-$root/target}/guest
kernel=
while [ $# -gt 0 ]; do
    case $1 in
    -o) out=${2:?"-o needs a folder"}; shift 2 ;;
    --kernel) kernel=${2:?"--kernel needs a package"}; shift 2 ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
    esac
done
for tool in apt-get apt-cache dpkg-deb xz zstd cargo sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is missing; the head of this script says what is needed"
done
[ "$(dpkg --print-architecture)" = amd64 ] || die "the guest is for amd64 only"
mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$out/scratch

find_kernel() {
    local meta=linux-image-cloud-amd64
    apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1 | grep . \
        || die "package $meta not found: run apt-get update"
}

# Whatever of ours decides the outcome, in a fixed order.
sources() {
    echo "kernel: ${kernel:-default}"
    (cd "$root" && find Cargo.toml Cargo.lock rust-toolchain.toml traces/guest/program traces/guest/build.sh traces/guest/init -type f \
        | LC_ALL=C sort | xargs sha256sum)
}

# Whether DIR was built from these sources, after the package lists were fetched. If not, apt has to be asked, which takes seconds.
nothing_new() {
    [ -s "$out/vmlinuz" ] && [ -s "$out/initramfs.cpio.zst" ] && [ -s "$out/inputs" ] || return 1
    [ -z "$(find /var/lib/apt/lists -maxdepth 1 -newer "$out/inputs" -print -quit)" ] || return 1
    sources | cmp -s - <(sed '/^packages:$/,$d' "$out/inputs")
}

# Every package that the guest takes files from, as NAME=VERSION: apt is asked as if nothing at all were installed.
closure() {
    local nothing=$scratch/nothing plan
    : >"$nothing"
    plan=$(apt-get -o Dir::State::status="$nothing" -o Debug::NoLocking=1 -o APT::Install-Recommends=0 -s install "${packages[@]}") \
        || die "a package of ${packages[*]} was not found: run apt-get update"
    sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' <<<"$plan" | while IFS='=' read -r name version; do
        # Of the dependencies only the libraries matter, and none of those around Perl and logins.
        case $name in
        *perl* | libpam* | libsem*) continue ;;
        lib* | zlib*) ;;
        *) [[ " ${packages[*]} " == *" $name "* ]] || continue ;;
        esac
        echo "$name=$version"
    done | LC_ALL=C sort
    apt-cache show --no-all-versions "$kernel" 2>/dev/null | sed -n "s/^Version: /$kernel=/p" | grep . \
        || die "package $kernel not found: run apt-get update"
}

download() {
    local wanted missing=()
    mkdir -p "$out/packages"
    while read -r wanted; do
        # apt writes the epoch's colon as %3a.
        local name=${wanted%%=*} version=${wanted#*=}
        compgen -G "$out/packages/${name}_${version//:/%3a}_*.deb" >/dev/null || missing+=("$wanted")
    done <"$scratch/closure"
    [ ${#missing[@]} = 0 ] && return
    (cd "$out/packages" && apt-get -q -o APT::Sandbox::User=root download "${missing[@]}") \
        || die "a download failed: run apt-get update and try again"
}

unpack() {
    local wanted
    mkdir -p "$scratch/system"
    while read -r wanted; do
        local name=${wanted%%=*} version=${wanted#*=} deb
        deb=$(compgen -G "$out/packages/${name}_${version//:/%3a}_*.deb") || die "$wanted was not downloaded"
        # Through tar: a package may hold /lib or /usr/lib, and both are the same here.
        dpkg-deb --fsys-tarfile "$deb" | tar -C "$scratch/system" --keep-directory-symlink -xf - --exclude='./usr/share/*'
    done <"$scratch/closure"
}

# Copies the programs, and whatever libraries their own loader asks for.
install_programs() {
    local system=$scratch/system tree=$scratch/tree loader=ld-linux-x86-64.so.2 binary library path list
    path=$system/lib/x86_64-linux-gnu:$system/usr/lib/x86_64-linux-gnu
    install -D "$system/bin/busybox" "$tree/bin/busybox"
    # Not through /lib64: there the loader is a link to an absolute path.
    loader=$system/lib/x86_64-linux-gnu/$loader
    install -D "$loader" "$tree/lib64/${loader##*/}"
    for binary in "${binaries[@]}"; do
        local from=$system$binary
        [ -e "$from" ] || from=$system${binary#/usr}
        [ -e "$from" ] || die "no package has $binary"
        install -D "$from" "$tree/usr/bin/${binary##*/}"
        list=$("$loader" --library-path "$path" --list "$from") || die "a library of $binary is in no package: $list"
        sed -n 's/.* => \(\/.*\) (0x.*/\1/p' <<<"$list" | while read -r library; do
            [[ $library == "$system"/* ]] || die "$library of $binary is in no package"
            install -D -m 644 "$library" "$tree/usr/lib/x86_64-linux-gnu/${library##*/}"
        done
    done
    mkdir -p "$tree/lib"
    ln -s ../usr/lib/x86_64-linux-gnu "$tree/lib/x86_64-linux-gnu"
}

# A module's file, uncompressed. Newer kernels come with .ko.xz.
module_file() { # name
    local name=${1//[-_]/[-_]} found
    found=$(find "$scratch/system" -path '*/lib/modules/*' \( -name "$name.ko" -o -name "$name.ko.xz" \) | head -n 1)
    [ -n "$found" ] || return 1
    if [[ $found == *.xz ]]; then
        xz -d "$found"
        found=${found%.xz}
    fi
    echo "$found"
}

# Adds a module behind those it depends on.
install_module() { # name
    local name=$1 file dependency tree=$scratch/tree/lib/modules
    if grep -qx "$name" "$tree/order" || grep -q "/${name//[-_]/[-_]}\.ko" "$scratch"/system/lib/modules/*/modules.builtin; then
        return
    fi
    file=$(module_file "$name") || die "$kernel has no module $name"
    for dependency in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr ',' ' '); do
        install_module "$dependency"
    done
    install -D -m 644 "$file" "$tree/$name"
    echo "$name" >>"$tree/order"
}

build_program() {
    # Static, as nothing of the host's libraries is in the guest.
    (cd "$root" && unset CARGO_ENCODED_RUSTFLAGS && RUSTFLAGS="-Ctarget-feature=+crt-static -Cstrip=symbols" \
        cargo build --quiet --locked --release -p "$program" --target "$target" --target-dir "$out/cargo")
    local binary=$out/cargo/$target/release/$program
    ldd "$binary" 2>&1 | grep -q -e 'statically linked' -e 'not a dynamic' || die "$binary is not static"
    install "$binary" "$scratch/tree/usr/bin/$program"
}

# The same files give the same bytes: fixed order and times.
pack() {
    local tree=$scratch/tree
    mkdir -p "$tree"/{dev,proc,sys,tmp,run,data,etc}
    echo "root:x:0:0:root:/:/bin/sh" >"$tree/etc/passwd"
    install "$here/init" "$tree/init"
    # Bytes that do not compress well, for the writers: the program itself.
    head -c 1M "$tree/usr/bin/redis-server" >"$tree/lib/noise"
    find "$tree" -exec touch -h -d @0 {} +
    (cd "$tree" && find . -mindepth 1 -print0 | LC_ALL=C sort -z \
        | ./bin/busybox cpio -o -0 -H newc -R 0:0 --ignore-devno --renumber-inodes --quiet) | zstd -q -10 -f -o "$out/initramfs.cpio.zst.new"
    cp "$scratch"/system/boot/vmlinuz-* "$out/vmlinuz"
    mv "$out/initramfs.cpio.zst.new" "$out/initramfs.cpio.zst"
}

if nothing_new; then
    echo "build.sh: $out is up to date"
    exit
fi
rm -rf "$scratch"
mkdir -p "$scratch"
trap 'rm -rf "$scratch"' EXIT
sources >"$scratch/inputs"
kernel=${kernel:-$(find_kernel)}
closure >"$scratch/closure"
{ echo packages: && cat "$scratch/closure"; } >>"$scratch/inputs"
if [ -s "$out/vmlinuz" ] && [ -s "$out/initramfs.cpio.zst" ] && cmp -s "$scratch/inputs" "$out/inputs"; then
    touch "$out/inputs"
    echo "build.sh: $out is up to date"
    exit
fi
rm -f "$out/inputs"
download
# One /lib, as in an installed Debian.
mkdir -p "$scratch/system/usr"/{bin,sbin,lib,lib64} "$scratch/tree/lib/modules"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$scratch/system/$folder"; done
: >"$scratch/tree/lib/modules/order"
unpack
install_programs
for module in "${modules[@]}"; do install_module "$module"; done
build_program
pack
mv "$scratch/inputs" "$out/inputs"
echo "build.sh: $kernel, $(stat -c %s "$out/vmlinuz") bytes; initramfs $(stat -c %s "$out/initramfs.cpio.zst") bytes; in $out"
