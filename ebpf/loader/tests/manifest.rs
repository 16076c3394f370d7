//! The committed object belongs to the committed sources: MANIFEST names both, and both still have the bytes it names.
//!
//! This needs neither the kernel nor the toolchain for it. `ebpf/build.sh --check` proves the rest: that these sources make
//! these bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const OBJECT: &str = "ebpf/prebuilt/page_tracker.bpf.o";
const FIX: &str = "run ebpf/build.sh and commit what it writes";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn hash(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; {FIX}", path.display()));
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hashes of MANIFEST by path from the root. Its other lines (`rustc: ...`) name the toolchain.
fn listed() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("ebpf/prebuilt/MANIFEST")).expect("ebpf/prebuilt/MANIFEST is there");
    let is_hash = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.lines()
        .filter_map(|line| line.split_once("  "))
        .filter(|(word, _)| is_hash(word))
        .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
        .collect()
}

/// Every file below a folder, as paths from the root.
fn files_below(folder: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(folder)).expect("a folder of sources") {
        let entry = entry.expect("an entry of it");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("its type").is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

#[test]
fn every_listed_file_has_the_bytes_it_was_listed_with() {
    let listed = listed();
    assert!(listed.contains_key(OBJECT), "MANIFEST does not name the object; {FIX}");
    for (path, expected) in &listed {
        assert_eq!(&hash(&root().join(path)), expected, "{path} changed since the object was built; {FIX}");
    }
}

#[test]
fn every_file_that_decides_the_object_is_listed() {
    let mut sources = vec![
        OBJECT.to_owned(),
        "ebpf/abi/Cargo.toml".to_owned(),
        "ebpf/build.sh".to_owned(),
        "ebpf/program/Cargo.lock".to_owned(),
        "ebpf/program/Cargo.toml".to_owned(),
    ];
    files_below("ebpf/abi/src", &mut sources);
    files_below("ebpf/program/src", &mut sources);
    sources.sort();
    let listed: Vec<String> = listed().into_keys().collect();
    assert_eq!(listed, sources, "a source came or went since the object was built; {FIX}");
}
