//! The `pagesieve` command: parse, call a library, print.

mod cli;
mod cmd;
mod output;
mod units;

use std::process::ExitCode;

/// Exit status of a run that failed. `verify` uses 1 for a violation, and the argument parser 2 for wrong usage.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = cli::Cli::of_this_process();
    let done = output::mind(cli.manners.manners()).and_then(|()| cmd::run(cli.verb));
    match done {
        Ok(code) => code,
        Err(error) if output::is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(FAILED)
        }
    }
}
