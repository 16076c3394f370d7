//! Whole replays and checks of synthetic traces.

use std::sync::{Arc, Mutex};

use pagesieve_core::{Gfn, Nanos, PolicyKind};
use pagesieve_replayer::{ActionLog, ReplayConfig, ReplayResult, Scenario, Start, TraceInfo, replay, replay_all, verify};
use pagesieve_traces::{Class, Frame, Header, ReadError, SynthConfig, synth};

const CLASSES: [Class; 4] = [Class::Idle, Class::Light, Class::Mixed, Class::HeavyIo];

/// Bytes of guest memory.
const MEMORY: u64 = 32 << 20;

fn frames(class: Class, fingerprints: bool) -> (Header, Vec<Frame>) {
    let config = SynthConfig { memory: MEMORY, duration: Nanos(8 * Nanos::SECOND.0), fingerprints, ..SynthConfig::new(class) };
    let trace = synth(config).unwrap();
    (trace.header().clone(), trace.collect())
}

fn ok(frames: &[Frame]) -> impl Iterator<Item = Result<Frame, ReadError>> + '_ {
    frames.iter().cloned().map(Ok)
}

fn info(header: &Header) -> TraceInfo<'_> {
    TraceInfo { name: "synthetic", header, length: None }
}

/// A bandwidth that stretches a full round over three epochs.
fn config(policy: PolicyKind, scenario: Scenario) -> ReplayConfig {
    ReplayConfig { policy, scenario, bandwidth: Some(MEMORY / 3), warm_up: Some(Nanos::SECOND), ..ReplayConfig::default() }
}

fn run(class: Class, fingerprints: bool, config: ReplayConfig) -> ReplayResult {
    let (header, frames) = frames(class, fingerprints);
    replay(info(&header), ok(&frames), config, ActionLog::new()).unwrap()
}

#[test]
fn sound_policies_lose_nothing_and_the_seeds_rule_does() {
    for class in CLASSES {
        for fingerprints in [true, false] {
            let (header, frames) = frames(class, fingerprints);
            let configs = PolicyKind::ALL.into_iter().flat_map(|policy| Scenario::ALL.map(|scenario| config(policy, scenario)));
            let results =
                replay_all(info(&header), ok(&frames), configs.map(|config| (config, ActionLog::new())).collect()).unwrap();
            for ReplayResult { summary, first_lost, .. } in results {
                let label = format!("{class} {fingerprints} {} {}", summary.policy, summary.scenario);
                if summary.policy != "aging-literal" {
                    assert_eq!(first_lost, None, "{label}");
                } else if class == Class::Idle && summary.scenario == "precopy" {
                    assert!(summary.lost_pages > 0, "{label}");
                }
                assert_eq!(summary.judged_by_content, fingerprints);
                let blocks = summary.blocks;
                assert_eq!(blocks.total, blocks.sent + blocks.skipped.total() + blocks.deferred, "{label}: {blocks:?}");
                assert_eq!(summary.epochs, 8, "{label}");
            }
        }
    }
}

#[test]
fn skipping_with_proof_saves_most_of_what_sending_all_costs() {
    for scenario in Scenario::ALL {
        let all = run(Class::Idle, true, config(PolicyKind::SendAll, scenario)).summary;
        let proven = run(Class::Idle, true, config(PolicyKind::Proven, scenario)).summary;
        assert_eq!((all.blocks.skipped.total(), all.blocks.deferred), (0, 0));
        assert_eq!(all.blocks.sent, all.rounds * (MEMORY >> 16));
        assert!(proven.bytes.sent * 2 < all.bytes.sent, "{scenario}: {proven:?}");
        assert!(proven.bytes.wire <= all.bytes.wire);
        assert!(proven.blocks.skipped.unpopulated > 0);
    }
}

#[test]
fn precopy_pauses_and_counts_its_downtime_by_the_bandwidth() {
    let config = config(PolicyKind::Proven, Scenario::Precopy);
    let summary = run(Class::Idle, true, config).summary;
    assert_eq!(summary.converged, Some(true));
    let (downtime, total) = (summary.downtime.unwrap(), summary.total_time.unwrap());
    assert!(downtime <= config.downtime_limit.0, "{downtime}");
    let seconds = summary.bytes.wire as f64 / config.bandwidth.unwrap() as f64;
    assert!(total as f64 >= seconds * 1e9, "bytes take time: {total} for {seconds} s");
    let sync = run(Class::Idle, true, ReplayConfig { scenario: Scenario::Sync, ..config }).summary;
    assert_eq!((sync.downtime, sync.total_time, sync.converged), (None, None, None));
}

