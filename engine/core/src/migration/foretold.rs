//! What is to be expected of a migration.

use alloc::vec::Vec;

use super::convergence::SAMPLE;
use super::{Migration, Mode};
use crate::block::BlockId;
use crate::forecast::{self, Forecast, Link, Share};

impl Migration {
    /// Foretells the attempt that begins now, if the guest has been watched for an epoch.
    pub(super) fn foretell_attempt(&mut self, rest: u64) {
        let Mode::Precopy { bandwidth, downtime_limit, max_rounds } = self.config.mode else { return };
        if self.pace.has_watched() {
            let link = Link { bandwidth: self.pace.speed().or(bandwidth), downtime_limit, max_rounds };
            // A measured speed is one of guest memory already.
            let share = if self.pace.speed().is_some() { Share::ONE } else { self.wire_share() };
            self.forecast = Some(forecast::forecast(rest, share, &self.working_set(), &link));
        }
    }

    /// Foretells a migration over this link that would begin now: whether it converges, and with what downtime. Until something
    /// was sent, what [`expect_share`](Self::expect_share) said counts, or else bytes as they are.
    #[must_use]
    pub fn foretell(&self, link: &Link) -> Forecast {
        forecast::forecast(self.rest(), self.wire_share(), &self.working_set(), link)
    }

    /// What a byte of guest memory cost on the wire so far.
    fn wire_share(&self) -> Share {
        let sent = self.accounts.total().bytes_sent;
        if sent < SAMPLE { self.expected_share } else { Share::of(self.accounts.bytes_wire, sent) }
    }

    /// Up to `count` blocks that hold data, from all over memory: encode them for [`expect_share`](Self::expect_share).
    #[must_use]
    pub fn sample(&self, count: u32) -> Vec<BlockId> {
        let all = (0..self.blocks.count()).map(|index| self.blocks.id(index));
        let resident: Vec<_> = all.filter(|&block| !self.evidence.is_unpopulated(self.blocks.pages(block))).collect();
        let step = resident.len().div_ceil(count.max(1) as usize).max(1);
        resident.into_iter().step_by(step).collect()
    }

    /// What a byte of guest memory will cost on the wire, as a sample of blocks says. Only forecasts made before anything was sent
    /// are any different for it.
    pub fn expect_share(&mut self, share: Share) {
        self.expected_share = share;
    }

    /// What was foretold when the first round of this attempt began; `None` if it has not begun, or if the guest had not been
    /// watched for an epoch by then.
    #[must_use]
    pub fn forecast(&self) -> Option<&Forecast> {
        self.forecast.as_ref()
    }
}
