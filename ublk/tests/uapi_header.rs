//! Our numbers against the kernel's own header, through the C compiler of this machine.
//!
//! The compile-time assertions in `uapi` compare the crate with a table that people wrote; this test compares it with
//! what the kernel ships. `UBLK_UAPI_INCLUDE` names the directory that holds `linux/ublk_cmd.h`, by default the
//! system's. Older headers know less: what a header does not define is not compared, and the number of items that
//! were is printed. With the variable set, items the header has and this crate has not fail the test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ublk::uapi::*;

/// A struct of ours: the kernel's name, size, fields with offsets.
type Layout = (&'static str, usize, &'static [(&'static str, usize)]);

/// Names of the same place: ours first, then what a header may call it as well or instead.
const ALIASES: &[(&str, &str, &str)] = &[
    ("ublksrv_ctrl_dev_info", "io_desc_size", "pad0"),
    ("ublksrv_ctrl_dev_info", "owner_uid", "reserved0"),
    ("ublksrv_io_desc", "nr_sectors", "nr_zones"),
    ("ublksrv_io_cmd", "addr", "zone_append_lba"),
];

/// A field only we name: the C compiler leaves a hole there.
const HOLES: &[(&str, &str)] = &[("ublk_params", "padding")];

fn layouts() -> Vec<Layout> {
    macro_rules! table {
        ($($kernel:literal = $ours:ident),* $(,)?) => {
            vec![$(($kernel, size_of::<$ours>(), $ours::FIELD_OFFSETS)),*]
        };
    }
    table! {
        "ublksrv_ctrl_cmd" = CtrlCmd,
        "ublksrv_ctrl_dev_info" = DevInfo,
        "ublksrv_io_desc" = IoDesc,
        "ublksrv_io_cmd" = IoCmd,
        "ublk_auto_buf_reg" = AutoBufReg,
        "ublk_batch_io" = BatchIo,
        "ublk_elem_header" = ElemHeader,
        "ublk_shmem_buf_reg" = ShmemBufReg,
        "ublk_param_basic" = ParamBasic,
        "ublk_param_discard" = ParamDiscard,
        "ublk_param_devt" = ParamDevt,
        "ublk_param_zoned" = ParamZoned,
        "ublk_param_dma_align" = ParamDmaAlign,
        "ublk_param_segment" = ParamSegment,
        "ublk_param_integrity" = ParamIntegrity,
        "ublk_params" = Params,
    }
}

fn constants() -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, value: i64| {
        assert!(all.insert(name.clone(), value).is_none(), "{name} stands twice");
    };
    macro_rules! flags {
        ($($prefix:literal + $set:ident),* $(,)?) => {
            $(for (name, flag) in $set::NAMED {
                add(format!(concat!($prefix, "{}"), name), flag.bits() as i64);
            })*
        };
    }
    flags! {
        "UBLK_F_" + Features,
        "UBLK_ATTR_" + Attrs,
        "UBLK_PARAM_TYPE_" + ParamTypes,
        "UBLK_IO_F_" + IoFlags,
        "UBLK_BATCH_F_" + BatchFlags,
        "UBLK_AUTO_BUF_REG_" + AutoBufRegFlags,
        "UBLK_SHMEM_BUF_" + ShmemBufFlags,
        "LBMD_PI_" + IntegrityFlags,
    }
    for op in CtrlOp::ALL {
        add(format!("UBLK_U_CMD_{op}"), i64::from(op.encoded()));
        if let Some(raw) = op.raw() {
            add(format!("UBLK_CMD_{op}"), i64::from(raw));
        }
    }
    for op in IoCmdOp::ALL {
        add(format!("UBLK_U_IO_{op}"), i64::from(op.encoded()));
        if let Some(raw) = op.raw() {
            add(format!("UBLK_IO_{op}"), i64::from(raw));
        }
    }
    for op in Op::ALL {
        add(format!("UBLK_IO_OP_{op}"), i64::from(op.code()));
    }
    for raw in 0..4 {
        add(format!("UBLK_S_DEV_{}", DevState::from_raw(raw)), i64::from(raw));
    }
    for (name, value) in [
        ("UBLK_AUTO_BUF_REG_F_MASK", i64::from(AutoBufRegFlags::all().bits())),
        ("UBLK_FEATURES_LEN", i64::from(FEATURES_LEN_BYTES)),
        ("UBLK_INTEGRITY_FLAG_OFF", i64::from(IO_INTEGRITY_FLAG_OFF)),
        ("UBLK_IO_BUF_BITS", i64::from(IO_BUF_BITS)),
        ("UBLK_IO_BUF_BITS_MASK", IO_BUF_BITS_MASK as i64),
        ("UBLK_IO_BUF_OFF", i64::from(IO_BUF_OFF)),
        ("UBLK_IO_RES_ABORT", i64::from(IO_RES_ABORT)),
        ("UBLK_IO_RES_NEED_GET_DATA", i64::from(IO_RES_NEED_GET_DATA)),
        ("UBLK_IO_RES_OK", i64::from(IO_RES_OK)),
        ("UBLK_MAX_NR_QUEUES", i64::from(MAX_NR_QUEUES)),
        ("UBLK_MAX_QUEUE_DEPTH", i64::from(MAX_QUEUE_DEPTH)),
        ("UBLK_MIN_SEGMENT_SIZE", i64::from(MIN_SEGMENT_SIZE_BYTES)),
        ("UBLK_QID_BITS", i64::from(QID_BITS)),
        ("UBLK_QID_BITS_MASK", QID_BITS_MASK as i64),
        ("UBLK_QID_OFF", i64::from(QID_OFF)),
        ("UBLK_SHMEM_ZC_IDX_MASK", SHMEM_ADDR_IDX_MASK as i64),
        ("UBLK_SHMEM_ZC_IDX_OFF", i64::from(SHMEM_ADDR_IDX_OFF)),
        ("UBLK_SHMEM_ZC_OFF_MASK", SHMEM_ADDR_OFF_MASK as i64),
        ("UBLK_TAG_BITS", i64::from(TAG_BITS)),
        ("UBLK_TAG_BITS_MASK", TAG_BITS_MASK as i64),
        ("UBLK_TAG_OFF", i64::from(TAG_OFF)),
        ("UBLKSRV_CMD_BUF_OFFSET", CMD_BUF_OFFSET as i64),
        ("UBLKSRV_IO_BUF_OFFSET", IO_BUF_OFFSET as i64),
        ("UBLKSRV_IO_BUF_TOTAL_BITS", i64::from(IO_BUF_TOTAL_BITS)),
        ("UBLKSRV_IO_BUF_TOTAL_SIZE", IO_BUF_TOTAL_SIZE_BYTES as i64),
        ("UBLKSRV_IO_INTEGRITY_FLAG", IO_INTEGRITY_FLAG as i64),
    ] {
        add(name.to_owned(), value);
    }
    all
}

/// What a header's text says it has: names of constants, and structs with the names of their members.
#[derive(Debug, PartialEq)]
struct Header {
    constants: Vec<String>,
    structs: BTreeMap<String, Vec<String>>,
}

/// Reads a header without its comments. Not a C parser: the header is flat, and the compiler checks the rest.
fn read_header(text: &str) -> Header {
    let mut text = text.to_owned();
    while let Some(start) = text.find("/*") {
        let end = text[start..].find("*/").map_or(text.len(), |end| start + end + 2);
        text.replace_range(start..end, " ");
    }
    let (directives, code): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.trim_start().starts_with('#'));
    let constants = directives
        .iter()
        .filter_map(|line| line.trim_start().trim_start_matches('#').trim().strip_prefix("define"))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter(|name| name.starts_with("UBLK") && !name.contains('('))
        .map(str::to_owned)
        .collect();
    let code = code.join("\n");
    let mut structs = BTreeMap::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find("\nstruct ") {
        rest = &rest[start + "\nstruct ".len()..];
        let Some((name, body)) = rest.split_once('{') else { break };
        let body = &body[..body.find("\n}").unwrap_or(body.len())];
        structs.insert(name.trim().to_owned(), members(body));
    }
    Header { constants, structs }
}

fn members(body: &str) -> Vec<String> {
    let last_word = |declaration: &str| {
        let declaration = declaration.split('[').next().unwrap_or_default();
        let word = declaration.split_whitespace().next_back().unwrap_or_default();
        (!word.is_empty() && !word.contains('}')).then(|| word.to_owned())
    };
    body.split(';').filter_map(last_word).collect()
}

/// One thing to ask the compiler for: what to call it, the C expression, our number.
struct Item {
    name: String,
    expression: String,
    ours: i64,
}

/// Everything that header and crate both have, and the header's items that the crate has not.
fn items(header: &Header) -> (Vec<Item>, Vec<String>) {
    let constants = constants();
    let mut items = Vec::new();
    let mut unknown: Vec<String> =
        header.constants.iter().filter(|name| !constants.contains_key(*name)).cloned().collect();
    for (name, ours) in constants {
        items.push(Item { expression: name.clone(), name, ours });
    }
    for (kernel, size, fields) in layouts() {
        let Some(known) = header.structs.get(kernel) else { continue };
        let mut places: Vec<_> = fields
            .iter()
            .filter(|(field, _)| !HOLES.contains(&(kernel, *field)))
            .copied()
            .collect();
        let complete = places.iter().all(|(ours, _)| {
            let alias = ALIASES.iter().find(|(of, name, _)| (*of, *name) == (kernel, *ours));
            known
                .iter()
                .any(|name| name == ours || alias.is_some_and(|(_, _, other)| name == other))
        });
        for (of, name, other) in ALIASES {
            let place = fields.iter().find(|(field, _)| (*of, *name) == (kernel, *field));
            places.extend(place.map(|(_, offset)| (*other, *offset)));
        }
        for name in known {
            let Some((_, offset)) = places.iter().find(|(ours, _)| ours == name) else {
                unknown.push(format!("{kernel}.{name}"));
                continue;
            };
            items.push(Item {
                name: format!("offset of {kernel}.{name}"),
                expression: format!("offsetof(struct {kernel}, {name})"),
                ours: *offset as i64,
            });
        }
        // Structs that grow have another size in an older header.
        if complete {
            items.push(Item {
                name: format!("size of {kernel}"),
                expression: format!("sizeof(struct {kernel})"),
                ours: size as i64,
            });
        }
    }
    let structs = header.structs.keys().filter(|name| !layouts().iter().any(|(k, ..)| k == name));
    unknown.extend(structs.map(|name| format!("struct {name}")));
    // The include guard is a constant in form only.
    unknown.retain(|name| !name.ends_with("_INC_H") && !name.ends_with("_H"));
    (items, unknown)
}

fn probe_source(items: &[Item]) -> String {
    let mut source = String::from(
        "#include <errno.h>\n#include <stddef.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\n\
         #include <linux/fs.h>\n#include <linux/ublk_cmd.h>\nint main(void) {\n",
    );
    for (number, Item { expression, .. }) in items.iter().enumerate() {
        let print = format!("printf(\"{number} %lld\\n\", (long long)({expression}));");
        if expression.contains('(') {
            let _ = writeln!(source, "{print}");
        } else {
            let _ = writeln!(source, "#ifdef {expression}\n{print}\n#endif");
        }
    }
    source.push_str("return 0;\n}\n");
    source
}

/// Compiles and runs the probe; `None` with a printed reason where there is no compiler.
fn run_probe(include: Option<&Path>, source: &str) -> Option<String> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (code, binary) = (dir.path().join("probe.c"), dir.path().join("probe"));
    std::fs::write(&code, source).expect("probe written");
    let mut compiler = Command::new("cc");
    compiler.arg("-o").arg(&binary).arg(&code);
    if let Some(include) = include {
        compiler.arg("-I").arg(include);
    }
    let output = match compiler.output() {
        Ok(output) => output,
        Err(error) => {
            say(&format!("skipped: no C compiler `cc` here: {error}"));
            return None;
        }
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the probe does not compile:\n{stderr}");
    let output = Command::new(&binary).output().expect("probe runs");
    Some(String::from_utf8(output.stdout).expect("numbers"))
}

/// Compares a header with the crate: number of items compared, mismatches, items the crate has not.
fn compare(header: &Path, include: Option<&Path>) -> Option<(usize, Vec<String>, Vec<String>)> {
    let text = std::fs::read_to_string(header).expect("header is readable");
    let (items, unknown) = items(&read_header(&text));
    let answers = run_probe(include, &probe_source(&items))?;
    let mut mismatches = Vec::new();
    for answer in answers.lines() {
        let (number, theirs) = answer.split_once(' ').expect("two numbers");
        let item = &items[number.parse::<usize>().expect("a number")];
        let theirs: i64 = theirs.parse().expect("a number");
        if theirs != item.ours {
            mismatches.push(format!("{}: header {theirs:#x}, ours {:#x}", item.name, item.ours));
        }
    }
    Some((answers.lines().count(), mismatches, unknown))
}

/// Prints past libtest's capture: what was compared matters when the test passes, too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "uapi_header: {line}");
}

