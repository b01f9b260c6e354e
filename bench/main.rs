//! tokload.
fn main() {}
