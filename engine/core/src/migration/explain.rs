//! What is known about one page, for people who ask why it was sent.

use core::fmt;

use super::Migration;
use crate::evidence::PageState;
use crate::tracker::PageInfo;
use crate::{Epoch, Gfn, Nanos};

/// A page as the engine sees it. It prints as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageView {
    /// What is known about it at the source.
    pub state: PageState,
    /// True if the destination holds its current version.
    pub current: bool,
    /// The epoch of the content that the destination holds, outdated or not; `None` if it is not known.
    pub held: Option<Epoch>,
    /// True if the destination certainly reads as zero there.
    pub zero_there: bool,
    /// True if it counts as written only because a dirty log was incomplete.
    pub presumed_written: bool,
    /// How often it was sent; 7 stands for seven times or more.
    pub times_sent: usize,
    /// Its last access and the number of accesses, if there was one.
    pub usage: Option<PageInfo>,
    /// In how long it will be written again, if that can be told.
    pub next_write: Option<Nanos>,
    /// The time.
    pub now: Nanos,
}

impl Migration {
    /// Everything that is known about a page now.
    #[must_use]
    pub fn explain(&self, gfn: Gfn) -> PageView {
        PageView {
            state: self.evidence.page(gfn),
            current: self.evidence.is_current(gfn),
            held: self.evidence.held(gfn),
            zero_there: self.evidence.is_zero_there(gfn.0..gfn.0.saturating_add(1)),
            presumed_written: self.evidence.is_presumed_written(gfn),
            times_sent: self.accounts.times_sent.of(gfn),
            usage: self.tracker.page_info(gfn),
            next_write: self.redirty.next_write(gfn, self.now),
            now: self.now,
        }
    }
}

impl fmt::Display for PageView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            PageState::Unknown => f.write_str("source unknown"),
            PageState::Unpopulated => f.write_str("source holds no data"),
            PageState::CleanSince(epoch) => write!(f, "source clean since epoch {epoch}"),
            PageState::DirtyIn(epoch) if self.presumed_written => write!(f, "source unproven in epoch {epoch}"),
            PageState::DirtyIn(epoch) => write!(f, "source written in epoch {epoch}"),
        }?;
        match (self.held, self.zero_there) {
            (Some(epoch), _) => {
                write!(f, "; destination holds epoch {epoch}, {}", if self.current { "current" } else { "outdated" })
            }
            (None, true) => f.write_str("; destination is zero"),
            (None, false) => f.write_str("; destination unknown"),
        }?;
        write!(f, "; sent {} times", self.times_sent)?;
        if let Some(usage) = self.usage {
            let age = self.now.since(usage.last_access).0 / Nanos::MILLISECOND.0;
            write!(f, "; {} accesses, the last {age} ms ago", usage.count)?;
        }
        if let Some(next) = self.next_write {
            write!(f, "; next write expected in {} ms", next.0 / Nanos::MILLISECOND.0)?;
        }
        Ok(())
    }
}
