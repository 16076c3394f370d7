//! The report's data as tables for other programs: comma-separated, a line of names first, sizes in bytes and times in nanoseconds.
//! `METHODOLOGY.md` lists the columns.

use std::fmt::Display;

use pagesieve_core::summary::BlockCounts;

use crate::{Report, TraceReport};

/// All tables: the name of the file of each, and its text.
#[must_use]
pub fn csv(report: &Report) -> Vec<(&'static str, String)> {
    let traces = &report.traces;
    vec![
        ("traces.csv", table(TRACES, traces, trace)),
        ("replays.csv", table(REPLAYS, traces, replays)),
        ("grid.csv", table(GRID, traces, grid)),
        ("links.csv", table(LINKS, traces, links)),
        ("timeline.csv", table(TIMELINE, traces, timeline)),
        ("working_set.csv", table(WORKING_SET, traces, working_set)),
        ("redirty.csv", table(REDIRTY, traces, redirty)),
        ("heatmap.csv", table(HEATMAP, traces, heatmap)),
    ]
}

const TRACES: &str = "class,source,hooks,arming,tool,kernel,cpu,cpus,target,duration_ns,epochs,epoch_ns,events,lost_events,guest_bytes,\
                      resident_bytes,trace_bytes,dirty_log_pages,unknown_pages,content_in_log,log_in_events,ok";
const BLOCKS: &str = "blocks,blocks_resident,sent,skipped_unpopulated,skipped_zero,skipped_unchanged,skipped_same_content,\
                      skipped_presumed_unused,skipped_resident,deferred,skip_rate,skip_rate_resident";
const REPLAYS: &str = "class,policy,scenario,block_bytes,rounds,BLOCKS,bytes_sent,bytes_resent,bytes_wire,lost_pages,downtime_ns,\
                       total_time_ns,converged";
const GRID: &str = "class,block_bytes,interval_ns,rounds,BLOCKS";
const LINKS: &str = "class,policy,bandwidth_bytes_per_s,converged,rounds,total_time_ns,downtime_ns,bytes_sent,bytes_resent,bytes_wire,\
                     lost_pages,foretold_converges,foretold_rounds,foretold_total_time_ns,foretold_downtime_ns,foretold_bytes_wire";
const TIMELINE: &str = "epoch,end_ns,dirty_pages,unknown_pages,events,write_events,lost_events,resident_pages,scan_ns,stopped";
const WORKING_SET: &str = "epoch,end_ns,window_ns,written_pages,touched_pages";
const REDIRTY: &str = "what,from_epochs,to_epochs,count";
const HEATMAP: &str = "row,column,start_ns,end_ns,slot,pages_per_row,dirty_pages";

/// A table with a column `trace` and those named, of all rows that the traces have.
fn table(columns: &str, traces: &[TraceReport], rows: impl Fn(&TraceReport, &mut dyn FnMut(Vec<String>))) -> String {
    let mut text = format!("trace,{}\n", columns.replace("BLOCKS", BLOCKS));
    for trace in traces {
        let name = quoted(&trace.name);
        rows(trace, &mut |cells| {
            text.push_str(&name);
            for cell in cells {
                text.push(',');
                text.push_str(&quoted(&cell));
            }
            text.push('\n');
        });
    }
    text
}

/// In quotes if it holds what separates cells or lines.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// Cells of anything that can be printed.
macro_rules! cells {
    ($($value:expr),* $(,)?) => { vec![$($value.to_string()),*] };
}

