//! Drawing by pixels: the few strokes that all figures share.

use plotters::coord::Shift;
use plotters::prelude::{Circle, DrawingArea, DrawingAreaErrorKind, DrawingBackend, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, TextStyle};

use super::ink::{GRID, Ink, MUTED, TEXT};

/// What drawing returns.
pub type DrawResult<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// The family that all text is set in; the reader's own system font.
pub(crate) const FONT: &str = "system-ui, sans-serif";

/// The shape of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Width in pixels.
    pub width: u32,
    /// Size of text in pixels.
    pub text: i32,
    /// Most columns and rows of cells that can still be told apart.
    pub cells: (u32, u32),
}

impl Format {
    /// For screens of 720 pixels and more, and for paper.
    pub const WIDE: Format = Format { width: 880, text: 13, cells: (128, 64) };
    /// For narrower screens.
    pub const NARROW: Format = Format { width: 360, text: 12, cells: (48, 40) };

    /// Width in pixels as a signed number, as plotters counts.
    #[must_use]
    pub fn right(self) -> i32 {
        i32::try_from(self.width).unwrap_or(i32::MAX)
    }

    /// True for [`Format::NARROW`] and anything of its kind.
    #[must_use]
    pub fn is_narrow(self) -> bool {
        self.width < 600
    }

    /// About how many pixels a text takes. There is no font to ask, so this is a guess from the number of characters.
    #[must_use]
    pub fn text_width(self, text: &str) -> i32 {
        i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 16).saturating_mul(self.text * 57 / 10) / 10
    }

    /// About how many characters fit into so many pixels.
    #[must_use]
    pub fn chars_in(self, pixels: i32) -> usize {
        usize::try_from(pixels * 100 / (self.text * 57).max(1)).unwrap_or(0)
    }
}

/// Where a text stands relative to its point, and how it looks.
#[derive(Clone, Copy)]
pub(crate) struct Lettering {
    pub(crate) ink: Ink,
    pub(crate) bold: bool,
    pub(crate) h: HPos,
    pub(crate) v: VPos,
}

impl Lettering {
    pub(crate) const PLAIN: Lettering = Lettering { ink: TEXT, bold: false, h: HPos::Left, v: VPos::Top };
    pub(crate) const BOLD: Lettering = Lettering { bold: true, ..Self::PLAIN };
    pub(crate) const MUTED: Lettering = Lettering { ink: MUTED, ..Self::PLAIN };

    pub(crate) fn right(self) -> Self {
        Self { h: HPos::Right, ..self }
    }

    pub(crate) fn center(self) -> Self {
        Self { h: HPos::Center, ..self }
    }

    pub(crate) fn ink(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }

    pub(crate) fn style(self, size: i32) -> TextStyle<'static> {
        // The SVG backend divides the size by 1.24 to get from a line to a letter.
        let weight = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::Name(FONT), f64::from(size) * 1.24, weight);
        TextStyle { font, color: self.ink.rgb().to_backend_color(), pos: Pos::new(self.h, self.v) }
    }
}

/// Strokes on an area.
pub(crate) struct Pen<'a, DB: DrawingBackend> {
    pub(crate) area: &'a DrawingArea<DB, Shift>,
    pub(crate) format: Format,
}

impl<DB: DrawingBackend> Pen<'_, DB> {
    /// A filled box from one corner to the other.
    pub(crate) fn fill(&self, from: (i32, i32), to: (i32, i32), ink: Ink) -> DrawResult<DB> {
        self.area.draw(&Rectangle::new([from, to], ink.rgb().filled()))
    }

    /// A line through points.
    pub(crate) fn line(&self, points: &[(i32, i32)], ink: Ink, width: u32) -> DrawResult<DB> {
        self.area.draw(&PathElement::new(points.to_vec(), ink.rgb().stroke_width(width)))
    }

    /// A filled triangle that points down to `tip`.
    pub(crate) fn marker(&self, tip: (i32, i32), ink: Ink) -> DrawResult<DB> {
        let (x, y) = tip;
        self.area.draw(&Polygon::new(vec![(x - 5, y - 8), (x + 5, y - 8), (x, y)], ink.rgb().filled()))
    }

    /// A filled circle.
    pub(crate) fn dot(&self, center: (i32, i32), radius: i32, ink: Ink) -> DrawResult<DB> {
        self.area.draw(&Circle::new(center, radius, ink.rgb().filled()))
    }

    /// A filled square that reaches `radius` to each side.
    pub(crate) fn square(&self, (x, y): (i32, i32), radius: i32, ink: Ink) -> DrawResult<DB> {
        self.fill((x - radius, y - radius), (x + radius, y + radius), ink)
    }

    /// A line of text.
    pub(crate) fn text(&self, text: &str, at: (i32, i32), how: Lettering) -> DrawResult<DB> {
        self.area.draw(&Text::new(text.to_owned(), at, how.style(self.format.text)))
    }

    /// Upright lines and labels for the shares 0 to 100 % of a box between two x positions.
    pub(crate) fn percent_axis(&self, x: (i32, i32), y: (i32, i32)) -> DrawResult<DB> {
        for tenth in [0, 2, 4, 6, 8, 10] {
            let at = x.0 + (x.1 - x.0) * tenth / 10;
            self.line(&[(at, y.0), (at, y.1)], GRID, 1)?;
            let how = match tenth {
                0 => Lettering::MUTED,
                10 => Lettering::MUTED.right(),
                _ => Lettering::MUTED.center(),
            };
            self.text(&format!("{}\u{a0}%", tenth * 10), (at, y.1 + 5), how)?;
        }
        Ok(())
    }

    /// Swatches with labels, in as many lines as it takes, from `top` down.
    pub(crate) fn legend(&self, entries: &[(Ink, &str)], top: i32) -> DrawResult<DB> {
        for ((x, line), (ink, label)) in self.format.legend_places(entries).into_iter().zip(entries) {
            let y = top + line * LEGEND_LINE;
            self.fill((x, y + 1), (x + 12, y + 13), *ink)?;
            self.text(label, (x + 18, y), Lettering::MUTED)?;
        }
        Ok(())
    }
}

/// Height of a line of a legend.
const LEGEND_LINE: i32 = 20;

impl Format {
    /// Height of a legend in pixels.
    pub(crate) fn legend_height(self, entries: &[(Ink, &str)]) -> i32 {
        self.legend_places(entries).last().map_or(0, |(_, line)| (line + 1) * LEGEND_LINE)
    }

    /// Left edge and line of each entry.
    fn legend_places(self, entries: &[(Ink, &str)]) -> Vec<(i32, i32)> {
        let (mut x, mut line) = (0, 0);
        let mut places = Vec::with_capacity(entries.len());
        for (_, label) in entries {
            let width = 18 + self.text_width(label) + 16;
            if x > 0 && x + width - 16 > self.right() {
                (x, line) = (0, line + 1);
            }
            places.push((x, line));
            x += width;
        }
        places
    }
}
