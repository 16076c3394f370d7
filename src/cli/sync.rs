//! Options of `pagesieve sync`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Security;
use crate::units;

/// Bring a file or block device up to date with another one: only the blocks that differ are written
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve sync disk.img /backup/disk.img
  pagesieve sync --in-place --verify disk.img copy.img
  pagesieve sync --journal /var/tmp/sdb.journal disk.img /dev/sdb
  pagesieve sync --keys keys/web1 --streams 4 disk.img backup1.example:7447/web1/disk.img
  pagesieve sync --every 5s --pid 4711 /dev/shm/guest.ram /backup/guest.ram
  pagesieve sync --every 10m qmp:/run/web1.qmp backup1.example:7447/web1.ram

Nothing is taken for equal without proof: what the destination holds is read and fingerprinted first. Holes of the source are not \
read, and stay holes.

A file is made anew beside the old one and takes its name at the end. A sync that was cut off leaves that file, and the next one \
goes on with it. With --in-place, and for devices, what is overwritten is kept in a journal; after a cut the next sync first takes \
the changes back.

HOST:PORT and HOST:PORT/NAME are destinations where `pagesieve serve` listens. Blocks travel compressed, and by mutual TLS unless the \
host is this machine. A file whose name looks like that is written as ./NAME.

With --every the sync is made again and again, until Ctrl-C or --times; the file is written in place from the second pass on, and \
--json prints one line for each pass. With --pid, the process that maps the file and writes it there, blocks that it provably did not \
write since the last pass are skipped before they are read. A pass in which anyone else may have written the file, by a descriptor or \
a mapping, reads and compares everything, and says why. Such a source is copied while it is written: each block is as it was at \
some moment of the pass. Stop the process, or wait for a quiet pass, if all blocks must be of one moment.

qmp:SOCKET and pid:PID copy the memory of a running guest or process: page N at byte N * 4096. A guest's pages are its own, so DST has a \
hole where the guest has none (below 4 GiB, where its PCI devices are). Those of a process are numbered as by `record --pid`: in the \
order in which its memory is found. What was written while it was copied follows in rounds; for the last one the guest is paused, so \
that DST is the memory at one instant. Holes take no room, and with --every the snapshot is brought up to date.")]
pub(crate) struct Sync {
    /// File or block device to read; or memory: qmp:SOCKET of a guest, pid:PID of a process
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// File, folder or block device to write; a folder gets a file of the source's name. Or HOST:PORT[/NAME]
    #[arg(value_name = "DST")]
    pub(crate) destination: PathBuf,
    /// Unit of comparison and transfer: a power of two
    #[arg(long, default_value = "64KiB", value_parser = units::bytes)]
    pub(crate) block_size: u64,
    /// Threads that make the fingerprints of the destination
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) hash_workers: u16,
    /// Write into the destination itself, with a journal
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Where the journal is kept [default for a file: beside it]
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Read both sides again at the end and compare their digests
    #[arg(long)]
    pub(crate) verify: bool,
    /// Connections to another machine, 1 to 8
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) streams: u8,
    /// Most bytes per second to another machine, such as 100Mbit
    #[arg(long, value_name = "RATE", value_parser = units::bandwidth)]
    pub(crate) bandwidth_limit: Option<u64>,
    #[command(flatten)]
    pub(crate) security: Security,
    /// Make another pass each time this time has passed
    #[arg(long, value_name = "TIME", value_parser = units::span)]
    pub(crate) every: Option<Duration>,
    /// Passes to make [default: until Ctrl-C]
    #[arg(long, value_name = "N", requires = "every", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) times: Option<u64>,
    /// Process that has mapped the file and writes into it there
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// QMP socket of the guest whose QEMU has mapped the file: it is stopped for the moment in which a pass begins
    #[arg(long, value_name = "SOCKET")]
    pub(crate) qmp: Option<PathBuf>,
    /// Longest time for which a guest or process whose memory is copied stands still
    #[arg(long, default_value = "300ms", value_parser = units::span)]
    pub(crate) downtime_limit: Duration,
    /// Let it stand still for longer if its memory does not converge
    #[arg(long)]
    pub(crate) force: bool,
    /// Read and compare every block in every pass, for comparison
    #[arg(long)]
    pub(crate) no_filter: bool,
    /// Fail if the kernel program cannot be used, instead of comparing more
    #[arg(long)]
    pub(crate) require_ebpf: bool,
    /// Attempts to write a block
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempts: u32,
    /// Time between two attempts
    #[arg(long, default_value = "1s", value_parser = units::span)]
    pub(crate) retry_delay: Duration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
