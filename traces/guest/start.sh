#!/usr/bin/env bash
# Starts the guest that build.sh made. The script becomes QEMU (exec), so the caller's child is QEMU itself.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: traces/guest/start.sh [OPTION]... [-- QEMU-ARGUMENT...]

  --class CLASS        idle (default), light, mixed, heavy-io
  --memory SIZE        like 512M (default), 4G or 524296K
  --smp N              vCPUs (default 2)
  --machine TYPE       q35 (default) or pc
  --backend KIND       where guest memory lives: anon (default), memfd (shared), shm (a shared file in --mem-path)
  --mem-path FILE      the file of shm (default /dev/shm/pagesieve-guest-PID.ram). It stays when QEMU ends: remove it
                       With --numa, one file for each node: FILE.0, FILE.1, ...
  --hugepages on|off   memfd of 2 MiB pages, which must be reserved on the host (default off)
  --numa N             N equal nodes with a backend each (default: no NUMA)
  --slots N            slots for memory added later (default 4); goes with --maxmem
  --maxmem SIZE        limit with the memory added later (default: none can be added)
  --disk KIND          none (default), buffered (page cache of the host), direct (O_DIRECT from threads), native (O_DIRECT and
                       Linux AIO), io_uring (O_DIRECT and io_uring)
  --disk-file FILE     the disk, raw; made with 1G if it does not exist. The guest formats it if it is empty
  --iops N             limits the disk's requests per second
  --check-mib N        memory of the self-check, instead of the class's
  --check-rate N       pages that the self-check rewrites per second, instead of the class's
  --append TEXT        more of the kernel command line
  --qmp SOCKET         QMP on a Unix socket
  --console FILE       the guest's serial console (default: standard output)
  --pidfile FILE       QEMU's process id
  --image DIR          what build.sh made (default: guest/ in the target directory)

QEMU ends when the guest stops or crashes (-no-reboot).

examples:
  start.sh --class light --console light.log --qmp light.qmp
  start.sh --class heavy-io --disk native --disk-file disk.raw --iops 300 --backend memfd
  start.sh --memory 512M --maxmem 4G --qmp guest.qmp    # QMP: object-add memory-backend-ram, device_add pc-dimm
  start.sh --memory 4G --backend shm --mem-path /dev/shm/dst.ram --qmp dst.qmp --console dst.log -- -incoming defer
TEXT
}

die() {
    echo "start.sh: $*" >&2
    exit 2
}

root=$(cd "$(dirname "$0")/../.." && pwd)
class=idle memory=512M smp=2 machine=q35 backend=anon mem_path=/dev/shm/pagesieve-guest-$$.ram hugepages=off numa=0 slots=4
maxmem='' disk=none disk_file='' iops=0 check_mib='' check_rate='' append='' qmp='' console='' pidfile=''
image=${CARGO_TARGET_DIR:-$root/target}/guest
while [ $# -gt 0 ]; do
    case $1 in
    --class | --memory | --smp | --machine | --backend | --mem-path | --hugepages | --numa | --slots | --maxmem | --disk | --disk-file | \
        --iops | --check-mib | --check-rate | --append | --qmp | --console | --pidfile | --image)
        [ $# -ge 2 ] || die "$1 needs a value"
        name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift 2
        ;;
    -h | --help) usage; exit ;;
    --) shift; break ;;
    *) die "there is no option $1 (--help shows them; arguments for QEMU come after --)" ;;
    esac
done

one_of() { # option, value, allowed...
    local option=$1 value=$2
    shift 2
    case " $* " in *" $value "*) ;; *) die "$option is one of: $*" ;; esac
}

kib() { # option, size
    [[ $2 =~ ^([1-9][0-9]*)([KMG])$ ]] || die "$1 is a size like 512M or 4G"
    case ${BASH_REMATCH[2]} in
    K) echo "${BASH_REMATCH[1]}" ;;
    M) echo $((BASH_REMATCH[1] * 1024)) ;;
    G) echo $((BASH_REMATCH[1] * 1024 * 1024)) ;;
    esac
}

