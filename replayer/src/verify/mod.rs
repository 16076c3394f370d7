//! Whether a recording can be believed, and whether the sound policies lose nothing on it.
//!
//! 1. *Completeness*: the pages whose content changed in an epoch are in its dirty log. Beside it, without being a violation:
//!    how many of the pages that the scan reported written had a write event.
//! 2. *Migration*: a shadow destination is current at the end of every sync round and at the handover.
//!
//! The first frame is the baseline: nothing in it can be proven, so nothing in it is checked.

mod completeness;
mod events;

use std::collections::BTreeMap;

use pagesieve_core::summary::{Recall, Schema, VerifySummary, share};
use pagesieve_core::{Nanos, PAGE_SIZE, PolicyKind};
use pagesieve_traces::{Closing, Frame, ReadError};

use crate::config::{ReplayConfig, ReplayError, Scenario, TraceInfo};
use crate::fleet::{Fleet, ReplayResult};
use crate::log::ActionLog;
use completeness::Completeness;
use events::EventCoverage;

/// Epochs that a full precopy round takes in a check, so that most blocks are read in the middle of an epoch.
const EPOCHS_PER_ROUND: u64 = 3;

/// Checks a trace. Policies are replayed with the defaults of [`ReplayConfig`], except that the sound ones sync at every epoch,
/// which is more often and so harder, and that the precopy bandwidth stretches a full round over three epochs.
///
/// # Errors
/// As for [`replay`](crate::replay()). What is wrong with the trace's content is no error: see [`VerifySummary::violations`].
pub fn verify(
    trace: TraceInfo<'_>,
    frames: impl IntoIterator<Item = Result<Frame, ReadError>>,
) -> Result<VerifySummary, ReplayError> {
    let mut fleet = Fleet::new(trace)?;
    for config in configs(&trace) {
        fleet.add(config, ActionLog::new());
    }
    let mut counts = Counts::default();
    let mut completeness = Completeness::new(trace.header);
    let mut events = EventCoverage::new(trace.header);
    for frame in frames {
        let frame = frame?;
        // Before any table is made as long as the frame says.
        crate::source::table(frame.slots.as_deref().unwrap_or_default())?;
        counts.take(&frame);
        completeness.take(&frame);
        events.take(&frame);
        fleet.feed(frame)?;
    }
    let results = fleet.finish()?;
    Ok(summary(&trace, &counts, &completeness, &events, &results))
}

fn configs(trace: &TraceInfo<'_>) -> Vec<ReplayConfig> {
    let pages = trace.header.slots.iter().map(|slot| slot.pages).fold(0, u64::saturating_add);
    let epoch = trace.header.epoch_length.0.max(1);
    let round = u128::from(epoch) * u128::from(EPOCHS_PER_ROUND);
    let bandwidth = u128::from(pages) * u128::from(PAGE_SIZE) * u128::from(Nanos::SECOND.0) / round;
    let bandwidth = Some(u64::try_from(bandwidth).unwrap_or(u64::MAX).max(1));
    let mut configs = Vec::new();
    for policy in PolicyKind::ALL {
        for scenario in Scenario::ALL {
            let mut config = ReplayConfig { policy, scenario, bandwidth, ..ReplayConfig::default() };
            if policy.is_sound() {
                config.interval = Nanos(epoch);
            }
            configs.push(config);
        }
    }
    configs
}

/// What is simply counted.
#[derive(Debug, Default)]
struct Counts {
    epochs: u64,
    dirty_log: u64,
    unknown: u64,
    unknown_by_reason: BTreeMap<String, u64>,
    lossy_epochs: u64,
    lost_events: u64,
    rechecked_epochs: u64,
}

impl Counts {
    fn take(&mut self, frame: &Frame) {
        self.epochs += 1;
        self.lossy_epochs += u64::from(frame.lost.events() > 0);
        self.lost_events = self.lost_events.saturating_add(frame.lost.events());
        if self.epochs == 1 {
            return;
        }
        self.rechecked_epochs += u64::from(frame.closing == Closing::Rechecked);
        self.dirty_log += frame.log.all().count();
        self.unknown += frame.log.merely_unknown().count();
        for set in &frame.log.unknown {
            *self.unknown_by_reason.entry(set.reason.name().into()).or_default() += set.pages.count();
        }
    }
}

fn summary(
    trace: &TraceInfo<'_>,
    counts: &Counts,
    completeness: &Completeness,
    events: &EventCoverage,
    results: &[ReplayResult],
) -> VerifySummary {
    let mut violations: Vec<String> = completeness.violation().into_iter().collect();
    let mut lost_pages = BTreeMap::new();
    for result in results {
        let most = lost_pages.entry(result.summary.policy.clone()).or_insert(0);
        *most = result.summary.lost_pages.max(*most);
        violations.extend(loss(result));
    }
    VerifySummary {
        schema: Schema { name: "pagesieve.verify".into(), version: "1.1".into() },
        trace: trace.name.to_owned(),
        class: trace.header.class.clone(),
        epochs: counts.epochs,
        content_changed: completeness.changed(),
        dirty_log: counts.dirty_log,
        unknown: counts.unknown,
        unknown_by_reason: counts.unknown_by_reason.clone(),
        event_pages: events.event_pages,
        without_event: events.without.clone(),
        recall: Recall {
            content_in_log: completeness.recall(),
            log_in_events: if events.written == 0 { 1.0 } else { share(events.seen, events.written) },
        },
        lossy_epochs: counts.lossy_epochs,
        lost_events: counts.lost_events,
        rechecked_epochs: counts.rechecked_epochs,
        lost_pages,
        ok: violations.is_empty(),
        violations,
    }
}

/// The violation that a result is, if its policy promised to lose nothing.
fn loss(result: &ReplayResult) -> Option<String> {
    let summary = &result.summary;
    let (epoch, gfn) = result.first_lost?;
    let sound = summary.policy.parse::<PolicyKind>().is_ok_and(PolicyKind::is_sound);
    sound.then(|| {
        format!("{} in {} lost {} pages, first page {gfn} in epoch {epoch}", summary.policy, summary.scenario, summary.lost_pages)
    })
}
