//! Files on a disk: names, modes, and disks that are full.

mod common;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{frame, frames, header};
use pagesieve_core::{Epoch, Gfn, Nanos};
use pagesieve_traces::{CreateOptions, End, Reader, WriteError, Writer};

const FORCE: CreateOptions = CreateOptions { force: true };

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    fs::write(&path, "precious").unwrap();
    let error = Writer::create(&path, &header()).err().unwrap();
    assert!(matches!(error, WriteError::Exists { .. }));
    let text = error.to_string();
    assert!(text.contains("a.trace") && text.contains("choose another name") && text.contains("--force"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Writer::create_with(&path, &header(), FORCE).unwrap().finish().unwrap();
    assert_eq!(Reader::open(&path).unwrap().header(), &header());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "the old mode does not live on");
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    Writer::create(&path, &header()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_dropped_writer_leaves_a_readable_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    let mut writer = Writer::create(&path, &header()).unwrap();
    let mut length = writer.bytes_written();
    for frame in frames() {
        length = writer.write_frame(&frame).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), length, "a frame is in the file at once");
    }
    drop(writer);
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.frames().collect::<Result<Vec<_>, _>>().unwrap(), frames());
    assert_eq!(reader.end(), Some(&End::Cut { frames: 3, at_byte: length }));
}

#[test]
fn frames_that_break_a_rule_leave_the_file_as_it_was() {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &header()).unwrap();
    let mut length = writer.write_frame(&frame(0)).unwrap();
    type Fault = fn(&mut pagesieve_traces::Frame);
    let faults: [(&str, Fault); 7] = [
        ("does not follow", |frame| frame.epoch = Epoch(4)),
        ("begins before", |frame| frame.start = Nanos(0)),
        ("order of their time", |frame| frame.events.swap(0, 1)),
        ("order of their pages", |frame| frame.summaries.as_mut().unwrap()[1].gfn = Gfn(2)),
        ("beyond all memory", |frame| frame.events[3].gfn = Gfn(1 << 40)),
        ("a reason twice", |frame| frame.log.unknown.push(frame.log.unknown[0].clone())),
        ("slots overlap", |frame| frame.slots = Some(vec![common::slot(0, 2), common::slot(1, 2)])),
    ];
    // Frame 0 starts at 0, so that a start can lie before it only from frame 1 on.
    length = length.max(writer.write_frame(&frame(1)).unwrap());
    for (why, fault) in faults {
        let mut bad = frame(2);
        fault(&mut bad);
        let error = writer.write_frame(&bad).unwrap_err();
        assert!(matches!(error, WriteError::Frame { .. }) && error.to_string().contains(why), "{error}");
        assert_eq!(writer.bytes_written(), length);
    }
    writer.write_frame(&frame(2)).unwrap();
    writer.finish().unwrap();
    assert_eq!(common::read(&file).unwrap(), frames());
}

/// Takes so many bytes, then reports a full disk.
struct Small {
    left: usize,
    taken: Vec<u8>,
}

impl Write for &mut Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.left);
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left -= count;
        self.taken.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn whatever_fits_on_a_disk_is_readable() {
    let whole = common::file(&header(), &frames()).len();
    let header_length = common::first_frame_at(&common::file(&header(), &[]));
    for room in (header_length..whole).step_by(7) {
        let mut disk = Small { left: room, taken: Vec::new() };
        let mut writer = Writer::new(&mut disk, &header()).unwrap();
        let mut fitted = 0;
        let failed = loop {
            if fitted == 3 {
                break None;
            }
            match writer.write_frame(&frame(fitted)) {
                Ok(_) => fitted += 1,
                Err(error) => break Some(error),
            }
        };
        match failed {
            Some(error) => {
                assert!(matches!(error, WriteError::DiskFull { frames, .. } if frames == u64::from(fitted)), "{error}");
                let again = writer.write_frame(&frame(fitted)).unwrap_err();
                assert!(matches!(again, WriteError::Broken { .. }), "half a frame cannot be taken back here");
            }
            None => assert!(matches!(writer.finish(), Err(WriteError::DiskFull { frames: 3, .. }))),
        }
        assert_eq!(common::read(&disk.taken).unwrap(), frames()[..fitted as usize]);
    }
}

#[test]
fn a_device_without_space_is_named() {
    let error = Writer::create_with(Path::new("/dev/full"), &header(), FORCE).err().unwrap();
    assert!(matches!(error, WriteError::DiskFull { frames: 0, .. }), "{error}");
    assert!(error.to_string().contains("/dev/full"), "{error}");
}

/// A tiny file system, taken away at the end.
struct Disk(PathBuf);

impl Disk {
    /// `None` without the right to mount.
    fn mount(dir: &Path, options: &std::ffi::CStr) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        mount("tmpfs", dir, "tmpfs", MountFlags::empty(), Some(options)).ok()?;
        Some(Self(dir.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_keeps_whole_frames_and_takes_more_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), c"size=48k") else {
        // The other tests simulate the same; a real file system needs the right to mount one.
        return;
    };
    let ballast = disk.0.join("ballast");
    let filled = fs::write(&ballast, vec![1; 64 << 10]);
    assert_eq!(filled.map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
    let early = disk.0.join("early.trace");
    assert!(matches!(Writer::create(&early, &header()), Err(WriteError::DiskFull { frames: 0, .. })));
    assert!(!early.exists(), "no empty file stays behind");

    fs::write(&ballast, vec![1; 32 << 10]).unwrap();
    let path = disk.0.join("a.trace");
    let mut writer = Writer::create(&path, &header()).unwrap();
    let mut next = 1;
    let error = loop {
        match writer.write_frame(&frame(next)) {
            Ok(_) => next += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WriteError::DiskFull { frames, .. } if frames == u64::from(next - 1)), "{error}");
    assert!(error.to_string().contains("a.trace") && error.to_string().contains("free some space"), "{error}");
    assert_eq!(fs::metadata(&path).unwrap().len(), writer.bytes_written(), "half a frame was taken back");

    fs::remove_file(&ballast).unwrap();
    writer.write_frame(&frame(next)).unwrap();
    writer.finish().unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.frames().map(|frame| frame.unwrap().epoch.0).collect::<Vec<_>>(), (1..=next).collect::<Vec<_>>());
    assert_eq!(reader.end(), Some(&End::Complete));
}
