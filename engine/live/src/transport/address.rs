//! Where a destination is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::wire::{Name, NameError};

/// `HOST:PORT` or `HOST:PORT/NAME`; an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// What to call the file or guest at the destination.
    pub name: Option<Name>,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No host and port.
    #[error("{0:?} is no address: write HOST:PORT or HOST:PORT/NAME, an IPv6 address as [::1]:PORT")]
    Form(String),
    /// The name is not allowed.
    #[error("the name {name:?} {error}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        error: NameError,
    },
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (place, name) = match text.split_once('/') {
            Some((place, name)) => (place, Some(name)),
            None => (text, None),
        };
        let (host, port) = split(place).ok_or_else(|| AddressError::Form(text.to_owned()))?;
        let name = name.map(|name| Name::new(name).map_err(|error| AddressError::Name { name: name.to_owned(), error }));
        Ok(Self { host: host.to_owned(), port, name: name.transpose()? })
    }
}

fn split(place: &str) -> Option<(&str, u16)> {
    let (host, port) = place.rsplit_once(':')?;
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())?.filter(|port| *port != 0)?;
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return matches!(inner.parse(), Ok(IpAddr::V6(_))).then_some((inner, port));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!host.is_empty() && host.bytes().all(allowed)).then_some((host, port))
}

impl Address {
    /// Whether it names this machine by its loopback address. A name that only resolves to one does not count, apart from
    /// `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let by_number = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        by_number || self.host.eq_ignore_ascii_case("localhost")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        self.name.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

/// Whether TLS is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Unless both ends are on this machine.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never: whoever is on the network can read and change everything.
    Off,
}

impl Encryption {
    /// What that means for an address.
    #[must_use]
    pub fn wants_tls(self, is_loopback: bool) -> bool {
        match self {
            Self::Auto => !is_loopback,
            Self::On => true,
            Self::Off => false,
        }
    }
}
