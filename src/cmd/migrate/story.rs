//! What happened in a migration, for the time after it: printed whether it went well or not.

use std::time::Instant;

use pagesieve_core::Report;
use pagesieve_core::forecast::{Forecast, Rate, Span};
use pagesieve_core::migration::Progress;
use pagesieve_live::migrate::{MigrateError, MigrateListener, Migrated, Phase, Round};
use pagesieve_recorder::live::Status;
use serde_json::{Value, json};

use super::bar::{Bar, pause};
use crate::{output, units};

/// Everything that is worth telling.
pub(super) struct Story {
    bar: Bar,
    as_json: bool,
    status: Status,
    began: Instant,
    phases: Vec<(Phase, Instant)>,
    ended: Option<Instant>,
    rounds: Vec<Round>,
    forecasts: Vec<Forecast>,
    troubles: Vec<String>,
    report: Option<Report>,
    moved: Option<Migrated>,
    /// Why it was not moved.
    error: Option<String>,
}

impl Story {
    /// For a document nothing is said on the way: everything is in it at the end.
    pub(super) fn new(status: Status, json: bool) -> Self {
        Self {
            bar: Bar::new(json),
            as_json: json,
            status,
            began: Instant::now(),
            phases: Vec::new(),
            ended: None,
            rounds: Vec::new(),
            forecasts: Vec::new(),
            troubles: Vec::new(),
            report: None,
            moved: None,
            error: None,
        }
    }

    /// It is over.
    pub(super) fn end(&mut self, moved: Result<&Migrated, &MigrateError>) {
        self.bar.end();
        self.ended = Some(Instant::now());
        self.moved = moved.ok().cloned();
        self.error = moved.err().map(ToString::to_string);
    }

    /// The end in a few words, for a trace.
    pub(super) fn last_words(&self) -> String {
        match &self.error {
            None => "the guest was handed over".to_owned(),
            Some(error) => format!("failed to {error}"),
        }
    }

    pub(super) fn show(&self) -> anyhow::Result<()> {
        if self.as_json {
            return output::json(&self.json());
        }
        // Before anything was done the error says it all.
        let begun = self.phases.iter().any(|(phase, _)| *phase != Phase::Opening);
        if begun { self.lines().iter().try_for_each(output::line) } else { Ok(()) }
    }

    /// Seconds from the start to each phase, with its name.
    fn phase_times(&self) -> impl Iterator<Item = (Phase, f64)> {
        let ends = self.phases.iter().skip(1).map(|(_, time)| Some(*time)).chain([self.ended]);
        self.phases
            .iter()
            .zip(ends)
            .map(|((phase, begin), end)| (*phase, end.unwrap_or(*begin).duration_since(*begin).as_secs_f64()))
    }

