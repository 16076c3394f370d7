//! Debian's own kernels, booted under QEMU: paths that the kernel of the machine may not have. 6.1 has no `PAGEMAP_SCAN`, so it
//! records with soft-dirty bits; both have fentry, kprobes, and, inside QEMU's emulated AMD processor, KVM.
//!
//! `build.sh` says what these tests need. What runs inside is recorded there and verified here, by the same program.

mod boot;
mod initramfs;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use boot::{Finished, Image};
use pagesieve_core::{Access, AccessKind, Backing, Gfn, Origin};
use pagesieve_traces::{Closing, Frame, Header, Reader};
use serde_json::Value;
use support::{at, count, run, text};

/// A recording to be made inside.
struct Recording {
    name: String,
    options: Vec<&'static str>,
    target: Vec<&'static str>,
}

/// A recording of our workload.
fn workload(name: &str, options: &[&'static str], arguments: &[&'static str]) -> Recording {
    let mut target = vec!["pagesieve", "workload", "--seconds", "600"];
    if !arguments.contains(&"--memory") {
        target.extend(["--memory", "16MiB"]);
    }
    target.extend(arguments);
    Recording { name: name.to_owned(), options: options.to_vec(), target }
}

/// The processor is emulated: what takes milliseconds elsewhere takes a second here.
const RECORD: &str = "--fingerprints --source ebpf --epoch 400ms --duration 4s";

/// Records all of these in one boot. `prelude` is run first.
fn record(series: &str, test: &str, prelude: &str, recordings: &[Recording]) -> Option<Finished> {
    let image = Image::of(series, test)?;
    let mut script = format!("{prelude}\n");
    for Recording { name, options, target } in recordings {
        let (options, target) = (options.join(" "), target.join(" "));
        script += &format!("check {name} pagesieve record {RECORD} -o /out/{name}.trace {options} -- {target}\n");
    }
    let finished = image.run(&script);
    finished.expect_passed(recordings.iter().map(|recording| recording.name.as_str()));
    Some(finished)
}

/// What `verify` says of a recording, after the checks that hold for each.
#[track_caller]
fn verified(finished: &Finished, name: &str) -> Value {
    let trace = finished.file(&format!("{name}.trace"));
    run(["trace", "validate", text(&trace)]).expect_quiet_success();
    let found = run(["verify", "--json", text(&trace)]).expect_json();
    assert_eq!(at(&found, "recall.content_in_log"), 1.0, "{name}: a change escaped the dirty log: {found:#}");
    for policy in ["send-all", "proven", "aging", "adaptive", "predictive"] {
        assert_eq!(found["lost_pages"][policy], 0, "{name}: {policy} lost pages: {found:#}");
    }
    assert_eq!(found["ok"], true, "{name}: {found:#}");
    assert!(count(&found, "content_changed") > 0, "{name}: nothing changed, so nothing was checked");
    assert_eq!(count(&found, "rechecked_epochs"), 0, "{name}: the check would be one of itself");
    assert_eq!(count(&found, "lost_events"), 0, "{name}: {found:#}");
    found
}

fn read(finished: &Finished, name: &str) -> (Header, Vec<Frame>) {
    let path = finished.file(&format!("{name}.trace"));
    let mut reader = Reader::open(&path).expect("the trace was validated");
    let frames = reader.frames().collect::<Result<Vec<_>, _>>().expect("the trace was validated");
    (reader.header().clone(), frames)
}

const CLASSES: [&str; 4] = ["idle", "light", "mixed", "heavy-io"];
const ADVERSARIES: [&str; 6] = ["kernel-writes", "thp", "fork", "discard", "gup", "sharer"];

fn classes(series: &str, test: &str, arming: &str) {
    let recordings: Vec<_> = CLASSES.into_iter().map(|class| workload(class, &[], &["--class", class])).collect();
    let doctor = "check doctor pagesieve doctor --json";
    let Some(finished) = record(series, test, doctor, &recordings) else { return };
    doctor_is_right(series, &finished);
    for class in CLASSES {
        let found = verified(&finished, class);
        assert_eq!(at(&found, "recall.log_in_events"), 1.0, "{class}: a write without an event: {found:#}");
        assert_eq!(count(&found, "unknown"), 0, "{class}: nothing here has a reason to be unknown: {found:#}");
        assert_eq!(read(&finished, class).0.arming, arming);
    }
}

