//! A monitor of a QEMU, as far as the comparison needs it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// How long a QEMU may take to open its sockets.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects to a socket that may not be there yet.
pub(crate) fn connect(path: &Path) -> anyhow::Result<UnixStream> {
    let limit = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > limit => return Err(error).with_context(|| format!("failed to connect to {path:?}")),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A connection to a monitor.
pub(crate) struct Qmp {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Qmp {
    pub(crate) fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = connect(path)?;
        let mut qmp = Self { answers: BufReader::new(stream.try_clone()?), stream };
        qmp.line()?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("a QEMU has ended")
    }

    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        // In one piece: QEMU does not wait for the end of the line.
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.stream.write_all(line.as_bytes())?;
        loop {
            let mut answer = self.line()?;
            if answer.get("return").is_some() {
                return Ok(answer["return"].take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {}", error["desc"]);
            }
        }
    }
}
