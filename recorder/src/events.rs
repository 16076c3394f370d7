//! Events of the kernel program, in the order of their time.

use pagesieve_core::{Access, AccessKind, Gfn, MemSlot, Nanos, Origin};
use pagesieve_ebpf::abi::{self, ControlEvent};
use pagesieve_ebpf::{HookChoice, Tracker, TrackerConfig};
use pagesieve_traces::{EventSource, Lost};

use crate::error::RecordError;
use crate::process::monotonic;

/// Where events may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceChoice {
    /// The kernel program if it can be attached, otherwise none.
    #[default]
    Auto,
    /// The kernel program, or it is an error.
    Ebpf,
    /// No events: only the dirty log.
    PagemapScan,
}

/// Log2 of the step of the trace's clock in nanoseconds. A fault takes longer than these 1024 ns, so what is below says little and
/// would take more than a byte of each event.
const CLOCK_STEP: u32 = 10;

/// Where events come from, and those that were taken from the ring but belong to no frame yet.
pub(crate) struct Events {
    tracker: Option<Tracker>,
    /// `CLOCK_MONOTONIC` at time zero of the trace.
    start: u64,
    accesses: Vec<Access>,
    /// A second copy, for one who wants them as they come.
    fresh: Option<Fresh>,
    control: Vec<(Nanos, ControlEvent)>,
    /// Counters at the last closing.
    counted: Vec<abi::Counters>,
}

/// Accesses that were taken from the ring and not handed on yet.
#[derive(Default)]
struct Fresh {
    accesses: Vec<Access>,
    /// Events lost, as far as that was told.
    lost: u64,
}

impl Events {
    /// Attaches the kernel program if that is wanted and possible. Returns why not, if it falls back.
    pub(crate) fn open(
        pid: u32,
        choice: SourceChoice,
        hooks: HookChoice,
        ring_bytes: u32,
        page_limit: u64,
    ) -> Result<(Self, Option<String>), RecordError> {
        let start = monotonic();
        let config = TrackerConfig { pid, ring_bytes, page_limit, start, hooks, rings: None };
        let (tracker, fallback) = match (choice, Tracker::attach(&config)) {
            (SourceChoice::PagemapScan, _) => (None, None),
            (_, Ok(tracker)) => (Some(tracker), None),
            (SourceChoice::Ebpf, Err(error)) => return Err(RecordError::Attach(error.to_string())),
            (SourceChoice::Auto, Err(error)) => (None, Some(error.to_string())),
        };
        match (&tracker, &fallback) {
            (Some(_), _) => tracing::info!(pid, ring_bytes, page_limit, "events come from the kernel program"),
            (None, Some(reason)) => tracing::info!(pid, reason, "no events, only the dirty log"),
            (None, None) => tracing::info!(pid, "no events, only the dirty log, as it was wished"),
        }
        Ok((Self { tracker, start, accesses: Vec::new(), fresh: None, control: Vec::new(), counted: Vec::new() }, fallback))
    }

    pub(crate) fn source(&self) -> EventSource {
        if self.tracker.is_some() { EventSource::Ebpf } else { EventSource::PagemapScan }
    }

    pub(crate) fn hooks(&self) -> Vec<String> {
        self.tracker.iter().flat_map(|tracker| tracker.hooks().iter().map(pagesieve_ebpf::Hook::name)).collect()
    }

    /// True if discards and forks of the target are reported.
    pub(crate) fn sees_control(&self) -> bool {
        self.tracker.as_ref().is_some_and(Tracker::sees_control)
    }

    /// Time since the start of the recording, in whole steps of the trace's clock.
    pub(crate) fn now(&self) -> Nanos {
        whole_steps(Nanos(monotonic() - self.start))
    }

    /// Tells the kernel program which addresses to report. It holds a bounded number of slots: the largest get events, the
    /// others have the dirty log alone. Returns how many were left out.
    pub(crate) fn set_slots(&mut self, slots: &[MemSlot]) -> Result<usize, String> {
        let Some(tracker) = &mut self.tracker else { return Ok(0) };
        let mut largest = slots.to_vec();
        largest.sort_by_key(|slot| std::cmp::Reverse(slot.pages));
        largest.truncate(abi::MAX_SLOTS as usize);
        let table: Vec<abi::Slot> =
            largest.iter().map(|slot| abi::Slot { start: slot.hva.0, end: slot.hva_end().0, base: slot.base.0 }).collect();
        tracker.set_slots(&table)?;
        Ok(slots.len() - largest.len())
    }

    /// Empties the rings. To be called often: what does not fit is lost.
    pub(crate) fn drain(&mut self) {
        let Some(tracker) = &mut self.tracker else { return };
        let start = self.start;
        let (accesses, mut fresh) = (&mut self.accesses, self.fresh.as_mut());
        tracker.drain(|event| {
            let access = access(&event, start);
            accesses.extend(access);
            if let Some(fresh) = &mut fresh {
                fresh.accesses.extend(access);
            }
        });
        let control = &mut self.control;
        tracker.drain_control(|event| control.push((whole_steps(Nanos(event.time.saturating_sub(start))), event)));
    }

