//! What is compared: each quantity with its name, which way is worse, and how a change of it is measured.

use serde::Serialize;

/// Something that a document says about a replay or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Whether the thing is there at all: a trace, a replay of it, a point of its grid, its check.
    Present,
    /// Pages that were taken for current at the destination although they were not.
    Lost,
    /// What the check found wrong, in lines.
    Violations,
    /// Whether the check found nothing wrong.
    Ok,
    /// Share of the pages whose content changed that were in the dirty log.
    ContentRecall,
    /// Share of the pages seen written that also had an event.
    EventRecall,
    /// Whether precopy reached its downtime limit by itself.
    Converged,
    /// Share of all blocks that were skipped.
    SkipAll,
    /// Share of the blocks with data that were skipped.
    SkipResident,
    /// Guest memory that was sent.
    Sent,
    /// Of that, pages that had been sent before.
    Resent,
    /// Bytes on the wire.
    Wire,
    /// Precopy: rounds until it was done.
    PrecopyRounds,
    /// Sync: rounds that were completed in the time of the trace.
    SyncRounds,
    /// Time of the pause.
    Downtime,
    /// Time of the whole migration.
    TotalTime,
    /// Events that were dropped while recording.
    LostEvents,
}

/// How a change is measured, and so what a threshold for it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The change itself, in percentage points: for rates.
    Points,
    /// The change as a share of the base: for bytes, counts and times.
    Relative,
    /// Any change for the worse is one too many, whatever the threshold.
    Strict,
}

/// Quantities that belong together: one test case in JUnit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Everything of the base is there.
    Present,
    /// No page is lost.
    Lost,
    /// What the check says.
    Check,
    /// Skip rates.
    Skip,
    /// Bytes.
    Bytes,
    /// Rounds, times, convergence.
    Course,
    /// Lost events.
    Events,
}

/// A value of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A count, bytes or nanoseconds.
    Number(u64),
    /// A share from 0 to 1.
    Rate(f64),
}

impl Value {
    /// The value as a number; yes is 1.
    #[must_use]
    pub fn number(self) -> f64 {
        match self {
            Self::Flag(yes) => f64::from(u8::from(yes)),
            Self::Number(number) => number as f64,
            Self::Rate(rate) => rate,
        }
    }
}

impl Quantity {
    /// All of them, those first whose getting worse weighs most.
    pub const ALL: [Self; 17] = [
        Self::Present,
        Self::Lost,
        Self::Violations,
        Self::Ok,
        Self::ContentRecall,
        Self::EventRecall,
        Self::Converged,
        Self::SkipAll,
        Self::SkipResident,
        Self::Sent,
        Self::Resent,
        Self::Wire,
        Self::PrecopyRounds,
        Self::SyncRounds,
        Self::Downtime,
        Self::TotalTime,
        Self::LostEvents,
    ];

    /// The name in JSON. What is before a dot names several quantities, such as both skip rates.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Lost => "lost",
            Self::Violations => "violations",
            Self::Ok => "ok",
            Self::ContentRecall => "recall.content",
            Self::EventRecall => "recall.events",
            Self::Converged => "converged",
            Self::SkipAll => "skip.all",
            Self::SkipResident => "skip.resident",
            Self::Sent => "sent",
            Self::Resent => "resent",
            Self::Wire => "wire",
            Self::PrecopyRounds => "rounds.precopy",
            Self::SyncRounds => "rounds.sync",
            Self::Downtime => "downtime",
            Self::TotalTime => "total",
            Self::LostEvents => "lost-events",
        }
    }

    /// The name for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Present => "is there",
            Self::Lost => "lost pages",
            Self::Violations => "violations",
            Self::Ok => "check passed",
            Self::ContentRecall => "changed pages in the dirty log",
            Self::EventRecall => "written pages with an event",
            Self::Converged => "converged",
            Self::SkipAll => "skipped, all blocks",
            Self::SkipResident => "skipped, resident blocks",
            Self::Sent => "bytes sent",
            Self::Resent => "bytes sent again",
            Self::Wire => "bytes on the wire",
            Self::PrecopyRounds | Self::SyncRounds => "rounds",
            Self::Downtime => "downtime",
            Self::TotalTime => "total time",
            Self::LostEvents => "lost events",
        }
    }

    /// True if more of it is better.
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::Present | Self::Ok | Self::ContentRecall | Self::EventRecall | Self::Converged => true,
            // A sync that is missing was not done; a round of precopy more is time and bytes.
            Self::SkipAll | Self::SkipResident | Self::SyncRounds => true,
            Self::Lost | Self::Violations | Self::LostEvents => false,
            Self::Sent | Self::Resent | Self::Wire | Self::PrecopyRounds | Self::Downtime | Self::TotalTime => false,
        }
    }

    /// How a change of it is measured.
    #[must_use]
    pub fn measure(self) -> Measure {
        match self {
            Self::Present | Self::Lost | Self::Violations | Self::Ok => Measure::Strict,
            Self::ContentRecall | Self::EventRecall | Self::Converged => Measure::Strict,
            Self::SkipAll | Self::SkipResident => Measure::Points,
            Self::Sent | Self::Resent | Self::Wire | Self::LostEvents => Measure::Relative,
            Self::PrecopyRounds | Self::SyncRounds | Self::Downtime | Self::TotalTime => Measure::Relative,
        }
    }

    /// What it belongs to.
    #[must_use]
    pub fn group(self) -> Group {
        match self {
            Self::Present => Group::Present,
            Self::Lost => Group::Lost,
            Self::Violations | Self::Ok | Self::ContentRecall | Self::EventRecall => Group::Check,
            Self::SkipAll | Self::SkipResident => Group::Skip,
            Self::Sent | Self::Resent | Self::Wire => Group::Bytes,
            Self::Converged | Self::PrecopyRounds | Self::SyncRounds | Self::Downtime | Self::TotalTime => Group::Course,
            Self::LostEvents => Group::Events,
        }
    }
}

impl Group {
    /// The name for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Present => "everything is there",
            Self::Lost => "lost pages",
            Self::Check => "check of the trace",
            Self::Skip => "skip rates",
            Self::Bytes => "bytes",
            Self::Course => "rounds and times",
            Self::Events => "lost events",
        }
    }
}
