//! Plain tracepoints are found through tracefs, which a fresh machine may not have mounted.

use std::path::Path;

/// Makes sure that tracefs is mounted, by mounting it where other tools look for it too.
pub(crate) fn ensure() -> Result<(), String> {
    if is_mounted() {
        return Ok(());
    }
    rustix::mount::mount(c"tracefs", c"/sys/kernel/tracing", c"tracefs", rustix::mount::MountFlags::empty(), None)
        .map_err(|error| format!("tracefs is not mounted and cannot be: {error}"))
}

/// True if tracefs is where it should be.
pub(crate) fn is_mounted() -> bool {
    ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"].iter().any(|path| Path::new(path).exists())
}
