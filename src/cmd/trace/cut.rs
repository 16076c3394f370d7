//! `pagesieve trace cut` and `pagesieve trace merge`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pagesieve_convert::{Part, Selection, cut, merge};
use pagesieve_core::Nanos;
use pagesieve_traces::End;
use serde_json::json;

use super::{bar_of, open_whole, result};
use crate::cli::{TraceCut, TraceMerge};
use crate::cmd::place::Place;
use crate::cmd::replay::name_of;
use crate::units;

pub(super) fn run_cut(options: &TraceCut) -> anyhow::Result<()> {
    let file = &options.file;
    cut_file(options).with_context(|| format!("cut {}", file.display()))
}

fn cut_file(options: &TraceCut) -> anyhow::Result<()> {
    let mut reader = open_whole(&options.file)?;
    let place = Place::new(&options.output, std::slice::from_ref(&options.file), options.how.force)?;
    let selection = Selection {
        from: options.from.map(Nanos::from),
        to: options.to.map(Nanos::from),
        pages: (!options.gfn.is_empty()).then(|| options.gfn.clone()),
    };
    let bar = bar_of([&options.file].into_iter(), 1);
    let done = cut(&mut reader, place.output()?, &selection, &mut |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    place.keep()?;
    let text = format!("{} frames, {} events, {}", done.frames, done.events, units::show_bytes(done.bytes));
    let missing = done.incomplete.clone();
    finish("cut", &options.output, options.how.json, text, json!(done), missing, matches!(done.end, Some(End::Damaged { .. })))
}

pub(super) fn run_merge(options: &TraceMerge) -> anyhow::Result<()> {
    let place = Place::new(&options.output, &options.files, options.how.force)?;
    let part = |file: &PathBuf| -> anyhow::Result<_> {
        let reader = open_whole(file).with_context(|| format!("join {}", file.display()))?;
        Ok(Part { name: name_of(file), reader })
    };
    let parts = options.files.iter().map(part).collect::<anyhow::Result<Vec<_>>>()?;
    let bar = bar_of(options.files.iter(), 1);
    let done = merge(parts, place.output()?, &mut |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    place.keep()?;
    let text = format!(
        "{} recordings, {} frames, {} events, {}",
        done.parts.len(),
        done.frames,
        done.events,
        units::show_bytes(done.bytes)
    );
    let missing = (!done.incomplete.is_empty()).then(|| done.incomplete.join("; "));
    finish("merge", &options.output, options.how.json, text, json!(done), missing, done.damaged)
}

/// Prints what was done. What is missing of the input is said; damage is an error, as for every verb, but what was whole is kept.
fn finish(
    verb: &str,
    output: &Path,
    as_json: bool,
    text: String,
    document: serde_json::Value,
    missing: Option<String>,
    damaged: bool,
) -> anyhow::Result<()> {
    if let (Some(missing), true) = (&missing, damaged) {
        bail!("read all of it: {missing}; what is whole is in {}", output.display());
    }
    let missing = missing.map_or_else(String::new, |missing| format!("; the input is not whole: {missing}"));
    result(verb, output, as_json, format!("{text}{missing}"), document)
}