    fn json(&self) -> Value {
        let report = self.report.as_ref();
        let moved = self.moved.as_ref();
        json!({
            "schema": { "name": "pagesieve.migrate", "version": "1.0" },
            "moved": moved.is_some(),
            "error": self.error,
            "ended_while": self.phases.last().filter(|_| moved.is_none()).map(|(phase, _)| phase.name()),
            "ebpf_enabled": self.status.ebpf_enabled,
            "fallback": self.status.fallbacks().next(),
            "forecasts": self.forecasts,
            "converged": report.and_then(|report| report.converged),
            "rounds": self.rounds.iter().map(round_json).collect::<Vec<_>>(),
            "blocks": report.map(|report| report.blocks),
            "causes": report.map(|report| report.causes),
            "bytes": report.map(|report| json!({
                "sent": report.bytes_sent, "resent": report.bytes_resent, "wire": report.bytes_wire,
            })),
            "held_blocks": moved.map(|moved| moved.held),
            "wire": moved.map(|moved| {
                let forms = moved.traffic.forms;
                json!({
                    "sent": moved.traffic.sent, "received": moved.traffic.received,
                    "pages": {
                        "zero": forms.zero, "unchanged": forms.unchanged, "xbzrle": forms.xbzrle, "zstd": forms.zstd, "raw": forms.raw,
                    },
                })
            }),
            "device_state": moved.map(|moved| moved.device_state),
            "phases": self.phase_times().map(|(phase, seconds)| json!({ "phase": phase, "seconds": seconds })).collect::<Vec<_>>(),
            "downtime_seconds": moved.map(|moved| moved.downtime.as_secs_f64()),
            "total_seconds": self.ended.map(|ended| ended.duration_since(self.began).as_secs_f64()),
            "troubles": self.troubles,
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.heading()];
        if let Some(report) = &self.report {
            let (blocks, skipped) = (&report.blocks, &report.blocks.skipped);
            lines.push(format!(
                "  blocks    {} sent; skipped: {} unchanged, {} same content, {} zero, {} unpopulated",
                blocks.sent, skipped.unchanged, skipped.same_content, skipped.zero, skipped.unpopulated
            ));
        }
        if let Some(moved) = &self.moved {
            let forms = moved.traffic.forms;
            lines.push(format!(
                "  pages     sent: {} compressed, {} as differences, {} unchanged, {} as they are, {} zero",
                forms.zstd, forms.xbzrle, forms.unchanged, forms.raw, forms.zero
            ));
            let still = self.phase_times().filter(|(phase, _)| phase.is_still());
            let parts: Vec<_> = still.map(|(phase, seconds)| format!("{:.0} ms {}", seconds * 1000.0, phase.name())).collect();
            lines.push(format!("  downtime  {}", parts.join(", ")));
        }
        if !self.rounds.is_empty() {
            lines.push(format!(
                "  {:<8}{:>9}{:>11}{:>11}{:>11}{:>13}  {}",
                "round", "time", "sent", "wire", "left", "written/s", "pause"
            ));
            lines.extend(self.rounds.iter().map(round_line));
        }
        lines
    }

    fn heading(&self) -> String {
        match (&self.moved, self.phases.last()) {
            (Some(moved), _) => format!(
                "moved in {:.2} s, {} rounds, {} on the wire; the guest stood still for {:.0} ms",
                moved.total.as_secs_f64(),
                moved.report.rounds,
                units::show_bytes(moved.traffic.sent),
                moved.downtime.as_secs_f64() * 1000.0
            ),
            (None, Some((phase, _))) => format!("not moved: it ended while {}", phase.name()),
            (None, None) => "not moved".to_owned(),
        }
    }
}

fn round_line(round: &Round) -> String {
    let number = if round.paused { "paused".to_owned() } else { round.number.to_string() };
    let pause = if round.paused { None } else { pause(round) };
    format!(
        "  {number:<8}{:>7.2} s{:>11}{:>11}{:>11}{:>13}  {}",
        round.lasted.as_secs_f64(),
        units::show_bytes(round.bytes_sent),
        units::show_bytes(round.bytes_wire),
        units::show_bytes(round.left),
        units::show_bytes(round.dirty_rate),
        pause.map_or_else(String::new, |pause| Span(pause).to_string())
    )
}

fn round_json(round: &Round) -> Value {
    json!({
        "number": round.number,
        "paused": round.paused,
        "seconds": round.lasted.as_secs_f64(),
        "blocks_sent": round.blocks_sent,
        "bytes_sent": round.bytes_sent,
        "bytes_wire": round.bytes_wire,
        "left": round.left,
        "dirty_rate": round.dirty_rate,
        "pause_seconds": pause(round).filter(|_| !round.paused).map(|pause| pause.0 as f64 / 1e9),
    })
}

/// A forecast before anything was sent.
fn foretold(forecast: &Forecast) -> String {
    match (forecast.link.bandwidth, forecast.needed_bandwidth) {
        (Some(_), _) => format!("foretold: it {forecast}"),
        (None, Some(needed)) => {
            format!("foretold: it converges on a wire of at least {}", Rate(needed))
        }
        (None, None) => "foretold: it converges on no wire; allow a longer --downtime-limit".to_owned(),
    }
}

impl MigrateListener for Story {
    fn phase(&mut self, phase: Phase) {
        self.phases.push((phase, Instant::now()));
        self.bar.phase(phase);
    }

    fn progress(&mut self, progress: &Progress) {
        self.bar.progress(progress);
    }

    fn forecast(&mut self, forecast: &Forecast) {
        self.forecasts.push(*forecast);
        let measured = !self.rounds.is_empty();
        self.bar.note(&if measured { format!("foretold, by round 0: it {forecast}") } else { foretold(forecast) });
    }

    fn round(&mut self, round: &Round) {
        self.rounds.push(*round);
        self.bar.round(round);
    }

    fn report(&mut self, report: &Report) {
        self.report = Some(report.clone());
    }

    fn trouble(&mut self, what: &str) {
        self.troubles.push(what.to_owned());
        self.bar.note(what);
    }
}
