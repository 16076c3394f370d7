use serde_json::{Value as Json, json};

use super::*;

/// A replay of a trace: bytes on the wire, skip rate, lost pages.
fn replay(trace: &str, policy: &str, wire: u64, skip: f64, lost: u64) -> Json {
    let skipped = json!({"unpopulated": 0, "zero": 0, "unchanged": 1, "same_content": 0, "presumed_unused": 0});
    json!({
        "schema": {"name": "pagesieve.replay", "version": "1.7"}, "trace": trace, "class": "mixed", "policy": policy,
        "scenario": "sync", "block_size": 65536, "rounds": 3, "lost_pages": lost, "new_in_1_7": {},
        "blocks": {"total": 4, "resident": 2, "sent": 3, "skipped": skipped, "skipped_resident": 1, "deferred": 0},
        "skip_rate": {"total": skip, "resident": null}, "bytes": {"guest": 1, "sent": 100, "resent": 0, "wire": wire},
    })
}

fn read(json: &Json) -> Document {
    Document::read(&json.to_string()).unwrap()
}

fn compare(base: &Json, new: &Json) -> Comparison {
    Comparison::new(("base.json", &read(base)), ("new.json", &read(new)), Thresholds::default(), false).unwrap()
}

fn outcomes(comparison: &Comparison) -> Vec<(String, &'static str, Outcome)> {
    let differ = comparison.changes.iter().filter(|change| change.differs());
    differ.map(|change| (change.part.label(), change.quantity.name(), change.outcome)).collect()
}

#[test]
fn what_is_worst_comes_first() {
    let base = json!([
        replay("a", "send-all", 1000, 0.9, 0),
        replay("a", "proven", 1000, 0.9, 0),
        replay("a", "aging", 1000, 0.9, 0),
        replay("a", "predictive", 1000, 0.9, 0),
        replay("a", "aging-literal", 1000, 0.9, 5),
    ]);
    let new = json!([
        replay("a", "send-all", 1000, 0.8999, 0),
        replay("a", "proven", 1002, 0.9, 0),
        replay("a", "aging", 1500, 0.95, 0),
        replay("a", "predictive", 1000, 0.9, 1),
        replay("a", "aging-literal", 1000, 0.9, 9),
    ]);
    let comparison = compare(&base, &new);
    let of = |policy: &str| format!("{policy}, sync, 64 KiB");
    let expected = [
        (of("predictive"), "lost", Outcome::Regression),
        (of("aging"), "wire", Outcome::Regression),
        (of("proven"), "wire", Outcome::Regression),
        (of("aging-literal"), "lost", Outcome::Noted),
        (of("send-all"), "skip.all", Outcome::Tolerated),
        (of("aging"), "skip.all", Outcome::Improved),
    ];
    assert_eq!(outcomes(&comparison), expected);
    assert!(comparison.has_regressions());
    let counts = Counts { regressions: 3, noted: 1, tolerated: 1, improved: 1, added: 0, same: 35 - 6 };
    assert_eq!(comparison.counts(), counts);
    let table = table(&comparison, false);
    assert!(table.starts_with("        trace  of "), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("WORSE   a      predictive, sync, 64 KiB     lost pages"), "{table}");
    assert!(
        table.ends_with(
            "3 REGRESSIONS: 35 quantities of 1 trace; 1 worse within the threshold, 1 worse and only noted, \
                             1 better, 29 the same\n"
        ),
        "{table}"
    );
    assert!(table.contains("90.00 %  89.99 %  ↓ 0.01 points  0.1 points"), "{table}");
}

#[test]
fn nothing_changed_is_one_line() {
    let one = replay("a", "proven", 1000, 0.9, 0);
    let comparison = compare(&one, &one);
    assert!(!comparison.has_regressions());
    assert_eq!(table(&comparison, false), "no regression: 7 quantities of 1 trace, nothing changed\n");
    assert_eq!(table(&comparison, true).lines().count(), 9, "a line of titles, seven quantities, the verdict");
}

#[test]
fn what_is_missing_is_a_regression_unless_it_may_be() {
    let both = json!([replay("a", "proven", 1, 0.9, 0), replay("a", "aging", 1, 0.9, 0), replay("b", "proven", 1, 0.9, 0)]);
    let one = json!([replay("a", "proven", 1, 0.9, 0)]);
    let less = compare(&both, &one);
    let gone = [
        ("trace".to_owned(), "present", Outcome::Regression),
        ("aging, sync, 64 KiB".to_owned(), "present", Outcome::Regression),
    ];
    let mut found = outcomes(&less);
    found.sort_by(|one, other| other.cmp(one));
    assert_eq!(found, gone);
    let more = compare(&one, &both);
    assert!(outcomes(&more).iter().all(|(_, _, outcome)| *outcome == Outcome::Added));
    assert_eq!((more.counts().added, more.has_regressions()), (2, false));
    let allowed = Comparison::new(("b", &read(&both)), ("n", &read(&one)), Thresholds::default(), true).unwrap();
    assert_eq!((allowed.counts().noted, allowed.has_regressions()), (2, false));
}

