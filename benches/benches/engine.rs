//! The engine: events a second through `Migration` with the `proven` policy, dirty logs and verdicts included.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pagesieve_benches::{corpus, events, guest};
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

/// A sync at each interval, with a driver that answers at once. Returns blocks skipped and sent.
fn sync(header: &Header, epochs: &[Epoch], interval: Nanos) -> (u64, u64) {
    let mut slots = MemSlots::new();
    for &slot in &header.slots {
        slots.insert(slot).expect("the slots of a guest are disjoint");
    }
    let (first, rest) = epochs.split_first().expect("a recorded guest has epochs");
    let mode = Mode::Sync { interval };
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
        // As in a replay the log comes at the end of each epoch, asked for or not.
        migration.handle_timeout(frame.end);
        assert!(matches!(migration.poll_action(), None | Some(Action::CloseEpoch)));
        migration.handle_populated(frame.end, frame.epoch, &frame.populated);
        migration.handle_dirty_log(frame.end, frame.epoch, log, Coverage::Complete);
        while let Some(action) = migration.poll_action() {
            match action {
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

/// The guests: synthetic ones that are busier than real ones, and the recorded ones of the corpus.
fn guests() -> Vec<(String, Header, Vec<Frame>)> {
    let synthetic = [Class::Idle, Class::Mixed, Class::HeavyIo].map(|class| (format!("synthetic {class}"), guest(class)));
    let recorded = ["mixed-512m", "heavy-io-512m"].map(|name| (format!("recorded {name}"), corpus(name)));
    synthetic.into_iter().chain(recorded).map(|(name, (header, frames))| (name, header, frames)).collect()
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    for (name, header, frames) in guests() {
        group.throughput(Throughput::Elements(events(&frames[1..])));
        let epochs: Vec<_> = frames.into_iter().map(|frame| Epoch { log: frame.log.all(), frame }).collect();
        for seconds in [5, 1] {
            let interval = Nanos(seconds * Nanos::SECOND.0);
            let (skipped, sent) = sync(&header, &epochs, interval);
            assert!(skipped > 0 && sent > 0, "{name}: {skipped} blocks skipped and {sent} sent");
            group.bench_function(format!("proven, sync every {seconds} s, {name}"), |b| {
                b.iter(|| sync(&header, black_box(&epochs), interval));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
