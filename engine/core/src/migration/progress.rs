//! How far a migration is.

use super::{Migration, Phase};
use crate::summary::BlockCounts;

/// How far a migration is: what it did so far, in all rounds and attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The first round began; before, the guest is only watched.
    pub begun: bool,
    /// Rounds completed in this attempt.
    pub rounds: u32,
    /// The guest stands still.
    pub paused: bool,
    /// Blocks of the round in progress that were judged, and all of them.
    pub judged: (u32, u32),
    /// Blocks sent.
    pub blocks_sent: u64,
    /// Guest memory of all blocks sent, in bytes.
    pub bytes_sent: u64,
    /// Bytes on the wire.
    pub bytes_wire: u64,
}

impl Migration {
    /// How far it is. It costs nothing, so ask as often as there is somebody to show it to.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let total = self.accounts.total();
        let judged = if let Phase::Round { next, .. } = self.phase { next } else { 0 };
        Progress {
            begun: self.begun,
            rounds: self.rounds,
            paused: self.paused.is_some(),
            judged: (judged, self.blocks.count()),
            blocks_sent: total.blocks.sent,
            bytes_sent: total.bytes_sent,
            bytes_wire: self.accounts.bytes_wire,
        }
    }

    /// The verdicts on blocks so far, in all rounds and attempts.
    #[must_use]
    pub fn verdicts(&self) -> BlockCounts {
        self.accounts.total().blocks
    }
}
