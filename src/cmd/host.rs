//! A QEMU that waits, as the home of a guest for `serve`.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use pagesieve_core::{PAGE_SHIFT, PageBitmap};
use pagesieve_live::serve::{GuestHost, Hosts, ResumeError};
use pagesieve_live::wire::Slot;
use pagesieve_recorder::live::{DestinationRam, DeviceState, Incoming};

/// How long QEMU may take to load the devices.
const LOADING: Duration = Duration::from_secs(60);

/// The homes of these guests: names, and monitors of QEMUs that wait.
pub(super) fn hosts(guests: Vec<(String, PathBuf)>) -> Box<Hosts> {
    Box::new(move |name| {
        let Some((_, socket)) = guests.iter().find(|(known, _)| known == name) else {
            return Err(format!("no guest called {name:?} is expected here; give its monitor with --guest {name}=SOCKET"));
        };
        let mut incoming = Incoming::connect(socket).map_err(|error| error.to_string())?;
        let ram = incoming.ram(None).map_err(|error| error.to_string())?;
        Ok(Box::new(Waiting { incoming, ram }))
    })
}

struct Waiting {
    incoming: Incoming,
    ram: DestinationRam,
}

impl GuestHost for Waiting {
    fn check(&mut self, slots: &[Slot]) -> Result<(), String> {
        let parts = &self.incoming.layout().parts;
        let there = merged(parts.iter().map(|part| part.gpa >> PAGE_SHIFT..(part.gpa + part.len) >> PAGE_SHIFT));
        if there == merged(slots.iter().map(|slot| slot.first..slot.first + slot.pages)) {
            return Ok(());
        }
        Err(format!("the QEMU here has other memory ({}); start it with the guest's machine and memory", self.incoming.layout()))
    }

    fn populated(&mut self) -> PageBitmap {
        self.ram.populated()
    }

    fn read(&mut self, frames: Range<u64>, into: &mut [u8]) -> io::Result<()> {
        self.ram.read(frames, into)
    }

    fn write(&mut self, frames: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        self.ram.write(frames, bytes)
    }

    fn zero(&mut self, frames: Range<u64>) -> io::Result<()> {
        self.ram.zero(frames)
    }

    fn load(&mut self, device_state: &[u8]) -> Result<(), String> {
        self.incoming.load(&DeviceState(device_state.to_vec()), LOADING).map_err(|error| error.to_string())
    }

    fn resume(&mut self) -> Result<(), ResumeError> {
        self.incoming.resume().map_err(|error| {
            let why = error.to_string();
            if error.is_refusal() { ResumeError::Refused(why) } else { ResumeError::Unknown(why) }
        })
    }
}

/// Ranges in rising order; those that touch are one.
fn merged(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => merged.push(range),
        }
    }
    merged
}
