//! Kernel bugs that the model found, as scenarios: known bugs of the series on which they were reproduced.

use reports::event::FailureKind;

use super::case;
use super::lab::{Lab, Trouble};
use super::sequences::{PATIENCE, announce, empty};
use super::sort::{Recovery, Sort};
use super::step::Step;
use super::world::World;
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;

/// The steps to device 0, which server 0 serves.
fn live(sort: Sort) -> Vec<Step> {
    let (dev, server) = (0, 0);
    vec![
        Step::Add { dev, sort },
        Step::SetParams { dev, valid: true },
        Step::Open { dev, server },
        Step::FetchAll { dev, spread: false },
        Step::Start { dev, server },
    ]
}

/// Does the steps, and takes nothing down; what the first that differs was to do and what it did.
fn walk(lab: &mut Lab, state: &mut World, steps: &[Step]) -> Result<Option<String>, Stop> {
    for step in steps {
        match lab.step(state, step) {
            Ok(()) => {}
            Err(Trouble::Broken(stop)) => return Err(stop),
            Err(Trouble::Differs { expected, observed }) => {
                return Ok(Some(format!("{step}: expected {expected}, observed {observed}")));
            }
        }
    }
    Ok(None)
}

/// Where QUIESCE_DEV of a device with a new server was seen to lead to a NULL dereference.
pub(super) fn quiesce_bug(kernel: KernelRelease) -> Option<&'static str> {
    // Every series that has QUIESCE_DEV.
    let seen = kernel.at_least(6, 16);
    seen.then_some("docs/kernel-findings/quiesce-takes-a-successors-tags.md")
}

/// Where a device that was stopped and started again was seen to lead to a NULL dereference: 7.3 ends the round also where
/// there is no disk.
pub(crate) fn started_again_bug(kernel: KernelRelease) -> Option<&'static str> {
    let seen = !kernel.at_least(7, 3);
    seen.then_some("docs/kernel-findings/start-after-stop-uses-dead-commands.md")
}

/// A device is stopped, its server leaves, and the next one starts it.
pub(super) fn started_again(context: &mut Context) -> Result<String, Stop> {
    let world = World { bold: true, ..empty(context, 1, 1)? };
    let mut lab = Lab::new(&world, PATIENCE)?;
    let (dev, server) = (0, 0);
    let up = [
        Step::Open { dev, server },
        Step::FetchAll { dev, spread: false },
        Step::Start { dev, server },
    ];
    let mut steps = live(Sort::plain(Recovery::None, false));
    steps.extend([Step::Stop { dev }, Step::KillServer { server }]);
    steps.extend(up);
    steps.extend([
        Step::OpenBlock { dev, client: 0 },
        Step::Read { dev, queue: 0 },
        Step::Answer { dev },
    ]);
    announce(context, &steps);
    let difference = case::run(context, &mut lab, &world, &steps)?;
    let told = difference.as_ref().map(case::Difference::to_text).unwrap_or_default();
    context.check(FailureKind::State, format!("it serves again {told}"), difference.is_none())?;
    Ok("stopped, left by its server, started by the next one, and read from".into())
}

/// Where FETCH_REQ of a tag that has a request was seen to be accepted.
pub(super) fn fetch_of_a_served_bug(kernel: KernelRelease) -> Option<&'static str> {
    let seen = kernel.at_least(7, 0);
    seen.then_some("docs/kernel-findings/fetch-of-a-served-tag-loses-the-request.md")
}

