//! `pagesieve compare`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use pagesieve_reports::compare::{self, Comparison, Document, Thresholds};

use super::VIOLATION;
use super::place::Place;
use crate::cli::{Compare, CompareFormat};
use crate::output;

pub(crate) fn run(options: &Compare) -> anyhow::Result<ExitCode> {
    let inputs = [options.base.clone(), options.new.clone()];
    let place = options.output.as_ref().map(|path| Place::for_text(path, &inputs, options.force)).transpose()?;
    let comparison = compare(options)?;
    let tool = format!("pagesieve {}", env!("CARGO_PKG_VERSION"));
    let text = match options.format {
        CompareFormat::Table => compare::table(&comparison, options.all),
        CompareFormat::Markdown => compare::markdown(&comparison, &tool, options.all),
        CompareFormat::Json => compare::json(&comparison, &tool, options.all),
        CompareFormat::Junit => compare::junit(&comparison).context("write JUnit XML")?,
    };
    // A table says it by itself; a file and what only programs read does not reach people.
    if options.output.is_some() || options.format != CompareFormat::Table {
        comparison.warning().into_iter().for_each(output::note);
    }
    output::whoever_reads(match (place, &options.output) {
        (Some(place), Some(path)) => {
            place.keep_text(&text)?;
            output::line(format_args!("{}: {}", path.display(), comparison.summary()))
        }
        _ => output::line(text.trim_end()),
    })?;
    Ok(if comparison.has_regressions() { ExitCode::from(VIOLATION) } else { ExitCode::SUCCESS })
}

fn compare(options: &Compare) -> anyhow::Result<Comparison> {
    let (base, new) = (read(&options.base)?, read(&options.new)?);
    let names = || format!("compare {} with {}", options.new.display(), options.base.display());
    let name = |path: &Path| path.display().to_string();
    let thresholds = Thresholds::new(&options.threshold);
    let sides = ((name(&options.base), base), (name(&options.new), new));
    let comparison = Comparison::new((&sides.0.0, &sides.0.1), (&sides.1.0, &sides.1.1), thresholds, options.allow_missing)
        .with_context(names)?;
    match comparison.warning() {
        Some(warning) if options.same_input => {
            bail!("{}: {warning}; make both reports from the same files, or leave out --same-input", names())
        }
        _ => Ok(comparison),
    }
}

fn read(path: &Path) -> anyhow::Result<Document> {
    let read = || -> anyhow::Result<Document> {
        if path.is_dir() {
            bail!("it is a directory; name the summary.json in it");
        }
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("there is no such file; check its name and path"),
            _ => error.into(),
        })?;
        // What is not UTF-8 is no JSON, and the reader says so.
        Ok(Document::read(&String::from_utf8_lossy(&bytes))?)
    };
    read().with_context(|| format!("read {}", path.display()))
}
