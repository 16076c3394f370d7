//! `sync` to a `serve` on another machine: here the same one, over real sockets, with and without TLS.

mod support;

use std::fs;
use std::path::Path;

use support::destination::Destination;
use support::{Run, at, count, run, scratch, text};

fn sync(there: &Destination, from: &Path, name: &str, options: &[&str]) -> Run {
    let to = format!("localhost:{}{name}", there.port);
    run(["sync", "--json", text(from), &to].iter().chain(options))
}

fn content(len: u32) -> Vec<u8> {
    (0..len / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[test]
fn a_file_goes_to_a_destination_and_only_what_changes_follows() {
    let dir = scratch();
    let from = dir.path().join("disk.img");
    let mut bytes = content(1 << 20);
    fs::write(&from, &bytes).unwrap();
    let mut there = Destination::start(&dir.path().join("there"), &[]);
    let first = sync(&there, &from, "", &["--verify", "--streams", "4"]).expect_json();
    assert_eq!((at(&first, "baseline"), count(&first, "blocks.sent")), (&"empty".into(), 16));
    assert!(fs::read(there.dir.join("disk.img")).unwrap() == bytes, "under the source's own name");
    bytes[500_000] ^= 1;
    fs::write(&from, &bytes).unwrap();
    let second = sync(&there, &from, "", &[]).expect_json();
    assert_eq!((at(&second, "baseline"), count(&second, "blocks.sent")), (&"fingerprints".into(), 1));
    assert!(fs::read(there.dir.join("disk.img")).unwrap() == bytes);
    sync(&there, &from, "/web1/disk.img", &["--bandwidth-limit", "1Gbit"]).expect_json();
    assert!(fs::read(there.dir.join("web1/disk.img")).unwrap() == bytes);
    sync(&there, &from, "/../disk.img", &[]).expect_failure(&["..", "below"]);
    sync(&there, &from, "/web1", &[]).expect_failure(&["no regular file", "choose another name"]);
    sync(&there, &from, "", &["--in-place"]).expect_failure(&["--in-place", "leave them out"]);
    assert!(there.process.is_running(), "it goes on serving");
    drop(there.process);
    let gone = run(["sync", text(&from), &format!("127.0.0.1:{}", there.port)]);
    gone.expect_failure(&["connect"]);
}

#[test]
fn only_those_with_a_certificate_of_the_same_ca_are_let_in() {
    let dir = scratch();
    let from = dir.path().join("disk.img");
    fs::write(&from, content(1 << 18)).unwrap();
    let key = |path: &str| dir.path().join(path);
    for (path, host) in [("ours/there", "localhost"), ("ours/here", "here.example"), ("theirs/here", "here.example")] {
        run(["keys", text(&key(path)), host]).expect_quiet_success();
    }
    run(["keys", text(&key("ours/here")), "here.example"]).expect_failure(&["exists", "--force"]);
    let there = Destination::start(&dir.path().join("there"), &["--keys", text(&key("ours/there"))]);
    sync(&there, &from, "", &["--keys", text(&key("theirs/here"))]).expect_failure(&["certificate", "pagesieve keys"]);
    sync(&there, &from, "", &[]).expect_failure(&["TLS", "pagesieve keys"]);
    sync(&there, &from, "", &["--keys", text(&key("ours/nobody"))]).expect_failure(&["nobody", "pagesieve keys"]);
    sync(&there, &from, "", &["--tls", "on"]).expect_failure(&["--keys"]);
    assert!(!there.dir.join("disk.img").exists(), "nothing came in");
    sync(&there, &from, "", &["--keys", text(&key("ours/here"))]).expect_json();
    assert!(fs::read(there.dir.join("disk.img")).unwrap() == content(1 << 18));
    let key_here = key("ours/here");
    let choosy = Destination::start(&dir.path().join("there"), &["--keys", text(&key("ours/there")), "--allow", "web1.example"]);
    sync(&choosy, &from, "/x", &["--keys", text(&key_here)]).expect_failure(&["allows none of the names", "--allow"]);
    let open_to = ["--keys", text(&key("ours/there")), "--allow", "web1.example", "--allow", "here.example"].map(str::to_owned);
    let choosy = Destination::start(&dir.path().join("there"), &open_to.each_ref().map(String::as_str));
    sync(&choosy, &from, "/x", &["--keys", text(&key_here)]).expect_json();
    run(["serve", "--listen", "127.0.0.1:0", "--dir", text(dir.path()), "--allow", "x"]).expect_failure(&["--keys"]);
    // A guest goes to whom it is meant for, or nowhere: it is not even looked at.
    let to = format!("localhost:{}/web1", there.port);
    let moved = run(["migrate", "--qmp", "none", "--to", &to, "--keys", text(&key("theirs/here"))]);
    moved.expect_failure(&["certificate", "pagesieve keys"]);
    let open = run(["serve", "--listen", "0.0.0.0:0", "--dir", text(dir.path())]);
    open.expect_failure(&["--keys"]);
    run(["serve", "--listen", "127.0.0.1:0", "--dir", text(&key("none"))]).expect_failure(&["none"]);
}
