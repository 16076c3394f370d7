//! The side that listens.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, Halves};
use super::error::TransportError;
use super::greeting::{linger, read_hello, reply};
use super::pending::Pending;
use super::tls::{Problem, ServerTls, TlsError};
use super::{Session, Timeouts};
use crate::wire::{Hello, Reply, Side, Text, Verdict, Version};

/// First byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// How a destination protects what it receives.
#[derive(Clone, Debug)]
pub enum ServerSecurity {
    /// Not, and only on a loopback address.
    PlainLoopback,
    /// Not, wherever it listens: the user asked for that.
    PlainAnywhere,
    /// By TLS.
    Tls(ServerTls),
}

/// How much strangers can make a destination do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections before the end of their greeting.
    pub greetings: usize,
    /// Sessions of which not all streams are there.
    pub sessions: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self { greetings: 64, sessions: 16 }
    }
}

/// A connection that did not become part of a session.
#[derive(Debug)]
pub struct Trouble {
    /// Who connected, if it was one connection.
    pub peer: Option<SocketAddr>,
    /// What went wrong.
    pub error: TransportError,
}

/// Takes sessions.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    limits: ListenerLimits,
    shared: Arc<Shared>,
    greetings: JoinSet<Result<Option<Session>, Trouble>>,
}

#[derive(Debug)]
struct Shared {
    security: ServerSecurity,
    timeouts: Timeouts,
    pending: Mutex<Pending<Connection>>,
}

