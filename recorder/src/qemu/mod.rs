//! A QEMU guest: its memory, its monitor, and how it is brought to a rest.
//!
//! A guest differs from any other process in three ways. Its pages have numbers of their own, those of the guest. Only its RAM
//! counts, not QEMU's own memory. And it can be stopped from within: `stop` over QMP halts the virtual CPUs *and waits for the
//! disk I/O in flight*, which no stop of the process's threads can do.

mod capabilities;
mod error;
mod find;
mod guard;
mod guess;
mod incoming;
mod memory;
mod migration;
mod qmp;
mod ram_layout;

use std::ops::Range;
use std::path::Path;

use pagesieve_core::{Gfn, PAGE_SHIFT};
use serde_json::json;

pub use error::StateError;
pub use find::{Find, FindError, find};
pub use incoming::Incoming;
pub use migration::{DeviceState, StateLimits};
pub use qmp::QmpError;
pub use ram_layout::{RamLayout, RamPart};

use crate::maps::{self, Mapping, Wanted};
use guard::Guard;
pub(crate) use memory::GuestRam;
use qmp::{Event, Qmp};

/// A guest under observation.
pub(crate) struct Guest {
    ram: Vec<GuestRam>,
    monitor: Option<Monitor>,
}

/// The monitor, and what we did with it.
struct Monitor {
    qmp: Qmp,
    /// The guest is stopped on our behalf.
    stopped: bool,
    /// It stays so between closings.
    held: bool,
    /// Its device state was taken: QEMU calls it migrated, though it is ours until it is given away.
    taken: bool,
    /// Events that our own commands cause and that were not seen yet.
    ours: Vec<&'static str>,
    /// Lets the guest go on if we cannot.
    guard: Guard,
}

impl Guest {
    /// Connects to a monitor. Also returns the process at its other end.
    pub(crate) fn by_monitor(socket: &Path) -> Result<(Self, Option<u32>), QmpError> {
        let mut qmp = Qmp::connect(socket)?;
        let ram = memory::ask(&mut qmp)?;
        let peer = qmp.peer();
        let guard = Guard::start(socket)?;
        Ok((
            Self { ram, monitor: Some(Monitor { qmp, stopped: false, held: false, taken: false, ours: Vec::new(), guard }) },
            peer,
        ))
    }

    /// Looks whether a process is a QEMU whose guest memory can be told from outside. `None` if it is no QEMU; the reason if it is
    /// one, but its memory is not certain.
    pub(crate) fn of_process(pid: u32) -> Option<Result<Self, String>> {
        let arguments = crate::process::arguments(pid);
        if !guess::is_qemu(&arguments) {
            return None;
        }
        let mappings = maps::read(pid).unwrap_or_default();
        Some(guess::guess(&arguments, &mappings).map(|ram| Self { ram, monitor: None }))
    }

    /// True if all of its memory is mapped in this process.
    pub(crate) fn lives_in(&self, mappings: &[Mapping]) -> bool {
        let mapped =
            |part| mappings.iter().filter_map(move |mapping| overlap(part, mapping)).map(|range| range.end - range.start);
        self.ram.iter().all(|part| mapped(part).sum::<u64>() == part.len())
    }

    /// Bytes of its memory that cannot be tracked soundly: mapped in a way that is not followed, or not at all.
    pub(crate) fn untrackable(&self, mappings: &[Mapping]) -> u64 {
        let tracked: u64 = self.wanted(mappings).iter().map(|part| part.range.end - part.range.start).sum();
        self.ram.iter().map(GuestRam::len).sum::<u64>() - tracked
    }

    /// One past the last guest frame.
    pub(crate) fn frame_end(&self) -> u64 {
        self.ram.iter().map(|part| part.gpa + part.len()).max().unwrap_or(0) >> PAGE_SHIFT
    }