    /// Keeps a second copy of all accesses from here on, for [`Events::take_fresh`].
    pub(crate) fn keep_fresh(&mut self) {
        self.fresh = Some(Fresh { accesses: Vec::new(), lost: self.lost() });
    }

    /// The accesses since the last call, ordered by their exact times, and how many were lost since.
    pub(crate) fn take_fresh(&mut self) -> (Vec<Access>, u64) {
        self.drain();
        let lost = self.lost();
        let Some(fresh) = &mut self.fresh else { return (Vec::new(), 0) };
        let mut taken = std::mem::take(&mut fresh.accesses);
        taken.sort_by_key(|access| access.time);
        (taken, lost - std::mem::replace(&mut fresh.lost, lost))
    }

    /// Access events lost since the start.
    fn lost(&self) -> u64 {
        self.tracker.iter().flat_map(Tracker::counters).map(|counters| counters.lost).sum()
    }

    /// The accesses up to a time, ordered, and what was lost since the last call.
    pub(crate) fn take_until(&mut self, end: Nanos) -> (Vec<Access>, Lost) {
        let (mut taken, left) =
            std::mem::take(&mut self.accesses).into_iter().partition::<Vec<_>, _>(|access| whole_steps(access.time) <= end);
        self.accesses = left;
        // Each CPU fills the ring in its own order; a stable sort by time keeps that where times are equal. Sorted by the exact
        // times, events keep an order that their steps alone would not show.
        taken.sort_by_key(|access| access.time);
        taken.iter_mut().for_each(|access| access.time = whole_steps(access.time));
        let counters = self.tracker.as_ref().map(Tracker::counters).unwrap_or_default();
        let before = std::mem::replace(&mut self.counted, counters.clone());
        let zero = abi::Counters::default();
        let mut lost = Lost::default();
        for (cpu, now) in counters.iter().enumerate() {
            let before = before.get(cpu).unwrap_or(&zero);
            lost.per_cpu.push(now.lost - before.lost);
            lost.control += now.control_lost - before.control_lost;
            lost.outside += now.outside - before.outside;
        }
        (taken, lost)
    }

    /// The control events up to a time, in order.
    pub(crate) fn take_control_until(&mut self, end: Nanos) -> Vec<(Nanos, ControlEvent)> {
        let (mut taken, left) = std::mem::take(&mut self.control).into_iter().partition::<Vec<_>, _>(|(time, _)| *time <= end);
        self.control = left;
        taken.sort_by_key(|(time, _)| *time);
        taken
    }
}

/// A time without its part below the step of the trace's clock.
fn whole_steps(time: Nanos) -> Nanos {
    Nanos(time.0 >> CLOCK_STEP << CLOCK_STEP)
}

/// `None` for an event of a kind that this version does not know.
fn access(event: &abi::AccessEvent, start: u64) -> Option<Access> {
    let kind = match event.kind {
        abi::READ => AccessKind::Read,
        abi::WRITE => AccessKind::Write,
        abi::EXEC => AccessKind::Exec,
        _ => return None,
    };
    let origin = match event.origin {
        abi::USER => Origin::User,
        abi::KERNEL => Origin::Kernel,
        abi::GUP => Origin::Gup,
        _ => return None,
    };
    let time = Nanos(event.time.saturating_sub(start));
    Some(Access { time, gfn: Gfn(event.gfn), kind, origin, cpu: event.cpu, tid: event.tid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_and_ordered_by_their_exact_times_and_given_in_whole_steps() {
        let event = |time, gfn| Access {
            time: Nanos(time),
            gfn: Gfn(gfn),
            kind: AccessKind::Write,
            origin: Origin::User,
            cpu: 0,
            tid: 1,
        };
        let accesses = vec![event(3072, 5), event(3071, 4), event(2047, 2), event(2048, 3), event(1025, 1)];
        let mut events = Events { tracker: None, start: 0, accesses, fresh: None, control: Vec::new(), counted: Vec::new() };
        let taken = |events: &mut Events, end| {
            let (taken, lost) = events.take_until(Nanos(end));
            assert!(!lost.any());
            taken.iter().map(|access| (access.time.0, access.gfn.0)).collect::<Vec<_>>()
        };
        assert_eq!(
            taken(&mut events, 2048),
            [(1024, 1), (1024, 2), (2048, 3), (2048, 4)],
            "what lies in the last step belongs to it"
        );
        assert_eq!(taken(&mut events, 2048), []);
        assert_eq!(taken(&mut events, 4096), [(3072, 5)]);
        assert_eq!(events.now().0 % (1 << CLOCK_STEP), 0);
    }
}
