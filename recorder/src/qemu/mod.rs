//! A QEMU guest: its memory, its monitor, and how it is brought to a rest.
//!
//! A guest differs from any other process in three ways. Its pages have numbers of their own, those of the guest. Only its RAM
//! counts, not QEMU's own memory. And it can be stopped from within: `stop` over QMP halts the virtual CPUs *and waits for the
//! disk I/O in flight*, which no stop of the process's threads can do.

mod capabilities;
mod error;
mod find;
mod guard;
mod guess;
mod incoming;
mod memory;
mod migration;
mod qmp;
mod ram_layout;
mod standstill;

use std::ops::Range;
use std::path::Path;

use pagesieve_core::{Gfn, PAGE_SHIFT};
use serde_json::json;

pub use error::StateError;
pub use find::{Find, FindError, find};
pub use incoming::Incoming;
pub use migration::{DeviceState, StateLimits};
pub use qmp::QmpError;
pub use ram_layout::{RamLayout, RamPart};

use crate::maps::{self, Mapping, Wanted};
use guard::Guard;
pub(crate) use memory::GuestRam;
use qmp::{Event, Qmp};
use standstill::Monitor;

/// A guest under observation.
pub(crate) struct Guest {
    ram: Vec<GuestRam>,
    monitor: Option<Monitor>,
}

impl Guest {
    /// Connects to a monitor. Also returns the process at its other end.
    pub(crate) fn by_monitor(socket: &Path) -> Result<(Self, Option<u32>), QmpError> {
        let mut qmp = Qmp::connect(socket)?;
        let ram = memory::ask(&mut qmp)?;
        let peer = qmp.peer();
        let guard = Guard::start(socket)?;
        Ok((Self { ram, monitor: Some(Monitor::new(qmp, guard)) }, peer))
    }

    /// Looks whether a process is a QEMU whose guest memory can be told from outside. `None` if it is no QEMU; the reason if it is
    /// one, but its memory is not certain.
    pub(crate) fn of_process(pid: u32) -> Option<Result<Self, String>> {
        let arguments = crate::process::arguments(pid);
        if !guess::is_qemu(&arguments) {
            return None;
        }
        let mappings = maps::read(pid).unwrap_or_default();
        Some(guess::guess(&arguments, &mappings).map(|ram| Self { ram, monitor: None }))
    }

    /// True if all of its memory is mapped in this process.
    pub(crate) fn lives_in(&self, mappings: &[Mapping]) -> bool {
        let mapped =
            |part| mappings.iter().filter_map(move |mapping| overlap(part, mapping)).map(|range| range.end - range.start);
        self.ram.iter().all(|part| mapped(part).sum::<u64>() == part.len())
    }

    /// Bytes of its memory that cannot be tracked soundly: mapped in a way that is not followed, or not at all.
    pub(crate) fn untrackable(&self, mappings: &[Mapping]) -> u64 {
        let tracked: u64 = self.wanted(mappings).iter().map(|part| part.range.end - part.range.start).sum();
        self.ram.iter().map(GuestRam::len).sum::<u64>() - tracked
    }

    /// One past the last guest frame.
    pub(crate) fn frame_end(&self) -> u64 {
        self.ram.iter().map(|part| part.gpa + part.len()).max().unwrap_or(0) >> PAGE_SHIFT
    }

    /// Looks again where its memory is. Returns a line for everything that happened to the guest since the last call.
    pub(crate) fn refresh(&mut self) -> Vec<String> {
        let Some(monitor) = &mut self.monitor else { return Vec::new() };
        let asked = monitor.qmp.take_events().and_then(|events| Ok((events, ask_patiently(&mut monitor.qmp)?)));
        let (events, ram) = match asked {
            Ok(answer) => answer,
            Err(error) => {
                self.monitor = None;
                return vec![format!("the monitor is lost: failed to {error}; the guest is no longer stopped by it")];
            }
        };
        let mut lines: Vec<_> = events.iter().filter(|event| !is_ours(&mut monitor.ours, event)).filter_map(told).collect();
        // The events of a command come before its answer, so what has not come by now will not come.
        monitor.ours.clear();
        lines.extend(difference(&self.ram, &ram, "removed"));
        lines.extend(difference(&ram, &self.ram, "added"));
        self.ram = ram;
        lines
    }

    /// What a destination must agree with.
    pub(crate) fn ram_layout(&mut self) -> Result<RamLayout, StateError> {
        let monitor = self.monitor.as_mut().ok_or(StateError::NotHeld)?;
        let status = monitor.qmp.execute("query-status", json!({}))?;
        if status["status"] == "postmigrate" && !monitor.taken {
            return Err(StateError::Gone);
        }
        RamLayout::ask(&mut monitor.qmp)
    }

    /// The parts of its memory, as far as they are mapped.
    pub(crate) fn wanted<'a>(&self, mappings: &'a [Mapping]) -> Vec<Wanted<'a>> {
        let parts = self.ram.iter().flat_map(|part| mappings.iter().map(move |mapping| (part, mapping)));
        parts
            .filter_map(|(part, mapping)| {
                let range = overlap(part, mapping)?;
                let backing = mapping.backing()?;
                let base = part.base().0 + ((range.start - part.hva.start) >> PAGE_SHIFT);
                Some(Wanted { mapping, range, backing, base: Some(Gfn(base)), numa_node: part.numa_node })
            })
            .collect()
    }

    /// What is observed, in words.
    pub(crate) fn describe(&self) -> String {
        let mib = self.ram.iter().map(GuestRam::len).sum::<u64>() >> 20;
        let how =
            if self.monitor.is_some() { "by its monitor" } else { "by its command line; it has no monitor to stop it with" };
        format!("QEMU guest, {mib} MiB in {} parts, found {how}", self.ram.len())
    }
}

/// Asks where the memory is. Memory that is unplugged between two questions makes no sense of the answers, so ask again then.
fn ask_patiently(qmp: &mut Qmp) -> Result<Vec<GuestRam>, QmpError> {
    const TRIES: u32 = 3;
    let mut asked = memory::ask(qmp);
    for _ in 1..TRIES {
        if !matches!(asked, Err(QmpError::Refused { .. } | QmpError::Nonsense { .. })) {
            break;
        }
        asked = memory::ask(qmp);
    }
    asked
}

fn overlap(part: &GuestRam, mapping: &Mapping) -> Option<Range<u64>> {
    let range = part.hva.start.max(mapping.start)..part.hva.end.min(mapping.end);
    (range.start < range.end).then_some(range)
}

fn is_ours(ours: &mut Vec<&'static str>, event: &Event) -> bool {
    let known = ours.iter().position(|name| *name == event.name);
    known.map(|index| ours.remove(index)).is_some()
}

/// Events worth a line in the trace.
fn told(event: &Event) -> Option<String> {
    let text = match event.name.as_str() {
        "RESET" => "the guest was reset",
        "SHUTDOWN" => "the guest was shut down",
        "GUEST_PANICKED" => "the guest's kernel panicked",
        "STOP" => "the guest was stopped",
        "RESUME" => "the guest went on",
        _ => return None,
    };
    Some(text.to_owned())
}

/// The parts that are in the first list only.
fn difference<'a>(these: &'a [GuestRam], those: &'a [GuestRam], what: &'a str) -> impl Iterator<Item = String> + 'a {
    let missing = these.iter().filter(|part| !those.contains(part));
    missing.map(move |part| format!("{} MiB of memory {what}: {} at {:#x}", part.len() >> 20, part.backend, part.gpa))
}

#[cfg(test)]
mod tests;
