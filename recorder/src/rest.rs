//! How a target stands still while it is read, and what that says of I/O in flight.

use crate::ptrace::Stopped;
use crate::sharers::DirectIo;

/// How the target stands still while its memory is read.
pub(crate) enum Rest {
    /// It does not.
    None,
    /// Every thread is stopped. I/O that the kernel does by itself may go on.
    Threads(Stopped),
    /// It is a guest, stopped by its monitor: its CPUs halt and its I/O is done. Where writes can only be read from a process
    /// that stands still, its threads are stopped as well.
    Drained(Option<Stopped>),
}

impl Rest {
    /// The threads, for those who have business with them.
    pub(crate) fn threads(&mut self) -> Option<&mut Stopped> {
        match self {
            Rest::Threads(stopped) | Rest::Drained(Some(stopped)) => Some(stopped),
            Rest::None | Rest::Drained(None) => None,
        }
    }
}

/// Direct I/O that may land in a page without a trace.
#[derive(Default)]
pub(crate) struct InFlight {
    /// It was under way when the epoch before was closed. What lands after that lands in this epoch, even if nothing is under way
    /// at this one's end.
    before: bool,
}

impl InFlight {
    /// True if an epoch that is closed like this cannot know where I/O has landed.
    pub(crate) fn close(&mut self, rest: &Rest, direct: DirectIo) -> bool {
        let now = match rest {
            Rest::Drained(_) => false,
            Rest::Threads(_) => direct == DirectIo::Asynchronous,
            Rest::None => direct != DirectIo::None,
        };
        std::mem::replace(&mut self.before, now) || now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_at_one_closing_may_land_before_the_next() {
        let mut in_flight = InFlight::default();
        assert!(!in_flight.close(&Rest::Drained(None), DirectIo::Asynchronous), "a drained guest has none");
        assert!(in_flight.close(&Rest::None, DirectIo::Synchronous));
        assert!(in_flight.close(&Rest::Drained(None), DirectIo::Asynchronous), "it began before and landed since");
        assert!(!in_flight.close(&Rest::Drained(None), DirectIo::Asynchronous));
        assert!(in_flight.close(&Rest::None, DirectIo::Asynchronous));
        assert!(in_flight.close(&Rest::None, DirectIo::None), "its descriptor was closed when it had landed");
        assert!(!in_flight.close(&Rest::None, DirectIo::None));
    }
}
