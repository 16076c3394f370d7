//! What a trace holds, decoded: raw facts only. Everything derived is recomputed at replay.

use pagesieve_core::{Access, AccessKind, Epoch, Gfn, MemSlot, Nanos, Origin, PageBitmap};
use serde::{Deserialize, Serialize};

/// Where the events of a trace come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventSource {
    /// The kernel program of `ebpf/`.
    Ebpf,
    /// perf software page-fault events.
    Perf,
    /// No events: only the dirty log, polled with `PAGEMAP_SCAN`.
    PagemapScan,
    /// Made by `synth`; no machine was observed.
    Synthetic,
    /// Converted from another tool's recording.
    Imported,
}

/// Facts that hold for the whole trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `pagesieve` version that wrote the trace.
    pub tool: String,
    /// Start of the recording, seconds since the Unix epoch; 0 for synthetic traces. All other times are relative to it.
    pub created: u64,
    /// Clock of all times, such as `CLOCK_MONOTONIC`.
    pub clock: String,
    /// Machine that recorded.
    pub machine: Machine,
    /// Where the events come from.
    pub source: EventSource,
    /// Kernel hooks in use, best first, such as `tp_btf/page_fault_user`.
    pub hooks: Vec<String>,
    /// How memory was write-protected: `handover`, `ptrace`, `none`, `synthetic`.
    pub arming: String,
    /// What was observed.
    pub target: Target,
    /// Workload class given by the user: `idle`, `light`, `mixed`, `heavy-io`, or any other word.
    pub class: Option<String>,
    /// Intended length of an epoch.
    pub epoch_length: Nanos,
    /// True if frames carry page summaries.
    pub fingerprints: bool,
    /// Key of the page fingerprints behind the content numbers; stored only when asked for.
    pub fingerprint_key: Option<[u8; 32]>,
    /// Memory slots when the recording started. Frames list later changes.
    pub slots: Vec<MemSlot>,
}

/// The machine that recorded a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// CPU model name.
    pub cpu: String,
    /// Online CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
}

/// What a trace observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `process`, `qemu` or `synthetic`.
    pub kind: String,
    /// Process id at the time of the recording; 0 if there was no process.
    pub pid: u32,
    /// Command line; for a synthetic trace the parameters that made it.
    pub command: String,
}

/// One epoch: what happened between two closings of the dirty log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Number of the epoch. The first frame is 0: it ends with the first arming, nothing in it can be proven, and its content is
    /// the baseline. Later ones count up without gaps.
    pub epoch: Epoch,
    /// When the interval began: the end of the scan that armed it.
    pub start: Nanos,
    /// When the scan that closed it began. An event between `scan_start` and `end` may belong to this epoch or to the next.
    pub scan_start: Nanos,
    /// When that scan was done.
    pub end: Nanos,
    /// What the target did while the dirty log was read.
    pub closing: Closing,
    /// The memory slots from this frame on, if they changed since the frame before.
    pub slots: Option<Vec<MemSlot>>,
    /// Page accesses in the order of their time.
    pub events: Vec<Access>,
    /// Everything the epoch cannot prove clean.
    pub log: DirtyLog,
    /// Pages that hold data at the end of the epoch. A page outside is proven to read as zero.
    pub populated: PageBitmap,
    /// Pages mapped by huge entries at the end of the epoch: one event there speaks for 512 pages.
    pub huge: PageBitmap,
    /// What was lost.
    pub lost: Lost,
    /// Summaries of every page whose content differs from the frame before (in the first frame: of every populated page).
    /// `None` if content was not looked at.
    pub summaries: Option<Vec<PageSummary>>,
    /// What happened to the target, in order.
    pub notes: Vec<Note>,
}

/// What the target did while the dirty log was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// It went on running.
    #[default]
    Running,
    /// Every thread was seen stopped, so no synchronous direct I/O was in flight.
    Quiescent,
    /// Stopped, and because asynchronous direct I/O could be in flight all content was compared as well.
    Rechecked,
}

/// The dirty log of an epoch, by the reason why a page is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirtyLog {
    /// Pages that the scan reported as written.
    pub written: PageBitmap,
    /// Pages discarded or remapped by system calls (`madvise`, `fallocate`, `munmap`, ...).
    pub discarded: PageBitmap,
    /// Pages that could have changed without the scan seeing it, each set with its reason.
    pub unknown: Vec<UnknownPages>,
}

