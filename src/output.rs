//! What the command prints: results on standard output, everything else on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::io::{self, IsTerminal, Write};

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

/// Says something beside the result.
pub(crate) fn note(text: impl std::fmt::Display) {
    eprintln!("pagesieve: {text}");
}

/// Says in one line what failed and what to do.
pub(crate) fn error(error: &anyhow::Error) {
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
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
    eprintln!("pagesieve: failed to {text}");
}

/// True if a person watches standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}
