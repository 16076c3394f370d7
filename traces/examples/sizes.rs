//! Prints the figures of `FORMAT.md`: bytes an event in files and in ways of writing events that were not chosen, and the speed
//! of both directions. Run it with `cargo run --release -p pagesieve-traces --example sizes`.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use pagesieve_core::{Access, Nanos};
use pagesieve_traces::{Class, ContentId, Frame, Header, Reader, SynthConfig, Writer, synth};

const LEVEL: i32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "class     memory  epoch   events  file/ev  B/summary  hashes  no sums  records  rows  columns  ranks  write M/s  read M/s"
    )?;
    for class in Class::ALL {
        for (memory, epoch) in [(256u64 << 20, 1_000), (4 << 30, 1_000), (4 << 30, 100)] {
            measure(class, memory, epoch, &mut out)?;
        }
    }
    writeln!(out, "\nlevel  class     columns, bytes an event  compression M events/s")?;
    for class in [Class::Light, Class::HeavyIo] {
        levels(class, &mut out)?;
    }
    Ok(())
}

/// The columns at other levels of zstd.
fn levels(class: Class, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let config = SynthConfig { memory: 256 << 20, duration: Nanos(20 * Nanos::SECOND.0), ..SynthConfig::new(class) };
    let frames: Vec<_> = synth(config)?.map(|frame| (frame.events.len(), columns(&frame))).collect();
    let events: usize = frames.iter().map(|(events, _)| events).sum();
    for level in [1, 3, 9, 19] {
        let begun = Instant::now();
        let mut bytes = 0;
        for (_, columns) in &frames {
            bytes += zstd::bulk::compress(columns, level)?.len();
        }
        let rate = events as f64 / begun.elapsed().as_secs_f64() / 1e6;
        writeln!(out, "{level:5}  {class:8} {:24.2} {rate:23.1}", bytes as f64 / events as f64)?;
    }
    Ok(())
}

/// The summaries of a frame with a hash of 16 bytes for each page instead of the number of its content: bytes that no
/// compression makes smaller.
fn hashed(frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    for summary in frame.summaries.iter_mut().flatten() {
        summary.content = ContentId(0);
    }
    frame
}

fn measure(class: Class, memory: u64, epoch: u64, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let config = SynthConfig {
        memory,
        duration: Nanos(20 * Nanos::SECOND.0),
        epoch: Nanos(epoch * Nanos::MILLISECOND.0),
        ..SynthConfig::new(class)
    };
    let source = synth(config)?;
    let header = source.header().clone();
    let mut frames: Vec<Frame> = source.collect();
    let events: usize = frames.iter().map(|frame| frame.events.len()).sum();
    let per_event = |bytes: usize| bytes as f64 / events as f64;

    let summaries: usize = frames.iter().flat_map(|frame| &frame.summaries).map(Vec::len).sum();
    let whole = write(&header, &frames)?.len();
    let hashes = write(&header, &frames.iter().map(hashed).collect::<Vec<_>>())?.len() + 16 * summaries;
    for frame in &mut frames {
        frame.summaries = None;
    }
    let begun = Instant::now();
    let file = write(&header, &frames)?;
    let write_rate = events as f64 / begun.elapsed().as_secs_f64() / 1e6;
    let begun = Instant::now();
    let mut reader = Reader::new(&file[..])?;
    let mut seen = 0;
    while let Some(frame) = reader.next_frame()? {
        seen += std::hint::black_box(frame).events.len();
    }
    let read_rate = seen as f64 / begun.elapsed().as_secs_f64() / 1e6;

    let mut sizes = [0; 4];
    for frame in &frames {
        for (size, encode) in sizes.iter_mut().zip([records, rows, columns, ranks]) {
            *size += zstd::bulk::compress(&encode(frame), LEVEL)?.len();
        }
    }
    let [records, rows, columns, ranks] = sizes.map(per_event);
    writeln!(
        out,
        "{class:8} {:6}M {epoch:5}ms {events:8} {:8.2} {:10.2} {:7.2} {:8.2} {records:8.2} {rows:5.2} {columns:8.2} {ranks:6.2} {write_rate:10.1} {read_rate:9.1}",
        memory >> 20,
        per_event(whole),
        (whole - file.len()) as f64 / summaries as f64,
        (hashes - file.len()) as f64 / summaries as f64,
        per_event(file.len()),
    )?;
    Ok(())
}

fn write(header: &Header, frames: &[Frame]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, header)?;
    for frame in frames {
        writer.write_frame(frame)?;
    }
    writer.finish()?;
    Ok(file)
}

/// The event as the kernel program could store it: 24 bytes, one after the other.
fn records(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    for event in &frame.events {
        out.extend(event.time.0.to_le_bytes());
        out.extend(event.gfn.0.to_le_bytes());
        out.extend(event.tid.to_le_bytes());
        out.extend(event.cpu.to_le_bytes());
        out.extend([event.kind as u8, event.origin as u8]);
    }
    out
}

/// Differences, but event by event.
fn rows(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut time, mut page) = (frame.start.0, 0);
    for event in &frame.events {
        put(&mut out, event.time.0 - time);
        put(&mut out, zigzag(event.gfn.0, page));
        out.extend([event.kind as u8 | (event.origin as u8) << 4, event.cpu as u8]);
        put(&mut out, u64::from(event.tid));
        (time, page) = (event.time.0, event.gfn.0);
    }
    out
}

/// What the format does, without the sets.
fn columns(frame: &Frame) -> Vec<u8> {
    by_column(frame, |event| event.gfn.0)
}

/// Pages as their rank among the pages of the epoch. The set of these pages is the dirty log, so it costs nothing here.
fn ranks(frame: &Frame) -> Vec<u8> {
    let mut pages: Vec<_> = frame.events.iter().map(|event| event.gfn).collect();
    pages.sort_unstable();
    pages.dedup();
    by_column(frame, |event| pages.partition_point(|&page| page < event.gfn) as u64)
}

fn by_column(frame: &Frame, page: impl Fn(&Access) -> u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut time = frame.start.0;
    for event in &frame.events {
        put(&mut out, event.time.0 - time);
        time = event.time.0;
    }
    let mut before = 0;
    for event in &frame.events {
        let page = page(event);
        put(&mut out, zigzag(page, before));
        before = page;
    }
    let mut actors = Vec::new();
    for event in &frame.events {
        let actor = (event.kind, event.origin, event.cpu, event.tid);
        let number = actors.iter().position(|&known| known == actor).unwrap_or(actors.len());
        if number == actors.len() {
            actors.push(actor);
        }
        put(&mut out, number as u64);
    }
    out
}

fn zigzag(value: u64, before: u64) -> u64 {
    let difference = value.wrapping_sub(before);
    (difference << 1) ^ ((difference as i64) >> 63) as u64
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
