//! Virtual-time driver of the engine: replay, verify and sweep traces. It needs no privileges and no clock.
//!
//! [`replay()`] asks what a policy would have skipped, sent and *lost* on a recorded guest. [`verify()`] asks whether the
//! recording can be believed, and whether the sound policies lose nothing on it. [`sweep()`] replays over a grid of
//! parameters, on all cores. [`epoch_point`], [`HeatmapBuilder`] and [`PageUseBuilder`] collect what a report draws.
#![forbid(unsafe_code)]

pub mod config;
pub mod decisions;
pub mod fleet;
pub mod heatmap;
pub mod log;
pub mod page_use;
pub mod replay;
pub mod sweep;
pub mod timeline;
pub mod verify;
pub mod wire;

mod run;
mod shadow;
mod source;
mod watch;

pub use config::{ReplayConfig, ReplayError, Scenario, Start, TraceInfo, UnknownScenario, UnknownStart};
pub use decisions::Decisions;
pub use fleet::{Fleet, ReplayResult};
pub use heatmap::HeatmapBuilder;
pub use log::{ActionLog, Digest};
pub use page_use::PageUseBuilder;
pub use replay::{replay, replay_all, trace_length};
pub use sweep::sweep;
pub use timeline::epoch_point;
pub use verify::verify;