#[test]
fn our_numbers_are_the_kernel_headers() {
    let asked = std::env::var_os("UBLK_UAPI_INCLUDE").map(PathBuf::from);
    let include = asked.clone().unwrap_or_else(|| "/usr/include".into());
    let header = include.join("linux/ublk_cmd.h");
    if !header.exists() {
        assert!(asked.is_none(), "UBLK_UAPI_INCLUDE is set, and {} is missing", header.display());
        say(&format!("skipped: {} is missing: install linux-libc-dev", header.display()));
        return;
    }
    let Some((compared, mismatches, unknown)) = compare(&header, asked.as_deref()) else { return };
    say(&format!("{compared} items compared with {}", header.display()));
    assert!(mismatches.is_empty(), "{mismatches:#?}");
    // Linux 6.0, the first with ublk, has some 60.
    assert!(compared >= 60, "only {compared} items compared: the probe does not see the header");
    if !unknown.is_empty() {
        say(&format!("the header has what this crate has not: {}", unknown.join(", ")));
        assert!(asked.is_none(), "the ABI has grown: {unknown:?}");
    }
}

/// The comparison must be able to fail: a header with three lies in it.
#[test]
fn a_header_that_differs_is_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(dir.path().join("linux")).expect("directory");
    let header = dir.path().join("linux/ublk_cmd.h");
    let text = "\
#ifndef LYING_INC_H
#define LYING_INC_H
#include <linux/types.h>
/* a comment; struct not_a_struct { */
#define UBLK_F_USER_COPY (1UL << 8)
#define UBLK_F_USER_RECOVERY\t(1UL << 3)
#define UBLK_F_FROM_THE_FUTURE (1UL << 60)

struct ublk_elem_header {
\t__u16 tag;
\t__s32 result; /* swapped */
\t__u16 buf_index;
};
#endif
";
    std::fs::write(&header, text).expect("header written");
    let parsed = read_header(text);
    assert_eq!(parsed.structs["ublk_elem_header"], ["tag", "result", "buf_index"]);
    let Some((compared, mismatches, unknown)) = compare(&header, Some(dir.path())) else { return };
    assert!(compared >= 6, "{compared}");
    let differs = |name: &str| mismatches.iter().any(|line| line.starts_with(name));
    assert!(differs("UBLK_F_USER_COPY: header 0x100, ours 0x80"), "{mismatches:?}");
    assert!(differs("size of ublk_elem_header: header 0xc, ours 0x8"), "{mismatches:?}");
    assert!(
        differs("offset of ublk_elem_header.buf_index: header 0x8, ours 0x2"),
        "{mismatches:?}"
    );
    assert!(!differs("UBLK_F_USER_RECOVERY"), "{mismatches:?}");
    assert_eq!(unknown, ["UBLK_F_FROM_THE_FUTURE"]);
}
