//! A result that goes into a file.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

/// Refuses a place where the file cannot be written, before any work is done.
pub(super) fn check(path: &Path, force: bool) -> anyhow::Result<()> {
    super::check_output(path)?;
    if !force && path.exists() {
        bail!(exists(path));
    }
    Ok(())
}

/// Writes the file; one that is there is replaced only by force.
pub(super) fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(force).truncate(force).create_new(!force);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!(exists(path)),
        _ => anyhow!("create {}: {error}", path.display()),
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("write to {}", path.display()))
}

/// What is said of a file that is there.
pub(super) fn exists(path: &Path) -> String {
    format!("create {}: the file exists; choose another name or pass --force to replace it", path.display())
}
