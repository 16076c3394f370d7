//! Files over real sockets: what arrives is what was sent, whatever was there before and wherever the connection was cut.

use std::path::PathBuf;
use std::sync::Arc;

use pagesieve_live::serve::{Ended, Handovers, Root, Takes, serve};
use pagesieve_live::sync::{SyncConfig, SyncError, SyncListener, SyncStats, sync_remote};
use pagesieve_live::transport::{ClientSecurity, Connector, Listener, ListenerLimits, ServerSecurity, Timeouts};
use pagesieve_live::wire::Name;
use tempfile::TempDir;

const BLOCK: usize = 8192;

struct Bench {
    here: TempDir,
    there: TempDir,
    config: SyncConfig,
}

impl Bench {
    fn new() -> Self {
        let config = SyncConfig { block_size: BLOCK as u64, verify: true, attempts: 1, ..SyncConfig::default() };
        Self { here: tempfile::tempdir().unwrap(), there: tempfile::tempdir().unwrap(), config }
    }

    fn from(&self) -> PathBuf {
        self.here.path().join("from")
    }

    fn to(&self) -> PathBuf {
        self.there.path().join("a/to")
    }

    /// Syncs over so many streams; both ends.
    fn sync(&self, streams: u8, listener: &mut dyn SyncListener) -> (Result<SyncStats, SyncError>, Option<Ended>) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let address = "127.0.0.1:0".parse().unwrap();
            let limits = ListenerLimits::default();
            let bound = Listener::bind(address, ServerSecurity::PlainLoopback, Timeouts::default(), limits).await;
            let mut listener_there = bound.unwrap();
            let port = listener_there.address().unwrap().port();
            let root = Root::open(self.there.path()).unwrap();
            let takes = Arc::new(Takes { root, config: SyncConfig::default(), hosts: None, handovers: Handovers::default() });
            let server = tokio::spawn(async move {
                let session = listener_there.accept(|trouble| panic!("{trouble:?}")).await;
                serve(session, takes).await
            });
            let connector = Connector { security: ClientSecurity::PlainLoopback, timeouts: Timeouts::default(), limiter: None };
            let session = connector.connect("127.0.0.1", port, streams).await.unwrap();
            let name = Name::new("a/to").unwrap();
            let done = sync_remote(&self.from(), name, session, &self.config, listener).await;
            (done, server.await.unwrap().ok())
        })
    }

    fn same(&self) {
        assert!(std::fs::read(self.from()).unwrap() == std::fs::read(self.to()).unwrap(), "the sides differ");
    }
}

fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn a_file_arrives_over_any_number_of_streams() {
    for streams in [1, 3, 8] {
        let bench = Bench::new();
        let mut bytes = content(60 * BLOCK + 77, 1);
        bytes[5 * BLOCK..9 * BLOCK].fill(0);
        bytes[20 * BLOCK..30 * BLOCK].fill(b'x');
        std::fs::write(bench.from(), &bytes).unwrap();
        let (done, ended) = bench.sync(streams, &mut ());
        let done = done.unwrap();
        bench.same();
        assert!(
            matches!(ended, Some(Ended::Committed { ref name, bytes }) if name == "a/to" && bytes == done.bytes),
            "{ended:?}"
        );
        assert_eq!((done.baseline, done.blocks.sent), ("empty", 57));
        let wire = done.bytes_wire.unwrap();
        assert!((46 * BLOCK as u64..48 * BLOCK as u64).contains(&wire), "{wire}: letters compress, noise does not");
        // What changed travels, what was there does not.
        bytes[40 * BLOCK] ^= 1;
        bytes[0..BLOCK].fill(0);
        bytes.truncate(50 * BLOCK);
        std::fs::write(bench.from(), &bytes).unwrap();
        let done = bench.sync(streams, &mut ()).0.unwrap();
        bench.same();
        assert_eq!((done.baseline, done.blocks.sent, done.blocks.skipped.same_content), ("fingerprints", 1, 44));
    }
}

#[test]
fn an_empty_file_arrives() {
    let bench = Bench::new();
    std::fs::write(bench.from(), []).unwrap();
    bench.sync(2, &mut ()).0.unwrap();
    bench.same();
}

/// Changes the source in the middle, so that the sync fails.
struct Spoil(PathBuf);

impl SyncListener for Spoil {
    fn blocks(&mut self, done: u64, _: u64) {
        if done == 20 {
            let bytes = std::fs::read(&self.0).unwrap();
            std::fs::write(&self.0, bytes).unwrap();
        }
    }
}

#[test]
fn a_sync_that_failed_leaves_the_old_file_and_is_gone_on_with() {
    let bench = Bench::new();
    std::fs::write(bench.from(), content(30 * BLOCK, 1)).unwrap();
    bench.sync(1, &mut ()).0.unwrap();
    std::fs::write(bench.from(), content(30 * BLOCK, 2)).unwrap();
    let (done, ended) = bench.sync(2, &mut Spoil(bench.from()));
    assert!(matches!(done, Err(SyncError::Changed { .. })), "{done:?}");
    assert!(matches!(ended, Some(Ended::Left)), "{ended:?}");
    assert!(std::fs::read(bench.to()).unwrap() == content(30 * BLOCK, 1), "the old file is whole");
    let done = bench.sync(2, &mut ()).0.unwrap();
    assert_eq!(done.blocks.sent, 0, "everything had arrived");
    bench.same();
}

#[test]
fn what_the_destination_refuses_is_told() {
    let bench = Bench::new();
    std::fs::write(bench.from(), content(BLOCK, 1)).unwrap();
    std::fs::create_dir_all(bench.to()).unwrap();
    let (done, _) = bench.sync(2, &mut ());
    let error = done.unwrap_err().to_string();
    assert!(error.contains("no regular file"), "{error}");
}
