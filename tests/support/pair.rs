//! Two QEMUs with the same machine: in one runs a guest, the other waits for it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use tempfile::TempDir;

use super::qemu::{Qemu, turn};
use super::{scratch, text};

const PAGE: usize = 4096;

/// The file that is the RAM of a guest. It goes away with the test.
pub struct Ram(pub PathBuf);

impl Ram {
    pub fn new(name: &str) -> Self {
        Self(PathBuf::from(format!("/dev/shm/pagesieve-test-{}-{name}.ram", std::process::id())))
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The two.
pub struct Pair {
    pub source: Qemu,
    pub destination: Qemu,
    pub here: Ram,
    pub there: Ram,
    class: String,
    disk: String,
    /// The disk of both.
    folder: TempDir,
    /// Two pairs at a time are too much for small computers.
    _turn: MutexGuard<'static, ()>,
}

impl Pair {
    /// All of the guest's RAM lies below 2 GiB, so the offset in the file is the address in the guest. More arguments are for both.
    pub fn start(class: &str, disk: &str, more: &[String]) -> Self {
        let turn = turn();
        let (here, there) = (Ram::new("source"), Ram::new("destination"));
        let folder = scratch();
        let file = folder.path().join("disk");
        let source = qemu(&arguments(class, disk, &file, &here, more, &[]), Qemu::boot);
        let destination = qemu(&arguments(class, disk, &file, &there, more, &["-incoming", "defer"]), Qemu::launch);
        Self { source, destination, here, there, class: class.to_owned(), disk: disk.to_owned(), folder, _turn: turn }
    }

    /// The guest has moved: its old QEMU ends, and a new one waits with the RAM that is left there.
    pub fn turn_round(mut self) -> Self {
        self.source.execute("quit", serde_json::json!({}));
        drop(self.source);
        let file = self.folder.path().join("disk");
        let waits = arguments(&self.class, &self.disk, &file, &self.here, &[], &["-incoming", "defer"]);
        let destination = qemu(&waits, Qemu::launch);
        Self { source: self.destination, destination, here: self.there, there: self.here, ..self }
    }

    /// Kills the QEMU that waits, and starts another one with the RAM that is left there.
    pub fn renew_destination(&mut self) {
        let _ = self.destination.process.0.kill();
        let _ = self.destination.process.0.wait();
        let file = self.folder.path().join("disk");
        let waits = arguments(&self.class, &self.disk, &file, &self.there, &[], &["-incoming", "defer"]);
        self.destination = qemu(&waits, Qemu::launch);
    }

    /// As [`Pair::renew_destination`], with new RAM in this folder.
    pub fn renew_destination_in(&mut self, folder: &Path) {
        self.there = Ram(folder.join("there.ram"));
        self.renew_destination();
    }

    /// Pages that are not the same in both.
    pub fn different_pages(&self) -> u64 {
        different_pages(&self.here.0, &self.there.0)
    }
}

fn arguments(class: &str, disk: &str, file: &Path, ram: &Ram, more: &[String], last: &[&str]) -> Vec<String> {
    let ours = ["--class", class, "--memory", "512M", "--backend", "shm", "--mem-path", text(&ram.0)];
    let disk = ["--disk", disk, "--disk-file", text(file), "--"];
    let words = ours.iter().chain(&disk).copied().chain(more.iter().map(String::as_str)).chain(last.iter().copied());
    words.map(str::to_owned).collect()
}

fn qemu(arguments: &[String], start: fn(&[&str]) -> Qemu) -> Qemu {
    start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn different_pages(here: &Path, there: &Path) -> u64 {
    let (here, there) = (File::open(here).expect("RAM"), File::open(there).expect("RAM"));
    let len = here.metadata().expect("a file").len();
    assert_eq!(len, there.metadata().expect("a file").len());
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut different = 0;
    for offset in (0..len).step_by(ours.len()) {
        here.read_exact_at(&mut ours, offset).expect("RAM");
        there.read_exact_at(&mut theirs, offset).expect("RAM");
        different += ours.chunks(PAGE).zip(theirs.chunks(PAGE)).filter(|(ours, theirs)| ours != theirs).count() as u64;
    }
    different
}
