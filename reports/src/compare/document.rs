//! Reading what is compared: the documents of `report`, `replay`, `sweep` and `verify`.
//!
//! Only what is compared is read, so that a document of any minor version will do. All of them become the same thing: traces, and
//! for each the parts with their quantities.

use pagesieve_core::summary::Schema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::shapes::{Replay, Summary, Sweep, Verify};
use super::trace::Trace;

/// The major version that is understood, of all these documents.
const MAJOR: u32 = 1;

/// What is taken, for people.
const TAKEN: &str = "`compare` takes the summary.json of `report` and what `replay --json`, `sweep --format json` and \
                     `verify --json` print";

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Name and version of the document.
    pub schema: Schema,
    /// Name and version of the program that made it, if the document says.
    pub tool: Option<String>,
    /// The command line that made it, if the document says.
    pub command: Option<String>,
    /// The traces in their order.
    pub traces: Vec<Trace>,
}

/// Why a document cannot be compared. Completes "failed to read FILE: ".
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is nothing in the file.
    #[error("the file is empty; make it again")]
    Empty,
    /// It begins as JSON and ends too early.
    #[error("it ends in the middle, at line {line}; it was cut short: make it again")]
    CutShort {
        /// The last line.
        line: usize,
    },
    /// It is something else.
    #[error("it is no JSON (line {line}, column {column}); {TAKEN}")]
    NoJson {
        /// Where it stops to be.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// It is JSON of somebody else.
    #[error("it is JSON, but no document of pagesieve: there is no `schema`; {TAKEN}")]
    NoSchema,
    /// It is a document of ours that has nothing to compare.
    #[error("it is a {name}, which holds nothing to compare; {TAKEN}")]
    OtherSchema {
        /// Name of the schema.
        name: String,
    },
    /// A later major version.
    #[error("it is {name} {version}, made by a newer pagesieve, and this one reads {MAJOR}.x; update pagesieve")]
    TooNew {
        /// Name of the schema.
        name: String,
        /// Its version.
        version: String,
    },
    /// A version that never was, or is not understood any more.
    #[error("it is {name} {version}, and this pagesieve reads {MAJOR}.x; make it again from the trace")]
    OtherVersion {
        /// Name of the schema.
        name: String,
        /// Its version.
        version: String,
    },
    /// Documents of several kinds in one array.
    #[error("it holds documents of several kinds, {one} and {other}; put them into a file each")]
    Mixed {
        /// A kind.
        one: String,
        /// Another one.
        other: String,
    },
    /// Something that the schema promises is not there.
    #[error("it says that it is a {name}, but {error}; make it again")]
    Shape {
        /// Name of the schema.
        name: String,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// Not a single trace.
    #[error("there is no trace in it, so there is nothing to compare; make it again with traces")]
    NoTraces,
}

#[derive(Deserialize)]
struct Head {
    schema: Schema,
}

impl Document {
    /// Reads a document, or an array of documents of one kind.
    ///
    /// # Errors
    /// [`ReadError`]: it is none, or one that this version does not know.
    pub fn read(text: &str) -> Result<Self, ReadError> {
        if text.trim().is_empty() {
            return Err(ReadError::Empty);
        }
        let json: Json = serde_json::from_str(text).map_err(|error| match error.is_eof() {
            true => ReadError::CutShort { line: error.line() },
            false => ReadError::NoJson { line: error.line(), column: error.column() },
        })?;
        let parts = match json {
            Json::Array(parts) if parts.is_empty() => return Err(ReadError::NoTraces),
            Json::Array(parts) => parts,
            one => vec![one],
        };
        let schema = common_schema(&parts)?;
        let (head, traces) = match schema.name.as_str() {
            "pagesieve.summary" => {
                let reports: Vec<Summary> = shaped(&schema, parts)?;
                let head = reports.first().map(|report| (report.tool.clone(), report.command.clone()));
                (head, reports.into_iter().flat_map(|report| report.traces).map(Trace::from).collect())
            }
            "pagesieve.sweep" => {
                let sweeps: Vec<Sweep> = shaped(&schema, parts)?;
                (None, by_trace(sweeps.into_iter().flat_map(|sweep| sweep.rows).map(Trace::from)))
            }
            "pagesieve.replay" => (None, by_trace(shaped::<Replay>(&schema, parts)?.into_iter().map(Trace::from))),
            "pagesieve.verify" => (None, shaped::<Verify>(&schema, parts)?.into_iter().map(Trace::from).collect()),
            _ => return Err(ReadError::OtherSchema { name: schema.name }),
        };
        if traces.is_empty() {
            return Err(ReadError::NoTraces);
        }
        let (tool, command) = head.unwrap_or_default();
        Ok(Self { schema, tool, command, traces })
    }
}

/// The schema that all of the documents have, if they have one and it is understood.
fn common_schema(parts: &[Json]) -> Result<Schema, ReadError> {
    let mut common: Option<Schema> = None;
    for part in parts {
        let Ok(Head { schema }) = Head::deserialize(part) else { return Err(ReadError::NoSchema) };
        let Schema { name, version } = schema.clone();
        if !name.starts_with("pagesieve.") {
            return Err(ReadError::NoSchema);
        }
        match version.split_once('.').and_then(|(major, _)| major.parse::<u32>().ok()) {
            Some(MAJOR) => {}
            Some(major) if major > MAJOR => return Err(ReadError::TooNew { name, version }),
            _ => return Err(ReadError::OtherVersion { name, version }),
        }
        match &common {
            Some(first) if first.name != name => return Err(ReadError::Mixed { one: first.name.clone(), other: name }),
            Some(_) => {}
            None => common = Some(schema),
        }
    }
    common.ok_or(ReadError::NoTraces)
}

fn shaped<T: DeserializeOwned>(schema: &Schema, parts: Vec<Json>) -> Result<Vec<T>, ReadError> {
    let shape = |part| serde_json::from_value(part).map_err(|error| ReadError::Shape { name: schema.name.clone(), error });
    parts.into_iter().map(shape).collect()
}

/// One entry for each trace, in the order in which they come. What is said of a name a second time is said of another trace of
/// that name.
fn by_trace(parts: impl Iterator<Item = Trace>) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::new();
    for part in parts {
        let has = |trace: &Trace| part.items.iter().any(|item| trace.items.iter().any(|other| other.part == item.part));
        match traces.iter_mut().rev().find(|trace| trace.name == part.name) {
            Some(trace) if !has(trace) => trace.items.extend(part.items),
            _ => traces.push(part),
        }
    }
    traces
}
