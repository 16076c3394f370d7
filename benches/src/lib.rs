//! Benchmarks and exact counters.
