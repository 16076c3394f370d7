//! What this machine allows, and how to mend what it does not.
//!
//! Every answer comes from trying: a hook is available if its program was loaded and attached a moment ago. Nothing stays
//! attached.

mod checks;

use std::collections::BTreeMap;
use std::fmt;

use aya::{Btf, EbpfLoader};
use serde::Serialize;

pub use checks::Check;

use crate::OBJECT;
use crate::hooks::{CONTROL, EXCEPTIONS, Hook, MM_FAULT, causes};

/// All findings.
#[derive(Clone, Debug, Serialize)]
pub struct Doctor {
    /// Shape of the JSON.
    pub schema: Schema,
    /// Whether each hook can be attached, by name.
    pub hooks: BTreeMap<String, HookState>,
    /// Hooks that a recording would use.
    pub selected: Vec<String>,
    /// Where a recording would take its events from: `ebpf`, `pagemap_scan`, or `none` if it cannot record at all.
    pub source: &'static str,
    /// Everything else that a recording needs.
    pub checks: Vec<Check>,
}

/// Name and version of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Schema {
    /// `pagesieve.doctor`.
    pub name: &'static str,
    /// Major and minor.
    pub version: &'static str,
}

/// Whether a hook can be attached.
#[derive(Clone, Debug, Serialize)]
pub struct HookState {
    /// True if it was attached just now.
    pub available: bool,
    /// What the kernel said if not.
    pub reason: Option<String>,
    /// What to do about it.
    pub fix: Option<&'static str>,
}

/// Examines this machine with the rights of this process. Takes a second or two and never fails itself. `more` is what others
/// have found out about it.
#[must_use]
pub fn doctor(more: impl IntoIterator<Item = Check>) -> Doctor {
    let hooks: BTreeMap<String, HookState> = try_hooks();
    let selected = select(|hook| hooks.get(&hook.name()).is_some_and(|state| state.available));
    let checks: Vec<Check> = checks::all().into_iter().chain(more).collect();
    let can_scan = checks.iter().filter(|check| check.needed).all(|check| check.ok);
    let source = match (can_scan, selected.is_empty()) {
        (false, _) => "none",
        (true, false) => "ebpf",
        (true, true) => "pagemap_scan",
    };
    Doctor { schema: Schema { name: "pagesieve.doctor", version: "1.0" }, hooks, selected, source, checks }
}

fn try_hooks() -> BTreeMap<String, HookState> {
    let btf = Btf::from_sys_fs().ok();
    // The program watches process 0, which takes no page faults.
    let mut object = EbpfLoader::new().load(OBJECT).map_err(|error| causes(&error));
    Hook::all()
        .map(|hook| {
            let tried = match &mut object {
                Ok(object) => hook.attach(object, btf.as_ref()),
                Err(reason) => Err(reason.clone()),
            };
            let state = match tried {
                Ok(()) => HookState { available: true, reason: None, fix: None },
                Err(reason) => HookState { available: false, reason: Some(reason), fix: Some(hook.fix()) },
            };
            (hook.name(), state)
        })
        .collect()
}

/// The hooks that the ladder would end with. None if no page-fault hook is there: the others alone are of no use.
fn select(available: impl Fn(&Hook) -> bool) -> Vec<String> {
    let pair = EXCEPTIONS.iter().find(|pair| pair.iter().all(&available));
    let mut selected: Vec<&Hook> = pair.into_iter().flatten().collect();
    selected.extend(MM_FAULT.iter().find(|hook| available(hook)));
    if !selected.is_empty() {
        selected.extend(CONTROL.iter().filter(|hook| available(hook)));
    }
    selected.into_iter().map(Hook::name).collect()
}

impl Doctor {
    /// In one line, why events cannot come from the kernel program, and what to do; `None` if they can.
    #[must_use]
    pub fn why_not_ebpf(&self) -> Option<String> {
        if self.source == "ebpf" {
            return None;
        }
        let failed = self.checks.iter().find(|check| !check.ok);
        let by_check =
            failed.map(|check| format!("{}: {}; {}", check.name, check.detail, check.fix.unwrap_or("see `pagesieve doctor`")));
        let by_hook = || {
            let (name, state) = self.hooks.iter().find(|(_, state)| !state.available)?;
            Some(format!("{name}: {}; {}", state.reason.as_deref()?, state.fix?))
        };
        by_check.or_else(by_hook)
    }
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |ok| if ok { "ok  " } else { "FAIL" };
        for check in &self.checks {
            writeln!(f, "{} {}: {}", mark(check.ok), check.name, check.detail)?;
            if let (false, Some(fix)) = (check.ok, check.fix) {
                writeln!(f, "     fix: {fix}")?;
            }
        }
        for (name, state) in &self.hooks {
            writeln!(
                f,
                "{} hook {name}{}",
                mark(state.available),
                state.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"))
            )?;
            if let Some(fix) = state.fix {
                writeln!(f, "     fix: {fix}")?;
            }
        }
        write!(f, "Events would come from: {}", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_pair_is_selected_and_a_half_pair_is_not() {
        assert_eq!(select(|_| true)[..3], ["tp_btf/page_fault_user", "tp_btf/page_fault_kernel", "fentry/handle_mm_fault"]);
        let half = |hook: &Hook| hook.name() != "tp_btf/page_fault_kernel" && !hook.name().contains("handle_mm_fault");
        assert_eq!(select(half)[..2], ["tracepoint/exceptions/page_fault_user", "tracepoint/exceptions/page_fault_kernel"]);
        assert!(select(|hook| !hook.name().contains("fault")).is_empty(), "without page faults there are no events");
    }

    #[test]
    fn it_never_fails_and_every_failure_names_its_fix() {
        let found = doctor([]);
        for state in found.hooks.values().filter(|state| !state.available) {
            assert!(state.reason.is_some() && state.fix.is_some());
        }
        assert!(found.checks.iter().all(|check| check.ok || check.fix.is_some()));
        assert_eq!(found.why_not_ebpf().is_none(), found.source == "ebpf");
    }
}
