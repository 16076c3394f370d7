//! `pagesieve workload`.

use std::time::Duration;

use anyhow::Context;
use pagesieve_core::Backing;
use pagesieve_recorder::workload::Workload as Guest;

use crate::cli::Workload;
use crate::output;

pub(crate) fn run(options: &Workload) -> anyhow::Result<()> {
    let guest = Guest {
        class: options.class,
        memory: options.memory,
        backing: if options.anonymous { Backing::Anonymous } else { Backing::Shared },
        file: options.file.clone(),
        seed: options.seed,
        length: Duration::from_secs(options.seconds),
        adversary: options.adversary,
    };
    let done = guest.run().context("run the workload")?;
    output::line(format_args!("{} pages, {} accesses, digest {:016x}", done.pages, done.accesses, done.digest))
}
