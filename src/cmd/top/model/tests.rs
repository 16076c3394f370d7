use pagesieve_core::forecast::{Link, Share, WorkingSet, forecast};
use pagesieve_core::gauge::Written;
use pagesieve_core::summary::{BlockCounts, SkipCounts};
use pagesieve_core::{Epoch, Gfn, Nanos};

use super::*;

const LINES: [u64; 2] = [125_000_000, 1_250_000_000];

fn link(bandwidth: u64) -> Link {
    Link { bandwidth: Some(bandwidth), downtime_limit: Nanos(300_000_000), max_rounds: 30 }
}

fn foretold(bandwidth: u64) -> Forecast {
    let written = WorkingSet::new([(Nanos::SECOND, 4 << 20), (Nanos(10 * Nanos::SECOND.0), 12 << 20)]).capped(64 << 20);
    forecast(64 << 20, Share::ONE, &written, &link(bandwidth))
}

fn range(slot: u32, start: u64, blocks: u32, written: u32, written_now: u32) -> HotRange {
    let end = Gfn(start + u64::from(blocks) * 16);
    HotRange { slot, start: Gfn(start), end, blocks, written, written_now, epochs: 10 }
}

/// A guest of 256 MiB that writes 4 MiB, give or take, in each second.
pub(in super::super) fn snapshot(epoch: u32) -> Snapshot {
    let dirty_pages = 1024 + u64::from(epoch) * 37 % 512;
    let reading = Reading {
        epoch: Epoch(epoch),
        span: Nanos::SECOND,
        complete: true,
        dirty_pages,
        resident_pages: 16384,
        pages: 65536,
        events: 2000 + u64::from(epoch),
        lost: u64::from(epoch == 3),
        working_set: [(1, 4 << 20), (10, 12 << 20)]
            .map(|(seconds, bytes)| Written { window: Nanos(seconds * Nanos::SECOND.0), bytes })
            .into(),
        sync: BlockCounts {
            total: 4096,
            resident: 1024,
            sent: 64,
            skipped: SkipCounts { unpopulated: 3072, unchanged: 960, ..SkipCounts::default() },
            skipped_resident: 960,
            deferred: 0,
        },
    };
    let ranges = vec![range(0, 0, 4, 40, 4), range(0, 64, 16, 40, 0), range(0, 4096, 1, 5, 1), range(1, 0x10_0000, 64, 200, 64)];
    let heat = (0..256).map(|cell| if cell < 16 { 1000 - cell * 60 } else { u16::from(cell > 200) * 300 }).collect();
    Snapshot { reading, forecast: foretold(LINES[0]), ranges, heat }
}

pub(in super::super) fn model(readings: u32) -> Model {
    let about = About {
        target: "process 4711".to_owned(),
        observed: "eBPF: tp_btf/page_fault_user, tp_btf/page_fault_kernel; armed by ptrace".to_owned(),
        fallback: None,
        interval: 1.0,
    };
    let mut model = Model::new(about, LINES[0], &LINES);
    (1..=readings).for_each(|epoch| model.take(snapshot(epoch)));
    model
}

fn slots_and_starts(model: &Model) -> Vec<(u32, u64)> {
    model.ranges().iter().map(|range| (range.slot, range.start.0)).collect()
}

#[test]
fn each_order_puts_another_range_first() {
    let mut model = model(1);
    let by = |model: &mut Model| {
        let ranges = slots_and_starts(model);
        assert_eq!(model.handle_key(Key::Order), Wish::Redraw);
        ranges
    };
    assert_eq!(by(&mut model), [(0, 0), (0, 4096), (1, 0x10_0000), (0, 64)], "hottest");
    assert_eq!(by(&mut model), [(0, 0), (0, 4096), (1, 0x10_0000), (0, 64)], "now");
    assert_eq!(by(&mut model), [(1, 0x10_0000), (0, 64), (0, 0), (0, 4096)], "largest");
    assert_eq!(by(&mut model), [(0, 0), (0, 64), (0, 4096), (1, 0x10_0000)], "address");
    assert_eq!(model.order, Order::Hottest, "it goes round");
}

#[test]
fn the_list_moves_and_ends_at_its_ends() {
    let mut model = model(1);
    let first = |model: &Model| slots_and_starts(model)[0];
    model.handle_key(Key::Up);
    assert_eq!(first(&model), (0, 0));
    model.handle_key(Key::Down);
    assert_eq!(first(&model), (0, 4096));
    model.handle_key(Key::PageDown);
    assert_eq!(slots_and_starts(&model), [(0, 64)], "the last one stays");
    model.handle_key(Key::Up);
    assert_eq!(first(&model), (1, 0x10_0000));
    model.take(Snapshot { ranges: vec![range(0, 0, 1, 1, 1)], ..snapshot(2) });
    assert_eq!(slots_and_starts(&model), [(0, 0)], "a list that got shorter still shows something");
    model.handle_key(Key::PageUp);
    model.take(Snapshot { ranges: Vec::new(), ..snapshot(3) });
    assert!(model.ranges().is_empty());
    model.handle_key(Key::Down);
}

#[test]
fn a_held_display_stands_still_while_readings_go_on() {
    let mut model = model(2);
    model.handle_key(Key::Hold);
    model.take(snapshot(3));
    assert!(model.is_held());
    assert_eq!((model.shown().readings, model.shown().rates.len(), model.shown().lost), (2, 2, 0));
    model.handle_key(Key::Hold);
    assert_eq!((model.shown().readings, model.shown().rates.len(), model.shown().lost), (3, 3, 1));
    assert_eq!(model.shown().rates.back(), Some(&snapshot(3).reading.dirty_rate()));
}

#[test]
fn links_go_round_and_what_is_foretold_is_shown_even_if_the_display_is_held() {
    let mut model = Model::new(About::default(), 500_000_000, &LINES);
    model.take(snapshot(1));
    model.handle_key(Key::Hold);
    let mut seen = vec![model.bandwidth()];
    for _ in 0..3 {
        assert_eq!(model.handle_key(Key::Link), Wish::Forecast);
        model.set_forecast(foretold(model.bandwidth()));
        let shown = model.shown().snapshot.as_ref().unwrap();
        assert_eq!(shown.forecast.link.bandwidth, Some(model.bandwidth()));
        seen.push(model.bandwidth());
    }
    assert_eq!(seen, [500_000_000, 1_250_000_000, 125_000_000, 500_000_000]);
}

#[test]
fn quit_closes_the_help_first() {
    let mut model = model(0);
    assert_eq!(model.handle_key(Key::Help), Wish::Redraw);
    assert!(model.help);
    assert_eq!(model.handle_key(Key::Quit), Wish::Redraw);
    assert!(!model.help);
    assert_eq!(model.handle_key(Key::Quit), Wish::Quit);
}

#[test]
fn only_so_many_rates_are_kept() {
    let model = model(RATES as u32 + 10);
    assert_eq!((model.shown().rates.len(), model.shown().readings), (RATES, RATES as u64 + 10));
}
