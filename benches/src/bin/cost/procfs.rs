//! What the kernel says of a process: CPU time and memory.

use std::fs;

/// Nanoseconds that the threads of a process that are alive now have run.
pub(crate) fn cpu_nanos(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| first_number(&fs::read_to_string(task.path().join("schedstat")).ok()?)).sum()
}

/// Nanoseconds that this thread has run.
pub(crate) fn own_cpu_nanos() -> u64 {
    fs::read_to_string("/proc/thread-self/schedstat").ok().and_then(|text| first_number(&text)).unwrap_or(0)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Bytes of private memory that a process has in use.
pub(crate) fn private_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(first_number).unwrap_or(0) * 1024
}

/// Bytes of the BPF maps of a process: those that it holds open, by the kernel's own count, and the page table, which it only has
/// mapped.
pub(crate) fn map_bytes(pid: u32) -> u64 {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = descriptors.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let open: u64 = texts
        .filter(|text| text.contains("map_type:"))
        .filter_map(|text| first_number(text.lines().find_map(|line| line.strip_prefix("memlock:"))?))
        .sum();
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    // Of a ring only one page is mapped for writing.
    let table: u64 = text
        .lines()
        .filter(|line| line.contains("rw-s") && line.ends_with("bpf-map"))
        .filter_map(length)
        .filter(|&length| length > 4096)
        .sum();
    open + table
}

/// Kernel programs attached by other processes at this moment. They slow down what is measured as "not observed".
pub(crate) fn attached_programs() -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let descriptors = processes.filter_map(|process| fs::read_dir(process.path().join("fd")).ok()).flatten().flatten();
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("bpf-prog")).count() as u64
}

/// Bytes of a line of /proc/PID/maps.
fn length(line: &str) -> Option<u64> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
}

/// Address ranges of a process that are writable, at least 1 MiB long, and either private and anonymous or shared memory.
pub(crate) fn large_mappings(pid: u32) -> Vec<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    text.lines().filter_map(large_mapping).collect()
}

fn large_mapping(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let (rights, inode) = (fields.next()?, fields.nth(2)?);
    let name = fields.next().unwrap_or_default();
    let anonymous = rights == "rw-p" && inode == "0" && !name.starts_with("[stack");
    let shared = rights == "rw-s" && (name.starts_with("/memfd:") || name.starts_with("/dev/shm/"));
    ((anonymous || shared) && end - start >= 1 << 20).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_has_memory() {
        let bytes = vec![1_u8; 64 << 20];
        let address = std::hint::black_box(&bytes).as_ptr() as u64;
        assert!(cpu_nanos(std::process::id()) > 0 && own_cpu_nanos() > 0);
        assert!(private_bytes(std::process::id()) >= 64 << 20);
        assert!(large_mappings(std::process::id()).iter().any(|(start, end)| (start..end).contains(&&address)));
    }

    #[test]
    fn stacks_libraries_and_small_mappings_are_left_out() {
        assert_eq!(large_mapping("7f00000000-7f00200000 rw-p 00000000 00:00 0"), Some((0x7f_0000_0000, 0x7f_0020_0000)));
        assert!(large_mapping("7f00000000-7f00200000 rw-s 00000000 00:01 9 /memfd:ram (deleted)").is_some());
        for line in [
            "7f00000000-7f00200000 rw-p 00000000 00:00 0 [stack]",
            "7f00000000-7f00200000 r--p 00000000 00:00 0",
            "7f00000000-7f00200000 rw-p 00000000 fe:00 77 /usr/lib/libc.so.6",
            "7f00000000-7f00001000 rw-p 00000000 00:00 0",
        ] {
            assert_eq!(large_mapping(line), None, "{line}");
        }
    }
}
