//! Where a result goes: a file that is there when it is whole, and not before.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use anyhow::{Context, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::NamedTempFile;

/// Stands for standard input or output.
pub(super) const STANDARD: &str = "-";

/// A place for the output.
pub(super) enum Place {
    /// A file that gets its name at the end; until then it is another one in the same folder.
    File { path: PathBuf, draft: NamedTempFile, replaces: Option<Permissions>, force: bool },
    /// A device or a pipe: it is written to as it is.
    Special(File),
    /// Standard output.
    Standard,
}

impl Place {
    /// For what tells of a guest page by page: only its owner may read it, as a trace.
    pub(super) fn new(path: &Path, inputs: &[PathBuf], force: bool) -> anyhow::Result<Self> {
        Self::with_mode(path, inputs, force, 0o600)
    }

    /// For tables and verdicts, which whoever the umask allows may read.
    pub(super) fn for_text(path: &Path, inputs: &[PathBuf], force: bool) -> anyhow::Result<Self> {
        Self::with_mode(path, inputs, force, 0o666)
    }

    /// Refuses a place that cannot be written or that is one of the inputs, before any work is done. A file that is there is replaced
    /// only by force.
    fn with_mode(path: &Path, inputs: &[PathBuf], force: bool, mode: u32) -> anyhow::Result<Self> {
        super::check_output(path)?;
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
                bail!(exists(path));
            }
        }
        // A link stays, and what it leads to is replaced.
        let path = if found.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let permissions = Permissions::from_mode(mode);
        let draft = tempfile::Builder::new().prefix(".pagesieve-").permissions(permissions).tempfile_in(folder);
        let draft = draft.map_err(plain).with_context(|| format!("create {}", path.display()))?;
        discard_on_signal(draft.path())?;
        Ok(Place::File { path, draft, replaces: found.map(|found| found.permissions()), force })
    }

    /// What to write to.
    pub(super) fn output(&self) -> anyhow::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Place::File { draft, .. } => Box::new(draft.as_file().try_clone()?),
            Place::Special(file) => Box::new(file.try_clone()?),
            Place::Standard => Box::new(io::stdout()),
        })
    }

    /// The file gets its name, and the permissions of the one that it replaces.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let Place::File { path, draft, replaces, force } = self else { return Ok(()) };
        if let Some(permissions) = replaces {
            draft.as_file().set_permissions(permissions).with_context(|| format!("create {}", path.display()))?;
        }
        let done = if force { draft.persist(&path) } else { draft.persist_noclobber(&path) };
        match done {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => bail!(exists(&path)),
            Err(error) => Err(error.error).with_context(|| format!("create {}", path.display())),
        }
    }

    /// Writes a text, and keeps it.
    pub(super) fn keep_text(self, text: &str) -> anyhow::Result<()> {
        self.output()?.write_all(text.as_bytes()).context("write the output")?;
        self.keep()
    }
}

fn exists(path: &Path) -> String {
    format!("create {}: the file exists; choose another name or pass --force to replace it", path.display())
}

/// The system's own error: the name of the draft says nothing to the user.
fn plain(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|named| named.source()).and_then(|inner| inner.downcast_ref::<io::Error>());
    let code = error.raw_os_error().or_else(|| inner.and_then(io::Error::raw_os_error));
    code.map_or(error, io::Error::from_raw_os_error)
}

/// Drafts that a signal must not leave behind.
static DRAFTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn discard_on_signal(draft: &Path) -> anyhow::Result<()> {
    static WATCHED: Once = Once::new();
    DRAFTS.lock().unwrap_or_else(PoisonError::into_inner).push(draft.to_owned());
    let mut done = Ok(());
    WATCHED.call_once(|| done = watch_signals());
    done.context("handle signals")
}

/// A signal ends the program as always, but for the drafts.
fn watch_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let watch = move || {
        for signal in signals.forever() {
            for draft in DRAFTS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                // One that was kept has no such name any more.
                let _ = fs::remove_file(draft);
            }
            let _ = emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}
