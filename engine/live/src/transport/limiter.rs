//! The bandwidth limit.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

use pagesieve_core::Nanos;
use tokio::time::{Duration, Instant};

/// How much may be caught up that was not sent when it could have been: a timer that wakes late loses nothing.
const CREDIT: Nanos = Nanos(20 * Nanos::MILLISECOND.0);

/// When bytes may be sent so that a limit holds. Pure: time is passed in.
///
/// Within any time T at most `rate * (T + 20 ms)` bytes and one request are let go, which for T of a second or more is 3 % more
/// than the limit at most, if requests are no larger than [`Bucket::chunk`].
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: NonZeroU64,
    /// When everything that was let go is through.
    free: Nanos,
}

impl Bucket {
    /// A limit in bytes per second.
    #[must_use]
    pub fn new(rate: NonZeroU64) -> Self {
        Self { rate, free: Nanos(0) }
    }

    /// Books these bytes and tells from when on they may be sent; that may be now.
    pub fn take(&mut self, now: Nanos, bytes: usize) -> Nanos {
        let start = self.free.0.max(now.0.saturating_sub(CREDIT.0));
        let time = (bytes as u128 * 1_000_000_000).div_ceil(self.rate.get().into());
        self.free = Nanos(start.saturating_add(u64::try_from(time).unwrap_or(u64::MAX)));
        Nanos(start.max(now.0))
    }

    /// How many bytes to ask for at a time: 10 ms worth, 1 byte to 64 KiB.
    #[must_use]
    pub fn chunk(&self) -> usize {
        (self.rate.get() / 100).clamp(1, 1 << 16) as usize
    }
}

/// A bandwidth limit that the streams of a session share.
#[derive(Debug)]
pub struct Limiter {
    bucket: Mutex<Bucket>,
    start: Instant,
    chunk: usize,
}

impl Limiter {
    /// A limit in bytes per second. It counts frames with everything that belongs to them, not what TLS and TCP add.
    #[must_use]
    pub fn new(rate: NonZeroU64) -> Self {
        let bucket = Bucket::new(rate);
        Self { bucket: Mutex::new(bucket), start: Instant::now(), chunk: bucket.chunk() }
    }

    /// How many bytes to ask for at a time.
    #[must_use]
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Returns when these bytes may be sent. They count as sent even if the caller does not wait for that.
    pub async fn take(&self, bytes: usize) {
        let now = Nanos::from(self.start.elapsed());
        let at = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now, bytes);
        if at > now {
            tokio::time::sleep_until(self.start + Duration::from_nanos(at.0)).await;
        }
    }
}
