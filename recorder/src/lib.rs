//! Observes a running process and writes a trace.
