//! Sizes, times and rates as people write them.

use std::path::PathBuf;
use std::time::Duration;

use pagesieve_core::Gfn;

/// Parses `256MiB`, `64KiB`, `4096`. Units are powers of 1024; `KB` and the like are powers of 1000.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(format!("`{text}` is no size: write it like 64KiB or 256MiB")),
    };
    scaled(number, factor).ok_or_else(|| format!("`{text}` is no size: write it like 64KiB or 256MiB"))
}

/// Parses a guest frame number: `0x1f40` or `8000`.
pub(crate) fn gfn(text: &str) -> Result<Gfn, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map(Gfn).map_err(|_| format!("`{text}` is no guest frame number: write it like 8000 or 0x1f40"))
}

/// Parses a range of guest frame numbers: `0x100..0x200`, the last one not included, or a single one.
pub(crate) fn gfns(text: &str) -> Result<std::ops::Range<u64>, String> {
    let wrong = || format!("`{text}` is no range of guest frames: write it like 0x100..0x200, or 0x100 for a single one");
    match text.split_once("..") {
        Some((start, end)) => Ok(gfn(start).map_err(|_| wrong())?.0..gfn(end).map_err(|_| wrong())?.0),
        None => gfn(text).ok().and_then(|page| Some(page.0..page.0.checked_add(1)?)).ok_or_else(wrong),
    }
}

/// Parses the size of a block: a power of two of at least a page.
pub(crate) fn block_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no block size: write a power of two from 4KiB up, such as 64KiB");
    bytes(text).ok().filter(|&size| size.is_power_of_two() && size >= 4096).ok_or_else(wrong)
}

/// Parses `5s`, `250ms`, `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(format!("`{text}` is no time: write it like 250ms, 5s or 2m")),
    };
    scaled(number, factor).map(Duration::from_nanos).ok_or_else(|| format!("`{text}` is no time: write it like 250ms or 5s"))
}

/// Parses a duration that must not be zero.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|span| if span.is_zero() { Err("the time must be longer than zero".into()) } else { Ok(span) })
}

/// Parses a link speed such as `1Gbit` or `100Mbit` into bytes a second.
pub(crate) fn bandwidth(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no link speed: write it like 100Mbit, 1Gbit or 10Gbit");
    let (number, unit) = split(text);
    let unit = unit.strip_suffix("/s").unwrap_or(unit);
    let factor = match unit {
        "kbit" | "Kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    scaled(number, factor).map(|bits| bits / 8).filter(|&bytes| bytes > 0).ok_or_else(wrong)
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// `number` may have a fraction; the product is rounded down.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut value = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if !fraction.is_empty() {
        let digits = &fraction[..fraction.len().min(9)];
        let part = u128::from(digits.parse::<u64>().ok()?) * u128::from(factor) / 10u128.pow(digits.len() as u32);
        value = value.checked_add(part as u64)?;
    }
    Some(value)
}

/// `NAME=PATH`.
pub(crate) fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), PathBuf::from(path))),
        _ => Err(format!("`{text}` names nothing: write NAME=PATH")),
    }
}

/// Bytes for people: `3.2 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        assert_eq!(bytes("64KiB"), Ok(65536));
        assert_eq!(bytes("1.5MiB"), Ok(1_572_864));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(bandwidth("1Gbit"), Ok(125_000_000));
        assert_eq!(show_bytes(1_572_864), "1.5 MiB");
        assert_eq!((gfns("0x10..32"), gfns("7")), (Ok(16..32), Ok(7..8)));
        assert!(["", "1..", "..2", "1-2", "18446744073709551615"].iter().all(|text| gfns(text).is_err()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for text in ["", "x", "12parsec", "99999999999GiB", "1.x5MiB", "-3s"] {
            assert!(bytes(text).is_err(), "{text}");
            assert!(duration(text).is_err() || text == "1.x5MiB", "{text}");
        }
        assert!(span("0s").is_err());
        assert!(bandwidth("1GiB").unwrap_err().contains("1Gbit"));
    }
}
