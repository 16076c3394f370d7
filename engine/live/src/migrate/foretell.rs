//! How a migration would go.

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use pagesieve_core::block::bytes_of;
use pagesieve_core::forecast::{Forecast, Link, Share};
use pagesieve_core::ports::{AccessSource, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Baseline, Config, Epoch, Migration, Nanos, delta};
use tokio::sync::watch;

use super::{Guest, MigrateConfig, MigrateError, engine_config};
use crate::clock::TokioClock;
use crate::destination::{Local, Store};
use crate::driver::Driver;
use crate::zstd::Zstd;

/// Watches a guest for as long as the configuration says, and foretells its migration over each of these links, to a destination
/// that holds nothing. Nothing is sent, and the guest runs all the time.
///
/// # Errors
/// The configuration makes no sense.
pub async fn foretell<A, L, M, G>(
    parts: Guest<A, L, M, G>,
    config: &MigrateConfig,
    links: &[Link],
) -> Result<Vec<Forecast>, MigrateError>
where
    A: AccessSource<Error: Display>,
    L: DirtyLog<Error: Display>,
    M: GuestMemory<Error: Display>,
    G: PausableGuest<Error: Display>,
{
    // It never begins.
    let engine = Config { start: Nanos(u64::MAX), ..engine_config(config, parts.first_epoch) };
    let mut migration = Migration::new(engine, parts.slots.clone(), Baseline::Empty).map_err(MigrateError::Config)?;
    migration.handle_populated(Nanos(0), Epoch(parts.first_epoch.0 - 1), &parts.populated);
    let (_handover, handover) = watch::channel(false);
    let mut driver = Driver {
        accesses: parts.accesses,
        log: parts.log,
        memory: parts.memory,
        guest: parts.guest,
        destination: Local::new(Nowhere),
        clock: TokioClock::start(),
        observer: (),
        fingerprint: Some(delta::fingerprint),
        handover,
    };
    expect_share(&mut migration, &mut driver.memory);
    // The last epoch is closed at the end of the time, and may take a moment.
    let grace = config.watch_epoch().unwrap_or(Duration::ZERO) / 2;
    let _ = tokio::time::timeout(config.watch + grace, driver.run(&mut migration)).await;
    Ok(links.iter().map(|link| migration.foretell(link)).collect())
}

/// Blocks of the sample by which it is guessed how well memory compresses: 4 MiB of the default size.
pub const SAMPLE: u32 = 64;

/// Tells the engine how well memory compresses, by a sample.
pub(super) fn expect_share(migration: &mut Migration, memory: &mut impl GuestMemory) {
    let sample: Vec<_> = migration.sample(SAMPLE).into_iter().map(|block| migration.blocks().pages(block)).collect();
    migration.expect_share(sampled_share(sample, memory));
}

/// What a byte of guest memory costs on the wire, as these frames say. What cannot be read now is left to a migration to complain of.
pub fn sampled_share(sample: impl IntoIterator<Item = Range<u64>>, memory: &mut impl GuestMemory) -> Share {
    let Ok(mut codec) = Zstd::new(Zstd::DEFAULT_LEVEL) else { return Share::ONE };
    let (mut bytes, mut encoded, mut guest) = (Vec::new(), Vec::new(), 0);
    for pages in sample {
        bytes.resize(bytes_of(&pages) as usize, 0);
        if memory.read(pages, &mut bytes).is_ok() {
            delta::encode_block(&bytes, None, &mut codec, &mut encoded);
            guest += bytes.len() as u64;
        }
    }
    Share::of(encoded.len() as u64, guest)
}

/// Nothing goes here.
struct Nowhere;

impl Store for Nowhere {
    type Error = &'static str;

    fn write(&mut self, _: Range<u64>, _: &[u8]) -> Result<u64, &'static str> {
        Err("nothing was to be sent")
    }
}
