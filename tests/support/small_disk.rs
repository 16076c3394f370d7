//! A file system that is full soon.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small tmpfs; it is unmounted with the test.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many bytes, if that is allowed.
    pub fn mount(at: &Path, bytes: u64) -> Result<Self, String> {
        std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
        mount(at, &format!("size={bytes}"))?;
        Ok(Self(at.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it another size.
    #[track_caller]
    pub fn resize(&self, bytes: u64) {
        mount(&self.0, &format!("remount,size={bytes}")).expect("it was mounted before");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open there: it goes away with the last of them.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(at: &Path, options: &str) -> Result<(), String> {
    let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
    let done = done.map_err(|error| format!("there is no mount: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}
