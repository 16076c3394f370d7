//! A client of QEMU's machine protocol (QMP): JSON lines over a Unix socket, one client at a time.
//!
//! Replies are taken as loose JSON: the few fields that are read have been the same in all versions, while the complete types of a
//! binding would refuse a QEMU that is older or newer than they are.

use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

/// How long QEMU may take to answer. A `stop` waits for the I/O in flight, so a slow disk counts here.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to greet. A monitor that serves another client accepts the connection and says nothing.
const GREETING_PATIENCE: Duration = Duration::from_secs(2);

/// Why a monitor could not be used.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Nobody listens there.
    #[error(
        "connect to the QMP socket {path}: {error}; give the path that QEMU was started with (-qmp unix:PATH,server=on,wait=off)"
    )]
    Connect {
        /// The socket.
        path: String,
        /// The cause.
        error: io::Error,
    },
    /// It accepts and does not greet.
    #[error(
        "talk to the QMP socket {path}: no greeting; another client (libvirt?) holds it, or it is no QMP socket: give QEMU a second -qmp"
    )]
    NoGreeting {
        /// The socket.
        path: String,
    },
    /// The connection broke off.
    #[error("talk to QEMU over QMP: {0}")]
    Io(#[from] io::Error),
    /// QEMU refused a command.
    #[error("run the QMP command {command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's own words.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("understand QEMU's answer to {command}: {what}")]
    Nonsense {
        /// The command.
        command: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Something that QEMU reported by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Name, such as `RESET`.
    pub(crate) name: String,
}

/// An open monitor.
pub(crate) struct Qmp {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    events: Vec<Event>,
    next_id: u64,
}

impl Qmp {
    /// Connects and leaves negotiation mode.
    pub(crate) fn connect(path: &Path) -> Result<Self, QmpError> {
        let name = path.display().to_string();
        let stream = UnixStream::connect(path).map_err(|error| QmpError::Connect { path: name.clone(), error })?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(GREETING_PATIENCE))?;
        let reader = BufReader::new(stream.try_clone()?);
        let mut qmp = Self { stream, reader, events: Vec::new(), next_id: 0 };
        let greeting = qmp.read_line().ok().filter(|line| line.get("QMP").is_some());
        greeting.ok_or(QmpError::NoGreeting { path: name })?;
        qmp.stream.set_read_timeout(Some(PATIENCE))?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// The process at the other end: the one that made the socket listen. Under libvirt that is not QEMU itself.
    pub(crate) fn peer(&self) -> Option<u32> {
        let credentials = rustix::net::sockopt::socket_peercred(&self.stream).ok()?;
        u32::try_from(credentials.pid.as_raw_nonzero().get()).ok()
    }

    /// Runs a command and returns its answer. Events that come meanwhile are kept.
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let line = self.command(command, arguments);
        self.stream.write_all(line.as_bytes())?;
        self.answer(command)
    }

    /// Gives QEMU a descriptor under a name.
    pub(crate) fn give(&mut self, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), QmpError> {
        let line = self.command("getfd", json!({ "fdname": name }));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut more = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        more.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = sendmsg(&self.stream, &[IoSlice::new(line.as_bytes())], &mut more, SendFlags::NOSIGNAL);
        // The descriptor goes with the first byte.
        let sent = sent.map_err(io::Error::from)?;
        self.stream.write_all(&line.as_bytes()[sent..])?;
        self.answer("getfd").map(drop)
    }

    /// The line of a command, with a number of its own.
    fn command(&mut self, command: &str, arguments: Value) -> String {
        self.next_id += 1;
        format!("{}\n", json!({ "execute": command, "arguments": arguments, "id": self.next_id }))
    }

    /// The answer to the command that was sent last.
    fn answer(&mut self, command: &str) -> Result<Value, QmpError> {
        let id = self.next_id;
        loop {
            let mut answer = self.read_line()?;
            if answer.get("event").is_some() {
                self.keep(&answer);
            } else if answer.get("id").and_then(Value::as_u64) == Some(id) {
                if let Some(error) = answer.get("error") {
                    let reason = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
                    return Err(QmpError::Refused { command: command.to_owned(), reason });
                }
                return Ok(answer.get_mut("return").map(Value::take).unwrap_or_default());
            }
        }
    }

    /// Runs a command of the human monitor: for what the machine protocol does not offer.
    pub(crate) fn human(&mut self, command: &str) -> Result<String, QmpError> {
        match self.execute("human-monitor-command", json!({ "command-line": command }))? {
            Value::String(text) => Ok(text),
            other => Err(QmpError::Nonsense { command: command.to_owned(), what: format!("text expected, not {other}") }),
        }
    }

    /// The events since the last call, in order.
    pub(crate) fn take_events(&mut self) -> Result<Vec<Event>, QmpError> {
        // An answer follows all events that were reported before it.
        self.execute("query-status", json!({}))?;
        Ok(std::mem::take(&mut self.events))
    }

    /// True if such an event has come since events were taken.
    pub(crate) fn has_seen(&self, name: &str) -> bool {
        self.events.iter().any(|event| event.name == name)
    }

    fn keep(&mut self, line: &Value) {
        self.events.push(Event { name: line["event"].as_str().unwrap_or_default().to_owned() });
    }

    fn read_line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "QEMU closed the connection"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const GREETING: &str = "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n";

    /// A monitor that answers each command with the next of these lines; `ID` stands for the command's number.
    fn scripted(path: &Path, answers: &'static [&'static str]) -> thread::JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(GREETING.as_bytes()).unwrap();
            let mut commands = BufReader::new(stream.try_clone().unwrap()).lines();
            for answer in std::iter::once(&"{\"return\":{},\"id\":ID}").chain(answers) {
                let Some(Ok(command)) = commands.next() else { return };
                let id = serde_json::from_str::<Value>(&command).unwrap()["id"].to_string();
                stream.write_all(format!("{}\n", answer.replace("ID", &id)).as_bytes()).unwrap();
            }
        })
    }

    #[test]
    fn an_answer_is_told_from_events_and_from_answers_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q");
        let monitor = scripted(
            &path,
            &[
                "{\"event\":\"STOP\",\"data\":{}}\n{\"return\":1,\"id\":99}\n{\"return\":{\"running\":true},\"id\":ID}",
                "{\"return\":{},\"id\":ID}",
            ],
        );
        let mut qmp = Qmp::connect(&path).unwrap();
        assert_eq!(qmp.execute("query-status", json!({})).unwrap()["running"], true);
        assert_eq!(qmp.take_events().unwrap(), [Event { name: "STOP".to_owned() }]);
        monitor.join().unwrap();
        assert!(matches!(qmp.execute("stop", json!({})), Err(QmpError::Io(_))), "QEMU has gone");
    }

    #[test]
    fn a_refusal_has_qemus_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q");
        let monitor = scripted(&path, &["{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such thing\"},\"id\":ID}"]);
        let error = Qmp::connect(&path).unwrap().execute("frob", json!({})).unwrap_err();
        assert_eq!(error.to_string(), "run the QMP command frob: no such thing");
        monitor.join().unwrap();
    }

    #[test]
    fn a_socket_that_does_not_greet_is_no_monitor_to_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q");
        assert!(matches!(Qmp::connect(&path), Err(QmpError::Connect { .. })));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(Qmp::connect(&path), Err(QmpError::NoGreeting { .. })));
        drop(listener);
    }
}
