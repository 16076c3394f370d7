//! The first screen: the answer for all traces together and for each.

use std::collections::BTreeMap;

use pagesieve_core::summary::{BlockCounts, ReplaySummary, VerifySummary, share};

use super::grid::{GridView, grids};
use super::{LITERAL, PROVEN, RateView, SourceView, TraceView, claim_of, guest_pages, headline, most_lost, part_of};
use crate::claims::{CLAIMS, Claim, Verdict};
use crate::figures::{Figure, SkipBars, SkipRow};
use crate::format;
use crate::{Report, TraceReport};

/// The whole report, ready to be printed.
#[derive(Clone, Debug, PartialEq)]
pub struct PageView {
    /// Name and version of the program that made the report.
    pub tool: String,
    /// The command line that made it.
    pub command: String,
    /// The answer in one line.
    pub headline: String,
    /// What must stand right beside it, a sentence each.
    pub beside: Vec<String>,
    /// One row for each trace.
    pub rows: Vec<OverviewRow>,
    /// One row for each class with a claim.
    pub classes: Vec<ClassRow>,
    /// The claims by block size and interval, one for each class with recorded traces.
    pub grids: Vec<GridView>,
    /// One bar for each class with recorded traces; `None` if there are none.
    pub class_bars: Option<Figure>,
    /// Bars of all traces; `None` if no trace has a replay of the proven policy.
    pub figure: Option<Figure>,
    /// The traces one by one.
    pub traces: Vec<TraceView>,
}

/// One trace on the first screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverviewRow {
    /// Id of the trace's section.
    pub anchor: String,
    /// Name of the trace.
    pub name: String,
    /// Its class, or a dash.
    pub class: String,
    /// Where the events come from.
    pub source: SourceView,
    /// Skip rate over all blocks.
    pub all: RateView,
    /// Skip rate over blocks with data.
    pub resident: RateView,
    /// The claimed range, or a dash.
    pub claim: String,
    /// Pages lost by the proven policy, of all guest pages; a dash if it was not replayed.
    pub lost_pages: String,
    /// True if that is not zero.
    pub loses: bool,
    /// Pages lost by the seed's literal rule, of all guest pages; a dash if it was not replayed.
    pub literal: String,
    /// True if that is not zero.
    pub literal_loses: bool,
    /// Events lost, of all that happened.
    pub lost_events: String,
    /// True if that is not zero.
    pub lossy: bool,
}

/// One claim of the seed and all recorded traces of its class taken together. Synthetic ones are left out: a generator can be
/// made to meet any claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRow {
    /// The class as the seed names it.
    pub label: String,
    /// The claimed range.
    pub claim: String,
    /// How many recorded traces there are, and how many synthetic ones were left out.
    pub traces: String,
    /// Skip rate over all blocks of all traces.
    pub all: RateView,
    /// Skip rate over their blocks with data.
    pub resident: RateView,
    /// Share of their dirty logs that had no write event, and why.
    pub without_event: String,
}

impl PageView {
    /// All figures in the order of the page.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        let first = self.class_bars.iter().chain(&self.figure).chain(self.grids.iter().map(|grid| &grid.figure));
        first.chain(self.traces.iter().flat_map(TraceView::figures))
    }

    /// Puts a report into words.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let rows: Vec<OverviewRow> = report.traces.iter().enumerate().map(|(at, trace)| OverviewRow::of(at, trace)).collect();
        Self {
            tool: report.tool.clone(),
            command: report.command.clone(),
            headline: answer(&rows),
            beside: beside(&report.traces, &rows),
            classes: CLAIMS.iter().map(|claim| ClassRow::of(claim, &report.traces)).collect(),
            grids: grids(&report.traces),
            class_bars: class_bars(&report.traces),
            figure: bars(&report.traces),
            traces: report.traces.iter().enumerate().map(|(at, trace)| TraceView::of(at, trace)).collect(),
            rows,
        }
    }
}

impl OverviewRow {
    fn of(at: usize, trace: &TraceReport) -> Self {
        let claim = claim_of(trace);
        let proven = headline(trace);
        let (all, resident) = proven.map_or_else(|| (RateView::none(), RateView::none()), |replay| RateView::pair(replay, claim));
        let pages = guest_pages(trace);
        let lost = |policy| most_lost(trace, policy);
        let words = |lost: Option<u64>| lost.map_or_else(|| format::NONE.into(), |lost| part_of(lost, pages));
        Self {
            anchor: format!("trace-{}", at + 1),
            name: trace.name.clone(),
            class: trace.class.clone().unwrap_or_else(|| format::NONE.into()),
            source: SourceView::of(&trace.provenance.source),
            all,
            resident,
            claim: claim.map_or_else(|| format::NONE.into(), Claim::range),
            lost_pages: words(lost(PROVEN)),
            loses: lost(PROVEN).is_some_and(|lost| lost > 0),
            literal: words(lost(LITERAL)),
            literal_loses: lost(LITERAL).is_some_and(|lost| lost > 0),
            lost_events: part_of(trace.lost_events, trace.events.saturating_add(trace.lost_events)),
            lossy: trace.lost_events > 0,
        }
    }
}

/// The one line at the top. Only observed machines count: a generator can be made to meet any claim.
fn answer(rows: &[OverviewRow]) -> String {
    let judged = || rows.iter().filter(|row| row.source.observed() && row.all.verdict != Verdict::NoClaim);
    let of = judged().count();
    if of == 0 {
        return "No recorded trace has both a claimed skip rate and a measured one".into();
    }
    let all = judged().filter(|row| row.all.verdict.met()).count();
    let resident = judged().filter(|row| row.resident.verdict.met()).count();
    let traces = if of == 1 { "trace" } else { "traces" };
    format!(
        "The claimed skip rate is reached on {all} of {of} recorded {traces} counting all blocks, and on {resident} of {of} counting only blocks that hold data"
    )
}

