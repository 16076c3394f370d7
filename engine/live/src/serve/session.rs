//! One session at the destination: frames from its streams, answers back on the stream on which the question came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use super::handovers::{Entry, Stand};
use super::receive::{Receiver, Takes, answered};
use super::unpack::{Refused, Unpacker};
use crate::transport::{Connection, FrameReader, FrameWriter, KEEP_ALIVE, Session, TransportError};
use crate::wire::{Failure, Fault, Frame, Put, Text, Token};

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// The file is complete.
    Committed {
        /// Its name.
        name: String,
        /// Its length in bytes.
        bytes: u64,
    },
    /// The guest runs here.
    HandedOver {
        /// Its name.
        name: String,
    },
    /// Nobody knows whether the guest runs here. The client was told nothing, so that it does not start the guest.
    InDoubt {
        /// Its name.
        name: String,
        /// What went wrong.
        why: String,
    },
    /// The guest was loaded here, and is not started: it runs at its source.
    NotStarted {
        /// Its name.
        name: String,
    },
    /// It was not, or not asked for. What arrived is kept for the next session.
    Left,
}

/// Serves a session until its client leaves.
///
/// # Errors
/// A stream broke, or what came on it is no frame.
pub async fn serve(session: Session, takes: Arc<Takes>) -> Result<Ended, TransportError> {
    let shared = Arc::new(Shared { takes, session: session.token, work: Mutex::new(Work::default()) });
    let ended = streams(session, &shared).await;
    // What has begun goes on without the connection.
    let loaded = tokio::task::spawn_blocking(move || shared.loaded()).await;
    match loaded.map_err(|error| TransportError::Io(error.into()))? {
        Some((name, Stand::Started)) => Ok(Ended::HandedOver { name }),
        Some((name, Stand::Loaded | Stand::Off)) => Ok(Ended::NotStarted { name }),
        Some((_, Stand::InDoubt)) | None => ended,
    }
}

/// Until all streams are closed.
async fn streams(session: Session, shared: &Arc<Shared>) -> Result<Ended, TransportError> {
    let mut tasks = JoinSet::new();
    for connection in session.streams {
        tasks.spawn(stream(connection, shared.clone()));
    }
    let mut ended = Ended::Left;
    while let Some(done) = tasks.join_next().await {
        // One stream that breaks ends the session: its blocks are missing.
        match done.map_err(|error| TransportError::Io(error.into()))?? {
            Ended::Left => {}
            doubt @ Ended::InDoubt { .. } => return Ok(doubt),
            done => ended = done,
        }
    }
    Ok(ended)
}

struct Shared {
    takes: Arc<Takes>,
    session: Token,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    receiver: Option<Receiver>,
    /// The guest is complete.
    loaded: Option<Entry>,
}

/// Answers the frames of one stream until it is closed.
async fn stream(connection: Connection, shared: Arc<Shared>) -> Result<Ended, TransportError> {
    let (mut reader, mut writer) = connection.split();
    let mut ended = Ended::Left;
    let mut unpacker = Some(Unpacker::new().map_err(TransportError::Io)?);
    while let Some(frame) = next(&mut reader, &mut writer).await? {
        let shared = shared.clone();
        let mut ours = unpacker.take().map_or_else(Unpacker::new, Ok).map_err(TransportError::Io)?;
        // Disks block; the runtime must not.
        let mut work = tokio::task::spawn_blocking(move || match frame {
            Frame::Put(put) => (vec![shared.put(&put, &mut ours)], None, ours),
            frame => {
                let (answers, ended) = shared.answer(frame);
                (answers, ended, ours)
            }
        });
        let mut alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                // To read what is held of a large file takes longer than anyone waits for a word.
                _ = alive.tick() => {
                    writer.write(&Frame::Ping(0)).await?;
                    writer.flush().await?;
                }
            }
        };
        let (answers, committed, ours) = done.map_err(|error| TransportError::Io(error.into()))?;
        unpacker = Some(ours);
        for answer in &answers {
            writer.write(answer).await?;
        }
        match committed {
            Some(doubt @ Ended::InDoubt { .. }) => return Ok(doubt),
            Some(done) => ended = done,
            None => {}
        }
    }
    writer.close().await?;
    Ok(ended)
}

/// The next frame. What was answered goes out before anything is waited for.
async fn next(reader: &mut FrameReader, writer: &mut FrameWriter) -> Result<Option<Frame>, TransportError> {
    writer.flush().await?;
    reader.read().await
}

impl Shared {
    /// The guest that was loaded, if one was, and what became of it.
    fn loaded(&self) -> Option<(String, Stand)> {
        let work = self.lock();
        Some((work.receiver.as_ref()?.name().to_owned(), work.loaded.as_ref()?.stand()))
    }

    /// Applies a block. What takes long, to decode it, is done while other streams read and write.
    fn put(&self, put: &Put, unpacker: &mut Unpacker) -> Frame {
        let begun = self.with(|receiver| receiver.begin(put, unpacker));
        let decoded = begun.and_then(|()| unpacker.decode(put));
        answered(put.sequence, decoded.and_then(|block| self.with(|receiver| receiver.write(put.span, block))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Receiver) -> Result<T, Refused>) -> Result<T, Refused> {
        self.lock().receiver.as_mut().map_or_else(|| Err(not_open()), act)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, frame: Frame) -> (Vec<Frame>, Option<Ended>) {
        let mut work = self.lock();
        let Work { receiver, loaded } = &mut *work;
        let answer = match (frame, receiver) {
            (Frame::Open(open), slot @ None) => match Receiver::open(&self.takes, &open) {
                Ok((opened, frames)) => {
                    *slot = Some(opened);
                    return (frames, None);
                }
                Err(failed) => failed,
            },
            (Frame::Zero { sequence, span }, Some(receiver)) => receiver.zero(sequence, span),
            (Frame::Zero { sequence, .. }, None) => answered(sequence, Err(not_open())),
            (Frame::DeviceState { last, bytes }, Some(receiver)) => match receiver.device_state(&bytes, last) {
                None => return (Vec::new(), None),
                Some(failed) => failed,
            },
            (Frame::Commit { length, digest }, Some(receiver)) => {
                let answer = receiver.commit(length, digest);
                let name = receiver.name().to_owned();
                let done = matches!(answer, Frame::Committed { .. });
                if done && receiver.is_guest() {
                    *loaded = Some(self.takes.handovers.loaded(self.session));
                }
                return (vec![answer], done.then_some(Ended::Committed { name, bytes: length }));
            }
            (Frame::Handover, Some(receiver)) => {
                let answer = match loaded {
                    Some(entry) => entry.start(|| receiver.hand_over()),
                    None => receiver.hand_over(),
                };
                let name = receiver.name().to_owned();
                return match answer {
                    Ok(Frame::HandedOver) => (vec![Frame::HandedOver], Some(Ended::HandedOver { name })),
                    Ok(failed) => (vec![failed], None),
                    Err(why) => (Vec::new(), Some(Ended::InDoubt { name, why })),
                };
            }
            (Frame::Abort { .. }, slot) => {
                *slot = None;
                return (Vec::new(), None);
            }
            (Frame::Settle { session }, None) => self.takes.handovers.settle(session),
            (Frame::Ping(number), _) => Frame::Pong(number),
            (Frame::Pong(_), _) => return (Vec::new(), None),
            (other, _) => Frame::Failed {
                code: Failure::Protocol,
                text: Text::new(format_args!("{} makes no sense at this point of a session", other.kind())),
            },
        };
        (vec![answer], None)
    }
}

fn not_open() -> Refused {
    (Fault::NotOpen, Text::new("nothing is open"))
}
