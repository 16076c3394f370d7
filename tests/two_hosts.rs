//! A guest moves between two hosts over a link that is slow, far, and loses packets.
#![allow(clippy::print_stderr, reason = "figures of a move, shown with --nocapture")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::link::{Link, Shape};
use support::pair::Pair;
use support::qemu::can_run_systems;
use support::{Background, PAGESIEVE, at, run, scratch, text, wait_long, wait_until};

/// 100 Mbit/s, 20 ms there and back, of 200 packets one is lost.
const FAR: Shape = Shape { rate: 100_000_000, delay: Duration::from_millis(10), loss: 50, dead: false };
const PORT: u16 = 7447;

/// Two hosts with keys, and a guest on the first.
struct Bench {
    link: Link,
    pair: Pair,
    _there: Background,
    _output: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

/// The hosts, or nothing if this machine cannot have them.
fn bench(test: &str, class: &str) -> Option<Bench> {
    if !can_run_systems(test) {
        return None;
    }
    let link = match Link::start(FAR) {
        Ok(link) => link,
        Err(why) => {
            pagesieve_ebpf::testing::skipped(test, &why);
            return None;
        }
    };
    let folder = scratch();
    for (name, host) in [("host0", 0), ("host1", 1)] {
        run(["keys", text(&folder.path().join(name)), &Link::address(host)]).expect_quiet_success();
    }
    let pair = Pair::start(class, "buffered", &[]);
    wait_long("the self-check to begin", || pair.source.self_check() > 2);
    let mut serve = link.on(1, PAGESIEVE);
    serve.args(["serve", "--listen", &format!("{}:{PORT}", Link::address(1)), "--dir", text(folder.path())]);
    serve.args(["--keys", text(&folder.path().join("host1"))]);
    serve.arg("--guest").arg(format!("web1={}", text(&pair.destination.socket())));
    let mut there = Background::spawn(serve.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut output = BufReader::new(there.0.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it says where it listens");
    assert!(line.contains("7447"), "{line}");
    Some(Bench { link, pair, _there: there, _output: output, folder })
}

impl Bench {
    fn start(&self, options: &[&str]) -> Background {
        let mut command = self.link.on(0, PAGESIEVE);
        let to = format!("{}:{PORT}/web1", Link::address(1));
        command.args(["migrate", "--json", "--qmp", text(&self.pair.source.socket()), "--to", &to]);
        command.arg("--keys").arg(Path::new(self.folder.path()).join("host0")).args(options);
        Background::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    fn runs_here(&mut self) {
        let before = self.pair.source.self_check();
        assert_eq!(self.pair.source.status(), "running");
        wait_long("the guest to count on at the source", || self.pair.source.self_check() > before + 1);
        assert_ne!(self.pair.destination.status(), "running");
    }
}

/// How it ended, what it tells, and the last line of its errors.
fn end(mut moving: Background) -> (Option<i32>, Value, String) {
    let (mut story, mut errors) = (String::new(), String::new());
    moving.0.stdout.take().expect("once").read_to_string(&mut story).expect("text");
    moving.0.stderr.take().expect("once").read_to_string(&mut errors).expect("text");
    let code = moving.0.wait().expect("it has ended").code();
    let story = serde_json::from_str(&story).unwrap_or_else(|error| panic!("{error} in {story}; {errors}"));
    (code, story, errors.trim_end().rsplit('\n').next().unwrap_or_default().to_owned())
}

#[test]
fn a_light_guest_moves_over_a_far_and_lossy_link() {
    let Some(bench) = bench("a_light_guest_moves_over_a_far_and_lossy_link", "light") else { return };
    let before = bench.pair.source.self_check();
    let (code, story, errors) = end(bench.start(&["--streams", "8", "--verify", "--downtime-limit", "2s"]));
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!((at(&story, "moved"), at(&story, "converged")), (&true.into(), &true.into()));
    eprintln!(
        "100 Mbit/s, 20 ms, 0.5 % loss: {} s, downtime {} s, wire {}",
        at(&story, "total_seconds"),
        at(&story, "downtime_seconds"),
        at(&story, "wire.sent")
    );
    bench.pair.destination.counts_on(before);
}

#[test]
fn a_guest_that_writes_faster_than_the_link_stays_and_so_it_does_when_the_link_goes_dead() {
    let test = "a_guest_that_writes_faster_than_the_link_stays_and_so_it_does_when_the_link_goes_dead";
    let Some(mut bench) = bench(test, "mixed") else { return };
    // In 30 ms the link takes 375 KB, the guest writes some MiB in each round.
    let (code, story, errors) = end(bench.start(&["--streams", "8", "--max-rounds", "3", "--downtime-limit", "30ms"]));
    assert_eq!((code, at(&story, "moved")), (Some(3), &false.into()), "{errors}");
    assert!(errors.contains("faster than the wire") && errors.contains("it runs here"), "{errors}");
    eprintln!(
        "a guest that writes faster: {} rounds in {} s",
        at(&story, "rounds").as_array().map_or(0, Vec::len),
        at(&story, "total_seconds")
    );
    bench.runs_here();
    // No end of a connection, no reset: nothing comes any more.
    let before = bench.link.sent(0);
    let moving = bench.start(&["--streams", "4"]);
    wait_until("the first round", || bench.link.sent(0) > before + 500_000);
    bench.link.reshape(|shape| shape.dead = true);
    let (code, story, errors) = end(moving);
    assert_eq!((code, at(&story, "moved")), (Some(3), &false.into()), "{errors}");
    assert!(errors.contains("for 30s") && errors.contains("the guest runs here"), "{errors}");
    bench.runs_here();
    // The link comes back, and so does the destination's patience.
    bench.link.reshape(|shape| *shape = FAR);
    let before = bench.pair.source.self_check();
    let (code, _, errors) = end(bench.start(&["--streams", "8", "--force"]));
    assert_eq!(code, Some(0), "{errors}");
    bench.pair.destination.counts_on(before);
}
