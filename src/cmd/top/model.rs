//! What is on the screen: readings, and what the user has chosen.

use std::cmp::Reverse;
use std::collections::VecDeque;

use pagesieve_core::forecast::Forecast;
use pagesieve_core::gauge::{HotRange, Reading};
use pagesieve_recorder::live::Status;

use super::keys::Key;
use crate::cli::Top;

/// Rates that are remembered: more than any terminal is wide.
const RATES: usize = 512;

/// Lines by which a page key moves.
const PAGE: usize = 10;

/// What does not change while it is watched.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// Whom it is about.
    pub(super) target: String,
    /// What it is observed with.
    pub(super) observed: String,
    /// Why not with better means.
    pub(super) fallback: Option<String>,
    /// The interval in seconds.
    pub(super) interval: f64,
}

impl About {
    pub(super) fn new(status: &Status, options: &Top) -> Self {
        let target = status.guest.clone().unwrap_or_else(|| format!("process {}", status.pid));
        let events = if status.ebpf_enabled { format!("eBPF: {}", status.hooks.join(", ")) } else { "scan only".to_owned() };
        Self {
            target,
            observed: format!("{events}; armed by {}", status.arming),
            fallback: status.fallbacks().next().map(|reason| reason.lines().map(str::trim).collect::<Vec<_>>().join(" ")),
            interval: options.interval.as_secs_f64(),
        }
    }
}

/// A reading and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) reading: Reading,
    pub(super) forecast: Forecast,
    /// In the order of their addresses.
    pub(super) ranges: Vec<HotRange>,
    /// Thousandths, by address.
    pub(super) heat: Vec<u16>,
}

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Dirty bytes per second, oldest first.
    pub(super) rates: VecDeque<u64>,
    /// Nothing before the first epoch has ended.
    pub(super) snapshot: Option<Snapshot>,
    /// Events lost since the start.
    pub(super) lost: u64,
    /// Readings so far.
    pub(super) readings: u64,
}

/// By what the hot ranges are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Written in most epochs first.
    #[default]
    Hottest,
    /// Written most in the last epoch first.
    Now,
    /// Largest first.
    Largest,
    /// By address.
    Address,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hottest => "hottest",
            Self::Now => "hottest now",
            Self::Largest => "largest",
            Self::Address => "address",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Hottest => Self::Now,
            Self::Now => Self::Largest,
            Self::Largest => Self::Address,
            Self::Address => Self::Hottest,
        }
    }

    /// Ranges that come in the order of their addresses, in this one. Among equals the larger, then the lower ones come first.
    pub(super) fn sorted(self, ranges: &[HotRange]) -> Vec<HotRange> {
        let mut ranges = ranges.to_vec();
        match self {
            Self::Hottest => ranges.sort_by_key(|range| Reverse((range.share(), range.blocks))),
            Self::Now => ranges.sort_by_key(|range| Reverse((range.share_now(), range.share(), range.blocks))),
            Self::Largest => ranges.sort_by_key(|range| Reverse(range.pages())),
            Self::Address => {}
        }
        ranges
    }
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Redraw,
    /// The link changed: foretell anew.
    Forecast,
    Quit,
}

/// Everything that the view draws.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) about: About,
    current: Shown,
    /// What is shown instead, while the display is held.
    held: Option<Shown>,
    links: Vec<u64>,
    link: usize,
    pub(super) order: Order,
    /// The first range that is shown.
    scroll: usize,
    pub(super) help: bool,
}

impl Model {
    /// A display without readings, over one link of these, in bytes per second.
    pub(super) fn new(about: About, link: u64, others: &[u64]) -> Self {
        let mut links: Vec<u64> = others.iter().copied().chain([link]).collect();
        links.sort_unstable();
        links.dedup();
        let chosen = links.iter().position(|&known| known == link).unwrap_or(0);
        let (current, held, order, scroll, help) = (Shown::default(), None, Order::default(), 0, false);
        Self { about, current, held, links, link: chosen, order, scroll, help }
    }

    /// The link that is chosen, in bytes per second.
    pub(super) fn bandwidth(&self) -> u64 {
        self.links[self.link]
    }

    pub(super) fn shown(&self) -> &Shown {
        self.held.as_ref().unwrap_or(&self.current)
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The hot ranges as they are shown, from the first that is on the screen.
    pub(super) fn ranges(&self) -> Vec<HotRange> {
        let ranges = self.shown().snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.ranges);
        let mut sorted = self.order.sorted(ranges);
        sorted.drain(..self.scroll.min(sorted.len().saturating_sub(1)));
        sorted
    }

    /// An epoch ended.
    pub(super) fn take(&mut self, snapshot: Snapshot) {
        let shown = &mut self.current;
        if shown.rates.len() == RATES {
            shown.rates.pop_front();
        }
        shown.rates.push_back(snapshot.reading.dirty_rate());
        shown.lost = shown.lost.saturating_add(snapshot.reading.lost);
        shown.readings += 1;
        shown.snapshot = Some(snapshot);
    }

    /// What is foretold for the link that was chosen.
    pub(super) fn set_forecast(&mut self, forecast: Forecast) {
        let shown = [Some(&mut self.current), self.held.as_mut()];
        for snapshot in shown.into_iter().flatten().filter_map(|shown| shown.snapshot.as_mut()) {
            snapshot.forecast = forecast;
        }
    }

    pub(super) fn handle_key(&mut self, key: Key) -> Wish {
        let last = self.shown().snapshot.as_ref().map_or(0, |snapshot| snapshot.ranges.len().saturating_sub(1));
        match key {
            Key::Quit if self.help => self.help = false,
            Key::Quit => return Wish::Quit,
            Key::Link => {
                self.link = (self.link + 1) % self.links.len();
                return Wish::Forecast;
            }
            Key::Order => (self.order, self.scroll) = (self.order.next(), 0),
            Key::Hold => self.held = if self.is_held() { None } else { Some(self.current.clone()) },
            Key::Help => self.help = !self.help,
            Key::Up => self.scroll = self.scroll.min(last).saturating_sub(1),
            Key::Down => self.scroll = (self.scroll + 1).min(last),
            Key::PageUp => self.scroll = self.scroll.min(last).saturating_sub(PAGE),
            Key::PageDown => self.scroll = (self.scroll + PAGE).min(last),
            Key::Redraw => {}
        }
        Wish::Redraw
    }
}

#[cfg(test)]
pub(super) mod tests;
