//! The check that keeps the tables whole: against what is declared, and against the catalogue.

use std::collections::BTreeMap;
use std::path::Path;

use ublk::features::RULES;
use ublk::uapi::{
    AutoBufReg, BatchIo, CtrlCmd, CtrlOp, DevInfo, ElemHeader, Features, IoCmd, IoCmdOp, IoDesc,
    ParamBasic, ParamDevt, ParamDiscard, ParamDmaAlign, ParamIntegrity, ParamSegment, ParamZoned,
    Params, ShmemBufReg,
};

use super::commands::{CONTROL, FLAGS, IO, MATRIX};
use super::{Row, Table, markdown, tables};
use crate::catalogue;

/// Scenarios that other rooms of the suite are to bring. Until one is there, the test prints the rows that wait for
/// it; afterwards it counts like any other.
const PENDING: &[&str] = &["targets/zoned*"];

/// What `ublk::uapi` declares for a table, in its order.
fn declared(title: &str) -> Vec<&'static str> {
    let fields = |fields: &'static [(&'static str, usize)]| fields.iter().map(|f| f.0).collect();
    match title {
        CONTROL => CtrlOp::ALL.iter().map(|op| op.name()).collect(),
        IO => IoCmdOp::ALL.iter().map(|op| op.name()).collect(),
        FLAGS => Features::NAMED.iter().map(|(name, _)| *name).collect(),
        MATRIX => RULES.iter().map(|rule| rule.id).collect(),
        "struct ublksrv_ctrl_cmd" => fields(CtrlCmd::FIELD_OFFSETS),
        "struct ublksrv_ctrl_dev_info" => fields(DevInfo::FIELD_OFFSETS),
        "struct ublksrv_io_desc" => fields(IoDesc::FIELD_OFFSETS),
        "struct ublksrv_io_cmd" => fields(IoCmd::FIELD_OFFSETS),
        "struct ublk_auto_buf_reg" => fields(AutoBufReg::FIELD_OFFSETS),
        "struct ublk_batch_io" => fields(BatchIo::FIELD_OFFSETS),
        "struct ublk_elem_header" => fields(ElemHeader::FIELD_OFFSETS),
        "struct ublk_shmem_buf_reg" => fields(ShmemBufReg::FIELD_OFFSETS),
        "struct ublk_params" => fields(Params::FIELD_OFFSETS),
        "struct ublk_param_basic" => fields(ParamBasic::FIELD_OFFSETS),
        "struct ublk_param_discard" => fields(ParamDiscard::FIELD_OFFSETS),
        "struct ublk_param_devt" => fields(ParamDevt::FIELD_OFFSETS),
        "struct ublk_param_zoned" => fields(ParamZoned::FIELD_OFFSETS),
        "struct ublk_param_dma_align" => fields(ParamDmaAlign::FIELD_OFFSETS),
        "struct ublk_param_segment" => fields(ParamSegment::FIELD_OFFSETS),
        "struct ublk_param_integrity" => fields(ParamIntegrity::FIELD_OFFSETS),
        _ => Vec::new(),
    }
}

/// Everything that is wrong with tables against what is declared and the catalogue's ids.
fn complaints(tables: &[Table], is_known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for Table { title, rows } in tables {
        let wanted = declared(title);
        if wanted.is_empty() {
            found.push(format!("{title}: nothing of that name is declared"));
        }
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for row in *rows {
            row.item.split(", ").for_each(|item| *seen.entry(item).or_default() += 1);
            for id in row.scenarios {
                if !is_known(id) && !PENDING.contains(id) {
                    found.push(format!("{title}: {}: no scenario {id} in the catalogue", row.item));
                }
            }
        }
        for item in &wanted {
            match seen.remove(item) {
                Some(1) => {}
                Some(count) => found.push(format!("{title}: {item} is there {count} times")),
                None => found.push(format!("{title}: {item} is used by no scenario")),
            }
        }
        found.extend(seen.keys().map(|item| format!("{title}: {item} is declared nowhere")));
    }
    found
}

/// Rows that wait for somebody else's scenario, and have no other.
fn waiting(tables: &[Table], is_known: impl Fn(&str) -> bool) -> Vec<String> {
    let rows = tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)));
    rows.filter(|(_, row)| !row.scenarios.iter().any(|id| is_known(id)))
        .map(|(table, row)| {
            format!("{}: {} waits for {}", table.title, row.item, row.scenarios.join(", "))
        })
        .collect()
}

fn is_known(id: &str) -> bool {
    catalogue::find(id).is_some() || (id.contains('*') && !catalogue::matching(id).is_empty())
}

#[test]
fn every_item_is_used_by_a_scenario_of_the_catalogue() {
    let all: Vec<_> = tables().copied().collect();
    let waiting = waiting(&all, is_known);
    waiting.iter().for_each(|row| eprintln!("missing: {row}"));
    assert_eq!(complaints(&all, is_known), Vec::<String>::new());
    assert_eq!(all.len(), 20, "a struct was taken out");
}

#[test]
fn each_way_to_rot_is_noticed() {
    let rows = rows! {
        "q_id", "6.0", "RawSqe::io" => "abi/no-such-scenario";
        "tag, tag", "6.0", "RawSqe::io" => "abi/update-size";
        "tga", "6.0", "RawSqe::io" => "abi/update-size";
    };
    let table = Table { title: "struct ublksrv_io_cmd", rows };
    let told = complaints(&[table], is_known).join("\n");
    for expected in [
        "q_id: no scenario abi/no-such-scenario in the catalogue",
        "tag is there 2 times",
        "result is used by no scenario",
        "tga is declared nowhere",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    let unknown = Table { title: "struct of nobody", rows: &[] };
    assert_eq!(complaints(&[unknown], is_known).len(), 1);
    let pending = rows! { "addr", "6.0", "RawSqe::io" => "modes/shmem-zero-copy"; };
    let table = Table { title: "struct ublksrv_io_cmd", rows: pending };
    assert_eq!(waiting(&[table], |_| false).len(), 1);
    assert_eq!(waiting(&[table], |_| true).len(), 0);
}

/// All of the library's source, without its tests' folder.
fn library() -> String {
    fn read(folder: &Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../ublk/src")), &mut text);
    text
}

/// Whether a function, a type or a variant of that name is declared; and the type it belongs to.
fn is_declared(library: &str, path: &str) -> bool {
    let declared = |name: &str| {
        let kinds = ["fn", "struct", "enum", "trait"].iter();
        let mut heads = kinds
            .flat_map(|kind| ["(", "<", " ", ";", ":"].map(|end| format!("{kind} {name}{end}")));
        heads.any(|head| library.contains(&head)) || library.contains(&format!("\n    {name},\n"))
    };
    // The first part of a path to a free function is its module.
    let last = path.rsplit("::").next().unwrap_or_default();
    let owner = path.split("::").next().filter(|owner| owner.starts_with(char::is_uppercase));
    declared(last) && owner.is_none_or(declared)
}

#[test]
fn every_item_is_reached_by_something_that_is_declared() {
    let library = library();
    let rows = tables().flat_map(|table| table.rows);
    let paths = rows.flat_map(|row| row.api.split(", "));
    let missing: Vec<_> = paths.filter(|path| !is_declared(&library, path)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    for wrong in ["Control::no_such_function", "NoSuchType::open", "DataMode::NoSuchMode", ""] {
        assert!(!is_declared(&library, wrong), "{wrong:?}");
    }
}

#[test]
fn the_document_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/abi-coverage.md");
    if std::env::var_os("UBLK_BLESS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == markdown(), "{path} is old: UBLK_BLESS=1 cargo test -p scenarios coverage");
}