fn doctor_is_right(series: &str, finished: &Finished) {
    finished.expect_passed(["doctor"]);
    let found = std::fs::read_to_string(finished.file("doctor.out")).expect("the doctor was run");
    let found: Value = serde_json::from_str(&found).expect("the doctor prints JSON");
    let check =
        |name: &str| found["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()["ok"].clone();
    let scans = series != "6.1";
    assert_eq!([check("userfaultfd"), check("PAGEMAP_SCAN"), check("soft-dirty")], [scans, scans, true].map(Value::from));
    assert_eq!(found["source"], "ebpf", "{found:#}");
    let hooks = found["hooks"].as_object().unwrap();
    assert!(hooks.values().all(|hook| hook["available"] == true), "these kernels allow every hook: {found:#}");
}

/// Every step of the ladder: what is asked for, and the page-fault hooks that it means.
const RUNGS: [(&str, &[&str]); 4] = [
    ("auto", &["tp_btf/page_fault_user", "tp_btf/page_fault_kernel", "fentry/handle_mm_fault"]),
    (
        "tracepoints",
        &["tracepoint/exceptions/page_fault_user", "tracepoint/exceptions/page_fault_kernel", "kprobe/handle_mm_fault"],
    ),
    ("fentry", &["fentry/handle_mm_fault"]),
    ("kprobe", &["kprobe/handle_mm_fault"]),
];

fn rungs(series: &str, test: &str) {
    let recordings = RUNGS.map(|(rung, _)| Recording {
        name: format!("hooks-{rung}"),
        ..workload("", &["--hooks", rung], &["--class", "mixed", "--adversary", "kernel-writes"])
    });
    let Some(finished) = record(series, test, "", &recordings) else { return };
    for (rung, expected) in RUNGS {
        let name = format!("hooks-{rung}");
        let found = verified(&finished, &name);
        assert_eq!(at(&found, "recall.log_in_events"), 1.0, "{name}: a write without an event: {found:#}");
        let (header, frames) = read(&finished, &name);
        let faults: Vec<_> = header.hooks.iter().filter(|hook| hook.contains("fault")).collect();
        assert_eq!(faults, expected, "{name}");
        let events = || frames.iter().flat_map(|frame| &frame.events);
        for origin in [Origin::User, Origin::Kernel] {
            assert!(events().any(|event| event.origin == origin), "{name}: no event of origin {origin:?}");
        }
        // One fault, one event, though two hooks see it and the kernel may handle it twice. The first write to a hole of shared
        // memory takes two faults where it is armed by a mark, so holes are left out.
        let (mut writes, mut written) = (0, 0);
        for pair in frames.windows(2) {
            let is_counted = |event: &&Access| event.kind == AccessKind::Write && pair[0].populated.contains(event.gfn);
            writes += pair[1].events.iter().filter(is_counted).count();
            written += pair[1].events.iter().filter(is_counted).map(|event| event.gfn).collect::<BTreeSet<_>>().len();
        }
        assert!(writes <= written + written / 20, "{name}: {writes} events for {written} pages");
    }
}

/// The pages of a frame that have a write event of some kind.
fn pages(frame: &Frame, wanted: impl Fn(Origin) -> bool) -> BTreeSet<Gfn> {
    let writes = frame.events.iter().filter(|event| event.kind == AccessKind::Write && wanted(event.origin));
    writes.map(|event| event.gfn).collect()
}

fn adversaries(series: &str, test: &str, backing: Backing) {
    let recordings: Vec<_> = ADVERSARIES
        .into_iter()
        .map(|adversary| {
            let mut arguments = vec!["--class", "idle", "--adversary", adversary];
            if backing == Backing::Anonymous {
                arguments.push("--anonymous");
            }
            workload(adversary, &[], &arguments)
        })
        .collect();
    let Some(finished) = record(series, test, "", &recordings) else { return };
    ADVERSARIES.iter().for_each(|adversary| drop(verified(&finished, adversary)));
}

const GUEST_PAGES: u64 = 1024;

fn kvm(series: &str, test: &str) {
    let backings = ["anonymous", "memfd", "huge"];
    let recordings = backings.map(|backing| Recording {
        name: format!("kvm-{backing}"),
        options: Vec::new(),
        target: vec!["kvm_guest", "1024", backing, "600"],
    });
    let Some(finished) = record(series, test, "", &recordings) else { return };
    for backing in backings {
        let name = format!("kvm-{backing}");
        let found = verified(&finished, &name);
        assert!(count(&found, "content_changed") >= 2 * GUEST_PAGES, "{name}: the guest hardly wrote: {found:#}");
        assert_eq!(at(&found, "recall.log_in_events"), 1.0, "{name}: a write without an event: {found:#}");
        let (_, frames) = read(&finished, &name);
        let is_huge = frames.iter().any(|frame| !frame.huge.is_empty());
        assert_eq!(is_huge, backing == "huge", "{name}");
        for frame in frames.iter().skip(1) {
            let (by_guest, by_others) =
                (pages(frame, |origin| origin == Origin::Gup), pages(frame, |origin| origin != Origin::Gup));
            // A page or two beside the guest's memory may be in the same mapping.
            assert!(by_others.len() <= 2, "{name}: the guest's writes are seen in KVM alone, but {by_others:?}");
            if backing != "huge" {
                let written = frame.log.written.iter().filter(|page| !by_others.contains(page));
                let unseen: Vec<_> = written.filter(|page| !by_guest.contains(page)).collect();
                assert!(unseen.is_empty(), "{name}: epoch {:?}: no event of the guest for {unseen:?}", frame.epoch);
            }
        }
    }
}

macro_rules! kernels {
    ($($module:ident $series:literal $arming:literal),*) => {
        $(mod $module {
            use super::Backing;

            #[test]
            fn classes_are_recorded_and_the_doctor_is_right() {
                super::classes($series, concat!(stringify!($module), "::classes"), $arming);
            }

            #[test]
            fn every_hook_reports_every_fault_once() {
                super::rungs($series, concat!(stringify!($module), "::hooks"));
            }

            #[test]
            fn adversaries_on_anonymous_memory() {
                super::adversaries($series, concat!(stringify!($module), "::adversaries"), Backing::Anonymous);
            }

            #[test]
            fn adversaries_on_shared_memory() {
                super::adversaries($series, concat!(stringify!($module), "::adversaries"), Backing::Shared);
            }

            #[test]
            fn a_guest_under_kvm() {
                super::kvm($series, concat!(stringify!($module), "::kvm"));
            }
        })*
    };
}

kernels!(linux_6_1 "6.1" "soft-dirty", linux_6_12 "6.12" "handover");

/// Huge pages of shared memory are split by dropping their mapping, and with it the marks of what was written.
#[test]
fn soft_dirty_proves_nothing_of_shared_memory_that_may_be_huge() {
    let test = "soft_dirty_proves_nothing_of_shared_memory_that_may_be_huge";
    let prelude = "mkdir /tmp/huge; mount -t tmpfs -o huge=always huge /tmp/huge";
    let Some(finished) = record("6.1", test, prelude, &[workload("huge", &[], &["--class", "light"])]) else { return };
    let found = verified(&finished, "huge");
    assert!(count(&found, "unknown_by_reason.mapping_dropped") > 0, "{found:#}");
}

/// Of the two ways of a newer kernel, the older one is right as well.
#[test]
fn soft_dirty_on_a_kernel_that_has_better() {
    let test = "soft_dirty_on_a_kernel_that_has_better";
    let soft = &["--writes", "soft-dirty"];
    let recordings =
        [workload("anonymous", soft, &["--class", "mixed", "--anonymous"]), workload("shared", soft, &["--class", "mixed"])];
    // Without page contents there is no other reason to stop the process.
    let still = "check still pagesieve record --writes soft-dirty --epoch 400ms --duration 4s -o /out/still.trace -- \
                 pagesieve workload --seconds 600 --memory 16MiB";
    let Some(finished) = record("6.12", test, still, &recordings) else { return };
    for name in ["anonymous", "shared"] {
        verified(&finished, name);
        assert_eq!(read(&finished, name).0.arming, "soft-dirty");
    }
    finished.expect_passed(["still"]);
    let (_, frames) = read(&finished, "still");
    assert!(frames.iter().all(|frame| frame.closing == Closing::Quiescent), "marks were read from a process that ran");
}
