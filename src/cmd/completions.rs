//! `pagesieve completions`.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::output;

pub(crate) fn run(options: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "pagesieve", &mut script);
    output::text(&script)
}
