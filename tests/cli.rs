//! The command as users and scripts meet it: help, JSON, exit status, pipes, repeatability.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pagesieve_traces::{Class, Frame, Header, SynthConfig, Writer};
use serde_json::Value;
use support::{PAGESIEVE, assert_schema, at, count, run, run_command, scratch, synth, text};

const VERBS: [&[&str]; 26] = [
    &[],
    &["record"],
    &["top"],
    &["replay"],
    &["verify"],
    &["sweep"],
    &["report"],
    &["compare"],
    &["trace"],
    &["trace", "info"],
    &["trace", "validate"],
    &["trace", "dump"],
    &["trace", "cut"],
    &["trace", "merge"],
    &["trace", "convert"],
    &["trace", "import"],
    &["sync"],
    &["migrate"],
    &["serve"],
    &["keys"],
    &["synth"],
    &["workload"],
    &["doctor"],
    &["demo"],
    &["completions"],
    &["man"],
];

/// Set to 1 to write the help texts anew instead of comparing them.
const BLESS: &str = "PAGESIEVE_BLESS";

#[test]
fn help_is_what_was_agreed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/help");
    for verb in VERBS {
        let help = run(verb.iter().chain(&["--help"])).expect_quiet_success();
        let file = folder.join(format!("{}.txt", [&["pagesieve"], verb].concat().join("-")));
        if std::env::var_os(BLESS).is_some() {
            fs::write(&file, &help).unwrap();
        }
        let agreed = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(help, agreed, "{} differs; if that is meant, run the test with {BLESS}=1", file.display());
        let short = run(verb.iter().chain(&["-h"])).expect_quiet_success();
        assert!(short.contains("Usage: pagesieve"), "{short}");
    }
}

/// The lines below "Example" in the help of a verb.
fn examples(verb: &[&str]) -> Vec<String> {
    let help = run(verb.iter().chain(&["--help"])).expect_quiet_success();
    let from = help.lines().skip_while(|line| !line.starts_with("Example")).skip(1);
    from.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_examples_in_the_help_work() {
    let dir = scratch();
    for name in ["idle.trace", "heavy.trace", "demo.trace"] {
        synth(dir.path(), name, 1);
    }
    fs::create_dir_all(dir.path().join("traces/corpus")).unwrap();
    synth(&dir.path().join("traces/corpus"), "one.trace", 2);
    let bin = Path::new(PAGESIEVE).parent().unwrap();
    let path = format!("{}:{}", text(bin), std::env::var("PATH").unwrap_or_default());
    for verb in [
        &["replay"][..],
        &["verify"],
        &["report"],
        &["trace", "info"],
        &["trace", "validate"],
        &["trace", "dump"],
        &["synth"],
        &["doctor"],
    ] {
        let examples = examples(verb);
        assert!(!examples.is_empty(), "{verb:?} has no example");
        for example in examples {
            let smaller = example.replace("1GiB", "4MiB").replace("60s", "2s");
            let done = run_command(Command::new("sh").args(["-c", &smaller]).current_dir(dir.path()).env("PATH", &path));
            assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{smaller}: {done:?}");
        }
    }
    for verb in [
        &["record"][..],
        &["top"],
        &["sync"],
        &["migrate"],
        &["serve"],
        &["keys"],
        &["workload"],
        &["demo"],
        &["completions"],
        &["man"],
    ] {
        assert!(!examples(verb).is_empty(), "{verb:?} has no example");
    }
}

#[test]
fn sync_writes_what_differs_and_says_what_it_did() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content: Vec<u8> = (0..50_001_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&from, &content).unwrap();
    let first = run(["sync", "--json", "--verify", text(&from), text(&to)]).expect_json();
    assert_schema(&first, "pagesieve.sync");
    assert_eq!((at(&first, "baseline"), count(&first, "bytes")), (&"empty".into(), 200_004));
    assert_eq!((count(&first, "blocks.sent"), at(&first, "filter.ebpf_enabled")), (4, &false.into()));
    let mut changed = content;
    changed[100_000] ^= 1;
    fs::write(&from, &changed).unwrap();
    for (options, written) in [(&["--in-place"][..], 1), (&[], 0)] {
        let again = run(["sync", "--json"].iter().chain(options).chain(&[text(&from), text(&to)])).expect_json();
        assert_eq!((at(&again, "baseline"), count(&again, "blocks.sent")), (&"fingerprints".into(), written));
        assert!(fs::read(&to).unwrap() == changed);
    }
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let line = run(["sync", text(&from), text(&folder)]).expect_quiet_success();
    assert!(line.contains("4 of 4 blocks written") && fs::read(folder.join("from")).unwrap() == changed, "{line}");
    run(["sync", text(&from), text(&from)]).expect_failure(&["one file", "name another destination"]);
    run(["sync", text(&dir.path().join("none")), text(&to)]).expect_failure(&["read the source", "none"]);
    run(["sync", text(&from), "/dev/null"]).expect_failure(&["neither a regular file nor a block device"]);
    run(["sync", "--block-size", "5000", text(&from), text(&to)]).expect_failure(&["power of two"]);
}

