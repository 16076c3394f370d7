//! Records of DAMON, as damo writes them in JSON: the files of `damo record` in the forms `json` and `json_compressed` (zlib), and the
//! output of `damo report access --json`.
//!
//! The document is a list of records, one for each target. Of a record these fields are used, all others are passed over:
//!
//! - `target_id`: to tell how many targets there are.
//! - `snapshots`: each with `start_time` and `end_time` in nanoseconds, and `regions`.
//! - of a region `start` and `end` (addresses; the end is not part of it) and `nr_accesses`, either a number or an object with
//!   `samples` or `percent`: how often a page of the region was found accessed. `age` is not needed: it says for how many snapshots
//!   that has been so, and those snapshots are there.
//!
//! Numbers may be text with commas (`"140,731,667,070,976"`), times text with units (`"4 s 500 ms"`): damo prints both ways.
//!
//! DAMON looks at a page of a region and believes that the others are used alike. So an access is told for every page of a region
//! that was found accessed, at the end of the snapshot. Snapshots are handed on as they are read: a long record takes no memory.

use std::io::{BufReader, Read};

use flate2::read::ZlibDecoder;
use pagesieve_core::{AccessKind, Origin};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Counts, ImportError, Seen, Sink, Told};

/// Reads the whole document.
pub(super) fn read(mut input: impl Read, sink: Sink<'_>) -> Result<Counts, ImportError> {
    let mut first = [0; 1];
    let got = input.read(&mut first).map_err(ImportError::Input)?;
    let input = first[..got].chain(input);
    let compressed = first == [0x78];
    if compressed { read_json(ZlibDecoder::new(input), sink) } else { read_json(input, sink) }
}

fn read_json(input: impl Read, sink: Sink<'_>) -> Result<Counts, ImportError> {
    let mut told =
        Gathered { counts: Counts { hooks: vec!["damon".to_owned()], ..Counts::default() }, sink, records: 0, failed: None };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 17, input));
    let done = Records(&mut told).deserialize(&mut json).and_then(|()| json.end());
    match (told.failed.take(), done) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(ImportError::Json(error)),
        (None, Ok(())) if told.records > 1 => Err(ImportError::Targets(told.records)),
        (None, Ok(())) => Ok(told.counts),
    }
}

/// Where snapshots go. An error of the sink is kept here: through serde it could only pass as text.
struct Gathered<'a> {
    counts: Counts,
    sink: Sink<'a>,
    /// Records with a snapshot.
    records: usize,
    failed: Option<ImportError>,
}

impl Gathered<'_> {
    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), ImportError> {
        self.counts.lines += 1;
        for region in &snapshot.regions {
            if region.end <= region.start || !region.accessed {
                self.counts.other += 1;
                continue;
            }
            self.counts.used += 1;
            let (start, length) = (region.start, region.end - region.start);
            let (kind, origin) = (AccessKind::Read, Origin::User);
            (self.sink)(Told::Access(Seen { time: snapshot.end_time, start, length, kind, origin, cpu: 0, tid: 0 }))?;
        }
        self.counts.end = self.counts.end.max(Some(snapshot.end_time));
        Ok(())
    }
}

struct Records<'a, 'b>(&'a mut Gathered<'b>);

impl<'de> DeserializeSeed<'de> for Records<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of records of damo")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while records.next_element_seed(Record(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

struct Record<'a, 'b>(&'a mut Gathered<'b>);

