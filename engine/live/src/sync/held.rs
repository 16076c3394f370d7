//! Whether a destination is still as the last pass left it, without reading it.
//!
//! Two facts together prove that:
//!
//! - *Nobody else had it open while we did.* From the moment a pass has opened the destination until it is done with it, we have the
//!   kernel's lease of the file, which is given only if no other process has it open or mapped, and is lost if one opens it.
//! - *Its times are the same* when the next pass has opened it and has its lease: length, inode, modification and change, to the
//!   nanosecond. Whoever writes in between has to open it, and its first write takes a fault or a system call that sets the
//!   times. The kernel's clock goes in steps of up to 10 ms, so a write just after the pass could leave the same times; therefore
//!   a pass keeps the lease until they are older than that.
//!
//! If any of this cannot be had, the destination is read and fingerprinted. While a pass has the lease, whoever opens the destination
//! waits until the pass is over.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// The kernel's word that nobody else has a file open that we have open for writing.
#[derive(Clone, Copy, Debug)]
pub struct Leases {
    /// Takes the lease; an error if somebody has the file open, or if there is none to be had.
    pub take: fn(&File) -> io::Result<()>,
    /// True if nobody has tried to open the file since.
    pub holds: fn(&File) -> bool,
    /// Gives it back.
    pub give_back: fn(&File),
}

/// More than a step of any kernel's clock.
const STEP: Duration = Duration::from_millis(30);

/// A destination as a pass has left it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held(Stamp);

/// What changes with every write of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    node: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self {
            node: (data.dev(), data.ino()),
            len: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// True if a write now would certainly leave another time.
    fn is_past(&self) -> bool {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1)) else { return false };
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        SystemTime::now().duration_since(changed).is_ok_and(|age| age > STEP)
    }
}

impl Held {
    /// Looks at a destination that a pass has just completed, under a lease that it has had since it was opened, and gives that back.
    /// `None` if nothing can be proven of it.
    pub(super) async fn after_pass(file: &File, leases: Leases) -> Option<Self> {
        if (leases.holds)(file) {
            tokio::time::sleep(STEP * 2).await;
        }
        let stamp = stamp(file).filter(Stamp::is_past);
        let held = stamp.filter(|_| (leases.holds)(file)).map(Self);
        (leases.give_back)(file);
        held
    }

    /// True if the destination, of which we have the lease again, certainly holds what the pass left in it.
    pub(super) fn is_unchanged(&self, file: &File) -> bool {
        stamp(file) == Some(self.0)
    }
}

fn stamp(file: &File) -> Option<Stamp> {
    file.metadata().ok().filter(Metadata::is_file).map(|data| Stamp::of(&data))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    const GIVEN: Leases = Leases { take: |_| Ok(()), holds: |_| true, give_back: |_| () };
    const LOST: Leases = Leases { holds: |_| false, ..GIVEN };

    fn held(file: &File, leases: Leases) -> Option<Held> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Held::after_pass(file, leases))
    }

    #[test]
    fn a_file_counts_as_held_until_anything_happens_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("to"), dir.path().join("other"));
        let write = || File::options().write(true).open(&path).unwrap();
        let changes: [&dyn Fn(); 4] = [
            &|| write().write_all_at(b"b", 0).unwrap(),
            &|| write().set_len(1).unwrap(),
            &|| std::fs::rename(std::fs::copy(&path, &other).map(|_| &other).unwrap(), &path).unwrap(),
            &|| {
                // Someone who writes and puts the time of the last write back.
                let time = write().metadata().unwrap().modified().unwrap();
                write().write_all_at(b"b", 0).unwrap();
                write().set_modified(time).unwrap();
            },
        ];
        for (index, change) in changes.iter().enumerate() {
            std::fs::write(&path, b"ab").unwrap();
            let held = held(&write(), GIVEN).unwrap();
            assert!(held.is_unchanged(&write()));
            change();
            assert!(!held.is_unchanged(&write()), "change {index}");
        }
        assert_eq!(super::tests::held(&write(), LOST), None, "somebody has opened it");
    }

    #[test]
    fn times_of_just_now_prove_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("to")).unwrap();
        let now = stamp(&file).unwrap();
        assert!(!now.is_past());
        let future = Stamp { changed: (i64::MAX, 0), ..now };
        assert!(!future.is_past() && !Stamp { changed: (-1, 0), ..future }.is_past());
        assert!(Stamp { changed: (1, 0), ..future }.is_past());
    }
}
