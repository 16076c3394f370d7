//! Writing the three files of a report.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Report, html, json, markdown};

/// Why a report could not be written. Completes "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder is missing and cannot be made.
    #[error("make the folder {}: {source}; name another with -o", path.display())]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes `index.html`, `summary.json` and `summary.md` into a folder, which is made if it is missing. Files of these names
/// are replaced, others are left alone. Returns the paths in this order.
///
/// # Errors
/// [`ReportError`] if the folder cannot be made or a file cannot be written. Files written before the error stay.
pub fn write(report: &Report, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    fs::create_dir_all(dir).map_err(|source| ReportError::MakeFolder { path: dir.into(), source })?;
    let files = [("index.html", html(report)), ("summary.json", json(report)), ("summary.md", markdown(report))];
    files
        .into_iter()
        .map(|(name, text)| {
            let path = dir.join(name);
            match fs::write(&path, text) {
                Ok(()) => Ok(path),
                Err(source) => Err(ReportError::Write { path, source }),
            }
        })
        .collect()
}
