//! A trace of what an engine was told, written beside.

use std::path::PathBuf;
use std::time::Duration;

use pagesieve_core::Nanos;
use pagesieve_traces::{CreateOptions, Frame, Happening, Header, Note, WriteError, Writer};

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
    writer: Option<Writer>,
    /// The frame closed last; the next one, or the end, sees it written.
    last: Option<Frame>,
    error: Option<WriteError>,
}

impl Recording {
    pub(super) fn create(to: &RecordTo, header: Header) -> Result<Self, WriteError> {
        let epoch_length = Nanos::from(to.epoch);
        let header = Header { class: to.class.clone(), epoch_length, ..header };
        let writer = Writer::create_with(&to.path, &header, CreateOptions { force: to.force })?;
        Ok(Self { writer: Some(writer), last: None, error: None })
    }

    /// Takes the next frame.
    pub(super) fn frame(&mut self, frame: &Frame) {
        self.write_last();
        if self.writer.is_some() {
            self.last = Some(frame.clone());
        }
    }

    /// Ends the trace with this word, and returns its bytes. It can be ended once; later calls say 0.
    pub(super) fn end(&mut self, time: Nanos, what: &str) -> Result<u64, WriteError> {
        if let Some(last) = &mut self.last {
            last.notes.push(Note { time, what: Happening::Message(what.to_owned()) });
        }
        self.write_last();
        match (self.error.take(), self.writer.take()) {
            (Some(error), _) => Err(error),
            (None, Some(writer)) => writer.finish(),
            (None, None) => Ok(0),
        }
    }

    fn write_last(&mut self) {
        if let (Some(writer), Some(frame)) = (&mut self.writer, self.last.take())
            && let Err(error) = writer.write_frame(&frame)
        {
            // All frames before it are whole and readable.
            self.writer = None;
            self.error = Some(error);
        }
    }
}
