//! Figures as files of their own: with their title, on a light ground, complete without the page.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, IntoDrawingArea};

use super::canvas::{Lettering, Pen};
use super::ink::SURFACE;
use super::raster::{Paper, Raster};
use super::svg::{Colours, render};
use super::{DrawResult, Drawing, Format, Table};
use crate::format;

/// Room around the drawing.
const MARGIN: u32 = 16;
/// Room for the title.
const TITLE: u32 = 28;

/// A drawing with its title above and room around.
struct Framed<'a, D>(&'a D);

/// The shape of the whole.
const WHOLE: Format = Format { width: Format::WIDE.width + 2 * MARGIN, ..Format::WIDE };

impl<D: Drawing> Drawing for Framed<'_, D> {
    fn title(&self) -> String {
        self.0.title()
    }

    fn description(&self) -> String {
        self.0.description()
    }

    fn table(&self) -> Table {
        self.0.table()
    }

    fn height(&self, _: Format) -> u32 {
        self.0.height(Format::WIDE).saturating_add(2 * MARGIN + TITLE)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, _: Format) -> DrawResult<DB> {
        area.fill(&SURFACE.rgb())?;
        let pen = Pen { area, format: WHOLE };
        let title = format::shorten(&self.title(), WHOLE.chars_in(Format::WIDE.right() * 8 / 9));
        pen.text(&title, (MARGIN as i32, MARGIN as i32), Lettering::BOLD)?;
        self.0.draw(&area.margin(MARGIN + TITLE, MARGIN, MARGIN, MARGIN), Format::WIDE)
    }
}

/// An SVG file in light colours, with no style from outside.
#[must_use]
pub fn svg_file(drawing: &impl Drawing, id: &str) -> String {
    let svg = render(&Framed(drawing), WHOLE, id, Colours::Fixed);
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{svg}")
}

/// Why there is no PNG of a figure. Completes "failed to ...".
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The font that is part of the program cannot be read: the program is damaged.
    #[error("read the font that is part of this program: it is damaged; build it again")]
    Font,
    /// The drawing failed.
    #[error("draw the figure as pixels")]
    Draw,
    /// The picture cannot be encoded.
    #[error("encode the picture: {0}")]
    Encode(#[from] png::EncodingError),
}

/// A PNG file in light colours, at two pixels for each of the drawing.
///
/// # Errors
/// None is expected: they would be faults of this program.
pub fn png_file(drawing: &impl Drawing) -> Result<Vec<u8>, PngError> {
    let framed = Framed(drawing);
    let mut paper = Paper::new((WHOLE.width, framed.height(WHOLE)));
    let area = Raster::on(&mut paper).ok_or(PngError::Font)?.into_drawing_area();
    framed.draw(&area, WHOLE).map_err(|_| PngError::Draw)?;
    drop(area);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, paper.width, paper.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&paper.pixels)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::ink::{Ink, LOST, RESENT, SENT, TEXT};
    use super::super::{PolicyBar, PolicyBars};
    use super::*;

    #[test]
    fn letters_and_boxes_are_painted() {
        let row = PolicyBar { policy: "p".into(), sent: 3 << 20, resent: 1 << 20, wire: 0, lost_pages: 256 };
        let drawing = PolicyBars { subject: "MMMM".into(), scenario: "sync".into(), rows: vec![row] };
        let file = png_file(&drawing).expect("it can be drawn");
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().expect("it is a picture");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it is small")];
        let width = reader.next_frame(&mut pixels).expect("it is whole").width as usize;
        let count = |ink: Ink, rows: std::ops::Range<usize>| {
            let (red, green, blue) = (ink.rgb().0, ink.rgb().1, ink.rgb().2);
            pixels[rows.start * width * 3..rows.end * width * 3].chunks(3).filter(|pixel| pixel == &[red, green, blue]).count()
        };
        let all = 0..pixels.len() / width / 3;
        let title = 2 * MARGIN as usize..2 * (MARGIN as usize + 16);
        assert!(count(TEXT, title.clone()) > 500, "the title is written: {}", count(TEXT, title));
        let [sent, resent, lost] = [SENT, RESENT, LOST].map(|ink| count(ink, all.clone()));
        // 2 MiB, 1 MiB and 1 MiB of 4 MiB on a line of 879 pixels, 18 high, at twice the size; and the boxes of the legend.
        let box_of = |part: usize| part * 879 / 4 * 18 * 4;
        for (painted, part) in [(sent, 2), (resent, 1), (lost, 1)] {
            assert!(painted.abs_diff(box_of(part)) < 3_000, "{painted} and not about {}", box_of(part));
        }
    }
}
