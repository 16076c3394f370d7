//! What a run of the engine, and a check of a trace, report. Counts are exact; rates are derived from them for people to read
//! and are never used in a decision.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::forecast::Forecast;
use crate::redirty::RedirtyScore;
use crate::{Epoch, Gfn, Nanos};

/// Name and version of a JSON document's shape. A reader accepts every minor of its major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Such as `pagesieve.replay`.
    pub name: String,
    /// Major and minor, such as `1.0`.
    pub version: String,
}

/// What `replay` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplaySummary {
    /// `pagesieve.replay`.
    pub schema: Schema,
    /// Name of the trace: its file name without the folder.
    pub trace: String,
    /// Workload class, if the trace names one.
    pub class: Option<String>,
    /// Name of the policy.
    pub policy: String,
    /// `sync` or `precopy`.
    pub scenario: String,
    /// Transfer unit in bytes.
    pub block_size: u64,
    /// Access events in the trace.
    pub events: u64,
    /// Access events that were dropped while recording.
    pub lost_events: u64,
    /// Frames in the trace.
    pub epochs: u64,
    /// Completed rounds: syncs, or precopy rounds with the full one.
    pub rounds: u64,
    /// Verdicts, one for each block and round.
    pub blocks: BlockCounts,
    /// Share of blocks that were skipped.
    pub skip_rate: SkipRate,
    /// Bytes.
    pub bytes: ByteCounts,
    /// Why blocks were sent, counted at each sending.
    #[serde(default)]
    pub causes: SendCauses,
    /// Pages by how often they were sent: never, once, and so on; the eighth number is of those sent seven times or more.
    #[serde(default)]
    pub times_sent: Vec<u64>,
    /// Blocks and bytes by NUMA node of the guest.
    #[serde(default)]
    pub nodes: Vec<NodeCounts>,
    /// Pages that the engine called current at the destination although they were not: distinct frames over all rounds.
    pub lost_pages: u64,
    /// True if lost pages were judged by page content; false if only by the dirty log, because the trace has no summaries.
    pub judged_by_content: bool,
    /// Time from the pause to the end of the last round in nanoseconds; precopy only.
    pub downtime: Option<u64>,
    /// Time of the whole migration in nanoseconds; precopy only.
    pub total_time: Option<u64>,
    /// True if precopy reached its downtime limit by itself; false if the trace ended, the rounds ran out or nothing got less.
    pub converged: Option<bool>,
    /// What was foretold when precopy began, from the epochs before.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// How good the forecasts of writes were; `predictive` only.
    #[serde(default)]
    pub redirty: Option<RedirtyScore>,
    /// What happened to the page that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<PageHistory>,
    /// What the page tracker would have answered at the end, in the seed's words.
    pub tracker: TrackerStats,
    /// What the seed's delta-sync manager reports.
    pub filter: FilterStats,
}

/// The history of one page in a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageHistory {
    /// The guest frame number.
    pub gfn: Gfn,
    /// What happened, in the order of time.
    pub moments: Vec<PageMoment>,
}

/// A moment in the history of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageMoment {
    /// When, in nanoseconds since the start of the recording.
    pub time: Nanos,
    /// The epoch that was open.
    pub epoch: Epoch,
    /// An access, its part in a dirty log, or the verdict on its block.
    pub what: String,
    /// For a verdict: what was known about the page just before.
    pub evidence: Option<String>,
}

/// Verdicts on blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCounts {
    /// All verdicts.
    pub total: u64,
    /// Verdicts on blocks with at least one populated page.
    pub resident: u64,
    /// Blocks sent.
    pub sent: u64,
    /// Blocks skipped, by reason.
    pub skipped: SkipCounts,
    /// Blocks skipped that hold at least one populated page: the numerator of the resident rate.
    pub skipped_resident: u64,
    /// Blocks left for a later round. Not a skip.
    pub deferred: u64,
}

/// Blocks skipped, by the proof that allowed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipCounts {
    /// No page of the block holds data, and the destination holds none either.
    pub unpopulated: u64,
    /// The block reads as zeros and so it does at the destination, or a marker without data was enough.
    pub zero: u64,
    /// The destination holds the current version.
    pub unchanged: u64,
    /// Written, but with the bytes that the destination holds.
    pub same_content: u64,
    /// The seed's rule, without proof: only `aging-literal` has these.
    pub presumed_unused: u64,
}

impl SkipCounts {
    /// All skipped blocks.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.unpopulated + self.zero + self.unchanged + self.same_content + self.presumed_unused
    }
}

/// Why blocks were sent, each time they were. The first that applies counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendCauses {
    /// The attempt before failed.
    pub retried: u64,
    /// The destination held no known version of some page of it.
    pub first: u64,
    /// A page was written since.
    pub written: u64,
    /// An incomplete dirty log could not say that no page was written since.
    pub unproven: u64,
    /// There was a proof that it need not be sent, and the policy did not care: only `send-all` has these.
    pub needless: u64,
}

/// Blocks and bytes of one NUMA node of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCounts {
    /// The node; `None` for memory whose node is not known.
    pub node: Option<u16>,
    /// Its pages.
    pub pages: u64,
    /// Verdicts on its blocks.
    pub blocks: BlockCounts,
    /// Guest memory of its blocks that were sent, in bytes.
    pub bytes_sent: u64,
    /// Of these, bytes of pages that had been sent before.
    pub bytes_resent: u64,
}

