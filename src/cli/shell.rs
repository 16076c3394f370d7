//! Options of `pagesieve completions` and `pagesieve man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Print a script that lets a shell complete verbs and options
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve completions bash >/etc/bash_completion.d/pagesieve
  pagesieve completions zsh >/usr/local/share/zsh/site-functions/_pagesieve
  pagesieve completions fish >~/.config/fish/completions/pagesieve.fish
  . <(pagesieve completions bash)")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// Write the manual: a page for the command and one for each verb
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve man -o man
  man -l man/pagesieve-record.1
  pagesieve man -o /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Directory to write to; pages of these names in it are replaced
    #[arg(short, long, default_value = "man")]
    pub(crate) output: PathBuf,
}
