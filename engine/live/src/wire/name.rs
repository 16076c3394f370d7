//! Names of files at the destination.

use std::fmt;

/// The name of a file below the directory of a destination: components between `/`, and nothing that leads out of it.
///
/// Links below the directory are another matter; whoever opens the file must not follow them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a name is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty.
    #[error("is empty: give the file a name")]
    Empty,
    /// It is too long.
    #[error("is longer than {} bytes", Name::LIMIT)]
    Long,
    /// A component is too long.
    #[error("has a component of more than {} bytes", Name::COMPONENT_LIMIT)]
    LongComponent,
    /// It begins with a slash.
    #[error("is absolute: a destination only writes below its own directory, leave the first / out")]
    Absolute,
    /// A component is empty, or the name ends with a slash.
    #[error("has an empty component: remove a /")]
    EmptyComponent,
    /// A component is `.` or `..`.
    #[error("has a component . or ..: a destination only writes below its own directory")]
    Dots,
    /// It holds a backslash, NUL, or another control character.
    #[error("holds a backslash or a control character")]
    Character,
    /// It is not UTF-8.
    #[error("is not UTF-8")]
    NotText,
}

impl Name {
    /// Most bytes of a name.
    pub const LIMIT: usize = 1024;
    /// Most bytes of a component.
    pub const COMPONENT_LIMIT: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > Self::LIMIT {
            return Err(NameError::Long);
        }
        if name.starts_with('/') {
            return Err(NameError::Absolute);
        }
        if name.chars().any(|char| char == '\\' || char.is_control()) {
            return Err(NameError::Character);
        }
        for component in name.split('/') {
            match component {
                "" => return Err(NameError::EmptyComponent),
                "." | ".." => return Err(NameError::Dots),
                long if long.len() > Self::COMPONENT_LIMIT => return Err(NameError::LongComponent),
                _ => {}
            }
        }
        Ok(Self(name))
    }

    /// Checks a name that came as bytes.
    pub(super) fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        str::from_utf8(name).map_err(|_| NameError::NotText).and_then(Self::new)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its components, at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
