//! The destination's side: takes what other machines send and keeps it below one folder.

pub mod receive;
pub mod root;
pub mod session;

pub use receive::Receiver;
pub use root::{NameError, Root, Spot};
pub use session::{Ended, serve};
