//! The handles of a live target: each one trait of the engine.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use pagesieve_core::ports::{AccessSource, ClosedEpoch, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Access, Coverage, Epoch, MemSlots, Nanos, SlotError};
use pagesieve_traces::Frame;

use super::{LiveError, Shared};

/// The accesses of a target.
pub struct Accesses {
    shared: Rc<RefCell<Shared>>,
    /// Time zero of the handle, by the clock of the events.
    zero: Nanos,
}

/// The dirty log of a target.
pub struct Log(Rc<RefCell<Shared>>);

/// The memory of a target.
pub struct Memory(Rc<RefCell<Shared>>);

/// A guest that can be paused: by its monitor.
pub struct Pausable(Rc<RefCell<Shared>>);

impl Accesses {
    pub(super) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        let zero = shared.borrow().observer.events.now();
        Self { shared, zero }
    }
}

impl Log {
    pub(super) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self(shared)
    }
}

impl Memory {
    pub(super) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self(shared)
    }
}

impl Pausable {
    pub(super) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self(shared)
    }
}

impl AccessSource for Accesses {
    type Error = LiveError;

    fn drain(&mut self, each: &mut dyn FnMut(Access)) -> Result<u64, LiveError> {
        let (accesses, lost) = self.shared.borrow_mut().observer.events.take_fresh();
        accesses.into_iter().for_each(|access| each(Access { time: Nanos(access.time.since(self.zero).0), ..access }));
        Ok(lost)
    }
}

impl DirtyLog for Log {
    type Error = LiveError;

    fn close(&mut self, _epoch: Epoch) -> Result<ClosedEpoch, LiveError> {
        let mut shared = self.0.borrow_mut();
        let closed = shared.frame().and_then(|frame| Ok(told(frame, shared.in_doubt)?));
        // A closing that failed may have armed pages into which something lands yet: that falls into the next epoch.
        shared.in_doubt = closed.is_err();
        closed
    }
}

/// What a frame tells the engine. Pages outside its log are proven clean, unless the closing before it failed.
pub(super) fn told(frame: Frame, in_doubt: bool) -> Result<ClosedEpoch, SlotError> {
    Ok(ClosedEpoch {
        log: frame.log.all(),
        coverage: if in_doubt { Coverage::Partial } else { Coverage::Complete },
        populated: Some(frame.populated),
        slots: frame.slots.map(MemSlots::from_slots).transpose()?,
    })
}

impl GuestMemory for Memory {
    type Error = LiveError;

    fn read(&mut self, pages: Range<u64>, into: &mut [u8]) -> Result<(), LiveError> {
        Ok(self.0.borrow_mut().observer.read_frames(pages, into)?)
    }
}

impl PausableGuest for Pausable {
    type Error = LiveError;

    /// Stops the guest and drains its I/O, or the threads of a process; closings in between leave it stopped. Where a migration wants it, the state of its
    /// devices is taken at once: QEMU may write RAM while it saves them, and the closing that follows sees that.
    fn pause(&mut self) -> Result<(), LiveError> {
        let shared = &mut *self.0.borrow_mut();
        if shared.stops_threads && shared.observer.guest().is_none() {
            let pid = shared.observer.pid;
            return shared.observer.hold().map_err(|error| LiveError::Hold { pid, error });
        }
        let guest = shared.observer.guest_mut().ok_or(LiveError::NoMonitor)?;
        if !guest.hold()? {
            return Err(LiveError::NoMonitor);
        }
        if let Some(limits) = &shared.device_state {
            shared.state = Some(guest.take_device_state(limits)?);
        }
        Ok(())
    }

    /// Lets it go on here, also after its device state was taken. A guest that someone else had stopped stays stopped.
    fn resume(&mut self) -> Result<(), LiveError> {
        let shared = &mut *self.0.borrow_mut();
        shared.state = None;
        if shared.stops_threads && shared.observer.guest().is_none() {
            shared.observer.release();
            return Ok(());
        }
        let guest = shared.observer.guest_mut().ok_or(LiveError::NoMonitor)?;
        Ok(guest.release()?)
    }
}

macro_rules! opaque {
    ($($handle:ident),*) => {$(
        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(Accesses, Log, Memory, Pausable);
