//! The memory of a running process or guest, synced into a file: of one instant, and by its own page numbers.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use pagesieve_core::PAGE_SIZE;
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{LiveOptions, LiveTarget};
use rustix::process::Signal;
use serde_json::Value;
use support::destination::Destination;
use support::qemu::{Qemu, can_run_guests};
use support::{Background, PAGESIEVE, at, can_record, count, run, scratch, text, wait_until};

/// Set for a test program that is to be [`writer`].
const WRITER: &str = "PAGESIEVE_TEST_WRITER";
const FIRST: u64 = 0x7061_6765_5f6f_6e65;
const LAST: u64 = 0x7061_6765_5f74_776f;
const WORDS_A_PAGE: usize = 512;

/// Not a test: a process that counts at the start of its memory and then at the end, and writes some pages in between.
#[test]
fn writer() {
    if std::env::var_os(WRITER).is_none() {
        return;
    }
    let words: Vec<AtomicU64> = (0..16 * 256 * WORDS_A_PAGE).map(|at| AtomicU64::new(at as u64 / 3 + 1)).collect();
    let (first, last) = (1, words.len() - 1);
    words[0].store(FIRST, Ordering::SeqCst);
    words[last - 1].store(LAST, Ordering::SeqCst);
    for number in 0_u64.. {
        words[first].store(number, Ordering::SeqCst);
        words[last].store(number, Ordering::SeqCst);
        words[WORDS_A_PAGE * (1 + (number as usize / 64) % 200)].store(number, Ordering::SeqCst);
    }
}

/// The two counters in an image.
fn counters(image: &Path) -> (u64, u64) {
    let bytes = fs::read(image).unwrap();
    let words: Vec<u64> = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    let behind = |mark: u64| words.iter().position(|&word| word == mark).map(|at| words[at + 1]);
    (behind(FIRST).expect("the start is there"), behind(LAST).expect("the end is there"))
}

