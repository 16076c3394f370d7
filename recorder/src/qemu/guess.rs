//! Guest memory without a monitor: from the command line and the mappings of a QEMU process.
//!
//! Only what a PC machine is known to do is claimed: how much RAM lies below the 4 GiB line is a rule of its board. Where anything is
//! not as expected there is no answer, and the monitor has to be asked.

use pagesieve_core::{Backing, PAGE_SIZE};
use serde_json::Value;

use super::memory::GuestRam;
use crate::maps::Mapping;

const GIB: u64 = 1 << 30;
const FOUR_GIB: u64 = 4 * GIB;
/// From here on memory and the room for devices may together reach a terabyte.
const LARGE: u64 = 512 * GIB;

/// Devices that bring memory of their own.
const MEMORY_DEVICES: [&str; 4] = ["pc-dimm", "nvdimm", "virtio-mem", "virtio-pmem"];

/// One memory backend, as the command line names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Backend {
    id: String,
    size: u64,
    /// File behind it, if the command line says.
    path: Option<String>,
}

/// True if these are the arguments of a QEMU that runs a whole machine.
pub(crate) fn is_qemu(arguments: &[String]) -> bool {
    let name = arguments.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    name.starts_with("qemu-system-") || name == "qemu-kvm" || name == "kvm"
}

/// Places guest RAM, or says what is in the way.
pub(crate) fn guess(arguments: &[String], mappings: &[Mapping]) -> Result<Vec<GuestRam>, String> {
    no_surprises(arguments)?;
    let size = ram_size(arguments).ok_or("its -m cannot be read")?;
    let below = below_4g(&machine(arguments), size).ok_or("its machine type is none of pc and q35")?;
    let backends = backends(arguments, size);
    if backends.iter().try_fold(0_u64, |sum, (_, backend)| sum.checked_add(backend.size)) != Some(size) {
        return Err("its memory backends do not add up to -m".to_owned());
    }
    let mut ram = Vec::new();
    let (mut offset, mut taken) = (0, Vec::new());
    for (node, backend) in &backends {
        let start = place(backend, mappings, &mut taken)?;
        for (from, to, gpa) in [(0, below, 0), (below, size, FOUR_GIB)] {
            let (from, to) = (from.max(offset), to.min(offset + backend.size));
            if from < to {
                let gpa = if gpa == 0 { from } else { gpa + (from - below) };
                let hva = start + (from - offset)..start + (to - offset);
                ram.push(GuestRam { backend: backend.id.clone(), gpa, hva, numa_node: *node });
            }
        }
        offset += backend.size;
    }
    Ok(ram)
}

/// Refuses what lays out memory in another way than the rules of a PC, or says so elsewhere.
fn no_surprises(arguments: &[String]) -> Result<(), String> {
    let program = arguments.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    if program.strip_prefix("qemu-system-").is_some_and(|machine| !["x86_64", "i386"].contains(&machine)) {
        return Err(format!("{program} is no PC"));
    }
    if arguments.iter().any(|argument| argument.contains("max-ram-below-4g")) {
        return Err("its max-ram-below-4g moves memory".to_owned());
    }
    if values(arguments, &["readconfig"]).next().is_some() {
        return Err("a part of its options is in the file of -readconfig".to_owned());
    }
    let is_memory = |device: &str| MEMORY_DEVICES.iter().any(|name| device.contains(name));
    if values(arguments, &["device"]).any(is_memory) {
        return Err("it has memory devices".to_owned());
    }
    // On some processors all memory above 4 GiB moves beyond the terabyte if it would reach it.
    let most = values(arguments, &["m"]).filter_map(|text| size(property(text, "maxmem")?, 1 << 20)).max();
    if most.max(ram_size(arguments)).is_some_and(|most| most >= LARGE) {
        return Err("it may have memory beyond a terabyte".to_owned());
    }
    Ok(())
}

/// RAM below the PCI hole: the boards leave more room for devices when there is more RAM than fits, and begin the second part at a
/// whole gigabyte. From `hw/i386/pc_piix.c` and `pc_q35.c` of QEMU.
fn below_4g(machine: &str, size: u64) -> Option<u64> {
    let (most, with_rest) = match machine {
        name if name.contains("q35") => (0xb000_0000, 2 * GIB),
        name if name == "pc" || name.contains("i440fx") => (0xe000_0000, 3 * GIB),
        _ => return None,
    };
    Some(if size >= most { with_rest } else { size })
}

