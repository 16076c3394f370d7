//! The files: an old image, and a new one of which some blocks differ.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use pagesieve_benches::noise;
use tempfile::TempDir;

/// Bytes in a block.
pub(crate) const BLOCK: u64 = 64 << 10;

/// An old and a new image in a folder of their own.
pub(crate) struct Image {
    dir: TempDir,
    pub(crate) bytes: u64,
}

impl Image {
    /// Noise, which no compression makes smaller; every so many blocks of the new image are other noise.
    pub(crate) fn make(scratch: &Path, mib: u64, percent: u64, seed: u64) -> anyhow::Result<Self> {
        let image = Self { dir: TempDir::new_in(scratch)?, bytes: mib << 20 };
        let mut old = File::create(image.path("old"))?;
        for part in 0..mib {
            old.write_all(&noise(part + 1, 1 << 20))?;
        }
        fs::copy(image.path("old"), image.path("new"))?;
        let new = File::options().write(true).open(image.path("new"))?;
        for block in chosen(image.bytes, percent, seed) {
            new.write_all_at(&noise(block + 1_000_003 + seed, BLOCK as usize), block * BLOCK)?;
        }
        new.sync_all()?;
        Ok(image)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Gives the destination the old content, and lets it come to rest on the disk.
    pub(crate) fn reset(&self) -> anyhow::Result<PathBuf> {
        let to = self.path("there").join("disk");
        let _ = fs::remove_dir_all(self.path("there"));
        fs::create_dir(self.path("there"))?;
        fs::copy(self.path("old"), &to)?;
        // Or else rsync takes files of one length and time for equal.
        File::open(&to)?.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
        rustix::fs::sync();
        Ok(to)
    }

    /// # Errors
    /// The destination is not as the new image.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (ours, theirs) = (File::open(self.path("new"))?, File::open(self.path("there").join("disk"))?);
        ensure!(theirs.metadata()?.len() == self.bytes, "the destination has another length");
        let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for at in (0..self.bytes).step_by(1 << 20) {
            ours.read_exact_at(&mut one, at)?;
            theirs.read_exact_at(&mut other, at)?;
            ensure!(one == other, "the destination differs at {at:#x}");
        }
        Ok(())
    }
}

/// The blocks that change: evenly spread, but for a seed.
pub(crate) fn chosen(bytes: u64, percent: u64, seed: u64) -> impl Iterator<Item = u64> {
    let blocks = bytes / BLOCK;
    let count = blocks * percent / 100;
    (0..count).map(move |index| (index * blocks / count.max(1) + seed) % blocks)
}
