//! Short texts for people, from the other side of a connection.

use std::fmt;

use super::error::Malformed;
use super::fields::{Fields, put_bytes16};

/// A text for people of at most [`Text::LIMIT`] bytes, without control characters: it is printed on the terminal of the other
/// side, which must not take orders from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Most bytes of a text.
    pub const LIMIT: usize = 1024;

    /// Replaces control characters by `?` and cuts what is too long.
    #[must_use]
    pub fn new(text: impl fmt::Display) -> Self {
        let mut kept = String::new();
        for char in text.to_string().chars() {
            let char = if char.is_control() { '?' } else { char };
            if kept.len() + char.len_utf8() > Self::LIMIT {
                break;
            }
            kept.push(char);
        }
        Self(kept)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_bytes16(out, self.0.as_bytes());
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let length = usize::from(fields.u16()?);
        if length > Self::LIMIT {
            return Err(Malformed::Count { field: "text", count: length, least: 0, most: Self::LIMIT });
        }
        let text = str::from_utf8(fields.take(length)?).map_err(|_| Malformed::Text)?;
        if text.chars().any(char::is_control) { Err(Malformed::Text) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
