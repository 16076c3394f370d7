//! Watches one page through a replay: `replay --explain`.

use pagesieve_core::summary::{PageHistory, PageMoment};
use pagesieve_core::{Access, Action, Epoch, Gfn, Migration, Nanos, PageView};
use pagesieve_traces::Frame;

/// What happened to the page so far.
#[derive(Debug)]
pub(crate) struct Watch {
    history: PageHistory,
    populated: Option<bool>,
}

impl Watch {
    pub(crate) fn new(gfn: Gfn) -> Self {
        Self { history: PageHistory { gfn, moments: Vec::new() }, populated: None }
    }

    pub(crate) fn gfn(&self) -> Gfn {
        self.history.gfn
    }

    pub(crate) fn into_history(self) -> PageHistory {
        self.history
    }

    fn note(&mut self, time: Nanos, epoch: Epoch, what: String, evidence: Option<String>) {
        self.history.moments.push(PageMoment { time, epoch, what, evidence });
    }

    pub(crate) fn access(&mut self, epoch: Epoch, access: &Access) {
        if access.gfn == self.gfn() {
            let what = format!("{:?} by {:?}, thread {}", access.kind, access.origin, access.tid).to_lowercase();
            self.note(access.time, epoch, what, None);
        }
    }

    /// The frame's epoch ends: is the page in its dirty log, and does it hold data?
    pub(crate) fn frame(&mut self, now: Nanos, frame: &Frame) {
        let gfn = self.gfn();
        let mut parts = Vec::new();
        if frame.log.written.contains(gfn) {
            parts.push("written".to_owned());
        }
        if frame.log.discarded.contains(gfn) {
            parts.push("discarded".to_owned());
        }
        let unknown = frame.log.unknown.iter().filter(|set| set.pages.contains(gfn));
        parts.extend(unknown.map(|set| format!("unknown ({})", set.reason.name().replace('_', " "))));
        if !parts.is_empty() {
            self.note(now, frame.epoch, format!("in the dirty log: {}", parts.join(", ")), None);
        }
        let populated = frame.populated.contains(gfn);
        if self.populated.replace(populated).is_some_and(|before| before != populated) {
            let what = if populated { "holds data now" } else { "holds no data any more" };
            self.note(now, frame.epoch, what.to_owned(), None);
        }
    }

    /// The engine decided on the page's block, knowing this of the page.
    pub(crate) fn action(&mut self, now: Nanos, action: &Action, before: &PageView, migration: &Migration) {
        let block = match action {
            Action::ReadBlock(block)
            | Action::SendZero(block)
            | Action::Send { block, .. }
            | Action::Skip { block, .. }
            | Action::Defer { block, .. } => block,
            Action::Pause => return self.note(now, migration.open_epoch(), "the guest is to be paused".to_owned(), None),
            _ => return,
        };
        if migration.blocks().pages(*block).contains(&self.gfn().0) {
            self.note(now, migration.open_epoch(), format!("block: {action}"), Some(before.to_string()));
        }
    }
}
