//! The engine: events a second through `Migration` with the `proven` policy, dirty logs and verdicts included.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pagesieve_benches::{events, guest};
use pagesieve_core::block::bytes_of;
use pagesieve_core::{
    Action, Baseline, BlockId, BlockSummary, Config, Coverage, MemSlots, Migration, Mode, Nanos, PageBitmap, PolicyKind, Purpose,
};
use pagesieve_traces::{Class, Frame, Header};

/// A frame with its dirty log as one set, made before the clock runs.
struct Epoch {
    frame: Frame,
    log: PageBitmap,
}

/// A sync after each epoch, with a driver that answers at once. Returns blocks skipped and sent.
fn sync(header: &Header, epochs: &[Epoch]) -> (u64, u64) {
    let mut slots = MemSlots::new();
    for &slot in &header.slots {
        slots.insert(slot).expect("the slots of a synthetic guest are disjoint");
    }
    let (first, rest) = epochs.split_first().expect("a synthetic guest has epochs");
    let mode = Mode::Sync { interval: Nanos(1) };
    let mut config = Config::new(Purpose::Replay, PolicyKind::Proven, mode);
    config.first_epoch = first.frame.epoch.next();
    config.start = first.frame.end;
    let baseline = Baseline::Equal { as_of: first.frame.epoch };
    let mut migration = Migration::new(config, slots, baseline).expect("the configuration is sound");
    let (mut skipped, mut sent) = (0, 0);
    for Epoch { frame, log } in rest {
        for &access in &frame.events {
            migration.handle_access(access.time, access);
        }
        migration.handle_timeout(frame.end);
        while let Some(action) = migration.poll_action() {
            match action {
                Action::CloseEpoch => {
                    migration.handle_populated(frame.end, frame.epoch, &frame.populated);
                    migration.handle_dirty_log(frame.end, frame.epoch, log, Coverage::Complete);
                }
                Action::ReadBlock(block) => {
                    let summary = unread(&migration, block);
                    migration.handle_block(frame.end, block, summary);
                }
                Action::Send { block, .. } | Action::SendZero(block) => {
                    sent += 1;
                    migration.handle_sent(frame.end, block, 1);
                    migration.handle_acked(frame.end, block);
                }
                Action::Skip { .. } => skipped += 1,
                _ => {}
            }
        }
    }
    (skipped, sent)
}

/// What a driver would say that finds new content everywhere.
fn unread(migration: &Migration, block: BlockId) -> BlockSummary {
    let raw_len = bytes_of(&migration.blocks().pages(block));
    BlockSummary { zero: false, fingerprint: None, raw_len, wire_len: raw_len }
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    for class in [Class::Idle, Class::Mixed, Class::HeavyIo] {
        let (header, frames) = guest(class);
        group.throughput(Throughput::Elements(events(&frames[1..])));
        let epochs: Vec<_> = frames.into_iter().map(|frame| Epoch { log: frame.log.all(), frame }).collect();
        let (skipped, sent) = sync(&header, &epochs);
        assert!(skipped > 0 && sent > 0, "{class}: {skipped} blocks skipped and {sent} sent");
        group.bench_function(format!("sync with proof, {class}"), |b| b.iter(|| sync(&header, black_box(&epochs))));
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
