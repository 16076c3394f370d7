//! A trace whose last frame is held back, so that the end can still be noted in it.

use pagesieve_traces::{Frame, Note, WriteError, Writer};

/// A writer and the frame closed last, which is written when the next one comes or the trace ends.
pub(crate) struct Tail {
    writer: Writer,
    last: Option<Frame>,
}

impl Tail {
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer, last: None }
    }

    /// Writes the frame before and keeps this one. After an error the frame before is still held, and [`Tail::finish`] tries again.
    pub(crate) fn hold(&mut self, frame: Frame) -> Result<(), WriteError> {
        if let Some(before) = &self.last {
            self.writer.write_frame(before)?;
        }
        self.last = Some(frame);
        Ok(())
    }

    /// Bytes written so far, without the frame that is held back.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.writer.bytes_written()
    }

    /// Writes the last frame with this note, and the footer. Returns the bytes of the whole trace.
    pub(crate) fn finish(mut self, ended: Option<Note>) -> Result<u64, WriteError> {
        if let Some(mut frame) = self.last.take() {
            frame.notes.extend(ended);
            self.writer.write_frame(&frame)?;
        }
        self.writer.finish()
    }
}
