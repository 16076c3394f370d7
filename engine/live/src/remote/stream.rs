//! The two tasks of a stream: one encodes and sends, one hands on what comes in.

use pagesieve_core::{Fingerprint, delta};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

use super::bases::{Bytes, Known, hashes};
use super::{Common, lock};
use crate::transport::{FrameReader, FrameWriter, KEEP_ALIVE};
use crate::wire::{Frame, Put, Span, Text};
use crate::zstd::Zstd;

/// What a stream is to send.
pub(super) enum Job {
    /// A block, by what is known of the version that the destination holds.
    Put { sequence: u64, span: Span, bytes: Bytes, known: Known, fingerprint: Option<Fingerprint> },
    /// Anything else.
    Frame(Frame),
}

/// Hands on what comes in.
pub(super) async fn read(mut reader: FrameReader, common: Common, to: mpsc::UnboundedSender<Result<Frame, Text>>) {
    loop {
        let before = reader.received();
        let next = reader.read().await;
        lock(&common).traffic.received += reader.received() - before;
        let next = match next {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(Text::new("the destination has closed the connection; see what it says, then try again")),
            Err(error) => Err(Text::new(error)),
        };
        let over = next.is_err();
        if to.send(next).is_err() || over {
            return;
        }
    }
}

/// Encodes and sends what is asked for.
pub(super) async fn write(
    mut writer: FrameWriter,
    mut jobs: mpsc::Receiver<Job>,
    common: Common,
    to: mpsc::UnboundedSender<Result<Frame, Text>>,
) {
    let told = |error: &dyn std::fmt::Display| {
        let _ = to.send(Err(Text::new(error)));
    };
    let mut codec = match Zstd::new(Zstd::DEFAULT_LEVEL) {
        Ok(codec) => codec,
        Err(error) => return told(&error),
    };
    let mut alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            _ = alive.tick() => Some(Job::Frame(Frame::Ping(0))),
        };
        let frame = match job {
            None => break,
            Some(Job::Frame(frame)) => frame,
            Some(Job::Put { sequence, span, bytes, known, fingerprint }) => {
                let (mut encoded, hashes) = (Vec::new(), hashes(&bytes));
                let old = |index: usize, _: &[u8]| known.old(index, hashes[index]);
                let forms = delta::encode_pages(&bytes, old, &mut codec, &mut encoded);
                lock(&common).encoded(sequence, encoded.len() as u64, forms, hashes.clone());
                let fingerprint = fingerprint.unwrap_or_else(|| delta::fingerprint(&bytes));
                Frame::Put(Put { sequence, span, fingerprint, based: known.is_some(), encoded })
            }
        };
        let before = writer.sent();
        let sent = writer.write(&frame).await;
        // What waits for nobody goes out at once: the answer to it may be what everyone waits for.
        let sent = if sent.is_ok() && jobs.is_empty() { writer.flush().await } else { sent };
        lock(&common).traffic.sent += writer.sent() - before;
        if let Err(error) = sent {
            return told(&error);
        }
    }
    let _ = writer.close().await;
}
