//! `pagesieve top`.

mod batch;
mod keys;
mod model;
mod screen;
mod view;
mod watch;

use std::io::{IsTerminal, stdin, stdout};
use std::sync::atomic::Ordering;

use anyhow::bail;
use pagesieve_core::Nanos;
use pagesieve_core::forecast::Link;
use pagesieve_core::migration::Mode;

use crate::cli::Top;
use crate::output;
use model::{About, Model, Wish};
use screen::Screen;
use watch::{Next, Watch};

pub(crate) fn run(options: &Top) -> anyhow::Result<()> {
    if options.batch {
        return batch::run(options);
    }
    if !stdin().is_terminal() || !stdout().is_terminal() {
        bail!("draw on the terminal: there is none; print a line for each reading with --batch");
    }
    if output::log_needs_terminal() {
        bail!("draw on the terminal: --verbose writes there too; give --batch, or send standard error to a file with 2>FILE");
    }
    let mut watch = Watch::open(options)?;
    let ended = show(options, &mut watch)?;
    if ended {
        output::note(format_args!("process {} has ended", watch.status().pid));
    }
    Ok(())
}

/// The link that was asked for.
fn link(options: &Top, bandwidth: u64) -> Link {
    Link { bandwidth: Some(bandwidth), downtime_limit: Nanos::from(options.downtime_limit), max_rounds: Mode::MAX_ROUNDS }
}

/// Shows the target on the terminal until the user has seen enough. Returns true if it is because the target has ended.
fn show(options: &Top, watch: &mut Watch) -> anyhow::Result<bool> {
    let mut model = Model::new(About::new(watch.status(), options), options.bandwidth, &super::migrate::LINES);
    let mut screen = Screen::enter()?;
    let mut readings = 0;
    loop {
        screen.draw(|frame| view::draw(frame, &model))?;
        loop {
            if screen.stop().load(Ordering::Relaxed) {
                return Ok(false);
            }
            // Waiting for a key is what lets time pass.
            let wish = keys::wait(watch::TICK)?.map_or(Wish::Nothing, |key| model.handle_key(key));
            match wish {
                Wish::Nothing => {}
                Wish::Redraw => break,
                Wish::Quit => return Ok(false),
                Wish::Forecast => {
                    model.set_forecast(watch.foretell(&link(options, model.bandwidth())));
                    break;
                }
            }
            match watch.next(std::time::Duration::ZERO) {
                Next::Wait => {}
                Next::Ended => return Ok(true),
                Next::Due => {
                    let Some(reading) = watch.close()? else { return Ok(true) };
                    model.take(watch.snapshot(reading, &link(options, model.bandwidth()), view::HEAT_CELLS));
                    readings += 1;
                    if options.count == Some(readings) {
                        return Ok(false);
                    }
                    break;
                }
            }
        }
    }
}
