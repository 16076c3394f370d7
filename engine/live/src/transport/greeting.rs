//! The greeting over a stream.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::error::TransportError;
use crate::wire::{GREETING_LIMIT, Hello, Reply, WireError};

/// A greeting, and what was read behind it.
pub(super) type Greeted<T> = Result<(T, Vec<u8>), TransportError>;

/// A greeting at the start of these bytes, and its length.
type Decode<T> = fn(&[u8]) -> Result<Option<(T, usize)>, WireError>;

/// Reads until `decode` is content. `peer` is who is at the other end.
async fn read<T>(stream: &mut (impl AsyncRead + Unpin), peer: &'static str, decode: Decode<T>) -> Greeted<T> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 512];
    loop {
        if let Some((greeting, length)) = decode(&bytes)? {
            return Ok((greeting, bytes.split_off(length)));
        }
        if bytes.len() > GREETING_LIMIT {
            return Err(WireError::Greeting.into());
        }
        match stream.read(&mut buffer).await.map_err(|error| TransportError::from_stream(error, peer))? {
            0 => return Err(TransportError::Closed),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Reads what a client says first.
pub(super) async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> Greeted<Hello> {
    read(stream, "source", Hello::decode).await
}

/// Says hello and reads the answer.
pub(super) async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), hello: &Hello) -> Greeted<Reply> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    let written = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    let written = written.await;
    // A server that refuses may have closed before it has read; why stands in what it sent.
    match (read(stream, "destination", Reply::decode).await, written) {
        (Err(TransportError::Io(_) | TransportError::Closed), Err(error)) => {
            Err(TransportError::from_stream(error, "destination"))
        }
        (result, _) => result,
    }
}

/// Sends the answer.
pub(super) async fn reply(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> Result<(), TransportError> {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    let written = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    written.await.map_err(|error| TransportError::from_stream(error, "source"))
}

/// Closes a stream so that what was sent last is still read: a connection that is closed with unread bytes in it is reset, and
/// then the other side loses the answer.
pub(super) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), within: Duration) {
    let end = async {
        let _ = stream.shutdown().await;
        let mut buffer = [0; 512];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    };
    let _ = timeout(within, end).await;
}
