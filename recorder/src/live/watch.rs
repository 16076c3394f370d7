//! Ways into a file that leave no mark in the page tables of the process that is observed.
//!
//! A change of a file comes through a mapping or through a descriptor. Of the observed process's mappings the dirty log tells.
//! Everything else is looked for here, at the end of each epoch, and any of it puts the whole file in doubt:
//!
//! - *A descriptor is written to, the file is cut or punched:* the kernel reports it (inotify) when the change is complete. One
//!   that is still going on is reported in the next epoch, and then that one is in doubt.
//! - *A process has the file open or mapped for writing:* `/proc` shows it. One that came and went within the epoch has closed the
//!   file, which is reported too, and only when its last mapping is gone.
//! - *The observed process itself* may have the file open, as whoever maps memory by a file does. What it writes through that is
//!   reported, but for the system's asynchronous I/O (AIO), so a process that has both is in doubt.
//! - *A loop device* writes into its file unreported.
//!
//! A process that `/proc` does not show, or does not let root look into (one outside of our container), is not seen. It could have
//! opened the file only before we began to watch, or have been given it.
//!
//! The order matters: `/proc` first, then what was reported. A process that `/proc` no longer showed has closed the file before.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::maps::{self, FileId, Mapping};
use crate::sharers;

/// File systems of which every change passes through this kernel, under one inode: tmpfs, ramfs, ext2 to ext4, XFS, Btrfs, F2FS.
const LOCAL: [u64; 6] = [0x0102_1994, 0x8584_58f6, 0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

/// A file that is watched for writes from elsewhere.
#[derive(Debug)]
pub(super) struct FileWatch {
    /// The process whose mappings are tracked.
    pid: u32,
    node: (u64, u64),
    file: FileId,
    reports: OwnedFd,
    /// Why nothing can ever be said of this file.
    hopeless: Option<String>,
}

/// What `/proc` says.
enum Look {
    Nobody,
    Doubt(String),
}

impl FileWatch {
    /// Begins to watch.
    pub(super) fn open(file: &File, pid: u32) -> io::Result<Self> {
        let reports = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&reports, format!("/proc/self/fd/{}", file.as_raw_fd()), flags)?;
        let data = file.metadata()?;
        let kind = rustix::fs::fstatfs(file)?.f_type as u64;
        let hopeless = if !data.file_type().is_file() {
            Some("it is no regular file: who writes to a device is not seen".to_owned())
        } else if !LOCAL.contains(&kind) {
            Some(format!("its file system (type {kind:#x}) may change it from elsewhere"))
        } else {
            None
        };
        Ok(Self { pid, node: (data.dev(), data.ino()), file: FileId::of(&data), reports, hopeless })
    }

    /// What else than the observed process's mappings may have changed the file since the last call, or may do so now.
    pub(super) fn doubt(&mut self) -> Option<String> {
        let look = self.look();
        // Whatever was found, what was reported belongs to this epoch.
        let reported = self.reported();
        match look {
            _ if self.hopeless.is_some() => self.hopeless.clone(),
            Look::Doubt(why) => Some(why),
            Look::Nobody => reported.map(str::to_owned),
        }
    }

    fn reported(&self) -> Option<&'static str> {
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.reports, &mut room);
        let mut found = None;
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::MODIFY) => found = Some("it was written through a descriptor"),
                Ok(event) if event.events().contains(ReadFlags::CLOSE_WRITE) => {
                    found = found.or(Some("a process that had it open for writing has closed it"));
                }
                Ok(_) => found = found.or(Some("reports of writes were lost")),
                Err(Errno::AGAIN) => return found,
                Err(Errno::INTR) => {}
                Err(_) => return Some("reports of writes cannot be read"),
            }
        }
    }

    fn look(&self) -> Look {
        if let Some(device) = self.loop_device() {
            return Look::Doubt(format!("it is the disk of {device}"));
        }
        let ours = std::process::id();
        for pid in sharers::processes().filter(|&pid| pid != ours) {
            let looked = if pid == self.pid { self.asynchronous() } else { self.has_for_writing(pid) };
            match looked {
                Ok(None) => {}
                Ok(Some(why)) => return Look::Doubt(why),
                // It has ended meanwhile, and what it had open is reported as closed.
                Err(error) if is_ended(&error) => {}
                // It is guarded even from root, as the first process of a container is. Those outside are not shown at all.
                Err(_) if pid != self.pid && rustix::process::geteuid().is_root() => {}
                Err(_) => return Look::Doubt(format!("what process {pid} has open cannot be read: it takes root")),
            }
        }
        Look::Nobody
    }

    /// The observed process may write by AIO.
    fn asynchronous(&self) -> io::Result<Option<String>> {
        let pid = self.pid;
        let has_aio = maps::read(pid)?.iter().any(|mapping| mapping.name.contains("[aio]"));
        Ok((has_aio && self.writes_by_descriptor(pid)?).then(|| format!("process {pid} may write it by asynchronous I/O")))
    }

    fn has_for_writing(&self, pid: u32) -> io::Result<Option<String>> {
        let may_write =
            |mapping: &Mapping| mapping.shared && mapping.file.as_ref() == Some(&self.file) && maps::may_write(pid, mapping);
        if maps::read(pid)?.iter().any(may_write) {
            return Ok(Some(format!("process {pid} has mapped it and may write it")));
        }
        Ok(self.writes_by_descriptor(pid)?.then(|| format!("process {pid} has it open for writing")))
    }

    fn writes_by_descriptor(&self, pid: u32) -> io::Result<bool> {
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let Ok(entry) = entry else { continue };
            let is_it = fs::metadata(entry.path()).is_ok_and(|data| (data.dev(), data.ino()) == self.node);
            if !is_it {
                continue;
            }
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_string_lossy()));
            if info.map_or(true, |info| !sharers::opened_for_reading(&info)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn loop_device(&self) -> Option<String> {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        devices.map(|device| device.path()).find_map(|device| {
            let backing = fs::read_to_string(device.join("loop/backing_file")).ok()?;
            let data = PathBuf::from(backing.trim_end_matches('\n')).metadata().ok()?;
            ((data.dev(), data.ino()) == self.node).then(|| device.file_name().unwrap_or_default().to_string_lossy().into_owned())
        })
    }
}

