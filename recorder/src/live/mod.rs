//! A running target as an engine needs it: its accesses, its dirty log, its memory, and a guest that can be stopped.
//!
//! [`LiveTarget`] closes epochs exactly as a recording does, and hands each out at once instead of writing it down. The four
//! handles it gives out implement the traits of [`pagesieve_core::ports`] and share the target.
//!
//! # Why a page that is copied while a disk writes into it is not lost
//!
//! Direct I/O pins the pages it writes to *when it is submitted*. Pinning for a write takes a fault on an armed page, so it is
//! a write of the epoch in which the I/O was submitted. The data arrives later, and takes no fault: if the page was armed again
//! in between, nothing tells of it. So what must not happen is that a closing falls between the submission and the arrival.
//!
//! Each closing therefore stops a guest by its monitor, and that `stop` waits for all I/O in flight; then it scans and arms; then
//! it lets the guest go on. Take any arrival of data. It lies between two closings, because none is under way while a guest is
//! drained; its submission lies between the same two. So the page is in the log of that very epoch `E`. The engine counts what
//! it read while `E` was open as content of `E-1`, so whether it read the page before, while or after the data arrived, the
//! log of `E` makes that copy stale. This holds for the copies of round 0 too, which are read while epoch 1 is open: the closing
//! that ends epoch 0 is the one in [`LiveTarget::open`], drained like any other. The last copies are made with the guest held,
//! after a closing with nothing in flight, and nothing new can be submitted.
//!
//! There is a hole for every link of this that breaks, and each is closed by doubt, not by hope:
//!
//! - *The guest cannot be drained* (no monitor, it was lost, or someone let the guest go on): where direct I/O is possible, all
//!   pages are in the log of this epoch and of the next one, into which the arrival may fall.
//! - *A closing fails after it has armed some pages*: the engine is told that nothing is proven of that epoch, and, since data may
//!   arrive and mappings may have changed in the meantime, that nothing is proven of the next one either.
//! - *QEMU itself writes RAM when its devices are saved*: so their state is taken when the guest is paused, *before* the last
//!   closing, and [`LiveTarget::written_since`] says whether anything was written after it.
//! - *Memory pinned for long* (vfio, RDMA, fixed buffers of io_uring) takes data in every epoch without a fault. No stop helps:
//!   such devices are refused where they can be seen.

mod error;
mod file;
mod options;
mod ports;
mod ram;
mod recording;
mod watch;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use pagesieve_core::{Epoch, MemSlots, PageBitmap};
use pagesieve_traces::{EventSource, Frame, WriteError};

pub use crate::qemu::{DeviceState, Incoming, RamLayout, RamPart, StateError, StateLimits};
pub use error::LiveError;
pub use file::FileLog;
pub use options::{LiveOptions, Status};
pub use ports::{Accesses, Log, Memory, Pausable};
pub use ram::DestinationRam;
pub use recording::RecordTo;

use crate::epoch::{Closed, Observer};
use crate::error::RecordError;
use crate::events::{Events, SourceChoice};
use crate::maps::FileId;
use crate::qemu::Guest;
use crate::session::{header, page_limits};
use crate::target::{Target, TargetSpec};
use crate::writes::{self, WriteLog, WriteTracking};
use recording::Recording;

/// Hears of every frame.
pub type FrameListener = Box<dyn FnMut(&Frame)>;

/// A target under observation. Handles share it; when the last is dropped, its memory is disarmed and a guest that we stopped
/// goes on.
pub struct LiveTarget {
    shared: Rc<RefCell<Shared>>,
    status: Status,
    slots: MemSlots,
    populated: PageBitmap,
}

struct Shared {
    observer: Observer,
    /// Dropped, it ends a command that we started.
    target: Target,
    /// The closing before failed after it may have armed some pages.
    in_doubt: bool,
    stops_threads: bool,
    device_state: Option<StateLimits>,
    state: Option<DeviceState>,
    listener: Option<FrameListener>,
    recording: Option<Recording>,
}

