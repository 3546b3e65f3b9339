//! `struct blk_zone` and the numbers beside it against the system's `linux/blkzoned.h`, through the C
//! compiler: the compile-time assertions only compare the crate with what people wrote down.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use ublk::uapi::{BlkZone, ZoneCondition, ZoneType};

/// C expressions and our values.
fn items() -> Vec<(String, usize)> {
    let mut items = vec![("sizeof(struct blk_zone)".to_owned(), size_of::<BlkZone>())];
    for (field, offset) in BlkZone::FIELD_OFFSETS {
        let field = if *field == "zone_type" { "type" } else { field };
        items.push((format!("offsetof(struct blk_zone, {field})"), *offset));
    }
    for (name, number) in [
        ("TYPE_CONVENTIONAL", ZoneType::Conventional as usize),
        ("TYPE_SEQWRITE_REQ", ZoneType::SequentialRequired as usize),
        ("TYPE_SEQWRITE_PREF", ZoneType::SequentialPreferred as usize),
        ("COND_NOT_WP", ZoneCondition::NotWritePointer as usize),
        ("COND_EMPTY", ZoneCondition::Empty as usize),
        ("COND_IMP_OPEN", ZoneCondition::ImplicitOpen as usize),
        ("COND_EXP_OPEN", ZoneCondition::ExplicitOpen as usize),
        ("COND_CLOSED", ZoneCondition::Closed as usize),
        ("COND_READONLY", ZoneCondition::ReadOnly as usize),
        ("COND_FULL", ZoneCondition::Full as usize),
        ("COND_OFFLINE", ZoneCondition::Offline as usize),
    ] {
        items.push((format!("BLK_ZONE_{name}"), number));
    }
    items
}

#[test]
fn our_zone_is_the_kernel_headers() {
    if !Path::new("/usr/include/linux/blkzoned.h").exists() {
        eprintln!("zone_header: skipped: linux/blkzoned.h is missing: install linux-libc-dev");
        return;
    }
    let mut source = String::from(
        "#include <stddef.h>\n#include <linux/types.h>\n#include <linux/blkzoned.h>\n",
    );
    for (number, (expression, value)) in items().iter().enumerate() {
        let _ = writeln!(source, "_Static_assert({expression} == {value}, \"item {number}\");");
    }
    let compile = |source: &str| {
        let dir = tempfile::tempdir().unwrap();
        let code = dir.path().join("zone.c");
        std::fs::write(&code, source).unwrap();
        Command::new("cc").arg("-fsyntax-only").arg(&code).output()
    };
    let output = match compile(&source) {
        Ok(output) => output,
        Err(error) => {
            eprintln!("zone_header: skipped: no C compiler `cc` here: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The comparison must be able to fail.
    let lie =
        source.replace("offsetof(struct blk_zone, wp) == 16", "offsetof(struct blk_zone, wp) == 8");
    assert_ne!(lie, source);
    assert!(!compile(&lie).unwrap().status.success());
}
