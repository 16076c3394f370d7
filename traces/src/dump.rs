//! A trace as text or JSON lines, for people and for other tools.

use std::io::{self, Read, Write};

use pagesieve_core::PageBitmap;
use serde_json::{Value, json};

use crate::error::ReadError;
use crate::info::{kind_name, origin_name};
use crate::model::{Frame, Header};
use crate::reader::{End, Reader};

/// How a trace is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpFormat {
    /// A line for each fact, for people.
    Text,
    /// A JSON object on each line; the key `type` is `header`, `frame`, `event`, `summary`, `note` or `end`.
    JsonLines,
}

/// Why a dump failed.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The trace cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output cannot be written. A closed pipe is one of the reasons.
    #[error("write the dump: {0}")]
    Write(#[from] io::Error),
}

/// Prints the rest of a trace. Memory is that of one frame.
///
/// # Errors
/// The trace cannot be read or the output refuses a line. Lines before that are printed.
pub fn dump<R: Read>(reader: &mut Reader<R>, output: &mut impl Write, format: DumpFormat) -> Result<(), DumpError> {
    match format {
        DumpFormat::Text => text_header(reader.header(), output)?,
        DumpFormat::JsonLines => json_header(reader.header(), output)?,
    }
    while let Some(frame) = reader.next_frame()? {
        match format {
            DumpFormat::Text => text_frame(&frame, output)?,
            DumpFormat::JsonLines => json_frame(&frame, output)?,
        }
    }
    let end = reader.end().map_or_else(String::new, end_text);
    match format {
        DumpFormat::Text => writeln!(output, "{end}")?,
        DumpFormat::JsonLines => {
            line(output, &json!({ "type": "end", "complete": reader.end() == Some(&End::Complete), "text": end }))?
        }
    }
    Ok(())
}

fn end_text(end: &End) -> String {
    match end {
        End::Complete => "end: complete".to_owned(),
        End::Cut { frames, at_byte } => format!("end: cut after {frames} whole frames, at byte {at_byte}"),
        End::Damaged { frames, at_byte, damage } => {
            format!("end: damaged after {frames} whole frames, at byte {at_byte}: {damage}")
        }
    }
}

fn text_header(header: &Header, output: &mut impl Write) -> io::Result<()> {
    writeln!(
        output,
        "trace by pagesieve {} of {} pid {} ({})",
        header.tool, header.target.kind, header.target.pid, header.target.command
    )?;
    writeln!(output, "source {:?}, hooks [{}], arming {}", header.source, header.hooks.join(", "), header.arming)?;
    for slot in &header.slots {
        writeln!(output, "slot {}..{} at {} {:?}", slot.base, slot.end(), slot.hva, slot.backing)?;
    }
    Ok(())
}

fn text_frame(frame: &Frame, output: &mut impl Write) -> io::Result<()> {
    writeln!(
        output,
        "epoch {} from {} to {} (scan from {}), {:?}: {} events, {} lost",
        frame.epoch,
        seconds(frame.start.0),
        seconds(frame.end.0),
        seconds(frame.scan_start.0),
        frame.closing,
        frame.events.len(),
        frame.lost.events(),
    )?;
    for slot in frame.slots.iter().flatten() {
        writeln!(output, "  slot {}..{} at {} {:?}", slot.base, slot.end(), slot.hva, slot.backing)?;
    }
    for event in &frame.events {
        let (kind, origin) = (kind_name(event.kind), origin_name(event.origin));
        writeln!(output, "  {} {kind:5} {origin:6} {} cpu {} tid {}", seconds(event.time.0), event.gfn, event.cpu, event.tid)?;
    }
    text_set("written", &frame.log.written, output)?;
    text_set("discarded", &frame.log.discarded, output)?;
    for set in &frame.log.unknown {
        text_set(&format!("unknown ({:?})", set.reason), &set.pages, output)?;
    }
    text_set("populated", &frame.populated, output)?;
    text_set("huge", &frame.huge, output)?;
    for summary in frame.summaries.iter().flatten() {
        let delta = summary.delta.map_or_else(|| "-".to_owned(), |delta| delta.to_string());
        writeln!(output, "  page {} content {} compressed {} delta {delta}", summary.gfn, summary.content.0, summary.compressed)?;
    }
    for note in &frame.notes {
        writeln!(output, "  {} {:?}", seconds(note.time.0), note.what)?;
    }
    Ok(())
}

fn text_set(name: &str, set: &PageBitmap, output: &mut impl Write) -> io::Result<()> {
    if set.is_empty() {
        return Ok(());
    }
    write!(output, "  {name} {}:", set.count())?;
    for run in set.ranges() {
        match run.end - run.start {
            1 => write!(output, " {:#x}", run.start)?,
            length => write!(output, " {:#x}+{length}", run.start)?,
        }
    }
    writeln!(output)
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn json_header(header: &Header, output: &mut impl Write) -> io::Result<()> {
    let mut value = serde_json::to_value(header)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("type".to_owned(), "header".into());
        // A dump is made to be passed on; whoever needs the key has the trace.
        fields.remove("fingerprint_key");
    }
    line(output, &value)
}

fn json_frame(frame: &Frame, output: &mut impl Write) -> io::Result<()> {
    let unknown: Vec<_> =
        frame.log.unknown.iter().map(|set| json!({ "reason": set.reason, "pages": runs(&set.pages) })).collect();
    let value = json!({
        "type": "frame", "epoch": frame.epoch, "start": frame.start, "scan_start": frame.scan_start, "end": frame.end,
        "closing": frame.closing, "slots": frame.slots, "events": frame.events.len(), "written": runs(&frame.log.written),
        "discarded": runs(&frame.log.discarded), "unknown": unknown, "populated": runs(&frame.populated),
        "huge": runs(&frame.huge), "lost": frame.lost, "summaries": frame.summaries.as_ref().map(Vec::len),
    });
    line(output, &value)?;
    for event in &frame.events {
        let value = json!({
            "type": "event", "time": event.time, "gfn": event.gfn, "kind": event.kind, "origin": event.origin,
            "cpu": event.cpu, "tid": event.tid,
        });
        line(output, &value)?;
    }
    for summary in frame.summaries.iter().flatten() {
        let value = json!({
            "type": "summary", "gfn": summary.gfn, "content": summary.content, "compressed": summary.compressed,
            "delta": summary.delta,
        });
        line(output, &value)?;
    }
    for note in &frame.notes {
        line(output, &json!({ "type": "note", "time": note.time, "what": note.what }))?;
    }
    Ok(())
}

/// Pages as pairs of first page and length.
fn runs(set: &PageBitmap) -> Vec<(u64, u64)> {
    set.ranges().map(|run| (run.start, run.end - run.start)).collect()
}

fn line(output: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *output, value)?;
    output.write_all(b"\n")
}
