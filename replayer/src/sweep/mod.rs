//! Many replays: traces over a grid of parameters, to see what one costs in terms of another.

mod grid;
mod row;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use pagesieve_core::Nanos;
use pagesieve_traces::{Header, Reader};
use rayon::prelude::*;

pub use grid::{Grid, Point};
pub use row::{Best, Row};

use crate::config::{ReplayError, TraceInfo};
use crate::log::ActionLog;
use crate::replay::{replay_all, trace_length};

/// Most replays in lockstep over one reading of a trace. Each has page tables of its own, so this and the number of cores are
/// what bounds the memory of a sweep; beyond a few, reading again is cheap beside replaying.
const MOST_RUNS: usize = 8;

/// Why a sweep failed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// One of the traces cannot be replayed.
    #[error("sweep {}: {error}", file.display())]
    Trace {
        /// The trace.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        error: ReplayError,
    },
    /// The system gives no threads.
    #[error("start the threads of the sweep: {0}; set RAYON_NUM_THREADS to a smaller number")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// How far a sweep has come, in frames replayed: a frame counts once for each point of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Replayed since the last call.
    pub step: u64,
    /// All that will be replayed.
    pub total: u64,
}

/// Replays each trace at each point of the grid, on all cores (or as many as `RAYON_NUM_THREADS` says). Rows come trace by trace
/// in the order given, each with all points in the order of [`Grid::points`]; neither order nor content depends on the number of
/// cores. `progress` is called from all threads.
///
/// # Errors
/// A trace cannot be read or replayed: of several such traces the first is named.
pub fn sweep(traces: &[PathBuf], grid: &Grid, progress: &(dyn Fn(Progress) + Sync)) -> Result<Vec<Row>, SweepError> {
    let traces = traces.iter().map(|file| Trace::open(file)).collect::<Result<Vec<_>, _>>()?;
    let points = grid.points();
    let total = traces.iter().map(|trace| trace.frames).sum::<u64>() * points.len() as u64;
    let pool = rayon::ThreadPoolBuilder::new().build()?;
    // Every trace is spread over all threads, so that a large one does not keep a single thread busy in the end.
    let chunk = points.len().div_ceil(pool.current_num_threads()).clamp(1, MOST_RUNS);
    let jobs: Vec<_> = traces.iter().flat_map(|trace| points.chunks(chunk).map(move |points| (trace, points))).collect();
    let first_failed = AtomicUsize::new(usize::MAX);
    let work = |(at, &(trace, points)): (usize, &(&Trace<'_>, &[Point]))| {
        // What follows a failure cannot matter; what comes before it can, because the first failure is the one to name.
        if at > first_failed.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let count = || progress(Progress { step: points.len() as u64, total });
        let rows = trace.replay(points, count);
        if rows.is_err() {
            first_failed.fetch_min(at, Ordering::Relaxed);
        }
        rows
    };
    let done: Vec<_> = pool.install(|| jobs.par_iter().enumerate().with_max_len(1).map(work).collect());
    let rows = done.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// What is known about a trace before it is replayed; it is opened anew for each chunk of points.
struct Trace<'a> {
    file: &'a Path,
    name: String,
    header: Header,
    length: Option<Nanos>,
    frames: u64,
}

impl<'a> Trace<'a> {
    fn open(file: &'a Path) -> Result<Self, SweepError> {
        let open = || {
            let mut reader = Reader::open(file)?;
            let length = trace_length(&mut reader)?;
            let frames = reader.index()?.entries.len() as u64;
            let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
            Ok(Self { file, name, header: reader.header().clone(), length, frames })
        };
        open().map_err(|error| failed(file, error))
    }

    fn replay(&self, points: &[Point], count: impl Fn()) -> Result<Vec<Row>, SweepError> {
        let replay = || {
            let mut reader = Reader::open(self.file)?;
            let trace = TraceInfo { name: &self.name, header: &self.header, length: self.length };
            let configs = points.iter().map(|point| (point.config(), ActionLog::new())).collect();
            replay_all(trace, reader.frames().inspect(|_| count()), configs)
        };
        let results = replay().map_err(|error| failed(self.file, error))?;
        Ok(points.iter().zip(results).map(|(point, result)| Row::new(point, result.summary)).collect())
    }
}

fn failed(file: &Path, error: ReplayError) -> SweepError {
    SweepError::Trace { file: file.to_owned(), error }
}

#[cfg(test)]
mod tests;