#[test]
fn a_busy_guest_forces_the_handover_at_the_end_of_the_trace() {
    let config = ReplayConfig { bandwidth: Some(1 << 20), ..config(PolicyKind::Proven, Scenario::Precopy) };
    let result = run(Class::HeavyIo, true, config);
    assert_eq!(result.summary.converged, Some(false));
    assert_eq!(result.first_lost, None);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn two_runs_give_the_same_bytes_alone_or_in_company() {
    let (header, frames) = frames(Class::Mixed, true);
    for policy in PolicyKind::ALL {
        for scenario in Scenario::ALL {
            let once = || {
                let lines = Lines::default();
                let log = ActionLog::with_sink(Box::new(lines.clone()));
                let result = replay(info(&header), ok(&frames), config(policy, scenario), log).unwrap();
                let text = lines.0.lock().unwrap().clone();
                (serde_json::to_string(&result.summary).unwrap(), text, result.digest)
            };
            let (first, second) = (once(), once());
            assert_eq!(first, second);
            assert_eq!(first.1.iter().filter(|&&byte| byte == b'\n').count() as u64, first.2.actions);
            let company = PolicyKind::ALL.map(|policy| (config(policy, scenario), ActionLog::new())).into();
            let results = replay_all(info(&header), ok(&frames), company).unwrap();
            assert!(results.iter().any(|result| result.digest == first.2), "{policy} {scenario}");
        }
    }
}

#[test]
fn a_clean_trace_verifies() {
    for class in CLASSES {
        for fingerprints in [true, false] {
            let (header, frames) = frames(class, fingerprints);
            let summary = verify(info(&header), ok(&frames)).unwrap();
            assert!(summary.ok, "{class}: {:?}", summary.violations);
            assert_eq!(summary.recall.content_in_log, fingerprints.then_some(1.0));
            assert!((summary.recall.log_in_events - 1.0).abs() < 1e-9, "{:?}", summary.recall);
            assert_eq!(summary.content_changed.is_some(), fingerprints);
            assert_eq!(summary.lost_pages.len(), PolicyKind::ALL.len());
            assert!(class != Class::Idle || summary.lost_pages["aging-literal"] > 0);
        }
    }
}

#[test]
fn a_planted_hole_in_the_log_is_found_with_its_place() {
    let (header, mut frames) = frames(Class::Idle, true);
    let frame = &mut frames[4];
    let changed: Vec<Gfn> = frame.summaries.iter().flatten().map(|summary| summary.gfn).collect();
    // The whole block: otherwise it is sent for its other pages, and nothing is lost.
    let block = changed[changed.len() / 2].0 / 16 * 16;
    let block = block..block + 16;
    frame.log.written.remove_range(block.clone());
    frame.log.discarded.remove_range(block.clone());
    let missed: Vec<Gfn> = changed.into_iter().filter(|gfn| block.contains(&gfn.0)).collect();
    let (count, place) = (missed.len(), format!("first page {} in epoch {}", missed[0], frame.epoch));
    let summary = verify(info(&header), ok(&frames)).unwrap();
    assert!(!summary.ok);
    let expected = format!("{count} changed pages are not in the dirty log of their epoch, {place}");
    assert_eq!(summary.violations[0], expected);
    assert!(summary.recall.content_in_log.unwrap() < 1.0);
    let expected = format!("proven in sync lost {count} pages, {place}");
    assert!(summary.violations.contains(&expected), "{:?}", summary.violations);
}

#[test]
fn lost_events_and_missing_events_show_in_the_recall_and_are_no_violation() {
    let (header, mut frames) = frames(Class::Light, true);
    frames[3].lost.per_cpu = vec![0, 7];
    frames[3].events.clear();
    let summary = verify(info(&header), ok(&frames)).unwrap();
    assert!(summary.ok && (summary.recall.log_in_events - 1.0).abs() < 1e-9, "a lossy epoch is left out");
    assert_eq!((summary.lossy_epochs, summary.lost_events), (1, 7));
    frames[4].events.clear();
    let summary = verify(info(&header), ok(&frames)).unwrap();
    assert!(summary.ok && summary.recall.log_in_events < 1.0);
}

#[test]
fn a_page_is_explained_from_its_first_access_to_its_last_verdict() {
    let (header, frames) = frames(Class::Mixed, true);
    let gfn = frames[2].events[0].gfn;
    let config = ReplayConfig { explain: Some(gfn), ..config(PolicyKind::Proven, Scenario::Precopy) };
    let plain = replay(info(&header), ok(&frames), ReplayConfig { explain: None, ..config }, ActionLog::new()).unwrap();
    let result = replay(info(&header), ok(&frames), config, ActionLog::new()).unwrap();
    assert_eq!(result.digest, plain.digest, "watching changes nothing");
    let history = result.summary.explained.unwrap();
    assert_eq!(history.gfn, gfn);
    assert!(history.moments.is_sorted_by_key(|moment| moment.time), "{history:#?}");
    let accesses = frames[1..].iter().flat_map(|frame| &frame.events).filter(|access| access.gfn == gfn).count();
    let said = |start: &str| history.moments.iter().filter(|moment| moment.what.starts_with(start)).count();
    assert!(accesses > 0 && said("write by user") + said("read by user") <= accesses, "a paused guest does nothing more");
    assert!(said("in the dirty log: written") > 0 && said("block: read") > 0 && said("the guest is to be paused") == 1);
    let last = history.moments.last().unwrap();
    assert!(last.what.starts_with("block: ") && last.evidence.as_ref().unwrap().starts_with("source "), "{last:?}");
    let nowhere = ReplayConfig { explain: Some(Gfn(1 << 30)), ..config };
    let error = replay(info(&header), ok(&frames), nowhere, ActionLog::new()).unwrap_err().to_string();
    assert!(error.contains("no memory slot holds frame 0x40000000"), "{error}");
}

#[test]
fn fingerprints_of_a_kept_memory_need_page_summaries() {
    let (header, frames) = frames(Class::Mixed, false);
    let config = ReplayConfig { start: Some(Start::Fingerprints), ..config(PolicyKind::Proven, Scenario::Precopy) };
    let error = replay(info(&header), ok(&frames), config, ActionLog::new()).unwrap_err().to_string();
    assert!(error.contains("record with --fingerprints"), "{error}");
}

#[test]
fn one_frame_is_a_baseline_and_none_is_an_error() {
    let (header, frames) = frames(Class::Light, true);
    for scenario in Scenario::ALL {
        let result = replay(info(&header), ok(&frames[..1]), config(PolicyKind::Proven, scenario), ActionLog::new()).unwrap();
        assert_eq!((result.summary.lost_pages, result.summary.rounds), (0, 1));
        assert!(result.summary.blocks.skipped.unpopulated > 0, "{scenario}: it says which pages hold data");
        let error = replay(info(&header), ok(&[]), config(PolicyKind::Proven, scenario), ActionLog::new()).unwrap_err();
        assert!(error.to_string().contains("no whole frame"), "{error}");
    }
}

/// A recording that was stopped before its first epoch: the baseline is all there is, and the guest stands still behind it.
#[test]
fn a_trace_of_one_frame_comes_to_its_end() {
    for (fingerprints, late) in [(true, 0), (true, 4), (false, 4)] {
        let (header, mut frames) = frames(Class::Light, fingerprints);
        frames.truncate(1);
        frames[0].scan_start = Nanos(late * Nanos::SECOND.0);
        frames[0].end = frames[0].scan_start;
        let trace = TraceInfo { length: Some(frames[0].end), ..info(&header) };
        let verified = verify(trace, ok(&frames)).unwrap();
        assert!(verified.ok && verified.epochs == 1, "{verified:?}");
        for start in Start::ALL.into_iter().filter(|&start| fingerprints || start != Start::Fingerprints) {
            for warm_up in [Nanos(0), Nanos::SECOND, Nanos(8 * Nanos::SECOND.0)] {
                let config =
                    ReplayConfig { start: Some(start), warm_up: Some(warm_up), ..config(PolicyKind::Proven, Scenario::Precopy) };
                let result = replay(trace, ok(&frames), config, ActionLog::new()).unwrap();
                assert_eq!(result.first_lost, None, "{start:?} {warm_up:?}");
            }
        }
    }
}
