//! The committed corpus: each trace is what the manifest says, is valid, and passes every check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pagesieve_traces::{Frame, Header, Reader, Writer};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What `record.sh` noted of each trace.
#[derive(Deserialize)]
struct Manifest {
    trace: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
    class: String,
    sha256: String,
    bytes: u64,
    kernel: String,
    hooks: Vec<String>,
    frames: u64,
    events: u64,
    dirty_pages: u64,
    changed_pages: u64,
    lost_by_aging_literal: u64,
    self_check: Option<u64>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/corpus")
}

fn manifest() -> Vec<Entry> {
    let text = fs::read_to_string(corpus().join("manifest.toml")).expect("the manifest is committed");
    toml::from_str::<Manifest>(&text).expect("the manifest is what record.sh writes").trace
}

fn json(arguments: &[&str], file: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_pagesieve")).args(arguments).arg("--json").arg(file).output();
    let output = output.expect("the command starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The seed's classes.
const CLASSES: [&str; 4] = ["idle", "light", "mixed", "heavy-io"];
const SOUND: [&str; 5] = ["send-all", "proven", "aging", "adaptive", "predictive"];
/// Most bytes of one trace, and of all.
const LARGEST: u64 = 3 << 20;
const LARGEST_CORPUS: u64 = 25 << 20;

#[test]
fn every_trace_is_what_the_manifest_says() {
    let entries = manifest();
    for entry in &entries {
        let bytes = fs::read(corpus().join(&entry.file)).expect("every trace of the manifest is committed");
        assert_eq!(
            (format!("{:x}", Sha256::digest(&bytes)), bytes.len() as u64),
            (entry.sha256.clone(), entry.bytes),
            "{}",
            entry.file
        );
        assert!(entry.bytes <= LARGEST, "{} is too large to be committed", entry.file);
    }
    assert!(entries.iter().map(|entry| entry.bytes).sum::<u64>() <= LARGEST_CORPUS);
    let listed: BTreeSet<&str> = entries.iter().map(|entry| entry.file.as_str()).collect();
    let files = fs::read_dir(corpus()).expect("the corpus is committed").flatten();
    let names = files.map(|file| file.file_name().into_string().expect("a plain name"));
    let there: BTreeSet<String> = names.filter(|name| name.ends_with(".trace")).collect();
    assert_eq!(there.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn each_class_was_recorded_from_two_guests_whose_self_check_went_on() {
    let entries = manifest();
    for class in CLASSES {
        let guests: Vec<_> = entries.iter().filter(|entry| entry.class == class).collect();
        assert!(guests.len() >= 2, "{class}");
        for guest in guests {
            assert!(guest.self_check > Some(30), "{}: {:?}", guest.file, guest.self_check);
            let info = json(&["trace", "info"], &corpus().join(&guest.file));
            assert_eq!((&info["target"]["kind"], &info["class"]), (&"qemu".into(), &class.into()), "{}", guest.file);
        }
    }
}

#[test]
fn every_trace_was_recorded_with_ebpf_and_verifies() {
    for entry in manifest() {
        let (file, name) = (corpus().join(&entry.file), &entry.file);
        let info = json(&["trace", "info"], &file);
        assert_eq!((&info["source"], &info["complete"]), (&"ebpf".into(), &true.into()), "{name}");
        assert_eq!((&info["events"], &info["frames"]), (&entry.events.into(), &entry.frames.into()), "{name}");
        assert_eq!(info["lost_events"], 0, "{name}");
        assert_eq!((&info["machine"]["kernel"], &info["hooks"]), (&entry.kernel.into(), &entry.hooks.into()), "{name}");
        assert_eq!(json(&["trace", "validate"], &file)["problems"], Value::Array(Vec::new()), "{name}");
        let verified = json(&["verify"], &file);
        assert_eq!(verified["ok"], true, "{verified:#}");
        assert_eq!(verified["recall"]["content_in_log"], 1.0, "{name}");
        assert_eq!(verified["dirty_log"], entry.dirty_pages, "{name}");
        assert_eq!(verified["content_changed"], entry.changed_pages, "{name}");
        for policy in SOUND {
            assert_eq!(verified["lost_pages"][policy], 0, "{name}: {policy}");
        }
        assert_eq!(verified["lost_pages"]["aging-literal"], entry.lost_by_aging_literal, "{name}");
        assert!(entry.lost_by_aging_literal > 0, "{name}: the seed's rule loses pages");
    }
}

/// The check above replays every policy from one start each. What the destination holds at the start matters to the proofs.
#[test]
fn no_page_is_lost_whatever_the_destination_holds() {
    for entry in manifest() {
        for policy in ["proven", "predictive"] {
            for scenario in ["sync", "precopy"] {
                for baseline in ["empty", "checkpoint", "fingerprints"] {
                    let options = ["replay", "--policy", policy, "--scenario", scenario, "--baseline", baseline];
                    let replayed = json(&options, &corpus().join(&entry.file));
                    assert_eq!(replayed["lost_pages"], 0, "{}: {options:?}", entry.file);
                    assert_eq!(replayed["judged_by_content"], true, "{}", entry.file);
                }
            }
        }
    }
}

#[test]
fn a_guest_that_comes_back_sends_less_than_one_that_never_was_there() {
    for guest in manifest().into_iter().filter(|entry| entry.self_check.is_some()) {
        let name = &guest.file;
        let sent = |baseline| {
            let replayed = json(&["replay", "--scenario", "precopy", "--baseline", baseline], &corpus().join(name));
            (replayed["bytes"]["wire"].as_u64().unwrap(), replayed["blocks"]["skipped"]["same_content"].as_u64().unwrap())
        };
        let (empty, fingerprints, checkpoint) = (sent("empty"), sent("fingerprints"), sent("checkpoint"));
        assert!(fingerprints.0 < empty.0 && fingerprints.1 > 0, "{name}: {fingerprints:?} {empty:?}");
        assert!(checkpoint.0 < empty.0, "{name}: {checkpoint:?} {empty:?}");
    }
}

/// Events and dirty logs of a quiet guest are cheap to keep. Page summaries are another matter: most of them stand in the first frame.
#[test]
fn an_idle_guest_takes_four_bytes_an_event() {
    let mut reader = Reader::open(&corpus().join("idle-512m.trace")).expect("it is committed");
    let header = Header { fingerprints: false, ..reader.header().clone() };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header).expect("the header is one of ours");
    let mut events = 0;
    for frame in reader.frames() {
        let frame = Frame { summaries: None, ..frame.expect("it is whole") };
        events += frame.events.len();
        writer.write_frame(&frame).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything");
    assert!(events > 10_000 && bytes.len() <= 4 * events, "{} bytes for {events} events", bytes.len());
}

/// A fact about these recordings, not a law: where it fails on others, the report says so.
#[test]
fn on_a_slow_link_the_forecast_of_writes_saves_bytes() {
    for entry in manifest() {
        let resent = |policy| {
            let options = ["replay", "--scenario", "precopy", "--bandwidth", "100Mbit", "--policy", policy];
            json(&options, &corpus().join(&entry.file))["bytes"]["resent"].as_u64().unwrap()
        };
        let (proven, predictive) = (resent("proven"), resent("predictive"));
        assert!(predictive < proven, "{}: {predictive} bytes sent again, {proven} with proof only", entry.file);
    }
}
