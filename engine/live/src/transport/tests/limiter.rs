//! The limit, with time stepped by hand.

use std::num::NonZeroU64;

use pagesieve_core::Nanos;
use proptest::prelude::*;

use crate::transport::{Bucket, Limiter};

const SECOND: u64 = 1_000_000_000;

/// Streams that ask again as soon as they were let go, `late` nanoseconds after the time that they were told. When each request
/// went, and its bytes.
fn busy(rate: u64, streams: usize, late: impl Fn(usize) -> u64, until: u64) -> Vec<(u64, usize)> {
    let mut bucket = Bucket::new(NonZeroU64::new(rate).unwrap());
    let chunk = bucket.chunk();
    let mut now = vec![0; streams];
    let mut sent = Vec::new();
    while let Some(at) = (0..streams).filter(|&at| now[at] < until).min_by_key(|&at| now[at]) {
        let told = bucket.take(Nanos(now[at]), chunk).0;
        let went = told + if told > now[at] { late(sent.len()) } else { 0 };
        sent.push((went, chunk));
        now[at] = went;
    }
    sent.sort_unstable();
    sent
}

/// Most and least bytes within a second, over all seconds that begin with a request and are over before the end.
fn extremes(sent: &[(u64, usize)], until: u64) -> (u64, u64) {
    let within = |start: u64| -> u64 {
        let of = sent.iter().skip_while(|(at, _)| *at < start).take_while(|(at, _)| *at < start + SECOND);
        of.map(|(_, bytes)| *bytes as u64).sum()
    };
    let starts = sent.iter().map(|(at, _)| *at).filter(|at| at + SECOND <= until);
    let seconds: Vec<_> = starts.map(within).collect();
    (*seconds.iter().max().unwrap(), *seconds.iter().min().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Timers that wake up to 4 ms late cost nothing and give nothing.
    #[test]
    fn any_second_is_within_five_percent(
        rate in prop_oneof![1000_u64..100_000, 1_000_000..20_000_000_u64],
        streams in 1_usize..=8,
        late in proptest::collection::vec(0..4_000_000_u64, 1..20),
    ) {
        let until = 4 * SECOND;
        let sent = busy(rate, streams, |at| late[at % late.len()], until);
        let (most, least) = extremes(&sent, until - SECOND / 2);
        prop_assert!(most as f64 <= rate as f64 * 1.05, "{most} of {rate}");
        prop_assert!(least as f64 >= rate as f64 * 0.95, "{least} of {rate}");
    }
}

#[test]
fn a_pause_is_not_caught_up() {
    let mut bucket = Bucket::new(NonZeroU64::new(1_000_000).unwrap());
    assert_eq!(bucket.take(Nanos(0), 1000), Nanos(0));
    let later = 100 * SECOND;
    // 20 ms are 20 requests of 1000 bytes; those behind them wait.
    for request in 0..=20 {
        assert_eq!(bucket.take(Nanos(later), 1000).0, later, "{request}");
    }
    assert_eq!(bucket.take(Nanos(later), 1000).0, later + SECOND / 1000);
}

#[test]
fn extreme_rates_do_not_overflow() {
    let mut slow = Bucket::new(NonZeroU64::MIN);
    slow.take(Nanos(0), usize::MAX);
    assert_eq!(slow.take(Nanos(0), 1), Nanos(u64::MAX));
    assert_eq!(slow.chunk(), 1);
    let mut fast = Bucket::new(NonZeroU64::MAX);
    assert!(fast.take(Nanos(0), 1 << 20) <= fast.take(Nanos(0), 1));
    assert_eq!(fast.chunk(), 1 << 16);
}

/// The clock is tokio's own, stopped: it moves by exactly what is slept.
#[tokio::test(start_paused = true)]
async fn streams_share_a_limiter() {
    let limiter = Limiter::new(NonZeroU64::new(1_000_000).unwrap());
    let start = tokio::time::Instant::now();
    let stream = || async {
        for _ in 0..200 {
            limiter.take(limiter.chunk()).await;
        }
    };
    tokio::join!(stream(), stream());
    let seconds = start.elapsed().as_secs_f64();
    assert!((3.8..4.1).contains(&seconds), "4 MB at 1 MB/s take {seconds} s");
}
