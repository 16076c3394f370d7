//! `pagesieve compare`: what got worse is found, named in every format, and told by the exit status; what did not is left alone.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use support::{PAGESIEVE, Run, assert_schema, at, count, run, run_command, scratch, synth, text};
use tempfile::TempDir;

const FORMATS: [&str; 4] = ["table", "markdown", "json", "junit"];

/// A folder with two traces and their report. All tests share it.
fn reported() -> &'static (TempDir, Value) {
    static REPORT: OnceLock<(TempDir, Value)> = OnceLock::new();
    REPORT.get_or_init(|| {
        let dir = scratch();
        let summary = report(dir.path(), "report");
        (dir, summary)
    })
}

/// Reports on the two traces of the folder, which are made if they are missing.
fn report(dir: &Path, name: &str) -> Value {
    let traces = [("a.trace", "mixed"), ("b.trace", "idle")].map(|(name, class)| match dir.join(name) {
        path if path.exists() => path,
        path => {
            let size = ["--class", class, "--memory", "16MiB", "--duration", "20s", "--seed", "7"];
            run(["synth"].into_iter().chain(size).chain(["-o", text(&path)])).expect_quiet_success();
            path
        }
    });
    let folder = dir.join(name);
    run(["report", text(&traces[0]), text(&traces[1]), "-o", text(&folder)]).expect_quiet_success();
    serde_json::from_str(&fs::read_to_string(folder.join("summary.json")).unwrap()).unwrap()
}

fn base() -> PathBuf {
    reported().0.path().join("report/summary.json")
}

/// Compares the report with a changed copy of itself.
fn changed(options: &[&str], change: impl FnOnce(&mut Value)) -> Run {
    let mut summary = reported().1.clone();
    change(&mut summary);
    against(options, &summary.to_string())
}

/// Compares the report with this text.
fn against(options: &[&str], content: &str) -> Run {
    let dir = scratch();
    let new = dir.path().join("new.json");
    fs::write(&new, content).unwrap();
    run(["compare"].into_iter().chain(options.iter().copied()).chain([text(&base()), text(&new)]))
}

/// A replay of a trace in the document.
fn replay<'a>(summary: &'a mut Value, trace: &str, policy: &str, scenario: &str) -> &'a mut Value {
    let traces = summary["traces"].as_array_mut().unwrap();
    let trace = traces.iter_mut().find(|of| of["name"] == trace).unwrap();
    let mut replays = trace["replays"].as_array_mut().unwrap().iter_mut();
    replays.find(|replay| replay["policy"] == policy && replay["scenario"] == scenario).unwrap()
}

/// Takes a share of all blocks from those that `proven` skipped in syncs, as if it had sent them: in all numbers that follow.
fn skip_less(summary: &mut Value, trace: &str, share: f64) {
    let replay = replay(summary, trace, "proven", "sync");
    let (total, resident) = (count(replay, "blocks.total"), count(replay, "blocks.resident"));
    let (unchanged, skipped) = (count(replay, "blocks.skipped.unchanged"), count(replay, "blocks.skipped_resident"));
    let fewer = (total as f64 * share).round() as u64;
    assert!(fewer > 10 && fewer <= unchanged.min(skipped), "{fewer} of {unchanged}");
    replay["blocks"]["skipped"]["unchanged"] = (unchanged - fewer).into();
    replay["blocks"]["skipped_resident"] = (skipped - fewer).into();
    replay["blocks"]["sent"] = (count(replay, "blocks.sent") + fewer).into();
    let all = at(replay, "skip_rate.total").as_f64().unwrap() - fewer as f64 / total as f64;
    replay["skip_rate"] = json!({"total": all, "resident": (skipped - fewer) as f64 / resident as f64});
    for bytes in ["sent", "wire"] {
        replay["bytes"][bytes] = (count(replay, &format!("bytes.{bytes}")) + fewer * 65536).into();
    }
}

