//! Options of every verb: how much is said beside the result, and in which colors.

use std::ffi::{OsStr, OsString};

use clap::{Args, ColorChoice};

use crate::output::Manners;

// No doc comment: it would take the place of the command's own.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct MannersOptions {
    /// Say nothing beside the result: no progress, no notes. Errors are said
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 1000)]
    quiet: bool,
    /// Say what is decided and why, such as which hooks were tried; twice for more. PAGESIEVE_LOG takes a filter instead
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 1001)]
    verbose: u8,
    /// When to use colors; NO_COLOR in the environment turns them off as well
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = 1002)]
    color: ColorChoice,
}

impl MannersOptions {
    pub(crate) fn manners(self) -> Manners {
        Manners { quiet: self.quiet, verbose: self.verbose, color: self.color }
    }
}

/// When the argument parser itself is to use colors, for a help or an error that comes before it has parsed everything.
pub(super) fn color_of(mut arguments: impl Iterator<Item = OsString>) -> ColorChoice {
    let mut choice = ColorChoice::Auto;
    while let Some(argument) = arguments.next().filter(|argument| argument != "--") {
        let value = match argument.to_str().and_then(|text| text.strip_prefix("--color")) {
            Some("") => arguments.next(),
            Some(value) => value.strip_prefix('=').map(OsString::from),
            None => None,
        };
        choice = value.as_deref().and_then(OsStr::to_str).and_then(|value| value.parse().ok()).unwrap_or(choice);
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_color_is_known_before_the_rest_is_parsed() {
        let of = |line: &str| color_of(line.split_whitespace().map(OsString::from));
        assert_eq!(of("pagesieve record"), ColorChoice::Auto);
        assert_eq!(of("pagesieve --color never record"), ColorChoice::Never);
        assert_eq!(of("pagesieve record --color=always --bad"), ColorChoice::Always);
        assert_eq!(of("pagesieve record --color=pink"), ColorChoice::Auto);
        assert_eq!(of("pagesieve record -- ls --color=always"), ColorChoice::Auto, "that is for the command");
    }
}
