//! A trace of what an engine was told, written beside.

use std::path::PathBuf;
use std::time::Duration;

use pagesieve_core::Nanos;
use pagesieve_traces::{CreateOptions, Frame, Happening, Header, Note, WriteError, Writer};

use crate::tail::Tail;

/// Where to write a trace of it all, and what to say in it.
#[derive(Clone, Debug)]
pub struct RecordTo {
    /// The trace to write.
    pub path: PathBuf,
    /// Replace an existing file.
    pub force: bool,
    /// Workload class to note.
    pub class: Option<String>,
    /// How long an epoch is meant to be. What decides is the engine.
    pub epoch: Duration,
}

/// A trace in the making. It is worth less than what it is a trace of: after the first error it ends, and says so when asked.
pub(super) struct Recording {
    tail: Option<Tail>,
    error: Option<WriteError>,
}

impl Recording {
    pub(super) fn create(to: &RecordTo, header: Header) -> Result<Self, WriteError> {
        let epoch_length = Nanos::from(to.epoch);
        let header = Header { class: to.class.clone(), epoch_length, ..header };
        let writer = Writer::create_with(&to.path, &header, CreateOptions { force: to.force })?;
        Ok(Self { tail: Some(Tail::new(writer)), error: None })
    }

    /// Takes the next frame.
    pub(super) fn frame(&mut self, frame: &Frame) {
        if let Some(tail) = &mut self.tail
            && let Err(error) = tail.hold(frame.clone())
        {
            // All frames before it are whole and readable.
            self.tail = None;
            self.error = Some(error);
        }
    }

    /// Ends the trace with this word, and returns its bytes. It can be ended once; later calls say 0.
    pub(super) fn end(&mut self, time: Nanos, what: &str) -> Result<u64, WriteError> {
        match (self.error.take(), self.tail.take()) {
            (Some(error), _) => Err(error),
            (None, Some(tail)) => tail.finish(Some(Note { time, what: Happening::Message(what.to_owned()) })),
            (None, None) => Ok(0),
        }
    }
}
