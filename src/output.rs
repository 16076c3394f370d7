//! What the command prints: results on standard output, everything else on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// Prints a line of a result.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("write to standard output")
}

/// Prints a result as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Says something beside the result, in one line.
pub(crate) fn note(text: impl std::fmt::Display) {
    // What a system says can have several lines, such as the log of the kernel's verifier.
    let text = text.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    // Not `eprintln!`, which panics when standard error is closed.
    let _ = writeln!(io::stderr(), "pagesieve: {text}");
}

/// True if whoever read our output has gone, as `head` does when it has seen enough.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(closed))
}

/// Says in one line what failed and what to do.
pub(crate) fn error(error: &anyhow::Error) {
    if is_closed_pipe(error) {
        return;
    }
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Errors that already name their cause should not say it twice.
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    note(format_args!("failed to {text}"));
}