#[test]
fn replay_prints_the_fields_of_its_contract_and_they_add_up() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    for policy in ["send-all", "proven", "aging", "predictive", "aging-literal"] {
        let replay = run(["replay", "--json", "--interval", "1s", "--policy", policy, text(&trace)]).expect_json();
        assert_schema(&replay, "pagesieve.replay");
        assert_eq!((at(&replay, "trace"), at(&replay, "policy")), (&"a.trace".into(), &policy.into()));
        assert_eq!((count(&replay, "block_size"), count(&replay, "epochs")), (65536, 6));
        assert!(count(&replay, "events") > 0 && count(&replay, "lost_events") == 0);
        let causes = ["unpopulated", "zero", "unchanged", "same_content", "presumed_unused"];
        let skipped: u64 = causes.iter().map(|cause| count(&replay, &format!("blocks.skipped.{cause}"))).sum();
        let total = count(&replay, "blocks.total");
        assert_eq!(count(&replay, "blocks.sent") + skipped + count(&replay, "blocks.deferred"), total);
        assert!(total > 0 && total.is_multiple_of(64), "4 MiB are 64 blocks in each round");
        assert!((1..=total).contains(&count(&replay, "blocks.resident")));
        let rate = at(&replay, "skip_rate.total").as_f64().unwrap();
        assert!((rate - skipped as f64 / total as f64).abs() < 1e-9, "{rate}");
        assert!((0.0..=1.0).contains(&at(&replay, "skip_rate.resident").as_f64().unwrap()));
        assert_eq!(count(&replay, "bytes.guest"), 4 << 20);
        assert_eq!(count(&replay, "bytes.sent"), count(&replay, "blocks.sent") * 65536);
        assert!(count(&replay, "bytes.wire") <= count(&replay, "bytes.sent"));
        assert!(policy == "aging-literal" || count(&replay, "lost_pages") == 0);
        assert_eq!(skipped == 0, policy == "send-all", "{policy}");
        let causes = ["first", "written", "unproven", "retried", "needless"];
        let sent: u64 = causes.iter().map(|cause| count(&replay, &format!("causes.{cause}"))).sum();
        assert_eq!(sent, count(&replay, "blocks.sent"));
        let times: Vec<u64> = at(&replay, "times_sent").as_array().unwrap().iter().map(|pages| pages.as_u64().unwrap()).collect();
        assert_eq!((times.len(), times.iter().sum::<u64>()), (8, 1024), "every page was sent some number of times");
        assert_eq!(count(&at(&replay, "nodes")[0], "blocks.total"), total, "one node has it all");
    }
}

#[test]
fn replay_foretells_a_migration_and_explains_a_page() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let options = ["replay", "--scenario", "precopy", "--policy", "predictive", "--explain", "0x10"];
    let replay = run(options.into_iter().chain(["--json", text(&trace)])).expect_json();
    assert_eq!(at(&replay, "forecast.converges"), at(&replay, "converged"));
    assert!(count(&replay, "forecast.needed_bandwidth") > 0 && count(&replay, "redirty.forecasts") > 0);
    let moments = at(&replay, "explained.moments").as_array().unwrap();
    assert!(moments.iter().any(|moment| at(moment, "what").as_str().unwrap().starts_with("block: ")), "{moments:#?}");
    let page = run(options.into_iter().chain([text(&trace)])).expect_quiet_success();
    assert!(page.contains("page 0x10 and its block") && page.contains("destination"), "{page}");
    assert!(page.contains("foretold    converges after"), "{page}");
}

#[test]
fn several_traces_make_one_array() {
    let dir = scratch();
    let (one, two) = (synth(dir.path(), "one.trace", 1), synth(dir.path(), "two.trace", 2));
    for verb in ["replay", "verify"] {
        let both = run([verb, "--json", text(&one), text(&two)]).expect_json();
        let names: Vec<_> = both.as_array().unwrap().iter().map(|found| at(found, "trace").as_str().unwrap()).collect();
        assert_eq!(names, ["one.trace", "two.trace"]);
    }
}

