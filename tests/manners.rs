//! What the command says beside its results, in which colors, and what shells and manuals are told of it.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::terminal::{Terminal, has_setsid};
use support::{PAGESIEVE, Run, can_record, run, run_command, scratch, synth, text};

/// A recording that has something to say: without the kernel program only the dirty log is recorded.
fn recorded(options: &[&str], dir: &Path, environment: &[(&str, &str)]) -> Run {
    let trace = dir.join("r.trace");
    let mut record = Command::new(PAGESIEVE);
    record.args(options).args(["record", "--force", "--duration", "300ms", "-o", text(&trace), "--"]);
    record.args([PAGESIEVE, "workload", "--memory", "4MiB", "--seconds", "10"]);
    run_command(record.envs(environment.iter().copied()).env_remove("PAGESIEVE_LOG").envs(environment.iter().copied()))
}

#[test]
fn verbose_tells_what_was_decided_and_quiet_does_not() {
    if !can_record("verbose_tells_what_was_decided_and_quiet_does_not") {
        return;
    }
    let dir = scratch();
    let told = recorded(&["-v"], dir.path(), &[]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("armed") && told.stderr.contains("INFO"), "{told:?}");
    assert!(!told.stderr.contains("DEBUG") && !told.stderr.contains('\x1b'), "{told:?}");
    let more = recorded(&["-vv"], dir.path(), &[]);
    assert!(more.stderr.contains("DEBUG") && more.stderr.len() > told.stderr.len(), "{more:?}");
    let filtered = recorded(&[], dir.path(), &[("PAGESIEVE_LOG", "pagesieve_recorder=info")]);
    assert!(filtered.stderr.contains("pagesieve_recorder") && !filtered.stderr.contains("pagesieve_ebpf"), "{filtered:?}");
    let quiet = recorded(&["--quiet"], dir.path(), &[]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""), "{quiet:?}");
    assert!(quiet.stdout.contains("epochs"), "a result is a result: {quiet:?}");
}

#[test]
fn quiet_says_errors_and_no_notes() {
    let dir = scratch();
    let socket = dir.path().join("none");
    run(["-q", "verify", text(&socket)]).expect_failure(&["there is no such file"]);
    let demo = |options: &[&str]| {
        let mut demo = Command::new(PAGESIEVE);
        demo.args(options).args(["demo", "--seconds", "1", "--memory", "4MiB", "-o", text(&dir.path().join("demo"))]);
        // Whoever may not trace anything has no events, and is told so.
        run_command(&mut demo)
    };
    let done = demo(&["--quiet"]);
    assert_eq!(done.stderr, "", "{done:?}");
}

#[test]
fn a_filter_that_makes_no_sense_is_refused() {
    let mut doctor = Command::new(PAGESIEVE);
    let done = run_command(doctor.arg("doctor").env("PAGESIEVE_LOG", "a=b=c=nonsense"));
    done.expect_failure(&["PAGESIEVE_LOG", "debug"]);
}

#[test]
fn the_options_of_every_verb_stand_before_it_or_after_it() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let quiet = ["--quiet", "--color", "never"];
    for line in [["--quiet", "--color=never", "verify", text(&trace)], ["verify", text(&trace), "-q", "--color=never"]] {
        run(line).expect_quiet_success();
    }
    run(["trace", "info", text(&trace)].iter().chain(&quiet)).expect_quiet_success();
    run(["--quiet", "--verbose", "doctor"]).expect_usage_error(&["--quiet", "--verbose"]);
    run(["doctor", "--color", "pink"]).expect_usage_error(&["auto", "always", "never"]);
}

