//! `pagesieve man`.

use std::fs;
use std::io::{self, Write};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::roff::{Roff, roman};

use crate::cli::{Cli, EXIT_STATUS, Man};
use crate::output;

pub(crate) fn run(options: &Man) -> anyhow::Result<()> {
    let dir = &options.output;
    fs::create_dir_all(dir).with_context(|| format!("make {}: name another directory with -o", dir.display()))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    for (name, page) in pages(&command)? {
        let path = dir.join(name);
        fs::write(&path, page).with_context(|| format!("write {}: name another directory with -o", path.display()))?;
        output::line(path.display())?;
    }
    Ok(())
}

/// File names and pages of a command and of all below it.
fn pages(command: &Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let man = clap_mangen::Man::new(command.clone()).source(format!("pagesieve {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (mut examples, mut notes) = (Vec::new(), Vec::new());
    for paragraph in text.split("\n\n").filter(|paragraph| *paragraph != EXIT_STATUS) {
        if paragraph.starts_with("Example") { &mut examples } else { &mut notes }.push(paragraph);
    }
    write_examples(&examples, &mut page)?;
    write_notes(&notes, &mut page)?;
    write_literally("EXIT STATUS", EXIT_STATUS.lines().skip(1), &mut page)?;
    let mut pages = vec![(man.get_filename(), page)];
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages.extend(self::pages(verb)?);
    }
    Ok(pages)
}

fn write_examples(paragraphs: &[&str], page: &mut impl Write) -> io::Result<()> {
    if paragraphs.is_empty() {
        return Ok(());
    }
    write_literally("EXAMPLES", paragraphs.iter().flat_map(|paragraph| paragraph.lines().skip(1)), page)
}

/// Lines that are to stay lines.
fn write_literally<'a>(heading: &str, lines: impl Iterator<Item = &'a str>, page: &mut impl Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [heading]).control("nf", []);
    for line in lines {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []).to_writer(page)
}

/// Prose; lines that begin with a space stay lines.
fn write_notes(paragraphs: &[&str], page: &mut impl Write) -> io::Result<()> {
    if paragraphs.is_empty() {
        return Ok(());
    }
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    for paragraph in paragraphs {
        roff.control("PP", []);
        for line in paragraph.lines() {
            if line.starts_with(' ') {
                roff.control("br", []);
            }
            roff.text([roman(line)]);
        }
    }
    roff.to_writer(page)
}
