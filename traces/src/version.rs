//! Versions of the format.

use std::fmt;

use serde::Serialize;

/// Counts changes that an older reader cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Major(pub u16);

/// Counts additions that an older reader of the same major may ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Minor(pub u16);

/// Version of the format of one file. A reader accepts every minor of its own major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FormatVersion {
    /// Readable at all?
    pub major: Major,
    /// Anything there that this reader does not know?
    pub minor: Minor,
}

/// The version that this crate writes, and the newest it fully knows.
pub const FORMAT: FormatVersion = FormatVersion { major: Major(2), minor: Minor(0) };

impl FormatVersion {
    /// True if this file can hold fields that this crate does not know and has to step over.
    pub(crate) fn has_unknown_fields(self) -> bool {
        self > FORMAT
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major.0, self.minor.0)
    }
}
