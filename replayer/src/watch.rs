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

#[cfg(test)]
mod tests {
    use pagesieve_core::{Backing, Baseline, Hva, MemSlot, MemSlots, PageBitmap, SkipReason};
    use pagesieve_traces::{UnknownPages, UnknownReason};

    use super::*;
    use crate::config::ReplayConfig;

    fn set(page: u64) -> PageBitmap {
        let mut set = PageBitmap::new(64);
        set.insert(Gfn(page));
        set
    }

    fn said(watch: Watch) -> Vec<String> {
        watch.into_history().moments.into_iter().map(|moment| moment.what).collect()
    }

    #[test]
    fn a_frame_tells_why_the_page_is_in_its_log_and_whether_it_holds_data() {
        let mut watch = Watch::new(Gfn(3));
        let mut frame = Frame { epoch: Epoch(1), populated: set(3), ..Frame::default() };
        frame.log.discarded = set(3);
        frame.log.unknown = vec![
            UnknownPages { reason: UnknownReason::DirectIo, pages: set(3) },
            UnknownPages { reason: UnknownReason::Unarmed, pages: set(4) },
        ];
        watch.frame(Nanos(1), &frame);
        watch.frame(Nanos(2), &Frame { epoch: Epoch(2), populated: set(3), ..Frame::default() });
        watch.frame(Nanos(3), &Frame { epoch: Epoch(3), populated: set(4), ..Frame::default() });
        watch.frame(Nanos(4), &Frame { epoch: Epoch(4), populated: set(3), ..Frame::default() });
        let expected = ["in the dirty log: discarded, unknown (direct io)", "holds no data any more", "holds data now"];
        assert_eq!(said(watch), expected);
    }

    #[test]
    fn only_what_becomes_of_the_pages_own_block_is_noted() {
        let mut slots = MemSlots::new();
        let slot = MemSlot { base: Gfn(0), pages: 64, hva: Hva(0), backing: Backing::Shared, numa_node: None };
        slots.insert(slot).unwrap();
        let migration = Migration::new(ReplayConfig::default().engine(), slots, Baseline::Empty).unwrap();
        let mut watch = Watch::new(Gfn(17));
        let before = migration.explain(Gfn(17));
        for index in 0..4 {
            let action = Action::Skip { block: migration.blocks().id(index), reason: SkipReason::Unchanged };
            watch.action(Nanos(0), &action, &before, &migration);
        }
        assert_eq!(said(watch), ["block: skip 1 Unchanged"]);
    }
}
