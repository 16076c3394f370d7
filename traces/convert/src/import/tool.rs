//! The tools whose output is understood, and how to tell them apart.

use std::io::{Read, Seek, SeekFrom};

use pagesieve_core::{MemSlot, Nanos};
use pagesieve_traces::{EventSource, Header, Machine, Target};

use super::{Counts, ImportError, ImportOptions, lackey, perf};
use crate::whole::TOOL;

/// Bytes at the beginning of a recording by which its tool is told.
const BEGINNING: u64 = 64 << 10;

/// What is wrong if perf's lines have no address.
pub(super) const NO_ADDRESSES: &str = "its lines have no address: record with `perf record -d --sample-cpu -e page-faults -c 1`, and print with \
                                       `perf script --ns -F comm,pid,tid,cpu,time,event,addr,ip`";

/// A tool whose output can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `perf`: text of `perf script` over page faults.
    Perf,
    /// `damo`: records of DAMON in JSON.
    Damo,
    /// `lackey`: valgrind's trace of memory accesses.
    Lackey,
}

impl Tool {
    /// All of them.
    pub const ALL: [Tool; 3] = [Tool::Perf, Tool::Damo, Tool::Lackey];

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tool::Perf => "perf",
            Tool::Damo => "damo",
            Tool::Lackey => "lackey",
        }
    }

    /// Length of an epoch, unless another one is asked for.
    pub(super) fn epoch(self) -> Nanos {
        match self {
            Tool::Perf | Tool::Damo => Nanos::SECOND,
            Tool::Lackey => Nanos::MILLISECOND,
        }
    }

    /// How to make a recording that can be used.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Tool::Perf => {
                "record with `perf record -d --sample-cpu -e page-faults -c 1 -p PID`, and print with \
                 `perf script --ns -F comm,pid,tid,cpu,time,event,addr,ip > FILE`"
            }
            Tool::Damo => {
                "no region was found accessed; record longer with `damo record`, and print with `damo report access --json`"
            }
            Tool::Lackey => "record with `valgrind --tool=lackey --trace-mem=yes --log-file=FILE PROGRAM`",
        }
    }

    /// What the first note of the trace says.
    pub(super) fn note(self) -> &'static str {
        match self {
            Tool::Perf => {
                "imported from perf: nothing proves a page clean, so all pages are unknown in every epoch; events are page faults, \
                 and the kind of access is read where perf does not tell"
            }
            Tool::Damo => {
                "imported from damo: nothing proves a page clean, so all pages are unknown in every epoch; an event says that \
                 the page's region was found accessed, its kind is not known and stands as read"
            }
            Tool::Lackey => {
                "imported from valgrind's lackey: times count instructions, one for a nanosecond; the dirty log holds the stores of \
                 the program, but not what the kernel writes in system calls, nor memory that is mapped or dropped"
            }
        }
    }

    pub(super) fn header(self, counts: &Counts, options: &ImportOptions, epoch: Nanos, slots: &[MemSlot]) -> Header {
        let pid = options.pid.or_else(|| counts.processes.keys().next().copied()).unwrap_or(0);
        let clock = match self {
            Tool::Perf => "perf",
            Tool::Damo => "damo",
            Tool::Lackey => "instructions",
        };
        Header {
            tool: TOOL.to_owned(),
            created: 0,
            clock: clock.to_owned(),
            machine: Machine { cpu: "unknown".to_owned(), kernel: "unknown".to_owned(), ..Machine::default() },
            source: EventSource::Imported,
            hooks: counts.hooks.clone(),
            arming: "none".to_owned(),
            target: Target {
                kind: "process".to_owned(),
                pid,
                command: counts.command.clone().unwrap_or_else(|| format!("recorded by {}", self.name())),
            },
            class: options.class.clone(),
            epoch_length: epoch,
            fingerprints: false,
            fingerprint_key: None,
            slots: slots.to_vec(),
        }
    }
}

/// A name that no tool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such tool; use perf, damo or lackey")]
pub struct UnknownTool;

impl std::str::FromStr for Tool {
    type Err = UnknownTool;

    fn from_str(name: &str) -> Result<Self, UnknownTool> {
        Self::ALL.into_iter().find(|tool| tool.name() == name).ok_or(UnknownTool)
    }
}

/// The first bytes of the input.
pub(super) fn beginning<R: Read + Seek>(input: &mut R) -> Result<Vec<u8>, ImportError> {
    let mut bytes = Vec::new();
    input.seek(SeekFrom::Start(0)).map_err(ImportError::Input)?;
    input.take(BEGINNING).read_to_end(&mut bytes).map_err(ImportError::Input)?;
    Ok(bytes)
}

/// The tool by the first bytes of its output.
pub(super) fn guess(bytes: &[u8]) -> Result<Tool, ImportError> {
    if bytes.is_empty() {
        return Err(ImportError::Form("the file is empty"));
    }
    if bytes.starts_with(b"PERFILE2") {
        let advice = "this is perf's own file; print it with \
                      `perf script --ns -F comm,pid,tid,cpu,time,event,addr,ip > FILE` and import that";
        return Err(ImportError::Form(advice));
    }
    if bytes.starts_with(b"\x93PSTR") {
        return Err(ImportError::Form("this is a trace already; nothing has to be imported"));
    }
    if is_zlib(bytes) {
        return Ok(Tool::Damo);
    }
    let text = String::from_utf8_lossy(bytes);
    if text.trim_start().starts_with('[') {
        let is_damo = text.contains("\"snapshots\"") || text.contains("\"target_id\"");
        return if is_damo { Ok(Tool::Damo) } else { Err(ImportError::Unclear("it is JSON, but has none of damo's keys")) };
    }
    // The last line may be cut in the middle.
    let lines = || bytes.split(|&byte| byte == b'\n');
    let is_perf = lines().any(perf::is_fault);
    let is_lackey = lines().any(lackey::is_access);
    match (is_perf, is_lackey) {
        (true, false) => Ok(Tool::Perf),
        (false, true) => Ok(Tool::Lackey),
        (true, true) => Err(ImportError::Unclear("it has lines of two of them")),
        (false, false) => Err(ImportError::Unclear("none of its first lines is like theirs")),
    }
}

/// The two bytes at the beginning of a zlib stream with the largest window, by the level of compression.
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..])
}
