//! One stream of a session.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::TransportError;
use super::limiter::Limiter;
use crate::wire::{Decoder, Frame, Side};

/// How much is read, and written, at a time.
const CHUNK: usize = 1 << 16;

/// A stream after its greeting.
#[derive(Debug)]
pub struct Connection {
    /// What the other side sends.
    pub reader: FrameReader,
    /// To the other side.
    pub writer: FrameWriter,
    /// Number of the stream.
    pub stream: u8,
    /// The other side.
    pub peer: SocketAddr,
}

/// A stream in two directions, which is TCP or TLS.
pub(super) struct Halves {
    pub(super) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Halves {
    pub(super) fn of_tcp(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read: Box::new(read), write: Box::new(write) }
    }

    pub(super) fn of(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self { read: Box::new(read), write: Box::new(write) }
    }
}

impl Connection {
    /// `here` is this side; `early` is what was read behind the greeting.
    pub(super) fn new(halves: Halves, here: Side, stream: u8, peer: SocketAddr, idle: Duration, early: &[u8]) -> Self {
        let there = match here {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let mut reader = FrameReader::new(halves.read, there, stream, idle);
        reader.decoder.feed(early);
        Self { reader, writer: FrameWriter::new(halves.write, there, idle), stream, peer }
    }

    /// Limits what is sent from now on.
    pub fn limit(&mut self, limiter: Option<Arc<Limiter>>) {
        self.writer.limiter = limiter;
    }

    /// Both directions, for two tasks.
    #[must_use]
    pub fn split(self) -> (FrameReader, FrameWriter) {
        (self.reader, self.writer)
    }
}

/// For messages: who is at the other end.
fn name_of(side: Side) -> &'static str {
    match side {
        Side::Client => "source",
        Side::Server => "destination",
    }
}

/// Reads the frames of one stream.
pub struct FrameReader {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    decoder: Decoder,
    buffer: Box<[u8]>,
    peer: &'static str,
    idle: Duration,
    received: u64,
}

impl FrameReader {
    /// Reads what `sender` sends on this stream, from any source of bytes.
    #[must_use]
    pub fn new(inner: Box<dyn AsyncRead + Send + Unpin>, sender: Side, stream: u8, idle: Duration) -> Self {
        let buffer = vec![0; CHUNK].into_boxed_slice();
        Self { inner, decoder: Decoder::new(sender, stream), buffer, peer: name_of(sender), idle, received: 0 }
    }

    /// The next frame, or `None` if the other side has closed the stream between two frames. It may be dropped while it waits:
    /// nothing is lost.
    ///
    /// # Errors
    /// Nothing came for the idle timeout, the connection was cut, or what came is no frame.
    pub async fn read(&mut self) -> Result<Option<Frame>, TransportError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            let read = timeout(self.idle, self.inner.read(&mut self.buffer)).await;
            match read.map_err(|_| TransportError::Idle(self.idle))? {
                Ok(0) if self.decoder.is_between_frames() => return Ok(None),
                Ok(0) => return Err(TransportError::Cut(self.decoder.partial())),
                Ok(length) => {
                    self.received += length as u64;
                    self.decoder.feed(&self.buffer[..length]);
                }
                // TLS that ends without saying so: even between two frames, nobody knows whether more was sent.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(TransportError::Cut(self.decoder.partial()));
                }
                Err(error) => return Err(TransportError::from_stream(error, self.peer)),
            }
        }
    }

    /// Bytes that came since the greeting, without what TLS adds.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("received", &self.received).finish_non_exhaustive()
    }
}

/// Writes the frames of one stream.
pub struct FrameWriter {
    inner: Box<dyn AsyncWrite + Send + Unpin>,
    buffer: Vec<u8>,
    /// How much of `buffer` is written.
    done: usize,
    limiter: Option<Arc<Limiter>>,
    peer: &'static str,
    idle: Duration,
    sent: u64,
}

impl FrameWriter {
    /// Writes to anything; `receiver` is who reads it.
    #[must_use]
    pub fn new(inner: Box<dyn AsyncWrite + Send + Unpin>, receiver: Side, idle: Duration) -> Self {
        Self { inner, buffer: Vec::new(), done: 0, limiter: None, peer: name_of(receiver), idle, sent: 0 }
    }

    /// Appends a frame; what is buffered goes out when it is 64 KiB or more. Waits while the limit or the other side does not
    /// let it go out. If it is dropped while it waits, the frame is kept and goes out with the next call.
    ///
    /// # Errors
    /// The other side took nothing for the idle timeout, or the connection broke.
    pub async fn write(&mut self, frame: &Frame) -> Result<(), TransportError> {
        frame.encode(&mut self.buffer);
        if self.buffer.len() - self.done < CHUNK { Ok(()) } else { self.drain().await }
    }

    /// Sends everything that is buffered.
    ///
    /// # Errors
    /// As for [`FrameWriter::write`].
    pub async fn flush(&mut self) -> Result<(), TransportError> {
        self.drain().await?;
        let flush = timeout(self.idle, self.inner.flush()).await;
        flush.map_err(|_| TransportError::Stuck(self.idle))?.map_err(|error| TransportError::from_stream(error, self.peer))
    }

    /// Sends everything and tells the other side that nothing more will come.
    ///
    /// # Errors
    /// As for [`FrameWriter::write`].
    pub async fn close(&mut self) -> Result<(), TransportError> {
        self.flush().await?;
        let close = timeout(self.idle, self.inner.shutdown()).await;
        close.map_err(|_| TransportError::Stuck(self.idle))?.map_err(|error| TransportError::from_stream(error, self.peer))
    }

    /// Bytes that went out since the greeting, without what TLS adds.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    async fn drain(&mut self) -> Result<(), TransportError> {
        while self.done < self.buffer.len() {
            let most = self.limiter.as_ref().map_or(CHUNK, |limiter| limiter.chunk());
            let length = most.min(self.buffer.len() - self.done);
            if let Some(limiter) = &self.limiter {
                limiter.take(length).await;
            }
            self.write_some(length).await?;
        }
        self.buffer.clear();
        self.done = 0;
        Ok(())
    }

    /// Writes the next `length` bytes. The timeout is for progress, not for all of them.
    async fn write_some(&mut self, length: usize) -> Result<(), TransportError> {
        let end = self.done + length;
        while self.done < end {
            let write = timeout(self.idle, self.inner.write(&self.buffer[self.done..end])).await;
            match write.map_err(|_| TransportError::Stuck(self.idle))? {
                Ok(0) => return Err(TransportError::Io(ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.done += written;
                    self.sent += written as u64;
                }
                Err(error) => return Err(TransportError::from_stream(error, self.peer)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter").field("sent", &self.sent).finish_non_exhaustive()
    }
}
