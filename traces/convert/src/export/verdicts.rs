//! A replay whose verdicts are written as it goes.

use std::error::Error;
use std::io::Read;

use pagesieve_core::Decision;
use pagesieve_traces::{Frame, Reader};

use super::{ExportError, Exported, Row, RowWriter, VerdictRow};

/// A replay: it is given frame after frame, and `None` at the end, and returns what it decided since. `pagesieve-replayer` has one;
/// this crate does not know it.
pub type Replay<'a> = dyn FnMut(Option<Frame>) -> Result<Vec<Decision>, Box<dyn Error + Send + Sync>> + 'a;

/// Replays a trace and writes a row for each verdict on a block.
///
/// # Errors
/// See [`ExportError`]. Rows before that are written.
pub fn export_verdicts<R: Read>(
    reader: &mut Reader<R>,
    replay: &mut Replay<'_>,
    writer: &mut dyn RowWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, ExportError> {
    let (mut rows, mut frames) = (0, 0);
    let mut write = |writer: &mut dyn RowWriter, decided: Vec<Decision>| -> Result<(), ExportError> {
        for row in decided.iter().filter_map(VerdictRow::of) {
            writer.row(&Row::Verdict(row))?;
            rows += 1;
        }
        Ok(())
    };
    while let Some(frame) = reader.next_frame()? {
        writer.frame(&frame)?;
        write(writer, replay(Some(frame)).map_err(ExportError::Replay)?)?;
        frames += 1;
        progress(reader.position());
    }
    write(writer, replay(None).map_err(ExportError::Replay)?)?;
    writer.finish()?;
    Ok(Exported { rows, frames, end: reader.end().cloned() })
}
