//! `pagesieve sync`.

use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use pagesieve_core::Nanos;
use pagesieve_live::sync::{SyncConfig, SyncListener, SyncStats, sync_file, sync_remote};
use pagesieve_live::wire::Name;

use super::network;
use crate::cli::Sync;
use crate::{output, units};

pub(crate) fn run(options: &Sync) -> anyhow::Result<()> {
    let config = SyncConfig {
        block_size: options.block_size,
        hash_workers: usize::from(options.hash_workers),
        in_place: options.in_place,
        journal: options.journal.clone(),
        verify: options.verify,
        attempts: options.attempts,
        retry_delay: Nanos(u64::try_from(options.retry_delay.as_nanos()).unwrap_or(u64::MAX)),
    };
    let runtime = network::runtime()?;
    let mut bar = Bar::new();
    let done = runtime.block_on(sync(options, &config, &mut bar));
    bar.0.finish_and_clear();
    let done = done?;
    if options.json { output::json(&done) } else { output::line(text(options, &done)) }
}

async fn sync(options: &Sync, config: &SyncConfig, bar: &mut Bar) -> anyhow::Result<SyncStats> {
    let Some(there) = network::address(&options.destination)? else {
        return Ok(sync_file(&options.source, &options.destination, config, bar).await?);
    };
    if config.in_place || config.journal.is_some() {
        bail!("sync to another machine: --in-place and --journal are for destinations on this one; leave them out");
    }
    let name = match &there.name {
        Some(name) => name.clone(),
        None => {
            let name = options.source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Name::new(name.clone()).with_context(|| format!("name the file at the destination: {name:?}"))?
        }
    };
    let connector = network::connector(&there, &options.security, options.bandwidth_limit)?;
    let session = connector.connect(&there.host, there.port, options.streams).await?;
    Ok(sync_remote(&options.source, name, session, config, bar).await?)
}

fn text(options: &Sync, done: &SyncStats) -> String {
    let skipped = done.blocks.skipped;
    let mut lines = vec![
        format!(
            "{}: {} of {} blocks written ({} of {}) in {:.2} s",
            options.destination.display(),
            done.blocks.sent,
            done.blocks.total,
            units::show_bytes(done.bytes_written),
            units::show_bytes(done.bytes),
            done.seconds
        ),
        format!(
            "  skipped   {} same content, {} zero, {} holes, {} unchanged; {} before they were read",
            skipped.same_content, skipped.zero, skipped.unpopulated, skipped.unchanged, done.filter.blocks_skipped
        ),
    ];
    if let Some(wire) = done.bytes_wire {
        lines.push(format!("  wire      {}", units::show_bytes(wire)));
    }
    if done.rolled_back {
        lines.push("  journal   the changes of a sync that was cut off were taken back first".to_owned());
    }
    if done.blocks_resumed > 0 {
        lines.push(format!("  resumed   {} blocks were there from a sync that was cut off", done.blocks_resumed));
    }
    if let Some(digest) = &done.digest {
        lines.push(format!("  verified  BLAKE3 {digest}"));
    }
    lines.join("\n")
}

/// How far the sync is, on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} blocks, {per_sec}, {eta} left");
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }
}

impl SyncListener for Bar {
    fn blocks(&mut self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }
}
