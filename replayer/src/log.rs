//! The log of actions: what two runs are compared by.

use std::io::{self, Write};

use pagesieve_core::{Action, BlockId, Decision, Migration, Nanos, Outcome};

use crate::wire;

/// Is told of every action about a block.
pub(crate) type Observer = Box<dyn FnMut(Decision) + Send>;

/// Length and hash of all actions with their times, and the lines themselves if a sink was given.
pub struct ActionLog {
    sink: Option<Box<dyn Write + Send>>,
    observer: Option<Observer>,
    line: Vec<u8>,
    digest: Digest,
    error: Option<io::Error>,
}

/// What is left of an action log: two runs with equal digests did the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Actions.
    pub actions: u64,
    /// A hash over times and actions. It finds differences; it withstands nobody who plans one.
    pub hash: u64,
}

impl ActionLog {
    /// A log that keeps the digest only.
    #[must_use]
    pub fn new() -> Self {
        Self { sink: None, observer: None, line: Vec::new(), digest: Digest { actions: 0, hash: 0 }, error: None }
    }

    /// A log that writes a line `<nanoseconds> <action>` for each action as well.
    #[must_use]
    pub fn with_sink(sink: Box<dyn Write + Send>) -> Self {
        Self { sink: Some(sink), ..Self::new() }
    }

    /// A log that keeps the digest and tells of each action about a block.
    #[must_use]
    pub(crate) fn with_observer(observer: Observer) -> Self {
        Self { observer: Some(observer), ..Self::new() }
    }

    /// Tells the observer, if the action is about a block. The engine gave the action just now, so its name of the block is good.
    pub(crate) fn observe(&mut self, now: Nanos, action: &Action, migration: &Migration) {
        let Some(observer) = &mut self.observer else { return };
        let block = match action {
            Action::ReadBlock(block) | Action::SendZero(block) => block,
            Action::Send { block, .. } | Action::Skip { block, .. } | Action::Defer { block, .. } => block,
            _ => return,
        };
        let pages = migration.blocks().pages(*block);
        let (round, epoch) = (migration.rounds(), migration.open_epoch());
        observer(Decision { time: now, round, epoch, pages, action: action.clone() });
    }

    pub(crate) fn push(&mut self, now: Nanos, action: &Action) {
        self.digest.actions += 1;
        let (code, what) = code(action);
        for word in [now.0, code, what] {
            self.digest.hash = wire::mix(self.digest.hash ^ word);
        }
        if self.sink.is_none() {
            return;
        }
        self.line.clear();
        // Writing to memory cannot fail.
        let _ = writeln!(self.line, "{} {action}", now.0);
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

/// An action as two numbers; what differs in print differs here.
fn code(action: &Action) -> (u64, u64) {
    let name = |block: &BlockId| u64::from(block.generation) << 32 | u64::from(block.index);
    match action {
        Action::CloseEpoch => (1, 0),
        Action::ReadBlock(block) => (2, name(block)),
        Action::Send { block, encoding } => (3 | (*encoding as u64) << 8, name(block)),
        Action::SendZero(block) => (4, name(block)),
        Action::Skip { block, reason } => (5 | (*reason as u64) << 8, name(block)),
        Action::Defer { block, reason } => (6 | (*reason as u64) << 8, name(block)),
        Action::Pause => (7, 0),
        Action::Resume => (8, 0),
        Action::Throttle(percent) => (9 | u64::from(*percent) << 8, 0),
        Action::Finish(report) => {
            let (outcome, block) = match report.outcome {
                Outcome::Completed => (0, 0),
                Outcome::BlockFailed(block) => (1, name(&block)),
                Outcome::NotConverging => (2, 0),
                Outcome::Aborted => (3, 0),
            };
            (10 | outcome << 8 | u64::from(report.rounds) << 16, report.bytes_wire ^ block << 1)
        }
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

#[cfg(test)]
mod tests {
    use pagesieve_core::SkipReason;

    use super::*;

    const BLOCK: BlockId = BlockId { generation: 0, index: 1 };

    fn digest(now: u64, action: &Action) -> Digest {
        let mut log = ActionLog::new();
        log.push(Nanos(now), action);
        log.digest()
    }

    #[test]
    fn what_differs_in_time_kind_reason_or_block_differs_in_the_digest() {
        let actions = [
            Action::ReadBlock(BLOCK),
            Action::ReadBlock(BlockId { generation: 1, ..BLOCK }),
            Action::ReadBlock(BlockId { index: 2, ..BLOCK }),
            Action::SendZero(BLOCK),
            Action::Skip { block: BLOCK, reason: SkipReason::Zero },
            Action::Skip { block: BLOCK, reason: SkipReason::Unchanged },
            Action::Pause,
            Action::Throttle(20),
            Action::Throttle(30),
        ];
        let hashes = actions.iter().flat_map(|action| [digest(1, action).hash, digest(2, action).hash]);
        assert_eq!(hashes.collect::<std::collections::BTreeSet<_>>().len(), 2 * actions.len());
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_fails_is_told_about_and_costs_no_action() {
        let mut log = ActionLog::with_sink(Box::new(Full));
        log.push(Nanos(1), &Action::Pause);
        log.push(Nanos(2), &Action::Resume);
        assert_eq!(log.digest().actions, 2);
        assert_eq!(log.take_error().map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
    }
}
