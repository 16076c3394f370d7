//! The `pagesieve` command.
fn main() {}