fn beside(traces: &[TraceReport], rows: &[OverviewRow]) -> Vec<String> {
    let lost = |policy: &str| -> Option<(u64, usize)> {
        let lost: Vec<u64> = traces.iter().filter_map(|trace| most_lost(trace, policy)).collect();
        (!lost.is_empty()).then(|| (lost.iter().copied().fold(0, u64::saturating_add), lost.len()))
    };
    let over = |count: usize| if count == 1 { "1 trace".into() } else { format!("{count} traces") };
    let mut lines = Vec::new();
    if let Some((pages, of)) = lost(PROVEN) {
        let pages = format::plural(pages, "page", "pages");
        lines.push(format!("The proven policy lost {pages} over {}.", over(of)));
    }
    if let Some((pages, of)) = lost(LITERAL) {
        let pages = format::plural(pages, "page", "pages");
        lines.push(format!("The seed's literal rule (aging-literal) would have lost {pages} over {}.", over(of)));
    }
    let synthetic = rows.iter().filter(|row| !row.source.observed()).count();
    if synthetic > 0 {
        lines.push(format!(
            "{} synthetic: shown, but not counted in the line above.",
            if synthetic == 1 { "1 trace is".into() } else { format!("{synthetic} traces are") }
        ));
    }
    let broken = traces.iter().filter(|trace| !trace.verify.ok).count();
    if broken > 0 {
        lines.push(format!("The check of {} found violations; see its section before using its rates.", over(broken)));
    }
    lines
}

fn bars(traces: &[TraceReport]) -> Option<Figure> {
    let rows: Vec<SkipRow> = traces
        .iter()
        .filter_map(|trace| {
            let replay = headline(trace)?;
            let class = trace.class.as_deref().map_or_else(String::new, |class| format!(" ({class})"));
            let label = format!("{}{class}", trace.name);
            Some(SkipRow { label, blocks: replay.blocks, claim: claim_of(trace), lost_pages: replay.lost_pages })
        })
        .collect();
    let drawing = SkipBars { subject: "proven policy, all traces".into(), rows };
    (!drawing.rows.is_empty()).then(|| Figure::of(drawing, "all-traces"))
}

/// The recorded traces of a class with their replays under the proven policy, and how many synthetic ones are left out.
fn recorded_of<'a>(claim: &Claim, traces: &'a [TraceReport]) -> (Vec<(&'a TraceReport, &'a ReplaySummary)>, usize) {
    let of_class = traces.iter().filter(|trace| trace.class.as_deref() == Some(claim.class));
    let (recorded, synthetic): (Vec<_>, Vec<_>) = of_class
        .filter_map(|trace| Some((trace, headline(trace)?)))
        .partition(|(trace, _)| SourceView::of(&trace.provenance.source).observed());
    (recorded, synthetic.len())
}

fn class_bars(traces: &[TraceReport]) -> Option<Figure> {
    let row = |claim: &'static Claim| {
        let (recorded, _) = recorded_of(claim, traces);
        let mut blocks = BlockCounts::default();
        recorded.iter().for_each(|(_, replay)| blocks.add(&replay.blocks));
        let lost_pages = recorded.iter().map(|(_, replay)| replay.lost_pages).fold(0, u64::saturating_add);
        let label = format!("{} ({})", claim.label, format::plural(recorded.len() as u64, "trace", "traces"));
        (blocks.total > 0).then_some(SkipRow { label, blocks, claim: Some(claim), lost_pages })
    };
    let rows: Vec<SkipRow> = CLAIMS.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| Figure::of(SkipBars { subject: "proven policy, by class".into(), rows }, "classes"))
}

impl ClassRow {
    fn of(claim: &'static Claim, traces: &[TraceReport]) -> Self {
        let (recorded, synthetic) = recorded_of(claim, traces);
        let sum =
            |of: fn(&BlockCounts) -> u64| recorded.iter().map(|(_, replay)| of(&replay.blocks)).fold(0, u64::saturating_add);
        let (total, resident) = (sum(|blocks| blocks.total), sum(|blocks| blocks.resident));
        Self {
            label: claim.label.into(),
            claim: claim.range(),
            traces: match (recorded.len(), synthetic) {
                (0, 0) => "none".into(),
                (recorded, 0) => recorded.to_string(),
                (recorded, synthetic) => format!("{recorded} ({synthetic} synthetic not counted)"),
            },
            all: RateView::of(total, share(sum(|blocks| blocks.skipped.total()), total), Some(claim)),
            resident: RateView::of(resident, share(sum(|blocks| blocks.skipped_resident), resident), Some(claim)),
            without_event: without_event(recorded.iter().map(|(trace, _)| &trace.verify)),
        }
    }
}

/// Such as `0.2 %: taken by kernel 416`.
fn without_event<'a>(checks: impl Iterator<Item = &'a VerifySummary>) -> String {
    let (mut pages, mut causes) = (0_u64, BTreeMap::<&str, u64>::new());
    for check in checks {
        pages = pages.saturating_add(check.dirty_log);
        for (cause, count) in &check.without_event {
            let sum = causes.entry(cause.as_str()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
    if pages == 0 {
        return format::NONE.into();
    }
    let all = causes.values().copied().fold(0, u64::saturating_add);
    let why: Vec<_> =
        causes.iter().map(|(cause, count)| format!("{} {}", cause.replace('_', " "), format::count(*count))).collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
    format!("{}{why}", format::percent(share(all, pages)))
}
