//! Placeholder for the skeleton.
fn main() {}