    /// Looks again where its memory is. Returns a line for everything that happened to the guest since the last call.
    pub(crate) fn refresh(&mut self) -> Vec<String> {
        let Some(monitor) = &mut self.monitor else { return Vec::new() };
        let asked = monitor.qmp.take_events().and_then(|events| Ok((events, ask_patiently(&mut monitor.qmp)?)));
        let (events, ram) = match asked {
            Ok(answer) => answer,
            Err(error) => {
                self.monitor = None;
                return vec![format!("the monitor is lost: failed to {error}; the guest is no longer stopped by it")];
            }
        };
        let mut lines: Vec<_> = events.iter().filter(|event| !is_ours(&mut monitor.ours, event)).filter_map(told).collect();
        // The events of a command come before its answer, so what has not come by now will not come.
        monitor.ours.clear();
        lines.extend(difference(&self.ram, &ram, "removed"));
        lines.extend(difference(&ram, &self.ram, "added"));
        self.ram = ram;
        lines
    }

    /// Stops the guest: its CPUs halt, and disk I/O in flight is done. Returns false if it cannot be stopped this way.
    pub(crate) fn stop(&mut self) -> Result<bool, QmpError> {
        let Some(monitor) = &mut self.monitor else { return Ok(false) };
        let status = monitor.qmp.execute("query-status", json!({}))?;
        // One that someone else has stopped is at rest already, and not ours to let go on.
        if status["running"] == true {
            monitor.guard.stopping()?;
            monitor.stopped = true;
            monitor.ours.push("STOP");
            monitor.qmp.execute("stop", json!({}))?;
        }
        Ok(true)
    }

    /// True if the guest stands still: nobody has let it go on since it was stopped.
    pub(crate) fn is_stopped(&mut self) -> bool {
        let Some(monitor) = &mut self.monitor else { return false };
        let status = monitor.qmp.execute("query-status", json!({}));
        // It may have gone on and been stopped again.
        status.is_ok_and(|status| status["running"] == false) && !monitor.qmp.has_seen("RESUME")
    }

    /// Lets the guest go on if we have stopped it and do not hold it.
    pub(crate) fn resume(&mut self) -> Result<(), QmpError> {
        let ours = |monitor: &&mut Monitor| monitor.stopped && !monitor.held;
        let Some(monitor) = self.monitor.as_mut().filter(ours) else { return Ok(()) };
        let status = monitor.qmp.execute("query-status", json!({}))?;
        // A guest that someone has migrated away meanwhile must not run here as well.
        if status["status"] == "paused" || (monitor.taken && status["status"] == "postmigrate") {
            monitor.ours.push("RESUME");
            monitor.qmp.execute("cont", json!({}))?;
        }
        (monitor.stopped, monitor.taken) = (false, false);
        Ok(monitor.guard.resumed()?)
    }

    /// Stops the guest until [`Guest::release`]: closings in between leave it stopped. Returns false if it cannot be stopped.
    pub(crate) fn hold(&mut self) -> Result<bool, QmpError> {
        let stopped = self.stop()?;
        if let Some(monitor) = &mut self.monitor {
            monitor.held = true;
        }
        Ok(stopped)
    }

    /// Ends [`Guest::hold`]. A guest that someone else had stopped before stays stopped.
    pub(crate) fn release(&mut self) -> Result<(), QmpError> {
        if let Some(monitor) = &mut self.monitor {
            monitor.held = false;
        }
        self.resume()
    }

    /// From here on the guest runs elsewhere: neither we nor our guard let it go on here. Refused unless it stands still, by us:
    /// where the monitor was lost, the guard has let it go on already.
    pub(crate) fn give_away(&mut self) -> Result<(), StateError> {
        let stopped = self.is_stopped();
        let monitor = self.monitor.as_mut().filter(|monitor| monitor.held && stopped).ok_or(StateError::NotHeld)?;
        monitor.guard.resumed()?;
        (monitor.stopped, monitor.held) = (false, false);
        Ok(())
    }

    /// The guest that was given away does not run elsewhere: it goes on here.
    pub(crate) fn take_back(&mut self) -> Result<(), StateError> {
        let monitor = self.monitor.as_mut().ok_or(StateError::NotHeld)?;
        (monitor.stopped, monitor.held, monitor.taken) = (true, false, true);
        Ok(self.resume()?)
    }

    /// Takes the state of the guest's devices. The guest must be held.
    pub(crate) fn take_device_state(&mut self, limits: &StateLimits) -> Result<DeviceState, StateError> {
        let monitor = self.monitor.as_mut().filter(|monitor| monitor.held).ok_or(StateError::NotHeld)?;
        monitor.taken = true;
        migration::take(&mut monitor.qmp, limits)
    }

