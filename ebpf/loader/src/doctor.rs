//! What this machine allows.

/// True if the process may load BPF programs.
pub(crate) fn has_bpf_capabilities() -> bool { false }
/// x
pub fn doctor() {}
