//! Numbers as people read them. HTML and Markdown use the same functions, so the two cannot disagree.

use pagesieve_core::PAGE_SIZE;

/// Shown where there is no number.
pub const NONE: &str = "–";

/// A no-break space, between a number and its unit.
const NBSP: char = '\u{a0}';

/// A share from 0 to 1 as a percentage with one decimal. A share that is not a finite number is shown as [`NONE`].
///
/// Only exact ends are shown as 0 and 100: a rate of 99.97 % never turns into "100 %" by rounding.
#[must_use]
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.into();
    }
    let percent = share * 100.0;
    if share > 0.0 && percent < 0.05 {
        return format!("<{NBSP}0.1{NBSP}%");
    }
    if share < 1.0 && percent >= 99.95 {
        return format!(">{NBSP}99.9{NBSP}%");
    }
    format!("{percent:.1}{NBSP}%")
}

/// A whole number with commas between thousands.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 page`, `2 pages`, `1,234 pages`.
#[must_use]
pub fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{}{NBSP}{}", count(number), if number == 1 { one } else { many })
}

/// Bytes with a binary unit and one decimal, such as `512.0 MiB`; whole bytes below 1 KiB.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}{NBSP}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for next in ["MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1}{NBSP}{unit}")
}

/// A size that is a round number of its unit is shown without decimals: `64 KiB`, `2 GiB`.
#[must_use]
pub fn round_bytes(size: u64) -> String {
    bytes(size).replace(".0", "")
}

/// Something per second, such as `1.5 k/s`.
#[must_use]
pub fn per_second(rate: f64) -> String {
    if !rate.is_finite() {
        return NONE.into();
    }
    match rate {
        r if r >= 1e6 => format!("{:.1}{NBSP}M/s", r / 1e6),
        r if r >= 1e3 => format!("{:.1}{NBSP}k/s", r / 1e3),
        r => format!("{r:.1}{NBSP}/s"),
    }
}

/// Nanoseconds as seconds, milliseconds or microseconds; minutes from 120 s on.
#[must_use]
pub fn duration(ns: u64) -> String {
    match ns {
        0 => format!("0{NBSP}s"),
        ns if ns < 1_000_000 => format!("{:.1}{NBSP}µs", ns as f64 / 1e3),
        ns if ns < 1_000_000_000 => format!("{:.1}{NBSP}ms", ns as f64 / 1e6),
        ns if ns < 120_000_000_000 => format!("{:.1}{NBSP}s", ns as f64 / 1e9),
        ns => format!("{}{NBSP}min {:02}{NBSP}s", ns / 60_000_000_000, ns / 1_000_000_000 % 60),
    }
}

/// Seconds with one decimal and no unit, for table columns that name the unit in their heading.
#[must_use]
pub fn seconds(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e9)
}

/// Pages written in a time, as MiB per second; 0 if no time went by.
#[must_use]
pub fn mib_per_second(pages: u64, ns: u64) -> f64 {
    if ns == 0 { 0.0 } else { (pages as f64 * PAGE_SIZE as f64 / 1_048_576.0) / (ns as f64 / 1e9) }
}

/// Seconds since the Unix epoch as a UTC date, such as `2026-01-31 12:00 UTC`; [`NONE`] for 0.
#[must_use]
pub fn date(unix: u64) -> String {
    // Days beyond the year 9999 are no dates that a recorder could have written.
    const LAST: u64 = 253_402_300_799;
    if unix == 0 || unix > LAST {
        return NONE.into();
    }
    let (mut days, second) = (unix / 86_400, unix % 86_400);
    let mut year = 1970;
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let february = days_in_year(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02} UTC", days + 1, second / 3600, second / 60 % 60)
}

fn days_in_year(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if leap { 366 } else { 365 }
}

/// At most `limit` characters, the last one an ellipsis if something was cut. Control characters become spaces, because a
/// name out of a file may hold any.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    let clean = || text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if clean().count() <= limit {
        return clean().collect();
    }
    clean().take(limit.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(percent(0.7241), "72.4\u{a0}%");
        assert_eq!(percent(0.9999), ">\u{a0}99.9\u{a0}%", "only all of it is 100 %");
        assert_eq!(percent(0.0001), "<\u{a0}0.1\u{a0}%", "only nothing is 0 %");
        assert_eq!((percent(0.0), percent(1.0)), ("0.0\u{a0}%".into(), "100.0\u{a0}%".into()));
        assert_eq!(percent(f64::NAN), NONE);
        assert_eq!(
            (count(0), count(999), count(1000), count(1_234_567)),
            ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!(
            (bytes(1023), bytes(1536), bytes(u64::MAX)),
            ("1023\u{a0}B".into(), "1.5\u{a0}KiB".into(), "16.0\u{a0}EiB".into())
        );
        assert_eq!(round_bytes(65536), "64\u{a0}KiB");
        assert_eq!((duration(1_500_000), duration(61_000_000_000)), ("1.5\u{a0}ms".into(), "61.0\u{a0}s".into()));
        assert_eq!(duration(125_000_000_000), "2\u{a0}min 05\u{a0}s");
        assert_eq!((per_second(1500.0), per_second(f64::INFINITY)), ("1.5\u{a0}k/s".into(), NONE.into()));
        assert_eq!((mib_per_second(256, 500_000_000), mib_per_second(256, 0)), (2.0, 0.0));
    }

    #[test]
    fn dates_know_leap_years() {
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00 UTC");
        assert_eq!((date(0), date(u64::MAX)), (NONE.into(), NONE.into()));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shorten("größer", 4), "grö…");
        assert_eq!(shorten("a\nb", 3), "a b");
    }
}
