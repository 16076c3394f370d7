//! One trace: what was measured, what the check says, where it comes from.

use pagesieve_core::summary::{ReplaySummary, share};

use super::{LITERAL, PROVEN, RateView, SourceView, claim_of, guest_pages, headline, most_lost, part_of};
use crate::TraceReport;
use crate::claims::{Claim, Verdict};
use crate::figures::{
    Cost, DirtyRate, Figure, Links, PageHeatmap, PolicyBar, PolicyBars, RedirtyBars, SkipBars, SkipRow, WorkingSet,
};
use crate::format;

/// One trace, ready to be printed.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceView {
    /// Id of the section.
    pub anchor: String,
    /// Name of the trace.
    pub name: String,
    /// Its class, or a dash.
    pub class: String,
    /// Where the events come from.
    pub source: SourceView,
    /// The answer, a sentence each.
    pub answer: Vec<String>,
    /// What weakens it, a sentence each.
    pub warnings: Vec<String>,
    /// One row for each replay.
    pub policies: Vec<PolicyRow>,
    /// What the policies send and lose: one figure for each scenario that was replayed.
    pub compared: Vec<Figure>,
    /// What became of the blocks; `None` without replays.
    pub bars: Option<Figure>,
    /// Migrations over several links, foretold and come; `None` without any.
    pub links: Option<Figure>,
    /// How good its forecasts were.
    pub links_verdict: String,
    /// Dirty rate over time; `None` without epochs.
    pub dirty_rate: Option<Figure>,
    /// Working set over time; `None` without epochs.
    pub working_set: Option<Figure>,
    /// How long pages rest between two writes; `None` if no write could be seen.
    pub redirty: Option<Figure>,
    /// Dirty pages over address and time; `None` if there is no map.
    pub heatmap: Option<Figure>,
    /// What the heatmap leaves out; empty if nothing.
    pub heatmap_note: String,
    /// What the recording did to the target; `None` without epochs.
    pub cost: Option<Figure>,
    /// The same in numbers: name and value.
    pub cost_facts: Vec<(String, String)>,
    /// Results of the check: name and value.
    pub checks: Vec<(String, String)>,
    /// What the check found wrong.
    pub violations: Vec<String>,
    /// Size and origin of the trace: name and value.
    pub facts: Vec<(String, String)>,
    /// Remarks of whoever made the report.
    pub notes: Vec<String>,
}

/// One replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Name of the policy.
    pub policy: String,
    /// `sync` or `precopy`.
    pub scenario: String,
    /// Transfer unit.
    pub block: String,
    /// Skip rate over all blocks.
    pub all: RateView,
    /// Skip rate over blocks with data.
    pub resident: RateView,
    /// Pages lost, of all guest pages.
    pub lost_pages: String,
    /// True if that is not zero.
    pub loses: bool,
    /// Rounds.
    pub rounds: String,
    /// Guest memory sent before encoding.
    pub sent: String,
    /// Bytes on the wire.
    pub wire: String,
    /// Downtime; a dash for `sync`.
    pub downtime: String,
    /// Whether it converged; a dash for `sync`.
    pub converged: String,
}

impl TraceView {
    /// Its figures in the order of the page.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        let over_time = [&self.links, &self.dirty_rate, &self.working_set, &self.redirty, &self.heatmap, &self.cost];
        self.compared.iter().chain(&self.bars).chain(over_time.into_iter().flatten())
    }

    pub(super) fn of(at: usize, trace: &TraceReport) -> Self {
        let anchor = format!("trace-{}", at + 1);
        let source = SourceView::of(&trace.provenance.source);
        let pages = guest_pages(trace);
        let dirty_rate = DirtyRate::of(&trace.name, &trace.timeline);
        let dirty_pages = trace.timeline.epochs.iter().map(|epoch| epoch.dirty_pages).fold(0, u64::saturating_add);
        let heatmap = PageHeatmap::of(&trace.name, &trace.heatmap).out_of(dirty_pages);
        let cost = Cost::of(&trace.name, &trace.timeline);
        let links = Links::of(&trace.name, &trace.links);
        let id = |what: &str| format!("{anchor}-{what}");
        Self {
            name: trace.name.clone(),
            class: trace.class.clone().unwrap_or_else(|| format::NONE.into()),
            answer: answer(trace),
            warnings: warnings(trace, &source),
            policies: trace.replays.iter().map(|replay| PolicyRow::of(replay, claim_of(trace), pages)).collect(),
            compared: ["sync", "precopy"].into_iter().filter_map(|scenario| compared(trace, scenario, &anchor)).collect(),
            bars: bars(trace, &id("skips")),
            links_verdict: links.as_ref().map_or_else(String::new, Links::verdict),
            links: links.map(|links| Figure::of(links, &id("links"))),
            dirty_rate: (!dirty_rate.intervals.is_empty()).then(|| Figure::of(dirty_rate, &id("dirty-rate"))),
            working_set: WorkingSet::of(&trace.name, &trace.working_sets, &trace.timeline)
                .map(|set| Figure::of(set, &id("working-set"))),
            redirty: RedirtyBars::of(&trace.name, &trace.redirty).map(|bars| Figure::of(bars, &id("redirty"))),
            heatmap_note: heatmap.note(),
            heatmap: (!heatmap.is_empty()).then(|| Figure::of(heatmap, &id("heatmap"))),
            cost_facts: cost.as_ref().map_or_else(Vec::new, |cost| cost.facts(trace.epochs, trace.trace_bytes)),
            cost: cost.map(|cost| Figure::of(cost, &id("cost"))),
            checks: checks(trace),
            violations: trace.verify.violations.clone(),
            facts: facts(trace, &source),
            notes: trace.notes.clone(),
            source,
            anchor,
        }
    }
}

