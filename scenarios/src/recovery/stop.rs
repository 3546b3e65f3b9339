//! `ublk stop`, with and without regard for who has the disk open.

use std::fs::File;

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::uapi::{DevState, Features};

use super::kit::{self, Backing};
use super::writers::Writers;
use crate::context::{Context, During, Stop};
use crate::oracle::Reference;
use crate::process::{ServerProcess, check_no_nodes};
use crate::rig;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "recovery/stop-unless-in-use",
        title: "ublk stop --safe refuses while somebody has the disk open, and stops it afterwards",
        covers: &["trystop.openers", "trystop.nodisk"],
        run: safe,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/stop-a-waiting-device",
        title: "ublk stop of a device that waits for a server fails its requests; nobody hangs and nobody can recover it",
        covers: &["rq.forceabort", "stop.never", "srec.state"],
        run: waiting,
        ..Scenario::SERVER
    },
];

fn safe(context: &mut Context) -> Result<String, Stop> {
    let mut server = ServerProcess::start(context, &["ram", "--size", "1M"])?;
    let id = server.live.id;
    let number = id.to_string();
    let within = context.command_timeout();
    if !rig::offers(Features::SAFE_STOP_DEV)? {
        let ran = kit::ublk(context, &["stop", "--safe", &number])?;
        ran.check_refused(context, "a kernel without it", &["TRY_STOP_DEV", "7.0"], within)?;
        kit::check_state(context, id, DevState::Live)?;
        server.stop(context)?;
        return Err(Stop::skip(
            format_args!("GET_FEATURES has {}", Features::SAFE_STOP_DEV),
            "it has not, and ublk stop --safe says so",
        ));
    }
    let disk = File::open(&server.live.block_device).during("open the disk")?;
    let ran = kit::ublk(context, &["stop", "--safe", &number])?;
    let words = [format!("somebody has /dev/ublkb{id} open")];
    ran.check_refused(context, "with an opener", &[&words[0]], within)?;
    kit::check_state(context, id, DevState::Live)?;
    drop(disk);
    kit::ublk(context, &["stop", "--safe", &number])?.check_done(context, "ublk stop --safe")?;
    server.check_clean_end(context, within)?;
    check_no_nodes(context, id)?;
    let ran = kit::ublk(context, &["stop", "--safe", &number])?;
    ran.check_refused(context, "no device", &["ENODEV"], within)?;
    Ok("refused while open, stopped afterwards".into())
}

fn waiting(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::USER_RECOVERY)?;
    let backing = Backing::new("waiting")?;
    let server = backing.serve(context, "reissue", &[])?;
    let (id, number) = (server.live.id, server.live.id.to_string());
    let writers = Writers::start(context, &server.live.block_device)?;
    server.signal(Signal::SIGKILL)?;
    server.give_up(context.command_timeout())?;
    kit::check_state(context, id, DevState::Quiesced)?;
    writers.check_held(context, false)?;
    kit::ublk(context, &["stop", &number])?.check_done(context, "ublk stop")?;
    kit::check_state(context, id, DevState::Dead)?;
    let reference = Reference::zeros("waiting", kit::SIZE_BYTES)?;
    let errors = writers.give_up(context, &reference)?;
    // A disk without a capacity has no space for a write. One that loses it while a write looks takes none of its bytes
    // and says no errno, which is counted as 0 (seen on 6.12).
    let allowed = [nix::libc::EIO, nix::libc::ENODEV, nix::libc::ENXIO, nix::libc::ENOSPC, 0];
    let only = errors.keys().all(|errno| allowed.contains(errno));
    let what = format!("every client gets an error ({errors:?})");
    context.check(FailureKind::Completion, what, !errors.is_empty() && only)?;
    let within = context.command_timeout();
    let ran = kit::ublk(context, &["recover", &number, "file", "--path", backing.path()])?;
    ran.check_refused(context, "a takeover of a stopped device", &["was stopped"], within)?;
    kit::ublk(context, &["del", &number])?.check_done(context, "ublk del")?;
    check_no_nodes(context, id)?;
    Ok(format!("errors: {errors:?}"))
}
