//! The examples in `reports/ci`: the workflow has the structure that GitHub documents, and what its steps run does what it says,
//! with small recordings, with `cargo` and `gh` replaced by scripts, and with what other actions bring made by hand.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use support::{PAGESIEVE, Run, run_command, scratch, synth, text};
use tempfile::TempDir;

/// A workflow, with the keys that GitHub knows and this one uses. Any other key is an error: it may be one that GitHub ignores.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workflow {
    name: String,
    on: BTreeMap<String, Value>,
    permissions: BTreeMap<String, String>,
    concurrency: Concurrency,
    defaults: Defaults,
    env: BTreeMap<String, String>,
    jobs: BTreeMap<String, Job>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Concurrency {
    group: String,
    cancel_in_progress: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    run: DefaultRun,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultRun {
    shell: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Job {
    runs_on: String,
    timeout_minutes: u32,
    needs: Option<String>,
    r#if: Option<String>,
    permissions: Option<BTreeMap<String, String>>,
    #[serde(default)]
    outputs: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: String,
    id: Option<String>,
    r#if: Option<String>,
    uses: Option<String>,
    #[serde(default)]
    with: BTreeMap<String, Value>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    run: Option<String>,
}

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/ci").join(name)).unwrap()
}

fn workflow() -> Workflow {
    serde_saphyr::from_str(&file("github-actions.yml")).unwrap()
}

impl Workflow {
    fn job(&self, name: &str) -> &Job {
        &self.jobs[name]
    }
}

/// What stands between `${{` and `}}`, each whole.
fn expressions(text: &str) -> Vec<String> {
    let parts = text.split("${{").skip(1);
    parts.map(|part| part.split_once("}}").expect("an expression that ends").0.trim().to_owned()).collect()
}

#[test]
fn the_workflow_has_the_structure_that_github_documents() {
    let workflow = workflow();
    assert!(!workflow.name.is_empty());
    // Not `pull_request_target`, which would run what a fork brings with a token that may write.
    assert_eq!(workflow.on.keys().collect::<Vec<_>>(), ["pull_request"]);
    assert_eq!(workflow.permissions, BTreeMap::from([("contents".into(), "read".into())]));
    assert!(workflow.concurrency.cancel_in_progress && expressions(&workflow.concurrency.group).len() == 1);
    assert_eq!(workflow.defaults.run.shell, "bash");
    assert_eq!(workflow.env["THRESHOLD"], "0.1%");
    for (name, job) in &workflow.jobs {
        assert!(job.runs_on.starts_with("ubuntu-") && job.timeout_minutes > 0, "{name}");
        assert!(job.needs.as_ref().is_none_or(|needs| workflow.jobs.contains_key(needs)), "{name} needs {:?}", job.needs);
        let ids: BTreeSet<_> = job.steps.iter().filter_map(|step| step.id.as_deref()).collect();
        for output in job.outputs.values() {
            let [output] = &expressions(output)[..] else { panic!("{output}") };
            let id = output.strip_prefix("steps.").and_then(|rest| rest.split_once(".outputs.")).unwrap().0;
            assert!(ids.contains(id), "{name}: {output}");
        }
        for step in &job.steps {
            assert_ne!(step.uses.is_some(), step.run.is_some(), "{name}: {} uses something or runs something", step.name);
            assert!(step.with.is_empty() || step.uses.is_some(), "{}", step.name);
            // Texts of a pull request in a command line would be run.
            assert_eq!(step.run.as_deref().map_or(0, |run| run.matches("${{").count()), 0, "{}", step.name);
            for text in step.env.values().chain(&step.r#if) {
                expressions(text);
            }
        }
    }
}

#[test]
fn actions_are_pinned_to_a_major_version() {
    for step in workflow().jobs.values().flat_map(|job| &job.steps) {
        let Some(uses) = &step.uses else { continue };
        let (action, version) = uses.split_once('@').unwrap();
        assert!(action.starts_with("actions/") && action.matches('/').count() == 1, "{uses}");
        assert!(version.strip_prefix('v').unwrap().parse::<u32>().is_ok(), "{uses}");
    }
}

#[test]
fn only_the_job_that_runs_nothing_foreign_may_write() {
    let workflow = workflow();
    let comment = workflow.job("comment");
    assert_eq!(comment.permissions, Some(BTreeMap::from([("pull-requests".into(), "write".into())])));
    assert!(workflow.jobs.iter().all(|(name, job)| name == "comment" || job.permissions.is_none()));
    let [condition] = &expressions(comment.r#if.as_ref().unwrap())[..] else { panic!("one expression") };
    assert!(condition.contains("github.event.pull_request.head.repo.full_name == github.repository"), "{condition}");
    assert!(condition.contains("needs.compare.outputs.compared == 'true'") && condition.contains("!cancelled()"), "{condition}");
    assert!(workflow.job("compare").outputs.contains_key("compared"));
    assert!(comment.steps.iter().all(|step| step.run.as_ref().is_none_or(|run| !run.contains("target/"))));
    let checkout = &workflow.job("compare").steps[0];
    assert!(checkout.uses.as_ref().unwrap().starts_with("actions/checkout@"));
    assert_eq!(checkout.with["persist-credentials"], false);
    let kept = workflow.job("compare").steps.iter().find(|step| step.name == "Keep the reports").unwrap();
    assert_eq!(kept.r#if.as_deref(), Some("${{ !cancelled() }}"), "a regression is what one wants to look at");
    assert_eq!(kept.with["name"], comment.steps[0].with["name"]);
}

/// What a runner has: a workspace, a path, and files that collect what steps say.
struct Runner {
    dir: TempDir,
    env: BTreeMap<String, String>,
}

fn script(path: &Path, content: &str) {
    fs::write(path, format!("#!/bin/sh\nset -eu\n{content}\n")).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn git(dir: &Path, args: &[&str]) {
    let who =
        ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"];
    let done = run_command(Command::new("git").args(who).args(args).current_dir(dir));
    assert_eq!(done.code, Some(0), "git {args:?}: {done:?}");
}

/// True if the programs that the examples run are there; else the test is skipped by name.
fn has_programs(test: &str) -> bool {
    let found = |program: &&str| Command::new(*program).arg("--version").output().is_ok_and(|output| output.status.success());
    let missing: Vec<_> = ["git", "bash"].into_iter().filter(|program| !found(program)).collect();
    if !missing.is_empty() {
        pagesieve_ebpf::testing::skipped(test, &format!("missing: {}", missing.join(", ")));
    }
    missing.is_empty()
}

impl Runner {
    /// A repository `name` with recordings and two commits. What `cargo` builds of the second one replays as `worse` says.
    fn new(name: &str, worse: &str) -> Self {
        let dir = scratch();
        let repository = dir.path().join(name);
        let corpus = repository.join("traces/corpus");
        fs::create_dir_all(&corpus).unwrap();
        synth(&corpus, "one.trace", 1);
        synth(&corpus, "two.trace", 2);
        fs::write(repository.join("program"), format!("exec '{PAGESIEVE}' \"$@\"\n")).unwrap();
        git(&repository, &["init", "-q"]);
        git(&repository, &["add", "-A"]);
        git(&repository, &["commit", "-q", "-m", "base"]);
        git(&repository, &["update-ref", "refs/remotes/origin/main", "HEAD"]);
        let program = format!("[ \"$1\" = report ] || exec '{PAGESIEVE}' \"$@\"\n'{PAGESIEVE}' \"$@\" {worse}\n");
        fs::write(repository.join("program"), program).unwrap();
        git(&repository, &["commit", "-q", "-a", "-m", "head"]);
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let build = "[ \"$*\" = 'build --locked --release --bin pagesieve' ]\nmkdir -p target/release\n\
                     { echo '#!/bin/sh'; cat program; } > target/release/pagesieve\nchmod +x target/release/pagesieve";
        script(&bin.join("cargo"), build);
        script(&bin.join("gh"), "echo \"$@\" > gh.said\ncat reports/compare.md >> gh.said");
        let path = format!("{}:{}", text(&bin), std::env::var("PATH").unwrap_or_default());
        let file = |name: &str| text(&dir.path().join(name)).to_owned();
        let env =
            [("PATH".into(), path), ("GITHUB_STEP_SUMMARY".into(), file("summary")), ("GITHUB_OUTPUT".into(), file("output"))];
        Self { env: env.into(), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs a script as GitHub runs `shell: bash`.
    fn bash(&self, folder: &str, content: &str, env: &BTreeMap<String, String>) -> Run {
        let file = self.path("step.sh");
        fs::write(&file, content).unwrap();
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(&file).current_dir(self.path(folder));
        run_command(bash.envs(&self.env).envs(env))
    }

    /// Runs the steps of a job in their order up to the first that fails, and returns it or the last one.
    fn run(&self, workflow: &Workflow, job: &str) -> Run {
        let mut last = None;
        for step in &workflow.job(job).steps {
            let Some(run) = &step.run else { continue };
            let env = step.env.keys().map(|name| (name.clone(), format!("<{name}>")));
            let done = self.bash("", run, &workflow.env.clone().into_iter().chain(env).collect());
            if done.code != Some(0) {
                assert_eq!(step.id.as_deref(), Some("compare"), "{}: {done:?}", step.name);
                return done;
            }
            last = Some(done);
        }
        last.expect("a job runs something")
    }
}

#[test]
fn the_steps_find_a_regression_and_tell_it() {
    if !has_programs("the_steps_find_a_regression_and_tell_it") {
        return;
    }
    let workflow = workflow();
    // A head that thinks of a slower link than its base: migrations take longer, and nothing else is any worse.
    let runner = Runner::new("head", "--bandwidth 20Mbit");
    let failed = runner.run(&workflow, "compare");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.contains("WORSE   one.trace  proven, precopy, 64 KiB") && failed.stdout.contains(" REGRESSIONS: "));
    let summary = runner.read("summary");
    assert!(summary.starts_with("### Pagesieve: ") && summary.contains("total time") && summary.contains("REGRESSIONS"));
    assert_eq!(runner.read("output"), "compared=true\n");
    for file in ["base/index.html", "head/index.html", "compare.json"] {
        assert!(runner.path("reports").join(file).exists(), "{file}");
    }
    assert!(runner.read("reports/compare.xml").contains("<failure"));
    runner.run(&workflow, "comment").expect_quiet_success();
    let said = runner.read("gh.said");
    assert!(said.starts_with("pr comment <NUMBER> --edit-last --create-if-none --body-file reports/compare.md\n"), "{said}");
    assert!(said.ends_with(&summary));
}

#[test]
fn the_steps_pass_what_is_as_good() {
    if !has_programs("the_steps_pass_what_is_as_good") {
        return;
    }
    let runner = Runner::new("head", "");
    let passed = runner.run(&workflow(), "compare").expect_quiet_success();
    assert!(passed.trim_end().ends_with(" of 2 traces, nothing changed"), "{passed}");
    assert!(runner.read("summary").starts_with("### Pagesieve: no regression\n"));
    assert_eq!(runner.read("output"), "compared=true\n");
    assert!(!runner.read("reports/compare.xml").contains("<failure"));
}

#[test]
fn a_comparison_that_fails_is_not_taken_for_one() {
    if !has_programs("a_comparison_that_fails_is_not_taken_for_one") {
        return;
    }
    // The report of the head was cut short, so there is nothing to compare.
    let runner = Runner::new("head", "&& echo '{' > reports/head/summary.json");
    let report = runner.run(&workflow(), "compare");
    assert_ne!(report.code, Some(0), "{report:?}");
    assert_eq!((runner.read("output").as_str(), runner.read("summary").as_str()), ("", ""), "nothing was compared");
    assert!(report.stderr.contains("cut short"), "{report:?}");
}

#[test]
fn the_commands_for_git_alone_work() {
    if !has_programs("the_commands_for_git_alone_work") {
        return;
    }
    let readme = file("README.md");
    let commands = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let same = Runner::new("clone", "");
    let said = same.bash("clone", commands, &BTreeMap::new());
    assert!(said.code == Some(0) && said.stdout.contains("nothing changed"), "{said:?}");
    let worse = Runner::new("clone", "--bandwidth 20Mbit");
    let said = worse.bash("clone", commands, &BTreeMap::new());
    assert!(said.code == Some(1) && said.stdout.contains("total time"), "{said:?}");
}

#[test]
fn the_other_examples_name_options_that_exist() {
    let readme = file("README.md");
    let gitlab = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let gitlab: Value = serde_saphyr::from_str(gitlab).unwrap();
    let script: Vec<_> = gitlab["skip-rates"]["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(script.last().unwrap().contains(gitlab["skip-rates"]["artifacts"]["reports"]["junit"].as_str().unwrap()));
    let help = support::run(["compare", "--help"]).expect_quiet_success();
    let commands = readme.lines().filter(|line| line.contains("pagesieve compare") && line.contains(" --"));
    let options: BTreeSet<_> = commands.flat_map(str::split_whitespace).filter(|word| word.starts_with("--")).collect();
    assert!(options.len() >= 2, "{options:?}");
    for option in options {
        assert!(help.contains(option.trim_matches(['`', ',', '.'])), "{option}");
    }
}
