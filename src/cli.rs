//! The command line: verbs and their options.

mod sync;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use pagesieve_core::{Gfn, PolicyKind};
use pagesieve_recorder::workload::{Adversary, Class};
use pagesieve_recorder::{HookChoice, Region, SourceChoice, WriteTracking};
use pagesieve_replayer::sweep::Best;
use pagesieve_replayer::{Scenario, Start};

pub(crate) use sync::Sync;

use crate::units;

/// Finds out which memory pages of a running VM or process really need to be sent, and proves it.
#[derive(Parser)]
#[command(name = "pagesieve", version, max_term_width = 110, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  verify or trace validate found a violation
  2  wrong usage
  3  failed; one line on standard error says why and what to do";

#[derive(Subcommand)]
pub(crate) enum Verb {
    Record(Record),
    Replay(Replay),
    Verify(Verify),
    Sweep(Sweep),
    Report(Report),
    #[command(subcommand)]
    Trace(Trace),
    Sync(Sync),
    Migrate(Migrate),
    Serve(Serve),
    Keys(Keys),
    Synth(Synth),
    Workload(Workload),
    Doctor(Doctor),
    Demo(Demo),
}

/// Record the page accesses of a QEMU guest or of a process into a trace
#[derive(Args)]
#[command(group(ArgGroup::new("target").required(true).multiple(true)), after_help = "\
Examples:
  pagesieve record --qmp /run/guest.qmp --fingerprints --class idle --duration 60s -o guest.trace
  pagesieve record --vm web1 -o web1.trace
  pagesieve record --duration 30s -o redis.trace --pid $(pidof redis-server)
  pagesieve record --fingerprints --class idle -o idle.trace -- pagesieve workload --class idle
  pagesieve record --pid 4711 --region memfd:guest-ram -o process.trace

A guest is recorded by its own page numbers. Its memory is found through its QMP monitor or, without --qmp, from QEMU's command
line, if that leaves no doubt. With --qmp an epoch is closed while the guest is stopped and its disk I/O is done, where
--fingerprints or direct I/O asks for it. --qmp needs a socket that no other client holds.

--vm NAME tries in turn: /run/libvirt/qemu/NAME.pid, /var/run/libvirt/qemu/NAME.pid, /run/qemu-server/NAME.pid, /run/qemu/NAME.pid,
/run/NAME.pid, and every QEMU process for -name NAME.

