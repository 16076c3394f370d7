use std::sync::Mutex;

use pagesieve_core::PolicyKind;
use pagesieve_core::summary::{BlockCounts, ByteCounts, SkipRate};
use pagesieve_traces::{Class, Frame, SynthConfig, Writer, synth};

use super::grid::Parameter;
use super::*;
use crate::config::{ReplayConfig, Scenario};

const SECOND: u64 = Nanos::SECOND.0;

fn seconds(seconds: u64) -> Nanos {
    Nanos(seconds * SECOND)
}

fn wide() -> Grid {
    Grid {
        policies: PolicyKind::ALL.into(),
        scenarios: Scenario::ALL.into(),
        block_sizes: vec![32 << 10, 256 << 10],
        agings: vec![seconds(1), seconds(3)],
        intervals: vec![seconds(2), seconds(1), seconds(3)],
        bandwidths: vec![4 << 20, 8 << 20],
        min_access: 2,
    }
}

#[test]
fn points_come_in_the_order_of_the_lists_and_the_last_varies_fastest() {
    let grid = Grid { policies: vec![PolicyKind::AgingLiteral, PolicyKind::Aging], scenarios: vec![Scenario::Sync], ..wide() };
    let mut expected = Vec::new();
    for policy in [PolicyKind::AgingLiteral, PolicyKind::Aging] {
        for block_size in [32 << 10, 256 << 10] {
            for aging in [seconds(1), seconds(3)] {
                for interval in [seconds(2), seconds(1), seconds(3)] {
                    let (aging, interval) = (Some(aging), Some(interval));
                    let scenario = Scenario::Sync;
                    expected.push(Point { policy, scenario, block_size, aging, interval, bandwidth: None, min_access: 2 });
                }
            }
        }
    }
    assert_eq!(grid.points(), expected);
    let precopy = Grid { policies: vec![PolicyKind::Proven], scenarios: vec![Scenario::Precopy], ..wide() };
    let found: Vec<_> = precopy.points().iter().map(|point| (point.block_size >> 10, point.aging, point.bandwidth)).collect();
    let ways = [(1, 4), (1, 8), (3, 4), (3, 8)].map(|(aging, mib)| (Some(seconds(aging)), Some(mib << 20)));
    assert_eq!(found, [32, 256].map(|kib| ways.map(|(aging, bandwidth)| (kib, aging, bandwidth))).concat());
    assert!(precopy.points().iter().all(|point| point.interval.is_none()));
}

#[test]
fn nothing_is_multiplied_by_what_changes_nothing() {
    let points = wide().points();
    let count = |policy, scenario| points.iter().filter(|point| (point.policy, point.scenario) == (policy, scenario)).count();
    for policy in PolicyKind::ALL {
        let agings = if matches!(policy, PolicyKind::Aging | PolicyKind::AgingLiteral) { 2 } else { 1 };
        assert_eq!(count(policy, Scenario::Sync), 2 * agings * 3, "{policy}: block sizes, agings, intervals");
        assert_eq!(count(policy, Scenario::Precopy), 2 * 2 * 2, "{policy}: block sizes, agings, bandwidths");
    }
    let once = Grid { policies: vec![PolicyKind::Proven], ..Grid::default() };
    let twice = Grid { policies: vec![PolicyKind::Proven; 2], intervals: once.intervals.repeat(3), ..once.clone() };
    assert_eq!(once.points().len(), 4);
    assert_eq!(twice.points(), once.points());
    assert_eq!(Grid { block_sizes: Vec::new(), ..once }.points(), []);
}

#[test]
fn a_point_replays_what_it_says() {
    for point in wide().points() {
        let config = point.config();
        assert_eq!((config.policy, config.scenario, config.block_size), (point.policy, point.scenario, point.block_size));
        assert_eq!(config.min_access, 2);
        assert_eq!(config.aging, point.aging.unwrap_or(ReplayConfig::default().aging));
        assert_eq!(config.interval, point.interval.unwrap_or(ReplayConfig::default().interval));
        assert_eq!(config.bandwidth, point.bandwidth);
    }
}

/// Frames of a small guest of each class.
fn guests() -> Vec<(Header, Vec<Frame>)> {
    let guest = |class| {
        let trace = synth(SynthConfig { memory: 4 << 20, duration: seconds(8), ..SynthConfig::new(class) }).unwrap();
        (trace.header().clone(), trace.collect())
    };
    [Class::Light, Class::Mixed, Class::HeavyIo].map(guest).into()
}

/// Rows of all guests with this configuration. They carry the same point, so that only what was measured can differ.
fn measured(guests: &[(Header, Vec<Frame>)], point: &Point, config: ReplayConfig) -> Vec<Row> {
    let row = |(header, frames): &(Header, Vec<Frame>)| {
        let trace = TraceInfo { name: "synthetic", header, length: Some(seconds(8)) };
        let mut results = replay_all(trace, frames.iter().cloned().map(Ok), vec![(config, ActionLog::new())]).unwrap();
        Row::new(point, results.remove(0).summary)
    };
    guests.iter().map(row).collect()
}