/// Finds the mapping of a backend: by its file, otherwise by its length, if only one has it.
fn place(backend: &Backend, mappings: &[Mapping], taken: &mut Vec<u64>) -> Result<u64, String> {
    let fits = |mapping: &&Mapping| {
        let by_path = backend.path.as_ref().is_none_or(|path| mapping.name.starts_with(path.as_str()));
        mapping.writable && mapping.backing().is_some() && by_path && !taken.contains(&mapping.start)
    };
    let mut exact = mappings.iter().filter(fits).filter(|mapping| mapping.len() == backend.size);
    let found = match (exact.next(), exact.next()) {
        (Some(one), None) => one,
        (Some(_), Some(_)) => return Err(format!("several of its mappings are {} MiB long", backend.size >> 20)),
        // Anonymous memory may have been joined with a neighbour above it.
        _ => {
            let longer = |mapping: &&Mapping| mapping.len() > backend.size && mapping.backing() == Some(Backing::Anonymous);
            let mut longer = mappings.iter().filter(fits).filter(longer);
            match (longer.next(), longer.next()) {
                (Some(one), None) if one.start % (512 * PAGE_SIZE) == 0 => one,
                _ => return Err(format!("no mapping of it is {} MiB long", backend.size >> 20)),
            }
        }
    };
    taken.push(found.start);
    Ok(found.start)
}

/// The values of an option, which may be given with one or two dashes.
fn values<'a>(arguments: &'a [String], names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let is_option = |text: &str| text.strip_prefix("--").or(text.strip_prefix('-')).is_some_and(|name| names.contains(&name));
    arguments.windows(2).filter(move |pair| is_option(&pair[0])).map(|pair| pair[1].as_str())
}

/// A property from a list like `node,nodeid=0,memdev=ram0`.
fn property<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn machine(arguments: &[String]) -> String {
    let name = values(arguments, &["machine", "M"]).last().unwrap_or("pc");
    property(name, "type").unwrap_or_else(|| name.split(',').next().unwrap_or_default()).to_owned()
}

fn ram_size(arguments: &[String]) -> Option<u64> {
    let Some(text) = values(arguments, &["m"]).last() else { return Some(128 << 20) };
    size(property(text, "size").unwrap_or_else(|| text.split(',').next().unwrap_or_default()), 1 << 20)
}

/// A size as QEMU reads it: without a unit it counts in `unit` bytes.
fn size(text: &str, unit: u64) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => unit,
        "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The backends that make up the RAM, each with its node, in the order in which they are laid out: that of the nodes' numbers.
fn backends(arguments: &[String], ram: u64) -> Vec<(Option<u16>, Backend)> {
    let objects: Vec<Backend> = values(arguments, &["object"]).filter_map(object).collect();
    let named = |id: &str| objects.iter().find(|object| object.id == id).cloned();
    // A node without a number takes that of its place; a node may be without memory.
    let nodes = (0u16..).zip(values(arguments, &["numa"]).filter(|numa| numa.split(',').next() == Some("node")));
    let numbered = nodes.filter_map(|(place, node)| {
        let number = property(node, "nodeid").map_or(Some(place), |number| number.parse().ok())?;
        Some((Some(number), named(property(node, "memdev")?)?))
    });
    let mut of_nodes: Vec<_> = numbered.collect();
    if !of_nodes.is_empty() {
        of_nodes.sort_by_key(|(node, _)| *node);
        return of_nodes;
    }
    let of_machine = values(arguments, &["machine", "M"]).find_map(|machine| named(property(machine, "memory-backend")?));
    let path = values(arguments, &["mem-path"]).last().map(str::to_owned);
    vec![(None, of_machine.unwrap_or(Backend { id: "ram".to_owned(), size: ram, path }))]
}

