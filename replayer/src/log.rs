//! The log of actions: what two runs are compared by.

use std::io::{self, Write};

use pagesieve_core::{Action, Nanos};

/// Length and hash of all actions with their times, and the lines themselves if a sink was given.
pub struct ActionLog {
    sink: Option<Box<dyn Write + Send>>,
    line: Vec<u8>,
    digest: Digest,
    error: Option<io::Error>,
}

/// What is left of an action log: two runs with equal digests did the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Actions.
    pub actions: u64,
    /// FNV-1a over the lines.
    pub hash: u64,
}

impl ActionLog {
    /// A log that keeps the digest only.
    #[must_use]
    pub fn new() -> Self {
        Self { sink: None, line: Vec::new(), digest: Digest { actions: 0, hash: 0xcbf2_9ce4_8422_2325 }, error: None }
    }

    /// A log that writes a line `<nanoseconds> <action>` for each action as well.
    #[must_use]
    pub fn with_sink(sink: Box<dyn Write + Send>) -> Self {
        Self { sink: Some(sink), ..Self::new() }
    }

    pub(crate) fn push(&mut self, now: Nanos, action: &Action) {
        self.line.clear();
        // Writing to memory cannot fail.
        let _ = writeln!(self.line, "{} {action}", now.0);
        self.digest.actions += 1;
        for &byte in &self.line {
            self.digest.hash = (self.digest.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.write_all(&self.line)
        {
            self.error = Some(error);
            self.sink = None;
        }
    }

    /// Length and hash.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Why the sink took no more lines, if it did not.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }
}

impl Default for ActionLog {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ActionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActionLog").field("digest", &self.digest).finish_non_exhaustive()
    }
}
