use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;

use serde_json::Value;

use super::*;

/// Answers to a command, the last of which stays; none ends the connection.
type Script = BTreeMap<&'static str, Vec<&'static str>>;

const MTREE: &str = "{\"return\":\"FlatView #0\\n AS \\\"memory\\\"\\n  0000000000000000-0000000000ffffff (prio 0, ram): a\\n\"}";
const PAUSED: &str = "{\"return\":{\"running\":false,\"status\":\"paused\"}}";
const RUNNING: &str = "{\"return\":{\"running\":true,\"status\":\"running\"}}";

fn script(changes: &[(&'static str, &[&'static str])]) -> Script {
    let mut script = Script::from([
        ("query-status", vec![RUNNING]),
        ("query-memdev", vec!["{\"return\":[{\"id\":\"a\",\"size\":16777216}]}"]),
        ("info mtree -f", vec![MTREE]),
        ("info numa", vec!["{\"return\":\"0 nodes\"}"]),
        ("gpa2hva 0x0", vec!["{\"return\":\"Host virtual address for 0x0 (a) is 0x10000000\"}"]),
    ]);
    script.extend(changes.iter().map(|(command, answers)| (*command, answers.to_vec())));
    script
}

/// A monitor for the guard and one client after the other. Sends on the commands that change the guest.
fn serve(listener: UnixListener, mut script: Script, said: mpsc::Sender<String>) {
    while let Ok((stream, _)) = listener.accept() {
        if serve_one(stream, &mut script, &said).is_none() {
            return;
        }
    }
}

fn serve_one(mut stream: UnixStream, script: &mut Script, said: &mpsc::Sender<String>) -> Option<()> {
    stream.write_all(b"{\"QMP\":{}}\n").ok()?;
    for line in BufReader::new(stream.try_clone().ok()?).lines() {
        let command: Value = serde_json::from_str(&line.ok()?).ok()?;
        let name = command["arguments"]["command-line"].as_str().or(command["execute"].as_str())?.to_owned();
        if ["stop", "cont"].contains(&name.as_str()) {
            said.send(name.clone()).ok()?;
        }
        let answers = script.get_mut(name.as_str());
        let answer = match answers {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => *answers.first()?,
            None => "{\"return\":{}}",
        };
        let (events, answer) = answer.rsplit_once('\n').unwrap_or(("", answer));
        let mut answer: Value = serde_json::from_str(answer).ok()?;
        answer["id"] = command["id"].clone();
        stream.write_all(format!("{events}\n{answer}\n").trim_start().as_bytes()).ok()?;
    }
    Some(())
}

fn guest(script: Script) -> (Guest, mpsc::Receiver<String>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q");
    let listener = UnixListener::bind(&path).unwrap();
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || serve(listener, script, sender));
    (Guest::by_monitor(&path).unwrap().0, said, dir)
}

fn all(said: &mpsc::Receiver<String>) -> Vec<String> {
    said.try_iter().collect()
}

#[test]
fn a_guest_that_we_stopped_goes_on_once() {
    let (mut guest, said, _dir) = guest(script(&[("query-status", &[RUNNING, PAUSED])]));
    assert!(guest.stop().unwrap() && guest.is_stopped());
    guest.resume().unwrap();
    guest.resume().unwrap();
    assert_eq!(all(&said), ["stop", "cont"]);
}

#[test]
fn a_guest_that_is_no_longer_paused_is_not_ours_to_let_go() {
    for status in ["{\"return\":{\"running\":false,\"status\":\"postmigrate\"}}", RUNNING] {
        let (mut guest, said, _dir) = guest(script(&[("query-status", &[RUNNING, status])]));
        assert!(guest.stop().unwrap());
        guest.resume().unwrap();
        drop(guest);
        assert_eq!(all(&said), ["stop"], "{status}");
    }
}

#[test]
fn a_guest_that_is_held_stays_stopped_through_closings() {
    let (mut guest, said, _dir) = guest(script(&[("query-status", &[RUNNING, PAUSED])]));
    assert!(guest.hold().unwrap());
    assert!(guest.stop().unwrap() && guest.is_stopped());
    guest.resume().unwrap();
    assert_eq!(all(&said), ["stop"]);
    guest.release().unwrap();
    assert_eq!(all(&said), ["cont"]);
    assert!(guest.hold().unwrap());
    drop(guest);
    assert!(all(&said).is_empty(), "someone has stopped it meanwhile, so it is not ours");
}

