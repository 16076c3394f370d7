//! Where guest memory lies: in the guest's physical address space, and in QEMU's own.
//!
//! QEMU's monitor knows both. `query-memdev` names the memory backends; `info mtree -f` prints what the guest sees at each
//! physical address; `gpa2hva` says where QEMU has mapped it. Only backends count as guest RAM: ROMs and video memory are device
//! state.

use std::collections::BTreeMap;
use std::ops::Range;

use pagesieve_core::{Gfn, PAGE_SHIFT};
use serde_json::{Value, json};

use super::qmp::{Qmp, QmpError};

/// No processor has more physical memory: 52 bits of address. What is larger is no answer of QEMU.
const MOST_BYTES: u64 = 1 << 52;

/// A contiguous part of guest RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuestRam {
    /// The memory backend it is a part of.
    pub(crate) backend: String,
    /// Physical address in the guest.
    pub(crate) gpa: u64,
    /// Where QEMU has it mapped.
    pub(crate) hva: Range<u64>,
    /// NUMA node of the guest.
    pub(crate) numa_node: Option<u16>,
}

impl GuestRam {
    /// The frame of the first page.
    pub(crate) fn base(&self) -> Gfn {
        Gfn(self.gpa >> PAGE_SHIFT)
    }

    pub(crate) fn len(&self) -> u64 {
        self.hva.end - self.hva.start
    }
}

/// A part of a backend that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    gpa: u64,
    len: u64,
    backend: String,
    /// Where in the backend.
    offset: u64,
}

/// Asks QEMU for all guest RAM, in the order of guest addresses.
pub(crate) fn ask(qmp: &mut Qmp) -> Result<Vec<GuestRam>, QmpError> {
    let sizes = backends(&qmp.execute("query-memdev", json!({}))?);
    let windows = windows(&qmp.human("info mtree -f")?, &sizes);
    let dimms = dimms(&qmp.execute("query-memory-devices", json!({}))?);
    let nodes = node_sizes(&qmp.human("info numa")?);
    let mut starts = BTreeMap::new();
    for window in &windows {
        if !starts.contains_key(&window.backend) {
            let hva = host_address(qmp, window.gpa)?;
            starts.insert(window.backend.clone(), hva.wrapping_sub(window.offset));
        }
    }
    let mut ram: Vec<_> = whole(&windows, &sizes)
        .into_iter()
        .filter_map(|window| {
            let start = starts.get(&window.backend)?.wrapping_add(window.offset);
            let numa_node = dimms.get(&window.backend).copied();
            Some(GuestRam { gpa: window.gpa, hva: start..start.checked_add(window.len)?, backend: window.backend, numa_node })
        })
        .collect();
    assign_nodes(&mut ram, &sizes, &nodes, |backend| dimms.contains_key(backend));
    Ok(ram)
}

fn host_address(qmp: &mut Qmp, gpa: u64) -> Result<u64, QmpError> {
    let command = format!("gpa2hva {gpa:#x}");
    let answer = qmp.human(&command)?;
    let digits = answer.rsplit_once(" is 0x").map(|(_, digits)| digits.trim());
    let hva = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    // The upper half of all addresses is the kernel's.
    hva.filter(|&hva| hva < u64::MAX / 2).ok_or(QmpError::Nonsense { command, what: answer })
}

/// Size of each backend, by its name.
fn backends(answer: &Value) -> BTreeMap<String, u64> {
    let all = answer.as_array().into_iter().flatten();
    let sizes = all.filter_map(|backend| Some((backend.get("id")?.as_str()?.to_owned(), backend.get("size")?.as_u64()?)));
    sizes.filter(|(_, size)| *size <= MOST_BYTES).collect()
}

/// The NUMA node of each backend that was plugged in as a memory device.
fn dimms(answer: &Value) -> BTreeMap<String, u16> {
    let all = answer.as_array().into_iter().flatten().filter_map(|device| device.get("data"));
    all.filter_map(|device| {
        // The backend comes as a path in QEMU's object tree.
        let backend = device.get("memdev")?.as_str()?.rsplit('/').next()?.to_owned();
        Some((backend, u16::try_from(device.get("node")?.as_u64()?).ok()?))
    })
    .collect()
}

