//! The guest's pulse: bytes on a serial port, with the time at which each came out of a QEMU. All on the clock of this process.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::qmp;

/// The guest counts from 0 to 63, as the bytes from `0` on.
const NUMBERS: u8 = 64;

/// A byte of the guest, and when it came.
pub(crate) type Tick = (Instant, u8);

/// The pulse that comes out of one QEMU.
pub(crate) struct Ticks(Arc<Mutex<Vec<Tick>>>);

impl Ticks {
    /// Listens at a serial port until its QEMU ends.
    pub(crate) fn listen(socket: &Path) -> anyhow::Result<Self> {
        let mut stream = qmp::connect(socket)?;
        let ticks = Self(Arc::default());
        let seen = Arc::clone(&ticks.0);
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                let now = Instant::now();
                let numbers = bytes[..count].iter().map(|byte| (now, byte.wrapping_sub(b'0') % NUMBERS));
                seen.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
            }
        });
        Ok(ticks)
    }

    /// Those that came from a time on.
    pub(crate) fn since(&self, from: Instant) -> Vec<Tick> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen[seen.partition_point(|(time, _)| *time < from)..].to_vec()
    }
}

/// What the guest's pulse says of its move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pulse {
    /// From the last sign of life at the source to the first at the destination.
    pub(crate) downtime: Duration,
    /// The longest silence before that, while the move was under way.
    pub(crate) longest_before: Duration,
    /// When it first lived at the destination, since the start of the move.
    pub(crate) total: Duration,
}

/// The longest time without a tick.
pub(crate) fn longest(ticks: &[Tick]) -> Duration {
    ticks.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or_default()
}

/// Reads a move off the ticks that came since it began.
pub(crate) fn pulse(began: Instant, source: &[Tick], destination: &[Tick]) -> anyhow::Result<Pulse> {
    let last = source.last().context("the guest gave no sign of life while it moved")?;
    let first = destination.first().context("the guest gives no sign of life at the destination")?;
    ensure!(first.0 > last.0, "the guest lived at the source after it lived at the destination");
    // Some ticks may be lost with a serial port's buffer; a step back of as many would be a guest that lives in its past.
    let step = (first.1 + NUMBERS - last.1) % NUMBERS;
    ensure!((1..NUMBERS / 2).contains(&step), "the guest's pulse jumped from {} to {}", last.1, first.1);
    Ok(Pulse { downtime: first.0 - last.0, longest_before: longest(source), total: first.0 - began })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(began: Instant, ticks: &[(u64, u8)]) -> Vec<Tick> {
        ticks.iter().map(|(ms, number)| (began + Duration::from_millis(*ms), *number)).collect()
    }

    #[test]
    fn the_silence_between_the_two_is_the_downtime() {
        let began = Instant::now();
        let (source, destination) = (ticks(began, &[(5, 61), (10, 62), (40, 63)]), ticks(began, &[(240, 0), (600, 1), (605, 2)]));
        let ms = Duration::from_millis;
        let found = pulse(began, &source, &destination).unwrap();
        assert_eq!(found, Pulse { downtime: ms(200), longest_before: ms(30), total: ms(240) });
        assert_eq!(longest(&destination), ms(360));
    }

    #[test]
    fn a_guest_in_its_past_or_in_two_places_is_noticed() {
        let began = Instant::now();
        let source = ticks(began, &[(5, 7), (10, 8)]);
        for wrong in [&[(20, 8)][..], &[(20, 7)], &[(20, 60)], &[(7, 9)], &[]] {
            assert!(pulse(began, &source, &ticks(began, wrong)).is_err(), "{wrong:?}");
        }
        assert!(pulse(began, &[], &source).is_err());
    }
}
