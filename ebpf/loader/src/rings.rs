//! The rings of access events: one for each CPU, so that CPUs that fault at the same time do not wait for each other.

use aya::maps::{ArrayOfMaps, Map, MapData, MapError, RingBuf};
use aya::util::{nr_cpus, online_cpus};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use pagesieve_ebpf_abi::AccessEvent;

use crate::config::TrackerConfig;

/// Below this a ring is too easily filled by one busy CPU: 8192 events, which at a million a second are 8 ms.
const SMALLEST_SHARE: u32 = 256 << 10;
const PAGE: u32 = 4096;

/// All rings of access events.
pub(crate) struct Rings(Vec<RingBuf<MapData>>);

impl Rings {
    /// Makes the rings and tells the kernel program which CPU uses which.
    pub(crate) fn create(table: Map, config: &TrackerConfig) -> Result<Self, MapError> {
        let mut table: ArrayOfMaps<MapData> = table.try_into()?;
        let count = count(config.rings, config.ring_bytes, online_cpus().map_or(1, |cpus| cpus.len() as u32));
        let bytes = (config.ring_bytes / count).clamp(PAGE, 1 << 30).next_power_of_two();
        let rings = (0..count).map(|_| {
            let map = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, bytes, 0);
            MapData::create(map, "EVENTS", None)
        });
        let rings = rings.collect::<Result<Vec<_>, _>>()?;
        // CPUs that come online later have a ring too.
        for cpu in 0..table.len() {
            table.set(cpu, &rings[(cpu % count) as usize], 0)?;
        }
        rings.into_iter().map(|ring| Map::RingBuf(ring).try_into()).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes all that is in them.
    pub(crate) fn drain(&mut self, mut found: impl FnMut(AccessEvent)) -> usize {
        self.0.iter_mut().map(|ring| drain(ring, &mut found)).sum()
    }
}

/// How many rings share so many bytes.
fn count(wanted: Option<u32>, bytes: u32, cpus: u32) -> u32 {
    wanted.unwrap_or_else(|| cpus.min(bytes / SMALLEST_SHARE)).max(1)
}

/// CPUs that may ever be there.
pub(crate) fn possible_cpus() -> u32 {
    nr_cpus().map_or(1, |count| count as u32)
}

/// Takes all that is in a ring.
pub(crate) fn drain<T: Copy>(ring: &mut RingBuf<MapData>, mut found: impl FnMut(T)) -> usize {
    let mut count = 0;
    while let Some(item) = ring.next() {
        if item.len() >= size_of::<T>() {
            // SAFETY: the record is at least as long as `T`, an event of the shared layout for which all bytes are valid.
            found(unsafe { item.as_ptr().cast::<T>().read_unaligned() });
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cpu_has_a_ring_unless_they_would_be_tiny() {
        assert_eq!(count(None, 8 << 20, 2), 2);
        assert_eq!(count(None, 8 << 20, 128), 32);
        assert_eq!(count(None, 4096, 128), 1);
        assert_eq!(count(Some(1), 8 << 20, 2), 1);
        assert_eq!(count(Some(0), 8 << 20, 2), 1, "there is at least one");
    }
}
