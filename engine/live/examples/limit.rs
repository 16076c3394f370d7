//! Measures the bandwidth limit over loopback: `cargo run --release -p pagesieve-live --example limit -- RATE STREAMS SECONDS`,
//! the rate in bytes per second. Prints what arrived in each second, against the limit.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pagesieve_core::Fingerprint;
use pagesieve_live::transport::{ClientSecurity, Connector, Limiter, Listener, ListenerLimits, ServerSecurity, Timeouts};
use pagesieve_live::wire::{FRAME_OVERHEAD, Frame, Put, Span};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn argument(at: usize, default: u64) -> Outcome<u64> {
    Ok(std::env::args().nth(at).map_or(Ok(default), |text| text.parse())?)
}

#[expect(clippy::print_stdout, reason = "that is its job")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let rate = NonZeroU64::new(argument(1, 10_000_000)?).ok_or("a rate of 0")?;
    let (streams, seconds) = (u8::try_from(argument(2, 4)?)?, argument(3, 5)?);
    let timeouts = Timeouts::default();
    let address = "127.0.0.1:0".parse()?;
    let mut listener = Listener::bind(address, ServerSecurity::PlainLoopback, timeouts, ListenerLimits::default()).await?;
    let port = listener.address()?.port();
    let limiter = Some(Arc::new(Limiter::new(rate)));
    let connector = Connector { security: ClientSecurity::PlainLoopback, timeouts, limiter };
    let (client, server) = tokio::join!(connector.connect("127.0.0.1", port, streams), listener.accept(|_| ()));
    // Only whole frames are counted below, so they are small compared with the limit.
    let length = (rate.get() / 1000).clamp(32, 65_568) as usize;
    let span = Span { first: 0, pages: 16 };
    let put = Put { sequence: 0, span, fingerprint: Fingerprint(0), based: false, encoded: vec![7; length] };
    let frame = Arc::new(Frame::Put(put));
    for connection in client?.streams {
        let (frame, (_, mut writer)) = (frame.clone(), connection.split());
        tokio::spawn(async move { while writer.write(&frame).await.is_ok() {} });
    }
    let received = Arc::new(AtomicU64::new(0));
    for connection in server.streams {
        let (received, (mut reader, _)) = (received.clone(), connection.split());
        tokio::spawn(async move {
            let mut before = 0;
            while let Ok(Some(_)) = reader.read().await {
                received.fetch_add(reader.received() - before, Ordering::Relaxed);
                before = reader.received();
            }
        });
    }
    println!("limit {rate} bytes/s, {streams} streams, frames of {} bytes", length + 37 + FRAME_OVERHEAD);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    for second in 0..seconds {
        tick.tick().await;
        let bytes = received.swap(0, Ordering::Relaxed);
        println!("second {second}: {bytes} bytes, {:.2} % of the limit", bytes as f64 / rate.get() as f64 * 100.0);
    }
    Ok(())
}
