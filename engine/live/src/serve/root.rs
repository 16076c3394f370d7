//! The folder below which a destination writes, and nowhere else.
//!
//! A name comes from another machine. A [`Name`] has no `..`; each of its folders is opened from the one above it, so that no symbolic
//! link, not even one that appears in this very moment, leads out.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::wire::Name;

/// The folder.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
}

/// A place for a file below a [`Root`].
#[derive(Debug)]
pub struct Spot {
    path: PathBuf,
    /// Keeps `path` meaning the same folder.
    _folder: OwnedFd,
}

/// Why there is no place of this name at the destination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Such names are those of unfinished files.
    #[error("write {name:?}: names like this are kept for unfinished files; choose another name")]
    Reserved {
        /// The name.
        name: String,
    },
    /// Something else than a file has the name.
    #[error("write {name:?}: what has this name at the destination is no regular file; choose another name")]
    NoFile {
        /// The name.
        name: String,
    },
    /// A folder cannot be opened or made.
    #[error("open the folder of {name:?} at the destination: {error}")]
    Folder {
        /// The name.
        name: String,
        /// Why.
        error: io::Error,
    },
}

impl Root {
    /// Opens the folder.
    ///
    /// # Errors
    /// Those of opening a folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { folder })
    }

    /// The place of a file, below folders that are made as needed.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn locate(&self, name: &Name) -> Result<Spot, NameError> {
        let name = name.as_str();
        let (folders, file) = name.rsplit_once('/').map_or((None, name), |(folders, file)| (Some(folders), file));
        if file.starts_with('.') && (file.ends_with(".pagesieve-part") || file.ends_with(".pagesieve-journal")) {
            return Err(NameError::Reserved { name: name.to_owned() });
        }
        let failed = |error: io::Error| NameError::Folder { name: name.to_owned(), error };
        let mut folder = self.folder.try_clone().map_err(failed)?;
        for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
            folder = enter(&folder, part).map_err(|error| failed(error.into()))?;
        }
        match rustix::fs::statat(&folder, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
                Err(NameError::NoFile { name: name.to_owned() })
            }
            Ok(_) | Err(Errno::NOENT) => {
                let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(file);
                Ok(Spot { path, _folder: folder })
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

impl Spot {
    /// A path to the file, good for this process and as long as the spot lives. Its last part may become a symbolic link: it must
    /// be opened without following any.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens a folder in another one; makes it if it is missing.
fn enter(folder: &OwnedFd, part: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(folder, part, flags, Mode::empty(), resolve);
    match open() {
        Err(Errno::NOENT) => match rustix::fs::mkdirat(folder, part, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error),
        },
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    fn folder() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn a_file_lands_below_the_folder() {
        let (dir, root) = folder();
        for path in ["disk.img", "a/b/disk.img", "a/.hidden", "a b", "über/ß", "..."] {
            let spot = root.locate(&name(path)).unwrap();
            std::fs::write(spot.path(), path).unwrap();
            assert_eq!(std::fs::read(dir.path().join("root").join(path)).unwrap(), path.as_bytes());
            assert!(root.locate(&name(path)).is_ok(), "it is there now");
        }
    }

    #[test]
    fn a_place_stays_where_it_was() {
        let (dir, root) = folder();
        let spot = root.locate(&name("a/disk.img")).unwrap();
        let (inside, outside) = (dir.path().join("root/a"), dir.path().join("outside"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::rename(&inside, dir.path().join("root/b")).unwrap();
        symlink(&outside, &inside).unwrap();
        std::fs::write(spot.path(), "x").unwrap();
        assert!(dir.path().join("root/b/disk.img").exists() && !outside.join("disk.img").exists());
    }

    #[test]
    fn no_name_leads_out() {
        let (dir, root) = folder();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/file"), "x").unwrap();
        symlink("../outside", dir.path().join("root/link")).unwrap();
        symlink("../outside/file", dir.path().join("root/file")).unwrap();
        symlink("/proc/self/root", dir.path().join("root/magic")).unwrap();
        std::fs::create_dir(dir.path().join("root/folder")).unwrap();
        for path in ["link/x", "magic/x", "file/x"] {
            assert!(root.locate(&name(path)).is_err(), "{path:?}");
        }
        for path in ["link", "file", "folder"] {
            assert!(matches!(root.locate(&name(path)), Err(NameError::NoFile { .. })), "{path:?}");
        }
        for path in [".disk.pagesieve-part", "a/.disk.pagesieve-journal"] {
            assert!(matches!(root.locate(&name(path)), Err(NameError::Reserved { .. })), "{path:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path().join("outside")).unwrap().count(), 1);
    }
}
