//! The loop around the engine.

use std::fmt::Display;

use pagesieve_core::block::bytes_of;
use pagesieve_core::ports::{AccessSource, ClosedEpoch, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Access, Action, BlockId, BlockSummary, Coverage, Fingerprint, Migration, Nanos, Report, delta};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::destination::{Answer, Destination, Outgoing};

/// How often accesses are fetched. A default ring is then a tenth full at a million accesses a second.
const DRAIN: Nanos = Nanos(20 * Nanos::MILLISECOND.0);

/// Told what happens. All calls do nothing unless overridden.
pub trait Observer {
    /// The engine has an action; or none, and time goes by.
    fn turn(&mut self, now: Nanos, migration: &Migration) {
        let _ = (now, migration);
    }

    /// The engine wants this.
    fn action(&mut self, now: Nanos, action: &Action) {
        let _ = (now, action);
    }

    /// Something failed, and the engine deals with it.
    fn trouble(&mut self, now: Nanos, what: &str, error: &dyn Display) {
        let _ = (now, what, error);
    }

    /// The destination is lost; the run ends. Told as trouble unless overridden.
    fn lost(&mut self, now: Nanos, error: &dyn Display) {
        self.trouble(now, "send blocks", error);
    }
}

/// An observer that looks away.
impl Observer for () {}

/// No accesses are known: which pages were written is for the dirty log to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl AccessSource for NoEvents {
    type Error = std::convert::Infallible;

    fn drain(&mut self, _: &mut dyn FnMut(Access)) -> Result<u64, Self::Error> {
        Ok(0)
    }
}

/// Why a run ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The migration failed, and then the guest could not be resumed either.
    #[error("resume the guest after the migration failed: {0}; it is stopped, resume it by hand")]
    Resume(String),
}

/// The block that was read last.
#[derive(Debug, Default)]
struct Read {
    bytes: Vec<u8>,
    fingerprint: Option<Fingerprint>,
}

/// Everything that a migration needs from the world, and the loop over it.
#[derive(Debug)]
pub struct Driver<A, L, M, G, D, C, O> {
    /// The accesses of the guest.
    pub accesses: A,
    /// Its dirty log.
    pub log: L,
    /// Its memory.
    pub memory: M,
    /// The guest itself.
    pub guest: G,
    /// Where its memory goes.
    pub destination: D,
    /// The time.
    pub clock: C,
    /// Whoever watches.
    pub observer: O,
    /// Collision-resistant hash of a block, for `same_content`. Without it every block that was written is sent.
    pub fingerprint: Option<fn(&[u8]) -> Fingerprint>,
    /// Becomes true when the handover is wanted.
    pub handover: watch::Receiver<bool>,
}