#[test]
fn replay_decides_the_same_every_time() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    for scenario in ["sync", "precopy"] {
        let replay = || run(["replay", "--json", "--doublecheck", "--interval", "1s", "--scenario", scenario, text(&trace)]);
        let first = replay().expect_quiet_success();
        assert_eq!(first, replay().expect_quiet_success());
        assert!(first.contains(&format!("\"scenario\": \"{scenario}\"")));
    }
}

#[test]
fn verify_prints_the_fields_of_its_contract() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let verify = run(["verify", "--json", text(&trace)]).expect_json();
    assert_schema(&verify, "pagesieve.verify");
    assert!(count(&verify, "content_changed") > 0 && count(&verify, "event_pages") > 0);
    assert!(count(&verify, "dirty_log") >= count(&verify, "content_changed") && count(&verify, "unknown") == 0);
    assert_eq!((at(&verify, "recall.content_in_log"), at(&verify, "recall.log_in_events")), (&1.0.into(), &1.0.into()));
    assert_eq!(count(&verify, "lossy_epochs"), 0);
    for policy in ["send-all", "proven", "aging"] {
        assert_eq!(count(&verify, &format!("lost_pages.{policy}")), 0);
    }
    count(&verify, "lost_pages.aging-literal");
    assert_eq!(at(&verify, "ok"), true);
}

/// A trace in which one page changes in the third epoch without being in that epoch's dirty log.
fn with_an_unlogged_change(dir: &Path) -> PathBuf {
    let config = SynthConfig { memory: 4 << 20, ..SynthConfig::new(Class::Mixed) };
    let synth = pagesieve_traces::synth(config).unwrap();
    let header = synth.header().clone();
    let mut frames: Vec<Frame> = synth.collect();
    let page = frames[2].summaries.as_ref().unwrap()[0].gfn;
    assert!(frames[2].log.written.remove(page) && !frames[2].log.all().contains(page));
    write(dir.join("planted.trace"), &header, &frames)
}

fn write(path: PathBuf, header: &Header, frames: &[Frame]) -> PathBuf {
    let mut writer = Writer::create(&path, header).unwrap();
    for frame in frames {
        writer.write_frame(frame).unwrap();
    }
    writer.finish().unwrap();
    path
}

#[test]
fn a_change_that_the_dirty_log_does_not_know_is_a_violation_with_status_1() {
    let dir = scratch();
    let (good, planted) = (synth(dir.path(), "good.trace", 1), with_an_unlogged_change(dir.path()));
    run(["trace", "validate", text(&planted)]).expect_quiet_success();
    let found = run(["verify", text(&planted)]);
    assert_eq!((found.code, found.stderr.as_str()), (Some(1), ""), "{found:?}");
    assert!(found.stdout.contains("planted.trace: VIOLATION") && found.stdout.contains("not in the dirty log"), "{found:?}");
    let both = run(["verify", "--json", text(&good), text(&planted)]);
    assert_eq!(both.code, Some(1), "{both:?}");
    let both: Value = serde_json::from_str(&both.stdout).unwrap();
    assert_eq!((at(&both[0], "ok"), at(&both[1], "ok")), (&true.into(), &false.into()));
    assert!(at(&both[1], "recall.content_in_log").as_f64() < Some(1.0));
    assert!(!at(&both[1], "violations").as_array().unwrap().is_empty());
}