#[track_caller]
fn expect_regression(found: Run) -> String {
    assert_eq!(found.code, Some(1), "{found:?}");
    assert_eq!(found.stderr, "");
    squeezed(&found.stdout)
}

#[track_caller]
fn expect_none(found: Run) -> String {
    squeezed(&found.expect_quiet_success())
}

/// Columns are as wide as what stands in them, and nothing here is about that: one space between them.
fn squeezed(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn five_percent_less_skipped_is_caught_and_named_in_every_format() {
    for format in FORMATS {
        let said = expect_regression(changed(&["--format", format], |summary| skip_less(summary, "b.trace", 0.05)));
        assert!(said.contains("b.trace"), "{format}: {said}");
        match format {
            "table" => {
                let worst = said.lines().find(|line| line.contains("skipped, all blocks")).unwrap();
                assert!(worst.starts_with("WORSE b.trace proven, sync, 64 KiB"), "{said}");
                let points: f64 = worst.split(['↓', 'p']).rev().nth(2).unwrap().trim().parse().unwrap();
                assert!((points - 5.0).abs() < 0.1 && worst.ends_with("points 0.1 points"), "{said}");
                assert!(said.trim_end().rsplit('\n').next().unwrap().starts_with("4 REGRESSIONS: "), "{said}");
            }
            "markdown" => {
                assert!(said.starts_with("### Pagesieve: 4 REGRESSIONS\n\n"), "{said}");
                let row = "| WORSE | b.trace | proven, sync, 64 KiB | skipped, all blocks | ";
                assert_eq!(said.matches(row).count(), 2, "once by itself, once among what changed: {said}");
                assert!(said.contains("<details>") && said.contains("pagesieve report "), "{said}");
            }
            "json" => {
                let document: Value = serde_json::from_str(&said).unwrap();
                assert_schema(&document, "pagesieve.compare");
                assert_eq!((at(&document, "verdict"), count(&document, "counts.regressions")), (&"regression".into(), 4));
                let changes = at(&document, "changes").as_array().unwrap();
                let skip = changes.iter().find(|change| change["quantity"] == "skip.all").unwrap();
                assert_eq!(
                    (&skip["trace"], &skip["policy"], &skip["outcome"]),
                    (&"b.trace".into(), &"proven".into(), &"regression".into())
                );
                assert!((at(skip, "change").as_f64().unwrap() + 0.05).abs() < 0.002, "{skip}");
            }
            _ => {
                let xml = roxmltree::Document::parse(&said).unwrap();
                let failed: Vec<_> = xml.descendants().filter(|node| node.has_tag_name("failure")).collect();
                let cases: Vec<_> = failed.iter().map(|node| node.parent().unwrap().attribute("name").unwrap()).collect();
                assert_eq!(cases, ["skip rates", "bytes"]);
                let case = failed[0].parent().unwrap();
                assert_eq!(case.attribute("classname"), Some("b.trace"));
                assert!(failed[0].text().unwrap().contains("proven, sync, 64 KiB: skipped, all blocks: "), "{said}");
                assert_eq!(xml.root_element().attribute("failures"), Some("2"));
            }
        }
    }
}

#[test]
fn the_same_traces_reported_again_are_equal() {
    let (dir, first) = reported();
    let again = report(dir.path(), "again");
    assert_ne!(at(first, "command"), at(&again, "command"), "it really ran a second time");
    let new = dir.path().join("again/summary.json");
    let said = run(["compare", "--same-input", "--threshold", "0", text(&base()), text(&new)]).expect_quiet_success();
    assert!(said.starts_with("no regression: ") && said.ends_with(" of 2 traces, nothing changed\n"), "{said}");
    assert_eq!(said.lines().count(), 1);
    for format in &FORMATS[1..] {
        let said = run(["compare", "--format", format, text(&base()), text(&new)]).expect_quiet_success();
        assert!(!said.contains("WORSE") && !said.contains("<failure"), "{said}");
    }
    let all = run(["compare", "--all", text(&base()), text(&new)]).expect_quiet_success();
    let same = all.lines().filter(|line| line.starts_with("same ")).count();
    assert!(same > 200 && all.lines().count() == same + 2, "{all}");
    let document = run(["compare", "--all", "--format", "json", text(&base()), text(&new)]).expect_json();
    assert_eq!((at(&document, "changes").as_array().unwrap().len(), count(&document, "counts.same")), (same, same as u64));
}

#[test]
fn a_hundredth_of_a_point_passes_by_default_and_is_shown() {
    let less = |summary: &mut Value| {
        let replay = replay(summary, "a.trace", "proven", "sync");
        let rate = at(replay, "skip_rate.total").as_f64().unwrap();
        replay["skip_rate"]["total"] = (rate - 0.0001).into();
    };
    let said = expect_none(changed(&[], less));
    assert!(said.lines().nth(1).unwrap().starts_with("within a.trace"), "{said}");
    assert!(said.contains("↓ 0.01 points") && said.contains("\nno regression: "), "{said}");
    assert!(expect_regression(changed(&["--threshold", "skip=0"], less)).contains("WORSE"));
    assert!(expect_regression(changed(&["--threshold", "5%,skip.all=0.009%"], less)).contains("WORSE"));
    changed(&["--threshold", "0,skip=0.01%"], less).expect_quiet_success();
}

#[test]
fn a_threshold_is_for_what_it_names() {
    let more = |summary: &mut Value| {
        let replay = replay(summary, "a.trace", "proven", "precopy");
        replay["bytes"]["wire"] = (count(replay, "bytes.wire") * 102 / 100).into();
    };
    assert!(expect_regression(changed(&[], more)).contains("bytes on the wire"));
    changed(&["--threshold", "wire=2%"], more).expect_quiet_success();
    assert!(expect_regression(changed(&["--threshold", "sent=50%,skip=50%"], more)).contains("bytes on the wire"));
    changed(&["--threshold", "2%"], more).expect_quiet_success();
    let usage = |threshold| run(["compare", "--threshold", threshold, "a", "b"]);
    usage("lost=5%").expect_usage_error(&["takes only 0"]);
    usage("speed=1%").expect_usage_error(&["`speed` is none of skip, "]);
    usage("1").expect_usage_error(&["write it like 1% or wire=2%"]);
    run(["compare", "one.json"]).expect_usage_error(&["<NEW>"]);
}

#[test]
fn a_lost_page_is_caught_whatever_the_threshold() {
    let lose = |policy: &'static str| {
        move |summary: &mut Value| {
            let replay = replay(summary, "a.trace", policy, "precopy");
            replay["lost_pages"] = (count(replay, "lost_pages") + 1).into();
        }
    };
    for policy in ["send-all", "proven", "aging", "adaptive", "predictive"] {
        let said = expect_regression(changed(&["--threshold", "100%"], lose(policy)));
        assert!(said.contains(&format!("{policy}, precopy, 64 KiB lost pages")), "{said}");
        assert!(said.contains("1 REGRESSION: "), "{said}");
    }
    let said = expect_none(changed(&[], lose("aging-literal")));
    assert!(said.contains("noted a.trace aging-literal") && said.contains("1 worse and only noted"), "{said}");
    let verify = |name: &'static str, value: Value| {
        move |summary: &mut Value| {
            let path: Vec<_> = name.split('.').collect();
            let mut place = &mut summary["traces"][0]["verify"];
            for key in path {
                place = &mut place[key];
            }
            assert_ne!(*place, value);
            *place = value;
        }
    };
    for (name, value, words) in [
        ("lost_pages.proven", json!(1), "check, proven lost pages"),
        ("violations", json!(["something is wrong"]), "check violations"),
        ("ok", json!(false), "check check passed"),
        ("recall.content_in_log", json!(0.999_999), "changed pages in the dirty log"),
        ("recall.log_in_events", json!(0.999_999), "written pages with an event"),
        ("recall.content_in_log", Value::Null, "changed pages in the dirty log"),
    ] {
        let said = expect_regression(changed(&["--threshold", "100%"], verify(name, value)));
        assert!(said.contains(words), "{name}: {said}");
    }
    changed(&[], verify("lost_pages.aging-literal", json!(1_000_000))).expect_quiet_success();
}

