//! `pagesieve sweep` on small traces of each class: which rows there are, that each is what a single replay says, and how they are
//! printed.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use support::{PAGESIEVE, assert_schema, at, changed, count, run, run_command, scratch, synth, text};
use tempfile::TempDir;

const CLASSES: [&str; 4] = ["heavy-io", "idle", "light", "mixed"];

/// A trace of a class, 16 MiB and 20 seconds. All tests share it.
fn trace(class: &str) -> String {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let dir = scratch();
        for class in CLASSES {
            let file = dir.path().join(format!("{class}.trace"));
            let fixed = ["synth", "--memory", "16MiB", "--duration", "20s", "--seed", "7", "--class", class, "-o", text(&file)];
            run(fixed).expect_quiet_success();
        }
        dir
    };
    text(&FOLDER.get_or_init(make).path().join(format!("{class}.trace"))).to_owned()
}

fn one_of_each_class() -> Vec<String> {
    CLASSES.map(trace).into()
}

/// Runs `sweep` with these options on these traces.
fn sweep<S: AsRef<str>>(options: &[&str], files: &[S]) -> support::Run {
    run(["sweep"].into_iter().chain(options.iter().copied()).chain(files.iter().map(AsRef::as_ref)))
}

/// The rows of the JSON document.
fn rows<S: AsRef<str>>(options: &[&str], files: &[S]) -> Vec<Value> {
    let document = sweep(&[&["--format", "json"], options].concat(), files).expect_json();
    assert_schema(&document, "pagesieve.sweep");
    at(&document, "rows").as_array().unwrap().clone()
}

#[test]
fn a_row_for_each_trace_and_block_size_in_the_order_given() {
    let files: Vec<_> = ["mixed", "idle"].map(trace).into();
    let table = sweep(&["--block-size", "256KiB,64KiB"], &files).expect_quiet_success();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
    let lines: Vec<Vec<_>> = lines.into_iter().map(|line| line.into_iter().filter(|cell| !cell.is_empty()).collect()).collect();
    let titles = "trace class policy scenario block interval skipped resident sent resent wire rounds lost";
    assert_eq!(lines[0].join(" "), titles, "columns that apply to no row are left out");
    let start: Vec<_> = lines[1..].iter().map(|line| line[..6].join(" ")).collect();
    let expected = [
        "mixed.trace mixed proven sync 256 KiB 5s",
        "mixed.trace mixed proven sync 64 KiB 5s",
        "idle.trace idle proven sync 256 KiB 5s",
        "idle.trace idle proven sync 64 KiB 5s",
    ];
    assert_eq!(start, expected);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{table}");
    let default = rows(&[], &files[..1]);
    let sizes: Vec<_> = default.iter().map(|row| count(row, "block_size") >> 10).collect();
    assert_eq!(sizes, [32, 64, 128, 256]);
}

/// The options that make `replay` do what a row says.
fn options_of(row: &Value) -> Vec<String> {
    let bits = |value: &Value| value.as_u64().map(|bytes| format!("{}kbit", bytes * 8 / 1000));
    let nanos = |value: &Value| value.as_u64().map(|nanos| format!("{nanos}ns"));
    let options = [
        ("--policy", row["policy"].as_str().map(str::to_owned)),
        ("--scenario", row["scenario"].as_str().map(str::to_owned)),
        ("--block-size", row["block_size"].as_u64().map(|size| size.to_string())),
        ("--aging", nanos(&row["aging"])),
        ("--interval", nanos(&row["interval"])),
        ("--bandwidth", bits(&row["bandwidth"])),
    ];
    options.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten().collect()
}

#[track_caller]
fn is_what_replay_says(row: &Value, file: &str, more: &[&str]) {
    let options = options_of(row);
    let replay =
        run(["replay", "--json", file].into_iter().chain(options.iter().map(String::as_str)).chain(more.iter().copied()));
    let replay = replay.expect_json();
    // Aging, interval and bandwidth are no part of a replay's summary.
    let measured = ["trace", "class", "policy", "scenario", "block_size", "skip_rate", "bytes", "rounds", "lost_pages"];
    for field in measured.into_iter().chain(["downtime", "total_time", "converged"]) {
        assert_eq!(at(row, field), at(&replay, field), "{field} of {options:?} on {file}");
    }
}

