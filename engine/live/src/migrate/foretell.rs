//! How a migration would go.

use std::fmt::Display;
use std::time::Duration;

use pagesieve_core::forecast::{Forecast, Link};
use pagesieve_core::ports::{AccessSource, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Baseline, Config, Epoch, Migration, Nanos, delta};
use tokio::sync::watch;

use super::{Guest, MigrateConfig, MigrateError, engine_config};
use crate::clock::TokioClock;
use crate::destination::{Local, Store};
use crate::driver::Driver;

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
    // The last epoch is closed at the end of the time, and may take a moment.
    let grace = config.watch_epoch().unwrap_or(Duration::ZERO) / 2;
    let _ = tokio::time::timeout(config.watch + grace, driver.run(&mut migration)).await;
    Ok(links.iter().map(|link| migration.foretell(link)).collect())
}

/// Nothing goes here.
struct Nowhere;

impl Store for Nowhere {
    type Error = &'static str;

    fn write(&mut self, _: std::ops::Range<u64>, _: &[u8]) -> Result<u64, &'static str> {
        Err("nothing was to be sent")
    }
}
