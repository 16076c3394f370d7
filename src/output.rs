//! What the command prints: results on standard output, everything else on standard error. All of it passes here, so `--quiet`,
//! `--verbose` and `--color` are obeyed everywhere.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use anyhow::Context;
use clap::ColorChoice;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Environment variable with a filter of what `--verbose` tells, such as `debug` or `pagesieve_recorder=trace`.
pub(crate) const LOG: &str = "PAGESIEVE_LOG";

/// How much is said, and in which colors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// Errors only.
    pub(crate) quiet: bool,
    /// How much to tell of what was decided and why: 0 is nothing but warnings.
    pub(crate) verbose: u8,
    /// When to use colors.
    pub(crate) color: ColorChoice,
}

static MANNERS: OnceLock<Manners> = OnceLock::new();

fn manners() -> Manners {
    MANNERS.get().copied().unwrap_or_default()
}

/// Minds these from here on; only the first call counts.
///
/// # Errors
/// The filter in the environment makes no sense.
pub(crate) fn mind(manners: Manners) -> anyhow::Result<()> {
    let _ = MANNERS.set(manners);
    start_log(manners)
}

/// Hears of what our crates decide. Others are asked for by the filter.
fn start_log(manners: Manners) -> anyhow::Result<()> {
    let by_flag = match (manners.quiet, manners.verbose) {
        (true, _) => "off",
        (false, 0) => "warn",
        (false, 1) => "warn,pagesieve=info,pagesieve_ebpf=info,pagesieve_live=info,pagesieve_recorder=info",
        (false, 2) => "warn,pagesieve=debug,pagesieve_ebpf=debug,pagesieve_live=debug,pagesieve_recorder=debug",
        (false, _) => "trace",
    };
    let wanted = std::env::var(LOG).ok().filter(|filter| !filter.is_empty());
    let filter = tracing_subscriber::EnvFilter::try_new(wanted.as_deref().unwrap_or(by_flag));
    let filter =
        filter.with_context(|| format!("read the filter in {LOG}: write one such as debug or pagesieve_recorder=trace"))?;
    // Not for the clock: lines are told apart by their order, and look the same in every run.
    let log = tracing_subscriber::fmt().without_time().compact().with_target(manners.verbose > 1 || wanted.is_some());
    log.with_ansi(colors(&io::stderr())).with_writer(io::stderr).with_env_filter(filter).init();
    Ok(())
}

/// True if what is told of decisions goes to the terminal that a display would need.
pub(crate) fn log_needs_terminal() -> bool {
    (manners().verbose > 0 || std::env::var_os(LOG).is_some()) && io::stderr().is_terminal()
}

/// True if a display on standard output is to have colors.
pub(crate) fn has_color() -> bool {
    colors(&io::stdout())
}

/// As the argument parser decides it for its own messages. `NO_COLOR` is that of <https://no-color.org>.
fn colors(stream: &impl IsTerminal) -> bool {
    match manners().color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// A bar that shows how far the work is, by this template. Only a terminal shows it, and only if nobody asked for quiet or for lines
/// that would run into it.
pub(crate) fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = if shows_progress() { ProgressBar::new(length) } else { ProgressBar::hidden() };
    bar.set_length(length);
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// As [`bar`], for work whose length nobody knows.
pub(crate) fn spinner() -> ProgressBar {
    let bar = if shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn shows_progress() -> bool {
    let manners = manners();
    !manners.quiet && manners.verbose == 0 && io::stderr().is_terminal()
}

/// Prints a line of a result.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    written(writeln!(io::stdout(), "{text}"))
}

/// Where a long result is written to, piece by piece. Flush it at the end.
pub(crate) fn stream() -> impl Write {
    io::BufWriter::new(io::stdout().lock())
}

/// Prints a result that is text of several lines, or a script, as it is.
pub(crate) fn text(text: &[u8]) -> anyhow::Result<()> {
    written(io::stdout().write_all(text))
}

/// Prints a result as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Says something beside the result, in one line.
pub(crate) fn note(text: impl std::fmt::Display) {
    if !manners().quiet {
        say(text);
    }
}

fn say(text: impl std::fmt::Display) {
    // What a system says can have several lines, such as the log of the kernel's verifier.
    let text = text.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    // Not `eprintln!`, which panics when standard error is closed.
    let _ = writeln!(io::stderr(), "pagesieve: {text}");
}

/// Whoever read our output has gone, as `head` does when it has seen enough. That is no failure.
#[derive(Debug)]
struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write to standard output: nobody reads it")
    }
}

impl std::error::Error for ReaderGone {}

fn written(done: io::Result<()>) -> anyhow::Result<()> {
    done.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("write to standard output"),
    })
}

/// True if nobody reads our results any more. Other connections that break are none of this.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.is::<ReaderGone>()
}

/// The same for a stream that a library has written to, by the system's error.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(closed))
}

/// For verbs whose exit status is a verdict: it is the same, whether or not somebody read the text.
pub(crate) fn whoever_reads(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    printed.or_else(|error| if is_reader_gone(&error) { Ok(()) } else { Err(error) })
}

/// Says in one line what failed and what to do.
pub(crate) fn error(error: &anyhow::Error) {
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
    say(format_args!("failed to {text}"));
}