/// The lines of the first flat view that show a backend, such as
/// `0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000`.
fn windows(mtree: &str, backends: &BTreeMap<String, u64>) -> Vec<Window> {
    let of_memory = mtree.split("FlatView #").find(|view| view.contains("AS \"memory\"")).unwrap_or_default();
    let mut found: Vec<_> = of_memory.lines().filter_map(|line| window(line, backends)).collect();
    found.sort_by_key(|window| window.gpa);
    found
}

fn window(line: &str, backends: &BTreeMap<String, u64>) -> Option<Window> {
    let (range, rest) = line.trim().split_once(" (")?;
    let (start, last) = range.split_once('-')?;
    let (gpa, last) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(last, 16).ok()?);
    let (_, name) = rest.split_once("): ")?;
    // Behind the name may follow an offset, and a word for each accelerator.
    let (name, offset) = match name.split_once(" @") {
        Some((name, tail)) => (name, u64::from_str_radix(tail.split_whitespace().next()?, 16).ok()?),
        None => (name.split_whitespace().next()?, 0),
    };
    // Machine types before 4.0 name some backends by their path in QEMU's object tree.
    let name = name.strip_prefix("/objects/").unwrap_or(name);
    let len = last.checked_sub(gpa)?.checked_add(1)?;
    let possible = last < MOST_BYTES && offset < MOST_BYTES;
    (possible && backends.contains_key(name)).then(|| Window { gpa, len, backend: name.to_owned(), offset })
}

/// Adds what is hidden: the guest does not see the RAM under the video window, under ROM copies or under management-mode memory
/// now, but it may have written it, and may see it again. A hidden part lies where the part before it would go on, up to where
/// other memory lies (a part of a backend may not be for the guest at all, such as the labels of an NVDIMM).
fn whole(windows: &[Window], backends: &BTreeMap<String, u64>) -> Vec<Window> {
    let mut by_backend: BTreeMap<&str, Vec<&Window>> = BTreeMap::new();
    for window in windows {
        by_backend.entry(window.backend.as_str()).or_default().push(window);
    }
    let mut all = Vec::new();
    for (backend, mut parts) in by_backend {
        parts.sort_by_key(|part| part.offset);
        let size = backends.get(backend).copied().unwrap_or(0);
        let mut joined: Vec<Window> = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            // Hidden at the start belongs to the first part.
            let hidden = if index == 0 { part.offset.min(part.gpa.saturating_sub(free_from(windows, part))) } else { 0 };
            let end = parts.get(index + 1).map_or(size, |next| next.offset).max(part.offset + part.len);
            let (gpa, offset) = (part.gpa - hidden, part.offset - hidden);
            let len = (end - offset).min(free_until(windows, part) - gpa);
            match joined.last_mut().filter(|last| last.gpa + last.len == gpa && last.offset + last.len == offset) {
                Some(last) => last.len += len,
                None => joined.push(Window { gpa, offset, len, backend: backend.to_owned() }),
            }
        }
        all.extend(joined);
    }
    all.sort_by_key(|window| window.gpa);
    all
}

/// The lowest address from which on nothing else lies below a window.
fn free_from(windows: &[Window], window: &Window) -> u64 {
    let below = windows.iter().filter(|other| other.gpa < window.gpa);
    below.map(|other| other.gpa + other.len).max().unwrap_or(0)
}

/// The address above a window where other memory begins.
fn free_until(windows: &[Window], window: &Window) -> u64 {
    windows.iter().map(|other| other.gpa).filter(|&gpa| gpa > window.gpa).min().unwrap_or(u64::MAX)
}

/// Bytes of each node from lines such as `node 0 size: 2048 MB`. What was plugged in later is counted in it.
fn node_sizes(text: &str) -> Vec<u64> {
    let size_of = |node: usize, what: &str| {
        let start = format!("node {node} {what}:");
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start.as_str()).map(str::trim))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1 << 20)
    };
    (0..).map_while(|node| Some(size_of(node, "size")?.saturating_sub(size_of(node, "plugged").unwrap_or(0)))).collect()
}

