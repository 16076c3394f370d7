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

/// Byte offset of a field in a tracepoint's record, or `None` if this kernel's has no such field.
pub(crate) fn field_offset(tracepoint: &str, field: &str) -> Option<u32> {
    ensure().ok()?;
    let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let format = roots.iter().find_map(|root| std::fs::read_to_string(format!("{root}/events/{tracepoint}/format")).ok())?;
    // Such as `field:bool group_dead;  offset:32;  size:1;  signed:0;`
    let line = format.lines().find(|line| line.split(';').next().is_some_and(|name| name.ends_with(&format!(" {field}"))))?;
    line.split("offset:").nth(1)?.split(';').next()?.parse().ok()
}
