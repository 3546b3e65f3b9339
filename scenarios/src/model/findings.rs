//! Kernel bugs that the model found, as scenarios: known bugs of the series on which they were reproduced.

use reports::event::FailureKind;

use super::case;
use super::lab::Lab;
use super::sequences::{PATIENCE, announce, empty};
use super::step::{Recovery, Step};
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;

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
    let world = empty(context, 1, 1)?;
    let mut lab = Lab::new(&world, PATIENCE)?;
    lab.bold = true;
    let (dev, server) = (0, 0);
    let up = [Step::Open { dev, server }, Step::FetchAll { dev }, Step::Start { dev, server }];
    let mut steps = vec![
        Step::Add { dev, recovery: Recovery::None, quiesce: false },
        Step::SetParams { dev, valid: true },
    ];
    steps.extend(up);
    steps.extend([Step::Stop { dev }, Step::KillServer { server }]);
    steps.extend(up);
    steps.extend([Step::OpenBlock { dev }, Step::Read { dev }, Step::Answer { dev }]);
    announce(context, &steps);
    let difference = case::run(&mut lab, &world, &steps)?;
    let told = difference.as_ref().map(case::Difference::to_text).unwrap_or_default();
    context.check(FailureKind::State, format!("it serves again {told}"), difference.is_none())?;
    Ok("stopped, left by its server, started by the next one, and read from".into())
}

/// A device whose next server has fetched is quiesced, and read from.
pub(super) fn quiesce_of_a_successor(context: &mut Context) -> Result<String, Stop> {
    crate::rig::offered(ublk::uapi::Features::QUIESCE)?;
    let world = empty(context, 1, 1)?;
    let mut lab = Lab::new(&world, PATIENCE)?;
    lab.bold = true;
    let (dev, server) = (0, 0);
    let steps = [
        Step::Add { dev, recovery: Recovery::Plain, quiesce: true },
        Step::SetParams { dev, valid: true },
        Step::Open { dev, server },
        Step::FetchAll { dev },
        Step::Start { dev, server },
        Step::KillServer { server },
        Step::Open { dev, server },
        Step::FetchAll { dev },
        Step::Quiesce { dev },
        Step::OpenBlock { dev },
        Step::Read { dev },
    ];
    announce(context, &steps);
    let difference = case::run(&mut lab, &world, &steps)?;
    let told = difference.as_ref().map(case::Difference::to_text).unwrap_or_default();
    let what = format!("the request is held back {told}");
    context.check(FailureKind::State, what, difference.is_none())?;
    Ok("the request waits for a server that can take it".into())
}