impl fmt::Debug for LiveTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTarget").field("status", &self.status).finish_non_exhaustive()
    }
}

impl LiveTarget {
    /// Finds the target, arms its memory, and closes epoch 0. A guest is stopped for that moment.
    ///
    /// # Errors
    /// See [`LiveError`]. The target is never harmed.
    pub fn open(spec: &TargetSpec, options: &LiveOptions, listener: Option<FrameListener>) -> Result<Self, LiveError> {
        Self::open_with(spec, options, listener, None)
    }

    /// The same, or of one file only, by its pages.
    fn open_with(
        spec: &TargetSpec,
        options: &LiveOptions,
        listener: Option<FrameListener>,
        source: Option<FileId>,
    ) -> Result<Self, LiveError> {
        if let Some(to) = options.record.as_ref().filter(|to| !to.force && to.path.exists()) {
            return Err(WriteError::Exists { path: to.path.clone() }.into());
        }
        let mut target = Target::start(spec, source.is_some() || !options.regions.is_empty(), options.command_output)?;
        let (table, mut page_limit) = page_limits(&target, options.page_limit);
        if source.is_some() {
            // The pages of a file are counted from its start, wherever it is mapped.
            page_limit = u64::MAX;
        }
        let from = if options.require_ebpf { SourceChoice::Ebpf } else { options.source };
        let (mut events, ebpf_fallback) = Events::open(target.pid, from, options.hooks, options.ring_bytes, table)?;
        events.keep_fresh();
        let (writes, writes_fallback) = tracking(&target, options)?;
        let mut observer = Observer::new(&mut target, writes, events, None, options.regions.clone(), page_limit)?;
        observer.stops_guest = options.stops_guest;
        observer.source = source;
        let status = Status {
            pid: target.pid,
            ebpf_enabled: observer.events.source() == EventSource::Ebpf,
            ebpf_fallback,
            hooks: observer.events.hooks(),
            arming: observer.arming(),
            tracks_writes: writes_fallback.is_none(),
            writes_fallback,
            guest: observer.guest().map(Guest::describe),
        };
        let mut shared = Shared {
            observer,
            target,
            in_doubt: false,
            stops_threads: options.stops_threads,
            device_state: options.device_state,
            state: None,
            listener,
            recording: None,
        };
        let first = shared.frame()?;
        shared.record(options.record.as_ref(), &first)?;
        let slots = MemSlots::from_slots(shared.observer.slots())?;
        // A command may get its memory later.
        if slots.is_empty() && !matches!(spec, TargetSpec::Command(_)) {
            return Err(LiveError::NoMemory { pid: status.pid });
        }
        Ok(Self { shared: Rc::new(RefCell::new(shared)), status, slots, populated: first.populated })
    }

    /// What it is observed with.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The memory slots at the end of epoch 0.
    #[must_use]
    pub fn slots(&self) -> &MemSlots {
        &self.slots
    }

    /// The pages that held data at the end of epoch 0, for `Migration::handle_populated`.
    #[must_use]
    pub fn populated(&self) -> &PageBitmap {
        &self.populated
    }

    /// The epoch that is open after [`LiveTarget::open`]: the migration's first.
    #[must_use]
    pub fn first_epoch(&self) -> Epoch {
        Epoch(1)
    }

    /// The accesses. Their times count from this call: start the clock of the migration with it.
    #[must_use]
    pub fn accesses(&self) -> Accesses {
        Accesses::new(Rc::clone(&self.shared))
    }

    /// The dirty log.
    #[must_use]
    pub fn log(&self) -> Log {
        Log::new(Rc::clone(&self.shared))
    }

