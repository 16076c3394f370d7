//! The user side of the kernel program: loads and attaches it by the best hooks that the kernel allows, drains its rings, reads
//! its page table, and says what a machine lacks ([`doctor()`]).

mod btf;
mod capabilities;
mod config;
pub mod doctor;
mod hooks;
mod ladder;
mod page_table;
mod rings;
mod stats;
#[doc(hidden)]
pub mod testing;
mod tracefs;
mod tracker;

pub use config::{HookChoice, TrackerConfig};
pub use doctor::doctor;
pub use hooks::Hook;
pub use ladder::{AttachError, Refusal};
pub use page_table::{AgingRule, PageInfo, PageStats, PageTable};
pub use pagesieve_ebpf_abi as abi;
pub use stats::{ProgramRuns, RunStats};
pub use tracker::Tracker;

/// The kernel program, built from `ebpf/program` by `ebpf/build.sh`.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../prebuilt/page_tracker.bpf.o");
