//! `pagesieve replay`.

use std::path::Path;

use anyhow::{Context, bail};
use pagesieve_core::summary::{NodeCounts, PageMoment, ReplaySummary};
use pagesieve_replayer::{ActionLog, ReplayConfig, ReplayResult, TraceInfo, replay, trace_length};

use crate::cli::{EngineOptions, Replay};
use crate::{output, units};

impl EngineOptions {
    /// The configuration of a replay; policy and scenario are the defaults.
    pub(crate) fn config(&self) -> ReplayConfig {
        ReplayConfig {
            block_size: self.block_size,
            aging: self.aging.into(),
            min_access: self.min_access,
            interval: self.interval.into(),
            bandwidth: Some(self.bandwidth),
            ..ReplayConfig::default()
        }
    }
}

pub(crate) fn run(options: &Replay) -> anyhow::Result<()> {
    let config = ReplayConfig {
        policy: options.policy,
        scenario: options.scenario,
        start: options.baseline,
        downtime_limit: options.downtime_limit.into(),
        explain: options.explain,
        ..options.engine.config()
    };
    let mut summaries = Vec::new();
    for file in &options.files {
        let run = || replay_file(file, config).with_context(|| format!("replay {}", file.display()));
        let result = run()?;
        if options.doublecheck {
            let again = run()?;
            if again.digest != result.digest || again.summary != result.summary {
                bail!("replay {}: two runs decided differently; this is a bug, please report it", file.display());
            }
        }
        summaries.push(result.summary);
    }
    print(options, &summaries)
}

fn print(options: &Replay, summaries: &[ReplaySummary]) -> anyhow::Result<()> {
    match (options.json, summaries) {
        (true, [one]) => output::json(one),
        (true, several) => output::json(&several),
        (false, several) => several.iter().try_for_each(|summary| output::line(text(summary))),
    }
}

/// File name without the folder.
pub(crate) fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn replay_file(file: &Path, config: ReplayConfig) -> anyhow::Result<ReplayResult> {
    let mut reader = super::open(file)?;
    let length = trace_length(&mut reader)?;
    let header = reader.header().clone();
    let name = name_of(file);
    let trace = TraceInfo { name: &name, header: &header, length };
    Ok(replay(trace, reader.frames(), config, ActionLog::new())?)
}

fn text(summary: &ReplaySummary) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let skipped = &summary.blocks.skipped;
    let judged = if summary.judged_by_content { "by content" } else { "by dirty log" };
    let mut lines = vec![
        format!(
            "{}: {}, {}, blocks of {}",
            summary.trace,
            summary.policy,
            summary.scenario,
            units::show_bytes(summary.block_size)
        ),
        format!(
            "  skip rate   {} of all blocks, {} of resident blocks",
            percent(summary.skip_rate.total),
            percent(summary.skip_rate.resident)
        ),
        format!(
            "  skipped     {} unpopulated, {} zero, {} unchanged, {} same content, {} presumed unused",
            skipped.unpopulated, skipped.zero, skipped.unchanged, skipped.same_content, skipped.presumed_unused
        ),
        format!(
            "  sent        {} blocks, {} deferred, in {} rounds",
            summary.blocks.sent, summary.blocks.deferred, summary.rounds
        ),
        format!(
            "  bytes       {} sent ({} again), {} on the wire, guest of {}",
            units::show_bytes(summary.bytes.sent),
            units::show_bytes(summary.bytes.resent),
            units::show_bytes(summary.bytes.wire),
            units::show_bytes(summary.bytes.guest)
        ),
        format!("  events      {}, {} lost, in {} epochs", summary.events, summary.lost_events, summary.epochs),
        format!("  lost pages  {} (judged {judged})", summary.lost_pages),
    ];
    if let (Some(total), Some(downtime)) = (summary.total_time, summary.downtime) {
        let verdict = if summary.converged == Some(true) { "converged" } else { "did not converge by itself" };
        lines.push(format!("  migration   {:.2} s, downtime {:.1} ms, {verdict}", total as f64 / 1e9, downtime as f64 / 1e6));
    }
    if let Some(forecast) = &summary.forecast {
        lines.push(format!("  foretold    {forecast}"));
    }
    let causes = &summary.causes;
    lines.push(format!(
        "  sent as     {} first copies, {} written since, {} unproven, {} tried again, {} needless",
        causes.first, causes.written, causes.unproven, causes.retried, causes.needless
    ));
    if summary.nodes.len() > 1 {
        lines.extend(summary.nodes.iter().map(node));
    }
    if let Some(history) = &summary.explained {
        lines.push(format!("  page {} and its block", history.gfn));
        lines.extend(history.moments.iter().map(moment));
    }
    lines.join("\n")
}

fn node(counts: &NodeCounts) -> String {
    let name = counts.node.map_or("no node".to_owned(), |node| format!("node {node}"));
    let rate = counts.blocks.skip_rate();
    format!(
        "  {name:<11} {:.1} % of all blocks skipped, {:.1} % of resident blocks, {} sent",
        rate.total * 100.0,
        rate.resident * 100.0,
        units::show_bytes(counts.bytes_sent)
    )
}

fn moment(moment: &PageMoment) -> String {
    let line = format!("  {:>10.3} s  epoch {:<4} {}", moment.time.0 as f64 / 1e9, moment.epoch, moment.what);
    moment.evidence.as_ref().map_or(line.clone(), |evidence| format!("{line}\n  {:>12}  {:<10} ({evidence})", "", ""))
}
