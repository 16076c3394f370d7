//! What the keys mean.

use std::time::Duration;

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Link,
    Order,
    Hold,
    Help,
    Up,
    Down,
    PageUp,
    PageDown,
    /// The terminal has another size, or a key that means nothing was pressed: the least that can be done is to draw again.
    Redraw,
}

/// Waits for a key, at most so long.
pub(super) fn wait(patience: Duration) -> anyhow::Result<Option<Key>> {
    if !event::poll(patience).context("wait for a key")? {
        return Ok(None);
    }
    Ok(meaning(&event::read().context("read a key")?))
}

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Press => Some(of_key(key)),
        Event::Resize(..) => Some(Key::Redraw),
        _ => None,
    }
}

fn of_key(key: &KeyEvent) -> Key {
    // In raw mode Ctrl-C is a key like any other.
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if matches!(key.code, KeyCode::Char('c' | 'd')) { Key::Quit } else { Key::Redraw };
    }
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('l') => Key::Link,
        KeyCode::Char('s') | KeyCode::Left | KeyCode::Right => Key::Order,
        KeyCode::Char(' ') => Key::Hold,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Key::Help,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        _ => Key::Redraw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_help_says() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        for (code, wish) in [
            (KeyCode::Char('q'), Key::Quit),
            (KeyCode::Esc, Key::Quit),
            (KeyCode::Char('l'), Key::Link),
            (KeyCode::Char('s'), Key::Order),
            (KeyCode::Char(' '), Key::Hold),
            (KeyCode::Char('?'), Key::Help),
            (KeyCode::Up, Key::Up),
            (KeyCode::PageDown, Key::PageDown),
            (KeyCode::Char('x'), Key::Redraw),
        ] {
            assert_eq!(key(code, KeyModifiers::NONE), Some(wish), "{code:?}");
        }
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('l'), KeyModifiers::CONTROL), Some(Key::Redraw));
        assert_eq!(meaning(&Event::Resize(80, 24)), Some(Key::Redraw));
        assert_eq!(meaning(&Event::FocusLost), None);
    }
}
