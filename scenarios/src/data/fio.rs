//! One fio job against the ramdisk, so that every report carries numbers from the standard tool.
//!
//! The numbers are informative here: the gate that compares them is another command. What is checked is
//! that fio did its work, without an error, through the server.

use reports::budget::BudgetClass;
use reports::event::FailureKind;

use crate::context::{Context, Stop};
use crate::probe;
use crate::process::ServerProcess;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "data/fio-randrw-4k",
    title: "fio's 4 KiB random read/write job runs without an error and is verified",
    covers: &["S13"],
    budget: BudgetClass::Long,
    run: randrw,
    ..Scenario::SERVER
}];

const FIO: &str = "/usr/bin/fio";

fn randrw(context: &mut Context) -> Result<String, Stop> {
    probe::program(FIO)?;
    let server =
        ServerProcess::start(context, &["ram", "--size", "32M", "--queues", "2", "--depth", "32"])?;
    let before = server.counters()?;
    let filename = format!("--filename={}", server.live.block_device.display());
    let arguments = [
        "--name=randrw-4k",
        &filename,
        "--rw=randrw",
        "--bs=4k",
        "--direct=1",
        "--ioengine=io_uring",
        "--iodepth=32",
        "--size=32M",
        "--io_size=48M",
        "--randrepeat=1",
        "--output-format=json+",
    ];
    let text = probe::run(context, FIO, &arguments)?;
    context.evidence("fio-json", &text);
    let document: serde_json::Value = serde_json::from_str(
        text.find('{').and_then(|start| text.get(start..)).unwrap_or_default(),
    )
    .map_err(|error| Stop::error(format_args!("fio's output is not JSON: {error}")))?;
    let job = &document["jobs"][0];
    let bytes = |direction: &str| job[direction]["io_bytes"].as_u64().unwrap_or(0);
    context.check_eq(FailureKind::Operation, "fio's error", &job["error"].as_i64(), &Some(0))?;
    context.check(FailureKind::State, "fio read", bytes("read") > 0)?;
    context.check(FailureKind::State, "fio wrote", bytes("write") > 0)?;
    let after = server.counters()?;
    context.check_eq(
        FailureKind::State,
        "bytes fio wrote and bytes the server wrote",
        &(after.bytes_written - before.bytes_written),
        &bytes("write"),
    )?;
    context.check(
        FailureKind::State,
        "what fio read went through the server",
        after.bytes_read - before.bytes_read >= bytes("read"),
    )?;
    server.stop(context)?;
    let iops = |direction: &str| job[direction]["iops"].as_f64().unwrap_or(0.0).round();
    Ok(format!("{} read and {} write IOPS", iops("read"), iops("write")))
}
