//! `summary.json`: the report as it came in, and what the claims make of it.

use serde::Serialize;

use crate::claims::{CLAIMS, Claim};
use crate::view::headline;
use crate::{Report, TraceReport};

/// The document. [`Report`] can be read back from it; the part about claims is derived and then left out.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    classes: Vec<Class<'a>>,
}

/// One claim of the seed and the traces of its class.
#[derive(Serialize)]
struct Class<'a> {
    class: &'static str,
    claimed_low: f64,
    claimed_high: f64,
    traces: Vec<Measured<'a>>,
}

/// What one trace says about the claim.
#[derive(Serialize)]
struct Measured<'a> {
    trace: &'a str,
    source: &'a str,
    scenario: &'a str,
    skip_total: f64,
    skip_resident: f64,
    verdict_total: &'static str,
    verdict_resident: &'static str,
    lost_pages: u64,
}

/// The report as JSON, with a line feed at the end. A rate that is not a finite number becomes `null`.
#[must_use]
pub fn json(report: &Report) -> String {
    let classes = CLAIMS.iter().map(|claim| class(claim, &report.traces)).collect();
    let document = Document { report, classes };
    // Serialising into memory fails only for maps whose keys are no strings, and there are none.
    let mut text = serde_json::to_string_pretty(&document).expect("all keys are strings");
    text.push('\n');
    text
}

fn class<'a>(claim: &Claim, traces: &'a [TraceReport]) -> Class<'a> {
    let measured = traces.iter().filter(|trace| trace.class.as_deref() == Some(claim.class)).filter_map(|trace| {
        let replay = headline(trace)?;
        Some(Measured {
            trace: &trace.name,
            source: &trace.provenance.source,
            scenario: &replay.scenario,
            skip_total: replay.skip_rate.total,
            skip_resident: replay.skip_rate.resident,
            verdict_total: claim.judge_if(replay.blocks.total, replay.skip_rate.total).word(),
            verdict_resident: claim.judge_if(replay.blocks.resident, replay.skip_rate.resident).word(),
            lost_pages: replay.lost_pages,
        })
    });
    Class {
        class: claim.class,
        claimed_low: f64::from(claim.low) / 100.0,
        claimed_high: f64::from(claim.high) / 100.0,
        traces: measured.collect(),
    }
}