impl PolicyRow {
    fn of(replay: &ReplaySummary, claim: Option<&Claim>, pages: u64) -> Self {
        let (all, resident) = RateView::pair(replay, claim);
        let dash = || format::NONE.to_owned();
        Self {
            policy: replay.policy.clone(),
            scenario: replay.scenario.clone(),
            block: format::round_bytes(replay.block_size),
            all,
            resident,
            lost_pages: part_of(replay.lost_pages, pages),
            loses: replay.lost_pages > 0,
            rounds: format::count(replay.rounds),
            sent: format::bytes(replay.bytes.sent),
            wire: format::bytes(replay.bytes.wire),
            downtime: replay.downtime.map_or_else(dash, format::duration),
            converged: replay.converged.map_or_else(dash, |yes| if yes { "yes" } else { "no" }.into()),
        }
    }
}

/// The rates against the claim, in words.
fn answer(trace: &TraceReport) -> Vec<String> {
    let Some(proven) = headline(trace) else {
        return vec!["The proven policy was not replayed on this trace, so there is no rate to judge.".into()];
    };
    let claim = claim_of(trace);
    let (all, resident) = RateView::pair(proven, claim);
    let mut lines = Vec::new();
    if proven.blocks.total == 0 {
        lines.push("The replay passed no verdict on any block, so there is no rate to judge.".into());
    } else {
        let class = claim.map(|claim| format!("the seed claims {} for this class", claim.range()));
        let beside = |rate: &RateView| {
            if rate.verdict == Verdict::NoClaim { String::new() } else { format!(" ({})", rate.verdict.words()) }
        };
        let verdict = class.unwrap_or_else(|| "the seed makes no claim for this class".into());
        lines.push(format!(
            "With proof, {} of all blocks{} and {} of the blocks that hold data{} were skipped; {verdict}.",
            all.rate,
            beside(&all),
            resident.rate,
            beside(&resident)
        ));
    }
    let judged = if proven.judged_by_content {
        "by page content"
    } else {
        "by the dirty log only, because the trace holds no page summaries"
    };
    let lost = format::plural(most_lost(trace, PROVEN).unwrap_or(0), "page", "pages");
    lines.push(format!("The proven policy lost {lost}, judged {judged}."));
    if let Some(literal) = trace.replays.iter().find(|replay| replay.policy == LITERAL) {
        let lost = format::plural(most_lost(trace, LITERAL).unwrap_or(0), "page", "pages");
        lines.push(format!(
            "The seed's literal rule would have skipped {} of all blocks in a sync. In the worst replay, those of the check \
             included, it lost {lost}.",
            format::percent(literal.skip_rate.total)
        ));
    }
    lines.extend(super::migration::sentences(trace));
    lines
}

fn warnings(trace: &TraceReport, source: &SourceView) -> Vec<String> {
    let mut lines = Vec::new();
    if !source.warning.is_empty() {
        lines.push(source.warning.into());
    }
    if !trace.verify.ok {
        lines.push("The check found violations (listed below): do not rely on the rates of this trace.".into());
    }
    if most_lost(trace, PROVEN) > Some(0) {
        lines.push("The proven policy lost pages. That must never happen and is a defect of the program or of the trace.".into());
    }
    if trace.lost_events > 0 {
        let lost = format::plural(trace.lost_events, "event was", "events were");
        let epochs = format::plural(trace.verify.lossy_epochs, "epoch", "epochs");
        lines.push(format!("{lost} lost while recording, in {epochs}. Skips there rest on the dirty log alone; times and counts of accesses are too low."));
    }
    if !trace.provenance.complete {
        lines.push("The recording was cut short: the file has no footer and was read up to its last whole epoch.".into());
    }
    if trace.provenance.arming == "none" {
        lines.push("Memory was not write-protected, so only first touches raised events.".into());
    }
    lines
}

fn bars(trace: &TraceReport, id: &str) -> Option<Figure> {
    let claim = claim_of(trace);
    let row = |replay: &ReplaySummary| SkipRow {
        label: format!("{} · {} · {}", replay.policy, replay.scenario, format::round_bytes(replay.block_size)),
        blocks: replay.blocks,
        claim,
        lost_pages: replay.lost_pages,
    };
    let rows: Vec<SkipRow> = trace.replays.iter().map(row).collect();
    (!rows.is_empty()).then(|| Figure::of(SkipBars { subject: trace.name.clone(), rows }, id))
}

