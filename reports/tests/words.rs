//! What the report says about its numbers must follow from them.

#[path = "fixture/mod.rs"]
mod fixture;

use fixture::{Shape, sample, trace};
use pagesieve_reports::claims::Verdict;
use pagesieve_reports::view::PageView;
use pagesieve_reports::{Report, TraceReport, html};

fn view(traces: Vec<TraceReport>) -> PageView {
    PageView::of(&Report::new("tool", "command", traces))
}

/// An idle trace of 1000 blocks of which so many are skipped, half of all blocks being unpopulated if there is room.
fn idle(skipped: u64, source: &str) -> TraceReport {
    let unpopulated = skipped.min(500);
    trace("t", Some("idle"), source, Shape::Idle, [unpopulated, 0, skipped - unpopulated, 0, 0, 1_000 - skipped])
}

#[test]
fn the_verdict_follows_from_the_rate() {
    for (skipped, verdict, words) in [
        (599, Verdict::Below, "not met: below the claim"),
        (600, Verdict::Within, "met: inside the claim"),
        (801, Verdict::Above, "met: above the claim"),
    ] {
        let page = view(vec![idle(skipped, "ebpf")]);
        assert_eq!(page.rows[0].all.verdict, verdict);
        let met = u8::from(verdict.met());
        assert!(page.headline.contains(&format!("reached on {met} of 1 recorded trace ")), "{}", page.headline);
        assert!(page.traces[0].answer[0].contains(&format!("all blocks ({words})")), "{}", page.traces[0].answer[0]);
    }
}

#[test]
fn resident_blocks_are_judged_apart() {
    let page = view(vec![idle(700, "ebpf")]);
    assert_eq!((page.rows[0].all.verdict, page.rows[0].resident.verdict), (Verdict::Within, Verdict::Below));
    assert_eq!(page.rows[0].resident.rate, "40.0\u{a0}%", "200 of 500");
    assert!(page.headline.ends_with("on 0 of 1 counting only blocks that hold data"));
}

#[test]
fn synthetic_traces_meet_no_claim() {
    let page = view(vec![idle(700, "synthetic")]);
    assert!(page.headline.starts_with("No recorded trace"), "{}", page.headline);
    assert!(page.beside.iter().any(|line| line.starts_with("1 trace is synthetic")));
    assert_eq!(page.classes[0].all.verdict, Verdict::NoClaim);
    assert_eq!(page.classes[0].traces, "0 (1 synthetic not counted)");
    assert!(page.traces[0].warnings[0].contains("No machine was observed"));
}

#[test]
fn other_sources_than_ebpf_are_named() {
    for (source, label) in
        [("perf", "perf events, not eBPF"), ("pagemap_scan", "no eBPF: page scan only"), ("odd", "unknown source: odd")]
    {
        let page = view(vec![idle(700, source)]);
        assert_eq!(page.rows[0].source.label, label);
        assert!(!page.traces[0].warnings.is_empty());
    }
    assert!(view(vec![idle(700, "ebpf")]).traces[0].warnings.is_empty());
}

#[test]
fn a_class_takes_its_recorded_traces_together() {
    let page = view(vec![idle(600, "ebpf"), idle(800, "ebpf"), idle(0, "synthetic")]);
    assert_eq!(page.classes[0].all.rate, "70.0\u{a0}%");
    assert_eq!(page.classes[0].traces, "2 (1 synthetic not counted)");
    assert_eq!(page.classes[0].without_event, "2.9\u{a0}%: taken by kernel 642, unknown 8,000", "8,642 of 300,642");
    assert_eq!(page.classes[1].traces, "none");
}

#[test]
fn lost_pages_stand_out() {
    let page = view(vec![idle(700, "ebpf")]);
    assert!(page.rows[0].literal_loses && !page.rows[0].loses);
    let loses: Vec<_> = page.traces[0].policies.iter().filter(|row| row.loses).map(|row| row.policy.as_str()).collect();
    assert_eq!(loses, ["aging-literal"]);
    assert!(html(&sample()).contains("<tr class=\"loses\"><th scope=\"row\">aging-literal</th>"));
    let mut broken = idle(700, "ebpf");
    broken.replays[1].lost_pages = 3;
    let page = view(vec![broken]);
    assert!(page.rows[0].loses && page.rows[0].lost_pages.starts_with("3 of "));
    assert!(page.traces[0].warnings.iter().any(|line| line.contains("must never happen")));
}

#[test]
fn the_sync_replay_is_the_one_that_is_judged() {
    let mut only_precopy = idle(700, "ebpf");
    only_precopy.replays.retain(|replay| replay.scenario == "precopy");
    only_precopy.replays[0].skip_rate.total = 0.25;
    assert_eq!(view(vec![only_precopy.clone()]).rows[0].all.rate, "25.0\u{a0}%", "better than nothing");
    let mut both = idle(700, "ebpf");
    both.replays.insert(0, only_precopy.replays.remove(0));
    assert_eq!(view(vec![both]).rows[0].all.rate, "70.0\u{a0}%");
}

#[test]
fn violations_are_said_on_the_first_screen() {
    let mut broken = idle(700, "ebpf");
    broken.verify.ok = false;
    broken.verify.violations = vec!["epoch 3: 2 changed pages are not in the dirty log".into()];
    let page = view(vec![broken]);
    assert!(page.beside.iter().any(|line| line.contains("The check of 1 trace found violations")));
    assert_eq!(page.traces[0].violations.len(), 1);
}

#[test]
fn the_forecast_of_writes_is_judged_in_words() {
    let mut trace = trace("t", Some("mixed"), "ebpf", Shape::Mixed, [0, 0, 100, 0, 40, 60]);
    let said = |trace: &TraceReport| view(vec![trace.clone()]).traces[0].answer.join(" ").replace(['\u{a0}', '\u{202f}'], " ");
    assert!(said(&trace).contains("predictive sent 7.5 MiB again and proven 10.0 MiB: 25.0 % less."), "{}", said(&trace));
    assert!(said(&trace).contains("off by 50 ms on average") && said(&trace).contains("by 70 ms."));
    assert!(said(&trace).contains("it was foretold") && said(&trace).contains("It converged after"), "{}", said(&trace));
    let predictive = trace.replays.iter_mut().find(|replay| replay.policy == "predictive").expect("it is in the sample");
    predictive.bytes.resent = 11 << 20;
    assert!(said(&trace).contains("more: the forecast of writes did harm here."));
}

#[test]
fn the_claim_is_judged_for_each_block_size_and_interval() {
    let page = view(vec![idle(700, "ebpf"), idle(700, "synthetic")]);
    let [grid] = &page.grids[..] else { panic!("one class is recorded: {:?}", page.grids) };
    assert_eq!((grid.label.as_str(), grid.intervals.len(), grid.rows.len()), ("Idle VM", 2, 2));
    let (all, resident) = &grid.rows[0].cells[0];
    // Of the fixture: 500 unpopulated and 200 unchanged of 96,000 blocks.
    assert_eq!((all.rate.as_str(), all.verdict), ("0.7\u{a0}%", Verdict::Below));
    assert_eq!((resident.rate.as_str(), resident.verdict), ("0.2\u{a0}%", Verdict::Below));
    assert_eq!(grid.rows[0].cells[1].0.verdict, Verdict::NoClaim, "no sync, no rate");
    assert!(grid.verdict.starts_with("The claim is reached in 0 of 2 combinations"), "{}", grid.verdict);
}