number() { # option, value
    [[ $2 =~ ^(0|[1-9][0-9]*)$ ]] || die "$1 is a number"
}

one_of --class "$class" idle light mixed heavy-io
one_of --machine "$machine" q35 pc
one_of --backend "$backend" anon memfd shm
one_of --hugepages "$hugepages" on off
one_of --disk "$disk" none buffered direct native io_uring
number --smp "$smp"
number --numa "$numa"
number --slots "$slots"
number --iops "$iops"
[ "$hugepages" = off ] || [ "$backend" = memfd ] || die "--hugepages on goes with --backend memfd"
[ "$disk" = none ] || [ -n "$disk_file" ] || die "--disk $disk needs --disk-file"
[ "$numa" -le "$smp" ] || die "--numa needs a vCPU for each node: --smp $numa"
command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: install qemu-system-x86"
for file in vmlinuz initramfs.cpio.zst; do
    [ -s "$image/$file" ] || die "$image/$file is missing: run traces/guest/build.sh"
done

# Guest memory: one backend for each node, or one for all.
size=$(kib --memory "$memory")
nodes=$((numa > 0 ? numa : 1))
[ $((size % (nodes * 4))) = 0 ] || die "--memory is not a multiple of $nodes pages"
backends=()
for ((node = 0; node < nodes; node++)); do
    spec="id=ram$node,size=$((size / nodes))K"
    case $backend in
    anon) spec="memory-backend-ram,$spec" ;;
    memfd) spec="memory-backend-memfd,$spec,share=on,hugetlb=$hugepages" ;;
    shm) spec="memory-backend-file,$spec,share=on,mem-path=$mem_path$([ "$numa" = 0 ] || echo ".$node")" ;;
    esac
    backends+=(-object "$spec")
    if [ "$numa" -gt 0 ]; then
        backends+=(-numa "node,nodeid=$node,memdev=ram$node")
    fi
done
if [ "$numa" -gt 0 ]; then
    for ((cpu = 0; cpu < smp; cpu++)); do
        backends+=(-numa "cpu,node-id=$((cpu % numa)),socket-id=$cpu")
    done
else
    machine+=,memory-backend=ram0
fi
limit=
[ -z "$maxmem" ] || limit=,slots=$slots,maxmem=$(kib --maxmem "$maxmem")K

devices=()
if [ "$disk" != none ]; then
    case $disk in
    buffered) cache=writeback,aio=threads ;;
    direct) cache=none,aio=threads ;;
    native) cache=none,aio=native ;;
    io_uring) cache=none,aio=io_uring ;;
    esac
    [ -e "$disk_file" ] || truncate -s 1G "$disk_file"
    devices+=(-drive "file=$disk_file,if=none,id=disk0,format=raw,cache=$cache,throttling.iops-total=$iops"
        -device virtio-blk-pci,drive=disk0)
fi
[ -z "$qmp" ] || devices+=(-qmp "unix:$qmp,server=on,wait=off")
[ -z "$pidfile" ] || devices+=(-pidfile "$pidfile")

line="console=ttyS0 quiet panic=-1 memhp_default_state=online pagesieve.class=$class"
[ -z "$check_mib" ] || line+=" pagesieve.check_mib=$check_mib"
[ -z "$check_rate" ] || line+=" pagesieve.check_rate=$check_rate"
exec qemu-system-x86_64 -name "pagesieve-$class" -nodefaults -no-user-config -display none -no-reboot \
    -accel tcg,thread=multi -cpu max -machine "$machine" -m "${size}K$limit" -smp "$smp,sockets=$smp" "${backends[@]}" "${devices[@]}" \
    -serial "${console:+file:}${console:-stdio}" \
    -kernel "$image/vmlinuz" -initrd "$image/initramfs.cpio.zst" -append "$line${append:+ $append}" "$@"
