//! The trace format: writer, reader, synthetic traces.
