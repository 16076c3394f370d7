//! A replay whose verdicts are written as it goes.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use pagesieve_replayer::{ActionLog, Fleet, ReplayConfig, TraceInfo, Verdict};
use pagesieve_traces::Reader;

use super::{ExportError, Exported, Row, RowWriter, VerdictRow};

/// Where the replay leaves its verdicts: between two frames they are handed on.
type Waiting = Arc<Mutex<Vec<Row>>>;

/// Replays a trace and writes a row for each verdict on a block. The verdicts of one frame are held until it is over.
///
/// # Errors
/// See [`ExportError`]. Rows before that are written.
pub fn export_verdicts<R: Read>(
    trace: TraceInfo<'_>,
    reader: &mut Reader<R>,
    config: ReplayConfig,
    writer: &mut dyn RowWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, ExportError> {
    let waiting = Waiting::default();
    let mut fleet = Fleet::new(trace)?;
    let log = waiting.clone();
    fleet.add(
        config,
        ActionLog::with_observer(Box::new(move |verdict: &Verdict<'_>| {
            if let Some(row) = VerdictRow::of(verdict) {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(Row::Verdict(row));
            }
        })),
    );
    let (mut rows, mut frames) = (0, 0);
    let mut hand_on = |writer: &mut dyn RowWriter| -> Result<(), ExportError> {
        for row in std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner)) {
            writer.row(&row)?;
            rows += 1;
        }
        Ok(())
    };
    while let Some(frame) = reader.next_frame()? {
        writer.frame(&frame)?;
        fleet.feed(frame)?;
        hand_on(writer)?;
        frames += 1;
        progress(reader.position());
    }
    let results = fleet.finish()?;
    hand_on(writer)?;
    writer.finish()?;
    let replay = results.into_iter().next().map(|result| result.summary);
    Ok(Exported { rows, frames, end: reader.end().cloned(), replay })
}
