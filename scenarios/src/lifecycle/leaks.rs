//! What many lives of a server, or a failed one, leave behind: nothing.

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::server::Server;

use super::small;
use crate::block;
use crate::block::AlignedBuffer;
use crate::block::BlockDevice;
use crate::context::Context;
use crate::context::During;
use crate::context::Stop;
use crate::process::ServerProcess;
use crate::rig::served;
use crate::rig::stop_served;
use crate::scenario::Scenario;
use crate::usage;

use super::ramdisk;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "lifecycle/twenty-cycles-leak-nothing",
        title: "20 add/start/stop/delete cycles in one process leak no descriptor, thread, node or memory",
        covers: &["S7", "S8", "R:6"],
        budget: BudgetClass::Long,
        run: twenty_cycles,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/failed-start-leaves-nothing",
        title: "a server that cannot start says why and leaves no device",
        covers: &["S10"],
        run: failed_start,
        ..Scenario::SERVER
    },
];

/// Cycles after which an allocator has what it needs.
const WARM_CYCLES: u32 = 5;
/// What fragments may add in the others; a device's buffers alone have more in one cycle.
const GROWTH_LIMIT_BYTES: u64 = 8 << 20;

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn open_descriptors() -> Result<usize, Stop> {
    Ok(std::fs::read_dir("/proc/self/fd").during("list descriptors")?.count())
}

fn threads() -> Result<usize, Stop> {
    Ok(std::fs::read_dir("/proc/self/task").during("list threads")?.count())
}

fn ublk_mappings() -> Result<usize, Stop> {
    let maps = std::fs::read_to_string("/proc/self/maps").during("read the mappings")?;
    Ok(maps.lines().filter(|line| line.contains("ublkc") || line.contains("io_uring")).count())
}

fn twenty_cycles(context: &mut Context) -> Result<String, Stop> {
    const CYCLES: u32 = 20;
    let mut before = None;
    let mut warm_bytes = 0;
    for cycle in 0..CYCLES {
        let server = served(context, Server::builder(ramdisk()?).queues(2).depth(16))?;
        let device = BlockDevice::open(&server.block_device_path(), context.command_timeout())?;
        let mut buffer = AlignedBuffer::zeroed(4096);
        device.write_at(u64::from(cycle) * 4096, &buffer)?;
        device.read_at(0, &mut buffer)?;
        drop(device);
        stop_served(context, server)?;
        let now = (open_descriptors()?, ublk_mappings()?, block::all_nodes()?.len());
        // The first cycle may open what a process keeps (a log socket, a thread's stack cache).
        let expected = *before.get_or_insert(now);
        context.check_eq(
            FailureKind::Leak,
            format_args!("descriptors, ring mappings and nodes after cycle {}", cycle + 1),
            &now,
            &expected,
        )?;
        if cycle + 1 == WARM_CYCLES {
            warm_bytes = usage::resident_bytes(own_pid())?;
        }
    }
    let grown_bytes = usage::resident_bytes(own_pid())?.saturating_sub(warm_bytes);
    context.check(
        FailureKind::Leak,
        format_args!("{} cycles more took {grown_bytes} bytes of memory", CYCLES - WARM_CYCLES),
        grown_bytes < GROWTH_LIMIT_BYTES,
    )?;
    let left = threads()?;
    context.check(
        FailureKind::Leak,
        format_args!("queue threads are gone ({left} threads left)"),
        left <= 2,
    )?;
    let (descriptors, mappings, nodes) = before.unwrap_or_default();
    context.check_eq(FailureKind::Leak, "ublk nodes", &nodes, &0)?;
    Ok(format!(
        "{CYCLES} cycles, {descriptors} descriptors and {mappings} ring mappings throughout, {} KiB more",
        grown_bytes >> 10
    ))
}

fn failed_start(context: &mut Context) -> Result<String, Stop> {
    let started = ServerProcess::start(context, &["file", "--path", "/nonexistent/backing"]);
    let said = match started {
        Ok(_) => return Err(Stop::fail(FailureKind::State, "a server without a file got live")),
        Err(stop) => stop.to_string(),
    };
    context.check(
        FailureKind::Operation,
        format_args!("it says which file is missing: {said}"),
        said.contains("/nonexistent/backing"),
    )?;
    let nodes = block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "ublk nodes", &nodes, &Vec::new())?;
    let taken = small(context)?;
    let id = taken.live.id.to_string();
    let second = ServerProcess::start(context, &["null", "--size", "1M", "--id", &id]);
    let said = match second {
        Ok(_) => return Err(Stop::fail(FailureKind::State, "two servers have one id")),
        Err(stop) => stop.to_string(),
    };
    context.check(
        FailureKind::Operation,
        format_args!("a taken id is named with its errno: {said}"),
        said.contains("EEXIST"),
    )?;
    taken.stop(context)?;
    Ok("both refused with a reason".into())
}