#[test]
fn a_held_guest_goes_on_when_it_is_dropped_but_not_when_it_was_given_away() {
    let (mut guest, said, _dir) = self::guest(script(&[("query-status", &[RUNNING, PAUSED])]));
    guest.hold().unwrap();
    drop(guest);
    assert_eq!(all(&said), ["stop", "cont"]);
    let (mut guest, said, _dir) = self::guest(script(&[("query-status", &[RUNNING, PAUSED])]));
    guest.hold().unwrap();
    guest.give_away().unwrap();
    guest.release().unwrap();
    drop(guest);
    assert_eq!(all(&said), ["stop"], "neither we nor the guard");
}

#[test]
fn a_guest_that_went_on_is_not_given_away() {
    let again = "{\"event\":\"RESUME\"}\n{\"event\":\"STOP\"}\n{\"return\":{\"running\":false,\"status\":\"paused\"}}";
    for after in [RUNNING, again] {
        let (mut guest, _said, _dir) = guest(script(&[("query-status", &[RUNNING, RUNNING, after, PAUSED])]));
        assert!(matches!(guest.give_away(), Err(StateError::NotHeld)), "it was never held");
        guest.hold().unwrap();
        assert!(matches!(guest.give_away(), Err(StateError::NotHeld)), "someone let it go on");
    }
    let (mut guest, _said, _dir) = guest(script(&[("query-status", &[RUNNING, PAUSED])]));
    guest.hold().unwrap();
    guest.monitor = None;
    assert!(matches!(guest.give_away(), Err(StateError::NotHeld)), "its guard has let it go on");
}

#[test]
fn a_device_state_is_taken_of_a_held_guest_only() {
    let (mut guest, _said, _dir) = guest(script(&[]));
    assert!(matches!(guest.take_device_state(&StateLimits::default()), Err(StateError::NotHeld)));
    guest.hold().unwrap();
    let error = guest.take_device_state(&StateLimits::default()).unwrap_err();
    assert!(matches!(error, StateError::NotPaused { .. }), "{error}");
}

#[test]
fn a_guest_whose_devices_were_taken_goes_on_here_until_it_is_given_away() {
    const MOVED: &str = "{\"return\":{\"running\":false,\"status\":\"postmigrate\"}}";
    let (mut guest, said, _dir) = guest(script(&[("query-status", &[RUNNING, MOVED])]));
    guest.hold().unwrap();
    assert!(matches!(guest.take_device_state(&StateLimits::default()), Err(StateError::PrivateRam { .. })));
    guest.release().unwrap();
    assert_eq!(all(&said), ["stop", "cont"]);
}

#[test]
fn a_guest_that_someone_has_stopped_is_left_so() {
    let (mut guest, said, _dir) = guest(script(&[("query-status", &[PAUSED])]));
    assert!(guest.stop().unwrap() && guest.is_stopped());
    drop(guest);
    assert!(all(&said).is_empty());
}

#[test]
fn a_guest_that_went_on_for_a_moment_did_not_stand_still() {
    let again = "{\"event\":\"RESUME\"}\n{\"event\":\"STOP\"}\n{\"return\":{\"running\":false,\"status\":\"paused\"}}";
    let (mut guest, _said, _dir) = guest(script(&[("query-status", &[RUNNING, again, PAUSED])]));
    assert!(guest.stop().unwrap());
    assert!(!guest.is_stopped());
    assert_eq!(guest.refresh(), ["the guest went on"]);
    assert!(guest.is_stopped());
}

#[test]
fn a_stop_that_is_refused_hides_no_stop_of_others() {
    let refused = "{\"error\":{\"desc\":\"no\"}}";
    let theirs = "{\"event\":\"STOP\"}\n{\"return\":{\"running\":false,\"status\":\"paused\"}}";
    let (mut guest, _said, _dir) = guest(script(&[("stop", &[refused]), ("query-status", &[RUNNING, RUNNING, RUNNING, theirs])]));
    assert!(guest.stop().is_err());
    guest.resume().unwrap();
    assert!(guest.refresh().is_empty());
    assert_eq!(guest.refresh(), ["the guest was stopped"]);
}

#[test]
fn an_answer_between_two_states_does_not_lose_the_monitor() {
    let found = "{\"return\":\"Host virtual address for 0x0 (a) is 0x10000000\"}";
    let nothing = "{\"return\":\"No memory is mapped at address 0x0\"}";
    let (mut guest, _said, _dir) = guest(script(&[("gpa2hva 0x0", &[found, nothing, found, nothing])]));
    assert!(guest.refresh().is_empty());
    assert!(guest.monitor.is_some() && guest.ram.len() == 1);
    let lines = guest.refresh();
    assert!(lines[0].contains("monitor is lost") && guest.monitor.is_none(), "{lines:?}");
    assert_eq!((guest.stop().unwrap(), guest.refresh().len(), guest.ram.len()), (false, 0, 1), "what is known stays");
}
