//! Tests over real sockets on loopback, and of the pure parts. Nothing here waits for a fixed time.

mod addresses;
mod cuts;
mod keys;
mod limiter;
mod pending;
mod sessions;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use super::{ClientSecurity, Connector, Listener, ListenerLimits, ServerSecurity, Session, Timeouts, TransportError, Trouble};

/// Long enough for a busy machine.
const LONG: Timeouts =
    Timeouts { connect: Duration::from_secs(60), greeting: Duration::from_secs(60), idle: Duration::from_secs(60) };
/// For tests in which nothing comes.
const SHORT: Timeouts = Timeouts { greeting: Duration::from_millis(50), idle: Duration::from_millis(50), ..LONG };

async fn listen(security: ServerSecurity, timeouts: Timeouts, limits: ListenerLimits) -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), security, timeouts, limits).await.unwrap();
    let address = listener.address().unwrap();
    (listener, address)
}

async fn listen_plain() -> (Listener, SocketAddr) {
    listen(ServerSecurity::PlainLoopback, LONG, ListenerLimits::default()).await
}

fn connector(security: ClientSecurity) -> Connector {
    Connector { security, timeouts: LONG, limiter: None }
}

fn plain() -> Connector {
    connector(ClientSecurity::PlainLoopback)
}

/// A session that is expected to come about.
async fn accept(listener: &mut Listener) -> Session {
    listener.accept(|trouble| panic!("{}", trouble.error)).await
}

/// Both ends of a session.
async fn meet(listener: &mut Listener, connector: &Connector, host: &str, streams: u8) -> (Session, Session) {
    let port = listener.address().unwrap().port();
    let (client, server) = tokio::join!(connector.connect(host, port, streams), accept(listener));
    (client.unwrap(), server)
}

/// The first trouble that the listener has.
async fn trouble(listener: &mut Listener) -> TransportError {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let told = |Trouble { error, .. }| {
        let _ = sender.send(error);
    };
    tokio::select! {
        biased;
        Some(error) = receiver.recv() => error,
        _ = listener.accept(told) => panic!("a session came about"),
    }
}

/// What both sides say to a connection that does not come about.
async fn fail(listener: &mut Listener, connector: &Connector, host: &str) -> (String, String) {
    let port = listener.address().unwrap().port();
    let (client, server) = tokio::join!(connector.connect(host, port, 1), trouble(listener));
    (client.unwrap_err().to_string(), server.to_string())
}
