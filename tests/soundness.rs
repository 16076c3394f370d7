//! On the real kernel: every class and every pattern that trackers miss is recorded, and no change escapes the dirty log.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const PAGESIEVE: &str = env!("CARGO_BIN_EXE_pagesieve");

fn run(arguments: &[&str]) -> Output {
    Command::new(PAGESIEVE).args(arguments).output().expect("the command starts")
}

/// Records our workload and returns what `verify` says of the trace, or `None` if this machine cannot record with eBPF.
fn record_and_verify(test: &str, dir: &Path, workload: &[&str], options: &[&str]) -> Option<Value> {
    if !pagesieve_ebpf::testing::can_attach(test) {
        return None;
    }
    let trace = dir.join("recorded.trace");
    let trace = trace.to_str().expect("a temporary path is UTF-8");
    let mut arguments = vec!["record", "--fingerprints", "--source", "ebpf", "--duration", "3s", "-o", trace];
    arguments.extend(if options.is_empty() { &["--epoch", "400ms"] } else { options });
    arguments.extend(["--", PAGESIEVE, "workload", "--seconds", "30"]);
    arguments.extend(workload);
    if !workload.contains(&"--memory") {
        arguments.extend(["--memory", "32MiB"]);
    }
    let recorded = run(&arguments);
    assert!(recorded.status.success(), "{workload:?}: {}", String::from_utf8_lossy(&recorded.stderr));
    let valid = run(&["trace", "validate", trace]);
    assert!(valid.status.success(), "{workload:?}: {}", String::from_utf8_lossy(&valid.stdout));
    let verified = run(&["verify", "--json", trace]);
    Some(serde_json::from_slice(&verified.stdout).expect("verify prints JSON"))
}

fn assert_sound(workload: &[&str], found: &Value) {
    assert_eq!(found["recall"]["content_in_log"], 1.0, "{workload:?}: a change escaped the dirty log: {found:#}");
    for policy in ["send-all", "proven", "aging", "adaptive", "predictive"] {
        assert_eq!(found["lost_pages"][policy], 0, "{workload:?}: {policy} lost pages: {found:#}");
    }
    assert_eq!(found["ok"], true, "{workload:?}: {found:#}");
    assert!(found["content_changed"].as_u64() > Some(0), "{workload:?}: nothing changed, so nothing was checked");
    assert_eq!(found["rechecked_epochs"], 0, "{workload:?}: the check would be one of itself");
}

fn check(workload: &[&str]) -> Option<Value> {
    let dir = TempDir::new().expect("a temporary directory");
    let found = record_and_verify(workload.last()?, dir.path(), workload, &[])?;
    assert_sound(workload, &found);
    Some(found)
}

macro_rules! class {
    ($($name:ident $class:literal),*) => {
        $(#[test]
        fn $name() {
            if let Some(found) = check(&["--class", $class]) {
                let events = found["event_pages"].as_u64();
                assert!(events > Some(0) && found["lost_events"] == 0, "{found:#}");
                // The busier classes write nearly every page within the threshold, so there the rule may get away with it.
                if ["idle", "light"].contains(&$class) {
                    let literal = found["lost_pages"]["aging-literal"].as_u64();
                    assert!(literal > Some(0), "the seed's rule skips pages that the destination does not hold: {found:#}");
                }
            }
        })*
    };
}

class!(idle "idle", light "light", mixed "mixed", heavy_io "heavy-io");

macro_rules! pattern {
    ($($name:ident $pattern:literal [$($backing:literal),*]),* $(,)?) => {
        $(#[test]
        fn $name() {
            for backing in [$($backing),*] {
                let mut workload = vec!["--class", "idle", "--adversary", $pattern];
                if backing == "anonymous" {
                    workload.push("--anonymous");
                }
                check(&workload);
            }
        })*
    };
}

pattern!(
    adversary_kernel_writes "kernel-writes" ["anonymous", "shared"],
    adversary_thp "thp" ["anonymous", "shared"],
    adversary_fork "fork" ["anonymous", "shared"],
    adversary_discard "discard" ["anonymous", "shared"],
    adversary_gup "gup" ["anonymous", "shared"],
    adversary_sharer "sharer" ["anonymous", "shared"],
    direct_read "direct-read" ["anonymous", "shared"],
    process_vm_writev "vm-writev" ["anonymous", "shared"],
    madvise_dontneed "dontneed" ["anonymous", "shared"],
    madvise_free "free" ["anonymous"],
    madvise_remove "remove" ["shared"],
    punch_hole "punch" ["shared"],
    punch_hole_then_read "punch-then-read" ["shared"],
    remap "remap" ["anonymous", "shared"],
);

#[test]
fn a_ring_that_is_too_small_loses_events_but_no_page() {
    let dir = TempDir::new().expect("a temporary directory");
    // 14,000 writes a second against room for 128 events, emptied every 20 ms.
    let workload = ["--class", "heavy-io", "--memory", "256MiB"];
    let options = ["--epoch", "1s", "--ring-size", "4KiB"];
    let name = "a_ring_that_is_too_small_loses_events_but_no_page";
    if let Some(found) = record_and_verify(name, dir.path(), &workload, &options) {
        assert!(found["lost_events"].as_u64() > Some(0) && found["lossy_epochs"].as_u64() > Some(0), "{found:#}");
        assert_sound(&workload, &found);
    }
}
