//! Names that lead nowhere else, and texts that give no orders.

use proptest::prelude::*;

use crate::wire::{Name, NameError, Text};

#[test]
fn names_stay_below_the_directory() {
    for good in ["a", "vm/disk.img", ".hidden", "..a", "a..", "...", "a/.../b", "ü/漢", "a b", "-x", "a:b", "~"] {
        assert_eq!(Name::new(good).map(|name| name.as_str().to_owned()).as_deref(), Ok(good));
    }
    let long = "x".repeat(256);
    let deep = ["y"; 513].join("/");
    let cases = [
        ("", NameError::Empty),
        ("/", NameError::Absolute),
        ("/etc/passwd", NameError::Absolute),
        ("//a", NameError::Absolute),
        (".", NameError::Dots),
        ("..", NameError::Dots),
        ("../a", NameError::Dots),
        ("a/..", NameError::Dots),
        ("a/../b", NameError::Dots),
        ("a/./b", NameError::Dots),
        ("a/", NameError::EmptyComponent),
        ("a//b", NameError::EmptyComponent),
        ("a\\b", NameError::Character),
        ("..\\a", NameError::Character),
        ("a\0", NameError::Character),
        ("a\nb", NameError::Character),
        ("\x1b[2J", NameError::Character),
        ("a\u{9b}", NameError::Character),
        (&long, NameError::LongComponent),
        (&deep, NameError::Long),
    ];
    for (name, error) in cases {
        assert_eq!(Name::new(name), Err(error), "{name:?}");
    }
    assert!(Name::new(&long[1..]).is_ok());
    assert!(Name::new(&deep[2..]).is_ok(), "{} bytes", deep.len() - 2);
    assert_eq!(Name::from_bytes(b"a\xff"), Err(NameError::NotText));
}

#[test]
fn texts_are_cut_and_cleaned() {
    assert_eq!(Text::new("a\x1b[2J\nb").as_str(), "a?[2J?b");
    let long = Text::new("ä".repeat(600));
    assert_eq!(long.as_str().len(), Text::LIMIT);
    assert_eq!(Text::new(format!("x{}", "ä".repeat(600))).as_str().len(), Text::LIMIT - 1, "no half character");
}

proptest! {
    /// Checked by another way than the code goes: the path is walked, and its depth never falls to 0.
    #[test]
    fn an_accepted_name_never_leaves(name in "[a./\\\\\0]{0,12}") {
        if let Ok(name) = Name::new(name) {
            let path = std::path::Path::new(name.as_str());
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            let again: Vec<_> = path.components().map(|part| part.as_os_str().to_str().unwrap()).collect();
            prop_assert_eq!(name.components().collect::<Vec<_>>(), again);
        }
    }
}
