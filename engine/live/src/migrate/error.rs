//! Why a migration failed, and where the guest runs now.

use pagesieve_core::{ConfigError, Report};

/// Why a migration failed. Texts complete "failed to ..." and say where the guest is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The configuration makes no sense. Nothing was done.
    #[error("migrate: {0}")]
    Config(ConfigError),
    /// The wire has no blocks of this size. Nothing was done.
    #[error("migrate: blocks on the wire have 4 KiB to 1 MiB; choose another --block-size")]
    BlockSize,
    /// Someone wanted it to end.
    #[error("migrate: it was ended on request; the guest runs here")]
    Aborted,
    /// Nothing gets less.
    #[error(
        "migrate: the guest writes faster than the wire takes ({} rounds, {} MiB sent); it runs here. Allow a longer --downtime-limit or more bandwidth, or hand it over with --force",
        .0.rounds, .0.bytes_sent >> 20
    )]
    NotConverging(Box<Report>),
    /// Something broke while the guest was still ours.
    #[error("migrate: {0}; the guest runs here, try again")]
    Here(String),
    /// It stands still at the source and does not obey.
    #[error("let the guest go on here: {0}; it stands still, say `cont` to its monitor")]
    Stopped(String),
    /// Nobody knows whether the destination has started it.
    #[error(
        "hear from the destination whether it has started the guest: {0}; look there first, and only if it does not run there say `cont` to the monitor here"
    )]
    Unknown(String),
}
