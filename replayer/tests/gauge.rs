//! What a watched guest is said to do is what a replay of the same epochs does.

use pagesieve_core::forecast::{Forecast, Link};
use pagesieve_core::gauge::{Gauge, GaugeConfig};
use pagesieve_core::migration::Mode;
use pagesieve_core::ports::ClosedEpoch;
use pagesieve_core::summary::BlockCounts;
use pagesieve_core::{Coverage, MemSlots, Nanos, PolicyKind};
use pagesieve_replayer::{ActionLog, ReplayConfig, Scenario, TraceInfo, replay};
use pagesieve_traces::{Class, Frame, Header, SynthConfig, synth};

/// Bytes per second: a round takes a while.
const BANDWIDTH: u64 = 20 << 20;

/// Frames of a second each, without page contents: the gauge does not look at any.
fn frames(class: Class) -> (Header, Vec<Frame>) {
    let duration = Nanos(9 * Nanos::SECOND.0);
    let trace = synth(SynthConfig { memory: 32 << 20, duration, fingerprints: false, ..SynthConfig::new(class) }).unwrap();
    (trace.header().clone(), trace.collect())
}

fn replayed(header: &Header, frames: &[Frame], scenario: Scenario) -> pagesieve_replayer::ReplayResult {
    let config = ReplayConfig {
        scenario,
        interval: Nanos(1),
        bandwidth: Some(BANDWIDTH),
        warm_up: Some(Nanos(9 * Nanos::SECOND.0 / 2)),
        ..ReplayConfig::default()
    };
    let info = TraceInfo { name: "synthetic", header, length: None };
    replay(info, frames.iter().cloned().map(Ok), config, ActionLog::new()).unwrap()
}

/// The verdicts of all epochs, and what is foretold in the middle of the fifth.
fn watched(header: &Header, frames: &[Frame]) -> (BlockCounts, Forecast) {
    let slots = MemSlots::from_slots(header.slots.iter().copied()).unwrap();
    let (first, rest) = frames.split_first().unwrap();
    let config = GaugeConfig {
        policy: PolicyKind::Proven,
        block_size: ReplayConfig::default().block_size,
        first_epoch: first.epoch.next(),
    };
    let mut gauge = Gauge::new(config, &slots, &first.populated).unwrap();
    let downtime_limit = ReplayConfig::default().downtime_limit;
    let link = Link { bandwidth: Some(BANDWIDTH), downtime_limit, max_rounds: Mode::MAX_ROUNDS };
    let (mut verdicts, mut foretold) = (BlockCounts::default(), None);
    for frame in rest {
        let closed = ClosedEpoch {
            log: frame.log.all(),
            coverage: Coverage::Complete,
            populated: Some(frame.populated.clone()),
            slots: None,
        };
        verdicts.add(&gauge.handle_epoch(frame.end.since(first.end), &closed).unwrap().sync);
        if frame.end < Nanos(9 * Nanos::SECOND.0 / 2) {
            foretold = Some(gauge.foretell(&link));
        }
    }
    (verdicts, foretold.unwrap())
}

#[test]
fn what_a_sync_would_skip_is_what_a_replay_of_it_skips() {
    for class in Class::ALL {
        let (header, frames) = frames(class);
        let (verdicts, _) = watched(&header, &frames);
        assert!(verdicts.sent > 0 && verdicts.skipped.unchanged > 0, "{class}: {verdicts:?}");
        assert_eq!(verdicts, replayed(&header, &frames, Scenario::Sync).summary.blocks, "{class}");
    }
}

#[test]
fn what_is_foretold_is_what_a_migration_is_told_that_begins_then() {
    for class in Class::ALL {
        let (header, frames) = frames(class);
        let (_, foretold) = watched(&header, &frames);
        assert_eq!(Some(foretold), replayed(&header, &frames, Scenario::Precopy).summary.forecast, "{class}");
    }
}
