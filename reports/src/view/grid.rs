//! The seed's table, measured: skip rates of each class by block size and by time between two syncs.

use pagesieve_core::summary::{BlockCounts, share};

use super::{RateView, SourceView};
use crate::claims::{CLAIMS, Claim};
use crate::figures::{Figure, GridCell, SkipGrid};
use crate::{GridRate, TraceReport, format};

/// One class: rows of block sizes, columns of intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct GridView {
    /// The class as the seed names it.
    pub label: String,
    /// The claimed range.
    pub claim: String,
    /// Times between two syncs.
    pub intervals: Vec<String>,
    /// One row for each block size.
    pub rows: Vec<GridRow>,
    /// What becomes of the claim, in a sentence.
    pub verdict: String,
    /// The rates as lines.
    pub figure: Figure,
}

/// One block size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridRow {
    /// Such as `64 KiB`.
    pub block: String,
    /// One for each interval: the rate over all blocks, and over resident blocks.
    pub cells: Vec<(RateView, RateView)>,
}

/// The classes of which there are recorded traces. Synthetic ones are left out, as everywhere where claims are judged.
pub(super) fn grids(traces: &[TraceReport]) -> Vec<GridView> {
    CLAIMS.iter().filter_map(|claim| grid(claim, traces)).collect()
}

fn grid(claim: &'static Claim, traces: &[TraceReport]) -> Option<GridView> {
    let recorded = traces
        .iter()
        .filter(|trace| trace.class.as_deref() == Some(claim.class) && SourceView::of(&trace.provenance.source).observed());
    let rates: Vec<&GridRate> = recorded.flat_map(|trace| &trace.grid).collect();
    let sizes = distinct(rates.iter().map(|rate| rate.block_size));
    let intervals = distinct(rates.iter().map(|rate| rate.interval_ns));
    let rows: Vec<GridRow> = sizes
        .iter()
        .map(|&size| GridRow {
            block: format::round_bytes(size),
            cells: intervals.iter().map(|&interval| judged(&blocks(&rates, size, interval), claim)).collect(),
        })
        .collect();
    let cell =
        |(&block_size, &interval_ns)| GridCell { block_size, interval_ns, blocks: blocks(&rates, block_size, interval_ns) };
    let cells = sizes.iter().flat_map(|size| intervals.iter().map(move |interval| (size, interval))).map(cell).collect();
    let drawing = SkipGrid { subject: claim.label.into(), claim: Some(claim), cells };
    (!rows.is_empty()).then(|| GridView {
        figure: Figure::of(drawing, &format!("grid-{}", claim.class)),
        label: claim.label.into(),
        claim: claim.range(),
        intervals: intervals.into_iter().map(format::duration).collect(),
        verdict: verdict(&rows),
        rows,
    })
}

/// All blocks of all traces of a class are taken together.
fn blocks(rates: &[&GridRate], block_size: u64, interval_ns: u64) -> BlockCounts {
    let mut sum = BlockCounts::default();
    let of_cell = rates.iter().filter(|rate| (rate.block_size, rate.interval_ns) == (block_size, interval_ns));
    of_cell.for_each(|rate| sum.add(&rate.blocks));
    sum
}

fn judged(blocks: &BlockCounts, claim: &'static Claim) -> (RateView, RateView) {
    let rate = |part, whole| RateView::of(whole, share(part, whole), Some(claim));
    (rate(blocks.skipped.total(), blocks.total), rate(blocks.skipped_resident, blocks.resident))
}

/// How many of the measured cells reach the claim.
fn verdict(rows: &[GridRow]) -> String {
    let reached = |rate: fn(&(RateView, RateView)) -> &RateView| {
        let judged = || rows.iter().flat_map(|row| &row.cells).map(rate).filter(|rate| rate.verdict.word() != "none");
        format!("{} of {}", judged().filter(|rate| rate.verdict.met()).count(), judged().count())
    };
    format!(
        "The claim is reached in {} combinations counting all blocks, and in {} counting only blocks that hold data.",
        reached(|cell| &cell.0),
        reached(|cell| &cell.1)
    )
}

fn distinct(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