#[test]
fn what_is_missing_is_told_and_may_be_allowed() {
    let without_b = |summary: &mut Value| drop(summary["traces"].as_array_mut().unwrap().pop());
    let said = expect_regression(changed(&[], without_b));
    assert!(said.contains("b.trace trace is there") && said.contains("missing in the new one"), "{said}");
    assert!(expect_none(changed(&["--allow-missing"], without_b)).contains("noted b.trace"));
    let xml = expect_regression(changed(&["--format", "junit"], without_b));
    assert!(xml.contains("everything is there") && xml.contains("trace: missing in the new one"), "{xml}");
    let without_a_replay = |summary: &mut Value| drop(summary["traces"][1]["replays"].as_array_mut().unwrap().remove(3));
    let said = expect_regression(changed(&[], without_a_replay));
    assert!(said.contains("adaptive, sync, 64 KiB is there"), "{said}");
    let without_a_point = |summary: &mut Value| drop(summary["traces"][0]["grid"].as_array_mut().unwrap().remove(0));
    assert!(expect_regression(changed(&[], without_a_point)).contains("a.trace grid, "));
    let with_a_third = |summary: &mut Value| {
        let traces = summary["traces"].as_array_mut().unwrap();
        let mut third = traces[0].clone();
        third["name"] = "c.trace".into();
        traces.push(third);
    };
    let said = expect_none(changed(&[], with_a_third));
    assert!(said.contains("new c.trace") && said.contains("1 new"), "{said}");
}

