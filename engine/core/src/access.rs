//! What an event says: who touched which page, when and how.

use serde::{Deserialize, Serialize};

use crate::{Gfn, Nanos};

/// How the page was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store, or a fault that asked for write permission.
    Write,
    /// An instruction fetch.
    Exec,
}

/// On whose behalf the page was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Code of the observed process in user mode: under TCG also the guest's own code.
    User,
    /// The kernel on behalf of the observed process, such as `read(2)` into guest memory.
    Kernel,
    /// Pages taken by the kernel without the process running: KVM faults, direct I/O, vhost, another process's `process_vm_writev`.
    Gup,
}

/// One access, already placed in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// When the fault was taken.
    pub time: Nanos,
    /// The page.
    pub gfn: Gfn,
    /// Load, store or fetch.
    pub kind: AccessKind,
    /// Who did it.
    pub origin: Origin,
    /// The CPU that took the fault.
    pub cpu: u16,
    /// The thread that took the fault, in the host's pid namespace.
    pub tid: u32,
}
