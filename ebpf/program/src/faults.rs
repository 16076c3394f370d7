//! Page faults, by the best hook that the kernel allows.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel};
use aya_ebpf::macros::{btf_tracepoint, fentry, kprobe, tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, ProbeContext, TracePointContext};
use pagesieve_ebpf_abi::{EXEC, GUP, KERNEL, READ, USER, WRITE};

use crate::access::report;
use crate::maps::{self, TARGET_MM};

/// Offsets in both page-fault tracepoints; they are alike on all kernels, the name of their struct is not.
const ADDRESS: usize = 8;
const ERROR_CODE: usize = 24;

/// The thread, if it belongs to the target.
#[inline(always)]
fn thread_of_target() -> Option<u32> {
    let id = bpf_get_current_pid_tgid();
    ((id >> 32) as u32 == maps::target()).then_some(id as u32)
}

/// x86 page-fault error code: bit 1 is a write, bit 4 an instruction fetch.
#[inline(always)]
fn kind_of(error_code: u64) -> u8 {
    if error_code & 2 != 0 {
        WRITE
    } else if error_code & 16 != 0 {
        EXEC
    } else {
        READ
    }
}

macro_rules! exception {
    ($typed:ident, $plain:ident, $name:literal, $origin:expr) => {
        #[btf_tracepoint(function = $name)]
        pub fn $typed(ctx: BtfTracePointContext) -> i32 {
            if let Some(tid) = thread_of_target() {
                // The arguments of this tracepoint are address, registers, error code.
                let (address, error_code) = (ctx.arg::<u64>(0), ctx.arg::<u64>(2));
                report(address, kind_of(error_code), $origin, tid);
            }
            0
        }

        #[tracepoint(category = "exceptions", name = $name)]
        pub fn $plain(ctx: TracePointContext) -> u32 {
            if let Some(tid) = thread_of_target() {
                // SAFETY: both fields lie inside the record.
                let fields = unsafe { (ctx.read_at::<u64>(ADDRESS), ctx.read_at::<u64>(ERROR_CODE)) };
                if let (Ok(address), Ok(error_code)) = fields {
                    report(address, kind_of(error_code), $origin, tid);
                }
            }
            0
        }
    };
}

exception!(user_typed, user_plain, "page_fault_user", USER);
exception!(kernel_typed, kernel_plain, "page_fault_kernel", KERNEL);

const FAULT_FLAG_WRITE: u64 = 1 << 0;
const FAULT_FLAG_TRIED: u64 = 1 << 5;
const FAULT_FLAG_USER: u64 = 1 << 6;
const FAULT_FLAG_INSTRUCTION: u64 = 1 << 8;

/// `handle_mm_fault(vma, address, flags, regs)` also runs when the kernel takes pages by itself: KVM, direct I/O, vhost,
/// `process_vm_writev`. It may run in another task than the target, so the target is told by the address space of the vma. Such
/// calls pass no registers, or run in another task (vhost); the others were reported by the page-fault tracepoints already,
/// where these are attached.
#[inline(always)]
fn mm_fault(vma: u64, address: u64, flags: u64, regs: u64) {
    // The function was left to wait for something and is called again for the same access.
    if flags & FAULT_FLAG_TRIED != 0 {
        return;
    }
    let id = bpf_get_current_pid_tgid();
    let by_target = (id >> 32) as u32 == maps::target();
    if by_target {
        remember_mm();
    }
    let own_fault = by_target && regs != 0;
    if own_fault && maps::exceptions_hooked() != 0 {
        return;
    }
    let Some(mm) = mm_of(vma) else { return };
    if TARGET_MM.get(0).is_none_or(|&target| target != mm) || (id >> 32) as u32 == maps::observer() {
        return;
    }
    let kind = if flags & FAULT_FLAG_WRITE != 0 {
        WRITE
    } else if flags & FAULT_FLAG_INSTRUCTION != 0 {
        EXEC
    } else {
        READ
    };
    let origin = match (own_fault, flags & FAULT_FLAG_USER) {
        (false, _) => GUP,
        (true, 0) => KERNEL,
        (true, _) => USER,
    };
    report(address, kind, origin, id as u32);
}

#[inline(always)]
fn mm_of(vma: u64) -> Option<u64> {
    word_at(vma + u64::from(maps::vm_mm_offset()))
}

#[inline(always)]
fn word_at(address: u64) -> Option<u64> {
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const u64) }.ok()
}

/// Learns which address space is the target's, from a task of the target: a vma could be another process's, as in
/// `process_vm_writev`.
#[inline(always)]
fn remember_mm() {
    let task = unsafe { bpf_get_current_task() };
    if let (Some(mm), Some(known)) = (word_at(task + u64::from(maps::task_mm_offset())), TARGET_MM.get_ptr_mut(0)) {
        // SAFETY: the pointer is into the map, and a word is stored whole.
        unsafe { *known = mm };
    }
}

#[fentry(function = "handle_mm_fault")]
pub fn mm_fault_fentry(ctx: FEntryContext) -> i32 {
    // The function takes these four arguments on all kernels since 5.9.
    mm_fault(ctx.arg(0), ctx.arg(1), ctx.arg::<u64>(2) & 0xffff_ffff, ctx.arg(3));
    0
}

#[kprobe(function = "handle_mm_fault")]
pub fn mm_fault_kprobe(ctx: ProbeContext) -> u32 {
    let arguments = (ctx.arg::<u64>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(2), ctx.arg::<u64>(3));
    if let (Some(vma), Some(address), Some(flags), Some(regs)) = arguments {
        mm_fault(vma, address, flags & 0xffff_ffff, regs);
    }
    0
}
