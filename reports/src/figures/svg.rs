//! From a drawing to SVG text that fits into the page.

use std::fmt::Write as _;

use plotters::prelude::{DrawingBackend, IntoDrawingArea, SVGBackend};

use super::canvas::FONT;
use super::{DrawResult, Drawing, Format, ink};

/// Which colours a drawing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    /// Those of the page, light or dark.
    Page,
    /// The light ones.
    Fixed,
}

/// Draws one format as SVG for the page. `id` must be unique in the page and be made of letters, digits and hyphens.
#[must_use]
pub fn svg(drawing: &impl Drawing, format: Format, id: &str) -> String {
    render(drawing, format, id, Colours::Page)
}

pub(super) fn render(drawing: &impl Drawing, format: Format, id: &str, colours: Colours) -> String {
    let size = (format.width, drawing.height(format));
    let mut raw = String::new();
    let drawn = draw(drawing, format, SVGBackend::with_string(&mut raw, size));
    // The backend closes the root only when all went well; its body is kept either way and closed here.
    let body = raw.split_once(">\n").map_or("", |(_, body)| body);
    let body = body.strip_suffix("</svg>\n").unwrap_or(body);
    let mut out = String::with_capacity(body.len() / 2);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" width=\"{}\" height=\"{}\" \
         viewBox=\"0 0 {} {}\" font-family=\"{FONT}\">",
        size.0, size.1, size.0, size.1
    );
    let _ = writeln!(out, "<title id=\"{id}-t\">{}</title>", escape(&drawing.title()));
    let _ = writeln!(out, "<desc id=\"{id}-d\">{}</desc>", escape(&drawing.description()));
    match (drawn, colours) {
        (Ok(()), Colours::Page) => out.push_str(&ink::themed(&compact(body))),
        (Ok(()), Colours::Fixed) => out.push_str(&compact(body)),
        (Err(_), _) => out.push_str("<text y=\"20\">This drawing failed. Its data are in the table below.</text>\n"),
    }
    out.push_str("</svg>\n");
    out
}

fn draw<DB: DrawingBackend>(drawing: &impl Drawing, format: Format, backend: DB) -> DrawResult<DB> {
    let area = backend.into_drawing_area();
    drawing.draw(&area, format)?;
    area.present()
}

/// Escapes text for SVG. Control characters, which XML does not allow, become spaces.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Drops attributes that say nothing and joins neighbouring boxes of one colour into one path: a heatmap has thousands.
fn compact(body: &str) -> String {
    let plain = body.replace(" opacity=\"1\"", "").replace(&format!(" font-family=\"{FONT}\""), "");
    let mut out = String::with_capacity(plain.len());
    let mut colour = "";
    let mut path = String::new();
    for line in plain.lines() {
        let Some((x, y, width, height, fill)) = filled_box(line) else {
            flush(&mut out, colour, &mut path);
            out.push_str(line);
            out.push('\n');
            continue;
        };
        if fill != colour {
            flush(&mut out, colour, &mut path);
            colour = fill;
        }
        let _ = write!(path, "M{x} {y}h{width}v{height}h-{width}z");
    }
    flush(&mut out, colour, &mut path);
    out
}

fn flush(out: &mut String, colour: &str, path: &mut String) {
    if !path.is_empty() {
        let _ = writeln!(out, "<path fill=\"{colour}\" shape-rendering=\"crispEdges\" d=\"{path}\"/>");
        path.clear();
    }
}

/// The parts of a filled rectangle as the backend writes it.
fn filled_box(line: &str) -> Option<(u32, u32, u32, u32, &str)> {
    let rest = line.strip_prefix("<rect ")?.strip_suffix(" stroke=\"none\"/>")?;
    let mut values = rest.split('"').skip(1).step_by(2);
    let mut number = || values.next()?.parse().ok();
    let (x, y, width, height) = (number()?, number()?, number()?, number()?);
    Some((x, y, width, height, values.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_boxes_of_one_colour_become_one_path() {
        let rect = |x: u32, fill: &str| {
            format!("<rect x=\"{x}\" y=\"0\" width=\"2\" height=\"3\" opacity=\"1\" fill=\"{fill}\" stroke=\"none\"/>\n")
        };
        let body = rect(0, "#A") + &rect(2, "#A") + &rect(4, "#B") + "<text x=\"1\">\n&lt;rect\n</text>\n";
        let paths = "<path fill=\"#A\" shape-rendering=\"crispEdges\" d=\"M0 0h2v3h-2zM2 0h2v3h-2z\"/>\n\
                     <path fill=\"#B\" shape-rendering=\"crispEdges\" d=\"M4 0h2v3h-2z\"/>\n";
        assert_eq!(compact(&body), format!("{paths}<text x=\"1\">\n&lt;rect\n</text>\n"));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<a&\"\u{7}>"), "&lt;a&amp;&quot; &gt;");
    }
}
