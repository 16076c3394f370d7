//! `pagesieve migrate`.

mod bar;
mod story;

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use pagesieve_core::Nanos;
use pagesieve_core::forecast::{Forecast, Link, Rate};
use pagesieve_core::migration::Unconverged;
use pagesieve_live::migrate::{Guest, Handover, MigrateConfig, MigrateError, Migrated, foretell, migrate};
use pagesieve_live::transport::{Address, Session};
use pagesieve_live::wire::Name;
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{Accesses, LiveOptions, LiveTarget, Log, Memory, Pausable, RecordTo, StateLimits};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::network;
use super::record::stop_on_signal;
use crate::cli::Migrate;
use crate::output;
use story::Story;

/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(50);

/// Lines that a dry run tells about beside the limit that was given, in bytes per second: 100 Mbit/s, 1, 10 and 25 Gbit/s.
pub(super) const LINES: [u64; 4] = [12_500_000, 125_000_000, 1_250_000_000, 3_125_000_000];

pub(crate) fn run(options: &Migrate) -> anyhow::Result<()> {
    let runtime = network::runtime()?;
    if options.dry_run {
        return dry_run(options, &runtime);
    }
    if let Some(trace) = &options.record {
        super::check_output_of(trace, "--record")?;
        if trace.exists() {
            bail!("create {}: it exists; move it away or name another file with --record", trace.display());
        }
    }
    let Some(to) = &options.to else { bail!("migrate the guest: say where, with --to HOST:PORT") };
    let there: Address = to.parse()?;
    let connector = network::connector(&there, &options.security, options.bandwidth_limit)?;
    // Before the guest is touched: whoever cannot be reached gets no guest.
    let session = runtime.block_on(connector.connect(&there.host, there.port, options.streams))?;
    let target = open(options)?;
    target.ram_layout()?;
    let name = match there.name {
        Some(name) => name,
        None => Name::new("guest").context("name the guest")?,
    };
    let mut story = Story::new(target.status().clone(), options.json);
    let moved = go(options, &runtime, &target, (session, name), &mut story);
    story.end(moved.as_ref());
    if options.record.is_some()
        && let Err(error) = target.end_recording(&story.last_words())
    {
        output::note(format_args!("the trace is cut short: failed to {error}"));
    }
    story.show()?;
    Ok(moved.map(drop)?)
}

/// Observes the guest, and says how.
fn open(options: &Migrate) -> anyhow::Result<LiveTarget> {
    let spec = TargetSpec::Guest { qmp: options.qmp.clone(), pid: options.pid };
    let epoch = config(options).watch_epoch().unwrap_or(Duration::from_secs(1));
    let record = options.record.clone().map(|path| RecordTo { path, force: false, class: None, epoch });
    let device_state = (!options.dry_run).then(StateLimits::default);
    let settings = LiveOptions { require_ebpf: options.require_ebpf, device_state, record, ..LiveOptions::default() };
    let target = LiveTarget::open(&spec, &settings, None)?;
    if !options.json {
        // A document says it.
        target.status().fallbacks().for_each(output::note);
    }
    Ok(target)
}

fn parts(target: &LiveTarget) -> Guest<Accesses, Log, Memory, Pausable> {
    Guest {
        accesses: target.accesses(),
        log: target.log(),
        memory: target.memory(),
        guest: target.guest(),
        slots: target.slots().clone(),
        first_epoch: target.first_epoch(),
        populated: target.populated().clone(),
    }
}

/// Moves it, until it is there or Ctrl-C comes.
fn go(
    options: &Migrate,
    runtime: &Runtime,
    target: &LiveTarget,
    (session, name): (Session, Name),
    story: &mut Story,
) -> Result<Migrated, MigrateError> {
    let config = config(options);
    let (abort_sender, abort) = watch::channel(false);
    let (_handover_sender, handover) = watch::channel(false);
    let stop = stop_on_signal().map_err(|error| MigrateError::Here(format!("{error:#}")))?;
    let mut devices = Devices(target);
    runtime.block_on(async {
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(TICK).await;
            }
            let _ = abort_sender.send(true);
        });
        migrate(parts(target), &mut devices, session, name, &config, (handover, abort), story).await
    })
}

fn config(options: &Migrate) -> MigrateConfig {
    MigrateConfig {
        policy: options.policy,
        block_size: options.block_size,
        watch: options.watch,
        downtime_limit: options.downtime_limit,
        max_rounds: options.max_rounds,
        bandwidth: options.bandwidth_limit,
        unconverged: if options.force { Unconverged::HandOver } else { Unconverged::GiveUp },
        throttle: None,
        delta_room: options.delta_cache,
        verify: options.verify,
    }
}

/// Watches the guest and foretells its migration over several lines. Nothing is sent.
fn dry_run(options: &Migrate, runtime: &Runtime) -> anyhow::Result<()> {
    if options.watch.is_zero() {
        bail!("foretell the migration: the guest must be watched; leave --watch out or give a time");
    }
    let target = open(options)?;
    let downtime_limit = Nanos::from(options.downtime_limit);
    let mut lines: Vec<u64> = LINES.into_iter().chain(options.bandwidth_limit).collect();
    lines.sort_unstable();
    lines.dedup();
    let link = |bandwidth| Link { bandwidth: Some(bandwidth), downtime_limit, max_rounds: options.max_rounds };
    let links: Vec<_> = lines.into_iter().map(link).collect();
    let forecasts = runtime.block_on(foretell(parts(&target), &config(options), &links))?;
    if options.json {
        return output::json(&json!({
            "schema": { "name": "pagesieve.forecast", "version": "1.0" },
            "watched_seconds": options.watch.as_secs_f64(),
            "forecasts": forecasts,
        }));
    }
    output::line(format_args!("if the guest goes on as it did in the last {:.1} s:", options.watch.as_secs_f64()))?;
    forecasts.iter().try_for_each(|forecast| output::line(line(forecast)))
}

fn line(forecast: &Forecast) -> String {
    let rate = forecast.link.bandwidth.map_or_else(String::new, |rate| Rate(rate).to_string());
    format!("  {rate:>10}  {forecast}")
}

/// The devices of a guest, and who may run it.
struct Devices<'a>(&'a LiveTarget);

impl Handover for Devices<'_> {
    fn device_state(&mut self) -> Result<Vec<u8>, String> {
        let written = self.0.written_since().count();
        if written > 0 {
            return Err(format!("{written} pages were written while the guest stood still, by a device that is not its own"));
        }
        self.0.take_device_state().map(|state| state.0).ok_or_else(|| "the state of the devices was not taken".to_owned())
    }

    fn give_away(&mut self) -> Result<(), String> {
        self.0.give_away().map_err(|error| error.to_string())
    }

    fn take_back(&mut self) -> Result<(), String> {
        self.0.take_back().map_err(|error| error.to_string())
    }
}