/// A memory backend from `memory-backend-memfd,id=ram,size=1G` or from the same as JSON.
fn object(text: &str) -> Option<Backend> {
    if text.starts_with('{') {
        let object: Value = serde_json::from_str(text).ok()?;
        object["qom-type"].as_str()?.strip_prefix("memory-backend-")?;
        let path = object["mem-path"].as_str().map(str::to_owned);
        return Some(Backend { id: object["id"].as_str()?.to_owned(), size: object["size"].as_u64()?, path });
    }
    text.strip_prefix("memory-backend-")?;
    let path = property(text, "mem-path").map(str::to_owned);
    Some(Backend { id: property(text, "id")?.to_owned(), size: size(property(text, "size")?, 1)?, path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::FileId;

    const MIB: u64 = 1 << 20;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn mapping(start: u64, len: u64, name: &str) -> Mapping {
        Mapping {
            start,
            end: start + len,
            writable: true,
            shared: !name.is_empty(),
            offset: 0,
            file: (!name.is_empty()).then(|| FileId { device: "00:01".into(), inode: start }),
            name: name.to_owned(),
            of_source: false,
        }
    }

    fn part(backend: &str, gpa: u64, start: u64, len: u64, numa_node: Option<u16>) -> GuestRam {
        GuestRam { backend: backend.to_owned(), gpa, hva: start..start + len, numa_node }
    }

    #[test]
    fn a_small_guest_is_one_part() {
        let arguments = words("/usr/bin/qemu-system-x86_64 -m 512 -nodefaults");
        assert!(is_qemu(&arguments) && !is_qemu(&words("/usr/bin/qemu-img create")));
        let mappings = [mapping(0x1000_0000, 64 * MIB, ""), mapping(0x2000_0000, 512 * MIB, "")];
        assert_eq!(guess(&arguments, &mappings), Ok(vec![part("ram", 0, 0x2000_0000, 512 * MIB, None)]));
    }

    #[test]
    fn nodes_are_laid_out_one_after_the_other_around_the_hole() {
        let arguments = words(
            "qemu-system-x86_64 -M pc-q35-7.2 -m size=5G,slots=2 -object memory-backend-memfd,id=b,size=3G \
             -object {\"qom-type\":\"memory-backend-file\",\"id\":\"a\",\"size\":2147483648,\"mem-path\":\"/dev/shm/a\"} \
             -numa node,memdev=b -numa node,nodeid=1,memdev=a",
        );
        let mappings = [mapping(GIB, 3 * GIB, "/memfd:memory-backend-memfd (deleted)"), mapping(8 * GIB, 2 * GIB, "/dev/shm/a")];
        let expected = [
            part("b", 0, GIB, 2 * GIB, Some(0)),
            part("b", 4 * GIB, 3 * GIB, GIB, Some(0)),
            part("a", 5 * GIB, 8 * GIB, 2 * GIB, Some(1)),
        ];
        assert_eq!(guess(&arguments, &mappings), Ok(expected.to_vec()));
    }

    #[test]
    fn nodes_are_laid_out_by_their_numbers() {
        let arguments = words(
            "qemu-system-x86_64 -m 768 -object memory-backend-ram,id=a,size=256M -object memory-backend-ram,id=b,size=512M \
             -numa node,nodeid=2,memdev=a -numa cpu,node-id=0,socket-id=0 -numa node,memdev=b -numa node,nodeid=0",
        );
        let mappings = [mapping(GIB, 256 * MIB, ""), mapping(2 * GIB, 512 * MIB, "")];
        let expected = [part("b", 0, 2 * GIB, 512 * MIB, Some(1)), part("a", 512 * MIB, GIB, 256 * MIB, Some(2))];
        assert_eq!(guess(&arguments, &mappings), Ok(expected.to_vec()));
    }

    #[test]
    fn what_lays_out_memory_in_another_way_is_refused() {
        let one = [mapping(GIB, 512 * MIB, "")];
        let refused = |text: &str, why: &str| {
            let answer = guess(&words(text), &one);
            assert!(answer.as_ref().is_err_and(|reason| reason.contains(why)), "{text}: {answer:?}");
        };
        refused("/usr/bin/qemu-system-ppc64 -m 512", "no PC");
        refused("qemu-system-x86_64 -M q35,max-ram-below-4g=256M -m 512", "below-4g");
        refused("qemu-system-x86_64 -readconfig vm.cfg -m 512", "readconfig");
        refused("qemu-system-x86_64 -m 512,slots=1,maxmem=1G -device pc-dimm,memdev=x", "memory devices");
        refused("qemu-system-x86_64 -m 512 -device {\"driver\":\"virtio-mem-pci\"}", "memory devices");
        refused("qemu-system-x86_64 -m 512,slots=1,maxmem=600G", "terabyte");
        refused("qemu-system-x86_64 -m 600G", "terabyte");
        let all = "-object memory-backend-ram,id=a,size=18446744073709551615 -object memory-backend-ram,id=b,size=1G";
        refused(&format!("kvm -m 512 {all} -numa node,memdev=a -numa node,memdev=b"), "add up");
        assert!(guess(&words("kvm -m 512"), &one).is_ok());
    }

    #[test]
    fn what_is_not_certain_is_not_claimed() {
        let two = [mapping(GIB, 512 * MIB, ""), mapping(2 * GIB, 512 * MIB, "")];
        assert!(guess(&words("qemu-system-x86_64 -m 512"), &two).unwrap_err().contains("several"));
        assert!(guess(&words("qemu-system-x86_64 -m 1G"), &two).unwrap_err().contains("1024 MiB"));
        assert!(guess(&words("qemu-system-x86_64 -M microvm -m 512"), &two[..1]).unwrap_err().contains("machine type"));
        assert!(guess(&words("qemu-system-x86_64 -m x"), &two).unwrap_err().contains("-m"));
    }
}
