//! Writes what a trace holds as rows for other programs.
//!
//! There are two tables: access events, and the verdicts of a replay. Each format is one [`RowWriter`]; what reads the trace does not
//! know which one it feeds. Rows leave as they come, so memory is that of one frame of the trace and, for Parquet, of one row group.

mod csv;
mod jsonl;
mod parquet;
mod perfetto;
mod rows;
mod verdicts;

use std::error::Error;
use std::io::{self, Read, Write};
use std::path::Path;

use pagesieve_traces::{End, Frame, Header, ReadError, Reader};

pub use rows::{Cell, Column, EventRow, Kind, Row, Rows, VerdictRow};
pub use verdicts::{Replay, export_verdicts};

/// In which form rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `csv`: a line of names, then a line for each row.
    Csv,
    /// `jsonl`: a JSON object on each line.
    JsonLines,
    /// `parquet`: Apache Parquet, columns compressed with zstd.
    Parquet,
    /// `perfetto`: Chrome trace events, for <https://ui.perfetto.dev>. It draws epochs and rounds, not single rows.
    Perfetto,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [Format::Csv, Format::JsonLines, Format::Parquet, Format::Perfetto];

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
            Format::Parquet => "parquet",
            Format::Perfetto => "perfetto",
        }
    }

    /// The format that the ending of a file name stands for: `.csv`, `.jsonl`, `.ndjson`, `.parquet`, or `.json` for Perfetto.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            "parquet" | "pq" => Some(Format::Parquet),
            "json" => Some(Format::Perfetto),
            _ => None,
        }
    }
}

/// A name that no format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such format; use csv, jsonl, parquet or perfetto")]
pub struct UnknownFormat;

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

/// Takes rows, in the order of their time, and the epochs they belong to.
pub trait RowWriter: Send {
    /// An epoch of the trace. Formats that hold rows only need not look at it.
    ///
    /// # Errors
    /// The output refuses bytes.
    fn frame(&mut self, frame: &Frame) -> Result<(), ExportError> {
        let _ = frame;
        Ok(())
    }

    /// The next row.
    ///
    /// # Errors
    /// The output refuses bytes.
    fn row(&mut self, row: &Row) -> Result<(), ExportError>;

    /// Writes what is still held back, and the end of the file.
    ///
    /// # Errors
    /// The output refuses bytes.
    fn finish(&mut self) -> Result<(), ExportError>;
}

/// A writer of rows of one table in one format. The header tells Perfetto what to call the process.
///
/// # Errors
/// The output refuses the beginning of the file.
pub fn row_writer<'a, W: Write + Send + 'a>(
    format: Format,
    rows: Rows,
    header: &Header,
    output: W,
) -> Result<Box<dyn RowWriter + 'a>, ExportError> {
    Ok(match format {
        Format::Csv => Box::new(csv::Csv::new(rows, output)?),
        Format::JsonLines => Box::new(jsonl::JsonLines::new(rows, output)),
        Format::Parquet => Box::new(parquet::Parquet::new(rows, output)?),
        Format::Perfetto => Box::new(perfetto::Perfetto::new(header, output)?),
    })
}

/// What was exported.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Rows handed to the format. Perfetto draws what they add up to.
    pub rows: u64,
    /// Frames read.
    pub frames: u64,
    /// How the input ended.
    pub end: Option<End>,
}

/// Why rows cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The trace cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The trace cannot be replayed.
    #[error(transparent)]
    Replay(Box<dyn Error + Send + Sync>),
    /// The output refuses bytes.
    #[error("write the rows: {0}")]
    Write(#[from] io::Error),
    /// Parquet refuses a row group, for most cases because the output refuses its bytes.
    #[error("write the rows: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// Writes a row for each access event. `progress` is told the bytes of the input that were read.
///
/// # Errors
/// See [`ExportError`]. Rows before that are written.
pub fn export_events<R: Read>(
    reader: &mut Reader<R>,
    writer: &mut dyn RowWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, ExportError> {
    let (mut rows, mut frames) = (0, 0);
    while let Some(frame) = reader.next_frame()? {
        writer.frame(&frame)?;
        for event in &frame.events {
            writer.row(&Row::Event(EventRow { epoch: frame.epoch, access: *event }))?;
        }
        frames += 1;
        rows += frame.events.len() as u64;
        progress(reader.position());
    }
    writer.finish()?;
    Ok(Exported { rows, frames, end: reader.end().cloned() })
}
