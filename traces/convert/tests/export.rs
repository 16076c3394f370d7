//! Rows in every format are the events and verdicts of the trace.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes_of::Shared;
use common::{file_of, guest};
use pagesieve_convert::export::{EventRow, Row, row_writer};
use pagesieve_convert::{Exported, Format, Rows, export_events, export_verdicts};
use pagesieve_core::summary::ReplaySummary;
use pagesieve_core::{Access, AccessKind, Epoch, Gfn, Nanos, Origin, PolicyKind};
use pagesieve_replayer::{Decisions, ReplayConfig, Scenario, TraceInfo};
use pagesieve_traces::{Class, Frame, Header, Reader};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

/// An output whose bytes can be looked at while somebody else writes them.
mod bytes_of {
    use super::{Arc, Mutex};

    #[derive(Clone, Default)]
    pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(super) fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }
    }

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}

fn export(
    header: &Header,
    frames: &[Frame],
    format: Format,
    verdicts: Option<ReplayConfig>,
) -> (Vec<u8>, Exported, Option<ReplaySummary>) {
    let file = file_of(header, frames);
    let mut reader = Reader::new(&file[..]).unwrap();
    let output = Shared::default();
    let rows = if verdicts.is_some() { Rows::Verdicts } else { Rows::Events };
    let mut writer = row_writer(format, rows, header, output.clone()).unwrap();
    let mut summary = None;
    let done = match verdicts {
        None => export_events(&mut reader, writer.as_mut(), &mut |_| ()),
        Some(config) => {
            let trace = TraceInfo { name: "test", header, length: None };
            let mut replay = Decisions::new(trace, config).unwrap();
            let feed = &mut |frame| Ok(replay.feed(frame)?);
            let done = export_verdicts(&mut reader, feed, writer.as_mut(), &mut |_| ());
            summary = replay.summary();
            done
        }
    };
    drop(writer);
    (output.bytes(), done.unwrap(), summary)
}

/// Rows as JSON objects, whatever the format.
fn rows_of(format: Format, bytes: &[u8]) -> Vec<BTreeMap<String, Value>> {
    let text = || std::str::from_utf8(bytes).unwrap();
    match format {
        Format::Csv => {
            let mut lines = text().lines();
            let names: Vec<_> = lines.next().unwrap().split(',').collect();
            let cell = |cell: &str| match cell.parse::<u64>() {
                Ok(number) => Value::from(number),
                Err(_) if cell.is_empty() => Value::Null,
                Err(_) => Value::from(cell),
            };
            lines
                .map(|line| names.iter().zip(line.split(',')).map(|(name, text)| ((*name).to_owned(), cell(text))).collect())
                .collect()
        }
        Format::JsonLines => text().lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        Format::Parquet => {
            let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
            let cell = |field: &Field| match field {
                Field::ULong(number) => Value::from(*number),
                Field::UInt(number) => Value::from(*number),
                Field::Str(text) => Value::from(text.as_str()),
                Field::Null => Value::Null,
                other => panic!("{other:?} belongs to no column"),
            };
            let row =
                |row: parquet::record::Row| row.get_column_iter().map(|(name, field)| (name.clone(), cell(field))).collect();
            reader.get_row_iter(None).unwrap().map(|found| row(found.unwrap())).collect()
        }
        Format::Perfetto => panic!("it holds no rows"),
    }
}

fn event_row(frame: &Frame, event: &Access) -> BTreeMap<String, Value> {
    let word = |value: Value| value;
    [
        ("time_ns", Value::from(event.time.0)),
        ("epoch", Value::from(frame.epoch.0)),
        ("gfn", Value::from(event.gfn.0)),
        ("kind", word(serde_json::to_value(event.kind).unwrap())),
        ("origin", word(serde_json::to_value(event.origin).unwrap())),
        ("cpu", Value::from(event.cpu)),
        ("tid", Value::from(event.tid)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[test]
fn every_event_comes_back_from_every_format() {
    let (header, mut frames) = guest(Class::Mixed, 1);
    // All kinds and origins, and numbers that have the top bit.
    let time = frames[19].end;
    let kinds = [(AccessKind::Read, Origin::Gup), (AccessKind::Exec, Origin::Kernel)];
    frames[19].events.extend(kinds.map(|(kind, origin)| Access {
        time,
        gfn: Gfn(3),
        kind,
        origin,
        cpu: u16::MAX,
        tid: u32::MAX,
    }));
    let expected: Vec<_> =
        frames.iter().flat_map(|frame| frame.events.iter().map(move |event| event_row(frame, event))).collect();
    for format in [Format::Csv, Format::JsonLines, Format::Parquet] {
        let (bytes, done, _) = export(&header, &frames, format, None);
        let rows = rows_of(format, &bytes);
        assert_eq!((rows.len() as u64, done.frames), (done.rows, 20));
        assert!(rows == expected, "{format:?}");
    }
}

#[test]
fn parquet_rows_leave_in_groups() {
    const ROWS: u64 = 300_000;
    let (header, _) = guest(Class::Idle, 1);
    let output = Shared::default();
    let mut writer = row_writer(Format::Parquet, Rows::Events, &header, output.clone()).unwrap();
    let mut early = 0;
    for at in 0..ROWS {
        let access = Access {
            time: Nanos(at * 7919),
            gfn: Gfn(at * 31 % 4096),
            kind: AccessKind::Write,
            origin: Origin::User,
            cpu: 0,
            tid: 5,
        };
        writer.row(&Row::Event(EventRow { epoch: Epoch((at / 1000) as u32), access })).unwrap();
        if at == ROWS - 1 {
            early = output.bytes().len();
        }
    }
    writer.finish().unwrap();
    drop(writer);
    assert!(early > 100_000, "{early} bytes were out before the end");
    let bytes = output.bytes();
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes.clone())).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 3);
    let rows = rows_of(Format::Parquet, &bytes);
    assert_eq!(rows.len() as u64, ROWS);
    let last = &rows[ROWS as usize - 1];
    assert_eq!((last["time_ns"].as_u64(), last["epoch"].as_u64()), (Some((ROWS - 1) * 7919), Some(299)));
}

