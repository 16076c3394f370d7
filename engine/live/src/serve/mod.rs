//! The destination's side: takes what other machines send and keeps it below one folder.

pub mod root;

pub use root::{NameError, Root, Spot};
