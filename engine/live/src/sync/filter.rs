//! Who tracks the writes into a source.

use pagesieve_core::ports::{ClosedEpoch, DirtyLog};
use pagesieve_core::{Coverage, Epoch, PageBitmap};

use super::extent;
use super::source::Source;

/// The page filter of a source: the dirty log of a file, page by page from its start.
///
/// It must have begun before the source is read for the first time. A page outside a complete log was not changed since the epoch
/// before was closed, by anyone and in any way; where that is not certain the log is to be called partial.
pub trait Filter {
    /// Closes the epoch that is open; see [`DirtyLog::close`].
    ///
    /// # Errors
    /// Why nothing is known of the epoch. The pass then compares everything.
    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, String>;

    /// True if accesses are reported by the kernel program.
    fn ebpf_enabled(&self) -> bool;

    /// Why not, or why writes are not tracked at all.
    fn fallback(&self) -> Option<String>;
}

/// The dirty log of one pass: that of the filter, if there is one, and the holes of the file.
pub(super) struct PassLog<'a> {
    pub(super) source: &'a Source,
    pub(super) filter: Option<&'a mut Box<dyn Filter>>,
    /// The pages that held data when the epoch before was closed, as far as the file system tells.
    pub(super) populated: &'a mut Option<PageBitmap>,
    /// Why the filter proved nothing.
    pub(super) doubt: &'a mut Option<String>,
}

impl DirtyLog for PassLog<'_> {
    type Error = std::convert::Infallible;

    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, Self::Error> {
        let unproven = |why: &str| (ClosedEpoch::unproven(), Some(why.to_owned()));
        let (mut closed, doubt) = match self.filter.as_mut().map(|filter| filter.close(epoch)) {
            None => unproven("nothing tracks the writes into a plain file"),
            Some(Err(why)) => unproven(&why),
            Some(Ok(closed)) if closed.coverage == Coverage::Partial => unproven("the dirty log is incomplete"),
            Some(Ok(closed)) => (closed, None),
        };
        closed.populated = extent::populated(self.source.file(), self.source.len());
        match (&*self.populated, &closed.populated) {
            // Data that turned into a hole, however that was done.
            (Some(before), Some(now)) => {
                let mut holes = before.clone();
                holes.subtract(now);
                closed.log.grow(holes.end());
                closed.log.union_with(&holes);
            }
            // The first time there is nothing to compare with.
            _ => closed.coverage = Coverage::Partial,
        }
        self.populated.clone_from(&closed.populated);
        *self.doubt = doubt;
        Ok(closed)
    }
}