#[test]
fn an_export_without_events_is_still_a_file_of_its_format() {
    let (header, mut frames) = guest(Class::Idle, 1);
    frames.iter_mut().for_each(|frame| frame.events.clear());
    for format in [Format::Csv, Format::JsonLines, Format::Parquet] {
        assert!(rows_of(format, &export(&header, &frames, format, None).0).is_empty());
    }
}

#[test]
fn verdicts_add_up_to_what_the_replay_says() {
    let (header, frames) = guest(Class::Mixed, 2);
    for scenario in Scenario::ALL {
        for policy in [PolicyKind::Proven, PolicyKind::Aging, PolicyKind::AgingLiteral] {
            let interval = Nanos(200 * Nanos::MILLISECOND.0);
            let config =
                ReplayConfig { policy, scenario, interval, bandwidth: Some(4 << 20), aging: interval, ..Default::default() };
            let (bytes, done, replay) = export(&header, &frames, Format::Parquet, Some(config));
            let (csv, again, _) = export(&header, &frames, Format::Csv, Some(config));
            let rows = rows_of(Format::Parquet, &bytes);
            assert_eq!((done.rows, done.rows), (rows.len() as u64, again.rows));
            assert!(rows == rows_of(Format::Csv, &csv));
            let replay = replay.unwrap();
            let count = |verdict: &str, reason: Option<&str>| {
                let of =
                    |row: &&BTreeMap<String, Value>| row["verdict"] == verdict && reason.is_none_or(|why| row["reason"] == why);
                rows.iter().filter(of).count() as u64
            };
            let skipped = &replay.blocks.skipped;
            assert_eq!(count("sent", None), replay.blocks.sent, "{scenario} {policy}");
            assert_eq!(count("deferred", None), replay.blocks.deferred);
            assert_eq!(count("skipped", Some("unchanged")), skipped.unchanged);
            assert_eq!(count("skipped", Some("unpopulated")), skipped.unpopulated);
            assert_eq!(count("skipped", Some("same_content")), skipped.same_content);
            assert_eq!(count("skipped", Some("zero")), skipped.zero);
            assert_eq!(count("skipped", Some("presumed_unused")), skipped.presumed_unused);
            assert!(rows.iter().all(|row| row["round"].as_u64() < Some(replay.rounds.max(1))), "{scenario} {policy}");
            assert!(rows.iter().all(|row| row["gfn"] == row["block"].as_u64().unwrap() * 16 && row["pages"] == 16));
            assert!(
                rows.iter().all(|row| (row["verdict"] == "sent") == (row["encoding"] == "raw" || row["encoding"] == "smallest"))
            );
            assert!(rows.iter().all(|row| row["encoding"] != "zero" || row["reason"] == "zero"));
        }
    }
}

#[test]
fn the_picture_has_what_the_format_asks_of_each_event() {
    let (header, frames) = guest(Class::Mixed, 3);
    let interval = Nanos(300 * Nanos::MILLISECOND.0);
    for config in [None, Some(ReplayConfig { interval, ..ReplayConfig::default() })] {
        let (bytes, _, replay) = export(&header, &frames, Format::Perfetto, config);
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        let mut phases: BTreeMap<&str, u64> = BTreeMap::new();
        for event in events {
            let phase = event["ph"].as_str().unwrap();
            *phases.entry(phase).or_default() += 1;
            assert!(event["name"].is_string() && event["pid"].is_u64(), "{event}");
            let has: &[&str] = match phase {
                "M" => &["args"],
                "X" => &["ts", "dur", "tid", "args"],
                "C" => &["ts", "args"],
                "i" => &["ts", "tid", "s"],
                other => panic!("{other} is not used"),
            };
            assert!(has.iter().all(|key| !event[*key].is_null()), "{event}");
            if phase == "C" {
                assert!(event["args"].as_object().unwrap().values().all(Value::is_number), "{event}");
            }
        }
        let rounds = replay.as_ref().map_or(0, |replay| replay.rounds);
        assert_eq!(phases["X"], 2 * 20 + rounds, "an epoch and a scan for each frame");
        let slice = |name: &str| events.iter().find(|event| event["ph"] == "X" && event["name"] == name).unwrap();
        let epoch = slice("epoch 7");
        let micros = |nanos: Nanos| nanos.0 as f64 / 1000.0;
        assert_eq!(
            (epoch["ts"].as_f64(), epoch["dur"].as_f64()),
            (Some(micros(frames[7].start)), Some(micros(frames[7].end.since(frames[7].start))))
        );
        assert_eq!(epoch["args"]["dirty_pages"], frames[7].log.all().count());
        let rates = events.iter().filter(|event| event["name"] == "dirty pages a second").count();
        assert_eq!(rates, 19, "the baseline has no rate");
    }
}