/// The table of what matters, held against replays: what it leaves out changes no row, and what it varies changes some.
#[test]
fn a_parameter_matters_exactly_if_it_changes_a_row() {
    let guests = guests();
    let grid = Grid { block_sizes: vec![4096], agings: Vec::new(), intervals: Vec::new(), bandwidths: Vec::new(), ..wide() };
    assert_eq!(grid.points(), [], "each scenario looks at something");
    for policy in PolicyKind::ALL {
        for scenario in Scenario::ALL {
            let (block_size, bandwidth) = (4096, Some(4 << 20));
            let point = Point { policy, scenario, block_size, aging: None, interval: None, bandwidth, min_access: 1 };
            // Rounds further apart than the shorter threshold: else all that was written since the last one is hot.
            let config = ReplayConfig { aging: seconds(1), interval: seconds(3), ..point.config() };
            let rows = measured(&guests, &point, config);
            let other = [
                (Parameter::Aging, ReplayConfig { aging: seconds(3), ..config }),
                (Parameter::Interval, ReplayConfig { interval: seconds(1), ..config }),
                (Parameter::Bandwidth, ReplayConfig { bandwidth: Some(1 << 20), ..config }),
            ];
            for (parameter, other) in other {
                let changes = measured(&guests, &point, other) != rows;
                assert_eq!(changes, parameter.matters(policy, scenario), "{parameter:?} for {policy} in {scenario}");
            }
        }
    }
}

fn written(dir: &Path, name: &str, (header, frames): &(Header, Vec<Frame>)) -> PathBuf {
    let path = dir.join(name);
    let mut writer = Writer::create(&path, header).unwrap();
    for frame in frames {
        writer.write_frame(frame).unwrap();
    }
    writer.finish().unwrap();
    path
}

#[test]
fn rows_are_those_of_single_replays_in_the_order_of_traces_and_points() {
    let dir = tempfile::tempdir().unwrap();
    let guests = guests();
    let files = [("b.trace", 1), ("a.trace", 0)].map(|(name, guest)| written(dir.path(), name, &guests[guest]));
    let grid = Grid { policies: vec![PolicyKind::Proven, PolicyKind::Aging], ..wide() };
    let seen = Mutex::new((0, Vec::new()));
    let count = |progress: Progress| {
        let mut seen = seen.lock().unwrap();
        seen.0 += progress.step;
        seen.1.push(progress.total);
    };
    let rows = sweep(&files, &grid, &count).unwrap();
    let (done, totals) = seen.into_inner().unwrap();
    let points = grid.points();
    assert!(points.len() > 2 * MOST_RUNS, "the points of a trace make several chunks");
    assert_eq!(done, (2 * 8 * points.len()) as u64, "traces, frames, points");
    assert!(totals.iter().all(|&total| total == done));
    let mut expected = Vec::new();
    for (name, guest) in [("b.trace", &guests[1]), ("a.trace", &guests[0])] {
        for point in &points {
            let row = measured(std::slice::from_ref(guest), point, point.config()).remove(0);
            expected.push(Row { trace: name.into(), ..row });
        }
    }
    assert_eq!(rows, expected);
}

#[test]
fn the_first_trace_that_fails_is_named_however_many_do() {
    let dir = tempfile::tempdir().unwrap();
    let guests = guests();
    let broken = |name| {
        let path = written(dir.path(), name, &guests[0]);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let files = [written(dir.path(), "good.trace", &guests[0]), broken("second.trace"), broken("third.trace")];
    for _ in 0..4 {
        let error = sweep(&files, &wide(), &|_| ()).unwrap_err();
        assert!(matches!(&error, SweepError::Trace { file, .. } if *file == files[1]), "{error}");
        assert!(error.to_string().contains("second.trace: read frame "), "{error}");
    }
    let missing = dir.path().join("missing.trace");
    assert!(sweep(&[missing], &wide(), &|_| ()).unwrap_err().to_string().contains("missing.trace"));
    assert_eq!(sweep(&[], &wide(), &|_| ()).unwrap(), []);
}

/// A row with these bytes on the wire and again, pause, skip rate and lost pages.
fn row(wire: u64, resent: u64, downtime: Option<u64>, skip: f64, lost_pages: u64) -> Row {
    Row {
        trace: "a.trace".into(),
        class: None,
        policy: PolicyKind::Proven,
        scenario: Scenario::Sync,
        block_size: 4096,
        aging: None,
        interval: None,
        bandwidth: None,
        skip_rate: SkipRate { total: skip, resident: 1.0 - skip },
        blocks: BlockCounts::default(),
        bytes: ByteCounts { guest: 0, sent: 0, resent, wire },
        rounds: 1,
        lost_pages,
        downtime,
        total_time: None,
        converged: None,
        forecast: None,
    }
}

#[test]
fn the_best_row_lost_no_page_and_is_the_first_of_equals() {
    let all = [Best::Wire, Best::Resent, Best::Downtime, Best::Skip];
    let rows = [
        row(0, 0, Some(0), 1.0, 1),
        row(9, 3, None, 0.5, 0),
        row(7, 4, Some(5), 0.2, 0),
        row(7, 3, Some(4), 0.9, 0),
        row(8, 3, Some(4), 0.9, 0),
    ];
    assert_eq!(all.map(|best| best.of(&rows)), [Some(2), Some(1), Some(3), Some(3)]);
    assert_eq!(all.map(|best| best.of(&rows[..1])), [None; 4], "it lost a page");
    assert_eq!(all.map(|best| best.of(&rows[..2])), [Some(1), Some(1), None, Some(1)], "sync has no pause");
    assert_eq!(all.map(|best| best.of(&[])), [None; 4]);
}
