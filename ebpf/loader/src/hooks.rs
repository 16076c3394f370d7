//! The places in the kernel where the program can be attached, and what each needs.

use aya::programs::{BtfTracePoint, FEntry, KProbe, Program, TracePoint};
use aya::{Btf, Ebpf};

use crate::tracefs;

/// A place to attach one program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Name of the program in the object.
    pub(crate) program: &'static str,
    /// Kind of attachment.
    pub(crate) kind: Kind,
    /// What it is attached to: a tracepoint or a function.
    pub(crate) place: &'static str,
}

/// Kinds of attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Typed tracepoint: needs the kernel's BTF.
    TpBtf,
    /// Plain tracepoint of this category: needs tracefs.
    Tracepoint(&'static str),
    /// Entry of a function, by trampoline: needs BTF and ftrace.
    Fentry,
    /// Entry of a function, by breakpoint: needs kprobes.
    Kprobe,
}

/// Page faults of the target, best first: both hooks of a pair are attached or neither.
pub(crate) const EXCEPTIONS: [[Hook; 2]; 2] = [
    [typed("user_typed", "page_fault_user"), typed("kernel_typed", "page_fault_kernel")],
    [plain("user_plain", "exceptions", "page_fault_user"), plain("kernel_plain", "exceptions", "page_fault_kernel")],
];

/// Pages taken by the kernel, best first: one is enough.
pub(crate) const MM_FAULT: [Hook; 2] = [
    Hook { program: "mm_fault_fentry", kind: Kind::Fentry, place: "handle_mm_fault" },
    Hook { program: "mm_fault_kprobe", kind: Kind::Kprobe, place: "handle_mm_fault" },
];

/// Discards, remappings and forks: all are needed.
pub(crate) const CONTROL: [Hook; 14] = [
    plain("newtask", "task", "task_newtask"),
    plain("executed", "sched", "sched_process_exec"),
    plain("exited", "sched", "sched_process_exit"),
    plain("madvise_enter", "syscalls", "sys_enter_madvise"),
    plain("madvise_exit", "syscalls", "sys_exit_madvise"),
    plain("process_madvise_enter", "syscalls", "sys_enter_process_madvise"),
    plain("process_madvise_exit", "syscalls", "sys_exit_process_madvise"),
    plain("fallocate_enter", "syscalls", "sys_enter_fallocate"),
    plain("fallocate_exit", "syscalls", "sys_exit_fallocate"),
    plain("munmap_enter", "syscalls", "sys_enter_munmap"),
    plain("munmap_exit", "syscalls", "sys_exit_munmap"),
    plain("mremap_enter", "syscalls", "sys_enter_mremap"),
    plain("mremap_exit", "syscalls", "sys_exit_mremap"),
    plain("mmap_enter", "syscalls", "sys_enter_mmap"),
];

const fn typed(program: &'static str, place: &'static str) -> Hook {
    Hook { program, kind: Kind::TpBtf, place }
}

const fn plain(program: &'static str, category: &'static str, place: &'static str) -> Hook {
    Hook { program, kind: Kind::Tracepoint(category), place }
}

impl Hook {
    /// Every hook of the object.
    pub(crate) fn all() -> impl Iterator<Item = Hook> {
        EXCEPTIONS.into_iter().flatten().chain(MM_FAULT).chain(CONTROL)
    }

    /// Such as `tp_btf/page_fault_user` or `tracepoint/syscalls/sys_enter_madvise`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.kind {
            Kind::TpBtf => format!("tp_btf/{}", self.place),
            Kind::Tracepoint(category) => format!("tracepoint/{category}/{}", self.place),
            Kind::Fentry => format!("fentry/{}", self.place),
            Kind::Kprobe => format!("kprobe/{}", self.place),
        }
    }

    /// Loads and attaches the program. It stays attached for as long as the object lives.
    pub(crate) fn attach(&self, object: &mut Ebpf, btf: Option<&Btf>) -> Result<(), String> {
        let no_btf = || "the kernel offers no BTF".to_owned();
        let program = object.program_mut(self.program).ok_or("the object holds no such program")?;
        match self.kind {
            Kind::TpBtf => {
                let program: &mut BtfTracePoint = program.try_into().map_err(|error| causes(&error))?;
                program.load(self.place, btf.ok_or_else(no_btf)?).map_err(|error| causes(&error))?;
                program.attach().map_err(|error| causes(&error))?;
            }
            Kind::Tracepoint(category) => {
                tracefs::ensure()?;
                let program: &mut TracePoint = program.try_into().map_err(|error| causes(&error))?;
                program.load().map_err(|error| causes(&error))?;
                program.attach(category, self.place).map_err(|error| causes(&error))?;
            }
            Kind::Fentry => {
                let program: &mut FEntry = program.try_into().map_err(|error| causes(&error))?;
                program.load(self.place, btf.ok_or_else(no_btf)?).map_err(|error| causes(&error))?;
                program.attach().map_err(|error| causes(&error))?;
            }
            Kind::Kprobe => {
                let program: &mut KProbe = program.try_into().map_err(|error| causes(&error))?;
                program.load().map_err(|error| causes(&error))?;
                program.attach(self.place, 0).map_err(|error| causes(&error))?;
            }
        }
        Ok(())
    }

    /// Takes the program of a page-fault tracepoint out of the kernel again.
    pub(crate) fn detach(&self, object: &mut Ebpf) {
        let done = match object.program_mut(self.program) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::TracePoint(program)) => program.unload(),
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::debug!(hook = self.name(), %error, "could not be detached");
        }
    }

    /// What to do where the kernel refuses this hook.
    pub(crate) fn fix(&self) -> &'static str {
        if !rustix::process::geteuid().is_root() && !crate::capabilities::allow_bpf() {
            return "run as root, or give the binary CAP_BPF and CAP_PERFMON";
        }
        match self.kind {
            Kind::TpBtf => "needs a kernel with CONFIG_DEBUG_INFO_BTF; the plain tracepoint serves as well",
            Kind::Tracepoint(_) => "mount tracefs: mount -t tracefs none /sys/kernel/tracing",
            Kind::Fentry => "needs a kernel with CONFIG_FUNCTION_TRACER and CONFIG_DEBUG_INFO_BTF; nothing depends on it alone",
            Kind::Kprobe => "needs a kernel with CONFIG_KPROBES; nothing depends on it alone",
        }
    }
}

/// An error with all its causes in one line; the verifier's log, which would follow on further lines, is left out.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors print their cause themselves.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
