//! When precopy ends: measured speed, standstill, throttle, giving up, and what was foretold.

use super::*;
use crate::forecast::{Link, Share};

const MIB: u64 = 1 << 20;
/// 4 MiB in blocks of 64 KiB.
const PAGES: u64 = 1024;
const BLOCKS: u32 = 64;

fn large(mode: Mode, change: impl FnOnce(&mut Config)) -> Migration {
    let mut config = Config::new(Purpose::Replay, PolicyKind::Proven, mode);
    change(&mut config);
    Migration::new(config, slots(&[(0, PAGES)]), Baseline::Empty).unwrap()
}

fn first_pages(count: u64) -> PageBitmap {
    let mut set = PageBitmap::new(PAGES);
    set.insert_range(0..count);
    set
}

/// Plays a driver whose wire takes `wire` nanoseconds a block and whose guest writes the first `dirty` pages in turn, all of them
/// within `turn`, until the migration ends or the guest is to be paused. Returns the actions that are not about blocks.
fn play(migration: &mut Migration, now: &mut u64, wire: u64, (dirty, turn): (u64, u64)) -> Vec<String> {
    let mut lines = Vec::new();
    let mut began = *now;
    migration.handle_timeout(Nanos(began));
    while let Some(action) = migration.poll_action() {
        let line = action.to_string();
        match action {
            Action::ReadBlock(block) => migration.handle_block(Nanos(*now), block, data(u128::from(*now))),
            Action::Send { block, .. } | Action::SendZero(block) => {
                *now += wire;
                migration.handle_sent(Nanos(*now), block, 100);
                migration.handle_acked(Nanos(*now), block);
            }
            Action::CloseEpoch => {
                let epoch = migration.open_epoch();
                let written = (dirty * (*now - began)).div_ceil(turn).min(dirty);
                migration.handle_dirty_log(Nanos(*now), epoch, &first_pages(written), Coverage::Complete);
                began = *now;
                lines.push(line);
            }
            Action::Pause | Action::Finish(_) => {
                lines.push(line);
                return lines;
            }
            Action::Throttle(_) | Action::Resume => lines.push(line),
            Action::Skip { .. } | Action::Defer { .. } => {}
        }
    }
    lines
}

/// Plays the first round of a guest whose pages take so long each, and returns when its epoch is to be closed.
fn play_first_round(migration: &mut Migration, wire: u64) -> Nanos {
    let mut now = Nanos(0);
    loop {
        match migration.poll_action().expect("an action") {
            Action::ReadBlock(block) => migration.handle_block(now, block, data(7)),
            Action::Send { block, .. } => {
                now = now.after(Nanos(wire));
                migration.handle_acked(now, block);
            }
            Action::CloseEpoch => return now,
            Action::Skip { .. } => {}
            other => panic!("{other}"),
        }
    }
}

fn endless() -> Mode {
    Mode::Precopy { bandwidth: None, downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 30 }
}

#[test]
fn without_a_bandwidth_the_speed_of_the_round_before_counts() {
    // 64 KiB in 50 ms: 512 KiB would take 400 ms, more than the limit; 256 KiB take 200 ms.
    let mut now = 0;
    let mut migration = large(endless(), |_| {});
    assert_eq!(
        play(&mut migration, &mut now, 50_000_000, (128, 1)).len(),
        1 + 3 + 1,
        "stuck at 512 KiB, then paused all the same"
    );
    assert_eq!(migration.report(Outcome::Completed).converged, Some(false));
    let mut migration = large(endless(), |_| {});
    assert_eq!(play(&mut migration, &mut now, 50_000_000, (64, 1)), ["close-epoch", "pause"]);
    assert_eq!(migration.report(Outcome::Completed).converged, Some(true));
}

#[test]
fn a_round_that_moved_little_measures_nothing() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(PAGE_SIZE)), Baseline::Empty);
    let now = play_first_round(&mut migration, 1000);
    migration.handle_dirty_log(now, Epoch(1), &pages(&[0]), Coverage::Complete);
    let next = migration.poll_action().unwrap().to_string();
    assert_eq!(next, "read 0", "a page takes a second, although four of them took no time");
}

#[test]
fn a_new_share_of_the_wire_replaces_the_measured_speed() {
    // 512 KiB: 40 ms at the measured speed, half a second at the new one.
    for (share, expected) in [(None, "pause"), (Some(MIB), "read 0")] {
        let mut migration = large(endless(), |_| {});
        let now = play_first_round(&mut migration, 5_000_000);
        migration.set_bandwidth(now, share);
        migration.handle_dirty_log(now, Epoch(1), &first_pages(128), Coverage::Complete);
        assert_eq!(migration.poll_action().unwrap().to_string(), expected);
    }
}

