//! A disk that takes its time, and something to read from it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A control group whose disk reads take their time. They are held up below the file system, with the guest's pages pinned already.
pub struct SlowDisk(PathBuf);

impl SlowDisk {
    /// Moves a process there. The limits, of reads and of bytes read per second, are on the device that holds this folder.
    pub fn for_process(pid: u32, folder: &Path, iops: u32, bytes: u64) -> std::io::Result<Self> {
        let device = folder.metadata()?.dev();
        let group = PathBuf::from(format!("/sys/fs/cgroup/blkio/pagesieve-test-{}", std::process::id()));
        std::fs::create_dir_all(&group)?;
        let slow = Self(group);
        for (name, limit) in [("iops", u64::from(iops)), ("bps", bytes)] {
            let limit = format!("{}:{} {limit}", rustix::fs::major(device), rustix::fs::minor(device));
            std::fs::write(slow.0.join(format!("blkio.throttle.read_{name}_device")), limit)?;
        }
        std::fs::write(slow.0.join("cgroup.procs"), pid.to_string())?;
        Ok(slow)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // Its process has ended or goes back to where all others are; only an empty group can be removed.
        for pid in std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = std::fs::write("/sys/fs/cgroup/blkio/cgroup.procs", pid);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Makes a file for a guest to read: larger than its memory and nowhere alike, so that each page it reads is another.
pub fn noise(folder: &Path) -> PathBuf {
    let path = folder.join("data");
    let mut noise = File::open("/dev/urandom").expect("the system has random bytes").take(640 << 20);
    std::io::copy(&mut noise, &mut File::create(&path).expect("a file")).expect("room for it");
    path
}

/// QEMU's options for a second disk of such a file, with direct and asynchronous I/O (`native` or `io_uring`). The guest reads it
/// all the time, and as the disk prefers large reads, it reads 16 MiB ahead, in requests of a MiB and more.
pub fn drive(file: &Path, aio: &str) -> [String; 4] {
    let drive = format!("file={},if=none,id=data,format=raw,cache=none,aio={aio},readonly=on", file.display());
    ["-drive".to_owned(), drive, "-device".to_owned(), "virtio-blk-pci,drive=data,opt_io_size=8388608".to_owned()]
}
