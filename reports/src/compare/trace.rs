//! What is compared: a trace, and its quantities part by part.

use super::part::Part;
use super::quantity::{Quantity, Value};
use super::recording::Recording;

/// What a document says about a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// File name of the trace without the folder.
    pub name: String,
    /// Workload class.
    pub class: Option<String>,
    /// What does not depend on the program.
    pub recording: Recording,
    /// Replays, grid and check.
    pub items: Vec<Item>,
}

/// What a document says about a part of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Which part.
    pub part: Part,
    /// Its quantities; what does not apply or is not known is not there.
    pub values: Vec<(Quantity, Value)>,
}