    /// What a destination must agree with.
    pub(crate) fn ram_layout(&mut self) -> Result<RamLayout, StateError> {
        let monitor = self.monitor.as_mut().ok_or(StateError::NotHeld)?;
        let status = monitor.qmp.execute("query-status", json!({}))?;
        if status["status"] == "postmigrate" && !monitor.taken {
            return Err(StateError::Gone);
        }
        RamLayout::ask(&mut monitor.qmp)
    }

    /// The parts of its memory, as far as they are mapped.
    pub(crate) fn wanted<'a>(&self, mappings: &'a [Mapping]) -> Vec<Wanted<'a>> {
        let parts = self.ram.iter().flat_map(|part| mappings.iter().map(move |mapping| (part, mapping)));
        parts
            .filter_map(|(part, mapping)| {
                let range = overlap(part, mapping)?;
                let backing = mapping.backing()?;
                let base = part.base().0 + ((range.start - part.hva.start) >> PAGE_SHIFT);
                Some(Wanted { mapping, range, backing, base: Some(Gfn(base)), numa_node: part.numa_node })
            })
            .collect()
    }

    /// What is observed, in words.
    pub(crate) fn describe(&self) -> String {
        let mib = self.ram.iter().map(GuestRam::len).sum::<u64>() >> 20;
        let how =
            if self.monitor.is_some() { "by its monitor" } else { "by its command line; it has no monitor to stop it with" };
        format!("QEMU guest, {mib} MiB in {} parts, found {how}", self.ram.len())
    }
}

impl Drop for Guest {
    /// A recording that fails while the guest is stopped must not leave it so.
    fn drop(&mut self) {
        let _ = self.release();
    }
}

/// Asks where the memory is. Memory that is unplugged between two questions makes no sense of the answers, so ask again then.
fn ask_patiently(qmp: &mut Qmp) -> Result<Vec<GuestRam>, QmpError> {
    const TRIES: u32 = 3;
    let mut asked = memory::ask(qmp);
    for _ in 1..TRIES {
        if !matches!(asked, Err(QmpError::Refused { .. } | QmpError::Nonsense { .. })) {
            break;
        }
        asked = memory::ask(qmp);
    }
    asked
}

fn overlap(part: &GuestRam, mapping: &Mapping) -> Option<Range<u64>> {
    let range = part.hva.start.max(mapping.start)..part.hva.end.min(mapping.end);
    (range.start < range.end).then_some(range)
}

fn is_ours(ours: &mut Vec<&'static str>, event: &Event) -> bool {
    let known = ours.iter().position(|name| *name == event.name);
    known.map(|index| ours.remove(index)).is_some()
}

/// Events worth a line in the trace.
fn told(event: &Event) -> Option<String> {
    let text = match event.name.as_str() {
        "RESET" => "the guest was reset",
        "SHUTDOWN" => "the guest was shut down",
        "GUEST_PANICKED" => "the guest's kernel panicked",
        "STOP" => "the guest was stopped",
        "RESUME" => "the guest went on",
        _ => return None,
    };
    Some(text.to_owned())
}

/// The parts that are in the first list only.
fn difference<'a>(these: &'a [GuestRam], those: &'a [GuestRam], what: &'a str) -> impl Iterator<Item = String> + 'a {
    let missing = these.iter().filter(|part| !those.contains(part));
    missing.map(move |part| format!("{} MiB of memory {what}: {} at {:#x}", part.len() >> 20, part.backend, part.gpa))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc;

    use serde_json::Value;

    use super::*;

    /// Answers to a command, the last of which stays; none ends the connection.
    type Script = BTreeMap<&'static str, Vec<&'static str>>;

    const MTREE: &str =
        "{\"return\":\"FlatView #0\\n AS \\\"memory\\\"\\n  0000000000000000-0000000000ffffff (prio 0, ram): a\\n\"}";
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
        let (mut guest, _said, _dir) =
            guest(script(&[("stop", &[refused]), ("query-status", &[RUNNING, RUNNING, RUNNING, theirs])]));
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
}
