//! Kernel bugs that the fuzzers found, as scenarios: known bugs of the series on which they were reproduced.

use std::sync::Arc;
use std::time::Duration;

use reports::event::FailureKind;
use ublk::ctrl::Command;
use ublk::uapi::{CtrlOp, Features};

use super::act::{Act, Stage};
use super::case;
use super::course::{PATIENCE, announce};
use super::lab::Lab;
use super::shot::{Base, Shot};
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{Fetcher, Rig, features};

/// Where a server that dies while its own DEL_DEV waits for a request was seen to stay.
pub(super) fn stop_bug(_: KernelRelease) -> Option<&'static str> {
    Some("docs/kernel-findings/stop-by-a-server-that-dies.md")
}

/// A server that has a client's request sends DEL_DEV itself, and is killed.
pub(super) fn stop_by_a_server_that_dies(context: &mut Context) -> Result<String, Stop> {
    let mut lab = Lab::new(context, PATIENCE / 2)?;
    let delete = Shot { base: Base::Control(CtrlOp::DelDev.nr()), tag: (0, 0), changes: vec![] };
    let acts = [
        Act::Device { features: 0, queues: 1, depth: 1, stage: Stage::Live },
        Act::Io { write: false, block: 0 },
        Act::Pause,
        Act::Shots { ring: 0, shots: vec![delete], races: vec![] },
    ];
    announce(context, &acts);
    let failure = case::run(&mut lab, &acts)?.failure;
    let told = failure.as_ref().map(case::Failure::to_text).unwrap_or_default();
    let what = format!("the server ends, and its device with it: {told}");
    context.check(FailureKind::State, what, failure.is_none())?;
    lab.close(context)?;
    Ok("the server is gone, and its device".into())
}

/// How often the ring ends while STOP_DEV goes on, and how long after its start. Of those that end 15 to 30 ms after it
/// every second one meets it, under emulation.
const MEETINGS: u32 = 40;
const FIRST: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_micros(800);

/// Where STOP_DEV and a ring that ends were seen to meet in one command.
pub(super) fn meeting_bug(kernel: KernelRelease) -> Option<&'static str> {
    let seen = kernel.at_least(7, 0);
    seen.then_some("docs/kernel-findings/stop-meets-a-ring-that-ends.md")
}

/// STOP_DEV takes back the command of a server while the server's ring, which was closed, cancels it. What the kernel has
/// to say of it is found by the look at its health.
pub(super) fn stop_beside_a_ring_that_ends(context: &mut Context) -> Result<String, Stop> {
    let offered = features().map_or(Features::empty(), Features::from_bits);
    for meeting in 0..MEETINGS {
        let mut rig = Rig::ready_with(context, 1, 1, offered & Features::NO_AUTO_PART_SCAN)?;
        let file = Arc::new(rig.open(context)?);
        let mut server = Fetcher::new(&rig, &file, 0)?;
        drop(file);
        server.fetch_all()?;
        let start = rig.start_begin()?;
        let started = rig.drive(context, &start, &mut server)?;
        context.check_result("START_DEV", started, 0)?;
        let (dev_id, timeout) = (rig.id, context.command_timeout());
        let stop = rig.control().submit(Command::StopDev { dev_id })?;
        std::thread::sleep(FIRST + LATER * meeting);
        drop(server);
        rig.control().wait(&stop, timeout)?;
        rig.delete(context)?;
    }
    Ok(format!("{MEETINGS} rings ended while STOP_DEV went on"))
}
