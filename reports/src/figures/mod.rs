//! The figures. One file for each, with the data it shows as a struct of its own; drawing works on any plotters backend.

mod canvas;
mod chart;
mod cost;
mod dirty_rate;
mod file;
mod heatmap;
pub mod ink;
mod links;
mod picture;
mod policy_bars;
mod raster;
mod redirty_bars;
mod skip_bars;
mod skip_grid;
mod svg;
mod table;
mod working_set;

pub use canvas::{DrawResult, Format};
pub use cost::{Cost, CostStep};
pub use dirty_rate::{DirtyRate, Interval};
pub use file::{PngError, png_file, svg_file};
pub use heatmap::PageHeatmap;
pub use links::Links;
pub use picture::Picture;
pub use policy_bars::{PolicyBar, PolicyBars};
pub use redirty_bars::RedirtyBars;
pub use skip_bars::{SkipBars, SkipRow};
pub use skip_grid::{GridCell, SkipGrid};
pub use svg::svg;
pub use table::{Column, Table};
pub use working_set::{WorkingSet, WorkingStep};

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

    /// Left and right end of the time axis in pixels, if each row of the table begins with the start and the end of its time.
    fn time_axis(&self, _: Format) -> Option<(i32, i32)> {
        None
    }

    /// Height in pixels that the drawing needs in this format.
    fn height(&self, format: Format) -> u32;

    /// Draws onto an area of `format.width` by [`height`](Drawing::height) pixels.
    ///
    /// # Errors
    /// What the backend reports; drawing into a string does not fail.
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB>;
}

/// A finished figure: the same drawing for wide and for narrow screens, with its text alternatives.
#[derive(Clone, Debug, PartialEq)]
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
    /// Ends of the time axis in the wide and in the narrow drawing, as `left right`; empty if there is none.
    pub axes: [String; 2],
    /// What was drawn, to be drawn in other formats.
    pub picture: Picture,
}

impl Figure {
    /// Draws both formats. `id` must be made of letters, digits and hyphens.
    #[must_use]
    pub fn of(drawing: impl Into<Picture>, id: &str) -> Self {
        let picture = drawing.into();
        let axis = |format| picture.time_axis(format).map_or_else(String::new, |(left, right)| format!("{left} {right}"));
        Self {
            id: id.into(),
            title: picture.title(),
            description: picture.description(),
            wide: svg(&picture, Format::WIDE, &format!("{id}-wide")),
            narrow: svg(&picture, Format::NARROW, &format!("{id}-narrow")),
            table: picture.table(),
            axes: [Format::WIDE, Format::NARROW].map(axis),
            picture,
        }
    }
}
