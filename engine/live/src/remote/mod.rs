//! A destination on another machine: blocks are encoded and sent by one task for each stream, and answered by acknowledgements.

mod bases;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pagesieve_core::block::bytes_of;
use pagesieve_core::delta::PageCounts;
use pagesieve_core::{BlockId, BlockSummary, Blocks, Fingerprint, Migration};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::destination::{Answer, Destination, Outgoing};
use crate::transport::Session;
use crate::wire::{Frame, Held, MAX_BLOCK_PAGES, Open, Span, Text};
use bases::{Bases, Bytes, Hashes};
use stream::Job;

/// Blocks that wait for a stream's task. More would only be memory: the task encodes one at a time.
const QUEUE: usize = 4;

/// Why a block did not arrive.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct RemoteError {
    /// What the destination or the connection says.
    pub text: Text,
    /// The destination itself said so; if not, nobody knows what it did.
    pub refused: bool,
}

/// A block that was given to a stream and not answered.
#[derive(Debug)]
struct OnWay {
    block: BlockId,
    first: u64,
    /// What the destination holds once it has acknowledged it; `None` for zeros.
    bytes: Option<Bytes>,
    /// The hashes of its pages, once it is encoded.
    hashes: Option<Hashes>,
    /// Its bytes on the wire.
    wire: u64,
}

/// What the streams and the session share.
#[derive(Debug, Default)]
struct Shared {
    on_way: HashMap<u64, OnWay>,
    traffic: Traffic,
}

/// What went over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that were sent on all streams since the greeting, without what TLS and TCP add.
    pub sent: u64,
    /// Bytes that came back.
    pub received: u64,
    /// The forms of the pages that were sent.
    pub forms: PageCounts,
}

impl Shared {
    /// A block was encoded.
    fn encoded(&mut self, sequence: u64, wire: u64, forms: PageCounts, hashes: Hashes) {
        self.traffic.forms += forms;
        if let Some(on_way) = self.on_way.get_mut(&sequence) {
            (on_way.wire, on_way.hashes) = (wire, Some(hashes));
        }
    }
}

type Common = Arc<Mutex<Shared>>;

/// The streams of a session.
#[derive(Debug)]
pub(crate) struct Remote {
    jobs: Vec<mpsc::Sender<Job>>,
    answers: mpsc::UnboundedReceiver<Result<Frame, Text>>,
    common: Common,
    /// What deltas are built on; `None` if the destination has nothing to build on.
    bases: Option<Bases>,
    /// Answers to blocks that nobody has fetched yet.
    ready: VecDeque<Answer<RemoteError>>,
    /// Why the session is over, if it is.
    broken: Option<RemoteError>,
    next: u64,
    _tasks: JoinSet<()>,
}

impl Remote {
    /// Starts the tasks of a session. Up to `room` bytes are kept of what was sent, for deltas. A destination that holds a file has
    /// nothing to build on: `room` is `None` then.
    pub(crate) fn start(session: Session, room: Option<u64>) -> Self {
        let (to_us, answers) = mpsc::unbounded_channel();
        let common = Common::default();
        let mut tasks = JoinSet::new();
        let jobs = session.streams.into_iter().map(|connection| {
            let (reader, writer) = connection.split();
            let (jobs, queue) = mpsc::channel(QUEUE);
            tasks.spawn(stream::read(reader, common.clone(), to_us.clone()));
            tasks.spawn(stream::write(writer, queue, common.clone(), to_us.clone()));
            jobs
        });
        Self {
            jobs: jobs.collect(),
            answers,
            common,
            bases: room.map(Bases::new),
            ready: VecDeque::new(),
            broken: None,
            next: 0,
            _tasks: tasks,
        }
    }

    /// What went over the wire so far.
    pub(crate) fn traffic(&self) -> Traffic {
        lock(&self.common).traffic
    }

    /// Sends a frame of control.
    pub(crate) async fn say(&mut self, frame: Frame) {
        // A stream that is gone has told why, and that is read next.
        let _ = self.jobs[0].send(Job::Frame(frame)).await;
    }

    /// The next frame of control.
    pub(crate) async fn hear(&mut self) -> Result<Frame, RemoteError> {
        loop {
            if let Some(why) = &self.broken {
                return Err(why.clone());
            }
            let answer = self.answers.recv().await;
            if let Some(frame) = self.sort(answer) {
                return Ok(frame);
            }
        }
    }