/// Pages that could not be proven clean, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPages {
    /// Why.
    pub reason: UnknownReason,
    /// Which.
    pub pages: PageBitmap,
}

/// Why a page could not be proven clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// Not write-protected during the whole epoch.
    Unarmed,
    /// Another process could write through a mapping of its own.
    OtherMapper,
    /// Direct I/O could be in flight.
    DirectIo,
    /// Reports of discards were lost.
    LostControl,
    /// A read fault hit a page that was mapped when the epoch began: its mapping was dropped in between.
    MappingDropped,
    /// A page that held data no longer does.
    BecameHole,
    /// The scan failed.
    ScanFailed,
}

impl UnknownReason {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unarmed => "unarmed",
            Self::OtherMapper => "other_mapper",
            Self::DirectIo => "direct_io",
            Self::LostControl => "lost_control",
            Self::MappingDropped => "mapping_dropped",
            Self::BecameHole => "became_hole",
            Self::ScanFailed => "scan_failed",
        }
    }
}

/// What was lost in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Access events dropped because the ring was full, per CPU.
    pub per_cpu: Vec<u64>,
    /// Control events (discards, forks) dropped.
    pub control: u64,
    /// Access events whose address lay in no memory slot. Not an error: the process has other memory too.
    pub outside: u64,
}

/// The number of a page content. Equal numbers mean equal bytes; numbers count up in the order in which contents were first
/// seen. They say nothing about the bytes themselves. 0 is the page of zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentId(pub u32);

/// What is kept of a page's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSummary {
    /// The page.
    pub gfn: Gfn,
    /// Which content it holds at the end of the epoch.
    pub content: ContentId,
    /// Bytes after zstd (level 3) of this page alone; at most 4096, where 4096 means it does not pay.
    pub compressed: u16,
    /// Bytes of an XBZRLE delta against the content at the end of the epoch before; `None` if it does not pay or there is none.
    pub delta: Option<u16>,
}

/// Something that happened to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub time: Nanos,
    /// What.
    pub what: Happening,
}

/// What can happen to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// Another program replaced it in the same process.
    Exec,
    /// It ended with this exit status, or by this signal.
    Ended {
        /// Exit status, if it exited and was a child of the recorder.
        status: Option<i32>,
        /// Signal that ended it.
        signal: Option<i32>,
    },
    /// It made a child process (with memory of its own).
    Forked {
        /// The child.
        child: u32,
    },
    /// Anything else worth a line.
    Message(String),
}

impl DirtyLog {
    /// Everything the epoch cannot prove clean: the union of all sets.
    #[must_use]
    pub fn all(&self) -> PageBitmap {
        let mut all = self.written.clone();
        all.union_with(&self.discarded);
        for set in &self.unknown {
            all.union_with(&set.pages);
        }
        all
    }

    /// The pages that are in the log only because nothing could be proven about them.
    #[must_use]
    pub fn merely_unknown(&self) -> PageBitmap {
        let mut pages = PageBitmap::default();
        for set in &self.unknown {
            pages.union_with(&set.pages);
        }
        pages.subtract(&self.written);
        pages.subtract(&self.discarded);
        pages
    }

    /// Adds pages with a reason, joined to those already there for it.
    pub fn add_unknown(&mut self, reason: UnknownReason, pages: &PageBitmap) {
        if pages.is_empty() {
            return;
        }
        match self.unknown.iter_mut().find(|set| set.reason == reason) {
            Some(set) => set.pages.union_with(pages),
            None => self.unknown.push(UnknownPages { reason, pages: pages.clone() }),
        }
    }
}

impl Lost {
    /// Access events dropped on all CPUs.
    #[must_use]
    pub fn events(&self) -> u64 {
        // A damaged trace can name any numbers.
        self.per_cpu.iter().fold(0, |sum, &lost| sum.saturating_add(lost))
    }

    /// True if anything was dropped that should have been seen.
    #[must_use]
    pub fn any(&self) -> bool {
        self.events() > 0 || self.control > 0
    }
}

// Kept here so that the format's own enums and the engine's stay in step; the codec writes these numbers.
pub(crate) const KINDS: [AccessKind; 3] = [AccessKind::Read, AccessKind::Write, AccessKind::Exec];
pub(crate) const ORIGINS: [Origin; 3] = [Origin::User, Origin::Kernel, Origin::Gup];
