//! What this machine allows a recording, found out by trying.

use std::io;

use pagesieve_ebpf::doctor::{Check, Doctor};

use crate::{pagemap, uffd, writes};

/// Examines this machine with the rights of this process: the kernel program, and what write tracking needs. Takes a second or
/// two and never fails itself.
#[must_use]
pub fn doctor() -> Doctor {
    let (mut protection, mut scan, mut marks) = (write_protection(), scan(), soft_dirty());
    // One way of learning of writes is enough.
    let protects = protection.ok && scan.ok;
    protection.needed = !marks.ok;
    scan.needed = !marks.ok;
    marks.needed = !protects && !scan.ok;
    if protects && !marks.ok {
        marks = Check::new(marks.name, true, format!("{}; not needed where PAGEMAP_SCAN works", marks.detail), "");
    }
    pagesieve_ebpf::doctor([protection, scan, marks])
}

fn write_protection() -> Check {
    let tried = uffd::open_own().and_then(|(fd, mode)| uffd::Uffd::enable(fd).map(|_| mode));
    let detail = match &tried {
        Ok(uffd::Mode::Full) => "asynchronous write protection works".to_owned(),
        Ok(uffd::Mode::UserOnly) => "asynchronous write protection works, for faults of user mode".to_owned(),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => "this kernel has no asynchronous write protection".to_owned(),
        Err(error) => format!("{error} (vm.unprivileged_userfaultfd is {})", switch()),
    };
    let fix = "use Linux 6.7 or newer with CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP";
    Check::new("userfaultfd", tried.is_ok(), detail, fix)
}

fn switch() -> String {
    let read = std::fs::read_to_string("/proc/sys/vm/unprivileged_userfaultfd");
    read.map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
}

fn scan() -> Check {
    let tried: io::Result<()> = pagemap::try_scan();
    let detail = tried.as_ref().map_or_else(ToString::to_string, |()| "works".to_owned());
    Check::new("PAGEMAP_SCAN", tried.is_ok(), detail, "use Linux 6.7 or newer with CONFIG_PROC_PAGE_MONITOR")
}

fn soft_dirty() -> Check {
    let tried = writes::try_marks();
    let detail = tried.as_ref().map_or_else(ToString::to_string, |()| "works".to_owned());
    let fix = "use a kernel with CONFIG_MEM_SOFT_DIRTY, or better Linux 6.7 or newer";
    Check::new("soft-dirty", tried.is_ok(), detail, fix)
}
