//! What a recording needs beside hooks.

use std::fs;
use std::io;
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

/// Everything, in the order in which a person would mend it.
pub(crate) fn all() -> Vec<Check> {
    vec![kernel(), capabilities(), btf(), jit(), unprivileged(), tracefs_mounted(), lockdown(), uffd(), pagemap_scan()]
}

fn check(name: &'static str, ok: bool, detail: String, fix: &'static str) -> Check {
    Check { name, ok, needed: false, detail, fix: (!ok).then_some(fix) }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut parts = release.split(['.', '-']).filter_map(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    check(
        "kernel",
        version >= (6, 7),
        format!("Linux {release}"),
        "boot Linux 6.7 or newer: PAGEMAP_SCAN and asynchronous write protection came with it",
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
    check(
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
    check("btf", there, detail, "use a kernel with CONFIG_DEBUG_INFO_BTF; without it plain tracepoints serve")
}

fn jit() -> Check {
    let state = read("/proc/sys/net/core/bpf_jit_enable");
    // Where the switch cannot be read the JIT is usually built in.
    let ok = state.as_deref() != Some("0");
    let detail = state.map_or("cannot be read (usually: always on)".to_owned(), |value| format!("bpf_jit_enable is {value}"));
    check("bpf jit", ok, detail, "echo 1 > /proc/sys/net/core/bpf_jit_enable")
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
    check(
        "bpf system call",
        allowed,
        detail,
        "run as root, and check that the kernel has it: grep CONFIG_BPF_SYSCALL /boot/config-$(uname -r)",
    )
}

fn tracefs_mounted() -> Check {
    let ok = tracefs::is_mounted() || tracefs::ensure().is_ok();
    let detail = if ok { "mounted".to_owned() } else { "not mounted, or closed to this user".to_owned() };
    check("tracefs", ok, detail, "mount -t tracefs none /sys/kernel/tracing (as root; a recording as root does it itself)")
}

fn lockdown() -> Check {
    let state = read("/sys/kernel/security/lockdown").unwrap_or_else(|| "none (not configured)".to_owned());
    let ok = !state.contains("[confidentiality]");
    check(
        "lockdown",
        ok,
        state,
        "confidentiality lockdown forbids reading kernel memory from BPF: boot with lockdown=integrity or none",
    )
}

fn uffd() -> Check {
    let tried = open_uffd();
    let switch = read("/proc/sys/vm/unprivileged_userfaultfd").unwrap_or_else(|| "?".to_owned());
    let detail = match &tried {
        Ok(mode) => format!("asynchronous write protection works{mode}"),
        Err(error) => format!("{error} (vm.unprivileged_userfaultfd is {switch})"),
    };
    let fix = "use Linux 6.7 or newer with CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP";
    Check { needed: true, ..check("userfaultfd", tried.is_ok(), detail, fix) }
}

fn open_uffd() -> io::Result<&'static str> {
    const USER_MODE_ONLY: i32 = 1;
    const IOCTL_API: libc::c_ulong = 0xc018_aa3f;
    const WANTED: u64 = 1 << 12 | 1 << 13 | 1 << 15;
    let open = |flags: i32| {
        // SAFETY: userfaultfd takes flags only.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags | libc::O_CLOEXEC) } as i32;
        // SAFETY: a descriptor that the kernel just gave us.
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }) }
    };
    use std::os::fd::{AsRawFd, FromRawFd};
    let (fd, mode) = match open(0) {
        Ok(fd) => (fd, ""),
        Err(_) => (open(USER_MODE_ONLY)?, ", for faults of user mode"),
    };
    // `uffdio_api`: version, features, ioctls.
    let mut api: [u64; 3] = [0xaa, WANTED, 0];
    // SAFETY: UFFDIO_API reads and writes three words.
    if unsafe { libc::ioctl(fd.as_raw_fd(), IOCTL_API, api.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(mode)
}

fn pagemap_scan() -> Check {
    let tried = try_pagemap_scan();
    let detail = tried.as_ref().map_or_else(ToString::to_string, |()| "works".to_owned());
    Check { needed: true, ..check("PAGEMAP_SCAN", tried.is_ok(), detail, "use Linux 6.7 or newer with CONFIG_PROC_PAGE_MONITOR") }
}

fn try_pagemap_scan() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    const IOCTL_PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
    const PRESENT: u64 = 1 << 3;
    let pagemap = fs::File::open("/proc/self/pagemap")?;
    let page = (std::ptr::from_ref(&PRESENT) as u64) & !4095;
    let mut region = [0u64; 3];
    // `pm_scan_arg`: size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, return.
    let mut arg: [u64; 12] = [96, 0, page, page + 4096, 0, region.as_mut_ptr() as u64, 1, 0, 0, 0, PRESENT, PRESENT];
    // SAFETY: the argument has the layout that its first word states, and the vector holds one region.
    if unsafe { libc::ioctl(pagemap.as_raw_fd(), IOCTL_PAGEMAP_SCAN, arg.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
