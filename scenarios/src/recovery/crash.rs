//! The server is killed under load and another takes over: with each recovery, and twice in a row.

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::uapi::{DevState, Features};

use super::kit::{self, Backing, SIZE_BYTES};
use super::writers::Writers;
use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::oracle::Reference;
use crate::rig;
use crate::scenario::Scenario;
use crate::signature;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "recovery/killed-plain",
        title: "after SIGKILL, requests the server had fail with EIO, new ones wait for the next server, and all data is there",
        covers: &["rq.server.died", "chopen.busy", "S8"],
        run: |context| killed(context, &PLAIN, 1, &[], &[]),
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/killed-reissue",
        title: "after SIGKILL with REISSUE no request fails, and all data is there",
        covers: &["rq.taskexit", "S8"],
        run: |context| killed(context, &REISSUE, 1, &[], &[]),
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/killed-fail-io",
        title: "after SIGKILL with FAIL_IO requests fail with EREMOTEIO until the next server is there, and all data is there",
        covers: &["rq.failio", "rq.server.died"],
        run: |context| killed(context, &FAIL_IO, 1, &[], &[]),
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/killed-again-and-again",
        title: "a device is recovered from its second and third server, too",
        covers: &["rq.taskexit", "S8"],
        run: |context| killed(context, &REISSUE, 3, &[], &[]),
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/killed-in-batches",
        title: "a device served in batches is taken over from a killed server, with more threads to a queue and with pages \
                registered by the kernel, and no request fails",
        covers: &["rq.taskexit", "UBLK_F_BATCH_IO", "S8"],
        known_bug: KernelRelease::page_registration_bug,
        run: in_batches,
        ..Scenario::SERVER
    },
];

/// What a recovery promises to the device's users.
struct Promise {
    name: &'static str,
    feature: Features,
    state: DevState,
    /// Errors that users may see at all.
    errors: &'static [i32],
    /// The error that they must see while nobody serves.
    while_away: Option<i32>,
}

const PLAIN: Promise = Promise {
    name: "plain",
    feature: Features::USER_RECOVERY,
    state: DevState::Quiesced,
    errors: &[nix::libc::EIO],
    while_away: None,
};
const REISSUE: Promise = Promise {
    name: "reissue",
    feature: Features::USER_RECOVERY_REISSUE,
    state: DevState::Quiesced,
    errors: &[],
    while_away: None,
};
const FAIL_IO: Promise = Promise {
    name: "fail-io",
    feature: Features::USER_RECOVERY_FAIL_IO,
    state: DevState::FailIo,
    errors: &[nix::libc::EIO, nix::libc::EREMOTEIO],
    while_away: Some(nix::libc::EREMOTEIO),
};

fn in_batches(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::BATCH_IO)?;
    let copied = killed(context, &REISSUE, 1, &["--batch"], &["--threads", "4"])?;
    let auto = &["--batch", "--mode", "auto-zero-copy"];
    let registered = killed(context, &REISSUE, 1, auto, &[])?;
    Ok(format!("copied: {copied}; registered: {registered}"))
}

/// Kills so many servers, the first with these options, and lets the next, with those, take over.
fn killed(
    context: &mut Context,
    promise: &Promise,
    times: u32,
    first: &[&str],
    next: &[&str],
) -> Result<String, Stop> {
    rig::offered(promise.feature)?;
    let backing = Backing::new(promise.name)?;
    let mut server = backing.serve(context, promise.name, first)?;
    let (id, path) = (server.live.id, server.live.block_device.clone());
    let reference = Reference::zeros(promise.name, SIZE_BYTES)?;
    let device = BlockDevice::open(&path, context.command_timeout())?;
    write_rest(&device, &reference, context.seed)?;
    let before = reference.check_device(context, &device, "before the first server dies")?;
    let writers = Writers::start(context, &path)?;
    for round in 1..=times {
        context.step(format_args!("kill server {round}"));
        server.signal(Signal::SIGKILL)?;
        server.give_up(context.command_timeout())?;
        kit::check_state(context, id, promise.state)?;
        writers.check_held(context, promise.while_away.is_some())?;
        server = backing.recover(context, id, &[], next)?;
        kit::check_state(context, id, DevState::Live)?;
        let pid = kit::info(id)?.map(|info| info.ublksrv_pid);
        let own = Some(server.pid().as_raw());
        context.check_eq(FailureKind::State, "pid of the new server", &pid, &own)?;
        writers.check_progress(context, "served by the next server")?;
    }
    let acknowledged = writers.acknowledged();
    let errors = writers.finish(context, &reference)?;
    let allowed = errors.keys().all(|errno| promise.errors.contains(errno));
    let what = format!("users see no other errors than {:?} ({errors:?})", promise.errors);
    context.check(FailureKind::Errno, what, allowed)?;
    if let Some(errno) = promise.while_away {
        let what = format!("users see errno {errno} ({errors:?})");
        context.check(FailureKind::Errno, what, errors.contains_key(&errno))?;
    }
    let after = reference.check_device(context, &device, "after the last recovery")?;
    let served = server.counters()?;
    context.check(FailureKind::State, "the new server has served writes", served.writes > 0)?;
    check_file(context, &backing, &reference)?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{acknowledged} writes acknowledged, errors {errors:?}, MD5 {before} then {after}"))
}

/// Fills what the writers leave alone, in large requests.
fn write_rest(device: &BlockDevice, reference: &Reference, seed: u64) -> Result<(), Stop> {
    let mut buffer = AlignedBuffer::zeroed(256 << 10);
    for offset in (SIZE_BYTES / 2..SIZE_BYTES).step_by(buffer.len()) {
        signature::fill(&mut buffer, offset / signature::SECTOR_BYTES as u64, 0, seed);
        device.write_at(offset, &buffer).during("write")?;
        reference.write(offset, &buffer)?;
    }
    device.flush().during("flush")
}

/// The file behind the device, not through any server.
fn check_file(context: &mut Context, backing: &Backing, reference: &Reference) -> Result<(), Stop> {
    let observed = std::fs::read(backing.path()).during("read the backing file")?;
    let mut expected = vec![0; observed.len()];
    reference.read(0, &mut expected)?;
    let told = signature::first_difference(0, &observed, &expected);
    let what = format!("the file holds what was acknowledged ({told:?})");
    context.check(FailureKind::DataMismatch, what, told.is_none())
}
