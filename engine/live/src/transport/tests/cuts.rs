//! Connections that end, stall or carry damage.

use pagesieve_core::Fingerprint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::{LONG, SHORT, listen_plain, meet, plain};
use crate::transport::{FrameReader, FrameWriter, Session, TransportError};
use crate::wire::{Frame, Kind, MAX_BODY, Put, Side, Span, WireError};

fn put(bytes: usize) -> Frame {
    let pages = bytes.div_ceil(4098) as u32;
    let span = Span { first: 0, pages };
    Frame::Put(Put { sequence: 0, span, fingerprint: Fingerprint(0), based: false, encoded: vec![1; bytes] })
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// What a reader makes of these bytes and the end.
async fn read_all(bytes: &[u8]) -> Result<Vec<Frame>, TransportError> {
    let mut reader = FrameReader::new(Box::new(std::io::Cursor::new(bytes.to_vec())), Side::Client, 0, LONG.idle);
    let mut frames = Vec::new();
    while let Some(frame) = reader.read().await? {
        frames.push(frame);
    }
    Ok(frames)
}

#[tokio::test]
async fn a_cut_at_each_byte_is_told() {
    let first = bytes_of(&Frame::Ping(1));
    let bytes = [first.clone(), bytes_of(&put(100))].concat();
    for length in 0..=bytes.len() {
        let result = read_all(&bytes[..length]).await;
        if [0, first.len(), bytes.len()].contains(&length) {
            assert!(result.is_ok(), "{length}: {result:?}");
        } else {
            let error = result.unwrap_err();
            assert!(matches!(error, TransportError::Cut(_)), "{length}: {error}");
        }
    }
    let error = read_all(&bytes[..first.len() + 50]).await.unwrap_err().to_string();
    assert!(error.contains("frame 1 (Put) at byte 17, after 50 bytes"), "{error}");
}

/// Sends until the sockets are full, closes, and gives what the other end makes of it. Whether a whole frame went out last.
async fn cut(mut near: Session, mut far: Session) -> (bool, Result<(), TransportError>) {
    let frame = put(1 << 20);
    let writer = &mut near.streams[0].writer;
    loop {
        tokio::select! {
            biased;
            written = writer.write(&frame) => written.unwrap(),
            () = std::future::ready(()) => break,
        }
    }
    let whole = writer.sent().is_multiple_of(bytes_of(&frame).len() as u64);
    drop(near);
    loop {
        match far.streams[0].reader.read().await {
            Ok(Some(read)) => assert!(read == frame),
            Ok(None) => return (whole, Ok(())),
            Err(error) => return (whole, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_cut_between_sockets_is_told() {
    let (mut listener, _) = listen_plain().await;
    let (near, far) = meet(&mut listener, &plain(), "127.0.0.1", 1).await;
    let (whole, result) = cut(near, far).await;
    assert_eq!(whole, result.is_ok());
    assert!(matches!(result, Ok(()) | Err(TransportError::Cut(_))), "{result:?}");
    let keys = super::tls::keys();
    let mut listener = super::tls::listener(keys.path(), "server").await;
    let (near, far) = meet(&mut listener, &super::tls::client(keys.path(), "client"), "127.0.0.1", 1).await;
    let (_, result) = cut(near, far).await;
    assert!(matches!(result, Err(TransportError::Cut(_))), "{result:?}");
}

#[tokio::test]
async fn damage_and_lengths_are_told() {
    let mut bytes = bytes_of(&put(100));
    bytes[60] ^= 0x10;
    let error = read_all(&bytes).await.unwrap_err();
    assert!(matches!(error, TransportError::Wire(WireError::Checksum { kind: Kind::Put, .. })), "{error}");
    let long = [&(MAX_BODY + 1).to_le_bytes()[..], &[Kind::Put as u8]].concat();
    let error = read_all(&long).await.unwrap_err();
    assert!(matches!(error, TransportError::Wire(WireError::TooLong { .. })), "{error}");
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let (near, _far) = duplex(100);
    let mut reader = FrameReader::new(Box::new(near), Side::Client, 0, SHORT.idle);
    let error = reader.read().await.unwrap_err();
    assert!(matches!(error, TransportError::Idle(after) if after == SHORT.idle), "{error}");
}

#[tokio::test]
async fn a_reader_that_stops_is_noticed() {
    let (near, _far) = duplex(100);
    let mut writer = FrameWriter::new(Box::new(near), Side::Server, SHORT.idle);
    let error = writer.write(&put(1 << 17)).await.unwrap_err();
    assert!(matches!(error, TransportError::Stuck(after) if after == SHORT.idle), "{error}");
    assert_eq!(writer.sent(), 100);
}

#[tokio::test]
async fn a_dropped_write_loses_nothing() {
    let (near, mut far) = duplex(1000);
    let mut writer = FrameWriter::new(Box::new(near), Side::Server, LONG.idle);
    let frame = put(1 << 17);
    tokio::select! {
        biased;
        _ = writer.write(&frame) => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    let rest = async {
        writer.write(&Frame::Ping(1)).await.unwrap();
        writer.close().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, read) = tokio::join!(rest, far.read_to_end(&mut got));
    read.unwrap();
    assert!(got == [bytes_of(&frame), bytes_of(&Frame::Ping(1))].concat());
}

#[tokio::test]
async fn a_dropped_read_loses_nothing() {
    let (near, mut far) = duplex(1000);
    let mut reader = FrameReader::new(Box::new(near), Side::Client, 0, LONG.idle);
    let bytes = bytes_of(&Frame::Ping(3));
    for byte in &bytes[..bytes.len() - 1] {
        far.write_all(&[*byte]).await.unwrap();
        tokio::select! {
            biased;
            frame = reader.read() => panic!("{frame:?}"),
            () = std::future::ready(()) => {}
        }
    }
    far.write_all(&bytes[bytes.len() - 1..]).await.unwrap();
    assert_eq!(reader.read().await.unwrap(), Some(Frame::Ping(3)));
}
