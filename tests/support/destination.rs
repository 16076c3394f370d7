//! A destination of our own, which listens on this machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use super::{Background, PAGESIEVE, text};

/// A destination that listens.
pub struct Destination {
    pub process: Background,
    pub port: u16,
    pub dir: PathBuf,
    /// Kept open, or it could not say what it did.
    _output: BufReader<ChildStdout>,
}

impl Destination {
    pub fn start(dir: &Path, options: &[&str]) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut command = Command::new(PAGESIEVE);
        command.args(["serve", "--listen", "127.0.0.1:0", "--dir", text(dir)]).args(options);
        let mut process = Background::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut output = BufReader::new(process.0.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Self { process, port: port.unwrap_or_else(|| panic!("no address in {line:?}")), dir: dir.to_owned(), _output: output }
    }
}