impl<'de> DeserializeSeed<'de> for Record<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a record of damo")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<String>()? {
            if key == "snapshots" {
                fields.next_value_seed(Snapshots(&mut *self.0))?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Snapshots<'a, 'b>(&'a mut Gathered<'b>);

impl<'de> DeserializeSeed<'de> for Snapshots<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Snapshots<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of snapshots")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut snapshots: A) -> Result<(), A::Error> {
        let mut first = true;
        while let Some(snapshot) = snapshots.next_element::<Snapshot>()? {
            self.0.records += usize::from(std::mem::take(&mut first));
            if let Err(error) = self.0.snapshot(&snapshot) {
                self.0.failed = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Snapshot {
    #[serde(deserialize_with = "time")]
    end_time: u64,
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    #[serde(deserialize_with = "number")]
    start: u64,
    #[serde(deserialize_with = "number")]
    end: u64,
    #[serde(rename = "nr_accesses", deserialize_with = "accessed", default)]
    accessed: bool,
}

/// A number as JSON has it, or as damo prints it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Fraction(f64),
    Text(String),
}

impl Number {
    fn whole(&self) -> Option<u64> {
        match self {
            Number::Whole(number) => Some(*number),
            // A time that damo computed can be one; a cast holds what is too large at the end.
            Number::Fraction(number) => (*number >= 0.0).then_some(*number as u64),
            Number::Text(text) => digits(text),
        }
    }
}

fn digits(text: &str) -> Option<u64> {
    text.trim().replace(',', "").parse().ok()
}

fn number<'de, D: Deserializer<'de>>(json: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(json)?;
    number.whole().ok_or_else(|| D::Error::custom("an address is a number from 0"))
}

fn time<'de, D: Deserializer<'de>>(json: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(json)?;
    let time = number.whole().or_else(|| if let Number::Text(text) = &number { span(text) } else { None });
    time.ok_or_else(|| D::Error::custom("a time is a number of nanoseconds, or numbers with units such as 4 s 500 ms"))
}

/// Nanoseconds of `1 h 4 m 2 s 500 ms`; the last number may have a fraction.
fn span(text: &str) -> Option<u64> {
    let mut nanos = 0_u64;
    let mut words = text.split_whitespace();
    while let Some(number) = words.next() {
        let unit: u64 = match words.next()? {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        };
        let part = match digits(number) {
            Some(number) => number.checked_mul(unit)?,
            None => (number.replace(',', "").parse::<f64>().ok()? * unit as f64) as u64,
        };
        nanos = nanos.checked_add(part)?;
    }
    Some(nanos)
}

/// How often a region was found accessed, in any unit: only whether it was matters.
#[derive(Deserialize)]
#[serde(untagged)]
enum Found {
    Plain(Option<Number>),
    Counted { samples: Option<Number>, percent: Option<Number> },
}

fn accessed<'de, D: Deserializer<'de>>(json: D) -> Result<bool, D::Error> {
    let some = |number: &Option<Number>| {
        number.as_ref().is_some_and(|number| match number {
            Number::Whole(number) => *number > 0,
            Number::Fraction(number) => *number > 0.0,
            Number::Text(text) => {
                text.trim_end_matches(['%', ' ']).replace(',', "").parse::<f64>().is_ok_and(|number| number > 0.0)
            }
        })
    };
    Ok(match Found::deserialize(json)? {
        Found::Plain(number) => some(&number),
        Found::Counted { samples, percent } => some(&samples) || some(&percent),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Time, first byte and length of each access.
    type Accesses = Vec<(u64, u64, u64)>;

    fn told(bytes: &[u8]) -> Result<(Accesses, Counts), ImportError> {
        let mut told = Vec::new();
        let counts = read(bytes, &mut |access| {
            if let Told::Access(seen) = access {
                told.push((seen.time, seen.start, seen.length));
            }
            Ok(())
        });
        counts.map(|counts| (told, counts))
    }

    const RECORD: &str = r#"[{"kdamond_idx": 0, "context_idx": 0, "intervals": {"sample_us": "5000", "aggr_us": "100000"},
      "scheme_idx": null, "target_id": 0, "snapshots": [
        {"start_time": "1000", "end_time": "2000", "regions": [
          {"start": "94,000,000,000", "end": "94,000,008,192", "nr_accesses": {"samples": 3, "percent": null},
           "age": {"usec": null, "aggr_intervals": "2"}},
          {"start": 8192, "end": 12288, "nr_accesses": {"samples": 0, "percent": null}, "age": {"usec": null}}],
         "total_bytes": "12288"},
        {"start_time": 2000, "end_time": "1 s 500 us", "regions": [
          {"start": 4096, "end": 8192, "nr_accesses": 1},
          {"start": 4096, "end": 4096, "nr_accesses": 1},
          {"start": 12288, "end": 16384, "nr_accesses": {"samples": null, "percent": "5 %"}},
          {"start": 20480, "end": 24576}]}]}]"#;

    #[test]
    fn regions_that_were_found_accessed_are_told_at_the_end_of_their_snapshot() {
        let (told, counts) = told(RECORD.as_bytes()).unwrap();
        let second = 1_000_500_000;
        assert_eq!(told, [(2000, 94_000_000_000, 8192), (second, 4096, 4096), (second, 12288, 4096)]);
        assert_eq!((counts.lines, counts.used, counts.other, counts.end), (2, 3, 3, Some(second)));
    }

    #[test]
    fn the_compressed_form_is_the_same() {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(RECORD.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(told(&packed).unwrap().0, told(RECORD.as_bytes()).unwrap().0);
        assert!(matches!(told(&packed[..packed.len() / 2]), Err(ImportError::Json(_))));
    }

    #[test]
    fn several_targets_and_other_documents_are_refused() {
        let two = RECORD.replacen('[', &format!("{},", RECORD.trim_end().trim_end_matches(']')), 1);
        assert!(matches!(told(two.as_bytes()), Err(ImportError::Targets(2))), "{:?}", told(two.as_bytes()).err());
        let negative = RECORD.replace("\"start\": 8192", "\"start\": -8192");
        for wrong in [
            negative.as_str(),
            "",
            "{}",
            "[1]",
            "[{\"snapshots\": 3}]",
            "[{\"snapshots\": [{\"end_time\": \"soon\", \"regions\": []}]}]",
        ] {
            assert!(matches!(told(wrong.as_bytes()), Err(ImportError::Json(_))), "{wrong}");
        }
    }

    #[test]
    fn times_with_units() {
        assert_eq!(span("1 h 2 m 3 s"), Some(3_723_000_000_000));
        assert_eq!(span("1,000 s 4.250 ms"), Some(1_000_004_250_000));
        assert_eq!([span("5"), span("5 weeks"), span("x s")], [None; 3]);
    }
}