#[test]
fn who_is_done_asks_for_nothing() {
    let mut migration = migration(PolicyKind::SendAll, precopy(None), Baseline::Empty);
    assert_eq!(migration.demand(3).remaining, 4 * PAGE_SIZE);
    drive(&mut migration, 0, 7);
    let demand = migration.demand(3);
    assert_eq!((demand.weight, demand.remaining, demand.paused), (3, 0, true));
}

#[test]
fn three_rounds_without_progress_are_enough() {
    let mut migration = large(endless(), |config| config.unconverged = Unconverged::GiveUp);
    let lines = play(&mut migration, &mut 0, 50_000_000, (128, 1));
    assert_eq!(lines[..4], ["close-epoch", "close-epoch", "close-epoch", "close-epoch"]);
    assert!(lines[4].starts_with("finish NotConverging"), "{lines:?}");
    assert_eq!(lines.len(), 5, "a guest that was never paused need not be resumed");
}

#[test]
fn a_guest_that_may_be_slowed_down_is_before_anything_is_given_up() {
    let throttle = Throttle { first: 20, step: 50, most: 90 };
    let mut migration = large(endless(), |config| {
        config.unconverged = Unconverged::GiveUp;
        config.throttle = Some(throttle);
    });
    let lines = play(&mut migration, &mut 0, 50_000_000, (128, 1));
    let said: Vec<_> = lines.iter().filter(|line| *line != "close-epoch").collect();
    assert_eq!(said[..4], ["throttle 20", "throttle 70", "throttle 90", "throttle 0"]);
    assert!(said[4].starts_with("finish NotConverging"));
    assert_eq!(migration.report(Outcome::NotConverging).throttle, 90);
}

#[test]
fn a_slower_guest_gets_its_rounds_before_it_is_slowed_down_further() {
    let throttle = Throttle { first: 20, step: 50, most: 90 };
    let mut migration = large(endless(), |config| config.throttle = Some(throttle));
    let lines = play(&mut migration, &mut 0, 50_000_000, (128, 1));
    let between: Vec<_> = lines.split(|line| line.starts_with("throttle")).map(<[String]>::len).collect();
    assert_eq!(between, [4, 4, 4, 4 + 1], "one round to compare with and three without progress: {lines:?}");
}

#[test]
fn a_guest_that_stays_runs_freely_again() {
    let mut migration = large(endless(), |config| config.throttle = Some(Throttle { first: 20, step: 50, most: 20 }));
    let mut now = 0;
    assert_eq!(play(&mut migration, &mut now, 50_000_000, (128, 1)).last().unwrap(), "pause");
    migration.handle_paused(Nanos(now));
    migration.abort(Nanos(now));
    let lines: Vec<_> = core::iter::from_fn(|| migration.poll_action().map(|action| action.to_string())).take(2).collect();
    assert_eq!(lines, ["throttle 0", "resume"]);
}

#[test]
fn each_throttle_is_stronger_than_the_one_before() {
    let throttle = Throttle { first: 0, step: 0, most: 2 };
    let mut migration = large(endless(), |config| config.throttle = Some(throttle));
    let lines = play(&mut migration, &mut 0, 50_000_000, (128, 1));
    let said: Vec<_> = lines.iter().filter(|line| line.starts_with("throttle")).collect();
    assert_eq!(said, ["throttle 1", "throttle 2"]);
}

#[test]
fn what_is_foretold_comes_true_for_a_guest_that_goes_on_as_before() {
    for (dirty, wire) in [(64, 2_000_000), (128, 10_000_000), (512, 5_000_000), (256, 50_000_000)] {
        let bandwidth = Some(65536 * Nanos::SECOND.0 / wire);
        let mode = Mode::Precopy { bandwidth, downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 30 };
        let mut migration = large(mode, |config| config.start = Nanos(3 * SECOND));
        for epoch in 1..=3 {
            migration.handle_dirty_log(
                Nanos((u64::from(epoch) - 1) * SECOND),
                Epoch(epoch),
                &first_pages(dirty),
                Coverage::Complete,
            );
        }
        let mut now = 3 * SECOND;
        migration.handle_timeout(Nanos(now));
        assert_eq!(migration.working_set().bytes_within(Nanos(5 * SECOND)), dirty * PAGE_SIZE);
        play(&mut migration, &mut now, wire, (dirty, SECOND));
        let report = migration.report(Outcome::Completed);
        let forecast = report.forecast.expect("the guest was watched");
        assert_eq!(Some(forecast.converges), report.converged, "{forecast}");
        // The model knows no blocks: the real guest always dirties a little more than it says.
        assert!(forecast.rounds.abs_diff(report.rounds) <= 1, "{forecast}, and there were {}", report.rounds);
        let real = now - 3 * SECOND;
        let model = forecast.total_time.0 - forecast.downtime.0;
        assert!(model.abs_diff(real) <= real / 10, "{model} {real}");
    }
}

