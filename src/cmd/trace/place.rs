//! Where a tool writes: a file that is there when it is whole, and not before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use crate::cmd::output_file;

/// Stands for standard input or output.
pub(super) const STANDARD: &str = "-";

/// A place for the output.
pub(super) enum Place {
    /// A file that gets its name at the end; until then it is another one in the same folder.
    File { path: PathBuf, force: bool, draft: NamedTempFile },
    /// A device or a pipe: it is written to as it is.
    Special(File),
    /// Standard output.
    Standard,
}

impl Place {
    /// Refuses a place that cannot be written or that is one of the inputs, before any work is done.
    pub(super) fn new(path: &Path, inputs: &[PathBuf], force: bool) -> anyhow::Result<Self> {
        super::super::check_output(path)?;
        let found = fs::metadata(path).ok();
        if let Some(found) = &found {
            for input in inputs {
                let same = |input: fs::Metadata| (input.dev(), input.ino()) == (found.dev(), found.ino());
                if found.is_file() && fs::metadata(input).is_ok_and(same) {
                    bail!("create {}: it is the input; name another file with -o", path.display());
                }
            }
            if !found.is_file() {
                let file = File::options().write(true).open(path).with_context(|| format!("open {}", path.display()))?;
                return Ok(Place::Special(file));
            }
            if !force {
                bail!(output_file::exists(path));
            }
        }
        // A link stays, and what it leads to is replaced.
        let path = if found.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = tempfile::Builder::new().prefix(".pagesieve-").tempfile_in(folder);
        let draft = draft.map_err(plain).with_context(|| format!("create {}", path.display()))?;
        Ok(Place::File { path, force, draft })
    }

    /// What to write to.
    pub(super) fn output(&self) -> anyhow::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Place::File { draft, .. } => Box::new(draft.as_file().try_clone()?),
            Place::Special(file) => Box::new(file.try_clone()?),
            Place::Standard => Box::new(io::stdout()),
        })
    }

    /// The file gets its name.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let Place::File { path, force, draft } = self else { return Ok(()) };
        let done = if force { draft.persist(&path) } else { draft.persist_noclobber(&path) };
        match done {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => bail!(output_file::exists(&path)),
            Err(error) => Err(error.error).with_context(|| format!("create {}", path.display())),
        }
    }
}

/// The system's own error: the name of the draft says nothing to the user.
fn plain(error: io::Error) -> io::Error {
    error.raw_os_error().map_or(error, io::Error::from_raw_os_error)
}
