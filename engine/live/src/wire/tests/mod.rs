//! Tests of the protocol without a network.

mod damage;
mod golden;
mod names;
mod round_trip;
mod samples;

use super::{Decoder, Frame, Kind, Side, WireError};

/// Whoever may send this kind.
fn sender(kind: Kind) -> Side {
    if kind.belongs(Side::Client, 0) { Side::Client } else { Side::Server }
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// The first frame of these bytes.
fn decode(side: Side, bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    let mut decoder = Decoder::new(side, 0);
    decoder.feed(bytes);
    decoder.next()
}