/// One of two queues of a device that is being taken over has all its tags fetched, and serves a read; its tags are fetched
/// once more.
pub(super) fn fetch_of_a_served(context: &mut Context) -> Result<String, Stop> {
    let world = World { bold: true, ..empty(context, 1, 1)? };
    if !world.profile.two_cpus {
        return Err(Stop::skip(
            "available parallelism",
            "two queues want two CPUs, and 6.12 or 7.0",
        ));
    }
    let mut lab = Lab::new(&world, PATIENCE)?;
    let (dev, server) = (0, 0);
    let fetch = |tag| Step::Fetch { dev, tag, thread: 0 };
    let mut steps = live(Sort::plain(Recovery::Plain, false).with_two_queues());
    steps.extend([
        Step::OpenBlock { dev, client: 0 },
        Step::KillServer { server },
        Step::StartRecovery { dev },
        Step::Open { dev, server },
        fetch(0),
        fetch(1),
        Step::Read { dev, queue: 0 },
        fetch(0),
        fetch(1),
        fetch(2),
        fetch(3),
        Step::EndRecovery { dev, server },
        Step::Answer { dev },
    ]);
    announce(context, &steps);
    let mut state = world.clone();
    // What has lost a request is not taken down: whoever tries waits for ever.
    let told = walk(&mut lab, &mut state, &steps)?.map(|told| format!(": {told}"));
    let told = told.unwrap_or_default();
    let what = format!("FETCH_REQ of a tag that has a request is refused{told}");
    context.check(FailureKind::State, what, told.is_empty())?;
    let cleaned = case::clean(&mut lab, &mut state, &mut Vec::new());
    context.check(FailureKind::State, "and the device goes", cleaned.is_ok())?;
    Ok("FETCH_REQ of a tag that has a request is refused, and the request is answered".into())
}

/// Where REG_BUF of a device that waits for its server was seen to keep everybody else away from it.
pub(super) fn registration_bug(kernel: KernelRelease) -> Option<&'static str> {
    // Every series that has REG_BUF.
    let seen = kernel.at_least(7, 1);
    seen.then_some("docs/kernel-findings/registration-waits-with-the-mutex.md")
}

/// A client reads from a device that has lost its server, memory is registered with it, and it is to be stopped.
pub(super) fn registration_while_a_read_waits(context: &mut Context) -> Result<String, Stop> {
    crate::rig::offered(ublk::uapi::Features::SHMEM_ZC)?;
    let world = World { bold: true, ..empty(context, 1, 1)? };
    let mut lab = Lab::new(&world, PATIENCE)?;
    let (dev, server) = (0, 0);
    let mut steps = live(Sort::plain(Recovery::Plain, false).with_shared_memory());
    steps.extend([
        Step::OpenBlock { dev, client: 0 },
        Step::KillServer { server },
        Step::Read { dev, queue: 0 },
    ]);
    announce(context, &steps);
    let mut state = world.clone();
    if let Some(told) = walk(&mut lab, &mut state, &steps)? {
        return context.check(FailureKind::State, told, false).map(|()| String::new());
    }
    let quiet = context.quiet();
    let registered = lab.ask(&Step::RegBuf { dev, page: 0 }, quiet)?;
    context.step(format_args!("REG_BUF of a page: {registered:?} within {quiet:?}"));
    let stopped = lab.ask(&Step::Stop { dev }, 2 * quiet)?;
    let what = format!("STOP_DEV is answered while REG_BUF waits for a read: {stopped:?}");
    if stopped.is_none() {
        // Closing the ring would wait for both, for ever.
        std::mem::forget(lab);
        return context.check(FailureKind::State, what, false).map(|()| String::new());
    }
    context.check(FailureKind::State, what, stopped == Some(0))?;
    lab.sweep(&world)?;
    Ok("the read fails, and both commands are answered".into())
}

/// A device whose next server has fetched is quiesced, and read from.
pub(super) fn quiesce_of_a_successor(context: &mut Context) -> Result<String, Stop> {
    crate::rig::offered(ublk::uapi::Features::QUIESCE)?;
    let world = World { bold: true, ..empty(context, 1, 1)? };
    let mut lab = Lab::new(&world, PATIENCE)?;
    let (dev, server) = (0, 0);
    let mut steps = live(Sort::plain(Recovery::Plain, true));
    steps.extend([
        Step::KillServer { server },
        Step::Open { dev, server },
        Step::FetchAll { dev, spread: false },
        Step::Quiesce { dev },
        Step::OpenBlock { dev, client: 0 },
        Step::Read { dev, queue: 0 },
    ]);
    announce(context, &steps);
    let difference = case::run(context, &mut lab, &world, &steps)?;
    let told = difference.as_ref().map(case::Difference::to_text).unwrap_or_default();
    let what = format!("the request is held back {told}");
    context.check(FailureKind::State, what, difference.is_none())?;
    Ok("the request waits for a server that can take it".into())
}