#[test]
fn every_row_is_what_replay_says() {
    let files: Vec<_> = ["idle", "mixed"].map(trace).into();
    let lists = ["--policy", "proven,aging", "--scenario", "precopy,sync", "--block-size", "32KiB,128KiB"];
    let more = ["--aging", "1s,3s", "--interval", "2s,5s", "--bandwidth", "100Mbit,1Gbit", "--min-access", "2"];
    let rows = rows(&[&lists[..], &more].concat(), &files);
    // Precopy: block sizes, agings, bandwidths; sync: block sizes, intervals, and agings for the policy that uses them.
    let points = (8 + 4) + (8 + 8);
    assert_eq!(rows.len(), 2 * points);
    for (row, file) in rows.iter().zip(files.iter().flat_map(|file| vec![file; points])) {
        is_what_replay_says(row, file, &["--min-access", "2"]);
        let precopy = row["scenario"] == "precopy";
        assert_eq!((row["interval"].is_null(), row["bandwidth"].is_null()), (precopy, !precopy), "{row}");
        assert_eq!(row["aging"].is_null(), row["policy"] == "proven" && !precopy, "{row}");
    }
    let all: std::collections::BTreeSet<_> = rows.iter().map(|row| (row["trace"].to_string(), options_of(row))).collect();
    assert_eq!(all.len(), rows.len(), "no point comes twice");
}

#[test]
fn without_options_rows_have_the_defaults_of_replay() {
    let file = trace("light");
    for scenario in ["sync", "precopy"] {
        let rows = rows(&["--scenario", scenario, "--block-size", "64KiB"], &[&file]);
        let replay = run(["replay", "--json", "--scenario", scenario, &file]).expect_json();
        assert_eq!(rows.len(), 1);
        for field in ["policy", "block_size", "skip_rate", "bytes", "rounds", "downtime", "total_time"] {
            assert_eq!(at(&rows[0], field), at(&replay, field), "{field} in {scenario}");
        }
    }
}

/// Lines of a CSV text without quoted fields, each as fields by name.
fn parsed(csv: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    lines
        .map(|fields| {
            assert_eq!(fields.len(), names.len(), "{fields:?}");
            names.iter().copied().zip(fields).collect()
        })
        .collect()
}