fn is_ended(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::process::{Command, Stdio};

    use super::*;

    fn watched() -> (tempfile::NamedTempFile, FileWatch) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8192).unwrap();
        // Ours are never looked at, so the process need not have the file.
        let watch = FileWatch::open(file.as_file(), std::process::id()).unwrap();
        (file, watch)
    }

    fn doubt(watch: &mut FileWatch, words: &str) {
        let doubt = watch.doubt().unwrap_or_default();
        assert!(doubt.contains(words) && (!words.is_empty() || doubt.is_empty()), "{doubt:?}, not {words:?}");
    }

    #[test]
    fn writes_through_descriptors_are_reported_once() {
        if !rustix::process::geteuid().is_root() {
            return pagesieve_ebpf::testing::skipped("writes_through_descriptors", "it needs root");
        }
        let (file, mut watch) = watched();
        doubt(&mut watch, "");
        file.as_file().write_all_at(&[1], 5000).unwrap();
        doubt(&mut watch, "through a descriptor");
        doubt(&mut watch, "");
        file.as_file().set_len(4096).unwrap();
        doubt(&mut watch, "through a descriptor");
        rustix::fs::fallocate(file.as_file(), rustix::fs::FallocateFlags::empty(), 0, 9000).unwrap();
        doubt(&mut watch, "through a descriptor");
        drop(File::options().write(true).open(file.path()).unwrap());
        doubt(&mut watch, "has closed it");
        File::open(file.path()).unwrap().read_exact_at(&mut [0], 0).unwrap();
        doubt(&mut watch, "");
    }

    #[test]
    fn a_process_that_may_write_is_found() {
        if !rustix::process::geteuid().is_root() {
            return pagesieve_ebpf::testing::skipped("a_process_that_may_write", "it needs root");
        }
        let (file, mut watch) = watched();
        let sleeper = |input: File| Command::new("sleep").arg("600").stdin(Stdio::from(input)).spawn().unwrap();
        let mut reader = sleeper(File::open(file.path()).unwrap());
        doubt(&mut watch, "");
        let mut writer = sleeper(File::options().read(true).write(true).open(file.path()).unwrap());
        doubt(&mut watch, &format!("process {} has it open for writing", writer.id()));
        writer.kill().unwrap();
        writer.wait().unwrap();
        doubt(&mut watch, "has closed it");
        doubt(&mut watch, "");
        reader.kill().unwrap();
        reader.wait().unwrap();
    }

    #[test]
    fn other_kinds_of_files_are_never_trusted() {
        let proc = File::open("/proc/self/stat").unwrap();
        doubt(&mut FileWatch::open(&proc, 1).unwrap(), "its file system");
        let null = File::open("/dev/null").unwrap();
        doubt(&mut FileWatch::open(&null, 1).unwrap(), "no regular file");
    }
}
