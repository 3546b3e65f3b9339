//! Each way in which a server ends, idle and under load, and what its clients see.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::uapi::DevState;

use super::load::Load;
use super::small;
use crate::block;
use crate::block::AlignedBuffer;
use crate::block::BlockDevice;
use crate::context::Context;
use crate::context::During;
use crate::context::Stop;
use crate::probe;
use crate::process::UBLK;
use crate::process::check_no_nodes;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "lifecycle/stop-idle-by-sigterm",
        title: "SIGTERM stops an idle server cleanly",
        covers: &["S7"],
        run: |context| stop_idle(context, Signal::SIGTERM),
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/stop-idle-by-sigint",
        title: "SIGINT stops an idle server cleanly",
        covers: &["S7"],
        run: |context| stop_idle(context, Signal::SIGINT),
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/stop-under-load",
        title: "SIGTERM under load stops the server; clients get an error, nobody hangs",
        covers: &["S7", "S8"],
        run: stop_under_load,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/kill-under-load",
        title: "SIGKILL under load gives clients an error in bounded time; the device can be deleted",
        covers: &["S8", "rq.server.died"],
        run: kill_under_load,
        ..Scenario::SERVER
    },
    Scenario {
        id: "lifecycle/delete-by-another-process",
        title: "ublk del stops and removes a device that another process serves",
        covers: &["S7", "cqe.abort.stop"],
        run: delete_by_another,
        ..Scenario::SERVER
    },
];

fn stop_idle(context: &mut Context, signal: Signal) -> Result<String, Stop> {
    let mut server = small(context)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    device.write_at(0, &AlignedBuffer::zeroed(4096))?;
    drop(device);
    let begin = Instant::now();
    server.signal(signal)?;
    let timeout = context.command_timeout();
    server.check_clean_end(context, timeout)?;
    let took = begin.elapsed();
    check_no_nodes(context, server.live.id)?;
    Ok(format!("stopped in {} ms", took.as_millis()))
}

fn stop_under_load(context: &mut Context) -> Result<String, Stop> {
    let mut server = small(context)?;
    let load = Load::start(&server.live.block_device, 8, context.command_timeout())?;
    let requests = Arc::clone(&load.requests);
    server.signal(Signal::SIGTERM)?;
    let ends = load.wait(context, context.command_timeout() * 2)?;
    let timeout = context.command_timeout() * 2;
    server.check_clean_end(context, timeout)?;
    check_no_nodes(context, server.live.id)?;
    let count = requests.load(Ordering::Relaxed);
    Ok(format!("{count} requests, then {}", Vec::from_iter(ends).join(" / ")))
}

fn kill_under_load(context: &mut Context) -> Result<String, Stop> {
    let mut server = small(context)?;
    let id = server.live.id;
    let load = Load::start(&server.live.block_device, 8, context.command_timeout())?;
    let begin = Instant::now();
    server.signal(Signal::SIGKILL)?;
    let ends = load.wait(context, context.command_timeout() * 2)?;
    let took = begin.elapsed();
    context.check(
        FailureKind::Completion,
        format_args!("every client got an error ({ends:?})"),
        !ends.is_empty() && !ends.contains("stopped"),
    )?;
    server.wait(context.command_timeout())?;
    let mut control = Control::open().during("open the control device")?;
    let dead = block::wait_until(context.command_timeout(), || {
        control.get_dev_info(id).is_ok_and(|info| info.state() == DevState::Dead)
    });
    context.check(FailureKind::State, "the device is DEAD", dead)?;
    control.del_dev(id)?;
    check_no_nodes(context, id)?;
    Ok(format!("errors after {} ms: {}", took.as_millis(), Vec::from_iter(ends).join(" / ")))
}

fn delete_by_another(context: &mut Context) -> Result<String, Stop> {
    let mut server = small(context)?;
    let id = server.live.id.to_string();
    probe::run(context, &UBLK, &["del", &id])?;
    let status = server.wait(context.command_timeout() * 2)?;
    context.check(
        FailureKind::State,
        format_args!("the server ended by itself ({status})"),
        status.code().is_some(),
    )?;
    check_no_nodes(context, server.live.id)?;
    Ok(format!("the server ended with {status}"))
}
