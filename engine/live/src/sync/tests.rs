//! Every destination must come out as the source, byte for byte, from whatever was there before.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::destination::{Destination, Outgoing};

const BLOCK: usize = 8192;

/// A block that is like no other.
fn block(number: u32) -> Vec<u8> {
    (0..BLOCK as u32).flat_map(|at| (number.wrapping_mul(2_654_435_761) ^ at).to_le_bytes().into_iter().take(1)).collect()
}

fn blocks(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|&number| if number == 0 { vec![0; BLOCK] } else { block(number) }).collect()
}

struct Bench {
    dir: TempDir,
    config: SyncConfig,
}

impl Bench {
    fn new(in_place: bool) -> Self {
        let config = SyncConfig { block_size: BLOCK as u64, in_place, verify: true, attempts: 1, ..SyncConfig::default() };
        Self { dir: tempfile::tempdir().unwrap(), config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Syncs what is there and checks the outcome.
    fn sync(&self) -> SyncStats {
        let stats = self.try_sync().unwrap();
        assert!(std::fs::read(self.path("to")).unwrap() == std::fs::read(self.path("from")).unwrap(), "the sides differ");
        let mut left: Vec<_> = std::fs::read_dir(self.dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["from", "to"], "nothing else is left");
        stats
    }

    /// Opens the destination only.
    fn open(&self) -> Result<Place, SyncError> {
        Place::open(&self.path("to"), self.path("from").metadata().unwrap().len(), &self.config)
    }

    fn try_sync(&self) -> Result<SyncStats, SyncError> {
        block_on(sync_file(&self.path("from"), &self.path("to"), &self.config, &mut ()))
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn only_what_differs_is_written() {
    for in_place in [false, true] {
        let bench = Bench::new(in_place);
        bench.write("from", &blocks(&[1, 2, 3, 0, 5, 6]));
        bench.write("to", &blocks(&[1, 9, 3, 4, 5, 0]));
        let stats = bench.sync();
        assert_eq!((stats.blocks.sent, stats.bytes_written), (2, 2 * BLOCK as u64), "in place: {in_place}");
        assert_eq!((stats.blocks.skipped.same_content, stats.blocks.skipped.zero), (3, 1));
        assert!(stats.digest.is_some());
        assert_eq!(bench.sync().bytes_written, 0, "and nothing the second time");
        // Zeros that are data here, and a hole there.
        std::fs::File::create(bench.path("from")).unwrap().set_len(6 * BLOCK as u64).unwrap();
        bench.write("to", &blocks(&[0; 6]));
        assert_eq!(bench.sync().blocks.skipped.unpopulated, 6);
    }
}

#[test]
fn swapped_and_duplicate_blocks_land_where_they_belong() {
    for in_place in [false, true] {
        let bench = Bench::new(in_place);
        bench.write("from", &blocks(&[1, 2, 2, 1, 3]));
        bench.write("to", &blocks(&[2, 1, 3, 3, 1]));
        assert_eq!(bench.sync().blocks.sent, 5);
    }
}

#[test]
fn files_grow_shrink_and_end_anywhere() {
    let content = |len: usize, seed: u32| blocks(&[seed, seed + 1, seed + 2, seed + 3])[..len].to_vec();
    for in_place in [false, true] {
        for new in [0, 1, 4095, 4096, BLOCK, BLOCK + 1, 3 * BLOCK - 7, 4 * BLOCK] {
            for old in [None, Some(0), Some(1), Some(BLOCK + 1), Some(2 * BLOCK + 4096), Some(4 * BLOCK)] {
                for seed in [1, 2] {
                    let bench = Bench::new(in_place);
                    bench.write("from", &content(new, 1));
                    if let Some(old) = old {
                        bench.write("to", &content(old, seed));
                    }
                    let stats = bench.sync();
                    let whole = old.map_or(0, |old| old.min(new) / BLOCK);
                    let most = new.div_ceil(BLOCK) - if seed == 1 { whole } else { 0 };
                    assert!(stats.blocks.sent <= most as u64, "{in_place} {old:?} -> {new}: {stats:?}");
                    assert!(stats.blocks.sent == 0 || old != Some(new) || seed != 1, "equal files: {stats:?}");
                }
            }
        }
    }
}

#[test]
fn holes_stay_holes() {
    for in_place in [false, true] {
        let bench = Bench::new(in_place);
        let from = std::fs::File::create(bench.path("from")).unwrap();
        from.set_len(64 << 20).unwrap();
        from.write_all_at(&block(7), 32 << 20).unwrap();
        let stats = bench.sync();
        assert_eq!(stats.blocks.sent, 1);
        let on_disk = std::os::unix::fs::MetadataExt::blocks(&bench.path("to").metadata().unwrap()) * 512;
        assert!(on_disk < 1 << 20, "{on_disk} bytes on disk");
        // Data that turns into a hole does so at the destination.
        from.set_len(0).unwrap();
        from.set_len(64 << 20).unwrap();
        assert_eq!(bench.sync().blocks.sent, 0);
    }
}

#[test]
fn a_sync_goes_on_where_it_was_cut_off() {
    let bench = Bench::new(false);
    bench.write("from", &blocks(&[1, 2, 3, 4, 5, 6, 0, 0]));
    // The last block is a hole.
    bench.write("to", &blocks(&[1, 9, 9, 9, 5, 9, 9]));
    OpenOptions::new().write(true).open(bench.path("to")).unwrap().set_len(8 * BLOCK as u64).unwrap();
    // Two blocks arrived whole, one is torn, two arrived before the source changed, one of them torn.
    let part = OpenOptions::new().write(true).create(true).truncate(true).open(bench.path(".to.pagesieve-part")).unwrap();
    part.set_len(8 * BLOCK as u64).unwrap();
    part.write_all_at(&block(78), 6 * BLOCK as u64).unwrap();
    part.write_all_at(&block(79)[..4096], 7 * BLOCK as u64).unwrap();
    part.write_all_at(&block(2), BLOCK as u64).unwrap();
    part.write_all_at(&block(3)[..5000], 2 * BLOCK as u64).unwrap();
    part.write_all_at(&block(4), 3 * BLOCK as u64).unwrap();
    part.write_all_at(&block(77), 4 * BLOCK as u64).unwrap();
    let stats = bench.sync();
    assert_eq!((stats.blocks_resumed, stats.blocks.sent), (6, 3), "torn, changed, and never sent");
}

/// Makes some of the changes of a sync in place, one after the other, and is then gone.
fn cut_off(bench: &Bench, changes: &[(u64, u32)], flush: bool) {
    let mut place = bench.open().unwrap();
    let mut there = &mut place;
    for &(index, number) in changes {
        let pages = index * 2..index * 2 + 2;
        let name = pagesieve_core::BlockId { generation: 0, index: index as u32 };
        match number {
            0 => block_on(there.zero(name, pages)),
            _ => block_on(there.put(Outgoing { block: name, pages, bytes: &block(number), fingerprint: None })),
        }
        if flush {
            block_on(there.answer()).result.unwrap();
        }
    }
}

#[test]
fn changes_in_place_are_taken_back() {
    let bench = Bench::new(true);
    let old = blocks(&[1, 2, 3, 4, 5]);
    for from in [blocks(&[6, 0, 8, 9, 10, 11]), blocks(&[6, 0, 8])] {
        bench.write("from", &from);
        bench.write("to", &old);
        for flush in [false, true] {
            cut_off(&bench, &[(0, 6), (1, 0), (0, 7)], flush);
            assert_eq!(std::fs::read(bench.path("to")).unwrap()[..old.len()] != old, flush);
            // The next sync begins with the old content, whatever it is told to do.
            let place = bench.open().unwrap();
            assert!(place.rolled_back());
            assert!(std::fs::read(bench.path("to")).unwrap()[..old.len()] == old);
        }
        assert!(bench.sync().rolled_back);
    }
}

#[test]
fn a_file_that_was_written_and_perhaps_cut_stays_new() {
    let bench = Bench::new(true);
    bench.write("from", &blocks(&[6, 7]));
    bench.write("to", &blocks(&[1, 2, 3]));
    let mut place = bench.open().unwrap();
    // What the journal held when its name was removed.
    std::fs::hard_link(bench.path(".to.pagesieve-journal"), bench.path("kept")).unwrap();
    for (index, number) in [(0, 6), (1, 7)] {
        let pages = index * 2..index * 2 + 2;
        let name = pagesieve_core::BlockId { generation: 0, index: index as u32 };
        block_on((&mut place).put(Outgoing { block: name, pages, bytes: &block(number), fingerprint: None }));
    }
    block_on((&mut place).answer()).result.unwrap();
    place.finish().unwrap();
    drop(place);
    // Cut off just before or just after the file was cut to its new length.
    for content in [blocks(&[6, 7, 3]), blocks(&[6, 7])] {
        bench.write("to", &content);
        std::fs::copy(bench.path("kept"), bench.path(".to.pagesieve-journal")).unwrap();
        assert!(bench.open().unwrap().rolled_back());
        assert!(std::fs::read(bench.path("to")).unwrap() == blocks(&[6, 7]));
    }
}

#[test]
fn a_journal_that_is_cut_or_damaged_undoes_what_it_can_prove() {
    let bench = Bench::new(true);
    bench.write("from", &blocks(&[6, 7, 8]));
    bench.write("to", &blocks(&[1, 2, 3]));
    cut_off(&bench, &[(0, 6), (1, 7)], true);
    let journal = std::fs::read(bench.path(".to.pagesieve-journal")).unwrap();
    let open = |journal: &[u8]| {
        bench.write(".to.pagesieve-journal", journal);
        bench.write("to", &blocks(&[6, 7, 3]));
        bench.open().map(|place| place.rolled_back())
    };
    let now = || std::fs::read(bench.path("to")).unwrap();
    // The second record was not whole: so its block was not written yet.
    assert!(open(&journal[..journal.len() - 1]).unwrap());
    assert!(now() == blocks(&[1, 7, 3]));
    for cut in [0, 5] {
        assert!(!open(&journal[..cut]).unwrap(), "nothing was changed before the head was whole");
    }
    for (at, bit) in [(3, 1), (9, 1), (17, 4)] {
        let mut damaged = journal.clone();
        damaged[at] ^= bit;
        let error = open(&damaged).unwrap_err().to_string();
        assert!(error.contains("no journal"), "{error}");
        assert!(now() == blocks(&[6, 7, 3]), "nothing was touched");
    }
}

#[test]
fn what_cannot_be_synced_says_why() {
    let bench = Bench::new(false);
    let expect = |text: &str| {
        let error = bench.try_sync().unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    expect("read the source");
    bench.write("from", &blocks(&[1]));
    std::os::unix::fs::symlink(bench.path("from"), bench.path("to")).unwrap();
    expect("one file");
    std::fs::remove_file(bench.path("to")).unwrap();
    std::os::unix::fs::symlink(bench.path("nowhere"), bench.path("to")).unwrap();
    expect("open the destination");
    std::fs::remove_file(bench.path("to")).unwrap();
    let place = bench.open().unwrap();
    expect("another sync holds it");
    drop(place);
    let config = SyncConfig { block_size: 5000, ..bench.config.clone() };
    assert!(block_on(sync_file(&bench.path("from"), &bench.path("to"), &config, &mut ())).is_err());
    assert!(!bench.path("to").exists());
}

#[test]
fn a_source_that_is_written_meanwhile_is_noticed() {
    struct Writer(PathBuf);
    impl SyncListener for Writer {
        fn blocks(&mut self, _: u64, _: u64) {
            std::fs::write(&self.0, blocks(&[1, 3])).unwrap();
        }
    }
    let bench = Bench::new(false);
    let from = bench.write("from", &blocks(&[1, 2]));
    bench.write("to", &blocks(&[9, 9]));
    let outcome = block_on(sync_file(&from, &bench.path("to"), &bench.config, &mut Writer(from.clone())));
    assert!(matches!(outcome, Err(SyncError::Changed { .. })), "{outcome:?}");
    assert!(std::fs::read(bench.path("to")).unwrap() == blocks(&[9, 9]), "the destination is as it was");
    bench.sync();
}

proptest! {
    #[test]
    fn any_file_becomes_any_other(
        new in prop::collection::vec(0_u32..4, 0..8), old in prop::option::of(prop::collection::vec(0_u32..4, 0..8)),
        cut in 0..BLOCK, in_place: bool,
    ) {
        let bench = Bench::new(in_place);
        let new = blocks(&new);
        bench.write("from", &new[..new.len().saturating_sub(cut)]);
        if let Some(old) = old {
            bench.write("to", &blocks(&old));
        }
        bench.sync();
    }
}
