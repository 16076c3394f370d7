//! Live migration: the memory of a running guest goes over the wire, then its devices, then the guest runs there.
//!
//! The order is what keeps the guest whole. Its memory is complete at the destination before the devices are loaded, since loading
//! reads it. The source gives the guest away before the destination is asked to start it: from that word on only a clear "failed" of
//! the destination lets it go on here, so it never runs in two places.

mod error;
mod follow;
mod foretell;
mod handover;

use std::fmt::Display;
use std::time::{Duration, Instant};

use pagesieve_core::forecast::Link;
use pagesieve_core::migration::{Throttle, Unconverged};
use pagesieve_core::ports::{AccessSource, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{
    Baseline, Config, Epoch, MemSlots, Migration, Mode, Nanos, Outcome, PAGE_SIZE, PageBitmap, PolicyKind, Purpose, Report, delta,
};
use tokio::sync::watch;

use crate::clock::{Clock, TokioClock};
use crate::driver::{Driver, RunError};
use crate::memory;
pub use crate::remote::Traffic;
use crate::remote::{self, Remote};
use crate::transport::Session;
use crate::wire::{Frame, MAX_CHUNK, Name, Open, Slot, What};
pub use error::MigrateError;
use follow::Follow;
pub use follow::{MigrateListener, Phase, Round};
use foretell::expect_share;
pub use foretell::{SAMPLE, foretell, sampled_share};
use handover::hand_over;

/// Epochs into which the time is cut in which the guest is watched: more of them tell short rounds from long ones.
const WATCHES: u32 = 4;

/// How to migrate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateConfig {
    /// Which blocks are skipped or deferred.
    pub policy: PolicyKind,
    /// Bytes in a block: a power of two, 4 KiB to 1 MiB.
    pub block_size: u64,
    /// Watch the guest for so long before anything is sent, so that its migration can be foretold. Zero: it is not.
    pub watch: Duration,
    /// Pause the guest when the rest can be sent in this time.
    pub downtime_limit: Duration,
    /// Rounds after which precopy is over, converged or not.
    pub max_rounds: u32,
    /// Bytes per second that the wire takes, if that is known: it lets the first forecast be made.
    pub bandwidth: Option<u64>,
    /// What becomes of a guest that does not converge.
    pub unconverged: Unconverged,
    /// Whether it may be slowed down first.
    pub throttle: Option<Throttle>,
    /// Most bytes of what was sent that are kept, to send only the differences when a block is sent again. 0: none.
    pub delta_room: u64,
    /// Compare digests of the whole memory before the guest runs there. It stands still meanwhile.
    pub verify: bool,
}

impl MigrateConfig {
    /// How long an epoch is while the guest is watched; `None` if it is not.
    #[must_use]
    pub fn watch_epoch(&self) -> Option<Duration> {
        Some(self.watch / WATCHES).filter(|epoch| *epoch > Duration::ZERO)
    }

    /// As much as QEMU's cache for XBZRLE has by default.
    pub const DELTA_ROOM: u64 = 64 << 20;
}

impl Default for MigrateConfig {
    fn default() -> Self {
        Self {
            policy: PolicyKind::Proven,
            block_size: 64 * 1024,
            watch: Duration::from_secs(1),
            downtime_limit: Duration::from_nanos(Mode::DOWNTIME_LIMIT.0),
            max_rounds: Mode::MAX_ROUNDS,
            bandwidth: None,
            unconverged: Unconverged::GiveUp,
            throttle: None,
            delta_room: Self::DELTA_ROOM,
            verify: false,
        }
    }
}

/// The guest at the source: what the engine needs of it, and what it was when it was first looked at.
#[derive(Debug)]
pub struct Guest<A, L, M, G> {
    /// Its accesses.
    pub accesses: A,
    /// Its dirty log.
    pub log: L,
    /// Its memory.
    pub memory: M,
    /// The guest itself.
    pub guest: G,
    /// Where its memory lies.
    pub slots: MemSlots,
    /// The epoch that is open.
    pub first_epoch: Epoch,
    /// The pages that held data at the end of the epoch before.
    pub populated: PageBitmap,
}

/// The guest's devices, and who may run it.
pub trait Handover {
    /// The state of the devices, taken when the guest was paused.
    ///
    /// # Errors
    /// There is none, or memory was written after it was taken: then the guest goes on here.
    fn device_state(&mut self) -> Result<Vec<u8>, String>;

    /// The guest is no longer ours: nothing of ours lets it go on here.
    ///
    /// # Errors
    /// It is still ours.
    fn give_away(&mut self) -> Result<(), String>;

    /// The destination says that it did not start the guest: it goes on here.
    ///
    /// # Errors
    /// It must be let go on by hand.
    fn take_back(&mut self) -> Result<(), String>;
}

/// What a migration did.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated {
    /// The engine's report.
    pub report: Report,
    /// Bytes of device state.
    pub device_state: u64,
    /// From the word to pause until the destination said that the guest runs.
    pub downtime: Duration,
    /// All of it.
    pub total: Duration,
    /// Blocks of which the destination held something at the start.
    pub held: u64,
    /// What went over the wire, all of it.
    pub traffic: Traffic,
}

