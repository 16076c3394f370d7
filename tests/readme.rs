//! The commands in the pages that users read, and in the help, as tests: each one is run, or there is a reason why not, and then it
//! is at least parsed.
//!
//! A runner of its own, not `trycmd`: what these commands print differs from machine to machine, and most need something prepared.

mod support;

#[allow(dead_code, unused_imports, reason = "the command's own parser, of which this uses the top")]
#[path = "../src/cli/mod.rs"]
mod cli;
#[allow(dead_code, reason = "the parser's")]
#[path = "../src/output.rs"]
mod output;
#[allow(dead_code, reason = "the parser's")]
#[path = "../src/units.rs"]
mod units;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::{CommandFactory, Parser};
use support::{Background, PAGESIEVE, can_record, run, run_command, scratch, synth, text, wait_until};

/// The pages.
const PAGES: [&str; 4] = ["README.md", "CONTRIBUTING.md", "traces/corpus/README.md", "traces/guest/README.md"];

const GUEST: &str = "it takes a QEMU guest; tests/qemu.rs, tests/sync_memory.rs and tests/migrate_verb.rs do it";

/// Lines that are not run, by their beginning, and why.
const NOT_RUN: [(&str, &str); 8] = [
    ("cargo run --release -- demo", "it is the demo, which is run as `pagesieve demo`, by another name"),
    ("pagesieve record --qmp", GUEST),
    ("pagesieve top --qmp", GUEST),
    ("pagesieve sync --every 10m qmp:", GUEST),
    ("pagesieve migrate", GUEST),
    ("pagesieve serve --listen 0.0.0.0:7447", GUEST),
    ("pagesieve serve --listen 127.0.0.1:7447", "it does not end by itself; it is what the sync over the wire is run against"),
    ("pagesieve sync disk.img localhost:7447", "it needs the server of the line before; a test below runs both"),
];

/// What a line that is run says, and what is run instead: the same with names of this machine, and less to do.
const INSTEAD: [(&str, &str); 11] = [
    ("./app --flags", "pagesieve workload --memory 4MiB --seconds 1"),
    ("--duration 30s", "--duration 1s"),
    ("4711", "$PID"),
    ("/dev/shm/vm.ram", "$RAM"),
    ("--every 5s", "--every 100ms --times 2"),
    ("/backup", "$BACKUP"),
    ("--memory 1GiB", "--memory 4MiB --duration 2s"),
    ("--adversary fork", "--adversary fork --memory 4MiB --seconds 1"),
    ("pagesieve demo", "pagesieve demo --seconds 1 --memory 4MiB"),
    ("pagesieve sweep", "pagesieve sweep --interval 1s"),
    ("$(pidof redis-server)", "$PID"),
];

/// Command lines in the code blocks of a page: without prompt and comment, continued lines as one.
fn commands(page: &str) -> Vec<String> {
    let joined = page.replace("\\\n", " ");
    let mut inside = false;
    let mut found = Vec::new();
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            let line = line.split_once("$ ").filter(|(prompt, _)| !prompt.contains(' ')).map_or(line, |(_, line)| line);
            found.push(line.split(" #").next().unwrap_or(line).trim().to_owned());
        }
    }
    found.retain(|line| line.starts_with("pagesieve ") || line.starts_with("cargo run"));
    found
}

/// Commands of ours between backquotes in the text.
fn mentioned(page: &str) -> Vec<String> {
    let ours = page.split('`').filter(|span| span.starts_with("pagesieve ") && !span.contains(['\n', '…']));
    // Words in capitals stand for something, and a verb alone for its options.
    ours.filter(|span| !span.contains("VERB") && span.split(' ').count() > 2).map(str::to_owned).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Parses a command line as the command would, as far as a shell has nothing to do with it.
fn parse(line: &str) -> Result<(), String> {
    let line = line.replace("cargo run --release --", "pagesieve").replace("cargo run --", "pagesieve");
    let line = line.replace("$(pidof redis-server)", "4711");
    let words = line.split(['|', '>', ';']).next().unwrap_or_default().split_whitespace();
    match cli::Cli::try_parse_from(words.map(|word| word.trim_matches(['\'', '"']))) {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(format!("`{line}` does not parse: {error}")),
    }
}

#[test]
fn every_command_in_the_pages_and_in_the_help_parses() {
    let mut lines = Vec::new();
    for name in PAGES {
        lines.extend(commands(&page(name)));
        lines.extend(mentioned(&page(name)));
    }
    assert!(lines.len() > 20, "the pages were read: {lines:#?}");
    let examples = examples(&cli::Cli::command());
    assert!(examples.len() > 40, "the help was read: {examples:#?}");
    let wrong: Vec<String> = lines.iter().chain(&examples).filter_map(|line| parse(line).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(parse("pagesieve sync --no-such-option a b").is_err() && parse("pagesieve nonsense").is_err());
}

/// The examples in the help of a command and of all below it. Every verb has one.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().skip_while(|line| !line.starts_with("Example")).skip(1);
    let mut found: Vec<String> = lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect();
    found.retain(|line| line.starts_with("pagesieve "));
    assert!(!found.is_empty() || command.has_subcommands(), "{} has no example", command.get_name());
    found.extend(command.get_subcommands().flat_map(examples));
    found
}

/// A reason not to run a line.
fn reason(line: &str) -> Option<&'static str> {
    NOT_RUN.iter().find(|(start, _)| line.starts_with(start)).map(|(_, reason)| *reason)
}

