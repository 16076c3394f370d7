//! `pagesieve trace import`.

use std::fs::File;
use std::io::{self, ErrorKind};

use anyhow::{Context, anyhow, bail};
use pagesieve_convert::{ImportOptions, Imported, import};
use pagesieve_core::Nanos;
use serde_json::json;

use super::{bar_of, result};
use crate::cli::TraceImport;
use crate::cmd::place::{Place, STANDARD};
use crate::units;

pub(super) fn run(options: &TraceImport) -> anyhow::Result<()> {
    import_file(options).with_context(|| format!("import {}", options.file.display()))
}

fn import_file(options: &TraceImport) -> anyhow::Result<()> {
    if options.file.is_dir() {
        bail!("it is a directory; name a file in it");
    }
    let place = Place::new(&options.output, std::slice::from_ref(&options.file), options.how.force)?;
    let mut input = input(options)?;
    let choices = ImportOptions {
        from: options.from,
        epoch: options.epoch.map(Nanos::from),
        class: options.class.clone(),
        pid: options.pid,
    };
    // It is read twice.
    let bar = bar_of([&options.file].into_iter(), 2);
    let done = import(&mut input, place.output()?, &choices, &mut |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    place.keep()?;
    result("import", &options.output, options.how.json, text(&done), json!(done))
}

/// The input, as something that can be read twice: a pipe is copied to a temporary file.
fn input(options: &TraceImport) -> anyhow::Result<File> {
    let standard = options.file.as_os_str() == STANDARD;
    let spool = |mut from: Box<dyn io::Read>| -> anyhow::Result<File> {
        let mut copy = tempfile::tempfile().context("make a temporary file for the input")?;
        io::copy(&mut from, &mut copy).context("copy the input to a temporary file")?;
        Ok(copy)
    };
    if standard {
        return spool(Box::new(io::stdin().lock()));
    }
    let file = File::open(&options.file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("there is no such file; check its name and path"),
        _ => anyhow!("open it: {error}"),
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { spool(Box::new(file)) }
}

fn text(done: &Imported) -> String {
    let mut text = format!(
        "from {}: {} of {} lines used, {} events in {} frames, {} in {} slots, {}",
        done.tool,
        done.used,
        done.lines,
        done.events,
        done.frames,
        units::show_bytes(done.pages * pagesieve_core::PAGE_SIZE),
        done.slots,
        units::show_bytes(done.bytes)
    );
    let told = [
        (done.malformed, "made no sense"),
        (done.outside, "were of the kernel's addresses"),
        (done.late, "came out of order and count as lost"),
        (done.lost, "were lost by the tool itself"),
    ];
    for (count, what) in told.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("; {count} {what}");
    }
    text
}
