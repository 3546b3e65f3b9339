//! TRY_STOP_DEV stops a disk that nobody has open, and bars opens while it does. It never takes the bar away again,
//! so a device that is started once more cannot be opened but by CAP_SYS_ADMIN: docs/kernel-findings/try-stop-bars-opens.md.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use reports::event::FailureKind;
use ublk::uapi::{DevState, Features};

use super::control::wait_for;
use crate::block::{BlockDevice, nodes};
use crate::context::{Context, During, Stop};
use crate::probe;
use crate::rig::{RawServer, Rig, offered};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "abi/try-stop-bars-opens-for-ever",
    title: "after TRY_STOP_DEV and another START_DEV nobody without CAP_SYS_ADMIN can open the disk: ENXIO",
    covers: &["bopen.enxio", "UBLK_F_SAFE_STOP_DEV"],
    // It starts a stopped device again, which series before 7.3 die of.
    known_bug: crate::model::started_again_bug,
    run: barred,
    ..Scenario::DRIVER
}];

const BUSYBOX: &str = "/bin/busybox";
const SOMEBODY: u32 = 1000;

/// Reads a block as somebody without privileges, to whom the node is open: whether it worked, and what was said.
fn read_as_somebody(path: &Path) -> Result<(bool, String), Stop> {
    let everybody = Mode::from_bits_truncate(0o666);
    let at = nix::fcntl::AT_FDCWD;
    fchmodat(at, path, everybody, FchmodatFlags::FollowSymlink).during("open the node to all")?;
    let mut command = Command::new(BUSYBOX);
    command.args(["dd", "of=/dev/null", "bs=4096", "count=1"]);
    command.arg(format!("if={}", path.display())).uid(SOMEBODY).gid(SOMEBODY);
    let output = command.output().during("run dd")?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn serve(context: &mut Context, rig: &mut Rig) -> Result<RawServer, Stop> {
    let mut server = RawServer::open(context, rig)?;
    server.serve(context, rig, 0)?;
    rig.start(context)?;
    Ok(server)
}

fn barred(context: &mut Context) -> Result<String, Stop> {
    offered(Features::SAFE_STOP_DEV)?;
    probe::program(BUSYBOX)?;
    let mut rig = Rig::ready(context, 1, 4)?;
    let (id, path) = (rig.id, nodes(rig.id).1);
    let server = serve(context, &mut rig)?;
    let (done, said) = read_as_somebody(&path)?;
    context.check(FailureKind::Operation, format_args!("somebody reads it: {said}"), done)?;
    // The look for partitions may have it open still.
    let stopped = crate::block::wait_until(context.command_timeout(), || {
        rig.control().try_stop_dev(id).is_ok()
    });
    context.check(FailureKind::Operation, "TRY_STOP_DEV of a disk nobody has open", stopped)?;
    server.end(context)?;
    wait_for(context, &mut rig, DevState::Dead)?;

    let server = serve(context, &mut rig)?;
    let (done, said) = read_as_somebody(&path)?;
    context.check(
        FailureKind::Errno,
        format_args!("somebody's open after another START_DEV is ENXIO: {said}"),
        !done && said.contains("No such device or address"),
    )?;
    // CAP_SYS_ADMIN is not asked, and the device works.
    drop(BlockDevice::open(&path, context.command_timeout())?);
    rig.check_round_trip(context)?;
    rig.tear_down(context, server)?;
    Ok(format!("started again, and only root opens it: {said}"))
}
