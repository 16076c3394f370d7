//! Maps and globals: all that is shared with user space.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use pagesieve_ebpf_abi::{AccessEvent, Counters, MAX_SLOTS, Slot};

/// Process to watch (thread group id). Set at load time.
#[unsafe(no_mangle)]
static TARGET: u32 = 0;
/// `CLOCK_MONOTONIC` at the start of tracking. Set at load time.
#[unsafe(no_mangle)]
static START: u64 = 0;
/// Byte offset of `vm_mm` in `struct vm_area_struct`, from the kernel's BTF. Set at load time.
#[unsafe(no_mangle)]
static VM_MM_OFFSET: u32 = 0;
/// Byte offset of `mm` in `struct task_struct`, likewise.
#[unsafe(no_mangle)]
static TASK_MM_OFFSET: u32 = 0;
/// The process that loaded this. Its own reading of the target's memory may fault too, and is no access of the target.
#[unsafe(no_mangle)]
static OBSERVER: u32 = 0;
/// 1 if `page_fault_user` and `page_fault_kernel` are attached, so that `handle_mm_fault` need only report the rest.
#[unsafe(no_mangle)]
static EXCEPTIONS_HOOKED: u32 = 0;
/// Byte offset of `group_dead` in a `sched_process_exit` record, or 0 if this kernel has no such field. Set at load time.
#[unsafe(no_mangle)]
static GROUP_DEAD_OFFSET: u32 = 0;

/// Access events: the ring of each CPU. User space puts them in; some CPUs may have the same.
#[btf_map]
pub static EVENTS: btf_maps::ArrayOfMaps<btf_maps::RingBuf<AccessEvent, 4096>, 1> = btf_maps::ArrayOfMaps::new();
/// Control events have a ring of their own, so that a flood of faults cannot push out a discard.
#[map]
pub static CONTROL: RingBuf = RingBuf::with_byte_size(1 << 19, 0);
/// One word a page, by frame; user space maps it. The size is set at load time.
#[map]
pub static PAGES: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Two tables of slots: while one is in use, user space writes the other.
#[map]
pub static SLOTS: Array<Slot> = Array::with_max_entries(2 * MAX_SLOTS, 0);
/// One word: which table is in use (bit 32) and how many slots it holds. One store switches tables.
#[map]
pub static TABLE: Array<u64> = Array::with_max_entries(1, 0);
/// What each CPU counted.
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);
/// Relatives of the target that can change its memory, by process id: [`CHILD`] or [`SHARES_MEMORY`].
#[map]
pub static FAMILY: HashMap<u32, u8> = HashMap::with_max_entries(4096, 0);
/// Address of the target's `mm_struct`, once seen.
#[map]
pub static TARGET_MM: Array<u64> = Array::with_max_entries(1, 0);

/// A child process, which has the target's shared mappings until it executes a program or ends.
pub const CHILD: u8 = 1;
/// A process on the target's own page tables, made by `vfork` or `clone(CLONE_VM)`: what it does, the target does.
pub const SHARES_MEMORY: u8 = 2;

macro_rules! global {
    ($name:ident, $global:ident, $type:ty) => {
        #[inline(always)]
        pub fn $name() -> $type {
            // SAFETY: user space sets the value before the program is loaded and nobody writes it after; volatile keeps the
            // compiler from folding in the initial value.
            unsafe { core::ptr::read_volatile(&raw const $global) }
        }
    };
}

global!(target, TARGET, u32);
global!(start, START, u64);
global!(vm_mm_offset, VM_MM_OFFSET, u32);
global!(observer, OBSERVER, u32);
global!(task_mm_offset, TASK_MM_OFFSET, u32);
global!(exceptions_hooked, EXCEPTIONS_HOOKED, u32);
global!(group_dead_offset, GROUP_DEAD_OFFSET, u32);

/// Counts something on this CPU.
#[inline(always)]
pub fn count(add: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own, and programs of this object do not interrupt each other on one CPU.
        add(unsafe { &mut *counters });
    }
}
