use std::path::Path;
use std::{env, fs};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::keys::Key;
use super::super::model::tests::{model, snapshot};
use super::*;

fn drawn(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

/// Compares with the snapshot of this name. `PAGESIEVE_BLESS=1` writes it anew.
#[track_caller]
fn expect(name: &str, drawn: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/top").join(name);
    if env::var_os("PAGESIEVE_BLESS").is_some() {
        fs::write(&file, drawn).unwrap();
    }
    let agreed = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(drawn, agreed, "{} differs; if that is meant, run the test with PAGESIEVE_BLESS=1", file.display());
}

#[test]
fn it_looks_as_agreed() {
    for (width, height) in [(80, 24), (40, 12), (200, 60)] {
        expect(&format!("{width}x{height}.txt"), &drawn(&model(30), width, height));
    }
    let mut help = model(30);
    help.handle_key(Key::Help);
    expect("help.txt", &drawn(&help, 80, 24));
    expect("before.txt", &drawn(&model(0), 80, 6));
}

#[test]
fn trouble_shows() {
    let mut model = model(1);
    model.about.fallback = Some("attach to page faults: not permitted".to_owned());
    let mut doubtful = snapshot(3);
    doubtful.reading.complete = false;
    model.take(doubtful);
    model.handle_key(Key::Hold);
    let drawn = drawn(&model, 100, 24);
    for words in ["fallback    attach to page faults", "this epoch proves nothing", "1 lost now, 1 in all", ", held"] {
        assert!(drawn.contains(words), "no {words:?} in\n{drawn}");
    }
}

#[test]
fn no_size_is_too_small() {
    let mut help = model(3);
    help.handle_key(Key::Help);
    for model in [&model(0), &model(3), &help] {
        for width in [1, 2, 11, 12, 13, 25, 40] {
            for height in 1..14 {
                drawn(model, width, height);
            }
        }
    }
}

#[test]
fn bars_show_the_last_values_beside_the_highest_of_them() {
    assert_eq!(bars(&[0, 1, 7, 14], 10), "▁▂▅█");
    assert_eq!(bars(&[1000, 0, 0], 2), "▁▁", "what is not shown counts for nothing");
    assert_eq!(bars(&[u64::MAX, 1], 2), "█▂");
    assert_eq!(bars(&[1, 2], 0), "");
    assert_eq!(bars(&[], 5), "");
}

#[test]
fn the_strip_shows_the_hottest_part_of_each_column() {
    assert_eq!(strip(&[0, 1, 250, 251, 1000], 5), "·░░▒█");
    assert_eq!(strip(&[0, 0, 0, 1000], 2), "·█");
    assert_eq!(strip(&[0, 1000], 80), "·█", "no column twice");
    assert_eq!(strip(&[], 80), "");
    assert_eq!(strip(&[5], 0), "");
}