What runs already goes on when the recording ends; a command is ended with it. Ctrl-C ends the recording with a whole
file. Only the process itself is recorded, not its children.")]
pub(crate) struct Record {
    /// QMP socket of the guest to record. Give --pid as well if libvirt listens on it
    #[arg(long, value_name = "SOCKET", group = "target", conflicts_with_all = ["vm", "pid_file", "region", "command"])]
    pub(crate) qmp: Option<PathBuf>,
    /// Process to record. Of a QEMU its guest is recorded, unless --region chooses mappings
    #[arg(long, group = "target", conflicts_with_all = ["vm", "pid_file", "command"])]
    pub(crate) pid: Option<u32>,
    /// File that holds the pid, as QEMU and libvirt write it
    #[arg(long, value_name = "FILE", group = "target", conflicts_with_all = ["vm", "command"])]
    pub(crate) pid_file: Option<PathBuf>,
    /// Name of the guest to record
    #[arg(long, value_name = "NAME", group = "target", conflicts_with = "command")]
    pub(crate) vm: Option<String>,
    /// Mappings to track: START-END in hexadecimal, or a part of the name. May be repeated. Default: every writable anonymous,
    /// memfd or shared-memory mapping of at least 1 MiB
    #[arg(long)]
    pub(crate) region: Vec<Region>,
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
    /// Summarise page contents at each epoch's end: needed to check completeness. Stops the guest or process for some
    /// milliseconds each time and takes as much memory as it has populated
    #[arg(long)]
    pub(crate) fingerprints: bool,
    /// Workload class to note in the trace: idle, light, mixed, heavy-io, or a word of your own
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// Where events come from
    #[arg(long, default_value = "auto")]
    pub(crate) source: Source,
    /// Hooks that the kernel program may use; for tests of each
    #[arg(long, default_value = "auto", hide = true)]
    pub(crate) hooks: Hooks,
    /// How to learn of writes; for tests of each
    #[arg(long, default_value = "auto", hide = true)]
    pub(crate) writes: Writes,
    /// Size of the event ring
    #[arg(long, default_value = "8MiB", value_parser = units::bytes)]
    pub(crate) ring_size: u64,
    /// Most pages to track; 8 bytes each in the kernel. Default: 1048576 (4 GiB), or as many as the guest has
    #[arg(long, value_name = "PAGES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) map_size_limit: Option<u64>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Command to start and record
    #[arg(last = true, group = "target")]
    pub(crate) command: Vec<OsString>,
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

/// Replay traces through the engine: what would have been skipped, sent and lost
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve replay idle.trace
  pagesieve replay --policy aging-literal --json *.trace
  pagesieve replay --scenario precopy --bandwidth 1Gbit --block-size 128KiB heavy.trace
  pagesieve replay --scenario precopy --policy predictive --explain 0x40 heavy.trace

sync: the destination starts equal and is brought up to date at each interval. precopy: it starts empty.")]
pub(crate) struct Replay {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
    /// Policy: send-all, proven, aging, adaptive, predictive or aging-literal
    #[arg(long, default_value = "proven")]
    pub(crate) policy: PolicyKind,
    /// sync or precopy
    #[arg(long, default_value = "sync")]
    pub(crate) scenario: Scenario,
    /// What the destination holds at the start: empty, checkpoint or fingerprints, the latter two as of the end of the first
    /// epoch. Default: checkpoint for sync, empty for precopy
    #[arg(long)]
    pub(crate) baseline: Option<Start>,
    /// precopy: longest pause that is planned for
    #[arg(long, default_value = "300ms", value_parser = units::duration)]
    pub(crate) downtime_limit: Duration,
    /// Print the history of this guest frame: each access, its place in the dirty logs, and every verdict with its evidence
    #[arg(long, value_name = "GFN", value_parser = units::gfn)]
    pub(crate) explain: Option<Gfn>,
    /// Replay twice and fail unless both runs decide alike
    #[arg(long)]
    pub(crate) doublecheck: bool,
    /// Print JSON: one document for one trace, an array for several
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of the engine; the defaults are the seed's.
#[derive(Args, Clone, Copy)]
pub(crate) struct EngineOptions {
    /// Transfer unit: a power of two from 4 KiB up
    #[arg(long, default_value = "64KiB", value_parser = units::block_size)]
    pub(crate) block_size: u64,
    /// Time after which a page counts as aged out
    #[arg(long, default_value = "5s", value_parser = units::duration)]
    pub(crate) aging: Duration,
    /// Accesses below which a page counts as unused
    #[arg(long, default_value_t = 1)]
    pub(crate) min_access: u32,
    /// sync: time between two rounds
    #[arg(long, default_value = "5s", value_parser = units::span)]
    pub(crate) interval: Duration,
    /// precopy: speed of the link
    #[arg(long, default_value = "1Gbit", value_parser = units::bandwidth)]
    pub(crate) bandwidth: u64,
}

/// Check traces: is the dirty log complete, and does any policy lose a page?
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve verify demo.trace
  pagesieve verify --json *.trace

Checks that every page whose content changed is in the dirty log of its epoch, and replays all policies against a shadow of
the destination. aging-literal, the seed's rule, is expected to lose pages; that is no violation.")]
pub(crate) struct Verify {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print JSON: one document for one trace, an array for several
    #[arg(long)]
    pub(crate) json: bool,
}

/// Replay traces over a grid of parameters, to see what one saves and what it costs
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve sweep idle.trace
  pagesieve sweep --scenario sync,precopy --policy proven,predictive --best wire *.trace
  pagesieve sweep --interval 1s,5s,10s,30s --format csv -o intervals.csv heavy.trace
  pagesieve sweep --sweep grid.toml --best skip heavy.trace

A row for each trace and each combination of the lists; a parameter that changes nothing is not
varied: interval in precopy, bandwidth in sync, aging in sync for policies that do not use it. In
precopy aging is also how long accesses are watched before the migration starts, so it counts for
every policy. In csv and json sizes are in bytes, times in nanoseconds, bandwidth in bytes a second.

A file for --sweep is TOML; its keys are the options:
  policy = [\"proven\", \"aging\"]
  block-size = [\"32KiB\", \"64KiB\"]
  min-access = 1
  best = \"wire\"")]
pub(crate) struct Sweep {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Policies, separated by commas: send-all, proven, aging, adaptive, predictive or aging-literal. Default: proven
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) policy: Vec<PolicyKind>,
    /// Scenarios: sync, precopy. Default: sync
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) scenario: Vec<Scenario>,
    /// Transfer units, each a power of two from 4 KiB up. Default: 32KiB,64KiB,128KiB,256KiB
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::block_size)]
    pub(crate) block_size: Vec<u64>,
    /// Times after which a page counts as aged out. Default: 5s
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::duration)]
    pub(crate) aging: Vec<Duration>,
    /// sync: times between two rounds. Default: 5s
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::span)]
    pub(crate) interval: Vec<Duration>,
    /// precopy: speeds of the link. Default: 1Gbit
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::bandwidth)]
    pub(crate) bandwidth: Vec<u64>,
    /// Accesses below which a page counts as unused, the same for all rows. Default: 1
    #[arg(long)]
    pub(crate) min_access: Option<u32>,
    /// Take the options that are not given from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) sweep: Option<PathBuf>,
    /// Name the best row of each trace, of those that lost no page
    #[arg(long, value_name = "COLUMN")]
    pub(crate) best: Option<BestBy>,
    /// How to print. Default: table
    #[arg(long)]
    pub(crate) format: Option<SweepFormat>,
    /// File to write to. Default: standard output
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum BestBy {
    /// Fewest bytes on the wire
    Wire,
    /// Fewest bytes sent again
    Resent,
    /// Shortest pause; precopy only
    Downtime,
    /// Highest skip rate over all blocks
    Skip,
}

