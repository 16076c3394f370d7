//! How a target is to be observed, and how it is.

use pagesieve_ebpf::HookChoice;

use super::RecordTo;
use crate::events::SourceChoice;
use crate::maps::Region;
use crate::qemu::StateLimits;
use crate::target::CommandOutput;
use crate::writes::WriteTracking;

/// How to observe.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Where events come from.
    pub source: SourceChoice,
    /// Which hooks the kernel program may use.
    pub hooks: HookChoice,
    /// How to learn of writes.
    pub writes: WriteTracking,
    /// Which mappings to track, as for a recording.
    pub regions: Vec<Region>,
    /// Most pages to track; see [`crate::Options::page_limit`].
    pub page_limit: Option<u64>,
    /// Size of the event ring in bytes; rounded up to a power of two.
    pub ring_bytes: u32,
    /// Where the output of a command goes. It is best kept apart from ours.
    pub command_output: CommandOutput,
    /// It is an error if the kernel program or the tracking of writes cannot be had.
    pub require_ebpf: bool,
    /// Stop a guest for every closing, as its memory is to be copied. If not, it is stopped only where direct I/O asks for it.
    pub stops_guest: bool,
    /// A process that has no monitor is paused by stopping its threads. It may then have I/O under way that lands in its memory.
    pub stops_threads: bool,
    /// A pause also takes the state of the guest's devices, for a migration.
    pub device_state: Option<StateLimits>,
    /// Also write a trace.
    pub record: Option<RecordTo>,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            source: SourceChoice::Auto,
            hooks: HookChoice::Auto,
            writes: WriteTracking::Auto,
            regions: Vec::new(),
            page_limit: None,
            ring_bytes: 8 << 20,
            command_output: CommandOutput::ToStderr,
            require_ebpf: false,
            stops_guest: true,
            stops_threads: false,
            device_state: None,
            record: None,
        }
    }
}

/// What a target is observed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Process observed.
    pub pid: u32,
    /// Accesses are reported by the kernel program.
    pub ebpf_enabled: bool,
    /// Why not, if they are not although they might have been.
    pub ebpf_fallback: Option<String>,
    /// Hooks in use.
    pub hooks: Vec<String>,
    /// How memory is armed.
    pub arming: String,
    /// Writes are tracked. If not, every page counts as written in every epoch, and only comparing finds those that were not.
    pub tracks_writes: bool,
    /// Why not.
    pub writes_fallback: Option<String>,
    /// The guest, in words; `None` if it is another process.
    pub guest: Option<String>,
}

impl Status {
    /// Why it is not observed as well as it might be: events first, then writes.
    pub fn fallbacks(&self) -> impl Iterator<Item = &String> {
        [&self.ebpf_fallback, &self.writes_fallback].into_iter().flatten()
    }
}
