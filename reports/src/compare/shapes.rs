//! What is read of the documents, and what becomes of it.

use std::collections::BTreeMap;

use pagesieve_core::summary::{BlockCounts, ByteCounts};
use serde::Deserialize;
use serde_json::Value as Json;

use super::part::{Part, ReplayKey};
use super::quantity::{Quantity, Value};
use super::recording::{EpochFacts, Recording};
use super::trace::{Item, Trace};

/// `pagesieve.summary`.
#[derive(Deserialize)]
pub(super) struct Summary {
    pub(super) tool: Option<String>,
    pub(super) command: Option<String>,
    pub(super) traces: Vec<Reported>,
}

/// A trace in a summary.
#[derive(Deserialize)]
pub(super) struct Reported {
    name: String,
    class: Option<String>,
    provenance: Provenance,
    duration_ns: u64,
    epochs: u64,
    events: u64,
    lost_events: u64,
    guest_bytes: u64,
    resident_bytes: u64,
    replays: Vec<Replay>,
    #[serde(default)]
    grid: Vec<GridPoint>,
    #[serde(default)]
    links: Vec<Link>,
    trace_bytes: Option<u64>,
    verify: Verify,
    timeline: Timeline,
}

#[derive(Deserialize)]
struct Provenance {
    created: u64,
    kernel: String,
    source: String,
    target: String,
}

#[derive(Deserialize)]
struct Timeline {
    epochs: Vec<EpochFacts>,
}

#[derive(Deserialize)]
struct GridPoint {
    block_size: u64,
    interval_ns: u64,
    rounds: u64,
    blocks: BlockCounts,
}

#[derive(Deserialize)]
struct Link {
    policy: String,
    bandwidth: u64,
    converged: bool,
    rounds: u64,
    total_time_ns: u64,
    downtime_ns: u64,
    bytes: ByteCounts,
    lost_pages: u64,
}

/// `pagesieve.sweep`.
#[derive(Deserialize)]
pub(super) struct Sweep {
    pub(super) rows: Vec<Replay>,
}

/// `pagesieve.replay`, and a row of a sweep.
#[derive(Deserialize)]
pub(super) struct Replay {
    trace: String,
    class: Option<String>,
    policy: String,
    scenario: String,
    block_size: u64,
    aging: Option<u64>,
    interval: Option<u64>,
    bandwidth: Option<u64>,
    events: Option<u64>,
    epochs: Option<u64>,
    lost_events: Option<u64>,
    rounds: u64,
    blocks: BlockCounts,
    skip_rate: SkipRate,
    bytes: ByteCounts,
    lost_pages: u64,
    downtime: Option<u64>,
    total_time: Option<u64>,
    converged: Option<bool>,
}

/// Rates that are no finite numbers are written as `null`.
#[derive(Deserialize)]
struct SkipRate {
    total: Option<f64>,
    resident: Option<f64>,
}

/// `pagesieve.verify`.
#[derive(Deserialize)]
pub(super) struct Verify {
    trace: String,
    class: Option<String>,
    epochs: u64,
    recall: Recall,
    lost_events: u64,
    lost_pages: BTreeMap<String, u64>,
    violations: Vec<Json>,
    ok: bool,
}

#[derive(Deserialize)]
struct Recall {
    content_in_log: Option<f64>,
    log_in_events: Option<f64>,
}

impl From<Reported> for Trace {
    fn from(trace: Reported) -> Self {
        let mut recording = Recording::default();
        recording.add_date("recorded", trace.provenance.created);
        recording.add("kernel", trace.provenance.kernel);
        recording.add("source of events", trace.provenance.source);
        recording.add("target", trace.provenance.target);
        recording.add_length("length", trace.duration_ns);
        recording.add_count("epochs", Some(trace.epochs));
        recording.add_count("events", Some(trace.events));
        recording.add_count("lost events", Some(trace.lost_events));
        recording.add_count("guest memory", Some(trace.guest_bytes));
        recording.add_count("resident memory", Some(trace.resident_bytes));
        recording.add_count("size of the file", trace.trace_bytes);
        recording.set_epochs(trace.timeline.epochs);
        let mut items: Vec<Item> = trace.replays.into_iter().map(Replay::item).collect();
        items.extend(trace.grid.into_iter().map(Item::from));
        items.extend(trace.links.into_iter().map(Item::from));
        items.extend(trace.verify.items());
        items.push(recorded(trace.lost_events));
        Self { name: trace.name, class: trace.class, recording, items }
    }
}

impl From<Replay> for Trace {
    fn from(replay: Replay) -> Self {
        let mut recording = Recording::default();
        recording.add_count("epochs", replay.epochs);
        recording.add_count("events", replay.events);
        recording.add_count("lost events", replay.lost_events);
        recording.add_count("guest memory", Some(replay.bytes.guest));
        let (name, class) = (replay.trace.clone(), replay.class.clone());
        Self { name, class, recording, items: vec![replay.item()] }
    }
}

