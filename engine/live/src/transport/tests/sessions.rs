//! Sessions that come about, and those that are refused.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{LONG, SHORT, accept, listen, listen_plain, meet, plain, trouble};
use crate::transport::{Connector, Listener, ListenerLimits, ServerSecurity, Session, Timeouts, TransportError};
use crate::wire::{Frame, Hello, Reply, Text, Token, Verdict, Version};

/// Sends a frame each way on each stream.
pub(super) async fn exchange(client: &mut Session, server: &mut Session) {
    for (near, far) in client.streams.iter_mut().zip(&mut server.streams) {
        let number = u64::from(near.stream);
        near.writer.write(&Frame::Ping(number)).await.unwrap();
        near.writer.flush().await.unwrap();
        assert_eq!(far.reader.read().await.unwrap(), Some(Frame::Ping(number)));
        far.writer.write(&Frame::Pong(number)).await.unwrap();
        far.writer.close().await.unwrap();
        assert_eq!(near.reader.read().await.unwrap(), Some(Frame::Pong(number)));
        assert_eq!(near.reader.read().await.unwrap(), None, "closed between frames");
        assert_eq!((near.writer.sent(), near.reader.received()), (17, 17));
    }
}

#[tokio::test]
async fn one_stream_and_eight() {
    for streams in [1, 8] {
        let (mut listener, _) = listen_plain().await;
        let (mut client, mut server) = meet(&mut listener, &plain(), "127.0.0.1", streams).await;
        assert_eq!((client.token, client.version), (server.token, Version::CURRENT));
        let numbers = |session: &Session| session.streams.iter().map(|stream| stream.stream).collect::<Vec<_>>();
        assert_eq!(numbers(&client), (0..streams).collect::<Vec<_>>());
        assert_eq!(numbers(&server), numbers(&client));
        exchange(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn sessions_at_the_same_time_are_kept_apart() {
    let (mut listener, address) = listen_plain().await;
    let (one, two) = (plain(), plain());
    let connect = |connector: &Connector| {
        let connector = connector.clone();
        async move { connector.connect("localhost", address.port(), 4).await.unwrap() }
    };
    let both = async { (accept(&mut listener).await, accept(&mut listener).await) };
    let (mut a, mut b, (first, second)) = tokio::join!(connect(&one), connect(&two), both);
    assert_ne!(a.token, b.token);
    let (mut of_a, mut of_b) = if first.token == a.token { (first, second) } else { (second, first) };
    exchange(&mut a, &mut of_a).await;
    exchange(&mut b, &mut of_b).await;
}

#[tokio::test]
async fn numbers_of_streams_are_checked_here() {
    for streams in [0, 9] {
        let error = plain().connect("127.0.0.1", 1, streams).await.unwrap_err();
        assert!(matches!(error, TransportError::Streams(number) if number == streams), "{error}");
    }
}

fn hello(session: u8, stream: u8, streams: u8) -> Hello {
    Hello { version: Version::CURRENT, session: Token([session; 16]), stream, streams }
}

/// Says hello while the listener turns.
async fn ask(listener: &mut Listener, hello: Hello) -> (Reply, TcpStream) {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    ask_bytes(listener, &bytes).await
}

/// Says this by hand and reads the answer. The socket, for as long as it shall live.
async fn ask_bytes(listener: &mut Listener, bytes: &[u8]) -> (Reply, TcpStream) {
    let mut socket = TcpStream::connect(listener.address().unwrap()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut reply = Vec::new();
    let answer = async {
        loop {
            if let Some((reply, _)) = Reply::decode(&reply).unwrap() {
                return reply;
            }
            assert_ne!(socket.read_buf(&mut reply).await.unwrap(), 0, "no answer");
        }
    };
    tokio::select! {
        reply = answer => (reply, socket),
        _ = listener.accept(|_| ()) => panic!("a session came about"),
    }
}

#[tokio::test]
async fn wrong_streams_are_refused() {
    let limits = ListenerLimits { sessions: 2, ..ListenerLimits::default() };
    let (mut listener, _) = listen(ServerSecurity::PlainLoopback, LONG, limits).await;
    let mut open = Vec::new();
    let cases = [
        (hello(1, 0, 0), Verdict::Streams),
        (hello(1, 0, 9), Verdict::Streams),
        (hello(1, 2, 2), Verdict::Streams),
        (hello(1, 0, 2), Verdict::Welcome),
        (hello(1, 0, 2), Verdict::Duplicate),
        (hello(1, 1, 3), Verdict::Streams),
        (hello(2, 7, 8), Verdict::Welcome),
        (hello(3, 0, 2), Verdict::Busy),
    ];
    for (hello, verdict) in cases {
        let (reply, socket) = ask(&mut listener, hello).await;
        assert_eq!(reply.verdict, verdict, "{hello:?}");
        assert_eq!(reply.text.as_str().is_empty(), verdict == Verdict::Welcome);
        open.push(socket);
    }
    // The first session can still be finished, and then takes no more streams.
    let mut bytes = Vec::new();
    hello(1, 1, 2).encode(&mut bytes);
    let mut last = TcpStream::connect(listener.address().unwrap()).await.unwrap();
    last.write_all(&bytes).await.unwrap();
    let session = listener.accept(|_| ()).await;
    assert_eq!((session.token, session.streams.len()), (Token([1; 16]), 2));
    assert_eq!(ask(&mut listener, hello(1, 1, 2)).await.0.verdict, Verdict::Duplicate);
}

#[tokio::test]
async fn another_version_is_told_so() {
    let (mut listener, _) = listen_plain().await;
    for major in [0, 2, 700] {
        let hello = Hello { version: Version { major, minor: 3 }, ..hello(1, 0, 1) };
        let (reply, _) = ask(&mut listener, hello).await;
        assert_eq!((reply.verdict, reply.version), (Verdict::Version, Version::CURRENT));
        assert!(reply.text.as_str().contains("update the older side"), "{}", reply.text);
    }
}

#[tokio::test]
async fn a_server_of_another_version_is_named() {
    for (major, verdict, advice) in [
        (0, Verdict::Version, "update pagesieve there"),
        (2, Verdict::Version, "update pagesieve here"),
        (9, Verdict::Welcome, "here"),
    ] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let answer = async {
            let (mut socket, _) = server.accept().await.unwrap();
            let mut hello = [0; 36];
            socket.read_exact(&mut hello).await.unwrap();
            let mut bytes = Vec::new();
            Reply { version: Version { major, minor: 0 }, verdict, text: Text::new("no") }.encode(&mut bytes);
            socket.write_all(&bytes).await.unwrap();
            socket
        };
        let connector = plain();
        let (result, _socket) = tokio::join!(connector.connect("127.0.0.1", port, 2), answer);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&format!("speaks version {major}.0")) && error.contains(advice), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_greeting_is_answered() {
    let (mut listener, _) = listen_plain().await;
    let mut damaged = Vec::new();
    hello(1, 0, 1).encode(&mut damaged);
    damaged[20] ^= 1;
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), damaged] {
        assert_eq!(ask_bytes(&mut listener, &bytes).await.0.verdict, Verdict::Damaged);
    }
}

#[tokio::test]
async fn half_open_sessions_expire() {
    // Not as short as elsewhere: the first answer must come before it is over.
    let timeouts = Timeouts { greeting: Duration::from_secs(1), ..LONG };
    let (mut listener, _) = listen(ServerSecurity::PlainLoopback, timeouts, ListenerLimits::default()).await;
    let (reply, mut socket) = ask(&mut listener, hello(1, 1, 4)).await;
    assert_eq!(reply.verdict, Verdict::Welcome);
    let error = trouble(&mut listener).await;
    assert!(matches!(error, TransportError::Incomplete { missing: 3, .. }), "{error}");
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0, "its streams are closed");
    // And it may begin anew.
    assert_eq!(ask(&mut listener, hello(1, 1, 4)).await.0.verdict, Verdict::Welcome);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let (mut listener, address) = listen(ServerSecurity::PlainLoopback, SHORT, ListenerLimits::default()).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let error = trouble(&mut listener).await;
    assert!(matches!(error, TransportError::GreetingTimeout(after) if after == SHORT.greeting), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = Connector { timeouts: SHORT, ..plain() };
    let error = connector.connect("127.0.0.1", server.local_addr().unwrap().port(), 1).await.unwrap_err();
    assert!(matches!(error, TransportError::GreetingTimeout(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        server.local_addr().unwrap().port()
    };
    let error = plain().connect("127.0.0.1", port, 1).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("pagesieve serve"), "{error}");
}

#[tokio::test]
async fn plain_text_stays_on_this_machine() {
    let outside = "0.0.0.0:0".parse().unwrap();
    let listener = Listener::bind(outside, ServerSecurity::PlainLoopback, LONG, ListenerLimits::default()).await;
    assert!(matches!(listener, Err(TransportError::PlainRefused { .. })), "{listener:?}");
    assert!(Listener::bind(outside, ServerSecurity::PlainAnywhere, LONG, ListenerLimits::default()).await.is_ok());
    // An address of documentation: if the check were missing, this would be another error.
    let error = plain().connect("192.0.2.1", 9, 1).await.unwrap_err();
    assert!(error.to_string().contains("--tls off"), "{error}");
}
