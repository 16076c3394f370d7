//! Options of `pagesieve record`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pagesieve_recorder::{HookChoice, SourceChoice, WriteTracking};

use super::TargetOptions;
use crate::units;

/// Record the page accesses of a QEMU guest or of a process into a trace
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve record --qmp /run/guest.qmp --fingerprints --class idle --duration 60s -o guest.trace
  pagesieve record --vm web1 -o web1.trace
  pagesieve record --duration 30s -o redis.trace --pid $(pidof redis-server)
  pagesieve record --fingerprints --class idle -o idle.trace -- pagesieve workload --class idle
  pagesieve record --pid 4711 --region memfd:guest-ram -o process.trace

A guest is recorded by its own page numbers. Its memory is found through its QMP monitor or, without --qmp, from QEMU's command \
line, if that leaves no doubt. With --qmp an epoch is closed while the guest is stopped and its disk I/O is done, where \
--fingerprints or direct I/O asks for it. --qmp needs a socket that no other client holds.

--vm NAME tries in turn: /run/libvirt/qemu/NAME.pid, /var/run/libvirt/qemu/NAME.pid, /run/qemu-server/NAME.pid, /run/qemu/NAME.pid, \
/run/NAME.pid, and every QEMU process for -name NAME.

What runs already goes on when the recording ends; a command is ended with it. Ctrl-C ends the recording with a whole \
file. Only the process itself is recorded, not its children.")]
pub(crate) struct Record {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Trace to write
    #[arg(short, long, default_value = "pagesieve.trace")]
    pub(crate) output: PathBuf,
    /// Replace the trace if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Length of an epoch
    #[arg(long, default_value = "1s", value_parser = units::span)]
    pub(crate) epoch: Duration,
    /// Stop after this time. Default: when the process ends
    #[arg(long, value_parser = units::span)]
    pub(crate) duration: Option<Duration>,
    /// Summarise page contents at each epoch's end: needed to check completeness. Stops the guest or process for 0.3 to
    /// 0.8 s for each GiB populated, and takes as much memory as it has populated
    #[arg(long)]
    pub(crate) fingerprints: bool,
    /// Workload class to note in the trace: idle, light, mixed, heavy-io, or a word of your own
    #[arg(long)]
    pub(crate) class: Option<String>,
    #[command(flatten)]
    pub(crate) means: MeansOptions,
    /// Size of the event ring
    #[arg(long, default_value = "8MiB", value_parser = units::bytes)]
    pub(crate) ring_size: u64,
    /// Most pages to track; 8 bytes each in the kernel. Default: 1048576 (4 GiB), or as many as the guest has
    #[arg(long, value_name = "PAGES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) map_size_limit: Option<u64>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// By which means a target is observed.
#[derive(Args, Clone, Copy)]
pub(crate) struct MeansOptions {
    /// Where events come from
    #[arg(long, default_value = "auto")]
    pub(crate) source: Source,
    /// Hooks that the kernel program may use; for tests of each
    #[arg(long, default_value = "auto", hide = true)]
    pub(crate) hooks: Hooks,
    /// How to learn of writes; for tests of each
    #[arg(long, default_value = "auto", hide = true)]
    pub(crate) writes: Writes,
}

/// See [`HookChoice`].
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Hooks {
    Auto,
    Tracepoints,
    Fentry,
    Kprobe,
}

impl From<Hooks> for HookChoice {
    fn from(hooks: Hooks) -> Self {
        match hooks {
            Hooks::Auto => HookChoice::Auto,
            Hooks::Tracepoints => HookChoice::PlainTracepoints,
            Hooks::Fentry => HookChoice::FunctionEntry,
            Hooks::Kprobe => HookChoice::FunctionProbe,
        }
    }
}

/// See [`WriteTracking`].
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Writes {
    Auto,
    WriteProtection,
    SoftDirty,
}

impl From<Writes> for WriteTracking {
    fn from(writes: Writes) -> Self {
        match writes {
            Writes::Auto => WriteTracking::Auto,
            Writes::WriteProtection => WriteTracking::WriteProtection,
            Writes::SoftDirty => WriteTracking::SoftDirty,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Source {
    /// The kernel program if it can be attached, otherwise no events
    Auto,
    /// The kernel program, or fail
    Ebpf,
    /// No events, only the kernel's dirty log
    PagemapScan,
}

impl From<Source> for SourceChoice {
    fn from(source: Source) -> Self {
        match source {
            Source::Auto => SourceChoice::Auto,
            Source::Ebpf => SourceChoice::Ebpf,
            Source::PagemapScan => SourceChoice::PagemapScan,
        }
    }
}
