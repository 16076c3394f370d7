//! Loads and attaches the kernel program, drains its ring, reads its page table.
