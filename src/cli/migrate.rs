//! Options of `pagesieve migrate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pagesieve_core::PolicyKind;

use super::Security;
use crate::units;

/// Move a running QEMU guest to another QEMU while it runs
#[derive(Args)]
#[command(after_help = "\
Example:
  pagesieve serve --listen 0.0.0.0:7447 --dir /var/lib/pagesieve --keys keys/host2 --guest web1=/run/web1.qmp
  pagesieve migrate --qmp /run/web1.qmp --to host2.example:7447/web1 --keys keys/host1
  pagesieve migrate --qmp /run/web1.qmp --dry-run --watch 10s

All RAM of the guest must be on shared backends (memory-backend-memfd or -file with share=on). The QEMU at the destination has the same \
machine, memory and devices, is started with -incoming defer, and its monitor is given to `serve --guest`. Disks are to be reachable \
from both.

Whatever goes wrong before the last word, the guest goes on here. The QEMU here is left standing, paused, when the guest has gone. \
If the connection breaks at the last word, the destination is asked for a minute what it did. If it cannot be asked, or if pagesieve \
itself is killed in that moment, the guest may stand still on both sides, never run on both: look at the QEMU there (query-status), and \
only if the guest does not run there say `cont` to the monitor here. \
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
    #[arg(long, default_value = "1s", value_parser = units::duration)]
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
    /// Memory for what was sent, to send only the differences when a page is sent again; 0 sends whole pages
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