fn compared(trace: &TraceReport, scenario: &str, anchor: &str) -> Option<Figure> {
    let row = |replay: &ReplaySummary| PolicyBar {
        policy: replay.policy.clone(),
        sent: replay.bytes.sent,
        resent: replay.bytes.resent,
        wire: replay.bytes.wire,
        lost_pages: replay.lost_pages,
    };
    let rows: Vec<PolicyBar> = trace.replays.iter().filter(|replay| replay.scenario == scenario).map(row).collect();
    let bars = PolicyBars { subject: trace.name.clone(), scenario: scenario.into(), rows };
    (!bars.rows.is_empty()).then(|| Figure::of(bars, &format!("{anchor}-policies-{scenario}")))
}

fn checks(trace: &TraceReport) -> Vec<(String, String)> {
    let verify = &trace.verify;
    let optional = |number: Option<String>| number.unwrap_or_else(|| "not known: the trace holds no page summaries".into());
    let mut rows = vec![
        ("Result".into(), if verify.ok { "no violation found".into() } else { "VIOLATIONS FOUND".into() }),
        ("Epochs checked".into(), format::count(verify.epochs.saturating_sub(1))),
        ("Changed pages that the dirty log has".into(), optional(verify.recall.content_in_log.map(format::percent))),
        ("Written pages that also have a write event".into(), format::percent(verify.recall.log_in_events)),
        ("Pages in the dirty log, summed over epochs".into(), format::count(verify.dirty_log)),
        ("Of these, only not proven clean".into(), format::count(verify.unknown)),
        ("Pages whose content changed, summed over epochs".into(), optional(verify.content_changed.map(format::count))),
        ("Epochs with lost events".into(), format::count(verify.lossy_epochs)),
        ("Epochs whose log was completed by content".into(), format::count(verify.rechecked_epochs)),
    ];
    rows.extend(
        verify
            .unknown_by_reason
            .iter()
            .map(|(reason, pages)| (format!("Not proven clean: {}", reason.replace('_', " ")), format::count(*pages))),
    );
    let without = |(cause, pages): (&String, &u64)| {
        let part = format::percent(share(*pages, verify.dirty_log));
        (
            format!("In the dirty log without a write event: {}", cause.replace('_', " ")),
            format!("{} ({part})", format::count(*pages)),
        )
    };
    rows.extend(verify.without_event.iter().map(without));
    rows.extend(
        verify.lost_pages.iter().map(|(policy, pages)| (format!("Lost pages by the check: {policy}"), format::count(*pages))),
    );
    rows
}

fn facts(trace: &TraceReport, source: &SourceView) -> Vec<(String, String)> {
    let from = &trace.provenance;
    let or_dash = |text: &str| if text.is_empty() { format::NONE.to_owned() } else { text.to_owned() };
    let memory = |bytes| if bytes == 0 { format::NONE.into() } else { format::bytes(bytes) };
    let per_second = if trace.duration_ns == 0 {
        format::NONE.into()
    } else {
        format::per_second(trace.events as f64 / (trace.duration_ns as f64 / 1e9))
    };
    vec![
        ("Source of events".into(), source.label.clone()),
        ("Hooks".into(), if from.hooks.is_empty() { "none".into() } else { from.hooks.join(", ") }),
        ("Write protection".into(), or_dash(&from.arming)),
        ("Recorded".into(), format::date(from.created)),
        ("Recorded by".into(), or_dash(&from.tool)),
        ("Trace format".into(), or_dash(&from.format)),
        ("Clock".into(), or_dash(&from.clock)),
        ("Epochs of".into(), if from.epoch_ns == 0 { format::NONE.into() } else { format::duration(from.epoch_ns) }),
        ("Page contents compared".into(), if from.fingerprints { "yes" } else { "no" }.into()),
        ("Target".into(), or_dash(&from.target)),
        ("CPU".into(), if from.cpu.is_empty() { format::NONE.into() } else { format!("{} × {}", from.cpus, from.cpu) }),
        ("Memory of the machine".into(), memory(from.memory)),
        ("Kernel".into(), or_dash(format!("{} {}", from.kernel, from.arch).trim())),
        (
            "Length".into(),
            format!("{} in {}", format::duration(trace.duration_ns), format::plural(trace.epochs, "epoch", "epochs")),
        ),
        ("Events".into(), format!("{} ({per_second})", format::count(trace.events))),
        ("Lost events".into(), format::count(trace.lost_events)),
        ("Guest memory".into(), format::bytes(trace.guest_bytes)),
        ("Of this, holding data at the end".into(), format::bytes(trace.resident_bytes)),
        ("Size of the trace".into(), memory(trace.trace_bytes)),
        ("Recording".into(), if from.complete { "complete".into() } else { "cut short".into() }),
    ]
}
