//! Forks, execs and exits of the target and of its children, and how a control event is sent.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use pagesieve_ebpf_abi::{ControlEvent, EXECUTED, EXITED, FORK};

use crate::access::NO_WAKEUP;
use crate::maps::{self, CONTROL, FAMILY, TARGET_MM};

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

/// True if the current process is the target.
#[inline(always)]
pub fn is_target() -> bool {
    (bpf_get_current_pid_tgid() >> 32) as u32 == maps::target()
}

/// True if the current process is the target or a child that may share its memory.
#[inline(always)]
pub fn is_family() -> bool {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: the value is a byte that nobody looks at.
    tgid == maps::target() || unsafe { FAMILY.get(&tgid) }.is_some()
}

const CLONE_VM: u64 = 0x100;

/// `task_newtask` runs in the parent and, unlike `sched_process_fork`, carries the clone flags: they tell a child process from a
/// thread, or from a vfork child that runs on the target's own page tables.
#[tracepoint(category = "task", name = "task_newtask")]
pub fn newtask(ctx: TracePointContext) -> u32 {
    if !is_family() {
        return 0;
    }
    // SAFETY: both fields lie inside the record.
    let (child, flags) = unsafe { (ctx.read_at::<u32>(8), ctx.read_at::<u64>(32)) };
    if let (Ok(child), Ok(flags)) = (child, flags) {
        if flags & CLONE_VM == 0 {
            // A full table only means that the child's own children and its end go unseen; user space looks at /proc too.
            let _ = FAMILY.insert(&child, &1, 0);
            send(ControlEvent { op: FORK, argument: child, ..ControlEvent::default() });
        }
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
    // Threads end all the time; a process ends with its leader.
    if is_family() && ctx.pid() == ctx.tgid() {
        leave(EXITED);
    }
    0
}

#[inline(always)]
fn leave(op: u16) {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let _ = FAMILY.remove(&tgid);
    send(ControlEvent { op, ..ControlEvent::default() });
}