/// QEMU lays out the memory of its nodes one after the other: each backend that was not plugged in belongs to the next node of its
/// size. Where this does not come out, no node is claimed.
fn assign_nodes(ram: &mut [GuestRam], sizes: &BTreeMap<String, u64>, nodes: &[u64], is_dimm: impl Fn(&str) -> bool) {
    let mut order: Vec<String> = Vec::new();
    for part in ram.iter().filter(|part| !is_dimm(&part.backend)) {
        if !order.contains(&part.backend) {
            order.push(part.backend.clone());
        }
    }
    // A node may be without memory.
    let with_memory = || nodes.iter().zip(0u16..).filter(|(size, _)| **size > 0);
    let fits = with_memory().count() == order.len()
        && with_memory().zip(&order).all(|((size, _), backend)| sizes.get(backend) == Some(size));
    if !fits {
        return;
    }
    for ((_, node), backend) in with_memory().zip(&order) {
        ram.iter_mut().filter(|part| part.backend == *backend).for_each(|part| part.numa_node = Some(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn sizes(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
        all.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    /// As printed for `-machine q35 -m 4G` after the firmware has hidden its management memory.
    const Q35: &str = "\
FlatView #0
 AS \"I/O\", root: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

FlatView #1
 AS \"memory\", root: system
 AS \"cpu-memory-0\", root: system
 Root memory region: system
  0000000000000000-000000000009ffff (prio 0, ram): pc.ram KVM
  00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem
  00000000000c0000-00000000000c7fff (prio 0, rom): pc.ram @00000000000c0000 KVM
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-000000007fefffff (prio 0, ram): pc.ram @0000000000100000 KVM
  000000007ff00000-000000007fffffff (prio 1, i/o): tseg-blackhole
  00000000fd000000-00000000fdffffff (prio 1, ram): vga.vram
  0000000100000000-000000017fffffff (prio 0, ram): pc.ram @0000000080000000 KVM

FlatView #2
 AS \"cpu-smm-0\", root: memory
  0000000000000000-000000007fffffff (prio 0, ram): pc.ram
";

    #[test]
    fn the_guests_view_becomes_whole_parts_around_the_pci_hole() {
        let sizes = sizes(&[("pc.ram", 4 * GIB)]);
        let seen = windows(Q35, &sizes);
        assert_eq!(seen.len(), 4, "devices, ROMs and other views are no windows: {seen:#?}");
        let part = |gpa, offset, len| Window { gpa, offset, len, backend: "pc.ram".to_owned() };
        assert_eq!(whole(&seen, &sizes), [part(0, 0, 2 * GIB), part(4 * GIB, 2 * GIB, 2 * GIB)]);
    }

    #[test]
    fn hidden_memory_is_not_added_where_other_memory_lies() {
        let sizes = sizes(&[("a", 4 * MIB), ("b", MIB)]);
        let part = |gpa, offset, len, backend: &str| Window { gpa, offset, len, backend: backend.to_owned() };
        let seen = vec![part(0, 0, MIB, "a"), part(MIB, 0, MIB, "b"), part(2 * MIB, 2 * MIB, 2 * MIB, "a")];
        assert_eq!(whole(&seen, &sizes), seen);
    }

    #[test]
    fn what_is_not_for_the_guest_keeps_the_rest_from_nothing() {
        // A machine type of QEMU 3.1, and an NVDIMM of which the last 2 MiB are labels: the next device lies there.
        let text = "FlatView #0\n AS \"memory\", root: system\n\
            \x20 0000000000000000-000000000009ffff (prio 0, ram): /objects/ram\n\
            \x20 0000000000100000-000000000fffffff (prio 0, ram): /objects/ram @0000000000100000\n\
            \x20 0000000100000000-000000011fdfffff (prio 0, nv-ram): n0\n\
            \x20 000000011fe00000-000000012fdfffff (prio 0, ram): m1\n";
        let sizes = sizes(&[("ram", 256 * MIB), ("n0", 512 * MIB), ("m1", 256 * MIB)]);
        let part = |gpa, len, backend: &str| Window { gpa, offset: 0, len, backend: backend.to_owned() };
        let expected = [part(0, 256 * MIB, "ram"), part(4 * GIB, 510 * MIB, "n0"), part(4 * GIB + 510 * MIB, 256 * MIB, "m1")];
        assert_eq!(whole(&windows(text, &sizes), &sizes), expected);
    }

    #[test]
    fn a_part_may_lie_below_its_place_in_the_backend() {
        let sizes = sizes(&[("a", 4 * MIB)]);
        let part = |gpa, offset, len| Window { gpa, offset, len, backend: "a".to_owned() };
        assert_eq!(
            whole(&[part(MIB, 2 * MIB, MIB), part(8 * MIB, 3 * MIB, MIB)], &sizes),
            [part(0, MIB, 2 * MIB), part(8 * MIB, 3 * MIB, MIB)]
        );
        let twice = [part(0, 0, MIB), part(MIB, 0, MIB)];
        assert_eq!(whole(&twice, &sizes), [part(0, 0, MIB), part(MIB, 0, 4 * MIB)]);
    }

    #[test]
    fn numbers_that_cannot_be_are_no_memory() {
        let sizes = sizes(&[("a", MIB)]);
        for line in [
            "  0000000000000000-ffffffffffffffff (prio 0, ram): a",
            "  0000000000002000-0000000000000fff (prio 0, ram): a",
            "  0000000000000000-0000000000000fff (prio 0, ram): a @ffffffffffffffff",
            "  0000000000000000-0000000000000fff (prio 0, ram): a @",
        ] {
            assert_eq!(window(line, &sizes), None, "{line}");
        }
        assert_eq!(node_sizes("node 0 size: 1 MB\nnode 0 plugged: 2 MB\nnode 1 size: 99999999999999999 MB\n"), [0]);
        assert!(backends(&json!([{ "id": "a", "size": u64::MAX }])).is_empty());
    }

    #[test]
    fn nodes_follow_the_order_of_the_backends_or_are_not_claimed() {
        let part = |backend: &str, gpa| GuestRam { backend: backend.to_owned(), gpa, hva: 0..MIB, numa_node: None };
        let all = [part("r1", 0), part("r1", 8 * MIB), part("r0", 16 * MIB), part("dimm", 32 * MIB)];
        let sizes = sizes(&[("r1", 256 * MIB), ("r0", 512 * MIB), ("dimm", 512 * MIB)]);
        let text = "3 nodes\r\nnode 0 cpus: 0\r\nnode 0 size: 256 MB\r\nnode 0 plugged: 0 MB\r\nnode 1 cpus:\r\nnode 1 size: 0 MB\r\n\
                    node 1 plugged: 0 MB\r\nnode 2 cpus:\r\nnode 2 size: 1024 MB\r\nnode 2 plugged: 512 MB\r\n";
        let nodes = node_sizes(text);
        assert_eq!(nodes, [256 * MIB, 0, 512 * MIB]);
        let mut ram = all.to_vec();
        assign_nodes(&mut ram, &sizes, &nodes, |backend| backend == "dimm");
        assert_eq!(ram.iter().map(|part| part.numa_node).collect::<Vec<_>>(), [Some(0), Some(0), Some(2), None]);
        let mut ram = all.to_vec();
        assign_nodes(&mut ram, &sizes, &[512 * MIB, 256 * MIB], |backend| backend == "dimm");
        assert!(ram.iter().all(|part| part.numa_node.is_none()));
    }

    #[test]
    fn a_memory_device_names_its_backend_by_a_path() {
        let answer =
            json!([{ "type": "dimm", "data": { "memdev": "/objects/mem1", "node": 1, "size": 4096, "hotplugged": true } }]);
        assert_eq!(dimms(&answer).into_iter().collect::<Vec<_>>(), [("mem1".to_owned(), 1)]);
    }
}
