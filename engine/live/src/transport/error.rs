//! What can go wrong between two sides.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::tls::TlsError;
use crate::wire::{Text, Verdict, Version, WireError};

/// Why a session cannot be made or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The host has no address.
    #[error("find the address of {host}: {error}; check the name, or write the IP address")]
    Resolve {
        /// The host.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// Nobody takes the connection.
    #[error("connect to {address}: {error}; is `pagesieve serve` running there, and does a firewall let it through?")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Nobody answers at all.
    #[error("connect to {address}: no answer within {after:?}; is the address right, and does a firewall let it through?")]
    ConnectTimeout {
        /// Where.
        address: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// The server's address cannot be listened on.
    #[error("listen on {address}: {error}; choose another address or port, or end what uses it")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Plain text would leave this machine, and nobody asked for that.
    #[error("use {address} without TLS: it is not on this machine; make certificates with `pagesieve keys`, or say `--tls off`")]
    PlainRefused {
        /// Where.
        address: SocketAddr,
    },
    /// A session has 1 to 8 streams.
    #[error("open {0} streams: choose 1 to 8")]
    Streams(u8),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The other side sends what it must not.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The versions do not fit.
    #[error("talk to the other side: it speaks version {theirs} of the protocol, this side {ours}; update pagesieve {}",
        if .theirs < .ours { "there" } else { "here" })]
    Version {
        /// What it speaks.
        theirs: Version,
        /// What we speak.
        ours: Version,
    },
    /// The other side says no.
    #[error("begin a session: the destination refuses it ({verdict:?}): {text}")]
    Refused {
        /// Why, for a program.
        verdict: Verdict,
        /// Why.
        text: Text,
    },
    /// This server says no.
    #[error("take a stream: {text}")]
    Rejected {
        /// Why, for a program.
        verdict: Verdict,
        /// Why.
        text: Text,
    },
    /// The other side closed the connection instead of a greeting.
    #[error("greet the other side: it closed the connection; its messages say why")]
    Closed,
    /// The greeting did not come.
    #[error("greet the other side: no greeting within {0:?}; is the address that of `pagesieve serve`, of the same version?")]
    GreetingTimeout(Duration),
    /// Not all streams of a session came.
    #[error("begin a session: {missing} of its streams did not come within {after:?}")]
    Incomplete {
        /// How many.
        missing: usize,
        /// How long was waited.
        after: Duration,
    },
    /// Nothing arrives.
    #[error("hear from the other side: nothing came for {0:?}; look at the network and whether it still runs, then resume")]
    Idle(Duration),
    /// Nothing is taken.
    #[error("send to the other side: it took nothing for {0:?}; look at the network and whether it still runs, then resume")]
    Stuck(Duration),
    /// The connection ended within a frame.
    #[error("read {0}: the connection was cut there; the frame was not applied, resume to go on")]
    Cut(String),
    /// The connection broke.
    #[error("use the connection: {0}; it was cut, resume to go on")]
    Io(io::Error),
}

impl TransportError {
    /// An error of a stream, which may be one of TLS in disguise. `peer` is who is at the other end.
    pub(super) fn from_stream(error: io::Error, peer: &'static str) -> Self {
        match TlsError::within(&error, peer) {
            Some(tls) => Self::Tls(tls),
            None => Self::Io(error),
        }
    }
}
