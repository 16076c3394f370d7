//! What became of the guests that were loaded here, for sources that have lost their connection.
//!
//! A source that has asked for the start and hears nothing more must not let its guest go on, and must not give it up either. So
//! the destination decides, and remembers what it decided: a guest is started once, when its session asks for that, unless its source
//! has called it off on another connection before. Both look at the same word under the same lock, so there is no moment between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::inbox::failed;
use crate::wire::{Failure, Frame, Token};

/// How many guests are remembered.
const REMEMBERED: usize = 1024;

/// The guests that were loaded here, by their sessions.
#[derive(Debug, Default)]
pub struct Handovers(Mutex<VecDeque<(Token, Entry)>>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Entry(Arc<Mutex<Stand>>);

/// What is certain about a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It is complete and waits for the word to start.
    Loaded,
    /// It was not started, and never will be.
    Off,
    /// It was started.
    Started,
    /// It may run.
    InDoubt,
}

impl Handovers {
    /// The guest of this session is complete.
    pub(super) fn loaded(&self, session: Token) -> Entry {
        let entry = Entry(Arc::new(Mutex::new(Stand::Loaded)));
        let mut known = lock(&self.0);
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back((session, entry.clone()));
        entry
    }

    /// The source of this session asks what became of its guest. If it was not started, it never will be. A start that is under way
    /// is waited for.
    pub(super) fn settle(&self, session: Token) -> Frame {
        let entry = lock(&self.0).iter().find(|(token, _)| *token == session).map(|(_, entry)| entry.clone());
        let Some(entry) = entry else {
            return failed(Failure::InDoubt, "the destination knows nothing of this handover, it may have been restarted since");
        };
        let mut stand = lock(&entry.0);
        if *stand == Stand::Loaded {
            *stand = Stand::Off;
        }
        match *stand {
            Stand::Loaded | Stand::Off => failed(Failure::NotStarted, "the destination has not started the guest"),
            Stand::Started => Frame::HandedOver,
            Stand::InDoubt => failed(Failure::InDoubt, "the destination does not know whether its QEMU runs the guest"),
        }
    }
}

impl Entry {
    /// Starts the guest by `resume`, unless it was called off. The answers are those of `GuestInbox::hand_over`.
    pub(super) fn start(&self, resume: impl FnOnce() -> Result<Frame, String>) -> Result<Frame, String> {
        let mut stand = lock(&self.0);
        if *stand == Stand::Off {
            return Ok(failed(Failure::NotStarted, "its source has called the handover off"));
        }
        let answer = resume();
        *stand = match &answer {
            Ok(Frame::HandedOver) => Stand::Started,
            Ok(_) => Stand::Off,
            // Asked for twice: what was true stays true.
            Err(_) if *stand == Stand::Started => Stand::Started,
            Err(_) => Stand::InDoubt,
        };
        answer
    }

    /// What is certain now.
    pub(super) fn stand(&self) -> Stand {
        *lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Token = Token([1; 16]);

    fn code(frame: &Frame) -> Failure {
        match frame {
            Frame::Failed { code, .. } => *code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_asks_first_decides() {
        let handovers = Handovers::default();
        let entry = handovers.loaded(SESSION);
        assert_eq!(code(&handovers.settle(SESSION)), Failure::NotStarted);
        let late = entry.start(|| panic!("it must not be started any more"));
        assert_eq!(code(&late.unwrap()), Failure::NotStarted);
        assert_eq!(code(&handovers.settle(SESSION)), Failure::NotStarted, "as often as it is asked");

        let entry = handovers.loaded(Token([2; 16]));
        assert_eq!(entry.start(|| Ok(Frame::HandedOver)), Ok(Frame::HandedOver));
        assert_eq!(handovers.settle(Token([2; 16])), Frame::HandedOver);
        assert!(entry.start(|| Err("asked twice".to_owned())).is_err());
        assert_eq!(handovers.settle(Token([2; 16])), Frame::HandedOver);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let handovers = Handovers::default();
        assert_eq!(code(&handovers.settle(SESSION)), Failure::InDoubt);
        let entry = handovers.loaded(SESSION);
        assert!(entry.start(|| Err("the monitor is gone".to_owned())).is_err());
        assert_eq!(code(&handovers.settle(SESSION)), Failure::InDoubt);
        let entry = handovers.loaded(Token([2; 16]));
        entry.start(|| Ok(failed(Failure::Guest, "no"))).unwrap();
        assert_eq!(code(&handovers.settle(Token([2; 16]))), Failure::NotStarted, "QEMU has refused");
    }

    #[test]
    fn a_start_under_way_is_waited_for() {
        let handovers = Handovers::default();
        let entry = handovers.loaded(SESSION);
        let (begun, go) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                entry.start(|| {
                    begun.wait();
                    go.wait();
                    Ok(Frame::HandedOver)
                })
            });
            begun.wait();
            let settled = scope.spawn(|| handovers.settle(SESSION));
            go.wait();
            assert_eq!(settled.join().unwrap(), Frame::HandedOver);
        });
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let handovers = Handovers::default();
        for number in 0..=REMEMBERED as u128 {
            handovers.loaded(Token(number.to_le_bytes()));
        }
        assert_eq!(code(&handovers.settle(Token([0; 16]))), Failure::InDoubt);
        assert_eq!(code(&handovers.settle(Token(1_u128.to_le_bytes()))), Failure::NotStarted);
    }
}
