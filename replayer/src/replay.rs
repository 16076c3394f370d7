//! One replay from start to end.

use std::fs::File;

use pagesieve_core::Nanos;
use pagesieve_traces::{Frame, ReadError, Reader};

use crate::config::{ReplayConfig, ReplayError, TraceInfo};
use crate::fleet::{Fleet, ReplayResult};
use crate::log::ActionLog;

/// Replays the frames of a trace.
///
/// The same frames and the same configuration give the same result on every machine, action for action: compare
/// [`ReplayResult::digest`].
///
/// # Errors
/// A frame cannot be read, there is none, or the engine refuses the configuration.
pub fn replay(
    trace: TraceInfo<'_>,
    frames: impl IntoIterator<Item = Result<Frame, ReadError>>,
    config: ReplayConfig,
    log: ActionLog,
) -> Result<ReplayResult, ReplayError> {
    let mut results = replay_all(trace, frames, vec![(config, log)])?;
    results.pop().ok_or(ReplayError::NoFrames)
}

/// Replays the frames of a trace in several ways at once, reading them once. Results come in the order of the configurations.
///
/// # Errors
/// As for [`replay`].
pub fn replay_all(
    trace: TraceInfo<'_>,
    frames: impl IntoIterator<Item = Result<Frame, ReadError>>,
    configs: Vec<(ReplayConfig, ActionLog)>,
) -> Result<Vec<ReplayResult>, ReplayError> {
    let mut fleet = Fleet::new(trace)?;
    for (config, log) in configs {
        fleet.add(config, log);
    }
    for frame in frames {
        fleet.feed(frame?)?;
    }
    fleet.finish()
}

/// Length of a trace, for [`TraceInfo::length`], from its index: from the start of the first frame to one intended epoch after
/// the start of the last. `None` if there is no frame. The reader must be at its start, and is there again afterwards.
///
/// # Errors
/// The file cannot be read.
pub fn trace_length(reader: &mut Reader<File>) -> Result<Option<Nanos>, ReadError> {
    let epoch = reader.header().epoch_length;
    let index = reader.index()?;
    let (Some(first), Some(last)) = (index.entries.first(), index.entries.last()) else { return Ok(None) };
    reader.seek_in(&index, 0)?;
    Ok(Some(last.start.since(first.start).after(epoch)))
}
