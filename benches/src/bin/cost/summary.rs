//! From windows to figures: medians and spreads, ratios within a round, and what one write costs.

use pagesieve_benches::Spread;

use crate::MODES;
use crate::measure::Window;

/// All that was measured.
pub(crate) struct Costs {
    pub(crate) units: UnitWindows,
    pub(crate) classes: Vec<ClassCost>,
    pub(crate) window: u64,
    pub(crate) rounds: usize,
    pub(crate) check_rate: u64,
}

/// The windows of one class: rounds of one window for each of [`MODES`].
pub(crate) struct ClassCost {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Vec<Window>>,
    pub(crate) contents: Window,
}

/// The windows from which single costs are computed, round after round.
#[derive(Default)]
pub(crate) struct UnitWindows {
    pub(crate) bare: Vec<Window>,
    pub(crate) log: Vec<Window>,
    pub(crate) events: Vec<Window>,
    /// Nanoseconds of a run that made an event, and of taking it out of the ring.
    pub(crate) account: Vec<(f64, f64)>,
    /// Nanoseconds of a run for a process that is not observed.
    pub(crate) miss: Vec<f64>,
}

impl ClassCost {
    /// A figure of one mode, over the rounds.
    pub(crate) fn figure(&self, mode: usize, of: impl Fn(&Window) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|windows| of(&windows[mode])))
    }

    /// By how many percent a figure is lower than in the same round without observation.
    pub(crate) fn loss_percent(&self, mode: usize, of: impl Fn(&Window) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|windows| 100.0 * (1.0 - of(&windows[mode]) / of(&windows[0]).max(1e-9))))
    }

    pub(crate) fn lost(&self, mode: usize) -> u64 {
        self.rounds.iter().map(|windows| windows[mode].lost).sum()
    }

    /// The window of a mode in the last round: for memory, which does not depend on time.
    pub(crate) fn last(&self, mode: usize) -> &Window {
        &self.rounds[self.rounds.len() - 1][mode]
    }
}

/// What the first write to a page in an epoch costs, in nanoseconds of CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    /// The fault of a page that is armed.
    pub(crate) fault: f64,
    /// The same with its event.
    pub(crate) fault_and_event: f64,
    /// The recorder's part, scans and writing the trace included.
    pub(crate) recorder: f64,
    /// First writes a second in these windows.
    pub(crate) rate: f64,
}

impl Unit {
    /// All of it.
    pub(crate) fn total(&self) -> f64 {
        self.fault_and_event + self.recorder
    }

    /// First writes a second that take a hundredth of a CPU.
    pub(crate) fn rate_of_one_percent(&self) -> f64 {
        1e7 / self.total().max(1e-9)
    }
}

impl UnitWindows {
    /// What a first write adds to the target's passes, and to the recorder.
    pub(crate) fn unit(&self) -> Unit {
        let bare = Spread::of(self.bare.iter().map(|window| window.pass_cpu)).median;
        // `pass_cpu` is CPU time for each page that was written; only some of these writes found their page armed.
        let each = |windows: &[Window]| {
            Spread::of(windows.iter().map(|window| (window.pass_cpu - bare) * window.work / window.dirty.max(1e-9))).median
        };
        let recorder = Spread::of(self.events.iter().map(|window| window.observer_cpu / window.dirty.max(1e-9))).median;
        let rate = Spread::of(self.events.iter().map(|window| window.dirty)).median;
        Unit { fault: each(&self.log), fault_and_event: each(&self.events), recorder, rate }
    }
}

/// Modes and their numbers.
pub(crate) fn modes() -> impl Iterator<Item = (usize, String)> {
    MODES.into_iter().map(crate::measure::Mode::name).enumerate()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_middle_and_its_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of([]).median, 0.0);
    }

    #[test]
    fn a_loss_is_relative_to_the_same_round() {
        let window = |work| Window { work, ..Window::default() };
        let rounds = vec![vec![window(100.0), window(90.0)], vec![window(50.0), window(25.0)], vec![window(10.0), window(8.0)]];
        let class = ClassCost { name: "a".into(), rounds, contents: Window::default() };
        let loss = class.loss_percent(1, |window| window.work);
        assert!((loss.median - 20.0).abs() < 1e-9 && (loss.most - 50.0).abs() < 1e-9, "{loss:?}");
    }

    /// Ten writes a second of 5 ns, of which two find an armed page and take 1000 ns more, 300 of them for the event.
    #[test]
    fn a_first_write_is_told_from_the_others() {
        let window = |pass_cpu, dirty, observer_cpu| Window { work: 10.0, pass_cpu, dirty, observer_cpu, ..Window::default() };
        let found = UnitWindows {
            bare: vec![window(5.0, 0.0, 0.0)],
            log: vec![window(5.0 + 140.0, 2.0, 0.0)],
            events: vec![window(5.0 + 200.0, 2.0, 500.0)],
            ..UnitWindows::default()
        };
        let unit = found.unit();
        assert!((unit.fault - 700.0).abs() < 1e-6 && (unit.fault_and_event - 1000.0).abs() < 1e-6, "{unit:?}");
        assert!((unit.total() - 1250.0).abs() < 1e-6 && (unit.rate_of_one_percent() - 8000.0).abs() < 1e-6, "{unit:?}");
    }
}
