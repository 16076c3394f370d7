//! The last word of a migration, and what is done if no answer comes.
//!
//! The guest was given away before the word is said: it never runs in two places. If the connection breaks then, the destination is
//! asked on a new one. It has started the guest, or it never will, so the guest stands still only as long as nobody can be asked.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Handover, MigrateError, MigrateListener, Phase};
use crate::remote::Remote;
use crate::transport::{Route, TransportError};
use crate::wire::{Failure, Frame, Text, Token};

/// How long a destination is asked that does not answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(500);

/// The way to ask again, and what the session is called.
pub(super) type Way = (Option<Route>, Token);

/// Lets the destination start the guest. Nobody may doubt afterwards where it runs; where we must, the error says so.
pub(super) async fn hand_over(
    remote: &mut Remote,
    devices: &mut dyn Handover,
    (route, session): Way,
    listener: &mut dyn MigrateListener,
) -> Result<(), MigrateError> {
    listener.phase(Phase::Handover);
    remote.say(Frame::Handover).await;
    let unclear = match remote.hear().await {
        Ok(Frame::HandedOver) => return Ok(()),
        Err(error) if error.refused => return take_back(devices, &error.text),
        Ok(other) => Text::new(format_args!("it answered with {}", other.kind())),
        Err(error) => error.text,
    };
    let Some(route) = route else { return Err(MigrateError::Unknown(unclear.to_string())) };
    listener.trouble(&format!("hear from the destination whether it has started the guest: {unclear}; it is asked again"));
    match settle(&route, session, PATIENCE).await {
        Settled::There => Ok(()),
        Settled::Here => take_back(devices, &unclear),
        Settled::Unknown(why) => Err(MigrateError::Unknown(why)),
    }
}

fn take_back(devices: &mut dyn Handover, why: &Text) -> Result<(), MigrateError> {
    devices.take_back().map_err(MigrateError::Stopped)?;
    Err(MigrateError::Here(why.to_string()))
}

/// Where the guest runs.
#[derive(Debug, PartialEq, Eq)]
enum Settled {
    There,
    /// The destination has not started it and never will.
    Here,
    Unknown(String),
}

/// Asks until an answer comes.
async fn settle(route: &Route, session: Token, patience: Duration) -> Settled {
    let end = Instant::now() + patience;
    loop {
        let why = match timeout_at(end, ask(route, session)).await {
            Ok(Ok(Some(Frame::HandedOver))) => return Settled::There,
            Ok(Ok(Some(Frame::Failed { code: Failure::NotStarted, .. }))) => return Settled::Here,
            Ok(Ok(Some(Frame::Failed { text, .. }))) => return Settled::Unknown(text.to_string()),
            Ok(Ok(_)) => "it does not say".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        if Instant::now() + PAUSE >= end {
            return Settled::Unknown(why);
        }
        sleep(PAUSE).await;
    }
}

/// One question on a connection of its own.
async fn ask(route: &Route, session: Token) -> Result<Option<Frame>, TransportError> {
    let mut asking = route.connect(1).await?;
    let Some(stream) = asking.streams.first_mut() else { return Ok(None) };
    stream.writer.write(&Frame::Settle { session }).await?;
    stream.writer.flush().await?;
    loop {
        match stream.reader.read().await? {
            // A start that is under way takes its time.
            Some(Frame::Ping(_)) => {}
            answer => return Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{ClientSecurity, Connector, Listener, ListenerLimits, ServerSecurity, Timeouts};

    async fn listener() -> Listener {
        let address = "127.0.0.1:0".parse().unwrap();
        Listener::bind(address, ServerSecurity::PlainLoopback, Timeouts::default(), ListenerLimits::default()).await.unwrap()
    }

    /// A session with a destination that goes away.
    async fn route(listener: &mut Listener) -> Route {
        let connector = Connector { security: ClientSecurity::PlainLoopback, timeouts: Timeouts::default(), limiter: None };
        let port = listener.address().unwrap().port();
        let (near, _far) =
            tokio::join!(connector.connect("127.0.0.1", port, 1), listener.accept(|trouble| panic!("{trouble:?}")));
        near.unwrap().route.unwrap()
    }

    /// Answers one question with each of these, and nothing where there is none.
    async fn settled(answers: Vec<Option<Frame>>) -> Settled {
        let mut listener = listener().await;
        let route = route(&mut listener).await;
        let answering = async {
            for answer in answers {
                let mut asked = listener.accept(|trouble| panic!("{trouble:?}")).await;
                let stream = &mut asked.streams[0];
                assert_eq!(stream.reader.read().await.unwrap(), Some(Frame::Settle { session: Token([7; 16]) }));
                if let Some(frame) = answer {
                    stream.writer.write(&frame).await.unwrap();
                    stream.writer.close().await.unwrap();
                }
            }
            std::future::pending::<()>().await
        };
        tokio::select! {
            settled = settle(&route, Token([7; 16]), PATIENCE) => settled,
            () = answering => unreachable!("it waits for ever"),
        }
    }

    fn failed(code: Failure) -> Frame {
        Frame::Failed { code, text: Text::new("why") }
    }

    #[tokio::test]
    async fn the_destination_is_asked_until_it_answers() {
        assert_eq!(settled(vec![None, Some(Frame::HandedOver)]).await, Settled::There);
        assert_eq!(settled(vec![None, Some(failed(Failure::NotStarted))]).await, Settled::Here);
        // Anything else is no leave to start the guest here.
        for code in [Failure::InDoubt, Failure::Protocol, Failure::Guest, Failure::Other(99)] {
            assert_eq!(settled(vec![Some(failed(code))]).await, Settled::Unknown("why".to_owned()));
        }
    }

    #[tokio::test]
    async fn who_cannot_be_asked_leaves_a_doubt() {
        let mut listener = listener().await;
        let route = route(&mut listener).await;
        drop(listener);
        let Settled::Unknown(why) = settle(&route, Token([7; 16]), PAUSE * 3).await else { panic!("nobody has answered") };
        assert!(why.contains("connect"), "{why}");
    }
}