#[test]
fn a_guest_that_was_never_watched_gets_no_forecast() {
    let mut migration = large(endless(), |_| {});
    migration.handle_lost(Nanos(0), 0);
    play(&mut migration, &mut 0, 1_000_000, (64, 1));
    assert_eq!(migration.report(Outcome::Completed).forecast, None);
    assert_eq!(BLOCKS, migration.blocks().count());
}

#[test]
fn a_guest_that_is_handed_over_at_once_gets_no_forecast() {
    let mut migration = large(endless(), |config| config.start = Nanos(9 * SECOND));
    for epoch in 1..=2 {
        let now = Nanos(u64::from(epoch) * SECOND);
        migration.handle_dirty_log(now, Epoch(epoch), &first_pages(64), Coverage::Complete);
    }
    migration.request_handover(Nanos(2 * SECOND));
    drive(&mut migration, 2 * SECOND, 7);
    assert_eq!(migration.report(Outcome::Completed).forecast, None);
}

#[test]
fn a_second_attempt_is_foretold_by_the_speed_of_the_first() {
    let mut migration = large(endless(), |_| {});
    let mut now = 0;
    play(&mut migration, &mut now, 1_000_000, (64, 1));
    migration.abort(Nanos(now));
    while migration.poll_action().is_some() {}
    assert!(migration.retry(Nanos(now), Kept::Everything));
    migration.poll_action();
    let forecast = migration.report(Outcome::Aborted).forecast.expect("an epoch was closed");
    assert_eq!(forecast.link.bandwidth, Some(65536 * 1000), "64 KiB a millisecond");
}

#[test]
fn a_guest_writes_no_more_than_it_has() {
    let mut migration = large(endless(), |config| config.start = Nanos(9 * SECOND));
    migration.handle_populated(Nanos(0), Epoch(0), &first_pages(128));
    migration.handle_dirty_log(Nanos(SECOND), Epoch(1), &first_pages(64), Coverage::Complete);
    assert_eq!(migration.working_set().bytes_within(Nanos(SECOND)), 64 * PAGE_SIZE);
    assert_eq!(migration.working_set().bytes_within(Nanos(9 * SECOND)), 128 * PAGE_SIZE);
}

#[test]
fn an_incomplete_log_says_nothing_about_the_working_set() {
    let mut migration = large(endless(), |config| config.start = Nanos(9 * SECOND));
    migration.handle_dirty_log(Nanos(0), Epoch(1), &first_pages(64), Coverage::Complete);
    migration.handle_dirty_log(Nanos(SECOND), Epoch(2), &first_pages(64), Coverage::Complete);
    migration.handle_dirty_log(Nanos(2 * SECOND), Epoch(3), &first_pages(0), Coverage::Partial);
    migration.handle_dirty_log(Nanos(3 * SECOND), Epoch(4), &first_pages(32), Coverage::Complete);
    assert_eq!(migration.working_set().bytes_within(Nanos(SECOND)), 32 * PAGE_SIZE);
    assert_eq!(migration.working_set().bytes_within(Nanos(9 * SECOND)), 32 * PAGE_SIZE);
    let link = Link { bandwidth: Some(MIB), downtime_limit: Nanos(SECOND), max_rounds: 9 };
    assert!(migration.foretell(&link).converges);
}

/// Four pages that were all touched at the start, and a policy that lets them rest for five seconds.
fn all_hot(mode: Mode) -> Migration {
    let config = Config {
        block_size: PAGE_SIZE,
        unconverged: Unconverged::GiveUp,
        ..Config::new(Purpose::Replay, PolicyKind::Aging, mode)
    };
    let mut migration = Migration::new(config, slots(&[(0, 4)]), Baseline::Empty).unwrap();
    for page in 0..4 {
        let access = Access { time: Nanos(0), gfn: Gfn(page), kind: AccessKind::Read, origin: Origin::User, cpu: 0, tid: 1 };
        migration.handle_access(Nanos(0), access);
    }
    migration
}

#[test]
fn rounds_in_which_everything_rests_prove_nothing_about_the_wire() {
    for bandwidth in [None, Some(PAGE_SIZE)] {
        let mut migration = all_hot(Mode::Precopy { bandwidth, downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 30 });
        let mut lines = Vec::new();
        for second in 0..=6 {
            migration.handle_timeout(Nanos(second * SECOND));
            lines.extend(drive(&mut migration, second * SECOND, 7));
        }
        let pause = lines.iter().position(|line| line == "pause").expect("the guest came to rest");
        let sent = lines[..pause].iter().filter(|line| line.starts_with("send")).count();
        assert_eq!(sent, 4, "while the guest ran: {lines:?}");
        assert_eq!(migration.report(Outcome::Completed).converged, Some(true));
    }
}

