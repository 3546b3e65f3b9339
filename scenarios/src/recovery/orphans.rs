//! Devices whose server is dead, and deletions that nobody waits for.

use std::fs::File;

use nix::libc::EEXIST;
use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::raw::CharFile;
use ublk::uapi::{DevInfo, DevState, Features};

use super::kit::{self, Backing};
use crate::block;
use crate::context::{Context, During, Stop};
use crate::process::{ServerProcess, check_no_nodes};
use crate::rig;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "recovery/orphans",
        title: "ublk del --orphans deletes what no server has or can have, and nothing else",
        covers: &["S8", "S14"],
        run: orphans,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/orphan-in-use",
        title: "an orphan whose disk is open does not hold up ublk del --orphans, and goes when it is closed",
        covers: &["del.wait.intr"],
        run: orphan_in_use,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/delete-without-waiting",
        title: "ublk del --no-wait returns at once; the id is taken until the last user is gone",
        covers: &["add.id.exists", "S14"],
        run: no_wait,
        ..Scenario::SERVER
    },
];

fn killed(context: &mut Context, server: ServerProcess) -> Result<u32, Stop> {
    let id = server.live.id;
    server.signal(Signal::SIGKILL)?;
    server.give_up(context.command_timeout())?;
    // On 6.12 the device is quiesced before the dead process's last hold on it is gone, and until then it has a server.
    let gone = CharFile::open_within(id, context.command_timeout());
    context.check(FailureKind::Leak, "nobody has the char device open", gone.is_ok())?;
    Ok(id)
}

fn exists(id: u32) -> Result<bool, Stop> {
    Ok(kit::info(id)?.is_some())
}

fn orphans(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::USER_RECOVERY)?;
    let live = ServerProcess::start(context, &["ram", "--size", "1M"])?;
    let backing = Backing::new("orphan")?;
    let waiting = backing.serve(context, "plain", &[])?;
    let dead = ServerProcess::start(context, &["ram", "--size", "1M"])?;
    // While all have servers, none is an orphan.
    let ran = kit::ublk(context, &["del", "--orphans"])?;
    ran.check_done(context, "without orphans")?;
    let ids = [live.live.id, waiting.live.id, dead.live.id];
    for id in ids {
        kit::check_state(context, id, DevState::Live)?;
    }
    let (waiting, dead) = (killed(context, waiting)?, killed(context, dead)?);
    kit::check_state(context, waiting, DevState::Quiesced)?;
    kit::check_state(context, dead, DevState::Dead)?;
    let ran = kit::ublk(context, &["del", "--orphans"])?;
    ran.check_done(context, "ublk del --orphans")?;
    let right = ran.said.contains(&format!("deleted {dead}"))
        && ran.said.contains(&format!("device {waiting} can be recovered and is kept"));
    context.check(FailureKind::State, format_args!("it says which: {}", ran.said), right)?;
    let left = [exists(live.live.id)?, exists(waiting)?, exists(dead)?];
    context.check_eq(FailureKind::State, "live, waiting, dead", &left, &[true, true, false])?;
    // To be looked at has done it no harm.
    let next = backing.recover(context, waiting, &[], &[])?;
    let waiting = killed(context, next)?;
    kit::check_state(context, waiting, DevState::Quiesced)?;
    // One with a server is kept even if it is named; one that waits goes then.
    let (first, second) = (live.live.id.to_string(), waiting.to_string());
    let ran = kit::ublk(context, &["del", "--orphans", &first, &second])?;
    ran.check_done(context, "ublk del --orphans ID")?;
    let left = [exists(live.live.id)?, exists(waiting)?];
    context.check_eq(FailureKind::State, "live, waiting", &left, &[true, false])?;
    let again = backing.serve(context, "reissue", &[])?;
    let again = killed(context, again)?;
    kit::check_state(context, again, DevState::Quiesced)?;
    let ran = kit::ublk(context, &["del", "--orphans", "--recoverable"])?;
    ran.check_done(context, "ublk del --orphans --recoverable")?;
    context.check_eq(FailureKind::State, "one that waited", &exists(again)?, &false)?;
    live.stop(context)?;
    Ok("dead ones go, waiting ones on demand, served ones never".into())
}

fn orphan_in_use(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::USER_RECOVERY)?;
    let backing = Backing::new("in-use")?;
    let server = backing.serve(context, "plain", &[])?;
    let disk = File::open(&server.live.block_device).during("open the disk")?;
    let id = killed(context, server)?;
    kit::check_state(context, id, DevState::Quiesced)?;
    let ran = kit::ublk(context, &["del", "--orphans", "--recoverable", "--timeout", "0.5"])?;
    let within = context.command_timeout();
    let words = ["DEL_DEV", "no answer", "open"];
    ran.check_refused(context, "waiting for a disk that is open", &words, within)?;
    let took = ran.took;
    drop(disk);
    let gone = block::wait_until(context.command_timeout(), || exists(id).is_ok_and(|is| !is));
    context.check(FailureKind::Leak, "the device goes when its disk is closed", gone)?;
    check_no_nodes(context, id)?;
    Ok(format!("the command gave up after {took:?}"))
}

fn no_wait(context: &mut Context) -> Result<String, Stop> {
    let mut server = ServerProcess::start(context, &["ram", "--size", "1M"])?;
    let id = server.live.id;
    let disk = File::open(&server.live.block_device).during("open the disk")?;
    let ran = kit::ublk(context, &["del", "--no-wait", &id.to_string()])?;
    ran.check_done(context, "ublk del --no-wait")?;
    context.check(FailureKind::State, "the id is still taken", exists(id)?)?;
    let mut control = Control::open().during("open the control device")?;
    let wanted = DevInfo { dev_id: id, ..DevInfo::new(1, 1, 4096, Features::empty()) };
    let answer = control.add_dev(&wanted).err().and_then(|error| error.errno());
    context.check_eq(FailureKind::Errno, "ADD_DEV of that id", &answer, &Some(EEXIST))?;
    drop(disk);
    let timeout = context.command_timeout();
    server.check_clean_end(context, timeout)?;
    let gone = block::wait_until(context.command_timeout(), || exists(id).is_ok_and(|is| !is));
    context.check(FailureKind::Leak, "the id is free when the disk is closed", gone)?;
    check_no_nodes(context, id)?;
    Ok(format!("returned after {:?}", ran.took))
}