#[test]
fn a_rate_that_is_not_written_is_taken_from_the_counts() {
    let item = &read(&replay("a", "proven", 1, 0.9, 0)).traces[0].items[0];
    assert!(item.values.contains(&(Quantity::SkipResident, Value::Rate(0.5))), "{item:?}");
    let mut counts = replay("a", "proven", 1, 0.9, 0);
    counts["skip_rate"]["total"] = Json::Null;
    counts["blocks"]["skipped"]["zero"] = u64::MAX.into();
    read(&counts);
}

#[test]
fn traces_that_share_a_name_are_two_traces() {
    let rows = [("proven", 1), ("aging", 2), ("proven", 3), ("aging", 4)];
    let document = |rows: &[(&str, u64)]| -> Json {
        rows.iter().map(|(policy, wire)| replay("a", policy, *wire, 0.9, 0)).collect::<Vec<_>>().into()
    };
    let read = read(&document(&rows));
    assert_eq!(read.traces.iter().map(|trace| trace.items.len()).collect::<Vec<_>>(), [2, 2]);
    let comparison = compare(&document(&rows), &document(&[("proven", 1), ("aging", 2), ("proven", 3), ("aging", 5)]));
    assert_eq!(outcomes(&comparison), [("aging, sync, 64 KiB".to_owned(), "wire", Outcome::Regression)]);
    assert_eq!(junit(&comparison).unwrap().matches("<testsuite ").count(), 1, "a suite for each name");
}

#[test]
fn two_of_a_kind_are_compared() {
    let replay = replay("a", "proven", 1, 0.9, 0);
    let mut sweep = json!({"schema": {"name": "pagesieve.sweep", "version": "1.0"}, "rows": [replay]});
    sweep["rows"][0]["interval"] = 5_000_000_000_u64.into();
    let (replay, sweep) = (read(&replay), read(&sweep));
    let error = Comparison::new(("b", &replay), ("n", &sweep), Thresholds::default(), false).unwrap_err().to_string();
    assert!(error.contains("pagesieve.replay") && error.contains("pagesieve.sweep"), "{error}");
    assert_eq!(sweep.traces[0].items[0].part.label(), "proven, sync, 64 KiB, every 5 s");
    let link = |bandwidth| Part::Link { policy: "proven".into(), bandwidth }.label();
    assert_eq!([125_000_000, 12_500_000, 1].map(link), ["link, proven, 1Gbit", "link, proven, 100Mbit", "link, proven, 8bit"]);
}

#[test]
fn what_cannot_be_read_is_told_in_one_line() {
    let refused = |text: &str| {
        let error = Document::read(text).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    assert!(refused(" \n").contains("is empty"));
    assert!(refused("{\"schema\": {\"name\"").contains("cut short"));
    assert!(refused("# summary").contains("no JSON (line 1, column 1)"));
    assert!(refused("{}").contains("no document of pagesieve"));
    assert!(refused("[]").contains("no trace"));
    assert!(refused("[1]").contains("no document of pagesieve"));
    let schema = |name: &str, version: &str| json!({"schema": {"name": name, "version": version}}).to_string();
    assert!(refused(&schema("npm.lock", "1.0")).contains("no document of pagesieve"));
    assert!(refused(&schema("pagesieve.doctor", "1.0")).contains("holds nothing to compare"));
    assert!(refused(&schema("pagesieve.summary", "2.0")).contains("made by a newer pagesieve"));
    assert!(refused(&schema("pagesieve.summary", "0.9")).contains("make it again from the trace"));
    assert!(refused(&schema("pagesieve.summary", "1")).contains("make it again from the trace"));
    assert!(refused(&schema("pagesieve.summary", "1.1")).contains("missing field `traces`"));
    let empty = json!({"schema": {"name": "pagesieve.sweep", "version": "1.0"}, "rows": []});
    assert!(refused(&empty.to_string()).contains("no trace"));
    let mixed = json!([replay("a", "proven", 1, 0.9, 0), {"schema": {"name": "pagesieve.verify", "version": "1.0"}}]);
    assert!(refused(&mixed.to_string()).contains("several kinds"));
    assert!(refused(&"[".repeat(100_000)).contains("no JSON"));
}

#[test]
fn a_comment_has_room_for_a_verdict_however_much_changed() {
    let traces = |wire| (0..3000).map(|at| replay(&format!("trace {at}"), "proven", wire, 0.9, 0)).collect::<Vec<_>>();
    let comparison = compare(&traces(1000).into(), &traces(2000).into());
    let text = markdown(&comparison, "pagesieve", false);
    assert!(text.len() < 65_000 && text.starts_with("### Pagesieve: 3000 REGRESSIONS"), "{} bytes", text.len());
    assert!(text.contains("more: `pagesieve compare` without") && text.contains("compared by pagesieve"), "{text}");
    assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
}

#[test]
fn names_from_a_file_cannot_break_a_format() {
    let name = "a|b<script>`x`\u{1b}[31m\n\"&']]>.trace";
    let comparison = compare(&replay(name, "proven", 1, 0.9, 0), &replay(name, "proven", 9, 0.9, 0));
    let text = markdown(&comparison, "pagesieve", false);
    assert!(!text.contains("<script>") && text.contains("a\\|b&lt;script&gt;"), "{text}");
    assert!(!table(&comparison, false).contains('\u{1b}'));
    let xml = junit(&comparison).unwrap();
    assert!(!xml.contains("<script>") && !xml.contains('\u{1b}'), "{xml}");
}