impl From<BestBy> for Best {
    fn from(by: BestBy) -> Self {
        match by {
            BestBy::Wire => Best::Wire,
            BestBy::Resent => Best::Resent,
            BestBy::Downtime => Best::Downtime,
            BestBy::Skip => Best::Skip,
        }
    }
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum SweepFormat {
    /// For people; a column that applies to no row is left out
    #[default]
    Table,
    /// A line for each row below a line of names
    Csv,
    /// One document
    Json,
}

/// Write a report on traces: index.html, summary.json, summary.md
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve report demo.trace -o report
  pagesieve report traces/corpus/*.trace -o report --force")]
pub(crate) struct Report {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Directory to write to
    #[arg(short, long, default_value = "report")]
    pub(crate) output: PathBuf,
    /// Replace a report that is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

/// Look at traces
#[derive(Subcommand)]
pub(crate) enum Trace {
    /// Print what a trace is and what it holds
    Info(TraceFile),
    /// Check a trace's structure and whether its facts can be true together
    Validate(TraceFile),
    /// Print everything in a trace
    #[command(after_help = "\
Example:
  pagesieve trace dump --json demo.trace | head")]
    Dump(TraceFile),
}

#[derive(Args)]
pub(crate) struct TraceFile {
    /// Trace
    pub(crate) file: PathBuf,
    /// Print JSON (dump: JSON lines)
    #[arg(long)]
    pub(crate) json: bool,
}

/// Move a running QEMU guest to another QEMU while it runs
#[derive(Args)]
#[command(after_help = "\
Example:
  pagesieve serve --listen 0.0.0.0:7447 --dir /var/lib/pagesieve --keys keys/host2 --guest web1=/run/web1.qmp
  pagesieve migrate --qmp /run/web1.qmp --to host2.example:7447/web1 --keys keys/host1
  pagesieve migrate --qmp /run/web1.qmp --dry-run --watch 10s

All RAM of the guest must be on shared backends (memory-backend-memfd or -file with share=on). The QEMU at the destination has the same
machine, memory and devices, is started with -incoming defer, and its monitor is given to `serve --guest`. Disks are to be reachable
from both.

Whatever goes wrong before the last word, the guest goes on here. The QEMU here is left standing, paused, when the guest has gone.
If the connection breaks at the last word, the destination is asked for a minute what it did. If it cannot be asked, or if pagesieve
itself is killed in that moment, the guest may stand still on both sides, never run on both: look at the QEMU there (query-status), and
only if the guest does not run there say `cont` to the monitor here.
Ctrl-C ends the migration; the guest goes on here.")]
pub(crate) struct Migrate {
    /// QMP socket of the guest
    #[arg(long, value_name = "SOCKET")]
    pub(crate) qmp: PathBuf,
    /// Process of the guest's QEMU, if somebody else listens on the socket for it
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Destination, where `pagesieve serve` listens, and the guest's name there [default name: guest]
    #[arg(long, value_name = "HOST:PORT[/NAME]", required_unless_present = "dry_run")]
    pub(crate) to: Option<String>,
    /// Only watch the guest, and say how its migration would go over several lines
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Watch the guest for so long first, to foretell its migration; 0s does not
    #[arg(long, default_value = "1s", value_parser = units::span)]
    pub(crate) watch: Duration,
    /// Pause the guest when the rest can be sent in this time
    #[arg(long, default_value = "300ms", value_parser = units::span)]
    pub(crate) downtime_limit: Duration,
    /// Rounds after which precopy is over
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_rounds: u32,
    /// Hand a guest over even if it does not converge, however long it then stands still
    #[arg(long)]
    pub(crate) force: bool,
    /// Which blocks are skipped or wait: send-all, proven, aging, adaptive or predictive
    #[arg(long, default_value = "proven")]
    pub(crate) policy: PolicyKind,
    /// Unit of comparison and transfer: a power of two, 4KiB to 1MiB
    #[arg(long, default_value = "64KiB", value_parser = units::bytes)]
    pub(crate) block_size: u64,
    /// Connections, 1 to 8
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) streams: u8,
    /// Most bytes per second, such as 100Mbit
    #[arg(long, value_name = "RATE", value_parser = units::bandwidth)]
    pub(crate) bandwidth_limit: Option<u64>,
    /// Memory for what was sent, to send only the differences when a block is sent again; 0 sends whole blocks
    #[arg(long, default_value = "64MiB", value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) delta_cache: u64,
    /// Compare digests of all memory before the guest runs there; it stands still meanwhile
    #[arg(long)]
    pub(crate) verify: bool,
    /// Write a trace of the migration, for replay, verify and report
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) record: Option<PathBuf>,
    /// Fail if the kernel program cannot be used
    #[arg(long)]
    pub(crate) require_ebpf: bool,
    #[command(flatten)]
    pub(crate) security: Security,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a connection is protected.
#[derive(Args)]
pub(crate) struct Security {
    /// TLS: auto (unless both ends are on this machine), on, or off (whoever is on the network can read and change everything)
    #[arg(long, default_value = "auto", value_name = "WHEN")]
    pub(crate) tls: Tls,
    /// Certificate of this side, as `pagesieve keys` made it: DIR/NAME.pem, DIR/NAME.key and DIR/ca.pem
    #[arg(long, value_name = "DIR/NAME")]
    pub(crate) keys: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Tls {
    Auto,
    On,
    Off,
}

/// Take files and guests from other machines
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve serve --listen 127.0.0.1:7447 --dir /backup
  pagesieve serve --listen 0.0.0.0:7447 --dir /backup --keys keys/backup1

Who may connect: whoever has a certificate of the same CA, and one of the names in --allow if there are any. On a loopback address
without TLS, everybody on this machine.
Names that a client sends cannot lead out of the folder, not even by a symbolic link in it.")]
pub(crate) struct Serve {
    /// Address to listen on; with port 0 the system chooses one. The address is printed
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: std::net::SocketAddr,
    /// Folder to write below
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) security: Security,
    /// Take only sources whose certificate bears this name, one of those that `pagesieve keys` was given. May be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow: Vec<String>,
    /// Threads that make the fingerprints of a file
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) hash_workers: u16,
    /// Take a guest of this name into the QEMU that waits behind this monitor. May be repeated
    #[arg(long = "guest", value_name = "NAME=SOCKET", value_parser = units::named_path)]
    pub(crate) guests: Vec<(String, PathBuf)>,
    /// End after the first session
    #[arg(long)]
    pub(crate) once: bool,
}

/// Make the certificates that `sync` and `serve` show each other
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve keys keys/backup1 backup1.example 192.0.2.7
  pagesieve keys keys/web1 web1.example

The first certificate in a folder makes a CA there as well: ca.pem, which both sides need, and ca.key, which is needed only here to
make more certificates. Copy NAME.pem, NAME.key and ca.pem to the machine of that name.")]
pub(crate) struct Keys {
    /// Folder and name of the certificate
    #[arg(value_name = "DIR/NAME")]
    pub(crate) path: PathBuf,
    /// Names and addresses by which the machine is connected to
    #[arg(required = true, value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Days for which the certificate is good
    #[arg(long, default_value_t = 3650)]
    pub(crate) days: u32,
    /// Replace the certificate if it exists; the CA stays
    #[arg(long)]
    pub(crate) force: bool,
}

/// Make a synthetic trace: seeded, of any length, from no machine
#[derive(Args)]
#[command(after_help = "\
Example:
  pagesieve synth --class mixed --memory 1GiB --duration 60s --seed 7 -o mixed.trace")]
pub(crate) struct Synth {
    /// Class: idle, light, mixed or heavy-io
    #[arg(long)]
    pub(crate) class: Class,
    /// Guest memory
    #[arg(long, default_value = "256MiB", value_parser = units::bytes)]
    pub(crate) memory: u64,
    /// Seed: the same one makes the same bytes
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Length of the trace
    #[arg(long, default_value = "30s", value_parser = units::span)]
    pub(crate) duration: Duration,
    /// Length of an epoch
    #[arg(long, default_value = "1s", value_parser = units::span)]
    pub(crate) epoch: Duration,
    /// Leave out page summaries
    #[arg(long)]
    pub(crate) no_fingerprints: bool,
    /// Trace to write
    #[arg(short, long)]
    pub(crate) output: PathBuf,
    /// Replace the trace if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Run the guest workload of our own: a process that touches memory in a known way
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve workload --class mixed --seconds 10
  pagesieve record --fingerprints -o fork.trace -- pagesieve workload --class light --adversary fork

The same seed makes the same accesses: two runs without an adversary print the same digest.")]
pub(crate) struct Workload {
    /// Class: idle, light, mixed or heavy-io
    #[arg(long, default_value = "light")]
    pub(crate) class: Class,
    /// Guest memory
    #[arg(long, default_value = "256MiB", value_parser = units::bytes)]
    pub(crate) memory: u64,
    /// Seed of all choices
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long to run
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Guest memory is anonymous instead of a memfd
    #[arg(long)]
    pub(crate) anonymous: bool,
    /// Guest memory is the start of this file
    #[arg(long, value_name = "FILE", conflicts_with = "anonymous")]
    pub(crate) file: Option<PathBuf>,
    /// A pattern that trackers miss: kernel-writes, thp, fork, discard, gup or sharer
    #[arg(long)]
    pub(crate) adversary: Option<Adversary>,
}

/// Say what this machine allows, and how to mend what it does not
#[derive(Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Workload, recording, verification and report in one go
#[derive(Args)]
#[command(after_help = "\
Example:
  pagesieve demo --seconds 10 -o /tmp/demo

As root the events come from the kernel program. Otherwise the demo says why not and takes the best source it can have.")]
pub(crate) struct Demo {
    /// Directory for traces and report; an earlier demo's files in it are replaced
    #[arg(short, long, default_value = "pagesieve-demo")]
    pub(crate) output: PathBuf,
    /// Length of each of the four recordings
    #[arg(long, default_value_t = 12)]
    pub(crate) seconds: u64,
    /// Guest memory of the workload
    #[arg(long, default_value = "64MiB", value_parser = units::bytes)]
    pub(crate) memory: u64,
}