fn sync(source: &str, to: &str, options: &[&str]) -> Vec<Value> {
    let out = run(["sync", "--json", "--force", source, to, "--every", "10ms"].iter().chain(options)).expect_quiet_success();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_copy_of_a_process_is_of_one_instant() {
    let test = "the_copy_of_a_process_is_of_one_instant";
    if !can_record(test) {
        return;
    }
    let dir = scratch();
    let (image, there) = (dir.path().join("image"), Destination::start(&dir.path().join("there"), &[]));
    let mut command = Command::new(std::env::current_exe().unwrap());
    let process = Background::spawn(command.args(["writer", "--exact"]).env(WRITER, "1").stdout(Stdio::null()));
    let source = format!("pid:{}", process.pid());
    wait_until("its memory", || {
        let done = run(["sync", "--force", &source, text(&image)]);
        let has = |mark: u64| fs::read(&image).is_ok_and(|bytes| bytes.chunks_exact(8).any(|word| word == mark.to_le_bytes()));
        done.code == Some(0) && has(FIRST) && has(LAST)
    });
    let mut before = 0;
    for (to, image) in
        [(text(&image).to_owned(), image.clone()), (format!("localhost:{}/image", there.port), there.dir.join("image"))]
    {
        for times in ["1", "1", "3"] {
            let passes = sync(&source, &to, &["--times", times]);
            let (first, last) = counters(&image);
            assert!(first == last || first == last + 1, "{first} and {last} were never there together: {passes:?}");
            assert!(last > before, "it goes on");
            before = last;
            assert!(at(&passes[0], "paused_seconds").is_number());
        }
    }
}

#[test]
fn every_page_of_a_process_is_where_a_recording_has_it() {
    if !can_record("every_page_of_a_process_is_where_a_recording_has_it") {
        return;
    }
    let dir = scratch();
    let image = dir.path().join("image");
    let mut command = Command::new(PAGESIEVE);
    command.args(["workload", "--class", "light", "--memory", "16MiB", "--seconds", "600"]).stdout(Stdio::null());
    let process = Background::spawn(&mut command);
    let spec = TargetSpec::Pid(process.pid());
    wait_until("its memory", || {
        LiveTarget::open(&spec, &LiveOptions::default(), None).is_ok_and(|target| target.slots().pages() >= 16 << 8)
    });
    let source = format!("pid:{}", process.pid());
    // What was there before must not shine through.
    fs::write(&image, vec![7; 40 << 20]).unwrap();
    let passes = sync(&source, text(&image), &["--times", "4"]);
    assert_eq!(passes.len(), 4);
    process.signal(Signal::STOP);
    sync(&source, text(&image), &["--times", "2"]);
    let target = LiveTarget::open(&spec, &LiveOptions::default(), None).unwrap();
    let bytes = fs::read(&image).unwrap();
    let memory = fs::File::open(format!("/proc/{}/mem", process.pid())).unwrap();
    let mut data = 0;
    let mut end = 0;
    for slot in target.slots().iter() {
        for gfn in (slot.base.0..slot.end().0).filter(|&gfn| target.populated().contains(pagesieve_core::Gfn(gfn))) {
            let mut page = vec![0; PAGE_SIZE as usize];
            let hva = slot.hva_of(pagesieve_core::Gfn(gfn)).0;
            std::os::unix::fs::FileExt::read_exact_at(&memory, &mut page, hva).unwrap();
            assert!(bytes[(gfn * PAGE_SIZE) as usize..][..PAGE_SIZE as usize] == page, "page {gfn:#x}");
            data += u64::from(page.iter().any(|&byte| byte != 0));
        }
        end = end.max(slot.end().0 * PAGE_SIZE);
    }
    assert!(data > 0 && bytes.len() as u64 == end);
}

#[test]
fn a_guest_is_copied_by_its_own_addresses() {
    if !can_run_guests("a_guest_is_copied_by_its_own_addresses") {
        return;
    }
    let dir = scratch();
    let (image, saved) = (dir.path().join("image"), dir.path().join("saved"));
    // Half below the hole and half above it; nearly all of it is empty.
    let mut qemu = Qemu::start(&["-machine", "q35", "-m", "4096M"]);
    let source = format!("qmp:{}", text(&qemu.socket()));
    let passes = sync(&source, text(&image), &["--times", "2"]);
    assert!(count(&passes[1], "filter.blocks_skipped") > 0, "{passes:?}");
    assert_eq!(qemu.status(), "running");
    qemu.execute("stop", serde_json::json!({}));
    sync(&source, text(&image), &["--times", "1"]);
    assert_eq!(qemu.status(), "paused", "somebody else has stopped it");
    let data = image.metadata().unwrap();
    assert!(data.len() > 4 << 30 && data.blocks() * 512 < 64 << 20, "holes take no room: {data:?}");
    // Between these two lie ROMs, of which the guest sees another side.
    for (start, len) in [(0, 0xa_0000), (1 << 20, 15 << 20)] {
        qemu.human(&format!("pmemsave {start} {len} \"{}\"", text(&saved)));
        let (ours, theirs) = (read_at(&image, start, len), fs::read(&saved).unwrap());
        assert!(ours == theirs, "from {start:#x} on");
        assert!(start > 0 || ours.iter().any(|&byte| byte != 0), "the firmware has left something");
    }
}

fn read_at(path: &Path, start: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    std::os::unix::fs::FileExt::read_exact_at(&fs::File::open(path).unwrap(), &mut bytes, start).unwrap();
    bytes
}

#[test]
fn what_makes_no_sense_with_memory_is_said() {
    let run = |arguments: &[&str]| run(["sync"].iter().chain(arguments));
    run(&["--verify", "pid:1", "to"]).expect_failure(&["--verify"]);
    run(&["--pid", "1", "pid:1", "to"]).expect_failure(&["leave them out"]);
    run(&["pid:999999999", "to"]).expect_failure(&["999999999"]);
    run(&["qmp:/nowhere", "to"]).expect_failure(&["/nowhere"]);
}
