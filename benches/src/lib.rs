//! Input for the benchmarks in `benches/`: always the same, and small. And what the programs that measure share.
#![forbid(unsafe_code)]

pub mod child;
mod spread;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use pagesieve_core::{Gfn, Nanos, PageBitmap};
use pagesieve_traces::{Class, Frame, Header, Reader, SynthConfig, synth};

pub use spread::Spread;

/// A synthetic guest of 64 MiB that is watched for twenty seconds, with its header.
///
/// # Panics
/// Never: the parameters are in range.
#[must_use]
pub fn guest(class: Class) -> (Header, Vec<Frame>) {
    let config = SynthConfig { duration: Nanos(20 * Nanos::SECOND.0), ..SynthConfig::new(class) };
    let frames = synth(config).expect("the parameters are in range");
    (frames.header().clone(), frames.collect())
}

/// The command that made the figures, without folders, which decide nothing.
#[must_use]
pub fn command(program: &str) -> String {
    let mut arguments = std::env::args().skip(1);
    let mut text = format!("cargo run --release -p pagesieve-benches --bin {program} --");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--image" | "--out" | "--pagesieve" => _ = arguments.next(),
            _ => text = format!("{text} {argument}"),
        }
    }
    text.trim_end_matches(" --").to_owned()
}

/// The `pagesieve` command to measure: the one given, or the one that was built beside this program.
///
/// # Errors
/// There is none.
pub fn pagesieve(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let command = match given {
        Some(command) => command.to_owned(),
        None => std::env::current_exe()?.with_file_name("pagesieve"),
    };
    ensure!(command.exists(), "failed to find {}; run cargo build --release, or give it with --pagesieve", command.display());
    Ok(command)
}

/// A trace of the corpus, such as `mixed-512m`.
///
/// # Panics
/// If there is no such trace, or it is damaged.
#[must_use]
pub fn corpus(name: &str) -> (Header, Vec<Frame>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/corpus").join(name).with_extension("trace");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = Reader::new(BufReader::new(file)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header = reader.header().clone();
    (header, reader.frames().map(|frame| frame.expect("the corpus is whole")).collect())
}

/// Access events of all frames.
#[must_use]
pub fn events(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.events.len() as u64).sum()
}

/// A set of `end` pages with every page whose number `keep` picks.
pub fn pages(end: u64, keep: impl Fn(u64) -> bool) -> PageBitmap {
    let mut set = PageBitmap::new(end);
    for gfn in (0..end).filter(|&gfn| keep(gfn)) {
        set.insert(Gfn(gfn));
    }
    set
}

/// A page of bytes that do not repeat, from a seed (xorshift64; the seed may not be 0).
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `page` with `changed` bytes changed, spread evenly.
///
/// # Panics
/// If more bytes are to change than there are.
#[must_use]
pub fn scattered(page: &[u8], changed: usize) -> Vec<u8> {
    assert!(changed <= page.len());
    let mut new = page.to_vec();
    for index in 0..changed {
        new[index * page.len() / changed] ^= 0xff;
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_changes_as_many_bytes_as_asked() {
        let page = noise(1, 4096);
        for changed in [0, 1, 64, 512, 4096] {
            let new = scattered(&page, changed);
            assert_eq!(page.iter().zip(&new).filter(|(old, new)| old != new).count(), changed);
        }
    }

    #[test]
    fn the_guest_has_something_to_do() {
        let (_, frames) = guest(Class::Mixed);
        assert!(frames.len() >= 4 && events(&frames) > 1000, "{} frames, {} events", frames.len(), events(&frames));
    }
}
