//! What to watch and by which hooks.

/// Which hooks to try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// All, best first.
    #[default]
    Auto,
    /// Plain tracepoints only, as on a kernel without BTF.
    PlainTracepoints,
    /// The entry of `handle_mm_fault` alone, by trampoline (fentry).
    FunctionEntry,
    /// The entry of `handle_mm_fault` alone, by breakpoint (kprobe).
    FunctionProbe,
}

/// What to watch, and with how much memory.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Process (thread group) to watch.
    pub pid: u32,
    /// Pages in the page table: 8 bytes each.
    pub page_limit: u64,
    /// Bytes of all event rings together. Each is rounded up to a power of two of at least a page.
    pub ring_bytes: u32,
    /// Event rings. `None` is one for each CPU, but no more than leave each ring 256 KiB; CPUs then share.
    pub rings: Option<u32>,
    /// `CLOCK_MONOTONIC` in nanoseconds from which the page table's times count.
    pub start: u64,
    /// Which hooks to try.
    pub hooks: HookChoice,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { pid: 0, page_limit: 1 << 20, ring_bytes: 8 << 20, rings: None, start: 0, hooks: HookChoice::Auto }
    }
}
