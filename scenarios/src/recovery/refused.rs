//! Takeovers that must not work, and those that fail half way: the device is none the worse for it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc::{EBUSY, EINVAL, ENODEV};
use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::ctrl::Control;
use ublk::uapi::{DevState, Features};

use super::kit::{self, Backing, Ran, SIZE_BYTES};
use super::writers::Writers;
use crate::block::BlockDevice;
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::oracle::Reference;
use crate::process::{ServerProcess, UBLK};
use crate::rig;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "recovery/refused-while-the-server-lives",
        title: "a takeover from a live server is refused with EBUSY in bounded time, and the server serves on",
        covers: &["srec.open", "srec.norecovery", "srec.state", "ctl.nodev"],
        run: while_alive,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/wrong-target-is-refused",
        title: "a target of another size or with less than was promised is refused, and the device waits for the right one",
        covers: &["srec.open"],
        run: wrong_target,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/successor-dies-while-fetching",
        title: "a successor that dies after a whole queue of fetches leaves a device that the next one recovers",
        covers: &["cqe.abort.ring", "erec.intr"],
        known_bug: dead_successor_bug,
        run: |context| successor_dies(context, 16),
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/successor-dies-in-mid-queue",
        title: "a successor that dies after some tags of a queue leaves a device that the next one recovers",
        covers: &["cqe.abort.ring", "erec.intr"],
        known_bug: dead_successor_bug,
        run: |context| successor_dies(context, 5),
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/two-successors",
        title: "of two successors at the same time one gets the device and the other an error",
        covers: &["chopen.busy", "srec.open"],
        run: two_successors,
        ..Scenario::SERVER
    },
];

/// What a command may take beyond the time it was given to wait.
const MARGIN: Duration = Duration::from_secs(8);

fn while_alive(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::USER_RECOVERY)?;
    let backing = Backing::new("alive")?;
    let server = backing.serve(context, "plain", &[])?;
    let id = server.live.id;
    let writers = Writers::start(context, &server.live.block_device)?;
    let mut control = Control::open().during("open the control device")?;
    let answer = control.start_user_recovery(id).err().and_then(|error| error.errno());
    context.check_eq(FailureKind::Errno, "START_USER_RECOVERY", &answer, &Some(EBUSY))?;
    let number = id.to_string();
    let file = ["file", "--path", backing.path()];
    let ran = recover(context, &[&[number.as_str(), "--wait", "0.5"], &file[..]].concat())?;
    let pid = format!("process {}", server.pid());
    let within = Duration::from_millis(500) + MARGIN;
    ran.check_refused(context, "a takeover", &["still has a server", &pid], within)?;
    let took = ran.took;
    writers.check_progress(context, "after the refusal")?;
    let reference = Reference::zeros("alive", SIZE_BYTES)?;
    let errors = writers.finish(context, &reference)?;
    context.check_eq(FailureKind::Errno, "errors that users saw", &errors.len(), &0)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    reference.check_device(context, &device, "after the refusal")?;
    drop(device);
    server.stop(context)?;
    // Nor is there anything to recover of these.
    let within = context.command_timeout();
    let ran = recover(context, &[&[number.as_str()], &file[..]].concat())?;
    ran.check_refused(context, "a takeover of no device", &["ENODEV"], within)?;
    let answer = control.start_user_recovery(id).err().and_then(|error| error.errno());
    context.check_eq(FailureKind::Errno, "START_USER_RECOVERY", &answer, &Some(ENODEV))?;
    without_recovery(context, &mut control, within)?;
    Ok(format!("EBUSY, and the command gave up after {took:?}"))
}

fn without_recovery(
    context: &mut Context,
    control: &mut Control,
    within: Duration,
) -> Result<(), Stop> {
    let server = ServerProcess::start(context, &["ram", "--size", "1M"])?;
    let (id, number) = (server.live.id, server.live.id.to_string());
    let answer = control.start_user_recovery(id).err().and_then(|error| error.errno());
    context.check_eq(FailureKind::Errno, "START_USER_RECOVERY", &answer, &Some(EINVAL))?;
    let ran = recover(context, &[&number, "ram", "--size", "1M"])?;
    ran.check_refused(context, "without recovery", &["added without recovery"], within)?;
    let ran = recover(context, &[&number, "ram", "--size", "1M", "--queues", "2"])?;
    ran.check_refused(context, "with queues", &["has its --queues already"], within)?;
    server.stop(context)
}

fn wrong_target(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::USER_RECOVERY)?;
    let backing = Backing::new("wrong")?;
    let server = backing.serve(context, "plain", &[])?;
    let (id, path) = (server.live.id, server.live.block_device.clone());
    let writers = Writers::start(context, &path)?;
    server.signal(Signal::SIGKILL)?;
    server.give_up(context.command_timeout())?;
    kit::check_state(context, id, DevState::Quiesced)?;
    let number = id.to_string();
    let within = MARGIN;
    let ran = recover(context, &[&number, "ram", "--size", "4M"])?;
    ran.check_refused(context, "another size", &["8388608", "4194304"], within)?;
    let ran = recover(context, &[&number, "ram", "--size", "8M"])?;
    ran.check_refused(context, "a target without a flush", &["flush"], within)?;
    kit::check_state(context, id, DevState::Quiesced)?;
    let server = backing.recover(context, id, &[], &[])?;
    writers.check_progress(context, "served by the right target")?;
    let reference = Reference::zeros("wrong", SIZE_BYTES)?;
    writers.finish(context, &reference)?;
    let device = BlockDevice::open(&path, context.command_timeout())?;
    reference.check_device(context, &device, "after two refusals")?;
    drop(device);
    server.stop(context)?;
    Ok("both are named, the device waited".into())
}

