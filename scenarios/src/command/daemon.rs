//! A daemon belongs to nobody: it has let go of whoever started it, serves, and ends cleanly.

use std::fs;

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::ctrl::Control;

use super::ran::{Daemon, Scratch, run_to};
use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::process::check_no_nodes;
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "command/daemon-serves-and-stops",
        title: "a daemon has a session of its own and none of its caller's streams; SIGTERM ends it cleanly",
        covers: &["cli.daemon", "S7"],
        run: serves_and_stops,
        ..Scenario::SERVER
    },
    Scenario {
        id: "command/daemon-ends-with-its-device",
        title: "a daemon whose device is deleted ends by itself and says why in its log",
        covers: &["cli.daemon", "S7"],
        run: ends_with_its_device,
        ..Scenario::SERVER
    },
];

fn serves_and_stops(context: &mut Context) -> Result<String, Stop> {
    let (log, pidfile) = (Scratch::new("log"), Scratch::new("pid"));
    let arguments = ["ram", "--size", "8M", "--log", &log.text(), "--pidfile", &pidfile.text()];
    let daemon = Daemon::start(context, &arguments)?;
    check_detached(context, &daemon, &log)?;
    let kept = fs::read_to_string(&pidfile.0).during("read the pid file")?;
    context.check_eq(
        FailureKind::State,
        "the pid file",
        &kept,
        &format!("{}\n", daemon.live.pid),
    )?;
    let mut control = Control::open().during("open the control device")?;
    let info = control.get_dev_info(daemon.live.id)?;
    context.check_eq(FailureKind::State, "ublksrv_pid", &info.ublksrv_pid, &daemon.live.pid)?;
    drop(control);
    check_serves(context, &daemon)?;
    daemon.signal(Signal::SIGTERM)?;
    let took = daemon.check_ended(context)?;
    check_no_nodes(context, daemon.live.id)?;
    context.check(FailureKind::Leak, "the pid file is gone", !pidfile.0.exists())?;
    let said = fs::read_to_string(&log.0).during("read the log")?;
    context.evidence("log", &said);
    let stopped: serde_json::Value =
        serde_json::from_str(said.lines().last().unwrap_or_default()).during("read the log")?;
    context.check_eq(
        FailureKind::State,
        "the last word of the log",
        &(stopped["event"].as_str(), stopped["reason"].as_str()),
        &(Some("stopped"), Some("signal")),
    )?;
    Ok(format!("served in a session of its own, stopped in {} ms", took.as_millis()))
}

/// Nothing ties the daemon to who started it.
fn check_detached(context: &mut Context, daemon: &Daemon, log: &Scratch) -> Result<(), Stop> {
    let pid = daemon.pid();
    let session = nix::unistd::getsid(Some(pid)).during("ask for the daemon's session")?;
    context.check_eq(FailureKind::State, "the daemon's session", &session, &pid)?;
    let link = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_link(&path).during(format_args!("read {path}"))
    };
    context.check_eq(FailureKind::State, "its folder", &link("cwd")?, &"/".into())?;
    context.check_eq(FailureKind::State, "its input", &link("fd/0")?, &"/dev/null".into())?;
    for stream in ["fd/1", "fd/2"] {
        let what = format!("its {stream}");
        context.check_eq(FailureKind::State, what, &link(stream)?, &log.0)?;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).during("read its name")?;
    context.check_eq(FailureKind::State, "its name", &name.trim(), &"ublk")
}

fn check_serves(context: &mut Context, daemon: &Daemon) -> Result<(), Stop> {
    let device = BlockDevice::open(&daemon.live.block_device, context.command_timeout())?;
    let (mut wrote, mut read) = (AlignedBuffer::zeroed(64 << 10), AlignedBuffer::zeroed(64 << 10));
    fill(&mut wrote, 128, 1, context.seed);
    device.write_at(64 << 10, &wrote)?;
    device.read_at(64 << 10, &mut read)?;
    let difference = first_difference(128, &read, &wrote);
    let what = format!("what was written is read ({difference:?})");
    context.check(FailureKind::DataMismatch, what, *wrote == *read)
}

fn ends_with_its_device(context: &mut Context) -> Result<String, Stop> {
    let log = Scratch::new("log");
    let daemon = Daemon::start(context, &["null", "--size", "1M", "--log", &log.text()])?;
    run_to(context, 0, &["del", &daemon.id()])?;
    daemon.check_ended(context)?;
    check_no_nodes(context, daemon.live.id)?;
    let said = fs::read_to_string(&log.0).during("read the log")?;
    context.check(
        FailureKind::State,
        format_args!("the log says that somebody stopped the device: {said}"),
        said.contains("\"reason\":\"device-stopped\""),
    )?;
    Ok("deleted by another process, ended by itself".into())
}
