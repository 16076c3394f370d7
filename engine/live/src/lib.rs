//! Real-time driver of the engine.
