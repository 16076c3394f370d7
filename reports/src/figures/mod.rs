//! The figures. One file for each, with the data it shows as a struct of its own; drawing works on any plotters backend.

mod canvas;
mod dirty_rate;
mod heatmap;
pub mod ink;
mod skip_bars;
mod svg;
mod table;

pub use canvas::{DrawResult, Format};
pub use dirty_rate::{DirtyRate, Interval};
pub use heatmap::PageHeatmap;
pub use skip_bars::{SkipBars, SkipRow};
pub use svg::svg;
pub use table::{Column, Table};

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

/// Something that can be drawn and, for readers who cannot see it, be told in words and as a table.
pub trait Drawing {
    /// A short title.
    fn title(&self) -> String;

    /// What the drawing shows, in a few sentences with the numbers that matter.
    fn description(&self) -> String;

    /// The data behind the drawing. It may be coarser than the drawing where that has thousands of marks.
    fn table(&self) -> Table;

    /// Height in pixels that the drawing needs in this format.
    fn height(&self, format: Format) -> u32;

    /// Draws onto an area of `format.width` by [`height`](Drawing::height) pixels.
    ///
    /// # Errors
    /// What the backend reports; drawing into a string does not fail.
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB>;
}

/// A finished figure: the same drawing for wide and for narrow screens, with its text alternatives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Unique in the page, fit for an HTML id.
    pub id: String,
    /// A short title.
    pub title: String,
    /// What the drawing shows, in words.
    pub description: String,
    /// SVG for wide screens and paper.
    pub wide: String,
    /// SVG for screens as narrow as a phone.
    pub narrow: String,
    /// The data as a table.
    pub table: Table,
}

impl Figure {
    /// Draws both formats. `id` must be made of letters, digits and hyphens.
    #[must_use]
    pub fn of(drawing: &impl Drawing, id: &str) -> Self {
        Self {
            id: id.into(),
            title: drawing.title(),
            description: drawing.description(),
            wide: svg(drawing, Format::WIDE, &format!("{id}-wide")),
            narrow: svg(drawing, Format::NARROW, &format!("{id}-narrow")),
            table: drawing.table(),
        }
    }
}
