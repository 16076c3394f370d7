//! Child processes whose lines are read as they come: targets, and roles of this program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// A child and what it printed. It is ended with the value.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
    reader: JoinHandle<()>,
}

impl Lines {
    /// Starts a command and reads what it prints.
    ///
    /// # Errors
    /// It does not start.
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("failed to start {name}"))?;
        let output = child.stdout.take().context("the child has no output")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                read.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), line));
            }
        });
        Ok(Self { child, lines, reader })
    }

    /// A role of this program.
    ///
    /// # Errors
    /// As for [`Lines::spawn`].
    pub fn role(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::spawn(Command::new(std::env::current_exe()?).args(arguments))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn with<T>(&self, look: impl FnOnce(&[(Instant, String)]) -> T) -> T {
        look(&self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a line that has these words.
    ///
    /// # Errors
    /// It did not come, or the child has ended.
    pub fn await_line(&mut self, words: &str, patience: Duration) -> anyhow::Result<String> {
        let limit = Instant::now() + patience;
        loop {
            // Asked before the lines are looked at: then none can come after.
            let ended = self.reader.is_finished();
            let found = self.with(|lines| lines.iter().find(|(_, line)| line.contains(words)).map(|(_, line)| line.clone()));
            if let Some(line) = found {
                return Ok(line);
            }
            if ended {
                bail!("a child ended ({}) before it said `{words}`", self.child.wait()?);
            }
            if Instant::now() > limit {
                bail!("a child did not say `{words}` within {} s", patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its last line, and whether it has ended: for messages.
    #[must_use]
    pub fn state(&self) -> String {
        let last = self.with(|lines| lines.last().map(|(_, line)| line.clone())).unwrap_or_default();
        format!("its last line is `{last}`, and it {}", if self.reader.is_finished() { "has ended" } else { "still runs" })
    }

    /// True if a line has these words.
    #[must_use]
    pub fn said(&self, words: &str) -> bool {
        self.with(|lines| lines.iter().any(|(_, line)| line.contains(words)))
    }

    /// `name=number` of the last line before a time, and of each one up to another, with the time of the line.
    #[must_use]
    pub fn counts(&self, name: &str, from: Instant, to: Instant) -> Vec<(Instant, u64)> {
        let count =
            |line: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        self.with(|lines| {
            let past = lines.iter().filter(|(time, _)| *time <= to);
            let counts: Vec<(Instant, u64)> = past.filter_map(|(time, line)| Some((*time, count(line)?))).collect();
            let first = counts.partition_point(|(time, _)| *time < from).saturating_sub(1);
            counts[first..].to_vec()
        })
    }

    /// The last line before a time that is JSON with this field, and when it came.
    #[must_use]
    pub fn last_json(&self, field: &str, before: Instant) -> Option<(Instant, Value)> {
        self.with(|lines| {
            let past = lines.iter().rev().filter(|(time, _)| *time <= before);
            let mut values = past.filter_map(|(time, line)| Some((*time, serde_json::from_str::<Value>(line).ok()?)));
            values.find(|(_, value)| value.get(field).is_some())
        })
    }

    /// Closes its standard input, which tells a role to end, and waits.
    ///
    /// # Errors
    /// It failed.
    pub fn finish(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "a part of the measurement ended with {status}");
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
