//! The wire protocol over TCP: sessions of several streams, TLS, timeouts and a bandwidth limit.
//!
//! A source makes a [`Session`] with a [`Connector`], a destination gets one from a [`Listener`]. Both consist of
//! [`Connection`]s, each of which reads and writes [frames](crate::wire::Frame) and can be split for two tasks. Back-pressure is
//! that of TCP: a writer waits as long as the other side does not read.

mod address;
mod allow;
mod client;
mod connection;
mod error;
mod greeting;
pub mod keys;
mod limiter;
mod pending;
mod server;
#[cfg(test)]
mod tests;
mod tls;

pub use address::{Address, AddressError, Encryption};
pub use client::{ClientSecurity, Connector, Route};
pub use connection::{Connection, FrameReader, FrameWriter};
pub use error::TransportError;
pub use limiter::{Bucket, Limiter};
pub use server::{Listener, ListenerLimits, ServerSecurity, Trouble};
pub use tls::{ClientTls, Problem, ServerTls, TlsError, TlsFiles};

use std::time::Duration;

use crate::wire::{Token, Version};

/// How often a side that has nothing to say shows that it is there: a third of the default of [`Timeouts::idle`].
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long to wait for the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection.
    pub connect: Duration,
    /// For TLS and the greeting; for a server also until all streams of a session are there.
    pub greeting: Duration,
    /// For anything to arrive, and for anything to be taken, once the greeting is done.
    pub idle: Duration,
}

impl Default for Timeouts {
    /// 10 seconds to connect and to greet, 30 seconds without a word.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), greeting: Duration::from_secs(10), idle: Duration::from_secs(30) }
    }
}

/// The streams of a session after the greeting.
#[derive(Debug)]
pub struct Session {
    /// Names it; drawn by the client.
    pub token: Token,
    /// The version that both sides speak.
    pub version: Version,
    /// Its streams in order; 0 is the one for control.
    pub streams: Vec<Connection>,
    /// The way to the other side, for a source; a destination does not connect to anyone.
    pub route: Option<Route>,
}
