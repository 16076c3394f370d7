//! Forks, execs and exits of the target and of its children, and how a control event is sent.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use pagesieve_ebpf_abi::{ControlEvent, EXECUTED, EXITED, FORK};

use crate::access::NO_WAKEUP;
use crate::maps::{self, CHILD, CONTROL, FAMILY, SHARES_MEMORY, TARGET_MM};

/// Sends a control event, or counts that it was lost.
#[inline(always)]
pub fn send(event: ControlEvent) {
    let id = bpf_get_current_pid_tgid();
    let time = unsafe { bpf_ktime_get_ns() };
    let event = ControlEvent { time, tid: id as u32, tgid: (id >> 32) as u32, ..event };
    if CONTROL.output::<ControlEvent>(&event, NO_WAKEUP).is_err() {
        maps::count(|counters| counters.control_lost += 1);
    }
}

/// True if the current process runs on the target's page tables.
#[inline(always)]
pub fn is_target() -> bool {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    tgid == maps::target() || relation(tgid) == Some(SHARES_MEMORY)
}

/// True if the current process is the target or a relative of it.
#[inline(always)]
pub fn is_family() -> bool {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    tgid == maps::target() || relation(tgid).is_some()
}

#[inline(always)]
fn relation(tgid: u32) -> Option<u8> {
    // SAFETY: the value is one byte; a racing removal leaves it as it was.
    unsafe { FAMILY.get(&tgid) }.copied()
}

const CLONE_VM: u64 = 0x100;
const CLONE_THREAD: u64 = 0x1_0000;

/// `task_newtask` runs in the parent and, unlike `sched_process_fork`, carries the clone flags: they tell a child process from a
/// thread, or from a vfork child that runs on the target's own page tables.
#[tracepoint(category = "task", name = "task_newtask")]
pub fn newtask(ctx: TracePointContext) -> u32 {
    if !is_family() {
        return 0;
    }
    // SAFETY: both fields lie inside the record.
    let (child, flags) = unsafe { (ctx.read_at::<u32>(8), ctx.read_at::<u64>(32)) };
    let (Ok(child), Ok(flags)) = (child, flags) else { return 0 };
    if flags & CLONE_THREAD != 0 {
        return 0;
    }
    let relation = if flags & CLONE_VM != 0 && is_target() { SHARES_MEMORY } else { CHILD };
    // A full table means that the child's own doings go unseen: count it like a lost report.
    if FAMILY.insert(&child, &relation, 0).is_err() {
        maps::count(|counters| counters.control_lost += 1);
    }
    if relation == CHILD {
        send(ControlEvent { op: FORK, argument: child, ..ControlEvent::default() });
    }
    0
}

#[tracepoint(category = "sched", name = "sched_process_exec")]
pub fn executed(_ctx: TracePointContext) -> u32 {
    if is_family() {
        leave(EXECUTED);
        if is_target() {
            if let Some(mm) = TARGET_MM.get_ptr_mut(0) {
                // SAFETY: the pointer is into the map; the old address space is gone.
                unsafe { *mm = 0 };
            }
        }
    }
    0
}

#[tracepoint(category = "sched", name = "sched_process_exit")]
pub fn exited(ctx: TracePointContext) -> u32 {
    if is_family() && is_last_thread(&ctx) {
        leave(EXITED);
    }
    0
}

/// Threads end all the time; the process ends with the last of them. Older kernels do not say which one that is: there the
/// leader stands for all, and user space looks at /proc.
#[inline(always)]
fn is_last_thread(ctx: &TracePointContext) -> bool {
    match maps::group_dead_offset() {
        0 => ctx.pid() == ctx.tgid(),
        // SAFETY: user space found the field at this offset of the record.
        offset => unsafe { ctx.read_at::<u8>(offset as usize) }.is_ok_and(|dead| dead != 0),
    }
}

#[inline(always)]
fn leave(op: u16) {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let _ = FAMILY.remove(&tgid);
    send(ControlEvent { op, ..ControlEvent::default() });
}