/// A value that may be missing: then the cell is empty.
fn maybe(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A share; a rate of nothing is no number, and its cell is empty.
fn rate(part: u64, whole: u64) -> String {
    maybe((whole > 0).then(|| pagesieve_core::summary::share(part, whole)))
}

fn class(trace: &TraceReport) -> String {
    trace.class.clone().unwrap_or_default()
}

fn blocks(blocks: &BlockCounts) -> Vec<String> {
    let skipped = &blocks.skipped;
    cells![
        blocks.total,
        blocks.resident,
        blocks.sent,
        skipped.unpopulated,
        skipped.zero,
        skipped.unchanged,
        skipped.same_content,
        skipped.presumed_unused,
        blocks.skipped_resident,
        blocks.deferred,
        rate(skipped.total(), blocks.total),
        rate(blocks.skipped_resident, blocks.resident),
    ]
}

fn trace(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    let from = &trace.provenance;
    row(cells![
        class(trace),
        from.source,
        from.hooks.join(";"),
        from.arming,
        from.tool,
        from.kernel,
        from.cpu,
        from.cpus,
        from.target,
        trace.duration_ns,
        trace.epochs,
        from.epoch_ns,
        trace.events,
        trace.lost_events,
        trace.guest_bytes,
        trace.resident_bytes,
        trace.trace_bytes,
        trace.verify.dirty_log,
        trace.verify.unknown,
        maybe(trace.verify.recall.content_in_log),
        trace.verify.recall.log_in_events,
        trace.verify.ok,
    ]);
}

fn replays(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    for replay in &trace.replays {
        let mut line = cells![class(trace), replay.policy, replay.scenario, replay.block_size, replay.rounds];
        line.extend(blocks(&replay.blocks));
        line.extend(cells![
            replay.bytes.sent,
            replay.bytes.resent,
            replay.bytes.wire,
            replay.lost_pages,
            maybe(replay.downtime),
            maybe(replay.total_time),
            maybe(replay.converged),
        ]);
        row(line);
    }
}

fn grid(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    for rate in &trace.grid {
        let mut line = cells![class(trace), rate.block_size, rate.interval_ns, rate.rounds];
        line.extend(blocks(&rate.blocks));
        row(line);
    }
}

fn links(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    for link in &trace.links {
        let foretold = link.forecast.as_ref();
        row(cells![
            class(trace),
            link.policy,
            link.bandwidth,
            link.converged,
            link.rounds,
            link.total_time_ns,
            link.downtime_ns,
            link.bytes.sent,
            link.bytes.resent,
            link.bytes.wire,
            link.lost_pages,
            maybe(foretold.map(|foretold| foretold.converges)),
            maybe(foretold.map(|foretold| foretold.rounds)),
            maybe(foretold.map(|foretold| foretold.total_time.0)),
            maybe(foretold.map(|foretold| foretold.downtime.0)),
            maybe(foretold.map(|foretold| foretold.wire_bytes)),
        ]);
    }
}

fn timeline(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    for (at, epoch) in trace.timeline.epochs.iter().enumerate() {
        row(cells![
            at,
            epoch.end_ns,
            epoch.dirty_pages,
            epoch.unknown_pages,
            epoch.events,
            epoch.write_events,
            epoch.lost,
            epoch.resident_pages,
            epoch.scan_ns,
            epoch.stopped,
        ]);
    }
}

fn working_set(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    for (at, point) in trace.working_sets.points.iter().enumerate() {
        for (window, length) in trace.working_sets.windows_ns.into_iter().enumerate() {
            row(cells![at, point.end_ns, length, point.written[window], point.touched[window]]);
        }
    }
}

fn redirty(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    let counts = &trace.redirty;
    for (what, count) in
        [("pages_never_written", counts.never), ("pages_written_once", counts.once), ("pages_written_again", counts.again)]
    {
        row(cells![what, "", "", count]);
    }
    // There are no more powers of two than this; a report may claim any number.
    for (at, count) in counts.intervals.iter().enumerate().take(63) {
        let from = 1_u64 << at;
        row(cells!["intervals", from, from - 1 + from, count]);
    }
}

/// Cells of the map that are not empty.
fn heatmap(trace: &TraceReport, row: &mut dyn FnMut(Vec<String>)) {
    let map = &trace.heatmap;
    let cols = map.cols.max(1) as usize;
    let edge = |col: usize| {
        let span = u128::from(map.end_ns.saturating_sub(map.start_ns)) * col as u128 / cols as u128;
        map.start_ns.saturating_add(u64::try_from(span).unwrap_or(u64::MAX))
    };
    for (at, pages) in map.cells.iter().enumerate().filter(|(_, pages)| **pages > 0) {
        let (line, col) = (at / cols, at % cols);
        let slot = map.slots.iter().find(|slot| (slot.start_row as usize..slot.end_row as usize).contains(&line));
        let slot = slot.map(|slot| slot.label.clone()).unwrap_or_default();
        row(cells![line, col, edge(col), edge(col + 1), slot, map.pages_per_row, pages]);
    }
}
