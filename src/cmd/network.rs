//! What the verbs that talk to other machines have in common.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use pagesieve_live::transport::{
    Address, AddressError, ClientSecurity, Connector, Encryption, Limiter, ServerSecurity, Timeouts, TlsFiles,
};
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Security, Tls};

/// The other machine that a destination means; `None` if it is a path.
pub(super) fn address(destination: &Path) -> anyhow::Result<Option<Address>> {
    let Some(text) = destination.to_str().filter(|_| !destination.exists()) else {
        // Whoever names a file that exists means the file.
        return Ok(None);
    };
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(AddressError::Form(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The runtime of a verb. Streams encode and sign on threads of their own.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

/// What connects to a destination, with at most so many bytes per second.
pub(super) fn connector(there: &Address, security: &Security, limit: Option<u64>) -> anyhow::Result<Connector> {
    Ok(Connector {
        security: client(security, there.is_loopback())?,
        timeouts: Timeouts::default(),
        limiter: limit.and_then(NonZeroU64::new).map(|rate| Arc::new(Limiter::new(rate))),
    })
}

/// How to protect what goes to a destination.
fn client(security: &Security, loopback: bool) -> anyhow::Result<ClientSecurity> {
    Ok(match files(security, loopback)? {
        Some(files) => ClientSecurity::Tls(files.client()?),
        None if loopback => ClientSecurity::PlainLoopback,
        None => ClientSecurity::PlainAnywhere,
    })
}

/// How to protect what comes in, and from whom.
pub(super) fn server(security: &Security, allowed: &[String], loopback: bool) -> anyhow::Result<ServerSecurity> {
    Ok(match files(security, loopback)? {
        Some(files) => ServerSecurity::Tls(files.server(allowed)?),
        None if !allowed.is_empty() => bail!("take only some sources: without TLS they have no names; give --keys as well"),
        None if loopback => ServerSecurity::PlainLoopback,
        None => ServerSecurity::PlainAnywhere,
    })
}

/// The files for TLS, if it is wanted.
fn files(security: &Security, loopback: bool) -> anyhow::Result<Option<TlsFiles>> {
    let wanted = match security.tls {
        // Who gives keys wants them used.
        Tls::Auto if security.keys.is_some() => Encryption::On,
        Tls::Auto => Encryption::Auto,
        Tls::On => Encryption::On,
        Tls::Off => Encryption::Off,
    };
    if !wanted.wants_tls(loopback) {
        tracing::info!(loopback, "no TLS: it is off, or nothing leaves this machine");
        return Ok(None);
    }
    let Some(path) = &security.keys else {
        bail!(
            "set up TLS: there is no certificate for this side; make one with `pagesieve keys` and give it with --keys DIR/NAME"
        );
    };
    let (folder, name) = split(path)?;
    Ok(Some(TlsFiles::in_directory(folder, name)))
}

/// Folder and name of a certificate.
pub(super) fn split(path: &Path) -> anyhow::Result<(&Path, &str)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok((folder, name)),
        None => bail!("use {}: it is no name of a certificate; write DIR/NAME", path.display()),
    }
}
