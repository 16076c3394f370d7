//! From the best hooks to the worst: attach what the kernel allows and say what it refused.

use std::fmt;

use aya::{Btf, Ebpf, EbpfLoader};

use crate::btf::Offsets;
use crate::config::{HookChoice, TrackerConfig};
use crate::hooks::{CONTROL, EXCEPTIONS, Hook, MM_FAULT, causes};
use crate::{OBJECT, btf, rings, tracefs};

/// A hook that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The hook.
    pub hook: Hook,
    /// What the kernel said.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.hook.name(), self.reason)
    }
}

/// Why no events can be had.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The object could not be loaded at all.
    #[error("load the kernel program: {reason}; {fix}")]
    Load {
        /// What the kernel said.
        reason: String,
        /// What to do.
        fix: &'static str,
    },
    /// No hook for page faults is allowed.
    #[error("attach to page faults: {}", join(.refused))]
    NoHook {
        /// What was tried.
        refused: Vec<Refusal>,
    },
}

fn join(refused: &[Refusal]) -> String {
    let tried: Vec<_> = refused.iter().map(ToString::to_string).collect();
    let fix = refused.first().map_or("", |refusal| refusal.hook.fix());
    format!("{} ({fix})", tried.join("; "))
}

/// A loaded object and what it is attached to.
pub(crate) struct Attached {
    pub(crate) object: Ebpf,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) refused: Vec<Refusal>,
    /// True if every discard and fork of the target is reported.
    pub(crate) sees_control: bool,
}

pub(crate) fn attach(config: &TrackerConfig) -> Result<Attached, AttachError> {
    let btf = match config.hooks {
        HookChoice::Auto | HookChoice::FunctionEntry => Btf::from_sys_fs().ok(),
        HookChoice::PlainTracepoints | HookChoice::FunctionProbe => None,
    };
    let offsets = btf::offsets();
    let by_exceptions = matches!(config.hooks, HookChoice::Auto | HookChoice::PlainTracepoints);
    let mut attached = load(config, offsets, by_exceptions)?;
    if by_exceptions && !attached.exceptions(btf.as_ref()) {
        tracing::info!("no page-fault tracepoints: all faults are taken from handle_mm_fault");
        // Without the exceptions' tracepoints (as on arm64) `handle_mm_fault` reports everything. The program must know when
        // it is loaded, so load it again.
        let refused = std::mem::take(&mut attached.refused);
        attached = load(config, offsets, false)?;
        attached.refused = refused;
    }
    // Without the offsets the program cannot tell whose fault it sees.
    if offsets.is_some() {
        attached.mm_fault(btf.as_ref());
    }
    if attached.hooks.is_empty() {
        return Err(AttachError::NoHook { refused: attached.refused });
    }
    attached.control(btf.as_ref());
    Ok(attached)
}

fn load(config: &TrackerConfig, offsets: Option<Offsets>, exceptions: bool) -> Result<Attached, AttachError> {
    let Offsets { vm_mm, task_mm } = offsets.unwrap_or(Offsets { vm_mm: 0, task_mm: 0 });
    let (hooked, observer) = (u32::from(exceptions), std::process::id());
    let group_dead = tracefs::field_offset("sched/sched_process_exit", "group_dead").unwrap_or(0);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("TARGET", &config.pid, true)
        .override_global("START", &config.start, true)
        .override_global("VM_MM_OFFSET", &vm_mm, true)
        .override_global("TASK_MM_OFFSET", &task_mm, true)
        .override_global("OBSERVER", &observer, true)
        .override_global("EXCEPTIONS_HOOKED", &hooked, true)
        .override_global("GROUP_DEAD_OFFSET", &group_dead, true)
        .map_max_entries("EVENTS", rings::possible_cpus())
        .map_max_entries("PAGES", config.page_limit.clamp(1, u64::from(u32::MAX)) as u32);
    let object = loader.load(OBJECT).map_err(|error| AttachError::Load {
        reason: causes(&error),
        fix: "run as root, or give the binary CAP_BPF and CAP_PERFMON",
    })?;
    Ok(Attached { object, hooks: Vec::new(), refused: Vec::new(), sees_control: false })
}

impl Attached {
    /// Attaches one of the pairs of page-fault hooks. A pair of which only one can be attached counts as refused: half the
    /// faults would look like all of them.
    fn exceptions(&mut self, btf: Option<&Btf>) -> bool {
        EXCEPTIONS.into_iter().any(|pair| {
            let attached: Vec<Hook> = pair.into_iter().filter(|hook| self.try_attach(hook, btf)).collect();
            let whole = attached.len() == pair.len();
            if whole {
                self.hooks.extend(attached);
            } else {
                // Left attached it would report its half a second time beside the next pair.
                attached.iter().for_each(|hook| hook.detach(&mut self.object));
            }
            whole
        })
    }

    fn mm_fault(&mut self, btf: Option<&Btf>) {
        if let Some(hook) = MM_FAULT.into_iter().find(|hook| self.try_attach(hook, btf)) {
            self.hooks.push(hook);
        }
    }

    fn control(&mut self, btf: Option<&Btf>) {
        let attached: Vec<Hook> = CONTROL.into_iter().filter(|hook| self.try_attach(hook, btf)).collect();
        self.sees_control = attached.len() == CONTROL.len();
        self.hooks.extend(attached);
    }

    fn try_attach(&mut self, hook: &Hook, btf: Option<&Btf>) -> bool {
        match hook.attach(&mut self.object, btf) {
            Ok(()) => {
                tracing::info!(hook = hook.name(), "attached");
                true
            }
            Err(reason) => {
                tracing::info!(hook = hook.name(), reason, "the kernel refuses a hook");
                self.refused.push(Refusal { hook: *hook, reason });
                false
            }
        }
    }
}