impl NodeCounts {
    /// Adds the counts of another node.
    pub fn add(&mut self, other: &NodeCounts) {
        self.pages += other.pages;
        self.blocks.add(&other.blocks);
        self.bytes_sent += other.bytes_sent;
        self.bytes_resent += other.bytes_resent;
    }
}

/// Skipped blocks as a share of all blocks, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SkipRate {
    /// Over all verdicts.
    pub total: f64,
    /// Over verdicts on blocks with populated pages.
    pub resident: f64,
}

impl BlockCounts {
    /// Adds other verdicts.
    pub fn add(&mut self, other: &BlockCounts) {
        self.total += other.total;
        self.resident += other.resident;
        self.sent += other.sent;
        self.skipped.unpopulated += other.skipped.unpopulated;
        self.skipped.zero += other.skipped.zero;
        self.skipped.unchanged += other.skipped.unchanged;
        self.skipped.same_content += other.skipped.same_content;
        self.skipped.presumed_unused += other.skipped.presumed_unused;
        self.skipped_resident += other.skipped_resident;
        self.deferred += other.deferred;
    }

    /// The verdicts since an earlier count of the same migration.
    #[must_use]
    pub fn since(&self, before: &BlockCounts) -> BlockCounts {
        BlockCounts {
            total: self.total - before.total,
            resident: self.resident - before.resident,
            sent: self.sent - before.sent,
            skipped: SkipCounts {
                unpopulated: self.skipped.unpopulated - before.skipped.unpopulated,
                zero: self.skipped.zero - before.skipped.zero,
                unchanged: self.skipped.unchanged - before.skipped.unchanged,
                same_content: self.skipped.same_content - before.skipped.same_content,
                presumed_unused: self.skipped.presumed_unused - before.skipped.presumed_unused,
            },
            skipped_resident: self.skipped_resident - before.skipped_resident,
            deferred: self.deferred - before.deferred,
        }
    }

    /// The rates that follow from the counts; 0 where there was nothing to count.
    #[must_use]
    pub fn skip_rate(&self) -> SkipRate {
        SkipRate { total: share(self.skipped.total(), self.total), resident: share(self.skipped_resident, self.resident) }
    }
}

/// `part / whole`; 0 if there is no whole.
#[must_use]
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Bytes of a replayed run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteCounts {
    /// Guest memory: all slots.
    pub guest: u64,
    /// Guest memory of all blocks sent, before encoding.
    pub sent: u64,
    /// Of these, bytes of pages that had been sent before.
    pub resent: u64,
    /// Bytes on the wire: after zero test, delta and compression, with block headers.
    pub wire: u64,
}

/// The seed's tracker statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackerStats {
    /// Pages tracked: all slots.
    pub total_pages: u64,
    /// Pages that the aging rule calls unused.
    pub unused_pages: u64,
    /// Pages with a write event since tracking began.
    pub dirty_pages: u64,
    /// `total_pages - unused_pages`.
    pub used_pages: u64,
    /// `unused_pages` in percent of `total_pages`.
    pub unused_percent: f64,
}

/// The seed's delta-sync statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FilterStats {
    /// True if the events came from the kernel program.
    pub ebpf_enabled: bool,
    /// Blocks that the filter skipped before they were read.
    pub blocks_skipped: u64,
    /// The same in bytes.
    pub bytes_skipped: u64,
    /// `blocks_skipped` in percent of all verdicts.
    pub skip_percent: f64,
}

/// What `verify` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifySummary {
    /// `pagesieve.verify`.
    pub schema: Schema,
    /// Name of the trace: its file name without the folder.
    pub trace: String,
    /// Workload class, if the trace names one.
    pub class: Option<String>,
    /// Frames checked.
    pub epochs: u64,
    /// Pages whose content changed, summed over epochs; `None` if the trace has no page summaries.
    pub content_changed: Option<u64>,
    /// Pages in the dirty log, summed over epochs.
    pub dirty_log: u64,
    /// Of these, pages that are there only because nothing could be proven about them.
    pub unknown: u64,
    /// The unknown pages by reason. A page with two reasons counts in both.
    pub unknown_by_reason: BTreeMap<String, u64>,
    /// Pages with at least one write event, summed over epochs.
    pub event_pages: u64,
    /// Pages of the dirty log without a write event, by cause, summed over epochs: `lost` (events were lost), `taken_by_kernel`
    /// (disk I/O and other pages that the kernel takes by itself, which none of the hooks sees), `unexplained` (the same although
    /// there is a hook for it), `discarded`, `unknown`.
    #[serde(default)]
    pub without_event: BTreeMap<String, u64>,
    /// How complete each source is.
    pub recall: Recall,
    /// Epochs in which access events were lost. What lost control events cost is in `unknown_by_reason`.
    pub lossy_epochs: u64,
    /// Access events lost.
    pub lost_events: u64,
    /// Epochs whose log was made with the help of a content comparison, so that `content_in_log` says nothing about them.
    pub rechecked_epochs: u64,
    /// Pages that each policy would have lost.
    pub lost_pages: BTreeMap<String, u64>,
    /// What is wrong, a line each, the first of its kind only.
    pub violations: Vec<String>,
    /// True if there is no violation.
    pub ok: bool,
}

/// Shares from 0 to 1; 1 if there was nothing to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// Pages whose content changed that were in the dirty log. Anything below 1 is a violation. `None` without summaries.
    pub content_in_log: Option<f64>,
    /// Pages that the scan reported written that also had a write event.
    pub log_in_events: f64,
}