#[test]
fn every_reason_and_every_substitute_is_for_a_line_that_is_there() {
    let lines: Vec<String> = PAGES.iter().flat_map(|name| commands(&page(name))).collect();
    for (start, _) in NOT_RUN {
        assert!(lines.iter().any(|line| line.starts_with(start)), "no page has `{start}` any more; take it out of this file");
    }
    for (text, _) in INSTEAD.iter().filter(|(text, _)| !text.contains("redis")) {
        assert!(lines.iter().any(|line| line.contains(text)), "no page has `{text}` any more; take it out of this file");
    }
}

#[test]
fn the_commands_of_the_pages_do_what_they_say() {
    let (dir, records) = (scratch(), can_record("the_commands_of_the_pages_do_what_they_say"));
    let backup = dir.path().join("backup");
    fs::create_dir(&backup).unwrap();
    synth(dir.path(), "app.trace", 1);
    fs::create_dir_all(dir.path().join("traces/corpus")).unwrap();
    let corpus = synth(&dir.path().join("traces/corpus"), "one.trace", 2);
    for report in ["base", "new"] {
        let folder = dir.path().join(report);
        run(["report", text(&corpus), "-o", text(&folder)]).expect_quiet_success();
    }
    fs::write(dir.path().join("disk.img"), [7_u8; 200_000]).unwrap();
    let ram = dir.path().join("vm.ram");
    fs::write(&ram, vec![0_u8; 4 << 20]).unwrap();
    let target = workload(&ram);
    let path = format!("{}:{}", text(Path::new(PAGESIEVE).parent().unwrap()), std::env::var("PATH").unwrap_or_default());
    let mut ran = 0;
    for line in PAGES.iter().flat_map(|name| commands(&page(name))).filter(|line| reason(line).is_none()) {
        if !records && ["record", "top", "--pid"].iter().any(|word| line.contains(word)) {
            continue;
        }
        let instead = INSTEAD.iter().fold(line.clone(), |line, (text, other)| line.replace(text, other));
        // What a command makes, the next one is to find, and the one before is not to be in its way.
        let forced = instead.replace(" record ", " record --force ").replace(" report ", " report --force ");
        let mut sh = Command::new("bash");
        sh.args(["-c", &forced]).current_dir(dir.path()).env("PATH", &path).env("PID", target.pid().to_string());
        let done = run_command(sh.env("RAM", &ram).env("BACKUP", &backup));
        assert_eq!(done.code, Some(0), "`{line}`, run as `{forced}`: {done:?}");
        ran += 1;
    }
    assert!(ran > 10, "only {ran} commands were run");
}

fn workload(ram: &Path) -> Background {
    let mut workload = Command::new(PAGESIEVE);
    workload.args(["workload", "--memory", "4MiB", "--seconds", "600", "--file", text(ram)]);
    let target = Background::spawn(workload.stdout(Stdio::null()));
    let mappings = || fs::read_to_string(format!("/proc/{}/maps", target.pid())).unwrap_or_default();
    wait_until("its memory", || mappings().contains("vm.ram"));
    target
}

#[test]
fn the_sync_over_the_wire_works_as_the_page_says() {
    let readme = commands(&page("README.md"));
    let line = |start: &str| readme.iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no `{start}`")).clone();
    let dir = scratch();
    let backup = dir.path().join("backup");
    fs::create_dir(&backup).unwrap();
    fs::write(dir.path().join("disk.img"), [7_u8; 200_000]).unwrap();
    let words = line("pagesieve serve --listen 127.0.0.1").replace("7447", "0").replace("/backup", text(&backup));
    let mut serve = Command::new(PAGESIEVE);
    serve.args(words.split_whitespace().skip(1)).stdout(Stdio::piped());
    let mut serve = Background::spawn(&mut serve);
    let mut said = String::new();
    BufReader::new(serve.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let port = said.trim().rsplit(':').next().unwrap();
    let words = line("pagesieve sync disk.img localhost:7447").replace("7447", port);
    let mut sync = Command::new(PAGESIEVE);
    let done = run_command(sync.args(words.split_whitespace().skip(1)).current_dir(dir.path()));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(fs::read(backup.join("web1/disk.img")).unwrap(), [7_u8; 200_000]);
}

#[test]
fn scripts_in_the_pages_are_there_and_know_the_options_they_are_given() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for name in ["traces/guest/README.md"] {
        for line in page(name).lines().filter(|line| line.split_whitespace().next().is_some_and(|word| word.ends_with(".sh"))) {
            let mut words = line.split(" #").next().unwrap_or(line).split_whitespace();
            let script = root.join(words.next().unwrap());
            let help = run_command(Command::new(&script).arg("--help"));
            assert_eq!(help.code, Some(0), "{}: {help:?}", script.display());
            for option in words.filter(|word| word.starts_with("--")) {
                assert!(help.stdout.contains(option), "{line}: no {option} in {}", help.stdout);
            }
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} scripts");
}