#[test]
fn csv_says_what_json_says() {
    let options = ["--scenario", "sync,precopy", "--policy", "proven,aging-literal", "--best", "skip"];
    let files: Vec<_> = ["light", "mixed"].map(trace).into();
    let csv = sweep(&[&options[..], &["--format", "csv"]].concat(), &files).expect_quiet_success();
    let (lines, rows) = (parsed(&csv), rows(&options, &files));
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(&rows) {
        for (name, field) in line {
            let expected = match at(row, name) {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            match (field.parse::<f64>(), expected.parse::<f64>()) {
                // JSON writes 1.0 where CSV has 1, and our JSON parser may miss the last bit of a fraction.
                (Ok(field), Ok(expected)) => assert!((field - expected).abs() < 1e-12, "{name}: {field} {expected}"),
                _ => assert_eq!(*field, expected, "{name}"),
            }
        }
        let known = ["trace", "class", "aging", "bandwidth", "skip_rate.total", "bytes.wire", "lost_pages", "converged", "best"];
        assert!(known.iter().all(|name| line.contains_key(name)), "{line:?}");
    }
    assert!(!sweep(&["--format", "csv"], &files[..1]).expect_quiet_success().contains("best"), "nobody asked for the best");
}

#[test]
fn the_same_bytes_come_out_whatever_the_number_of_threads() {
    let files = one_of_each_class();
    for format in ["table", "csv", "json"] {
        let with_threads = |threads: &str| {
            let mut command = Command::new(PAGESIEVE);
            command.args([
                "sweep",
                "--best",
                "wire",
                "--scenario",
                "sync,precopy",
                "--policy",
                "proven,adaptive",
                "--format",
                format,
            ]);
            run_command(command.args(&files).env("RAYON_NUM_THREADS", threads)).expect_quiet_success()
        };
        let one = with_threads("1");
        // 0 is as many as there are cores.
        for threads in ["0", "0", "3", "64"] {
            assert!(with_threads(threads) == one, "{format} with {threads} threads");
        }
    }
}

/// What makes a row better the less it is; `None` for a row that takes no part.
type Key = fn(&Value) -> Option<f64>;

/// For each trace the position of the row that is best by this key, among those that lost no page.
fn winners(rows: &[Value], points: usize, key: Key) -> Vec<Option<usize>> {
    let of_trace = |rows: &[Value]| {
        let mut best: Option<(usize, f64)> = None;
        for (position, row) in rows.iter().enumerate().filter(|(_, row)| count(row, "lost_pages") == 0) {
            let Some(value) = key(row) else { continue };
            if best.is_none_or(|(_, least)| value < least) {
                best = Some((position, value));
            }
        }
        best.map(|(position, _)| position)
    };
    rows.chunks(points).map(of_trace).collect()
}

#[test]
fn the_best_row_of_each_trace_is_flagged_and_lost_nothing() {
    let files = one_of_each_class();
    let keys: [(&str, Key); 4] = [
        ("wire", |row| at(row, "bytes.wire").as_f64()),
        ("resent", |row| at(row, "bytes.resent").as_f64()),
        ("downtime", |row| row["downtime"].as_f64()),
        ("skip", |row| at(row, "skip_rate.total").as_f64().map(|rate| -rate)),
    ];
    // The seed's rule skips most, but loses pages.
    let grid = ["--scenario", "sync,precopy", "--policy", "aging-literal,proven,predictive"];
    for (by, key) in keys {
        let rows = rows(&[&grid[..], &["--best", by]].concat(), &files);
        let points = rows.len() / files.len();
        let flagged = |rows: &[Value]| rows.iter().map(|row| at(row, "best").as_bool().unwrap()).collect::<Vec<_>>();
        for (rows, winner) in rows.chunks(points).zip(winners(&rows, points, key)) {
            let flags = flagged(rows);
            assert_eq!(flags.iter().filter(|flag| **flag).count(), 1, "{by}");
            assert_eq!(flags.iter().position(|flag| *flag), winner, "{by} of {}", rows[0]["trace"]);
        }
        assert!(rows.iter().any(|row| count(row, "lost_pages") > 0), "some rows must not be chosen");
    }
}

#[test]
fn the_table_names_the_best_row_of_each_trace_or_none() {
    let files: Vec<_> = ["idle", "mixed"].map(trace).into();
    let table = sweep(&["--best", "wire"], &files).expect_quiet_success();
    let (all, best) = table.split_once("\n\nBest by bytes on the wire of the rows that lost no page:\n").unwrap();
    let rows = rows(&[], &files);
    let winners = winners(&rows, 4, |row| at(row, "bytes.wire").as_f64());
    let lines: Vec<_> = all.lines().skip(1).collect();
    let expected: Vec<_> = winners.iter().enumerate().map(|(trace, row)| lines[4 * trace + row.unwrap()]).collect();
    assert_eq!(best.lines().collect::<Vec<_>>(), expected);
    let none = sweep(&["--best", "downtime"], &files).expect_quiet_success();
    assert!(none.ends_with("page:\nidle.trace: none\nmixed.trace: none\n"), "sync has no downtime: {none}");
}

/// Columns of the row have names of their own in CSV and JSON; they mean the same.
#[test]
fn the_best_row_can_be_asked_for_by_the_name_of_its_column() {
    let (dir, file) = (scratch(), [trace("mixed")]);
    for (short, names) in [
        ("wire", ["wire_bytes", "bytes.wire"]),
        ("resent", ["resent_bytes", "bytes.resent"]),
        ("skip", ["skip_rate", "skip_rate.total"]),
    ] {
        let best = sweep(&["--best", short], &file).expect_quiet_success();
        assert!(best.contains("\nBest by "), "{best}");
        for name in names {
            assert_eq!(sweep(&["--best", name], &file).expect_quiet_success(), best, "{name}");
            let plan = dir.path().join("plan.toml");
            fs::write(&plan, format!("best = \"{name}\"\n")).unwrap();
            assert_eq!(sweep(&["--sweep", text(&plan)], &file).expect_quiet_success(), best, "{name}");
        }
    }
}

/// With a terminal on standard error, which `script` makes, there is a bar that says how long it will take.
#[test]
fn a_terminal_sees_how_much_is_left() {
    let Some(script) = ["/usr/bin/script"].into_iter().find(|path| Path::new(path).exists()) else {
        return pagesieve_ebpf::testing::skipped("a_terminal_sees_how_much_is_left", "there is no program `script`");
    };
    let line = format!("{PAGESIEVE} sweep --block-size 4KiB,8KiB,16KiB {} >/dev/null", trace("heavy-io"));
    let seen = run_command(Command::new(script).args(["-qec", &line, "/dev/null"]).env("TERM", "xterm"));
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(seen.stdout.contains(" %, ") && seen.stdout.contains(" left"), "{seen:?}");
}

#[test]
fn traces_that_share_a_name_are_two_traces() {
    let dir = scratch();
    fs::create_dir(dir.path().join("other")).unwrap();
    let files = [synth(dir.path(), "a.trace", 1), synth(&dir.path().join("other"), "a.trace", 2)];
    let rows = rows(&["--best", "wire", "--interval", "1s"], &files.each_ref().map(|file| text(file)));
    assert_eq!(rows.len(), 8);
    for rows in rows.chunks(4) {
        assert_eq!(rows.iter().filter(|row| row["best"] == true).count(), 1);
    }
    assert_ne!(rows[0]["bytes"], rows[4]["bytes"]);
}

#[test]
fn a_file_of_options_is_the_same_as_the_options_and_gives_way_to_them() {
    let (dir, trace) = (scratch(), trace("light"));
    let file = dir.path().join("grid.toml");
    let content = "
        policy = [\"proven\", \"aging\"]
        scenario = \"sync,precopy\"
        block-size = [\"32KiB\", 65536]
        aging = [1, \"3s\"]
        interval = \"2s\"
        bandwidth = [\"100Mbit\"]
        min-access = 2
        best = \"resent\"
        format = \"csv\"
    ";
    fs::write(&file, content).unwrap();
    let from_file = |more: &[&str]| sweep(&[&["--sweep", text(&file)], more].concat(), &[&trace]).expect_quiet_success();
    let sizes = |sizes: &str, format: &str| {
        let grid = ["--policy", "proven,aging", "--scenario", "sync,precopy", "--block-size", sizes, "--aging", "1s,3s"];
        let more = ["--interval", "2s", "--bandwidth", "100Mbit", "--min-access", "2", "--best", "resent", "--format", format];
        sweep(&[&grid[..], &more].concat(), &[&trace]).expect_quiet_success()
    };
    assert_eq!(from_file(&[]), sizes("32KiB,64KiB", "csv"));
    assert_eq!(from_file(&["--block-size", "128KiB", "--format", "json"]), sizes("128KiB", "json"));
    fs::write(&file, format!("{content}\noutput = '{}'", text(&dir.path().join("rows.csv")))).unwrap();
    assert!(from_file(&[]).ends_with("rows.csv: 14 rows\n"));
    assert_eq!(fs::read_to_string(dir.path().join("rows.csv")).unwrap(), sizes("32KiB,64KiB", "csv"));
}

#[test]
fn what_is_wrong_in_a_file_of_options_is_named() {
    let (dir, trace) = (scratch(), trace("idle"));
    let file = dir.path().join("grid.toml");
    let cases: [(&str, &[&str]); 9] = [
        ("policy = 'proven'\nblocksize = '64KiB'", &["line 2", "`blocksize`", "`block-size`"]),
        ("block-size = ['64KiB', '5000']", &["`block-size`", "5000", "64KiB"]),
        ("interval = '0s'", &["`interval`", "longer than zero"]),
        ("policy = ['proven', 'magic']", &["`policy`", "magic", "predictive"]),
        ("aging = []", &["`aging`", "empty", "leave it out"]),
        ("aging = 1.5", &["`aging`", "float", "quotes"]),
        ("min-access = -1", &["`min-access`", "-1"]),
        ("best = 'speed'", &["`best`", "speed", "wire, resent, downtime, skip"]),
        ("policy = [", &["line 1", "array"]),
    ];
    for (content, words) in cases {
        fs::write(&file, content).unwrap();
        let refused = sweep(&["--sweep", text(&file), "--policy", "proven"], &[&trace]);
        refused.expect_failure(words);
        refused.expect_failure(&[text(&file)]);
    }
    let missing = dir.path().join("missing.toml");
    sweep(&["--sweep", text(&missing)], &[&trace]).expect_failure(&["missing.toml", "there is no such file"]);
}

#[test]
fn options_and_traces_that_make_no_sense_are_refused() {
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--block-size", "64KiB,5000"], &["--block-size", "5000", "64KiB"]),
        (&["--block-size", "64KiB,"], &["--block-size", "64KiB"]),
        (&["--policy", "proven,magic"], &["--policy", "predictive"]),
        (&["--scenario", "magic"], &["--scenario", "precopy"]),
        (&["--interval", "1s,0s"], &["--interval", "longer than zero"]),
        (&["--bandwidth", "0Gbit"], &["--bandwidth", "1Gbit"]),
        (&["--min-access", "x"], &["--min-access"]),
        (&["--best", "speed"], &["--best", "downtime"]),
        (&["--format", "xml"], &["--format", "csv"]),
    ];
    for (options, words) in cases {
        sweep(options, &["x"]).expect_usage_error(words);
    }
    sweep::<&str>(&[], &[]).expect_usage_error(&["FILES"]);
    let (dir, good) = (scratch(), trace("idle"));
    let trace = synth(dir.path(), "a.trace", 1);
    let broken = changed(&trace, "broken.trace", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
    let notes = dir.path().join("notes.txt");
    fs::write(&notes, "Dear reader").unwrap();
    let missing = dir.path().join("missing.trace");
    let refused: [(&Path, &[&str]); 4] = [
        (&broken, &["broken.trace", "read frame "]),
        (&notes, &["notes.txt", "not a pagesieve trace"]),
        (&missing, &["missing.trace", "there is no such file"]),
        (dir.path(), &["it is a directory", "name a trace"]),
    ];
    for (bad, words) in refused {
        sweep(&[], &[&good, text(bad)]).expect_failure(words);
    }
}

#[test]
fn a_file_that_is_there_is_kept_unless_force_is_given() {
    let (dir, trace) = (scratch(), trace("idle"));
    let out: PathBuf = dir.path().join("rows.csv");
    let write = |more: &[&str]| sweep(&[&["--format", "csv", "-o", text(&out)], more].concat(), &[&trace]);
    assert!(write(&[]).expect_quiet_success().ends_with("rows.csv: 4 rows\n"));
    let content = fs::read_to_string(&out).unwrap();
    assert_eq!(content, sweep(&["--format", "csv"], &[&trace]).expect_quiet_success());
    let more = ["--block-size", "64KiB"];
    write(&more).expect_failure(&["the file exists", "--force"]);
    // Before any trace is opened: a sweep may take long.
    sweep(&["-o", text(&out)], &["missing.trace"]).expect_failure(&["the file exists"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), content);
    write(&[&more[..], &["--force"]].concat()).expect_quiet_success();
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 2);
    let nowhere = dir.path().join("missing/rows.csv");
    sweep(&["-o", text(&nowhere)], &[&trace]).expect_failure(&["there is no directory", "make it"]);
    sweep(&["-o", text(dir.path())], &[&trace]).expect_failure(&["it is a directory", "name a file"]);
}

#[test]
fn the_examples_in_the_help_work_with_the_file_that_it_shows() {
    let help = run(["sweep", "--help"]).expect_quiet_success();
    let dir = scratch();
    for name in ["idle.trace", "heavy.trace"] {
        synth(dir.path(), name, 1);
    }
    let of_file = help.lines().skip_while(|line| !line.starts_with("A file for --sweep")).skip(1);
    let content: Vec<_> = of_file.take_while(|line| line.starts_with("  ")).collect();
    assert!(content.len() > 2, "{help}");
    fs::write(dir.path().join("grid.toml"), content.join("\n")).unwrap();
    let examples = help.lines().skip_while(|line| !line.starts_with("Examples")).skip(1);
    let bin = text(Path::new(PAGESIEVE).parent().unwrap());
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let mut ran = 0;
    for example in examples.take_while(|line| line.starts_with("  ")) {
        let done = run_command(Command::new("sh").args(["-c", example.trim()]).current_dir(dir.path()).env("PATH", &path));
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{example}: {done:?}");
        ran += 1;
    }
    assert!(ran > 2, "{help}");
}
