//! Makes traces of what other tools saw: perf, damo and valgrind's lackey.
//!
//! None of them proves that a page was *not* written, so an imported trace claims less than a recorded one:
//!
//! - Every page of the memory slots counts as populated: nothing proves that a page is zero.
//! - perf and damo: every page is unknown (not armed) in every epoch. Their events say when memory was used, and nothing else.
//! - lackey sees each store of the program, so its dirty log is the pages stored to. It does not see what the kernel writes for the
//!   program in system calls, nor memory that is mapped or dropped; a note in the trace says so.
//! - There are no page summaries, so `verify` has no contents to compare.
//!
//! The input is read twice: once to learn which pages there are, and once to write the epochs. Memory is that of the distinct pages
//! and of one epoch, and an epoch with very many events is cut into several frames.
//!
//! Memory slots are the ranges of touched pages. Ranges that lie close together become one slot, so that there are few. Guest
//! frames count from 0 in the order of addresses, without gaps.

mod damo;
mod frames;
mod lackey;
mod lines;
mod perf;
mod slots;
mod tool;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use pagesieve_core::{AccessKind, Nanos, Origin};
use pagesieve_traces::WriteError;
use serde::Serialize;

use frames::Frames;
use slots::{Layout, Touched};
pub use tool::{Tool, UnknownTool};

/// Choices of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Which tool wrote the input. `None`: it is told by the first lines, if they leave no doubt.
    pub from: Option<Tool>,
    /// Length of an epoch. `None`: a second, and for lackey a million instructions.
    pub epoch: Option<Nanos>,
    /// Workload class for the header.
    pub class: Option<String>,
    /// perf: only this process.
    pub pid: Option<u32>,
}

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Which tool wrote the input.
    pub tool: &'static str,
    /// Lines read; for damo snapshots.
    pub lines: u64,
    /// Lines that became accesses; for damo regions that were found accessed.
    pub used: u64,
    /// Lines that are none of the tool's, or damaged.
    pub malformed: u64,
    /// Lines of the tool that say nothing of memory.
    pub other: u64,
    /// Accesses to addresses that no program can have.
    pub outside: u64,
    /// Accesses that came later than others of a later epoch. They count as lost events.
    pub late: u64,
    /// Events that the tool itself lost, as far as it says so.
    pub lost: u64,
    /// Frames written.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Memory slots.
    pub slots: u64,
    /// Pages in them.
    pub pages: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Why nothing can be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The input cannot be read.
    #[error("read the recording: {0}")]
    Input(#[source] io::Error),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Nobody can tell by which tool it is.
    #[error("tell which tool wrote this: {0}; say it with --from perf, damo or lackey")]
    Unclear(&'static str),
    /// It is in a form that this tool has for itself.
    #[error("read the recording: {0}")]
    Form(&'static str),
    /// Not one line can be used.
    #[error("read the recording: {lines} lines, and none that tells of a page; {advice}")]
    Nothing {
        /// Lines read.
        lines: u64,
        /// How to record so that there are some.
        advice: &'static str,
    },
    /// The recording is of several address spaces.
    #[error(
        "read the recording: it is of {count} processes ({most}), and their addresses are not the same memory; name one with --pid"
    )]
    Processes {
        /// How many.
        count: usize,
        /// Those with the most lines, in words.
        most: String,
    },
    /// The process that was asked for is not in it.
    #[error("read the recording: no line is of process {0}; look which ones are there, or leave out --pid")]
    NoSuchProcess(u32),
    /// damo: several targets.
    #[error("read the recording: it is of {0} targets, and their addresses are not the same memory; record one target alone")]
    Targets(usize),
    /// The text is no JSON, or not of the expected form.
    #[error(
        "read the recording: {0}; give the output of `damo report access --json`, or a record in the form json or json_compressed"
    )]
    Json(#[source] serde_json::Error),
    /// More memory than a replay can hold.
    #[error("read the recording: it touches more than {} GiB; record a smaller target", pagesieve_core::Blocks::MAX_FRAMES >> 18)]
    TooLarge,
    /// Too long without a line.
    #[error("read the recording: nothing for {0} epochs; choose longer ones with --epoch, or look whether its times are damaged")]
    Jump(u64),
}

/// An access, or a range of pages of which the tool says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Nanoseconds by the clock of the tool.
    pub(crate) time: u64,
    /// First byte.
    pub(crate) start: u64,
    /// Bytes; at least one.
    pub(crate) length: u64,
    pub(crate) kind: AccessKind,
    pub(crate) origin: Origin,
    pub(crate) cpu: u16,
    pub(crate) tid: u32,
}

