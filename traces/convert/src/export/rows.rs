//! The rows of both tables, as cells under named columns.

use pagesieve_core::policy::DeferReason;
use pagesieve_core::{Access, AccessKind, Action, Decision, Encoding, Epoch, Gfn, Nanos, Origin, SkipReason};

/// Which table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// `events`: a row for each access event.
    #[default]
    Events,
    /// `verdicts`: a row for each verdict of a replay on a block.
    Verdicts,
}

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of 64 bits without sign.
    Long,
    /// A number of 32 bits without sign.
    Int,
    /// One of a few words.
    Word,
    /// A word or nothing.
    OptionalWord,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in every format.
    pub name: &'static str,
    /// What its cells are.
    pub kind: Kind,
}

/// A cell of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Under a column of [`Kind::Long`].
    Long(u64),
    /// Under a column of [`Kind::Int`].
    Int(u32),
    /// Under a column of words.
    Word(&'static str),
    /// Nothing, under a column that allows it.
    Nothing,
}

impl Rows {
    /// The columns, in their order.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        const fn column(name: &'static str, kind: Kind) -> Column {
            Column { name, kind }
        }
        const EVENTS: [Column; 7] = [
            column("time_ns", Kind::Long),
            column("epoch", Kind::Int),
            column("gfn", Kind::Long),
            column("kind", Kind::Word),
            column("origin", Kind::Word),
            column("cpu", Kind::Int),
            column("tid", Kind::Int),
        ];
        const VERDICTS: [Column; 9] = [
            column("time_ns", Kind::Long),
            column("round", Kind::Int),
            column("epoch", Kind::Int),
            column("block", Kind::Int),
            column("gfn", Kind::Long),
            column("pages", Kind::Long),
            column("verdict", Kind::Word),
            column("reason", Kind::OptionalWord),
            column("encoding", Kind::OptionalWord),
        ];
        match self {
            Rows::Events => &EVENTS,
            Rows::Verdicts => &VERDICTS,
        }
    }
}

/// A row of one of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Of the table of events.
    Event(EventRow),
    /// Of the table of verdicts.
    Verdict(VerdictRow),
}

/// An access event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The epoch whose frame holds it.
    pub epoch: Epoch,
    /// The event.
    pub access: Access,
}

/// What a replay decided about a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictRow {
    /// When, in the time of the replay.
    pub time: Nanos,
    /// The round, from 0.
    pub round: u32,
    /// The epoch in progress.
    pub epoch: Epoch,
    /// Number of the block. It is good for one table of memory slots; `first` names it for ever.
    pub block: u32,
    /// Its first page.
    pub first: Gfn,
    /// How many pages it has.
    pub pages: u64,
    /// `sent`, `skipped` or `deferred`.
    pub verdict: &'static str,
    /// Why it was skipped or deferred.
    pub reason: Option<&'static str>,
    /// In which form it was sent: `raw` or `smallest`; or `zero` for a marker that it is zero, which counts as skipped.
    pub encoding: Option<&'static str>,
}

impl VerdictRow {
    /// The row of an action, if the action is a verdict.
    #[must_use]
    pub fn of(decision: &Decision) -> Option<Self> {
        let (block, word, reason, encoding) = match &decision.action {
            Action::Send { block, encoding: Encoding::Raw } => (block, "sent", None, Some("raw")),
            Action::Send { block, encoding: Encoding::Smallest } => (block, "sent", None, Some("smallest")),
            // A marker without data; the engine's own account calls that a skip, too.
            Action::SendZero(block) => (block, "skipped", Some("zero"), Some("zero")),
            Action::Skip { block, reason } => (block, "skipped", Some(skip_reason(*reason)), None),
            Action::Defer { block, reason } => (block, "deferred", Some(defer_reason(*reason)), None),
            _ => return None,
        };
        Some(Self {
            time: decision.time,
            round: decision.round,
            epoch: decision.epoch,
            block: block.index,
            first: Gfn(decision.pages.start),
            pages: decision.pages.end - decision.pages.start,
            verdict: word,
            reason,
            encoding,
        })
    }
}

impl Row {
    /// Replaces the cells by those of this row, in the order of the columns.
    pub fn cells(&self, cells: &mut Vec<Cell>) {
        cells.clear();
        match self {
            Row::Event(EventRow { epoch, access }) => cells.extend([
                Cell::Long(access.time.0),
                Cell::Int(epoch.0),
                Cell::Long(access.gfn.0),
                Cell::Word(kind(access.kind)),
                Cell::Word(origin(access.origin)),
                Cell::Int(access.cpu.into()),
                Cell::Int(access.tid),
            ]),
            Row::Verdict(row) => cells.extend([
                Cell::Long(row.time.0),
                Cell::Int(row.round),
                Cell::Int(row.epoch.0),
                Cell::Int(row.block),
                Cell::Long(row.first.0),
                Cell::Long(row.pages),
                Cell::Word(row.verdict),
                row.reason.map_or(Cell::Nothing, Cell::Word),
                row.encoding.map_or(Cell::Nothing, Cell::Word),
            ]),
        }
    }
}

fn kind(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
        AccessKind::Exec => "exec",
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::User => "user",
        Origin::Kernel => "kernel",
        Origin::Gup => "gup",
    }
}

fn skip_reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Unpopulated => "unpopulated",
        SkipReason::Unchanged => "unchanged",
        SkipReason::Zero => "zero",
        SkipReason::SameContent => "same_content",
        SkipReason::PresumedUnused => "presumed_unused",
    }
}

fn defer_reason(reason: DeferReason) -> &'static str {
    match reason {
        DeferReason::Hot => "hot",
        DeferReason::WillBeWritten => "will_be_written",
    }
}
