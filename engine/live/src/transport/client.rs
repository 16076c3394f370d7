//! The side that connects.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Halves};
use super::error::TransportError;
use super::greeting::greet;
use super::limiter::Limiter;
use super::tls::{ClientTls, TlsError, provider};
use super::{Session, Timeouts};
use crate::wire::{Hello, MAX_STREAMS, Reply, Side, Token, Verdict, Version};

/// How a source protects what it sends.
#[derive(Clone, Debug)]
pub enum ClientSecurity {
    /// Not, and only to this machine.
    PlainLoopback,
    /// Not, wherever it goes: the user asked for that.
    PlainAnywhere,
    /// By TLS.
    Tls(ClientTls),
}

/// Makes sessions with destinations.
#[derive(Clone, Debug)]
pub struct Connector {
    /// How to protect them.
    pub security: ClientSecurity,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Limits what the streams of all its sessions send together.
    pub limiter: Option<Arc<Limiter>>,
}

/// The way to a destination, for another session with it.
#[derive(Clone, Debug)]
pub struct Route {
    connector: Connector,
    host: String,
    port: u16,
}

impl Route {
    /// Makes another session of 1 to 8 streams.
    ///
    /// # Errors
    /// As for [`Connector::connect`].
    pub async fn connect(&self, streams: u8) -> Result<Session, TransportError> {
        self.connector.connect(&self.host, self.port, streams).await
    }
}

impl Connector {
    /// Makes a session of 1 to 8 streams.
    ///
    /// # Errors
    /// The destination cannot be reached, is not trusted, or refuses.
    pub async fn connect(&self, host: &str, port: u16, streams: u8) -> Result<Session, TransportError> {
        if !(1..=MAX_STREAMS).contains(&streams) {
            return Err(TransportError::Streams(streams));
        }
        let addresses = self.resolve(host, port).await?;
        let session = new_token()?;
        let hello = move |stream| Hello { version: Version::CURRENT, session, stream, streams };
        // The first one alone: what is wrong is then said once, and the others need not look for an address that works.
        let (first, version) = self.stream(&addresses, host, hello(0)).await?;
        let mut others = JoinSet::new();
        for stream in 1..streams {
            let (connector, host, peer) = (self.clone(), host.to_owned(), [first.peer]);
            others.spawn(async move { connector.stream(&peer, &host, hello(stream)).await });
        }
        let mut all = vec![first];
        while let Some(joined) = others.join_next().await {
            let (connection, _) = joined.map_err(|error| TransportError::Io(error.into()))??;
            all.push(connection);
        }
        all.sort_by_key(|connection| connection.stream);
        let route = Route { connector: self.clone(), host: host.to_owned(), port };
        Ok(Session { token: session, version, streams: all, route: Some(route) })
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, TransportError> {
        let resolve = |error| TransportError::Resolve { host: host.to_owned(), error };
        let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(resolve)?.collect();
        if addresses.is_empty() {
            return Err(resolve(std::io::Error::other("it has none")));
        }
        let outside = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
        match (&self.security, outside) {
            (ClientSecurity::PlainLoopback, Some(&address)) => Err(TransportError::PlainRefused { address }),
            _ => Ok(addresses),
        }
    }

    /// One stream, to the first address that takes it, and the version to be spoken.
    async fn stream(&self, addresses: &[SocketAddr], host: &str, hello: Hello) -> Result<(Connection, Version), TransportError> {
        let (tcp, peer) = self.dial(addresses).await?;
        let within = self.timeouts.greeting;
        let greeted = timeout(within, self.greet(tcp, host, &hello)).await;
        let (halves, reply, early) = greeted.map_err(|_| TransportError::GreetingTimeout(within))??;
        let version = judge(reply)?;
        let mut connection = Connection::new(halves, Side::Client, hello.stream, peer, self.timeouts.idle, &early);
        connection.limit(self.limiter.clone());
        Ok((connection, version))
    }

    async fn dial(&self, addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), TransportError> {
        let mut last = TransportError::Closed;
        for &address in addresses {
            match timeout(self.timeouts.connect, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // Answers are small and waited for.
                    tcp.set_nodelay(true).map_err(TransportError::Io)?;
                    return Ok((tcp, address));
                }
                Ok(Err(error)) => last = TransportError::Connect { address, error },
                Err(_) => last = TransportError::ConnectTimeout { address, after: self.timeouts.connect },
            }
        }
        Err(last)
    }

    async fn greet(&self, mut tcp: TcpStream, host: &str, hello: &Hello) -> Result<(Halves, Reply, Vec<u8>), TransportError> {
        let ClientSecurity::Tls(tls) = &self.security else {
            let (reply, early) = greet(&mut tcp, hello).await?;
            return Ok((Halves::of_tcp(tcp), reply, early));
        };
        let name = server_name(host)?;
        let connected = TlsConnector::from(tls.0.clone()).connect(name, tcp).await;
        let mut stream = connected.map_err(|error| TransportError::from_stream(error, "destination"))?;
        let (reply, early) = greet(&mut stream, hello).await?;
        Ok((Halves::of(stream), reply, early))
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Host(host.to_owned()))
}

/// What the answer means: the version to be spoken, or why there is none.
fn judge(reply: Reply) -> Result<Version, TransportError> {
    let (ours, theirs) = (Version::CURRENT, reply.version);
    match reply.verdict {
        Verdict::Version => Err(TransportError::Version { theirs, ours }),
        _ if !ours.fits(theirs) => Err(TransportError::Version { theirs, ours }),
        Verdict::Welcome => Ok(ours.common(theirs)),
        verdict => Err(TransportError::Refused { verdict, text: reply.text }),
    }
}

/// 16 random bytes.
fn new_token() -> Result<Token, TransportError> {
    let mut bytes = [0; 16];
    let filled = provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| TransportError::Io(std::io::Error::other("the system gives no random numbers")))?;
    Ok(Token(bytes))
}
