//! For tests: skip by name where a machine cannot run one, or fail where it must.

use std::io::Write;

/// Set to 1 to make a test fail that would be skipped.
pub const REQUIRE: &str = "PAGESIEVE_REQUIRE_KERNEL";

/// Says that a test is skipped and why.
///
/// # Panics
/// If the environment says that nothing may be skipped.
pub fn skipped(test: &str, reason: &str) {
    assert!(std::env::var(REQUIRE).as_deref() != Ok("1"), "{test} may not be skipped, but {reason}");
    // Written past the test harness, which swallows what a passing test prints.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// True if the kernel program can be attached here; otherwise the test is skipped.
#[must_use]
pub fn can_attach(test: &str) -> bool {
    let config = crate::TrackerConfig { pid: std::process::id(), ..crate::TrackerConfig::default() };
    match crate::Tracker::attach(&config) {
        Ok(_) => true,
        Err(error) => {
            skipped(test, &format!("cannot {error}"));
            false
        }
    }
}