#[test]
fn colors_are_as_they_are_wanted() {
    let help = |options: &[&str], environment: &[(&str, &str)]| {
        let mut help = Command::new(PAGESIEVE);
        run_command(help.args(options).envs(environment.iter().copied())).stdout
    };
    assert!(!help(&["record", "--help"], &[]).contains('\x1b'));
    assert!(help(&["record", "--help", "--color", "always"], &[]).contains('\x1b'));
    assert!(help(&["--color=always", "record", "--help"], &[("NO_COLOR", "1")]).contains('\x1b'), "who asks is heard");
    if !has_setsid("colors_are_as_they_are_wanted") {
        return;
    }
    let cases = [(&[][..], &[][..], true), (&["--color", "never"], &[], false), (&[], &[("NO_COLOR", "1")], false)];
    for (options, environment, wanted) in cases {
        let command = [&[PAGESIEVE, "record", "--help"], options].concat();
        let (_, output) = Terminal::start(&command, environment, (50, 100)).end();
        assert_eq!(output.contains('\x1b'), wanted, "{options:?} {environment:?}: {output:?}");
    }
}

#[test]
fn progress_shows_on_a_terminal_unless_it_is_to_be_quiet() {
    if !has_setsid("progress_shows_on_a_terminal_unless_it_is_to_be_quiet") {
        return;
    }
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let report = dir.path().join("report");
    for (option, shows) in [("--color=auto", true), ("--quiet", false)] {
        let (status, output) =
            Terminal::start(&[PAGESIEVE, "report", option, "--force", text(&trace), "-o", text(&report)], &[], (24, 100)).end();
        assert_eq!(status.code(), Some(0), "{output:?}");
        assert_eq!(output.contains("1/1") || output.contains("0/1"), shows, "{output:?}");
    }
}

#[test]
fn a_bash_that_has_the_script_completes_verbs_and_options() {
    let script = run(["completions", "bash"]).expect_quiet_success();
    let dir = scratch();
    let file = dir.path().join("pagesieve.bash");
    fs::write(&file, script).unwrap();
    let complete = |words: &[&str]| {
        let line = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; COMP_LINE='{}'; COMP_POINT=${{#COMP_LINE}}; \
             _pagesieve pagesieve '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            text(&file),
            words.join(" "),
            words.len() - 1,
            words.join(" "),
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let done = run_command(Command::new("bash").args(["--norc", "-c", &line]));
        assert_eq!(done.code, Some(0), "{done:?}");
        done.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["pagesieve", "rec"]), ["record"]);
    assert_eq!(complete(&["pagesieve", "trace", "val"]), ["validate"]);
    assert_eq!(complete(&["pagesieve", "record", "--finger"]), ["--fingerprints"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(run(["completions", shell]).expect_quiet_success().contains("fingerprints"), "{shell}");
    }
    run(["completions", "csh"]).expect_usage_error(&["bash", "zsh"]);
}

#[test]
fn every_verb_has_a_page_with_its_options_examples_and_exit_status() {
    let dir = scratch();
    let folder = dir.path().join("man/man1");
    let printed = run(["man", "-o", text(&folder)]).expect_quiet_success();
    let mut pages: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    let mut told: Vec<_> = printed.lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
    told.sort();
    assert_eq!(pages, told);
    let page = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    // What the help calls a verb has a page, and so has what is below it.
    let help = run(["--help"]).expect_quiet_success();
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs = verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs: Vec<_> = verbs.map(|line| line.split_whitespace().next().unwrap()).filter(|verb| *verb != "help").collect();
    assert!(verbs.contains(&"record") && verbs.contains(&"top"), "{verbs:?}");
    for verb in verbs {
        assert!(page(&format!("pagesieve-{verb}.1")).contains(".SH \"EXIT STATUS\""), "{verb}");
    }
    let record = page("pagesieve-record.1");
    for words in [".TH pagesieve-record 1", ".SH EXAMPLES", "\\-\\-fingerprints", "redis\\-server", "\\-\\-quiet", "wrong usage"]
    {
        assert!(record.contains(words), "no {words} in {record}");
    }
    assert!(page("pagesieve-trace-validate.1").contains("pagesieve trace validate demo.trace"));
    assert!(page("pagesieve.1").contains("pagesieve\\-top(1)"));
}
