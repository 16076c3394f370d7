//! Pure renderers: a [`Report`] goes in; HTML, SVG, PNG, Markdown, CSV and JSON come out.
//!
//! Nothing here reads a trace, runs a replay, or looks at the clock or the machine. The same report gives the same bytes
//! everywhere. [`view`] puts numbers into words once for all formats; [`figures`] draws; [`write()`] is the only function that
//! touches a file. [`compare`] holds two reports against each other.

pub mod claims;
pub mod compare;
mod csv;
pub mod figures;
pub mod format;
mod html;
mod json;
mod markdown;
pub mod model;
pub mod view;
mod write;

pub use csv::csv;
pub use html::html;
pub use json::json;
pub use markdown::markdown;
pub use model::{GridRate, LinkOutcome, Provenance, Report, TraceReport};
pub use write::{FileFormat, ReportError, write};
