//! The destination's side: takes what other machines send and keeps it below one folder.

mod handovers;
pub mod host;
mod inbox;
pub mod receive;
pub mod root;
pub mod session;
mod unpack;

pub use handovers::Handovers;
pub use host::{GuestHost, Hosts, ResumeError};
pub use receive::{Receiver, Takes};
pub use root::{NameError, Root, Spot};
pub use session::{Ended, serve};