#[test]
fn other_recordings_are_no_regression_test() {
    let recorded_anew = |summary: &mut Value| {
        summary["traces"][0]["events"] = 7.into();
        summary["traces"][0]["provenance"]["created"] = 1_700_000_000.into();
    };
    let said = changed(&[], recorded_anew).expect_quiet_success();
    assert!(said.starts_with("WARNING: different recordings"), "{said}");
    assert!(said.contains("a.trace: recorded never and 2023-11-14 22:13 UTC (1700000000); events "), "{said}");
    let xml = changed(&["--format", "junit"], recorded_anew);
    assert!(xml.code == Some(0) && xml.stdout.contains("different recordings: a.trace"), "{xml:?}");
    assert!(xml.stderr.starts_with("pagesieve: different recordings"), "{xml:?}");
    let json = changed(&["--format", "json"], recorded_anew);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(at(&json, "different_recordings")[0]["trace"], "a.trace");
    changed(&["--same-input"], recorded_anew).expect_failure(&["different recordings", "a.trace", "--same-input"]);
    // One page more in one epoch is another recording as well.
    let one_page = |summary: &mut Value| {
        let epoch = &mut summary["traces"][1]["timeline"]["epochs"][2];
        epoch["dirty_pages"] = (count(epoch, "dirty_pages") + 1).into();
    };
    changed(&["--same-input"], one_page).expect_failure(&["b.trace: epoch 2: "]);
    // Who compares different recordings can still see what got worse.
    let both = |summary: &mut Value| {
        recorded_anew(summary);
        skip_less(summary, "b.trace", 0.05);
    };
    assert!(expect_regression(changed(&[], both)).starts_with("WARNING: "));
}

