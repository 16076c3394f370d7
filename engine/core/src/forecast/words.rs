//! A forecast as one line for people.

use core::fmt;

use super::{Forecast, Verdict};
use crate::Nanos;

/// Bytes per second, shown as bits per second with three digits, such as `340 Mbit/s`.
///
/// Rounded up, so that a bandwidth that is said to be enough is enough when it is typed in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

/// A length of time, shown with three digits, such as `12.3 s` or `120 ms`; minutes from 120 s on. Rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Nanos);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 4] = [(1, "bit/s"), (1000, "kbit/s"), (1_000_000, "Mbit/s"), (1_000_000_000, "Gbit/s")];
        three_digits(f, u128::from(self.0) * 8, &UNITS)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 4] = [(1, "ns"), (1000, "us"), (1_000_000, "ms"), (1_000_000_000, "s")];
        let seconds = self.0.0.div_ceil(Nanos::SECOND.0);
        match self.0.0 {
            0 => f.write_str("0 s"),
            _ if seconds >= 120 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            nanos => three_digits(f, u128::from(nanos), &UNITS),
        }
    }
}

/// Writes `value` in the unit in which it has one to three digits before the point; the largest unit takes what is beyond.
fn three_digits(f: &mut fmt::Formatter<'_>, value: u128, units: &[(u128, &str)]) -> fmt::Result {
    for (at, &(size, unit)) in units.iter().enumerate() {
        let finest = [100, 10, 1].into_iter().find(|finest| value * finest < size * 1000).unwrap_or(1);
        let step = (size / finest).max(1);
        let rounded = value.div_ceil(step) * step;
        if rounded >= size * 1000 && at + 1 < units.len() {
            continue;
        }
        write!(f, "{}", rounded / size)?;
        match rounded % size * 100 / size {
            0 => {}
            hundredths if hundredths % 10 == 0 => write!(f, ".{}", hundredths / 10)?,
            hundredths => write!(f, ".{hundredths:02}")?,
        }
        return write!(f, " {unit}");
    }
    Ok(())
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = Rounds(self.rounds);
        let downtime = Span(self.downtime);
        if self.why == Verdict::Fits {
            return write!(f, "converges after {rounds} in {}, downtime {downtime}", Span(self.total_time));
        }
        f.write_str("does not converge")?;
        match self.link.bandwidth {
            Some(bandwidth) => write!(f, " at {}: ", Rate(bandwidth))?,
            None => f.write_str(" on an unlimited wire: ")?,
        }
        match self.why {
            Verdict::Standstill { dirty_rate, send_rate } => {
                let (dirty, sent) = (Rate(dirty_rate), Rate(send_rate));
                write!(f, "pages are written at {dirty} and sent at {sent}, so a pause would take {downtime}")?;
            }
            Verdict::NothingMoves => f.write_str("nothing moves")?,
            Verdict::Fits | Verdict::RoundsRanOut => {
                let limit = Span(self.link.downtime_limit);
                write!(f, "after {rounds} a pause would still take {downtime}, and the limit is {limit}")?;
            }
        }
        match self.needed_bandwidth {
            Some(bandwidth) => write!(f, "; it would at {}", Rate(bandwidth)),
            None => f.write_str("; no bandwidth is enough"),
        }
    }
}

struct Rounds(u32);

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} round{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}