impl Listener {
    /// Listens on an address; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address cannot be had, or it is not on this machine alone and there is no TLS.
    pub async fn bind(
        address: SocketAddr,
        security: ServerSecurity,
        timeouts: Timeouts,
        limits: ListenerLimits,
    ) -> Result<Self, TransportError> {
        if matches!(security, ServerSecurity::PlainLoopback) && !address.ip().to_canonical().is_loopback() {
            return Err(TransportError::PlainRefused { address });
        }
        let tcp = TcpListener::bind(address).await.map_err(|error| TransportError::Listen { address, error })?;
        let shared = Shared { security, timeouts, pending: Mutex::new(Pending::new(limits.sessions)) };
        Ok(Self { tcp, limits, shared: Arc::new(shared), greetings: JoinSet::new() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr, TransportError> {
        self.tcp.local_addr().map_err(TransportError::Io)
    }

    /// The next session of which all streams are there. Whatever goes wrong with single connections is told to `trouble` and
    /// does not end the listener. It may be dropped while it waits: nothing is lost.
    pub async fn accept(&mut self, mut trouble: impl FnMut(Trouble)) -> Session {
        loop {
            let deadline = self.shared.lock().deadline();
            tokio::select! {
                accepted = self.tcp.accept(), if self.greetings.len() < self.limits.greetings => match accepted {
                    Ok((tcp, peer)) => {
                        let shared = self.shared.clone();
                        self.greetings.spawn(async move { shared.greeting(tcp, peer).await });
                    }
                    Err(error) => {
                        trouble(Trouble { peer: None, error: TransportError::Io(error) });
                        // Out of descriptors, most likely: do not spin until some are free.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(done) = self.greetings.join_next() => match done {
                    Ok(Ok(Some(session))) => return session,
                    Ok(Ok(None)) => {}
                    Ok(Err(what)) => trouble(what),
                    Err(error) => trouble(Trouble { peer: None, error: TransportError::Io(error.into()) }),
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let after = self.shared.timeouts.greeting;
                    for (_, missing) in self.shared.lock().expire(Instant::now()) {
                        trouble(Trouble { peer: None, error: TransportError::Incomplete { missing, after } });
                    }
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pending<Connection>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of a connection until it is part of a session. The session, if it was the last part.
    async fn greeting(&self, tcp: TcpStream, peer: SocketAddr) -> Result<Option<Session>, Trouble> {
        let deadline = Instant::now() + self.timeouts.greeting;
        self.open(tcp, peer, deadline).await.map_err(|error| Trouble { peer: Some(peer), error })
    }

    /// Waits for something of the other side until the deadline.
    async fn by<T>(&self, deadline: Instant, what: impl Future<Output = T>) -> Result<T, TransportError> {
        timeout_at(deadline, what).await.map_err(|_| TransportError::GreetingTimeout(self.timeouts.greeting))
    }

    async fn open(&self, mut tcp: TcpStream, peer: SocketAddr, deadline: Instant) -> Result<Option<Session>, TransportError> {
        tcp.set_nodelay(true).map_err(TransportError::Io)?;
        let mut first = [0];
        if self.by(deadline, tcp.peek(&mut first)).await?.map_err(TransportError::Io)? == 0 {
            return Err(TransportError::Closed);
        }
        let has_tls = first == [TLS_HANDSHAKE];
        let ServerSecurity::Tls(tls) = &self.security else {
            if has_tls {
                return Err(self.refuse(&mut tcp, Verdict::NoTls).await);
            }
            let (hello, early) = self.hello(&mut tcp, deadline).await?;
            return self.deliver(Halves::of_tcp(tcp), peer, &hello, &early);
        };
        if !has_tls {
            self.refuse(&mut tcp, Verdict::NeedsTls).await;
            return Err(TlsError::Problem(Problem::NotTls { peer: "source" }).into());
        }
        match self.by(deadline, TlsAcceptor::from(tls.0.clone()).accept(tcp).into_fallible()).await? {
            Ok(mut stream) => {
                let (hello, early) = self.hello(&mut stream, deadline).await?;
                self.deliver(Halves::of(stream), peer, &hello, &early)
            }
            Err((error, mut tcp)) => {
                linger(&mut tcp, self.timeouts.greeting).await;
                Err(TransportError::from_stream(error, "source"))
            }
        }
    }

    /// Reads the greeting and answers it. What comes back was welcomed.
    async fn hello<S>(&self, stream: &mut S, deadline: Instant) -> Result<(Hello, Vec<u8>), TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (hello, early) = match self.by(deadline, read_hello(stream)).await? {
            Ok(greeted) => greeted,
            Err(error @ TransportError::Wire(_)) => {
                self.refuse(stream, Verdict::Damaged).await;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        if !Version::CURRENT.fits(hello.version) {
            self.refuse(stream, Verdict::Version).await;
            return Err(TransportError::Version { theirs: hello.version, ours: Version::CURRENT });
        }
        let reserved = self.lock().reserve(&hello, deadline);
        if let Err(verdict) = reserved {
            return Err(self.refuse(stream, verdict).await);
        }
        let welcome = Reply { version: Version::CURRENT, verdict: Verdict::Welcome, text: Text::default() };
        match self.by(deadline, reply(stream, &welcome)).await.flatten() {
            Ok(()) => Ok((hello, early)),
            Err(error) => {
                self.lock().give_up(&hello.session);
                Err(error)
            }
        }
    }

    fn deliver(&self, halves: Halves, peer: SocketAddr, hello: &Hello, early: &[u8]) -> Result<Option<Session>, TransportError> {
        let connection = Connection::new(halves, Side::Server, hello.stream, peer, self.timeouts.idle, early);
        let streams = self.lock().deliver(hello, connection);
        let version = Version::CURRENT.common(hello.version);
        Ok(streams.map(|streams| Session { token: hello.session, version, streams, route: None }))
    }

    /// Says no, and waits until that was heard.
    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, verdict: Verdict) -> TransportError {
        let text = Text::new(advice(verdict));
        let refusal = Reply { version: Version::CURRENT, verdict, text: text.clone() };
        let until = Instant::now() + self.timeouts.greeting;
        if self.by(until, reply(stream, &refusal)).await.flatten().is_ok() {
            linger(stream, self.timeouts.greeting).await;
        }
        TransportError::Rejected { verdict, text }
    }
}

/// What the other side is told.
fn advice(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Welcome => "",
        Verdict::Version => "it speaks another version of the protocol; update the older side",
        Verdict::Streams => "a session has 1 to 8 streams, and all of them say the same number",
        Verdict::Duplicate => "the session has this stream already; begin a new session",
        Verdict::Busy => "too many sessions are about to begin; try again in a while",
        Verdict::Damaged => "the greeting was not understood; use pagesieve on both sides, and try again",
        Verdict::NeedsTls => "it wants TLS; give this side certificates from the same `pagesieve keys`",
        Verdict::NoTls => "it has no TLS; start both sides with the same `--tls`",
        Verdict::Other(_) => "no reason is known",
    }
}
