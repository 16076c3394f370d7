//! Files of keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::transport::TlsFiles;
use crate::transport::keys::{DAYS, KeysError, make_ca, make_host};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn keys_are_for_their_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("new/keys");
    make_ca(&directory, DAYS, false).unwrap();
    make_host(&directory, "a", &names(&["a.example", "10.0.0.1", "::1"]), DAYS, false).unwrap();
    for (file, mode) in [("ca.key", 0o600), ("a.key", 0o600), ("ca.pem", 0o644), ("a.pem", 0o644)] {
        let permissions = fs::metadata(directory.join(file)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777 & !mode, 0, "{file}: {:o}", permissions.mode());
    }
    let files = TlsFiles::in_directory(&directory, "a");
    files.server(&[]).unwrap();
    files.client().unwrap();
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make_ca(directory, DAYS, false).unwrap();
    make_host(directory, "a", &names(&["a"]), DAYS, false).unwrap();
    let read = |file: &str| fs::read(directory.join(file)).unwrap();
    let before = ["ca.pem", "ca.key", "a.pem", "a.key"].map(read);
    assert!(matches!(make_ca(directory, DAYS, false), Err(KeysError::Exists(_))));
    assert!(matches!(make_host(directory, "a", &names(&["a"]), DAYS, false), Err(KeysError::Exists(_))));
    assert_eq!(["ca.pem", "ca.key", "a.pem", "a.key"].map(read), before);
    make_host(directory, "a", &names(&["b"]), DAYS, true).unwrap();
    assert_ne!(read("a.key"), before[3]);
    assert_eq!(fs::read_dir(directory).unwrap().count(), 4, "no file is left beside them");
    let mode = fs::metadata(directory.join("a.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_cannot_work_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let make = |name: &str, hosts: &[&str]| make_host(directory, name, &names(hosts), DAYS, false).unwrap_err();
    assert!(matches!(make("a", &["a"]), KeysError::File { .. }), "no CA");
    make_ca(directory, DAYS, false).unwrap();
    for name in ["", "ca", "../a", "a/b", ".a", "a\n"] {
        assert!(matches!(make(name, &["a"]), KeysError::Name(_)), "{name:?}");
    }
    assert!(matches!(make("a", &[]), KeysError::NoNames(_)));
    for host in ["", "a b", "a:7", "é"] {
        assert!(matches!(make("a", &[host]), KeysError::Host(_)), "{host:?}");
    }
    // The certificate of one CA and the key of another.
    let other = tempfile::tempdir().unwrap();
    make_ca(other.path(), DAYS, false).unwrap();
    fs::copy(other.path().join("ca.pem"), directory.join("ca.pem")).unwrap();
    assert!(matches!(make("a", &["a"]), KeysError::OtherKey(_)));
    assert!(!directory.join("a.key").exists());
}
