//! Leases: the kernel's word that nobody else has a file open.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Chooses the signal of a lease; missing from `libc`.
const F_SETSIG: i32 = 10;

/// Takes the write lease of a file that we have open for writing. The kernel gives it only if nobody else has the file open or mapped.
/// Until the file is closed or the lease given back, whoever opens it waits, for 45 seconds by default; [`holds_lease`] then says no.
///
/// # Errors
/// Somebody has it open, it belongs to somebody else (root may ask for any), or its file system has no leases.
pub fn take_lease(file: &File) -> io::Result<()> {
    // Whoever opens the file has a signal sent to us; this one is ignored unless it is asked for.
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    fcntl(file, libc::F_SETLEASE, libc::F_WRLCK).map(|_| ())
}

/// True if nobody has tried to open the file since the lease was taken.
#[must_use]
pub fn holds_lease(file: &File) -> bool {
    fcntl(file, libc::F_GETLEASE, 0).is_ok_and(|lease| lease == libc::F_WRLCK)
}

/// Gives the lease back: others may open the file.
pub fn give_lease_back(file: &File) {
    // There may be none; then all is well, too.
    let _ = fcntl(file, libc::F_SETLEASE, libc::F_UNLCK);
}

fn fcntl(file: &File, command: i32, argument: i32) -> io::Result<i32> {
    // SAFETY: the descriptor is open, and these commands take an integer or nothing.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workload::Workload;

    fn file(test: &str) -> Option<(tempfile::TempDir, PathBuf, File)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::create(&path).unwrap();
        if let Err(error) = take_lease(&file) {
            pagesieve_ebpf::testing::skipped(test, &format!("no leases here: {error}"));
            return None;
        }
        assert!(holds_lease(&file));
        give_lease_back(&file);
        assert!(!holds_lease(&file));
        Some((dir, path, file))
    }

    #[test]
    fn nobody_else_has_a_file_of_which_we_have_the_lease() {
        let Some((_dir, path, file)) = file("nobody_else_has_a_file") else { return };
        let other = File::open(&path).unwrap();
        drop(other);
        let writer = File::options().write(true).open(&path).unwrap();
        assert!(take_lease(&file).is_err() && !holds_lease(&file));
        drop(writer);
        take_lease(&file).unwrap();
        std::thread::scope(|scope| {
            let opener = scope.spawn(|| File::open(&path).unwrap());
            while holds_lease(&file) {
                std::thread::yield_now();
            }
            give_lease_back(&file);
            opener.join().unwrap();
        });
    }

    #[test]
    fn a_mapping_whose_descriptor_is_closed_stands_in_the_way() {
        let Some((_dir, path, file)) = file("a_mapping_whose_descriptor_is_closed") else { return };
        let workload = Workload {
            class: pagesieve_traces::Class::Idle,
            memory: 1 << 18,
            backing: pagesieve_core::Backing::Shared,
            file: Some(path.clone()),
            seed: 1,
            length: std::time::Duration::from_millis(500),
            adversary: None,
        };
        std::thread::scope(|scope| {
            let running = scope.spawn(|| workload.run());
            while path.metadata().map_or(0, |data| data.len()) == 0 {
                std::thread::yield_now();
            }
            assert!(take_lease(&file).is_err());
            running.join().unwrap().unwrap();
            take_lease(&file).unwrap();
        });
    }
}
