//! `pagesieve migrate`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use pagesieve_core::migration::Unconverged;
use pagesieve_core::{Action, Nanos};
use pagesieve_live::migrate::{Guest, Handover, MigrateConfig, MigrateListener, Migrated, Phase, migrate};
use pagesieve_live::transport::Address;
use pagesieve_live::wire::Name;
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{LiveOptions, LiveTarget, StateLimits, Status};
use serde_json::json;
use tokio::sync::watch;

use super::network;
use super::record::stop_on_signal;
use crate::cli::Migrate;
use crate::{output, units};

/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(50);

pub(crate) fn run(options: &Migrate) -> anyhow::Result<()> {
    let there: Address = options.to.parse()?;
    let connector = network::connector(&there, &options.security, options.bandwidth_limit)?;
    let runtime = network::runtime()?;
    // Before the guest is touched: whoever cannot be reached gets no guest.
    let session = runtime.block_on(connector.connect(&there.host, there.port, options.streams))?;
    let spec = TargetSpec::Guest { qmp: options.qmp.clone(), pid: options.pid };
    let settings =
        LiveOptions { require_ebpf: options.require_ebpf, device_state: Some(StateLimits::default()), ..LiveOptions::default() };
    let target = LiveTarget::open(&spec, &settings, None)?;
    target.ram_layout()?;
    let status = target.status().clone();
    for reason in [&status.ebpf_fallback, &status.writes_fallback].into_iter().flatten() {
        output::note(reason);
    }
    let config = config(options);
    let name = match there.name {
        Some(name) => name,
        None => Name::new("guest").context("name the guest")?,
    };
    let mut bar = Bar::new();
    let (abort_sender, abort) = watch::channel(false);
    let (_handover_sender, handover) = watch::channel(false);
    let stop = stop_on_signal()?;
    let parts = Guest {
        accesses: target.accesses(),
        log: target.log(),
        memory: target.memory(),
        guest: target.guest(),
        slots: target.slots().clone(),
        first_epoch: target.first_epoch(),
        populated: target.populated().clone(),
    };
    let mut devices = Devices(&target);
    let done = runtime.block_on(async {
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(TICK).await;
            }
            let _ = abort_sender.send(true);
        });
        migrate(parts, &mut devices, session, name, &config, (handover, abort), &mut bar).await
    });
    bar.bar.finish_and_clear();
    show(options, &status, &done?)
}

fn config(options: &Migrate) -> MigrateConfig {
    MigrateConfig {
        policy: options.policy,
        block_size: options.block_size,
        downtime_limit: options.downtime_limit,
        max_rounds: options.max_rounds,
        bandwidth: options.bandwidth_limit,
        unconverged: if options.force { Unconverged::HandOver } else { Unconverged::GiveUp },
        throttle: None,
        delta_room: options.delta_cache,
        verify: options.verify,
    }
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

/// How far the migration is, on a terminal.
struct Bar {
    bar: ProgressBar,
    round: u32,
}

impl Bar {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, round: 0 }
    }
}

impl MigrateListener for Bar {
    fn phase(&mut self, phase: Phase) {
        self.bar.set_message(match phase {
            Phase::Opening => "the destination says what it holds",
            Phase::Precopy => "round 0: everything",
            Phase::StopAndCopy => "the guest stands still; the rest",
            Phase::Devices => "devices",
            Phase::Handover => "handover",
        });
    }

    fn action(&mut self, _: Nanos, action: &Action) {
        if matches!(action, Action::CloseEpoch) {
            self.round += 1;
            self.bar.set_message(format!("round {}: what was written", self.round));
        }
    }

    fn trouble(&mut self, what: &str) {
        self.bar.suspend(|| output::note(what));
    }
}

fn show(options: &Migrate, status: &Status, done: &Migrated) -> anyhow::Result<()> {
    let (report, blocks) = (&done.report, &done.report.blocks);
    if options.json {
        return output::json(&json!({
            "schema": { "name": "pagesieve.migrate", "version": "1.0" },
            "ebpf_enabled": status.ebpf_enabled,
            "fallback": status.ebpf_fallback.as_ref().or(status.writes_fallback.as_ref()),
            "rounds": report.rounds,
            "converged": report.converged,
            "blocks": blocks,
            "held_blocks": done.held,
            "bytes": { "sent": report.bytes_sent, "resent": report.bytes_resent, "wire": report.bytes_wire },
            "device_state": done.device_state,
            "downtime_seconds": done.downtime.as_secs_f64(),
            "total_seconds": done.total.as_secs_f64(),
        }));
    }
    output::line(format_args!(
        "moved in {:.2} s, {} rounds, {} on the wire; the guest stood still for {:.0} ms",
        done.total.as_secs_f64(),
        report.rounds,
        units::show_bytes(report.bytes_wire),
        done.downtime.as_secs_f64() * 1000.0
    ))?;
    output::line(format_args!(
        "  blocks    {} sent; skipped: {} unchanged, {} same content, {} zero, {} unpopulated",
        blocks.sent, blocks.skipped.unchanged, blocks.skipped.same_content, blocks.skipped.zero, blocks.skipped.unpopulated
    ))
}
