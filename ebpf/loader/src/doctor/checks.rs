//! What a recording needs beside hooks.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::capabilities::{self, CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE};
use crate::tracefs;

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// True if it is as it should be.
    pub ok: bool,
    /// True if nothing can be recorded without it; the others only cost events.
    pub needed: bool,
    /// What was found.
    pub detail: String,
    /// What to do if it is not.
    pub fix: Option<&'static str>,
}

impl Check {
    /// A finding about something that costs events where it is missing.
    #[must_use]
    pub fn new(name: &'static str, ok: bool, detail: String, fix: &'static str) -> Self {
        Self { name, ok, needed: false, detail, fix: (!ok).then_some(fix) }
    }
}

/// Everything about the kernel program, in the order in which a person would mend it.
pub(crate) fn all() -> Vec<Check> {
    vec![kernel(), capabilities(), btf(), jit(), unprivileged(), tracefs_mounted(), lockdown()]
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut parts = release.split(['.', '-']).filter_map(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    Check::new(
        "kernel",
        version >= (6, 7),
        format!("Linux {release}"),
        "boot Linux 6.7 or newer: PAGEMAP_SCAN came with it. Older kernels record with soft-dirty bits, and stop the target for it",
    )
}

fn capabilities() -> Check {
    let bits = capabilities::effective();
    let names = [
        (CAP_BPF, "CAP_BPF"),
        (CAP_PERFMON, "CAP_PERFMON"),
        (CAP_SYS_ADMIN, "CAP_SYS_ADMIN"),
        (CAP_SYS_PTRACE, "CAP_SYS_PTRACE"),
    ];
    let missing: Vec<_> = names.iter().filter(|(cap, _)| bits >> cap & 1 == 0).map(|(_, name)| *name).collect();
    let detail = if missing.is_empty() { "all there".to_owned() } else { format!("without {}", missing.join(", ")) };
    Check::new(
        "capabilities",
        capabilities::allow_bpf(),
        detail,
        "run as root, or: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep pagesieve",
    )
}

fn btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    let there = Path::new(path).exists();
    let detail = if there { path.to_owned() } else { format!("{path} is missing") };
    Check::new("btf", there, detail, "use a kernel with CONFIG_DEBUG_INFO_BTF; without it plain tracepoints serve")
}

fn jit() -> Check {
    let state = read("/proc/sys/net/core/bpf_jit_enable");
    // Where the switch cannot be read the JIT is usually built in.
    let ok = state.as_deref() != Some("0");
    let detail = state.map_or("cannot be read (usually: always on)".to_owned(), |value| format!("bpf_jit_enable is {value}"));
    Check::new("bpf jit", ok, detail, "echo 1 > /proc/sys/net/core/bpf_jit_enable")
}

fn unprivileged() -> Check {
    let state = read("/proc/sys/kernel/unprivileged_bpf_disabled");
    let allowed = capabilities::allow_bpf();
    let detail = match state {
        Some(value) => format!(
            "unprivileged_bpf_disabled is {value}, this process is {}",
            if allowed { "privileged" } else { "not privileged" }
        ),
        None if allowed => "allowed".to_owned(),
        None => "cannot be told".to_owned(),
    };
    Check::new(
        "bpf system call",
        allowed,
        detail,
        "run as root, and check that the kernel has it: grep CONFIG_BPF_SYSCALL /boot/config-$(uname -r)",
    )
}

fn tracefs_mounted() -> Check {
    let ok = tracefs::is_mounted() || tracefs::ensure().is_ok();
    let detail = if ok { "mounted".to_owned() } else { "not mounted, or closed to this user".to_owned() };
    Check::new("tracefs", ok, detail, "mount -t tracefs none /sys/kernel/tracing (as root; a recording as root does it itself)")
}

fn lockdown() -> Check {
    let state = read("/sys/kernel/security/lockdown").unwrap_or_else(|| "none (not configured)".to_owned());
    let ok = !state.contains("[confidentiality]");
    Check::new(
        "lockdown",
        ok,
        state,
        "confidentiality lockdown forbids reading kernel memory from BPF: boot with lockdown=integrity or none",
    )
}
