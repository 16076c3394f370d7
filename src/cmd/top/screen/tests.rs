//! These run themselves on a terminal of their own.

use std::env;

use super::*;

#[path = "../../../../tests/support/terminal.rs"]
mod terminal;
use terminal::{ALTERNATE, BACK, Terminal as Pseudo, has_setsid};

/// Not a test but a program: it takes the terminal and panics, in another thread if it is told so.
#[test]
#[ignore = "the program of another test"]
fn takes_the_terminal_and_panics() {
    let _screen = Screen::enter().unwrap();
    if env::var_os("PAGESIEVE_TEST_THREAD").is_some() {
        let _ = thread::spawn(|| panic!("as it was meant")).join();
    } else {
        panic!("as it was meant");
    }
}

#[test]
fn a_panic_is_read_on_the_terminal_as_it_was() {
    if !has_setsid("a_panic_is_read_on_the_terminal_as_it_was") {
        return;
    }
    let ourselves = env::current_exe().unwrap();
    let program = [ourselves.to_str().unwrap(), "--ignored", "--nocapture", "takes_the_terminal_and_panics"];
    for environment in [&[][..], &[("PAGESIEVE_TEST_THREAD", "1")]] {
        let mut terminal = Pseudo::start(&program, environment, (24, 80));
        let (_, output) = terminal.end();
        terminal.assert_given_back(&output);
        assert!(output.contains(ALTERNATE) && output.find("as it was meant") > output.find(BACK), "{output:?}");
    }
}