/// Migrates the guest to the destination of a session, under this name. `handover` becoming true asks for the pause as soon as
/// possible; `abort` becoming true ends it all and lets the guest go on here, at any
/// moment before the guest is given away.
///
/// # Errors
/// See [`MigrateError`]; each says where the guest runs.
pub async fn migrate<A, L, M, G>(
    parts: Guest<A, L, M, G>,
    devices: &mut dyn Handover,
    session: Session,
    name: Name,
    config: &MigrateConfig,
    (handover, mut abort): (watch::Receiver<bool>, watch::Receiver<bool>),
    listener: &mut dyn MigrateListener,
) -> Result<Migrated, MigrateError>
where
    A: AccessSource<Error: Display>,
    L: DirtyLog<Error: Display>,
    M: GuestMemory<Error: Display>,
    G: PausableGuest<Error: Display>,
{
    let began = Instant::now();
    listener.phase(Phase::Opening);
    let way = (session.route.clone(), session.token);
    let mut remote = Remote::start(session, Some(config.delta_room));
    let mut migration = Migration::new(engine_config(config, parts.first_epoch), parts.slots.clone(), Baseline::Fingerprints)
        .map_err(MigrateError::Config)?;
    migration.handle_populated(Nanos(0), Epoch(parts.first_epoch.0 - 1), &parts.populated);
    let held = tokio::select! {
        held = open(&mut remote, &mut migration, &parts.slots, name, config) => held?,
        () = wanted(&mut abort) => return Err(MigrateError::Aborted),
    };
    let mut memory = parts.memory;
    if config.watch > Duration::ZERO {
        listener.phase(Phase::Watching);
        expect_share(&mut migration, &mut memory);
    }
    let mut driver = Driver {
        accesses: parts.accesses,
        log: parts.log,
        memory,
        guest: parts.guest,
        destination: &mut remote,
        clock: TokioClock::start(),
        observer: Follow::new(listener, link(config)),
        fingerprint: Some(delta::fingerprint),
        handover,
    };
    let report = tokio::select! {
        report = driver.run(&mut migration) => Some(report),
        () = wanted(&mut abort) => None,
    };
    let report = match report {
        Some(report) => report,
        None => {
            migration.abort(driver.clock.now());
            driver.run(&mut migration).await
        }
    };
    let report = report.map_err(|RunError::Resume(why)| MigrateError::Stopped(why))?;
    let Driver { mut guest, mut memory, observer: Follow { listener, paused, trouble, .. }, .. } = driver;
    match report.outcome {
        Outcome::Completed => {}
        Outcome::NotConverging => return Err(MigrateError::NotConverging(Box::new(report))),
        Outcome::Aborted if trouble.is_none() => return Err(MigrateError::Aborted),
        _ => return Err(MigrateError::Here(trouble.unwrap_or_else(|| "a block could not be sent".to_owned()))),
    }
    let completed = tokio::select! {
        state = complete(&mut remote, &parts.slots, &mut memory, devices, config, listener) => state.map_err(MigrateError::Here),
        () = wanted(&mut abort) => Err(MigrateError::Aborted),
    };
    let state = match completed {
        Ok(state) => state,
        Err(why) => {
            guest.resume().map_err(|error| MigrateError::Stopped(error.to_string()))?;
            return Err(why);
        }
    };
    hand_over(&mut remote, devices, way, listener).await?;
    let downtime = paused.map_or(Duration::ZERO, |paused| paused.elapsed());
    Ok(Migrated { report, device_state: state, downtime, total: began.elapsed(), held, traffic: remote.traffic() })
}

fn link(config: &MigrateConfig) -> Link {
    let (bandwidth, max_rounds) = (config.bandwidth, config.max_rounds);
    Link { bandwidth, downtime_limit: Nanos::from(config.downtime_limit), max_rounds }
}

fn engine_config(config: &MigrateConfig, first_epoch: Epoch) -> Config {
    let Link { bandwidth, downtime_limit, max_rounds } = link(config);
    let mode = Mode::Precopy { bandwidth, downtime_limit, max_rounds };
    Config {
        block_size: config.block_size,
        unconverged: config.unconverged,
        throttle: config.throttle,
        start: Nanos::from(config.watch),
        watch_interval: config.watch_epoch().map(Nanos::from),
        first_epoch,
        ..Config::new(Purpose::Live, config.policy, mode)
    }
}

/// Becomes ready when the flag is true; never if nobody can set it any more.
async fn wanted(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|wanted| *wanted).await.is_err() {
        std::future::pending().await
    }
}

/// Opens the guest at the destination, and tells the engine what is there. Returns how many blocks are.
async fn open(
    remote: &mut Remote,
    migration: &mut Migration,
    slots: &MemSlots,
    name: Name,
    config: &MigrateConfig,
) -> Result<u64, MigrateError> {
    let block_size = remote::block_size(config.block_size).ok_or(MigrateError::BlockSize)?;
    let what = What::Guest(slots.iter().map(|slot| Slot { first: slot.base.0, pages: slot.pages }).collect());
    let open = Open { name, what, block_size };
    let held = remote.open(open).await.map_err(|error| MigrateError::Here(error.to_string()))?;
    Ok(remote::tell_baseline(migration, held))
}

/// What is left when the memory is there: the devices, the word that all is complete, and to give the guest away. Returns the bytes
/// of device state.
async fn complete(
    remote: &mut Remote,
    slots: &MemSlots,
    memory: &mut impl GuestMemory<Error: Display>,
    devices: &mut dyn Handover,
    config: &MigrateConfig,
    listener: &mut dyn MigrateListener,
) -> Result<u64, String> {
    listener.phase(Phase::Devices);
    let state = devices.device_state()?;
    let all = slots.iter().map(|slot| slot.base.0..slot.end().0);
    let digest = config.verify.then(|| memory::digest(all, |pages, into| memory.read(pages, into))).transpose();
    let digest = digest.map_err(|error| error.to_string())?;
    let mut parts = state.chunks(MAX_CHUNK).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        remote.say(Frame::DeviceState { last, bytes: part.to_vec() }).await;
    }
    remote.say(Frame::Commit { length: slots.pages() * PAGE_SIZE, digest }).await;
    remote.committed().await.map_err(|error| error.to_string())?;
    devices.give_away()?;
    Ok(state.len() as u64)
}
