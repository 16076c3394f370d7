//! The report as sentences and formatted numbers. HTML and Markdown both show this view, so they cannot disagree.

mod grid;
mod migration;
mod overview;
mod trace;

pub use grid::{GridRow, GridView};
pub use overview::{ClassRow, OverviewRow, PageView};
pub use trace::{PolicyRow, TraceView};

use pagesieve_core::summary::ReplaySummary;

use crate::TraceReport;
use crate::claims::{Claim, Verdict};
use crate::format;

/// The policy whose skips are all proven.
pub const PROVEN: &str = "proven";
/// The policy that forecasts writes.
pub const PREDICTIVE: &str = "predictive";
/// The seed's rule word for word.
pub const LITERAL: &str = "aging-literal";

/// The replay that a trace is judged by: the `proven` policy, in the `sync` scenario if there is one.
#[must_use]
pub fn headline(trace: &TraceReport) -> Option<&ReplaySummary> {
    replay_of(trace, PROVEN)
}

/// A trace's replay of a policy, in the `sync` scenario if there is one.
fn replay_of<'a>(trace: &'a TraceReport, policy: &str) -> Option<&'a ReplaySummary> {
    let of_policy = |replay: &&ReplaySummary| replay.policy == policy;
    let mut replays = trace.replays.iter().filter(of_policy);
    replays.clone().find(|replay| replay.scenario == "sync").or_else(|| replays.next())
}

/// Pages that a policy lost, by the worst of its replays here and of those that the check made.
fn most_lost(trace: &TraceReport, policy: &str) -> Option<u64> {
    let replayed = trace.replays.iter().filter(|replay| replay.policy == policy).map(|replay| replay.lost_pages);
    replayed.chain(trace.verify.lost_pages.get(policy).copied()).max()
}

/// Where the events of a trace come from, in words, with a warning where that weakens what the trace can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// A short label.
    pub label: String,
    /// `ebpf`, `other` or `synthetic`: a class name in HTML.
    pub kind: &'static str,
    /// What the reader must know about it; empty for eBPF.
    pub warning: &'static str,
}

impl SourceView {
    /// Puts the `source` of a [`Provenance`](crate::model::Provenance) into words.
    #[must_use]
    pub fn of(source: &str) -> Self {
        let (label, kind, warning) = match source {
            "ebpf" => ("eBPF events", "ebpf", ""),
            "perf" => (
                "perf events, not eBPF",
                "other",
                "The events come from perf page-fault counters, not from the eBPF program. Skips still rest on the dirty log.",
            ),
            "pagemap_scan" => (
                "no eBPF: page scan only",
                "other",
                "No eBPF program ran. The trace knows from PAGEMAP_SCAN which pages were written, but not when within an epoch, nor by whom.",
            ),
            "synthetic" => (
                "synthetic: no machine",
                "synthetic",
                "This trace was made by a generator. No machine was observed, so its rates test the program and say nothing about real workloads.",
            ),
            "imported" => (
                "imported, not recorded here",
                "other",
                "This trace was converted from another tool's recording. It is as complete as that tool was.",
            ),
            other => {
                return Self {
                    label: format!("unknown source: {}", format::shorten(other, 24)),
                    kind: "other",
                    warning: "This report does not know where the events of this trace come from.",
                };
            }
        };
        Self { label: label.into(), kind, warning }
    }

    /// True if a machine was observed.
    #[must_use]
    pub fn observed(&self) -> bool {
        self.kind != "synthetic"
    }
}

/// A skip rate and what the claim makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateView {
    /// Such as `72.4 %`; a dash if nothing was counted.
    pub rate: String,
    /// The comparison.
    pub verdict: Verdict,
}

impl RateView {
    fn of(counted: u64, rate: f64, claim: Option<&Claim>) -> Self {
        let verdict = claim.map_or(Verdict::NoClaim, |claim| claim.judge_if(counted, rate));
        Self { rate: if counted == 0 { format::NONE.into() } else { format::percent(rate) }, verdict }
    }

    /// The rates over all blocks and over resident blocks.
    fn pair(replay: &ReplaySummary, claim: Option<&Claim>) -> (Self, Self) {
        (
            Self::of(replay.blocks.total, replay.skip_rate.total, claim),
            Self::of(replay.blocks.resident, replay.skip_rate.resident, claim),
        )
    }

    fn none() -> Self {
        Self { rate: format::NONE.into(), verdict: Verdict::NoClaim }
    }
}

fn claim_of(trace: &TraceReport) -> Option<&'static Claim> {
    trace.class.as_deref().and_then(Claim::of)
}

/// `0 of 262,144`.
fn part_of(part: u64, whole: u64) -> String {
    format!("{} of {}", format::count(part), format::count(whole))
}

fn guest_pages(trace: &TraceReport) -> u64 {
    trace.guest_bytes / pagesieve_core::PAGE_SIZE
}
