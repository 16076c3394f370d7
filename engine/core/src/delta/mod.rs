//! Encodings that make a page smaller on the wire: pure functions on byte slices.

pub mod xbzrle;
pub mod zero;

pub use zero::is_zero;
