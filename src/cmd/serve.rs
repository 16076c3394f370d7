//! `pagesieve serve`.

use std::sync::Arc;

use anyhow::{Context, bail};
use pagesieve_live::serve::{Ended, Handovers, Root, Takes, serve};
use pagesieve_live::sync::SyncConfig;
use pagesieve_live::transport::{Listener, ListenerLimits, Session, Timeouts, TransportError, Trouble};

use super::{host, network};
use crate::cli::Serve;
use crate::{output, units};

pub(crate) fn run(options: &Serve) -> anyhow::Result<()> {
    network::runtime()?.block_on(listen(options))
}

async fn listen(options: &Serve) -> anyhow::Result<()> {
    let root = Root::open(&options.dir)
        .with_context(|| format!("open the folder {}: make it, or name another with --dir", options.dir.display()))?;
    let security = network::server(&options.security, &options.allow, options.listen.ip().is_loopback())?;
    let mut listener = Listener::bind(options.listen, security, Timeouts::default(), ListenerLimits::default()).await?;
    output::line(format_args!("listening on {}", listener.address()?))?;
    let config = SyncConfig { hash_workers: options.hash_workers.into(), ..SyncConfig::default() };
    let hosts = (!options.guests.is_empty()).then(|| host::hosts(options.guests.clone()));
    let takes = Arc::new(Takes { root, config, hosts, handovers: Handovers::default() });
    loop {
        let session = listener.accept(say_trouble).await;
        let peer = session.streams.first().map(|stream| stream.peer.to_string()).unwrap_or_default();
        let work = attend(session, peer, takes.clone());
        if options.once {
            return work.await;
        }
        tokio::spawn(async {
            // The others go on.
            if let Err(error) = work.await {
                output::error(&error);
            }
        });
    }
}

async fn attend(session: Session, peer: String, takes: Arc<Takes>) -> anyhow::Result<()> {
    match serve(session, takes).await {
        Ok(Ended::Committed { name, bytes }) => output::line(format_args!("{peer}: {name}, {}", units::show_bytes(bytes))),
        Ok(Ended::HandedOver { name }) => output::line(format_args!("{peer}: the guest {name} runs here")),
        Ok(Ended::InDoubt { name, why }) => {
            bail!("start the guest {name} of {peer}: {why}; look at its QEMU here, and let it go on in one place only")
        }
        Ok(Ended::NotStarted { name }) => bail!(
            "start the guest {name} of {peer}: it was called off or refused, so it belongs to its source; end the QEMU here, and start it anew with -incoming defer for the next try"
        ),
        Ok(Ended::Left) => {
            output::note(format_args!("{peer} left before its file was complete; what arrived is kept for its next try"));
            Ok(())
        }
        Err(error) => Err(anyhow::Error::from(error).context(format!("serve {peer}"))),
    }
}

fn say_trouble(trouble: Trouble) {
    let peer = trouble.peer.map_or_else(String::new, |peer| format!("{peer}: "));
    // Somebody who only looked whether the port is open.
    if !matches!(trouble.error, TransportError::Closed) {
        output::note(format_args!("{peer}failed to {}", trouble.error));
    }
}
