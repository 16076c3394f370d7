//! System calls that take data away from under a mapping. Each is reported when it begins and when it returns, so that one that
//! is under way while an epoch closes counts for both epochs.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use pagesieve_ebpf_abi::{ControlEvent, FALLOCATE, MADVISE, MMAP_FIXED, MREMAP, MUNMAP};

use crate::control::{is_family, is_target, send};

/// System call arguments begin here in a `sys_enter` record, eight bytes each.
const ARGUMENTS: usize = 16;

#[inline(always)]
fn argument(ctx: &TracePointContext, index: usize) -> u64 {
    // SAFETY: a record holds six arguments.
    unsafe { ctx.read_at::<u64>(ARGUMENTS + 8 * index) }.unwrap_or(0)
}

#[inline(always)]
fn range(ctx: &TracePointContext, op: u16) -> u32 {
    send(ControlEvent { op, start: argument(ctx, 0), length: argument(ctx, 1), ..ControlEvent::default() });
    0
}

macro_rules! returns {
    ($name:ident, $tracepoint:literal, $op:expr, $who:ident) => {
        #[tracepoint(category = "syscalls", name = $tracepoint)]
        pub fn $name(_ctx: TracePointContext) -> u32 {
            if $who() {
                send(ControlEvent { op: $op, returned: 1, ..ControlEvent::default() });
            }
            0
        }
    };
}

/// Advices that make data disappear: DONTNEED, FREE, REMOVE, DONTNEED_LOCKED, HWPOISON, GUARD_INSTALL. And two that keep data but
/// drop mappings, and with them what soft-dirty bits know of shared memory: PAGEOUT, COLLAPSE.
#[inline(always)]
fn discards(advice: u64) -> bool {
    matches!(advice, 4 | 8 | 9 | 21 | 24 | 25 | 100 | 102)
}

#[tracepoint(category = "syscalls", name = "sys_enter_madvise")]
pub fn madvise_enter(ctx: TracePointContext) -> u32 {
    if !is_target() {
        return 0;
    }
    let advice = argument(&ctx, 2);
    if discards(advice) {
        return range(&ctx, MADVISE);
    }
    0
}

/// The target's discards of its own memory. Other processes may only give advice that keeps data.
#[tracepoint(category = "syscalls", name = "sys_enter_process_madvise")]
pub fn process_madvise_enter(ctx: TracePointContext) -> u32 {
    if is_target() {
        // The ranges stand in user memory; the whole address space stands for them.
        let advice = argument(&ctx, 3);
        if discards(advice) {
            send(ControlEvent { op: MADVISE, start: 0, length: u64::MAX, ..ControlEvent::default() });
        }
    }
    0
}

/// `fallocate` of the target or of a child with a mode other than plain allocation. It names a descriptor, not an address.
#[tracepoint(category = "syscalls", name = "sys_enter_fallocate")]
pub fn fallocate_enter(ctx: TracePointContext) -> u32 {
    const KEEP_SIZE: u64 = 1;
    if is_family() && argument(&ctx, 1) & !KEEP_SIZE != 0 {
        let (start, length) = (argument(&ctx, 2), argument(&ctx, 3));
        send(ControlEvent { op: FALLOCATE, start, length, argument: argument(&ctx, 0) as u32, ..ControlEvent::default() });
    }
    0
}

#[tracepoint(category = "syscalls", name = "sys_enter_munmap")]
pub fn munmap_enter(ctx: TracePointContext) -> u32 {
    if is_target() { range(&ctx, MUNMAP) } else { 0 }
}

#[tracepoint(category = "syscalls", name = "sys_enter_mremap")]
pub fn mremap_enter(ctx: TracePointContext) -> u32 {
    const MREMAP_FIXED: u64 = 2;
    if !is_target() {
        return 0;
    }
    if argument(&ctx, 3) & MREMAP_FIXED != 0 {
        // What was mapped at the new place is gone too.
        let (start, length) = (argument(&ctx, 4), argument(&ctx, 2));
        send(ControlEvent { op: MREMAP, start, length, ..ControlEvent::default() });
    }
    range(&ctx, MREMAP)
}

/// There is no `sys_exit_mmap` tracepoint everywhere; user space lets a fixed mapping count for the next epoch as well.
#[tracepoint(category = "syscalls", name = "sys_enter_mmap")]
pub fn mmap_enter(ctx: TracePointContext) -> u32 {
    const MAP_FIXED: u64 = 0x10;
    if is_target() && argument(&ctx, 3) & MAP_FIXED != 0 { range(&ctx, MMAP_FIXED) } else { 0 }
}

returns!(madvise_exit, "sys_exit_madvise", MADVISE, is_target);
returns!(process_madvise_exit, "sys_exit_process_madvise", MADVISE, is_target);
returns!(fallocate_exit, "sys_exit_fallocate", FALLOCATE, is_family);
returns!(munmap_exit, "sys_exit_munmap", MUNMAP, is_target);
returns!(mremap_exit, "sys_exit_mremap", MREMAP, is_target);
