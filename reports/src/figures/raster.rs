//! A plotters backend that paints pixels, with letters from a font that is part of the program: the picture does not depend on
//! what is installed on the machine.

use std::convert::Infallible;

use ab_glyph::{Font, FontRef, Point, ScaleFont};
use plotters::prelude::DrawingBackend;
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind, rasterizer};

/// What drawing returns. Painting memory does not fail.
type Painted = Result<(), DrawingErrorKind<Infallible>>;

/// Pixels on paper for each pixel of a drawing.
const SCALE: i32 = 2;

/// Paints on paper that is larger by [`SCALE`] than the drawing.
pub(super) struct Raster<'a> {
    size: (u32, u32),
    paper: &'a mut Paper,
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

/// Red, green and blue of each pixel, row by row.
pub(super) struct Paper {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<u8>,
}

impl<'a> Raster<'a> {
    /// Paints on this paper; `None` if the font cannot be read.
    pub(super) fn on(paper: &'a mut Paper) -> Option<Self> {
        Some(Self {
            size: (paper.width / SCALE as u32, paper.height / SCALE as u32),
            paper,
            regular: FontRef::try_from_slice(dejavu::sans_condensed::regular()).ok()?,
            bold: FontRef::try_from_slice(dejavu::sans_condensed::bold()).ok()?,
        })
    }

    /// Paints what lies within `radius` of the line from one point to the other, in pixels of the paper.
    fn stroke(&mut self, from: (f64, f64), to: (f64, f64), radius: f64, color: BackendColor) {
        let reach = radius + 1.0;
        let range = |a: f64, b: f64| (a.min(b) - reach).floor() as i32..=(a.max(b) + reach).ceil() as i32;
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx * dx + dy * dy;
        for y in range(from.1, to.1) {
            for x in range(from.0, to.0) {
                let (px, py) = (f64::from(x) + 0.5 - from.0, f64::from(y) + 0.5 - from.1);
                let along = if length == 0.0 { 0.0 } else { ((px * dx + py * dy) / length).clamp(0.0, 1.0) };
                let (off_x, off_y) = (px - along * dx, py - along * dy);
                let distance = (off_x * off_x + off_y * off_y).sqrt();
                self.paper.blend((x, y), color, radius + 0.5 - distance);
            }
        }
    }
}

impl Paper {
    /// White paper for a drawing of this size.
    pub(super) fn new(size: (u32, u32)) -> Self {
        let (width, height) = (size.0 * SCALE as u32, size.1 * SCALE as u32);
        Self { width, height, pixels: vec![255; width as usize * height as usize * 3] }
    }

    /// Mixes a colour into a pixel. Outside of the paper nothing happens.
    fn blend(&mut self, (x, y): (i32, i32), color: BackendColor, share: f64) {
        let share = share.clamp(0.0, 1.0) * color.alpha;
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.width || y >= self.height || share == 0.0 {
            return;
        }
        let at = (y as usize * self.width as usize + x as usize) * 3;
        let (red, green, blue) = color.rgb;
        for (old, new) in self.pixels[at..at + 3].iter_mut().zip([red, green, blue]) {
            *old = (f64::from(*old) + (f64::from(new) - f64::from(*old)) * share).round() as u8;
        }
    }
}

/// A point of the drawing on the paper.
fn enlarged((x, y): BackendCoord) -> (f64, f64) {
    (f64::from(x.saturating_mul(SCALE)), f64::from(y.saturating_mul(SCALE)))
}

impl DrawingBackend for Raster<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Painted {
        Ok(())
    }

    fn present(&mut self) -> Painted {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Painted {
        self.draw_rect(point, (point.0 + 1, point.1 + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Painted {
        let radius = f64::from(style.stroke_width()) * f64::from(SCALE) / 2.0;
        self.stroke(enlarged(from), enlarged(to), radius, style.color());
        Ok(())
    }

    /// The corner at the lower right is not part of a box, as in an SVG.
    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Painted {
        if !fill {
            let corners = [from, (to.0, from.1), to, (from.0, to.1), from];
            return self.draw_path(corners, style);
        }
        let range = |a: i32, b: i32, end: u32| {
            let end = i32::try_from(end).unwrap_or(i32::MAX);
            (a.min(b).saturating_mul(SCALE)).clamp(0, end)..(a.max(b).saturating_mul(SCALE)).clamp(0, end)
        };
        let (columns, rows) = (range(from.0, to.0, self.paper.width), range(from.1, to.1, self.paper.height));
        for y in rows {
            columns.clone().for_each(|x| self.paper.blend((x, y), style.color(), 1.0));
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Painted {
        let mut before = None;
        for point in path {
            if let Some(before) = before {
                self.draw_line(before, point, style)?;
            }
            before = Some(point);
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Painted {
        if fill {
            self.stroke(enlarged(center), enlarged(center), f64::from(radius) * f64::from(SCALE), style.color());
            return Ok(());
        }
        rasterizer::draw_circle(self, center, radius, style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, points: I, style: &S) -> Painted {
        let points: Vec<_> = points.into_iter().map(|(x, y)| (x.saturating_mul(SCALE), y.saturating_mul(SCALE))).collect();
        rasterizer::fill_polygon(self.paper, &points, style)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Painted {
        let font = if matches!(style.style(), FontStyle::Bold) { &self.bold } else { &self.regular };
        // The size is that of a line; an SVG takes the same part of it for a letter.
        let em = style.size() / 1.24 * f64::from(SCALE);
        let unit = f64::from(font.height_unscaled() / font.units_per_em().unwrap_or(1000.0));
        let font = font.as_scaled((em * unit) as f32);
        let width: f32 = text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum();
        let (x, y) = enlarged(at);
        let mut x = x as f32
            - match style.anchor().h_pos {
                HPos::Left => 0.0,
                HPos::Center => width / 2.0,
                HPos::Right => width,
            };
        let baseline = y + em
            * match style.anchor().v_pos {
                VPos::Top => 0.76,
                VPos::Center => 0.27,
                VPos::Bottom => -0.27,
            };
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            let glyph = id.with_scale_and_position(font.scale(), Point { x, y: baseline as f32 });
            x += font.h_advance(id);
            if let Some(outline) = font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                let paper = &mut *self.paper;
                outline.draw(|dx, dy, share| {
                    let point = (corner.x as i32 + dx as i32, corner.y as i32 + dy as i32);
                    paper.blend(point, style.color(), f64::from(share));
                });
            }
        }
        Ok(())
    }
}

/// Only for [`rasterizer::fill_polygon`], which paints pixels and lines.
impl DrawingBackend for Paper {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn ensure_prepared(&mut self) -> Painted {
        Ok(())
    }

    fn present(&mut self) -> Painted {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Painted {
        self.blend(point, color, 1.0);
        Ok(())
    }
}
