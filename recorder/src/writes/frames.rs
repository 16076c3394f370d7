//! `/proc/kpageflags`: what the kernel says of a frame of the host. Only root may ask.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const KSM: u64 = 1 << 21;
const THP: u64 = 1 << 22;
const ZERO_PAGE: u64 = 1 << 24;

/// What can be told of frames.
pub(super) struct Frames {
    flags: Option<File>,
    /// The last frame that was found to be a page of zeros: there are few.
    zero: Cell<u64>,
    /// True if the kernel merges equal pages, or some are merged.
    merging: bool,
}

impl Frames {
    pub(super) fn open() -> Self {
        Self { flags: File::open("/proc/kpageflags").ok(), zero: Cell::new(0), merging: merges() }
    }

    /// Looks again whether equal pages are merged.
    pub(super) fn refresh(&mut self) {
        self.merging = merges();
    }

    /// True if the kernel tells us about this frame. Frame 0 stands for one that we may not see.
    pub(super) fn can_tell(&self, frame: u64) -> bool {
        frame != 0 && self.flags.is_some()
    }

    /// True if any page may be merged with equal ones.
    pub(super) fn may_be_merged(&self) -> bool {
        self.merging
    }

    /// True if the frame is merged with equal ones, as far as can be told.
    pub(super) fn is_merged(&self, frame: u64) -> bool {
        self.merging && self.flags(frame).is_none_or(|flags| flags & KSM != 0)
    }

    /// True if the frame is certainly a page of zeros that everybody shares.
    pub(super) fn is_zero(&self, frame: u64) -> bool {
        if !self.can_tell(frame) {
            return false;
        }
        let is_zero = frame == self.zero.get() || self.flags(frame).is_some_and(|flags| flags & ZERO_PAGE != 0);
        if is_zero {
            self.zero.set(frame);
        }
        is_zero
    }

    /// True if the frame is the beginning of a huge page.
    pub(super) fn is_huge(&self, frame: u64) -> bool {
        self.flags(frame).is_some_and(|flags| flags & THP != 0)
    }

    fn flags(&self, frame: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.flags.as_ref()?.read_exact_at(&mut word, frame.checked_mul(8)?).ok()?;
        Some(u64::from_ne_bytes(word))
    }
}

fn merges() -> bool {
    let read = |name: &str| fs::read_to_string(format!("/sys/kernel/mm/ksm/{name}"));
    let is_zero = |name: &str| read(name).is_ok_and(|text| text.trim() == "0");
    // A kernel without the feature has none of the files.
    fs::exists("/sys/kernel/mm/ksm").unwrap_or(true) && !(is_zero("run") && is_zero("pages_shared"))
}
