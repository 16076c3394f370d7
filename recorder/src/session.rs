//! A recording from start to end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pagesieve_core::Nanos;
use pagesieve_ebpf::HookChoice;
use pagesieve_traces::{CreateOptions, EventSource, Frame, Happening, Header, Note, Target as Observed, Writer};

use crate::content::Content;
use crate::epoch::{Closed, Observer};
use crate::error::RecordError;
use crate::events::{Events, SourceChoice};
use crate::maps::Region;
use crate::qemu::Guest;
use crate::tail::Tail;
use crate::target::{CommandOutput, Target, TargetSpec, machine};
use crate::writes::WriteTracking;

/// How often the ring is emptied. At a million events a second it holds 24 MB/s, so this keeps a default ring a tenth full.
const TICK: Duration = Duration::from_millis(20);

/// Most pages of a process that are tracked by default: 4 GiB.
pub const DEFAULT_PAGE_LIMIT: u64 = 1 << 20;

/// How to record. The defaults are those of the command.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where events come from.
    pub source: SourceChoice,
    /// Which hooks the kernel program may use.
    pub hooks: HookChoice,
    /// How to learn of writes.
    pub writes: WriteTracking,
    /// Which mappings to track; none means all writable anonymous, memfd and shmem mappings of at least 1 MiB.
    pub regions: Vec<Region>,
    /// Length of an epoch. The default is a second.
    pub epoch: Duration,
    /// When to stop; `None` means when the target ends or the caller asks.
    pub duration: Option<Duration>,
    /// Summarise page contents at each epoch's end, with the target stopped meanwhile.
    pub fingerprints: bool,
    /// Workload class to note in the trace.
    pub class: Option<String>,
    /// Size of the event ring in bytes; rounded up to a power of two.
    pub ring_bytes: u32,
    /// Most pages to track; frames of a guest count from its address zero. `None` is [`DEFAULT_PAGE_LIMIT`], or as many as the guest
    /// has.
    pub page_limit: Option<u64>,
    /// Where the output of a command goes.
    pub command_output: CommandOutput,
    /// The trace to write.
    pub output: PathBuf,
    /// Replace an existing file.
    pub force: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: SourceChoice::Auto,
            hooks: HookChoice::Auto,
            writes: WriteTracking::Auto,
            regions: Vec::new(),
            epoch: Duration::from_secs(1),
            duration: None,
            fingerprints: false,
            class: None,
            ring_bytes: 8 << 20,
            page_limit: None,
            command_output: CommandOutput::Inherit,
            output: PathBuf::from("pagesieve.trace"),
            force: false,
        }
    }
}

/// How far a recording is, and at its end what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Time since the recording started.
    pub elapsed: Duration,
    /// Epochs closed; the baseline does not count.
    pub epochs: u64,
    /// Access events.
    pub events: u64,
    /// Access events lost.
    pub lost: u64,
    /// Pages in the last dirty log.
    pub dirty_pages: u64,
    /// Length of the last epoch.
    pub last_epoch: Duration,
    /// Pages tracked.
    pub pages: u64,
    /// Bytes written to the trace.
    pub bytes: u64,
}

/// What a recording was made with, known once it has started.
#[derive(Clone, Debug)]
pub struct Started {
    /// Process observed.
    pub pid: u32,
    /// Where the events come from.
    pub source: EventSource,
    /// Why not from the kernel program, if they do not.
    pub fallback: Option<String>,
    /// Hooks in use.
    pub hooks: Vec<String>,
    /// How memory is armed.
    pub arming: String,
    /// The guest that is recorded, in words; `None` if it is a process.
    pub guest: Option<String>,
    /// Why a QEMU is recorded like any other process, if it is.
    pub no_guest: Option<String>,
}

/// What the caller wants to hear of a recording.
pub trait Listener {
    /// It has started.
    fn started(&mut self, _started: &Started) {}
    /// An epoch was closed.
    fn epoch(&mut self, _progress: &Progress) {}
}

impl Listener for () {}

/// Records until the target ends, the duration is over, or `stop` is set. What was recorded is kept whatever happens.
///
/// # Errors
/// See [`RecordError`]. The target is never harmed: at the worst it goes on unobserved.
pub fn record(
    spec: &TargetSpec,
    options: &Options,
    stop: &AtomicBool,
    listener: &mut dyn Listener,
) -> Result<Progress, RecordError> {
    let writes = options.writes.choose()?;
    // Refuse before anything is started or stopped.
    if !options.force && options.output.exists() {
        return Err(pagesieve_traces::WriteError::Exists { path: options.output.clone() }.into());
    }
    // Who chooses mappings wants just these.
    let mut target = Target::start(spec, !options.regions.is_empty(), options.command_output)?;
    let (table, page_limit) = page_limits(&target, options.page_limit);
    let (events, fallback) = Events::open(target.pid, options.source, options.hooks, options.ring_bytes, table)?;
    let content = options.fingerprints.then(Content::new).transpose();
    let content = content.map_err(|error| RecordError::System { what: "draw a fingerprint key", error })?;
    let writes = writes.open(&target)?;
    let observer = Observer::new(&mut target, writes, events, content, options.regions.clone(), page_limit)?;
    let mut session = Session { observer, started: Instant::now(), progress: Progress::default(), options };
    listener.started(&session.describe(&target, fallback));
    let first = session.baseline(&target)?;
    if !matches!(spec, TargetSpec::Command(_)) && session.observer.slots().is_empty() {
        return Err(no_memory(&target, options));
    }
    let header = Header {
        class: options.class.clone(),
        epoch_length: options.epoch.into(),
        fingerprints: options.fingerprints,
        ..header(&session.observer, &target)
    };
    let mut tail = Tail::new(Writer::create_with(&options.output, &header, CreateOptions { force: options.force })?);
    session.hold(&mut tail, first)?;
    let ended = session.run(&mut target, stop, &mut tail, listener);
    // Whatever ended the recording, what was recorded so far is kept.
    session.progress.bytes = tail.finish(ended.as_ref().ok().cloned())?;
    ended?;
    Ok(session.progress)
}

