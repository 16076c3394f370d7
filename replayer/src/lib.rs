//! Virtual-time driver of the engine: replay and verify traces.