    /// Opens something, and returns what the destination holds of it: the fingerprints of its blocks, `None` for zeros. `None` if
    /// it holds nothing.
    pub(crate) async fn open(&mut self, open: Open) -> Result<Option<Vec<Option<Fingerprint>>>, RemoteError> {
        self.say(Frame::Open(open)).await;
        let blocks = match self.hear().await? {
            Frame::Opened { held: Held::Empty, .. } => return Ok(None),
            Frame::Opened { held: Held::Fingerprints, blocks, .. } => blocks,
            other => return Err(unexpected(&other)),
        };
        let mut held = Vec::new();
        while (held.len() as u64) < blocks {
            match self.hear().await? {
                Frame::Fingerprints { first, blocks } if first == held.len() as u64 => held.extend(blocks),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(Some(held))
    }

    /// Waits until the destination has everything on disk.
    pub(crate) async fn committed(&mut self) -> Result<(), RemoteError> {
        match self.hear().await? {
            Frame::Committed { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Keeps answers to blocks, and returns other frames.
    fn sort(&mut self, answer: Option<Result<Frame, Text>>) -> Option<Frame> {
        match answer {
            Some(Ok(Frame::Ack { sequences })) => sequences.into_iter().for_each(|sequence| self.answered(sequence, None)),
            Some(Ok(Frame::Nack { sequence, text, .. })) => self.answered(sequence, Some(RemoteError { text, refused: true })),
            Some(Ok(Frame::Failed { text, .. })) => self.break_off(RemoteError { text, refused: true }),
            Some(Ok(Frame::Ping(number))) => {
                // If the queue is full, what is in it says as much.
                let _ = self.jobs[0].try_send(Job::Frame(Frame::Pong(number)));
            }
            Some(Ok(Frame::Pong(_))) => {}
            Some(Ok(frame)) => return Some(frame),
            Some(Err(why)) => self.break_off(lost(why)),
            None => self.break_off(lost(Text::new("the connection is closed"))),
        }
        None
    }

    fn answered(&mut self, sequence: u64, error: Option<RemoteError>) {
        // An answer to what was never asked is of no meaning.
        let Some(on_way) = lock(&self.common).on_way.remove(&sequence) else { return };
        let OnWay { block, first, bytes, hashes, wire } = on_way;
        if let (Some(bases), Some(bytes), Some(hashes), None) = (&mut self.bases, bytes, hashes, &error) {
            bases.keep(first, bytes, hashes);
        }
        self.ready.push_back(Answer { block, result: error.map_or(Ok(wire), Err) });
    }

    /// Nothing that is on its way will be answered any more.
    fn break_off(&mut self, why: RemoteError) {
        lock(&self.common).on_way.clear();
        self.broken.get_or_insert(why);
    }

    async fn send(&mut self, block: BlockId, first: u64, bytes: Option<Bytes>, job: impl FnOnce(u64) -> Job) {
        let sequence = self.next;
        self.next += 1;
        lock(&self.common).on_way.insert(sequence, OnWay { block, first, bytes, hashes: None, wire: 0 });
        let stream = sequence as usize % self.jobs.len();
        if self.broken.is_none() {
            // A task that is gone has told why, and that is read next.
            let _ = self.jobs[stream].send(job(sequence)).await;
        }
    }
}

/// The size of blocks as the wire has it; `None` if they are too large for it.
pub(crate) fn block_size(bytes: u64) -> Option<u32> {
    u32::try_from(bytes).ok().filter(|size| size.div_ceil(4096) <= MAX_BLOCK_PAGES)
}

/// Tells the engine what the destination holds. Returns of how many blocks it holds data.
pub(crate) fn tell_baseline(migration: &mut Migration, held: Option<Vec<Option<Fingerprint>>>) -> u64 {
    let mut data = 0;
    let held = held.unwrap_or_else(|| vec![None; migration.blocks().count() as usize]);
    for (index, summary) in (0..).zip(summaries(migration.blocks(), held)) {
        data += u64::from(!summary.zero);
        migration.handle_baseline(migration.blocks().id(index), &summary);
    }
    data
}

/// What the destination holds, block by block; no fingerprint means zeros.
pub(crate) fn summaries(blocks: &Blocks, held: Vec<Option<Fingerprint>>) -> Vec<BlockSummary> {
    let summary = |(index, fingerprint): (u32, Option<Fingerprint>)| {
        let raw_len = bytes_of(&blocks.pages(blocks.id(index)));
        BlockSummary { zero: fingerprint.is_none(), fingerprint, raw_len, wire_len: raw_len }
    };
    (0..blocks.count()).zip(held).map(summary).collect()
}

/// The connection broke: nobody knows what the destination did.
fn lost(text: Text) -> RemoteError {
    RemoteError { text, refused: false }
}

fn unexpected(frame: &Frame) -> RemoteError {
    lost(Text::new(format_args!("it answered with {}, which makes no sense; use the same version on both sides", frame.kind())))
}

fn lock(common: &Common) -> MutexGuard<'_, Shared> {
    common.lock().unwrap_or_else(PoisonError::into_inner)
}

fn span(pages: &Range<u64>) -> Span {
    Span { first: pages.start, pages: u32::try_from(pages.end - pages.start).unwrap_or(u32::MAX) }
}

impl Destination for &mut Remote {
    type Error = RemoteError;

    async fn put(&mut self, out: Outgoing<'_>) {
        let (span, bytes, fingerprint) = (span(&out.pages), Bytes::from(out.bytes), out.fingerprint);
        let known = self.bases.as_mut().map(|bases| bases.take(span.first, bytes.len())).unwrap_or_default();
        let ours = bytes.clone();
        self.send(out.block, span.first, Some(ours), |sequence| Job::Put { sequence, span, bytes, known, fingerprint }).await;
    }

    async fn zero(&mut self, block: BlockId, pages: Range<u64>) {
        let span = span(&pages);
        if let Some(bases) = &mut self.bases {
            bases.forget(span.first);
        }
        self.send(block, span.first, None, |sequence| Job::Frame(Frame::Zero { sequence, span })).await;
    }

    fn try_answer(&mut self) -> Option<Answer<RemoteError>> {
        while let Ok(answer) = self.answers.try_recv() {
            // Between two frames of control nothing else than answers to blocks is of meaning.
            let _ = self.sort(Some(answer));
        }
        self.ready.pop_front()
    }

    async fn answer(&mut self) -> Answer<RemoteError> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return answer;
            }
            if self.broken.is_some() {
                return std::future::pending().await;
            }
            let answer = self.answers.recv().await;
            let _ = self.sort(answer);
        }
    }

    fn lost(&self) -> Option<&RemoteError> {
        self.broken.as_ref()
    }
}
