//! Tools for traces: cut a part out, join recordings of one guest, export rows for other programs, import what other tools saw.
//!
//! Everything reads its input frame by frame or line by line: memory is that of the guest's pages and of one epoch, and does not
//! grow with the length of the input. What the user sees of it is described in `traces/TOOLS.md`.
//!
//! [`cut()`] and [`merge()`] make traces of traces: what the input could not prove, the output cannot prove either. [`export`]
//! writes access events, or the verdicts of a replay, as CSV, JSON lines, Parquet or Chrome trace events. [`import()`] makes a trace
//! of the output of perf, damo or valgrind's lackey, and claims no more about it than these tools saw.
#![forbid(unsafe_code)]

pub mod cut;
pub mod export;
pub mod import;
pub mod merge;

mod whole;

pub use cut::{Cut, CutError, Selection, cut};
pub use export::{ExportError, Exported, Format, Rows, export_events, export_verdicts};
pub use import::{ImportError, ImportOptions, Imported, Tool, import};
pub use merge::{MergeError, Merged, Part, merge};
pub use whole::is_cut_off;
