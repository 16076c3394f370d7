//! The migration of a trace in words: what was foretold of it, and what the forecast of writes brought.

use std::cmp::Ordering;

use pagesieve_core::summary::{ReplaySummary, share};

use super::{PREDICTIVE, PROVEN};
use crate::TraceReport;
use crate::format;

/// A sentence on each, if the replays are there.
pub(super) fn sentences(trace: &TraceReport) -> impl Iterator<Item = String> {
    forecast(trace).into_iter().chain(prediction(trace))
}

/// What was foretold of the migration with proof, beside what came.
fn forecast(trace: &TraceReport) -> Option<String> {
    let proven = precopy_of(trace, PROVEN)?;
    let (foretold, downtime, time) = (proven.forecast.as_ref()?, proven.downtime?, proven.total_time?);
    let came = match proven.converged? {
        true => "it converged",
        false => "it did not converge by itself",
    };
    Some(format!(
        "Before the migration with proof it was foretold, from the epochs before and without compression: {foretold}. {} after {}, \
         in {} with a downtime of {}.",
        capital(came),
        rounds(proven.rounds),
        format::duration(time),
        format::duration(downtime)
    ))
}

/// A forecast counts the rounds while the guest runs, a replay the last one too: it is told apart here.
fn rounds(all: u64) -> String {
    match all {
        0 | 1 => "a single round".into(),
        more => format!("{} and the last", format::plural(more - 1, "round", "rounds")),
    }
}

/// Whether the forecast of writes was of any use.
fn prediction(trace: &TraceReport) -> Option<String> {
    let (proven, predictive) = (precopy_of(trace, PROVEN)?, precopy_of(trace, PREDICTIVE)?);
    let (before, now) = (proven.bytes.resent, predictive.bytes.resent);
    let outcome = match now.cmp(&before) {
        Ordering::Less => format!("{} less", format::percent(share(before - now, before))),
        Ordering::Equal => "no less".into(),
        Ordering::Greater => "more: the forecast of writes did harm here".into(),
    };
    let mut line = format!(
        "In the migration, predictive sent {} again and proven {}: {outcome}.",
        format::bytes(now),
        format::bytes(before)
    );
    if let Some(score) = predictive.redirty {
        let mean = |sum: u64| sum / score.forecasts.max(1);
        line += &format!(
            " Its forecasts of the next write were off by {} ms on average; the plain guess that it takes as long as the last time, by \
             {} ms.",
            mean(score.decayed_error_ms),
            mean(score.last_interval_error_ms)
        );
    }
    Some(line)
}

fn precopy_of<'a>(trace: &'a TraceReport, policy: &str) -> Option<&'a ReplaySummary> {
    trace.replays.iter().find(|replay| replay.policy == policy && replay.scenario == "precopy")
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_a_capital() {
        assert_eq!(capital("it converged"), "It converged");
        assert_eq!(capital(""), "");
    }
}