impl From<Verify> for Trace {
    fn from(verify: Verify) -> Self {
        let mut recording = Recording::default();
        recording.add_count("epochs", Some(verify.epochs));
        recording.add_count("lost events", Some(verify.lost_events));
        let (name, class, lost) = (verify.trace.clone(), verify.class.clone(), verify.lost_events);
        let mut items = verify.items();
        items.push(recorded(lost));
        Self { name, class, recording, items }
    }
}

fn recorded(lost_events: u64) -> Item {
    Item { part: Part::Recording, values: vec![(Quantity::LostEvents, Value::Number(lost_events))] }
}

impl Replay {
    fn item(self) -> Item {
        let (all, resident) = rates(&self.blocks);
        let rounds = if self.scenario == "precopy" { Quantity::PrecopyRounds } else { Quantity::SyncRounds };
        let mut values = vec![
            (Quantity::Lost, Value::Number(self.lost_pages)),
            (Quantity::SkipAll, Value::Rate(self.skip_rate.total.unwrap_or(all))),
            (Quantity::SkipResident, Value::Rate(self.skip_rate.resident.unwrap_or(resident))),
            (Quantity::Sent, Value::Number(self.bytes.sent)),
            (Quantity::Resent, Value::Number(self.bytes.resent)),
            (Quantity::Wire, Value::Number(self.bytes.wire)),
            (rounds, Value::Number(self.rounds)),
        ];
        values.extend(self.downtime.map(|time| (Quantity::Downtime, Value::Number(time))));
        values.extend(self.total_time.map(|time| (Quantity::TotalTime, Value::Number(time))));
        values.extend(self.converged.map(|yes| (Quantity::Converged, Value::Flag(yes))));
        let key = ReplayKey {
            policy: self.policy,
            scenario: self.scenario,
            block_size: self.block_size,
            aging: self.aging,
            interval: self.interval,
            bandwidth: self.bandwidth,
        };
        Item { part: Part::Replay(key), values }
    }
}

/// The skip rates over all blocks and over those with data. Counts of a file may be anything, so nothing is summed in integers.
fn rates(blocks: &BlockCounts) -> (f64, f64) {
    let by_cause = &blocks.skipped;
    let causes = [by_cause.unpopulated, by_cause.zero, by_cause.unchanged, by_cause.same_content, by_cause.presumed_unused];
    let share = |part: f64, whole: u64| if whole == 0 { 0.0 } else { part / whole as f64 };
    let skipped = causes.iter().map(|&count| count as f64).sum();
    (share(skipped, blocks.total), share(blocks.skipped_resident as f64, blocks.resident))
}

impl From<GridPoint> for Item {
    fn from(point: GridPoint) -> Self {
        let (all, resident) = rates(&point.blocks);
        let values = vec![
            (Quantity::SkipAll, Value::Rate(all)),
            (Quantity::SkipResident, Value::Rate(resident)),
            (Quantity::SyncRounds, Value::Number(point.rounds)),
        ];
        Self { part: Part::Grid { block_size: point.block_size, interval_ns: point.interval_ns }, values }
    }
}

impl From<Link> for Item {
    fn from(link: Link) -> Self {
        let values = vec![
            (Quantity::Lost, Value::Number(link.lost_pages)),
            (Quantity::Converged, Value::Flag(link.converged)),
            (Quantity::Sent, Value::Number(link.bytes.sent)),
            (Quantity::Resent, Value::Number(link.bytes.resent)),
            (Quantity::Wire, Value::Number(link.bytes.wire)),
            (Quantity::PrecopyRounds, Value::Number(link.rounds)),
            (Quantity::Downtime, Value::Number(link.downtime_ns)),
            (Quantity::TotalTime, Value::Number(link.total_time_ns)),
        ];
        Self { part: Part::Link { policy: link.policy, bandwidth: link.bandwidth }, values }
    }
}

impl Verify {
    fn items(self) -> Vec<Item> {
        let mut values =
            vec![(Quantity::Violations, Value::Number(self.violations.len() as u64)), (Quantity::Ok, Value::Flag(self.ok))];
        values.extend(self.recall.content_in_log.map(|rate| (Quantity::ContentRecall, Value::Rate(rate))));
        values.extend(self.recall.log_in_events.map(|rate| (Quantity::EventRecall, Value::Rate(rate))));
        let of_policy =
            |(policy, lost)| Item { part: Part::CheckOf { policy }, values: vec![(Quantity::Lost, Value::Number(lost))] };
        std::iter::once(Item { part: Part::Check, values }).chain(self.lost_pages.into_iter().map(of_policy)).collect()
    }
}
