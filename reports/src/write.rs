//! Writing the files of a report.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::figures::{Figure, PngError, png_file, svg_file};
use crate::view::PageView;
use crate::{Report, csv, html, json, markdown};

/// A kind of file that a report can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileFormat {
    /// `index.html`: the page.
    Html,
    /// `summary.json`: all numbers.
    Json,
    /// `summary.md`: the answers and the numbers without figures.
    Markdown,
    /// `csv/`: a table of numbers in each file.
    Csv,
    /// `svg/`: a figure in each file.
    Svg,
    /// `png/`: the same as pixels.
    Png,
}

impl FileFormat {
    /// All of them, in the order in which they are written.
    pub const ALL: [FileFormat; 6] =
        [FileFormat::Html, FileFormat::Json, FileFormat::Markdown, FileFormat::Csv, FileFormat::Svg, FileFormat::Png];

    /// What is written unless something else is asked for.
    pub const DEFAULT: [FileFormat; 3] = [FileFormat::Html, FileFormat::Json, FileFormat::Markdown];

    /// The file, or the folder of the files, in the folder of the report.
    #[must_use]
    pub fn place(self) -> &'static str {
        match self {
            Self::Html => "index.html",
            Self::Json => "summary.json",
            Self::Markdown => "summary.md",
            Self::Csv => "csv",
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

/// Why a report could not be written. Completes "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder is missing and cannot be made.
    #[error("make the folder {}: {source}; name another with -o", path.display())]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A figure cannot be made.
    #[error(transparent)]
    Png(#[from] PngError),
}

/// Writes a report in these formats into a folder, which is made if it is missing. Files of the same names are replaced, others are
/// left alone. Returns the paths in the order of [`FileFormat::ALL`].
///
/// # Errors
/// [`ReportError`] if a folder cannot be made or a file cannot be written. Files written before the error stay.
pub fn write(report: &Report, dir: &Path, formats: &[FileFormat]) -> Result<Vec<PathBuf>, ReportError> {
    make(dir)?;
    let mut paths = Vec::new();
    for format in formats.iter().copied().collect::<BTreeSet<_>>() {
        let place = dir.join(format.place());
        match format {
            FileFormat::Html => paths.push(file(place, html(report).as_bytes())?),
            FileFormat::Json => paths.push(file(place, json(report).as_bytes())?),
            FileFormat::Markdown => paths.push(file(place, markdown(report).as_bytes())?),
            FileFormat::Csv => {
                make(&place)?;
                for (name, text) in csv(report) {
                    paths.push(file(place.join(name), text.as_bytes())?);
                }
            }
            FileFormat::Svg => {
                paths.extend(figures(report, &place, "svg", |figure| Ok(svg_file(&figure.picture, &figure.id).into_bytes()))?)
            }
            FileFormat::Png => paths.extend(figures(report, &place, "png", |figure| Ok(png_file(&figure.picture)?))?),
        }
    }
    Ok(paths)
}

fn make(dir: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(dir).map_err(|source| ReportError::MakeFolder { path: dir.into(), source })
}

fn file(path: PathBuf, content: &[u8]) -> Result<PathBuf, ReportError> {
    // A file of an earlier report is whole until the new one is.
    let mut draft = path.clone().into_os_string();
    draft.push(".draft");
    match fs::write(&draft, content).and_then(|()| fs::rename(&draft, &path)) {
        Ok(()) => Ok(path),
        Err(source) => {
            let _ = fs::remove_file(&draft);
            Err(ReportError::Write { path, source })
        }
    }
}

/// Writes each figure to a file named after its id.
fn figures(
    report: &Report,
    dir: &Path,
    ending: &str,
    content: impl Fn(&Figure) -> Result<Vec<u8>, ReportError>,
) -> Result<Vec<PathBuf>, ReportError> {
    make(dir)?;
    let page = PageView::of(report);
    let write = |figure: &Figure| file(dir.join(format!("{}.{ending}", figure.id)), &content(figure)?);
    page.figures().map(write).collect()
}
