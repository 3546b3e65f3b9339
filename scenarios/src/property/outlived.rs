//! A server that dies after it has committed a request whose pages are still in a slot of its ring.

use std::process::{Command, Stdio};

use reports::event::FailureKind;
use ublk::uapi::{IoCmdOp, Op};

use super::hand::Hand;
use super::lifetime::AT;
use super::mode::Mode;
use crate::block::{nodes, wait_until};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::probe;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "property/death-with-committed-pages",
    title: "a request that was committed ends with its server, though a slot of the server's ring has its pages",
    covers: &["REGISTER_IO_BUF and the end of a ring"],
    known_bug: never_ends,
    run: outlived,
    ..Scenario::DRIVER
}];

const BUSYBOX: &str = "/bin/busybox";

/// Where request, slot and command were seen to wait for each other.
fn never_ends(kernel: KernelRelease) -> Option<&'static str> {
    let seen = kernel.at_least(6, 16);
    seen.then_some("docs/kernel-findings/committed-pages-and-a-dead-server.md")
}

fn outlived(context: &mut Context) -> Result<String, Stop> {
    probe::program(BUSYBOX)?;
    let mut hand = Hand::live(context, Mode::ZERO_COPY, 4, |_| {})?;
    // Another process, so that this one can end when the client cannot.
    let mut client = Command::new(BUSYBOX)
        .args(["dd", "of=/dev/null", "bs=4096", "skip=256", "count=1"])
        .arg(format!("if={}", nodes(hand.rig.id).1.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .during("start a client")?;
    let tag =
        hand.find(|request| request.op() == Some(Op::Read) && request.start_sector == AT / 512)?;
    let sqe = hand.slot_command(IoCmdOp::RegisterIoBuf, tag, 0);
    let registered = hand.result_of("REGISTER_IO_BUF", sqe)?;
    context.check_result("REGISTER_IO_BUF", registered, 0)?;
    let all = hand.request(tag).nr_sectors.cast_signed() * 512;
    hand.commit(tag, all)?;
    let mut rig = hand.close();
    let gone = || matches!(client.try_wait(), Ok(Some(_)));
    let ended = wait_until(context.quiet() * 4, gone);
    if !ended {
        // Neither could be stopped any more, and every attempt would hang as well.
        std::mem::forget(rig);
        let what = "the client of a request that was committed goes on when the server has died";
        return context.check(FailureKind::Completion, what, false).map(|()| String::new());
    }
    context.check(FailureKind::Completion, "the client goes on", true)?;
    rig.stop()?;
    rig.delete(context)?;
    Ok("the ring's end gave the pages back".into())
}