/// What a tool's output tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Memory was accessed.
    Access(Seen),
    /// So many events are missing here.
    Lost(u64),
}

/// What is known of the lines when all were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) used: u64,
    pub(crate) malformed: u64,
    pub(crate) other: u64,
    /// Lines without an address, where one is needed.
    pub(crate) addressless: u64,
    /// Lines of each process, if they name it.
    pub(crate) processes: BTreeMap<u32, u64>,
    /// The name of the program, if the lines tell.
    pub(crate) command: Option<String>,
    /// Where the events come from, for the header.
    pub(crate) hooks: Vec<String>,
    /// When it ended, if that is known better than by the last access.
    pub(crate) end: Option<u64>,
}

/// Where a tool's accesses go, one after the other.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Told) -> Result<(), ImportError>;

/// Writes a trace of the recording of another tool. The input is read from its start, twice; `progress` is told the bytes that were
/// read in both passes.
///
/// # Errors
/// See [`ImportError`]. Lines that make no sense are no error but counted, as long as there is one that does.
pub fn import<R: Read + Seek, W: Write>(
    input: &mut R,
    output: W,
    options: &ImportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    let tool = match options.from {
        Some(tool) => tool,
        None => tool::guess(&tool::beginning(input)?)?,
    };
    let mut touched = Touched::default();
    let mut times: Option<(u64, u64)> = None;
    let counts = pass(tool, input, options.pid, progress, 0, &mut |told| {
        let Told::Access(seen) = told else { return Ok(()) };
        let Some(pages) = slots::pages(&seen) else { return Ok(()) };
        let (first, last) = times.get_or_insert((seen.time, seen.time));
        (*first, *last) = ((*first).min(seen.time), (*last).max(seen.time));
        touched.insert(pages)
    })?;
    check_processes(&counts, options.pid)?;
    let Some((start, _)) = times else { return Err(nothing(tool, &counts)) };
    let layout = Layout::of(touched)?;
    let epoch = options.epoch.unwrap_or(tool.epoch());
    let header = tool.header(&counts, options, epoch, layout.slots());
    // lackey counts from its first instruction, whether or not that touches a page.
    let start = if tool == Tool::Lackey { 0 } else { start };
    let mut frames = Frames::new(output, &header, &layout, tool, start)?;
    let length = input.seek(SeekFrom::End(0)).map_err(ImportError::Input)?;
    let counts = pass(tool, input, options.pid, progress, length, &mut |told| frames.take(told))?;
    let mut imported = frames.finish(counts.end)?;
    imported.tool = tool.name();
    (imported.lines, imported.used) = (counts.lines, counts.used);
    (imported.malformed, imported.other) = (counts.malformed + counts.addressless, counts.other);
    (imported.slots, imported.pages) = (layout.slots().len() as u64, layout.pages());
    Ok(imported)
}

/// Reads the whole input once.
fn pass<R: Read + Seek>(
    tool: Tool,
    input: &mut R,
    pid: Option<u32>,
    progress: &mut dyn FnMut(u64),
    before: u64,
    sink: Sink<'_>,
) -> Result<Counts, ImportError> {
    input.seek(SeekFrom::Start(0)).map_err(ImportError::Input)?;
    let input = lines::Counted::new(input, before, progress);
    match tool {
        Tool::Perf => perf::read(input, pid, sink),
        Tool::Damo => damo::read(input, sink),
        Tool::Lackey => lackey::read(input, sink),
    }
}

fn check_processes(counts: &Counts, pid: Option<u32>) -> Result<(), ImportError> {
    if let Some(pid) = pid {
        let known = counts.processes.is_empty() || counts.processes.contains_key(&pid);
        return if known { Ok(()) } else { Err(ImportError::NoSuchProcess(pid)) };
    }
    if counts.processes.len() < 2 {
        return Ok(());
    }
    let mut most: Vec<_> = counts.processes.iter().collect();
    most.sort_by_key(|(_, lines)| std::cmp::Reverse(**lines));
    let most: Vec<_> = most.iter().take(5).map(|(pid, lines)| format!("{pid} with {lines} lines")).collect();
    Err(ImportError::Processes { count: counts.processes.len(), most: most.join(", ") })
}

fn nothing(tool: Tool, counts: &Counts) -> ImportError {
    let advice = if counts.addressless > 0 { tool::NO_ADDRESSES } else { tool.advice() };
    ImportError::Nothing { lines: counts.lines, advice }
}
