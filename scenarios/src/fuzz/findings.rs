//! Kernel bugs that the fuzzers found, as scenarios: known bugs of the series on which they were reproduced.

use reports::event::FailureKind;
use ublk::uapi::CtrlOp;

use super::act::{Act, Stage};
use super::case;
use super::course::{PATIENCE, announce};
use super::lab::Lab;
use super::shot::{Base, Shot};
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;

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