#[test]
fn what_was_only_read_says_nothing_about_the_speed_of_the_wire() {
    let mode = Mode::Precopy { bandwidth: Some(10 * 65536), downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 30 };
    let config = Config::new(Purpose::Replay, PolicyKind::Proven, mode);
    let mut migration = Migration::new(config, slots(&[(0, PAGES)]), Baseline::Fingerprints).unwrap();
    (0..60).for_each(|index| migration.handle_baseline(BlockId { generation: 0, index }, &data(7)));
    let now = play_first_round(&mut migration, 100_000_000);
    migration.handle_dirty_log(now, Epoch(1), &first_pages(16 * 16), Coverage::Complete);
    assert_eq!(migration.poll_action().unwrap().to_string(), "read 0", "16 blocks take 1.6 s");
}

#[test]
fn a_smaller_share_of_the_wire_is_no_standstill() {
    let mode = Mode::Precopy { bandwidth: Some(100 * PAGE_SIZE), downtime_limit: Nanos(SECOND), max_rounds: 30 };
    let mut migration = large(mode, |config| config.unconverged = Unconverged::GiveUp);
    let mut rests = [200_u64, 700, 600, 500, 400, 300, 200, 16].into_iter();
    let mut now = Nanos(0);
    while let Some(action) = migration.poll_action() {
        match action {
            Action::ReadBlock(block) => migration.handle_block(now, block, data(now.0.into())),
            Action::Send { block, .. } => migration.handle_acked(now, block),
            Action::CloseEpoch => {
                now.0 += 1;
                let epoch = migration.open_epoch();
                if now.0 == 2 {
                    migration.set_bandwidth(now, Some(20 * PAGE_SIZE));
                }
                migration.handle_dirty_log(now, epoch, &first_pages(rests.next().unwrap()), Coverage::Complete);
            }
            Action::Pause => break,
            Action::Skip { .. } => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(rests.next(), None, "each round left less than the one before");
}

#[test]
fn a_guest_is_watched_before_the_first_round_and_then_foretold() {
    let mode = Mode::Precopy { bandwidth: Some(MIB), downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 30 };
    let mut migration = large(mode, |config| {
        config.start = Nanos::SECOND;
        config.watch_interval = Some(Nanos(400 * Nanos::MILLISECOND.0));
    });
    let mut closed = Vec::new();
    while migration.poll_action().is_none() {
        let until = migration.poll_timeout().expect("a time to wait for");
        migration.handle_timeout(until);
        assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
        assert!(!migration.progress().begun);
        closed.push(until.0 / Nanos::MILLISECOND.0);
        let epoch = migration.open_epoch();
        migration.handle_dirty_log(until, epoch, &first_pages(128), Coverage::Complete);
    }
    assert_eq!(closed, [400, 800, 1000], "the last one is cut short");
    assert!(migration.progress().begun);
    let forecast = migration.forecast().expect("three epochs are enough");
    // It writes 512 KiB again and again, which take half a second.
    assert!(!forecast.converges && forecast.needed_bandwidth.is_some_and(|needed| needed > MIB), "{forecast}");
    assert_eq!(migration.report(Outcome::Completed).rounds, 0, "closing epochs was no round");
}

#[test]
fn a_handover_that_is_asked_for_while_the_guest_is_watched_ends_that() {
    let mut migration = large(endless(), |config| {
        config.start = Nanos::SECOND;
        config.watch_interval = Some(Nanos(400 * Nanos::MILLISECOND.0));
    });
    migration.request_handover(Nanos(1));
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.handle_paused(Nanos(2));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    let epoch = migration.open_epoch();
    migration.handle_dirty_log(Nanos(3), epoch, &first_pages(1), Coverage::Complete);
    assert!(matches!(migration.poll_action(), Some(Action::ReadBlock(_))), "the guest stands still: no more watching");
}

#[test]
fn a_sample_says_what_bytes_cost_before_any_are_sent() {
    let mut migration = large(endless(), |_| {});
    // Only the second half holds data.
    let mut populated = PageBitmap::new(PAGES);
    populated.insert_range(PAGES / 2..PAGES);
    migration.handle_populated(Nanos(0), Epoch(0), &populated);
    let sample: Vec<u32> = migration.sample(8).iter().map(|block| block.index).collect();
    assert_eq!(sample, [32, 36, 40, 44, 48, 52, 56, 60], "from all over what holds data");
    assert_eq!(migration.sample(1000).len(), 32);
    assert!(migration.sample(0).len() <= 1);
    let link = Link { bandwidth: Some(MIB), downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 30 };
    assert_eq!(migration.foretell(&link).total_time, Nanos(2 * Nanos::SECOND.0), "2 MiB at 1 MiB/s");
    migration.expect_share(Share::of(1, 4));
    assert_eq!(migration.foretell(&link).total_time, Nanos(Nanos::SECOND.0 / 2));
}