impl<A, L, M, G, D, C, O> Driver<A, L, M, G, D, C, O>
where
    A: AccessSource<Error: Display>,
    L: DirtyLog<Error: Display>,
    M: GuestMemory<Error: Display>,
    G: PausableGuest<Error: Display>,
    D: Destination,
    C: Clock,
    O: Observer,
{
    /// Turns the migration until it is over. The report says whether the destination has the guest's memory; if not, the guest
    /// runs here.
    ///
    /// # Errors
    /// The guest stands still and cannot be resumed.
    pub async fn run(&mut self, migration: &mut Migration) -> Result<Report, RunError> {
        let (mut read, mut lost) = (Read::default(), false);
        loop {
            self.drain(migration);
            let tick = self.clock.now().after(DRAIN);
            if *self.handover.borrow_and_update() {
                migration.request_handover(self.clock.now());
            }
            while let Some(action) = migration.poll_action() {
                self.observer.turn(self.clock.now(), migration);
                self.observer.action(self.clock.now(), &action);
                if let Action::Finish(report) = action {
                    return Ok(*report);
                }
                self.perform(migration, action, &mut read).await?;
                while let Some(answer) = self.destination.try_answer() {
                    self.answered(migration, answer);
                }
                if self.clock.now() >= tick {
                    break;
                }
            }
            self.observer.turn(self.clock.now(), migration);
            let until =
                if self.clock.now() >= tick { tick } else { migration.poll_timeout().map_or(tick, |time| time.min(tick)) };
            tokio::select! {
                answer = self.destination.answer() => self.answered(migration, answer),
                () = self.clock.sleep_until(until) => {}
                Ok(()) = self.handover.changed() => self.handover.mark_changed(),
            }
            migration.handle_timeout(self.clock.now());
            self.give_up_if_lost(migration, &mut lost);
        }
    }

    /// To try each block again would take long and change nothing.
    fn give_up_if_lost(&mut self, migration: &mut Migration, told: &mut bool) {
        if let Some(error) = self.destination.lost().filter(|_| !*told) {
            *told = true;
            self.observer.lost(self.clock.now(), error);
            migration.abort(self.clock.now());
        }
    }

    fn drain(&mut self, migration: &mut Migration) {
        let now = self.clock.now();
        match self.accesses.drain(&mut |access| migration.handle_access(now, access)) {
            Ok(0) => {}
            Ok(lost) => migration.handle_lost(now, lost),
            Err(error) => {
                self.observer.trouble(now, "read the accesses", &error);
                // How many is unknown; that there were some matters.
                migration.handle_lost(now, 1);
            }
        }
    }

    async fn perform(&mut self, migration: &mut Migration, action: Action, read: &mut Read) -> Result<(), RunError> {
        match action {
            Action::CloseEpoch => self.close(migration),
            Action::Pause => match self.guest.pause() {
                Ok(()) => migration.handle_paused(self.clock.now()),
                Err(error) => {
                    self.observer.trouble(self.clock.now(), "pause the guest", &error);
                    migration.abort(self.clock.now());
                }
            },
            Action::Resume => self.guest.resume().map_err(|error| RunError::Resume(error.to_string()))?,
            Action::Throttle(percent) => {
                if let Err(error) = self.guest.throttle(percent) {
                    self.observer.trouble(self.clock.now(), "slow the guest down", &error);
                }
            }
            Action::ReadBlock(block) => self.read(migration, block, read),
            Action::Send { block, .. } => {
                let (pages, Read { bytes, fingerprint }) = (migration.blocks().pages(block), &*read);
                self.destination.put(Outgoing { block, pages, bytes, fingerprint: *fingerprint }).await;
            }
            Action::SendZero(block) => self.destination.zero(block, migration.blocks().pages(block)).await,
            Action::Skip { .. } | Action::Defer { .. } | Action::Finish(_) => {}
        }
        Ok(())
    }

    fn close(&mut self, migration: &mut Migration) {
        let epoch = migration.open_epoch();
        let closed = self.log.close(epoch).unwrap_or_else(|error| {
            self.observer.trouble(self.clock.now(), "read the dirty log", &error);
            ClosedEpoch::unproven()
        });
        // What was touched before the log was read is known before anything is decided on it.
        self.drain(migration);
        let now = self.clock.now();
        if let Some(slots) = &closed.slots
            && let Err(error) = migration.handle_slots(now, slots)
        {
            self.observer.trouble(now, "take over the memory slots", &error);
            // Reading the log has cleared it: whoever tries again must not take its pages for clean.
            migration.handle_dirty_log(now, epoch, &closed.log, Coverage::Partial);
            return migration.abort(now);
        }
        if let Some(populated) = &closed.populated {
            migration.handle_populated(now, epoch, populated);
        }
        migration.handle_dirty_log(now, epoch, &closed.log, closed.coverage);
    }

    fn read(&mut self, migration: &mut Migration, block: BlockId, read: &mut Read) {
        let pages = migration.blocks().pages(block);
        let raw_len = bytes_of(&pages);
        read.bytes.resize(raw_len as usize, 0);
        if let Err(error) = self.memory.read(pages, &mut read.bytes) {
            self.observer.trouble(self.clock.now(), "read guest memory", &error);
            return migration.handle_failed(self.clock.now(), block);
        }
        read.fingerprint = self.fingerprint.map(|hash| hash(&read.bytes));
        let zero = delta::is_zero(&read.bytes);
        let summary = BlockSummary { zero, fingerprint: read.fingerprint, raw_len, wire_len: raw_len };
        migration.handle_block(self.clock.now(), block, summary);
    }

    fn answered(&mut self, migration: &mut Migration, Answer { block, result }: Answer<D::Error>) {
        let now = self.clock.now();
        match result {
            Ok(wire_bytes) => {
                migration.handle_sent(now, block, wire_bytes);
                migration.handle_acked(now, block);
            }
            Err(error) => {
                self.observer.trouble(now, "send a block", &error);
                migration.handle_failed(now, block);
            }
        }
    }
}
