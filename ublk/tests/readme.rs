//! The program in the README is one that compiles and passes its own tests: it is an example, piece by
//! piece. A README that has drifted from it, or shows code from nowhere, fails here.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a Markdown text that are Rust.
fn rust_blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```rust\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().trim_end()).collect()
}

#[test]
fn the_programs_in_the_readme_are_the_example() {
    let (readme, example) = (read("../README.md"), read("examples/ramdisk.rs"));
    let blocks = rust_blocks(&readme);
    assert_eq!(blocks.len(), 2, "a program, and its tests");
    let documented_away = |line: &&str| line.starts_with("//!") || line.trim().is_empty();
    let whole: Vec<&str> = example.lines().filter(|line| !documented_away(line)).collect();
    let shown: Vec<&str> = blocks
        .iter()
        .flat_map(|block| block.lines())
        .filter(|line| !documented_away(line))
        .collect();
    assert_eq!(shown, whole, "README.md and ublk/examples/ramdisk.rs differ");
}

#[test]
fn the_ramdisk_is_short() {
    let example = read("examples/ramdisk.rs");
    let (_, from_target) = example.split_once("impl Target").unwrap();
    let (target, _) = from_target.split_once("\n}\n").unwrap();
    let lines = target.lines().filter(|line| !line.trim().is_empty()).count() + 1;
    assert!(lines <= 16, "{lines} lines are not about 15");
    assert!(!example.contains("unsafe"));
}
