//! Chrome trace events (the "Trace Event Format"), as `ui.perfetto.dev` and `chrome://tracing` read them.
//!
//! One JSON object: `traceEvents` is a list of events, each with a phase `ph`. Used are `M` (names of the process and of its
//! tracks), `X` (a slice with `ts` and `dur`), `i` (an instant) and `C` (a counter, whose `args` are its values). Times are in
//! microseconds, with the nanoseconds behind the point. A counter keeps its value until the next one.

use std::io::{self, BufWriter, Write};

use pagesieve_core::{Nanos, PAGE_SIZE};
use pagesieve_traces::{Frame, Happening, Header};
use serde_json::{Value, json};

use super::{ExportError, Row, RowWriter, VerdictRow};

/// There is one process in the picture; tracks are its threads.
const PROCESS: u32 = 1;
const EPOCHS: u32 = 1;
const SCANS: u32 = 2;
const ROUNDS: u32 = 3;

pub(super) struct Perfetto<W: Write> {
    output: BufWriter<W>,
    events: u64,
    frames: u64,
    round: Option<Round>,
}

/// The verdicts of the round in progress.
struct Round {
    number: u32,
    first: Nanos,
    last: Nanos,
    sent: u64,
    skipped: u64,
    deferred: u64,
}

impl<W: Write> Perfetto<W> {
    /// Writes the beginning of the object and the names of process and tracks.
    pub(super) fn new(header: &Header, output: W) -> Result<Self, ExportError> {
        let mut output = BufWriter::new(output);
        let about = json!({ "tool": format!("pagesieve {}", header.tool), "target": header.target, "class": header.class });
        write!(output, "{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[")?;
        let mut perfetto = Self { output, events: 0, frames: 0, round: None };
        let process = format!("{} {}", header.target.kind, header.target.command);
        perfetto.event(&json!({ "ph": "M", "name": "process_name", "pid": PROCESS, "tid": 0, "args": { "name": process } }))?;
        for (track, name) in [(EPOCHS, "epochs"), (SCANS, "scans"), (ROUNDS, "rounds")] {
            perfetto
                .event(&json!({ "ph": "M", "name": "thread_name", "pid": PROCESS, "tid": track, "args": { "name": name } }))?;
        }
        Ok(perfetto)
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.output.write_all(if self.events == 0 { b"\n" } else { b",\n" })?;
        self.events += 1;
        serde_json::to_writer(&mut self.output, event)?;
        Ok(())
    }

    fn slice(&mut self, track: u32, name: String, from: Nanos, to: Nanos, args: Value) -> io::Result<()> {
        let (ts, dur) = (micros(from), micros(to.since(from)));
        self.event(&json!({ "ph": "X", "name": name, "pid": PROCESS, "tid": track, "ts": ts, "dur": dur, "args": args }))
    }

    fn counter(&mut self, name: &str, at: Nanos, args: Value) -> io::Result<()> {
        self.event(&json!({ "ph": "C", "name": name, "pid": PROCESS, "ts": micros(at), "args": args }))
    }

    fn note(&mut self, what: &Happening, at: Nanos) -> io::Result<()> {
        let name = match what {
            Happening::Exec => "another program replaced the target".to_owned(),
            Happening::Ended { status, signal } => match (status, signal) {
                (_, Some(signal)) => format!("the target ended by signal {signal}"),
                (Some(status), None) => format!("the target ended with status {status}"),
                (None, None) => "the target ended".to_owned(),
            },
            Happening::Forked { child } => format!("the target forked process {child}"),
            Happening::Message(text) => text.clone(),
        };
        self.event(&json!({ "ph": "i", "s": "p", "name": name, "pid": PROCESS, "tid": EPOCHS, "ts": micros(at) }))
    }

    fn end_round(&mut self) -> io::Result<()> {
        let Some(round) = self.round.take() else { return Ok(()) };
        let blocks = json!({ "sent": round.sent, "skipped": round.skipped, "deferred": round.deferred });
        self.counter("blocks of a round", round.first, blocks.clone())?;
        self.slice(ROUNDS, format!("round {}", round.number), round.first, round.last, blocks)
    }

    fn verdict(&mut self, row: &VerdictRow) -> io::Result<()> {
        if self.round.as_ref().is_some_and(|round| round.number != row.round) {
            self.end_round()?;
        }
        let (number, first) = (row.round, row.time);
        let round = self.round.get_or_insert(Round { number, first, last: first, sent: 0, skipped: 0, deferred: 0 });
        round.last = row.time;
        match row.verdict {
            "sent" => round.sent += 1,
            "skipped" => round.skipped += 1,
            _ => round.deferred += 1,
        }
        Ok(())
    }
}

impl<W: Write + Send> RowWriter for Perfetto<W> {
    fn frame(&mut self, frame: &Frame) -> Result<(), ExportError> {
        let (dirty, unknown) = (frame.log.all().count(), frame.log.merely_unknown().count());
        let about = json!({
            "dirty_pages": dirty, "unknown_pages": unknown, "events": frame.events.len(), "lost_events": frame.lost.events(),
            "closing": frame.closing,
        });
        self.slice(EPOCHS, format!("epoch {}", frame.epoch), frame.start, frame.end, about)?;
        self.slice(SCANS, format!("scan {}", frame.epoch), frame.scan_start, frame.end, json!({}))?;
        let length = frame.end.since(frame.start).0;
        // In the baseline everything counts as dirty: that is no rate.
        if self.frames > 0 && length > 0 {
            let rate = |pages: u64| pages as f64 * Nanos::SECOND.0 as f64 / length as f64;
            let args = json!({ "proven": rate(dirty - unknown), "unknown": rate(unknown) });
            self.counter("dirty pages a second", frame.start, args)?;
        }
        self.frames += 1;
        let mib = (frame.populated.count() * PAGE_SIZE) as f64 / f64::from(1 << 20);
        self.counter("resident", frame.end, json!({ "MiB": mib }))?;
        let lost = json!({ "events": frame.lost.events(), "control events": frame.lost.control });
        self.counter("lost", frame.start, lost)?;
        for note in &frame.notes {
            self.note(&note.what, note.time)?;
        }
        Ok(())
    }

    fn row(&mut self, row: &Row) -> Result<(), ExportError> {
        match row {
            // Millions of instants would be drawn as one bar: the epochs' numbers say it better.
            Row::Event(_) => Ok(()),
            Row::Verdict(row) => Ok(self.verdict(row)?),
        }
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.end_round()?;
        self.output.write_all(b"\n]}\n")?;
        Ok(self.output.flush()?)
    }
}

/// A time as the format has it. A number with a fraction is exact to the nanosecond for some three months.
fn micros(time: Nanos) -> Value {
    json!(time.0 as f64 / 1000.0)
}
