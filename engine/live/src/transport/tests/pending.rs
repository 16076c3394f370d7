//! The table of sessions to be, without a network.

use std::time::Duration;

use tokio::time::Instant;

use crate::transport::pending::Pending;
use crate::wire::{Hello, Token, Verdict, Version};

fn hello(session: u8, stream: u8, streams: u8) -> Hello {
    Hello { version: Version::CURRENT, session: Token([session; 16]), stream, streams }
}

#[test]
fn streams_may_come_in_any_order() {
    let mut pending = Pending::new(1);
    let deadline = Instant::now();
    for stream in [2, 0, 1] {
        let hello = hello(1, stream, 3);
        assert_eq!(pending.reserve(&hello, deadline), Ok(()));
        assert_eq!(pending.reserve(&hello, deadline), Err(Verdict::Duplicate));
        let done = pending.deliver(&hello, stream);
        assert_eq!(done, (stream == 1).then(|| vec![0, 1, 2]));
    }
    assert_eq!(pending.deadline(), None);
    assert_eq!(pending.reserve(&hello(1, 0, 3), deadline), Err(Verdict::Duplicate), "no stream comes late");
    assert_eq!(pending.reserve(&hello(2, 0, 1), deadline), Ok(()), "the place is free again");
}

#[test]
fn only_what_is_late_expires() {
    let mut pending = Pending::new(2);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    pending.reserve(&hello(1, 0, 2), at(5)).unwrap();
    pending.deliver(&hello(1, 0, 2), 'a');
    pending.reserve(&hello(1, 1, 2), at(9)).unwrap();
    pending.reserve(&hello(2, 0, 3), at(7)).unwrap();
    assert_eq!(pending.reserve(&hello(3, 0, 1), at(7)), Err(Verdict::Busy));
    assert_eq!(pending.deadline(), Some(at(5)), "the first stream sets it for all");
    assert_eq!(pending.expire(at(4)), []);
    assert_eq!(pending.expire(at(5)), [(Token([1; 16]), 1)]);
    assert_eq!(pending.deliver(&hello(1, 1, 2), 'b'), None, "too late");
    pending.give_up(&Token([2; 16]));
    assert_eq!((pending.deadline(), pending.expire(at(99))), (None, vec![]));
}
