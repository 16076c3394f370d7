//! Time, as the driver sees it: a trait, so that a test can step it.

use std::future::Future;

use pagesieve_core::Nanos;
use tokio::time::{Duration, Instant};

/// A clock that never goes backwards.
pub trait Clock {
    /// The time since the start of the migration.
    fn now(&self) -> Nanos;

    /// Returns at this time or a little later; it may return earlier if something else wants attention.
    fn sleep_until(&mut self, time: Nanos) -> impl Future<Output = ()>;
}

/// The machine's monotonic clock, through tokio: it needs a runtime with its timer on.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Instant,
}

impl TokioClock {
    /// A clock that shows 0 now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Nanos {
        self.start.elapsed().into()
    }

    async fn sleep_until(&mut self, time: Nanos) {
        let wait = time.since(self.now());
        tokio::time::sleep(Duration::from_nanos(wait.0)).await;
    }
}