#[test]
fn validate_says_which_rule_a_trace_breaks_with_status_1() {
    let dir = scratch();
    let synth = pagesieve_traces::synth(SynthConfig { memory: 4 << 20, ..SynthConfig::new(Class::Light) }).unwrap();
    let header = synth.header().clone();
    let mut frames: Vec<Frame> = synth.collect();
    frames[1].scan_start = pagesieve_core::Nanos(frames[1].end.0 + 1);
    let broken = write(dir.path().join("broken.trace"), &header, &frames);
    let found = run(["trace", "validate", text(&broken)]);
    assert_eq!((found.code, found.stderr.as_str()), (Some(1), ""), "{found:?}");
    assert!(found.stdout.contains("NOT valid"), "{found:?}");
    let found = run(["trace", "validate", "--json", text(&broken)]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert_eq!(serde_json::from_str::<Value>(&found.stdout).unwrap()["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn doctor_prints_the_fields_of_its_contract() {
    let found = run(["doctor", "--json"]).expect_json();
    assert_schema(&found, "pagesieve.doctor");
    let hooks = at(&found, "hooks").as_object().unwrap();
    assert!(hooks.keys().any(|name| name.ends_with("page_fault_user")), "{hooks:?}");
    for (name, hook) in hooks {
        let available = at(hook, "available").as_bool().unwrap();
        let says_why = at(hook, "reason").is_string() && at(hook, "fix").is_string();
        let says_nothing = at(hook, "reason").is_null() && at(hook, "fix").is_null();
        assert!(if available { says_nothing } else { says_why }, "{name}: {hook}");
    }
    for name in at(&found, "selected").as_array().unwrap() {
        assert_eq!(hooks[name.as_str().unwrap()]["available"], true, "{name}");
    }
    assert!(["ebpf", "pagemap_scan", "none"].map(Value::from).contains(at(&found, "source")));
    let text = run(["doctor"]).expect_quiet_success();
    assert!(text.contains(&format!("Events would come from: {}", found["source"].as_str().unwrap())), "{text}");
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    let dir = scratch();
    let bytes = |name, seed| fs::read(synth(dir.path(), name, seed)).unwrap();
    let first = bytes("one.trace", 7);
    assert_eq!(first, bytes("two.trace", 7));
    assert_ne!(first, bytes("three.trace", 8));
}

#[test]
fn the_same_seed_makes_the_same_workload() {
    let workload = |seed| {
        let line =
            run(["workload", "--class", "mixed", "--memory", "4MiB", "--seconds", "1", "--seed", seed]).expect_quiet_success();
        assert!(line.starts_with("1024 pages, ") && line.contains(" accesses, digest "), "{line}");
        line
    };
    let first = workload("5");
    assert_eq!(first, workload("5"));
    assert_ne!(first, workload("6"));
}

#[test]
fn a_report_is_three_files_and_says_nothing_beside_their_names() {
    let dir = scratch();
    let (one, two) = (synth(dir.path(), "one.trace", 1), synth(dir.path(), "two.trace", 2));
    let folder = dir.path().join("new/report");
    // No progress where standard error is no terminal: quiet means not one byte.
    let names = run(["report", text(&one), text(&two), "-o", text(&folder)]).expect_quiet_success();
    let files: Vec<_> = ["index.html", "summary.json", "summary.md"].map(|name| folder.join(name)).into();
    assert_eq!(names.lines().collect::<Vec<_>>(), files.iter().map(|file| text(file)).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    for file in &files {
        let content = fs::read_to_string(file).unwrap();
        assert!(content.contains("one.trace") && content.contains("two.trace"), "{}", file.display());
    }
    let summary: Value = serde_json::from_str(&fs::read_to_string(&files[1]).unwrap()).unwrap();
    assert!(summary.is_object());
}

#[test]
fn a_report_is_written_in_the_formats_asked_for_and_always_the_same() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let folder = dir.path().join("report");
    let args = ["report", text(&trace), "-o", text(&folder), "--format", "csv,svg,png", "--json"];
    let written = || {
        let written = run(args.into_iter().chain(["--force"])).expect_json();
        assert_schema(&written, "pagesieve.report");
        let files = at(&written, "files").as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_owned());
        files.map(|file| (fs::read(&file).unwrap(), file)).collect::<Vec<_>>()
    };
    let first = written();
    assert!(first == written(), "the same trace gives the same bytes");
    let of = |ending: &str| first.iter().filter(|(_, file)| file.ends_with(ending)).count();
    assert_eq!((of(".csv"), of(".svg"), of(".png")), (8, 10, 10));
    assert_eq!(first.len(), 28, "and nothing else");
    let folders: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(folders.len(), 3, "{folders:?}");
    run(args).expect_failure(&["a report is there already", "--force"]);
    run(["report", text(&trace), "-o", text(&folder), "--format", "pdf"]).expect_usage_error(&["pdf", "png"]);
}

#[test]
fn a_dump_ends_quietly_when_its_reader_has_seen_enough() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    for format in [&[][..], &["--json"]] {
        let mut dump = Command::new(PAGESIEVE);
        dump.args(["trace", "dump"]).args(format).arg(&trace).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = dump.spawn().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(reader);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    }
}

#[test]
fn nobody_listening_is_no_panic() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let sh = |line: &str| run_command(Command::new("sh").args(["-c", line, PAGESIEVE, text(&trace)]));
    for verb in ["replay", "verify", "trace info", "trace dump"] {
        // Rust opens /dev/null in the place of a closed descriptor.
        sh(&format!("exec \"$0\" {verb} \"$1\" >&-")).expect_quiet_success();
        // A pipe whose reader is gone, as standard output and, for a failing run, as standard error.
        let gone = |redirect: &str| {
            sh(&format!("mkfifo \"$1.p\"; exec 3<>\"$1.p\" 4>\"$1.p\" 3<&-; rm \"$1.p\"; exec \"$0\" {verb} {redirect}"))
        };
        let closed = gone("\"$1\" >&4");
        assert_eq!((closed.stderr.as_str(), closed.code != Some(101)), ("", true), "{closed:?}");
        assert_eq!(gone("/nonexistent 2>&4").code, Some(3));
    }
}
