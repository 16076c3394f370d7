//! An attached kernel program: its rings, its slots and its counters.

use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use pagesieve_ebpf_abi::{AccessEvent, ControlEvent, Counters, MAX_SLOTS, Slot};

use crate::config::TrackerConfig;
use crate::hooks::Hook;
use crate::ladder::{self, AttachError, Attached, Refusal};
use crate::page_table::PageTable;
use crate::rings::{Rings, drain};

/// The kernel program at work. Dropping it detaches everything; nothing is pinned.
pub struct Tracker {
    attached: Attached,
    events: Rings,
    control: RingBuf<MapData>,
    slots: Array<MapData, Pod<Slot>>,
    table: Array<MapData, u64>,
    counters: PerCpuArray<MapData, Pod<Counters>>,
    pages: PageTable,
    in_use: u64,
}

/// Lets types of the shared layout pass as plain bytes.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Pod<T>(T);

// SAFETY: `Slot` is repr(C), made of u64 only, without padding.
unsafe impl aya::Pod for Pod<Slot> {}
// SAFETY: `Counters` is repr(C), made of u64 only, without padding.
unsafe impl aya::Pod for Pod<Counters> {}

impl Tracker {
    /// Loads and attaches the program by the best hooks that this kernel allows.
    ///
    /// # Errors
    /// If it cannot be loaded, or no hook for page faults can be attached; the message names each hook's refusal and the fix.
    pub fn attach(config: &TrackerConfig) -> Result<Self, AttachError> {
        let mut attached = ladder::attach(config)?;
        let mut take =
            |name: &str| attached.object.take_map(name).ok_or_else(|| broken(format!("the object holds no map {name}")));
        let Map::Array(pages) = take("PAGES")? else { return Err(broken("PAGES is no array".into())) };
        Ok(Self {
            events: Rings::create(take("EVENTS")?, config).map_err(|error| broken(format!("make the event rings: {error}")))?,
            control: take("CONTROL")?.try_into().map_err(|error| broken(format!("{error}")))?,
            slots: take("SLOTS")?.try_into().map_err(|error| broken(format!("{error}")))?,
            table: take("TABLE")?.try_into().map_err(|error| broken(format!("{error}")))?,
            counters: take("COUNTERS")?.try_into().map_err(|error| broken(format!("{error}")))?,
            pages: PageTable::map(&pages, config.page_limit.max(1))
                .map_err(|error| broken(format!("map the page table: {error}")))?,
            attached,
            in_use: 0,
        })
    }

    /// The hooks in use.
    #[must_use]
    pub fn hooks(&self) -> &[Hook] {
        &self.attached.hooks
    }

    /// The hooks that the kernel refused.
    #[must_use]
    pub fn refused(&self) -> &[Refusal] {
        &self.attached.refused
    }

    /// True if every discard and fork of the target is reported.
    #[must_use]
    pub fn sees_control(&self) -> bool {
        self.attached.sees_control
    }

    /// Tells the kernel which addresses to report, and by which frames. Events of the old table may still be in the rings.
    ///
    /// # Errors
    /// If there are more than [`MAX_SLOTS`], or the kernel refuses.
    pub fn set_slots(&mut self, slots: &[Slot]) -> Result<(), String> {
        if slots.len() > MAX_SLOTS as usize {
            return Err(format!("{} memory slots are more than the {MAX_SLOTS} the kernel program holds", slots.len()));
        }
        let mut sorted = slots.to_vec();
        sorted.sort_by_key(|slot| slot.start);
        if sorted.windows(2).any(|pair| pair[1].start < pair[0].end) || sorted.iter().any(|slot| slot.end <= slot.start) {
            return Err("memory slots are empty or cover the same addresses".to_owned());
        }
        let next = 1 - self.in_use;
        for (index, slot) in (next as u32 * MAX_SLOTS..).zip(sorted) {
            self.slots.set(index, Pod(slot), 0).map_err(|error| error.to_string())?;
        }
        // One word switches tables: a program never sees half of each.
        self.table.set(0, (next << 32) | slots.len() as u64, 0).map_err(|error| error.to_string())?;
        self.in_use = next;
        Ok(())
    }

    /// Takes all access events that are in the rings, about 10 ns each. Those of a CPU come in their order, but ring after ring:
    /// whoever needs the order of all sorts by time. Returns how many there were.
    pub fn drain(&mut self, found: impl FnMut(AccessEvent)) -> usize {
        self.events.drain(found)
    }

    /// Event rings in use.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.events.len()
    }

    /// Takes all control events that are in their ring.
    pub fn drain_control(&mut self, found: impl FnMut(ControlEvent)) -> usize {
        drain(&mut self.control, found)
    }

    /// What each CPU counted since the program was attached.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        self.counters.get(&0, 0).map(|values| values.iter().map(|value| value.0).collect()).unwrap_or_default()
    }

    /// The page table, mapped.
    #[must_use]
    pub fn page_table(&self) -> &PageTable {
        &self.pages
    }

    pub(crate) fn object(&self) -> &aya::Ebpf {
        &self.attached.object
    }
}

fn broken(reason: String) -> AttachError {
    AttachError::Load { reason, fix: "rebuild the object with ebpf/build.sh" }
}