#[test]
fn files_that_are_no_documents_give_one_clear_line() {
    let whole = reported().1.to_string();
    let cases = [
        (&whole[..whole.len() / 2], "cut short"),
        ("", "the file is empty"),
        ("not JSON at all", "it is no JSON"),
        ("\u{0}\u{1}\u{2}", "it is no JSON"),
        ("{\"name\": \"left-pad\"}", "no document of pagesieve"),
        ("[]", "no trace"),
    ];
    for (content, words) in cases {
        against(&[], content).expect_failure(&["read ", "new.json", words]);
    }
    let version = |version: &'static str| changed(&[], move |summary| summary["schema"]["version"] = version.into());
    version("2.0").expect_failure(&["pagesieve.summary 2.0, made by a newer pagesieve", "update pagesieve"]);
    version("0.3").expect_failure(&["make it again"]);
    assert_eq!(version("1.999").code, Some(0), "every minor of the major is read");
    changed(&[], |summary| summary["schema"]["name"] = "pagesieve.doctor".into()).expect_failure(&["holds nothing to compare"]);
    changed(&[], |summary| summary["traces"] = json!([])).expect_failure(&["there is no trace in it"]);
    changed(&[], |summary| summary["traces"][0]["events"] = json!("many")).expect_failure(&["pagesieve.summary, but"]);
    let dir = scratch();
    run(["compare", text(dir.path()), text(&base())]).expect_failure(&["it is a directory", "name the summary.json"]);
    run(["compare", text(&base()), "/nonexistent.json"]).expect_failure(&["there is no such file"]);
    let trace = reported().0.path().join("a.trace");
    run(["compare", text(&base()), text(&trace)]).expect_failure(&["it is no JSON"]);
}

#[test]
fn what_replay_sweep_and_verify_print_can_be_compared() {
    let dir = scratch();
    let (one, two) = (synth(dir.path(), "one.trace", 1), synth(dir.path(), "two.trace", 2));
    let said = |name: &str, args: &[&str]| {
        let path = dir.path().join(name);
        fs::write(&path, run(args.iter().copied().chain([text(&one), text(&two)])).expect_quiet_success()).unwrap();
        path
    };
    let sweep = ["sweep", "--format", "json", "--scenario", "sync,precopy"];
    let documents = [said("replay", &["replay", "--json"]), said("sweep", &sweep), said("verify", &["verify", "--json"])];
    for document in &documents {
        let same = run(["compare", text(document), text(document)]).expect_quiet_success();
        assert!(same.contains(" of 2 traces, nothing changed"), "{same}");
    }
    let failed = run(["compare", text(&documents[0]), text(&documents[1])]);
    failed.expect_failure(&["one is a pagesieve.replay and the other a pagesieve.sweep"]);
    let aging = said("aging", &["replay", "--json", "--policy", "send-all"]);
    let other = expect_regression(run(["compare", text(&documents[0]), text(&aging)]));
    assert!(other.contains("proven, sync, 64 KiB is there"), "{other}");
}

#[test]
fn the_examples_in_the_help_work() {
    let help = run(["compare", "--help"]).expect_quiet_success();
    let examples: Vec<_> = help.lines().map(str::trim).filter(|line| line.starts_with("pagesieve compare ")).collect();
    assert!(examples.len() >= 3, "{help}");
    let dir = scratch();
    for side in ["base", "new"] {
        fs::create_dir(dir.path().join(side)).unwrap();
        fs::copy(base(), dir.path().join(side).join("summary.json")).unwrap();
    }
    for example in examples {
        let args = example.split_whitespace().skip(1);
        let done = run_command(Command::new(PAGESIEVE).args(args).current_dir(dir.path()));
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{example}: {done:?}");
    }
    assert!(dir.path().join("compare.md").exists());
}

#[test]
fn a_file_is_written_and_not_replaced_unasked() {
    let dir = scratch();
    let file = dir.path().join("compare.md");
    let compare = |more: &[&str]| {
        let args = ["compare", "--format", "markdown", "-o", text(&file)];
        run(args.into_iter().chain(more.iter().copied()).chain([text(&base()), text(&base())]))
    };
    let said = compare(&[]).expect_quiet_success();
    assert!(said.starts_with(text(&file)) && said.contains(": no regression: "), "{said}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("### Pagesieve: no regression\n"));
    compare(&[]).expect_failure(&["the file exists", "--force"]);
    compare(&["--force"]).expect_quiet_success();
    run(["compare", "-o", text(dir.path()), text(&base()), text(&base())]).expect_failure(&["it is a directory"]);
}
