//! The colours of the page and its figures, each with a value for light and one for dark screens.
//!
//! plotters can only write fixed colours, so a figure is drawn in the light ones and each is then replaced by a CSS variable
//! with the light colour as its fallback. A figure inside the page follows the reader's colour scheme; the same text saved as
//! a file of its own is a complete SVG in light colours. This works only while no two inks share a light colour.

use plotters::style::RGBColor;

/// A colour by its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ink {
    /// Name of the CSS variable, without the dashes.
    pub name: &'static str,
    light: u32,
    dark: u32,
}

impl Ink {
    const fn new(name: &'static str, light: u32, dark: u32) -> Self {
        Self { name, light, dark }
    }

    /// The colour to draw with.
    #[must_use]
    pub fn rgb(self) -> RGBColor {
        RGBColor((self.light >> 16) as u8, (self.light >> 8) as u8, self.light as u8)
    }
}

/// Text.
pub const TEXT: Ink = Ink::new("text", 0x1c2128, 0xe6e9ee);
/// Text of second rank.
pub const MUTED: Ink = Ink::new("muted", 0x57606a, 0x9aa4b0);
/// Lines that only guide the eye.
pub const GRID: Ink = Ink::new("grid", 0xdfe3e8, 0x323942);
/// The ground of a figure.
pub const SURFACE: Ink = Ink::new("surface", 0xffffff, 0x181c22);
/// Skipped: never populated.
pub const UNPOPULATED: Ink = Ink::new("unpopulated", 0xb4d3ea, 0x2c4a66);
/// Skipped: zeros.
pub const ZERO: Ink = Ink::new("zero", 0x6fa9d6, 0x4579a8);
/// Skipped: unchanged.
pub const UNCHANGED: Ink = Ink::new("unchanged", 0x2468a4, 0x78b4ea);
/// Skipped: written with the same bytes.
pub const SAME_CONTENT: Ink = Ink::new("same-content", 0x0e8a72, 0x35c0a2);
/// Skipped without proof.
pub const PRESUMED: Ink = Ink::new("presumed", 0xd1490c, 0xff7f45);
/// Left for later.
pub const DEFERRED: Ink = Ink::new("deferred", 0xe3b341, 0xd8ab3c);
/// Sent.
pub const SENT: Ink = Ink::new("sent", 0xc3c8ce, 0x4b535d);
/// The claimed range.
pub const CLAIM: Ink = Ink::new("claim", 0x30363d, 0xc9d1d9);
/// The dirty rate.
pub const DIRTY: Ink = Ink::new("dirty", 0x1f5f99, 0x7ab8f0);
/// The part of the dirty rate that is mere lack of proof.
pub const UNKNOWN: Ink = Ink::new("unknown", 0xf0c98b, 0x7d5f27);
/// Lost events.
pub const LOST: Ink = Ink::new("lost", 0xb3261e, 0xff5d52);
/// Sent again.
pub const RESENT: Ink = Ink::new("resent", 0xe08a1e, 0xe8a04a);
/// The ground of the claimed range.
pub const BAND: Ink = Ink::new("band", 0xdfe9d4, 0x2f4026);
/// Foretold.
pub const FORETOLD: Ink = Ink::new("foretold", 0xa86a00, 0xe9b455);
/// Lines side by side. They differ in lightness as well as in hue.
pub const LINES: [Ink; 4] = [
    Ink::new("line-1", 0x123c69, 0x8ec5ff),
    Ink::new("line-2", 0x2f8fc4, 0x4f8fd0),
    Ink::new("line-3", 0x1a7f5a, 0x56d6a0),
    Ink::new("line-4", 0xb0468f, 0xf08fd0),
];
/// Steps of the heatmap from few to many pages. Lightness falls on a light ground and rises on a dark one, so that "more"
/// always stands out more; the hues run from yellow through green and blue to violet, which colour-blind readers can follow by
/// lightness alone.
pub const HEAT: [Ink; 6] = [
    Ink::new("heat-1", 0xe9e58a, 0x3a2a5c),
    Ink::new("heat-2", 0x9fd26b, 0x3d4f8a),
    Ink::new("heat-3", 0x46b37d, 0x2c7a92),
    Ink::new("heat-4", 0x1f8a8c, 0x2fa583),
    Ink::new("heat-5", 0x355f8d, 0x86cc55),
    Ink::new("heat-6", 0x46206b, 0xf6e24a),
];

const ROLES: [Ink; 18] = [
    TEXT,
    MUTED,
    GRID,
    SURFACE,
    UNPOPULATED,
    ZERO,
    UNCHANGED,
    SAME_CONTENT,
    PRESUMED,
    DEFERRED,
    SENT,
    CLAIM,
    DIRTY,
    UNKNOWN,
    LOST,
    RESENT,
    BAND,
    FORETOLD,
];

/// All inks.
pub fn all() -> impl Iterator<Item = Ink> {
    ROLES.into_iter().chain(LINES).chain(HEAT)
}

/// The definitions of the CSS variables for one colour scheme.
#[must_use]
pub fn css(dark: bool) -> String {
    all().map(|ink| format!("--{}:#{:06x};", ink.name, if dark { ink.dark } else { ink.light })).collect()
}

/// Replaces every fixed colour of a drawing by its variable. Only whole attribute values match, and text in an SVG cannot hold
/// a bare quotation mark, so no label is touched.
#[must_use]
pub fn themed(svg: &str) -> String {
    all().fold(svg.to_owned(), |svg, ink| {
        svg.replace(&format!("\"#{:06X}\"", ink.light), &format!("\"var(--{}, #{:06x})\"", ink.name, ink.light))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_inks_share_a_name_or_a_light_colour() {
        let inks: Vec<Ink> = all().collect();
        for (at, one) in inks.iter().enumerate() {
            for other in &inks[at + 1..] {
                assert_ne!(one.light, other.light, "{} and {}", one.name, other.name);
                assert_ne!(one.name, other.name);
            }
        }
    }

    #[test]
    fn only_whole_attribute_values_are_themed() {
        let svg = themed("<rect fill=\"#FFFFFF\"/><text>#FFFFFF</text>");
        assert_eq!(svg, "<rect fill=\"var(--surface, #ffffff)\"/><text>#FFFFFF</text>");
    }
}
