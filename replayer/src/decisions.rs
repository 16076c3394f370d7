//! A replay that tells what it decided about each block, frame by frame.

use std::sync::{Arc, Mutex, PoisonError};

use pagesieve_core::Decision;
use pagesieve_core::summary::ReplaySummary;
use pagesieve_traces::Frame;

use crate::config::{ReplayConfig, ReplayError, TraceInfo};
use crate::fleet::Fleet;
use crate::log::ActionLog;

/// A replay in progress. The decisions of one frame are held until they are asked for.
#[derive(Debug)]
pub struct Decisions<'a> {
    /// `None` at the end.
    fleet: Option<Fleet<'a>>,
    /// Where the replay leaves them.
    waiting: Arc<Mutex<Vec<Decision>>>,
    summary: Option<ReplaySummary>,
}

impl<'a> Decisions<'a> {
    /// A replay of a trace.
    ///
    /// # Errors
    /// The header's slots contradict each other or reach too far.
    pub fn new(trace: TraceInfo<'a>, config: ReplayConfig) -> Result<Self, ReplayError> {
        let mut fleet = Fleet::new(trace)?;
        let waiting = Arc::<Mutex<Vec<Decision>>>::default();
        let left = waiting.clone();
        let leave = move |decision| left.lock().unwrap_or_else(PoisonError::into_inner).push(decision);
        fleet.add(config, ActionLog::with_observer(Box::new(leave)));
        Ok(Self { fleet: Some(fleet), waiting, summary: None })
    }

    /// Takes the next frame, or `None` at the end of the trace, behind which nothing more is taken. Returns what was decided since
    /// the last call.
    ///
    /// # Errors
    /// As for [`Fleet::feed`] and [`Fleet::finish`].
    pub fn feed(&mut self, frame: Option<Frame>) -> Result<Vec<Decision>, ReplayError> {
        match (frame, &mut self.fleet) {
            (Some(frame), Some(fleet)) => fleet.feed(frame)?,
            (None, fleet) => {
                let results = fleet.take().map(Fleet::finish).transpose()?.unwrap_or_default();
                self.summary = results.into_iter().next().map(|result| result.summary).or(self.summary.take());
            }
            (Some(_), None) => {}
        }
        Ok(std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// What the replay came to; `None` before its end.
    #[must_use]
    pub fn summary(self) -> Option<ReplaySummary> {
        self.summary
    }
}
