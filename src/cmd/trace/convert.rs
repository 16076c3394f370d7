//! `pagesieve trace convert`.

use anyhow::{Context, bail};
use pagesieve_convert::export::row_writer;
use pagesieve_convert::{Exported, Format, Rows, export_events, export_verdicts, is_cut_off};
use pagesieve_core::summary::ReplaySummary;
use pagesieve_replayer::{Decisions, ReplayConfig, TraceInfo, trace_length};
use pagesieve_traces::End;
use serde_json::json;

use super::{bar_of, open_whole, result};
use crate::cli::TraceConvert;
use crate::cmd::place::{Place, STANDARD};
use crate::cmd::replay::name_of;

pub(super) fn run(options: &TraceConvert) -> anyhow::Result<()> {
    convert(options).with_context(|| format!("convert {}", options.file.display()))
}

fn convert(options: &TraceConvert) -> anyhow::Result<()> {
    let standard = options.output.as_os_str() == STANDARD;
    let Some(format) = options.to.or_else(|| Format::of_path(&options.output)) else {
        let path = options.output.display();
        bail!("tell the format of {path}: its name ends with none of .csv, .jsonl, .parquet, .json; name it with --to");
    };
    let mut reader = open_whole(&options.file)?;
    let place = if standard {
        Place::Standard
    } else {
        Place::new(&options.output, std::slice::from_ref(&options.file), options.how.force)?
    };
    let rows = options.rows.map_or(Rows::Events, Rows::from);
    let header = reader.header().clone();
    let mut writer = row_writer(format, rows, &header, place.output()?)?;
    let bar = bar_of([&options.file].into_iter(), 1);
    let mut progress = |bytes| bar.set_position(bytes);
    let mut summary = None;
    let done = match rows {
        Rows::Events => export_events(&mut reader, writer.as_mut(), &mut progress)?,
        Rows::Verdicts => {
            // A damaged trace may have no length: then a migration is watched as long as the options say.
            let length = trace_length(&mut open_whole(&options.file)?).unwrap_or_default();
            let name = name_of(&options.file);
            let trace = TraceInfo { name: &name, header: &header, length };
            let config = ReplayConfig { policy: options.policy, scenario: options.scenario, ..options.engine.config() };
            let mut replay = Decisions::new(trace, config)?;
            let done = export_verdicts(&mut reader, &mut |frame| Ok(replay.feed(frame)?), writer.as_mut(), &mut progress)?;
            summary = replay.summary();
            done
        }
    };
    bar.finish_and_clear();
    drop(writer);
    if let (0, Some(missing)) = (done.frames, is_cut_off(done.end.as_ref())) {
        bail!("read any of it: {missing}");
    }
    place.keep()?;
    finish(options, format, &done, summary.as_ref(), standard)
}

fn finish(
    options: &TraceConvert,
    format: Format,
    done: &Exported,
    replay: Option<&ReplaySummary>,
    standard: bool,
) -> anyhow::Result<()> {
    let missing = is_cut_off(done.end.as_ref());
    if let (Some(missing), Some(End::Damaged { .. })) = (&missing, &done.end) {
        bail!("read all of it: {missing}; what is whole is in {}", options.output.display());
    }
    if standard {
        return Ok(());
    }
    let table = if replay.is_some() { "verdicts" } else { "events" };
    let drawn = if format == Format::Perfetto { ", drawn by epoch" } else { "" };
    let of_input = missing.as_ref().map_or_else(String::new, |missing| format!("; the input is not whole: {missing}"));
    let text = format!("{} {table} of {} frames as {}{drawn}{of_input}", done.rows, done.frames, format.name());
    let document = json!({
        "format": format.name(), "table": table, "rows": done.rows, "frames": done.frames, "replay": replay,
        "incomplete": missing,
    });
    result("convert", &options.output, options.how.json, text, document)
}
