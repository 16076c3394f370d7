//! A file of every shipped version stays readable, and today's writer still writes what it wrote.
//!
//! After a deliberate change of the format, with a new version number, `PAGESIEVE_BLESS=1 cargo test -p pagesieve-traces
//! --test golden` writes the files of the new version. The files of older versions are never written again.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{chunk_length, file, first_frame_at, payload};
use pagesieve_core::Nanos;
use pagesieve_traces::{Class, DumpFormat, FORMAT, Frame, Header, Reader, SynthConfig, dump, synth};

/// The zstd that compressed the files, as `major * 10000 + minor * 100 + patch`. Another one may compress otherwise; what
/// comes out of the frames must then still be equal.
const ZSTD: u32 = 10507;

fn fields() -> (Header, Vec<Frame>) {
    let mut header = common::header();
    // The version of the tool changes without the format.
    header.tool = "0.1.0".to_owned();
    (header, common::frames())
}

fn synthetic() -> (Header, Vec<Frame>) {
    let config = SynthConfig {
        memory: 1 << 20,
        seed: 42,
        duration: Nanos(600 * Nanos::MILLISECOND.0),
        epoch: Nanos(200 * Nanos::MILLISECOND.0),
        ..SynthConfig::new(Class::Idle)
    };
    let frames = synth(config).unwrap();
    let mut header = frames.header().clone();
    header.tool = "0.1.0".to_owned();
    (header, frames.collect())
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Reads a golden file; writes it first if asked to.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    if std::env::var_os("PAGESIEVE_BLESS").is_some() {
        fs::write(path(name), now).unwrap();
    }
    fs::read(path(name)).unwrap()
}

fn dumped(file: &[u8], format: DumpFormat) -> String {
    let mut out = Vec::new();
    dump(&mut Reader::new(file).unwrap(), &mut out, format).unwrap();
    String::from_utf8(out).unwrap()
}

/// The header and the payloads of all chunks, which do not depend on the version of zstd.
fn uncompressed(file: &[u8]) -> Vec<Vec<u8>> {
    let mut at = first_frame_at(file);
    let mut parts = vec![file[..at].to_vec()];
    while at + 16 < file.len() {
        parts.push(payload(file, at));
        at += chunk_length(file, at);
    }
    parts
}

fn check(name: &str, (header, frames): (Header, Vec<Frame>), format: DumpFormat) {
    assert_eq!(FORMAT.to_string(), "2.0", "a new version needs golden files of its own");
    let written = file(&header, &frames);
    let stored = golden(&format!("v2.0-{name}.trace"), &written);

    let mut reader = Reader::new(&stored[..]).unwrap();
    assert_eq!(reader.header(), &header);
    assert_eq!(reader.frames().collect::<Result<Vec<_>, _>>().unwrap(), frames);
    let text = dumped(&stored, format);
    assert_eq!(text.as_bytes(), golden(&format!("v2.0-{name}.txt"), text.as_bytes()), "{text}");

    // The payload of the index holds offsets, which follow from compressed sizes: it is the last part.
    let (mut ours, mut theirs) = (uncompressed(&written), uncompressed(&stored));
    ours.pop();
    theirs.pop();
    assert_eq!(ours, theirs);
    if zstd::zstd_safe::version_number() == ZSTD {
        assert_eq!(written, stored);
    }
}

#[test]
fn a_file_with_every_field() {
    check("fields", fields(), DumpFormat::JsonLines);
}

#[test]
fn a_synthetic_file() {
    check("synth", synthetic(), DumpFormat::Text);
}
