//! The trace format: writer, reader, synthetic traces. `FORMAT.md` beside this crate specifies the bytes.
//!
//! ```
//! use pagesieve_core::Nanos;
//! use pagesieve_traces::{Class, Reader, SynthConfig, Writer, synth};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = SynthConfig { memory: 4 << 20, duration: Nanos::SECOND, ..SynthConfig::new(Class::Light) };
//! let frames = synth(config)?;
//! let mut file = Vec::new();
//! let mut writer = Writer::new(&mut file, frames.header())?;
//! for frame in frames {
//!     writer.write_frame(&frame)?;
//! }
//! writer.finish()?;
//!
//! let mut reader = Reader::new(&file[..])?;
//! while let Some(frame) = reader.next_frame()? {
//!     assert!(frame.start <= frame.scan_start);
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod check;
pub mod dump;
pub mod error;
pub mod info;
pub mod model;
pub mod reader;
pub mod synth;
pub mod version;
pub mod writer;

mod chunk;
mod codec;
mod index;
mod preamble;
mod seek;
mod varint;

pub use check::{Problem, Validation, validate};
pub use codec::Limits;
pub use dump::{DumpError, DumpFormat, dump};
pub use error::{Damage, ReadError, WriteError};
pub use index::{Index, IndexEntry};
pub use info::{Info, info};
pub use model::*;
pub use reader::{End, OnDamage, ReadOptions, Reader};
pub use synth::{Class, Synth, SynthConfig, SynthError, synth};
pub use version::{FORMAT, FormatVersion, Major, Minor};
pub use writer::{CreateOptions, Writer};
