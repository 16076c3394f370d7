//! The committed corpus: each trace is what its digest says, is valid, and passes every check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/corpus")
}

fn json(arguments: &[&str], file: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_pagesieve")).args(arguments).arg("--json").arg(file).output();
    let output = output.expect("the command starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

const CLASSES: [&str; 4] = ["idle", "light", "mixed", "heavy-io"];
const SOUND: [&str; 5] = ["send-all", "proven", "aging", "adaptive", "predictive"];

#[test]
fn every_class_was_recorded_with_ebpf_and_verifies() {
    for class in CLASSES {
        let file = corpus().join(format!("{class}.trace"));
        let info = json(&["trace", "info"], &file);
        assert_eq!((&info["class"], &info["source"]), (&class.into(), &"ebpf".into()));
        assert!(info["events"].as_u64() > Some(0) && info["lost_events"] == 0 && info["complete"] == true, "{info:#}");
        assert_eq!(json(&["trace", "validate"], &file)["problems"], Value::Array(Vec::new()), "{class}");
        let verified = json(&["verify"], &file);
        assert_eq!(verified["ok"], true, "{verified:#}");
        assert_eq!(verified["recall"]["content_in_log"], 1.0, "{class}");
        for policy in SOUND {
            assert_eq!(verified["lost_pages"][policy], 0, "{class}: {policy}");
        }
        assert!(verified["lost_pages"]["aging-literal"].as_u64() > Some(0), "{class}: the seed's rule loses pages");
    }
}

#[test]
fn no_sound_policy_loses_a_page_whatever_the_destination_holds() {
    for class in CLASSES {
        let file = corpus().join(format!("{class}.trace"));
        for policy in SOUND {
            for scenario in ["sync", "precopy"] {
                for baseline in ["empty", "checkpoint", "fingerprints"] {
                    let options = ["replay", "--policy", policy, "--scenario", scenario, "--baseline", baseline];
                    let replayed = json(&options, &file);
                    assert_eq!(replayed["lost_pages"], 0, "{class}: {options:?}");
                    assert_eq!(replayed["judged_by_content"], true, "{class}");
                }
            }
        }
    }
}

#[test]
fn a_guest_that_comes_back_sends_less_than_one_that_never_was_there() {
    for class in CLASSES {
        let file = corpus().join(format!("{class}.trace"));
        let sent = |baseline| {
            let replayed = json(&["replay", "--scenario", "precopy", "--baseline", baseline], &file);
            (replayed["bytes"]["wire"].as_u64().unwrap(), replayed["blocks"]["skipped"]["same_content"].as_u64().unwrap())
        };
        let (empty, fingerprints, checkpoint) = (sent("empty"), sent("fingerprints"), sent("checkpoint"));
        assert!(fingerprints.0 < empty.0 && fingerprints.1 > 0, "{class}: {fingerprints:?} {empty:?}");
        assert!(checkpoint.0 < empty.0, "{class}: {checkpoint:?} {empty:?}");
    }
}

/// A fact about these recordings, not a law: where it fails on others, the report says so.
#[test]
fn the_forecast_of_writes_saves_bytes_on_the_busy_classes() {
    for class in ["mixed", "heavy-io"] {
        let file = corpus().join(format!("{class}.trace"));
        for bandwidth in ["100Mbit", "1Gbit"] {
            let resent = |policy| {
                let options = ["replay", "--scenario", "precopy", "--bandwidth", bandwidth, "--policy", policy];
                json(&options, &file)["bytes"]["resent"].as_u64().unwrap()
            };
            let (proven, predictive) = (resent("proven"), resent("predictive"));
            assert!(predictive < proven, "{class} at {bandwidth}: {predictive} bytes sent again, {proven} with proof only");
        }
    }
}

#[test]
fn every_trace_is_listed_with_its_digest() {
    let listed = fs::read_to_string(corpus().join("SHA256SUMS")).expect("the list is committed");
    let checked = Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(corpus()).status();
    assert!(checked.expect("sha256sum is part of every Linux system").success());
    let traces = fs::read_dir(corpus()).expect("the corpus is committed").flatten();
    for name in traces.map(|entry| entry.file_name().into_string().expect("a plain name")).filter(|name| name.ends_with(".trace"))
    {
        assert!(listed.contains(&name), "{name} is not listed");
    }
}