    /// The memory.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory::new(Rc::clone(&self.shared))
    }

    /// The guest, to be paused and resumed.
    #[must_use]
    pub fn guest(&self) -> Pausable {
        Pausable::new(Rc::clone(&self.shared))
    }

    /// What a destination must agree with.
    ///
    /// # Errors
    /// If there is no monitor to ask, or some RAM is not shared.
    pub fn ram_layout(&self) -> Result<RamLayout, LiveError> {
        self.with_guest(|guest| Ok(guest.ram_layout()?))
    }

    /// The device state that the pause has taken; `None` if it took none. It is handed out once.
    #[must_use]
    pub fn take_device_state(&self) -> Option<DeviceState> {
        self.shared.borrow_mut().state.take()
    }

    /// Pages that may have been written since the last closing. For a guest that was paused before the last closing it must be
    /// empty; if it is not, the destination must not run.
    #[must_use]
    pub fn written_since(&self) -> PageBitmap {
        self.shared.borrow_mut().observer.written_since()
    }

    /// The point of no return, before the destination lets the guest go on: from here on nothing of ours resumes it here, not
    /// even if we die.
    ///
    /// # Errors
    /// It is then still ours: resume it here.
    pub fn give_away(&self) -> Result<(), LiveError> {
        self.with_guest(|guest| Ok(guest.give_away()?))
    }

    /// The destination certainly does not run the guest that was given away: it goes on here.
    ///
    /// # Errors
    /// It stands still, and must be let go on by hand.
    pub fn take_back(&self) -> Result<(), LiveError> {
        self.with_guest(|guest| Ok(guest.take_back()?))
    }

    /// Ends the trace that is written beside, with this word, and returns its bytes; 0 if there is none or it was ended before.
    ///
    /// # Errors
    /// What kept it from being written. All frames before that are in it.
    pub fn end_recording(&self, what: &str) -> Result<u64, LiveError> {
        let shared = &mut *self.shared.borrow_mut();
        let now = shared.observer.events.now();
        Ok(shared.recording.as_mut().map_or(Ok(0), |recording| recording.end(now, what))?)
    }

    /// Takes in what the kernel has reported so far. To be called several times a second while nobody asks for accesses: what it
    /// reports of discards and forks has only so much room.
    pub fn drain(&self) {
        let _ = self.shared.borrow_mut().observer.events.take_fresh();
    }

    /// Waits until the target ends, at most `timeout`. Returns true if it has ended. A signal may end the wait early.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.shared.borrow().target.wait(timeout)
    }

    fn with_guest<T>(&self, act: impl FnOnce(&mut Guest) -> Result<T, LiveError>) -> Result<T, LiveError> {
        act(self.shared.borrow_mut().observer.guest_mut().ok_or(LiveError::NoMonitor)?)
    }
}

/// The best way to learn of writes, and why there is none.
fn tracking(target: &Target, options: &LiveOptions) -> Result<(Box<dyn WriteLog>, Option<String>), LiveError> {
    match options.writes.choose().and_then(|way| way.open(target)) {
        Ok(log) => Ok((log, None)),
        Err(error @ (RecordError::NoWriteTracking | RecordError::Arming(_)))
            if !options.require_ebpf && options.writes == WriteTracking::Auto =>
        {
            Ok((writes::untracked(target)?, Some(error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}

impl Shared {
    /// Begins a trace, if one is wanted, with the first frame.
    fn record(&mut self, to: Option<&RecordTo>, first: &Frame) -> Result<(), LiveError> {
        if let Some(to) = to {
            let mut recording = Recording::create(to, header(&self.observer, &self.target))?;
            recording.frame(first);
            self.recording = Some(recording);
        }
        Ok(())
    }

    /// Closes an epoch, and tries again if a thread would not stop.
    fn frame(&mut self) -> Result<Frame, LiveError> {
        const TRIES: u32 = 3;
        for _ in 0..TRIES {
            match self.observer.close()? {
                Closed::Frame(frame) => {
                    if let Some(listener) = &mut self.listener {
                        listener(&frame);
                    }
                    if let Some(recording) = &mut self.recording {
                        recording.frame(&frame);
                    }
                    return Ok(*frame);
                }
                Closed::Postponed => {}
                Closed::TargetEnded => return Err(LiveError::Ended { pid: self.observer.pid }),
            }
        }
        Err(LiveError::DoesNotStop { pid: self.observer.pid })
    }
}

#[cfg(test)]
mod tests;
