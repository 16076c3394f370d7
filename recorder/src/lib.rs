//! Observes a running process, or the guest in a QEMU, and writes a trace of the pages it touches.
//!
//! A recording is a chain of epochs. While one is open, events of the kernel program are collected. At its end `PAGEMAP_SCAN` (or,
//! on older kernels, soft-dirty bits) says which pages were written and arms them again; everything that the scan cannot see
//! (discards, other mappings, direct I/O) is added from other sources, and what no source can exclude is `Unknown`. The result is
//! a dirty log without gaps, but for writes that no part of the kernel reports (`reports/BIAS.md`).

mod arming;
mod content;
mod control;
mod doctor;
mod epoch;
mod error;
mod events;
mod layout;
mod lease;
pub mod live;
mod maps;
pub mod pagemap;
mod process;
mod ptrace;
mod qemu;
mod rest;
mod session;
mod sharers;
mod tail;
mod target;
#[cfg(test)]
mod testing;
mod uffd;
pub mod workload;
mod writes;

pub use arming::{HANDOVER_VARIABLE, Handover, InjectError};
pub use doctor::doctor;
pub use error::RecordError;
pub use events::SourceChoice;
pub use lease::{give_lease_back, holds_lease, take_lease};
pub use maps::Region;
pub use pagesieve_ebpf::HookChoice;
pub use qemu::{Find, FindError, QmpError, find};
pub use session::{DEFAULT_PAGE_LIMIT, Listener, Options, Progress, Started, record};
pub use target::{CommandOutput, TargetSpec, machine};
pub use writes::WriteTracking;
