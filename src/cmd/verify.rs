//! `pagesieve verify`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pagesieve_core::summary::{VerifySummary, share};
use pagesieve_replayer::{TraceInfo, trace_length, verify};

use super::VIOLATION;
use super::replay::name_of;
use crate::cli::Verify;
use crate::output;

pub(crate) fn run(options: &Verify) -> anyhow::Result<ExitCode> {
    let check = |file: &PathBuf| verify_file(file).with_context(|| format!("verify {}", file.display()));
    let found = options.files.iter().map(check).collect::<anyhow::Result<Vec<_>>>()?;
    output::whoever_reads(match (options.json, &found[..]) {
        (true, [one]) => output::json(one),
        (true, several) => output::json(&several),
        (false, several) => several.iter().try_for_each(|summary| output::line(text(summary))),
    })?;
    Ok(if found.iter().all(|summary| summary.ok) { ExitCode::SUCCESS } else { ExitCode::from(VIOLATION) })
}

pub(crate) fn verify_file(file: &Path) -> anyhow::Result<VerifySummary> {
    let mut reader = super::open(file)?;
    let length = trace_length(&mut reader)?;
    let header = reader.header().clone();
    let name = name_of(file);
    Ok(verify(TraceInfo { name: &name, header: &header, length }, reader.frames())?)
}

pub(crate) fn text(summary: &VerifySummary) -> String {
    let mut content = match (summary.content_changed, summary.recall.content_in_log) {
        (Some(pages), Some(recall)) => format!("{} of {pages} changed pages are in the dirty log", percent(recall)),
        _ => "not checked: the trace has no page summaries (record with --fingerprints)".to_owned(),
    };
    if summary.rechecked_epochs > 0 {
        content += &format!("; in {} epochs by construction, their log was made by comparing content", summary.rechecked_epochs);
    }
    let events = match summary.event_pages {
        0 => "none were recorded".to_owned(),
        _ => format!("{} of the pages that the scan saw written had an event", percent(summary.recall.log_in_events)),
    };
    let (reasons, lost) = (list(&summary.unknown_by_reason), list(&summary.lost_pages));
    let without = share(summary.without_event.values().sum(), summary.dirty_log);
    let mut lines = vec![
        format!("{}: {}", summary.trace, if summary.ok { "ok" } else { "VIOLATION" }),
        format!("  completeness  {content}"),
        format!(
            "  dirty log     {} pages in {} epochs after the baseline, {} merely unknown ({})",
            summary.dirty_log,
            summary.epochs.saturating_sub(1),
            summary.unknown,
            reasons
        ),
        format!("  events        {events}; {} lost in {} epochs", summary.lost_events, summary.lossy_epochs),
        format!("  without event {} of the dirty log ({})", percent(without), list(&summary.without_event)),
        format!("  lost pages    {lost}"),
    ];
    lines.extend(summary.violations.iter().map(|violation| format!("  violation     {violation}")));
    lines.join("\n")
}

/// A share with two decimals. Only exact ends are shown as 0 and 100: one page in a million that was missed is not to be rounded away.
fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if share < 1.0 && percent >= 99.995 => "more than 99.99 %".to_owned(),
        percent if share > 0.0 && percent < 0.005 => "less than 0.01 %".to_owned(),
        percent => format!("{percent:.2} %"),
    }
}

/// Counts by name, such as `unarmed 12, direct_io 3`.
fn list(counts: &BTreeMap<String, u64>) -> String {
    let all: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_ends_are_shown_as_such() {
        let shares = [0.0, 1e-6, 0.5, 1.0 - 1e-6, 1.0].map(percent);
        assert_eq!(shares, ["0.00 %", "less than 0.01 %", "50.00 %", "more than 99.99 %", "100.00 %"]);
    }
}