/// How many pages the table of the kernel program holds, and how many are tracked. A guest may get more memory than it has now: its
/// events are reported all the same, beyond the table.
pub(crate) fn page_limits(target: &Target, wanted: Option<u64>) -> (u64, u64) {
    let guest_frames = target.guest.as_ref().map(Guest::frame_end);
    let table = wanted.unwrap_or(DEFAULT_PAGE_LIMIT.max(guest_frames.unwrap_or(0)));
    (table, wanted.unwrap_or(if guest_frames.is_some() { u64::MAX } else { DEFAULT_PAGE_LIMIT }))
}

/// What a trace of this target says of it at its start.
pub(crate) fn header(observer: &Observer, target: &Target) -> Header {
    let kind = if observer.guest().is_some() { "qemu" } else { "process" };
    Header {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        clock: "CLOCK_MONOTONIC".to_owned(),
        machine: machine(),
        source: observer.events.source(),
        hooks: observer.events.hooks(),
        arming: observer.arming(),
        target: Observed { kind: kind.to_owned(), pid: target.pid, command: target.command.clone() },
        class: None,
        epoch_length: Nanos(0),
        fingerprints: false,
        fingerprint_key: None,
        slots: observer.slots(),
    }
}

fn no_memory(target: &Target, options: &Options) -> RecordError {
    let hint = if options.regions.is_empty() {
        "it has no writable anonymous or shared-memory mapping of 1 MiB or more; choose one with --region"
    } else {
        "no mapping that can be tracked matches --region; see /proc/PID/maps"
    };
    RecordError::NoMemory { pid: target.pid, hint }
}

struct Session<'a> {
    observer: Observer,
    started: Instant,
    progress: Progress,
    options: &'a Options,
}

impl Session<'_> {
    fn describe(&self, target: &Target, fallback: Option<String>) -> Started {
        Started {
            pid: self.observer.pid,
            source: self.observer.events.source(),
            fallback,
            hooks: self.observer.events.hooks(),
            arming: self.observer.arming(),
            guest: self.observer.guest().map(Guest::describe),
            no_guest: target.no_guest.clone(),
        }
    }

    /// Closes epoch 0: finds and arms the target's memory.
    fn baseline(&mut self, target: &Target) -> Result<Frame, RecordError> {
        loop {
            match self.observer.close()? {
                Closed::Frame(frame) => return Ok(*frame),
                Closed::Postponed => {}
                Closed::TargetEnded => return Err(RecordError::EndedEarly { pid: target.pid }),
            }
        }
    }

    /// Closes epoch after epoch. Returns what ended the recording.
    fn run(
        &mut self,
        target: &mut Target,
        stop: &AtomicBool,
        tail: &mut Tail,
        listener: &mut dyn Listener,
    ) -> Result<Note, RecordError> {
        loop {
            let due = self.next_close();
            let mut last = false;
            while Instant::now() < due && !last {
                last = stop.load(Ordering::Relaxed) || target.wait(TICK.min(due.saturating_duration_since(Instant::now())));
                self.observer.events.drain();
            }
            last |= self.options.duration.is_some_and(|duration| self.started.elapsed() >= duration);
            match self.observer.close()? {
                Closed::Frame(frame) => {
                    self.hold(tail, *frame)?;
                    listener.epoch(&self.progress);
                }
                Closed::Postponed => continue,
                Closed::TargetEnded => return Ok(self.note(target.ending())),
            }
            if last && target.has_ended() {
                return Ok(self.note(target.ending()));
            }
            if last || stop.load(Ordering::Relaxed) {
                return Ok(self.note(Happening::Message("recording stopped".to_owned())));
            }
        }
    }

    /// An epoch counts from the end of the one before: summarising that one's content takes time of its own.
    fn next_close(&self) -> Instant {
        let due = Instant::now() + self.options.epoch.saturating_sub(self.observer.epoch_age());
        self.options.duration.map_or(due, |duration| due.min(self.started + duration))
    }

    fn note(&self, what: Happening) -> Note {
        Note { time: self.observer.events.now(), what }
    }

    /// Takes the frame into the trace and into the progress.
    fn hold(&mut self, tail: &mut Tail, frame: Frame) -> Result<(), RecordError> {
        self.progress = Progress {
            elapsed: self.started.elapsed(),
            epochs: u64::from(frame.epoch.0),
            events: self.progress.events + frame.events.len() as u64,
            lost: self.progress.lost + frame.lost.events(),
            dirty_pages: frame.log.all().count(),
            last_epoch: Duration::from_nanos(frame.end.since(frame.start).0),
            pages: self.observer.layout.pages().count(),
            bytes: 0,
        };
        tail.hold(frame)?;
        self.progress.bytes = tail.bytes_written();
        Ok(())
    }
}