fn successor_dies(context: &mut Context, tags: u32) -> Result<String, Stop> {
    // Drivers with one daemon for each queue forget neither a half-fetched queue nor its dead daemon: the
    // next START_USER_RECOVERY may dereference NULL (docs/kernel-facts.md).
    rig::offered(Features::USER_RECOVERY | Features::PER_IO_DAEMON)?;
    let backing = Backing::new("successor")?;
    let server = backing.serve(context, "reissue", &[])?;
    let (id, path) = (server.live.id, server.live.block_device.clone());
    let writers = Writers::start(context, &path)?;
    server.signal(Signal::SIGKILL)?;
    server.give_up(context.command_timeout())?;
    for _ in 0..2 {
        kit::check_state(context, id, DevState::Quiesced)?;
        half_way(context, id, tags)?;
    }
    let server = backing.recover(context, id, &[], &[])?;
    writers.check_progress(context, "served by the successor that lived")?;
    let reference = Reference::zeros("successor", SIZE_BYTES)?;
    let errors = writers.finish(context, &reference)?;
    context.check_eq(FailureKind::Errno, "errors that users saw", &errors.len(), &0)?;
    let device = BlockDevice::open(&path, context.command_timeout())?;
    reference.check_device(context, &device, "after three successors")?;
    drop(device);
    server.stop(context)?;
    Ok("two died, the third serves".into())
}

/// Where it is written down that this kernel never lets go of a successor that died before the device was live again.
fn dead_successor_bug(kernel: KernelRelease) -> Option<&'static str> {
    let bug = kernel.at_least(6, 16) && !kernel.at_least(7, 0);
    bug.then_some("docs/kernel-facts.md, a successor that dies while it fetches")
}

/// A successor that fetches some tags and is killed.
fn half_way(context: &mut Context, id: u32, tags: u32) -> Result<(), Stop> {
    context.step(format_args!("a successor that dies after {tags} tags"));
    let mut child = Command::new("/proc/self/exe")
        .args(["successor", &id.to_string(), &tags.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .during("start a successor")?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).during("listen to the successor")?;
    }
    // Its tags are armed, and requests are perhaps on their way to it.
    sleep(context.quiet());
    child.kill().during("kill the successor")?;
    child.wait().during("wait for the successor")?;
    let what = format!("the successor fetches {tags} tags (it said {said:?})");
    context.check(FailureKind::Operation, what, said.trim() == "fetched")
}

fn two_successors(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::USER_RECOVERY)?;
    let backing = Backing::new("two")?;
    let server = backing.serve(context, "reissue", &[])?;
    let (id, path) = (server.live.id, server.live.block_device.clone());
    server.signal(Signal::SIGKILL)?;
    server.give_up(context.command_timeout())?;
    kit::check_state(context, id, DevState::Quiesced)?;
    let begin = Instant::now();
    let other = spawn(&[&id.to_string(), "--wait", "1", "file", "--path", backing.path()])?;
    let one = backing.recover(context, id, &["--wait", "1"], &[]);
    let within = Duration::from_secs(1) + MARGIN;
    let (winner, loser) = match one {
        Ok(server) => {
            let output = other.wait_with_output().during("wait for the loser")?;
            (Some(server), Ran::of(&output, begin))
        }
        Err(stop) => {
            let ran = Ran { code: Some(1), said: stop.to_string(), took: begin.elapsed() };
            let served = block_round(context, &path);
            let deleted = kit::ublk(context, &["del", &id.to_string()])?;
            deleted.check_done(context, "ublk del")?;
            let output = other.wait_with_output().during("wait for the winner")?;
            served?;
            let what = format!("the other one serves ({output:?})");
            context.check(FailureKind::Operation, what, output.status.success())?;
            (None, ran)
        }
    };
    context.check(
        FailureKind::Operation,
        format_args!("the loser fails with a reason within {within:?}: {loser:?}"),
        loser.code == Some(1) && loser.took < within && !loser.said.is_empty(),
    )?;
    if let Some(server) = winner {
        block_round(context, &path)?;
        server.stop(context)?;
    }
    crate::process::check_no_nodes(context, id)?;
    Ok(format!("the loser said: {}", loser.said))
}

fn block_round(context: &mut Context, path: &std::path::Path) -> Result<(), Stop> {
    let writers = Writers::start(context, path)?;
    let reference = Reference::zeros("round", SIZE_BYTES)?;
    writers.finish(context, &reference)?;
    let device = BlockDevice::open(path, context.command_timeout())?;
    reference.check_device(context, &device, "served by the winner").map(drop)
}

fn spawn(arguments: &[&str]) -> Result<Child, Stop> {
    let mut command = Command::new(UBLK.as_str());
    command.arg("recover").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().during("start ublk recover")
}

fn recover(context: &mut Context, arguments: &[&str]) -> Result<Ran, Stop> {
    kit::ublk(context, &[&["recover"], arguments].concat())
}
