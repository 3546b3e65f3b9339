//! Requests that are with the server, or wait for it, when something else happens to the device.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::{DevState, Features};

use super::batch::{batch_device, drive};
use super::buffers::{AT, client, finish};
use super::control::{live_with, wait_for};
use crate::block::{AlignedBuffer, BlockDevice, nodes, wait_until};
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{BatchHand, offered};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/quiesce-waits-for-a-free-tag",
        title: "QUIESCE_DEV of a queue whose every tag has a request waits as long as it was told, and says EBUSY",
        covers: &["qsc.busy"],
        budget: BudgetClass::Normal,
        known_bug: quiesce_bug,
        run: quiesce_of_a_full_queue,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/batch-server-leaves-requests-behind",
        title: "requests that no FETCH_IO_CMDS has taken fail with EIO when the batch server closes the device",
        covers: &["rq.server.died", "UBLK_F_BATCH_IO"],
        budget: BudgetClass::Normal,
        run: left_behind,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/request-without-a-ring",
        title: "with the ring gone and the char device still open, a request fails with EIO and waits for nobody",
        covers: &["rq.canceling"],
        budget: BudgetClass::Normal,
        run: without_a_ring,
        ..Scenario::DRIVER
    },
];

/// A thread that reads: what its read came to, where it could be made.
type Reader<T> = JoinHandle<Result<io::Result<T>, Stop>>;

/// Where it is written down that QUIESCE_DEV counts no request as being with the server.
fn quiesce_bug(kernel: KernelRelease) -> Option<&'static str> {
    kernel.at_least(6, 16).then_some("docs/kernel-findings/quiesce-does-not-wait.md")
}

fn quiesce_of_a_full_queue(context: &mut Context) -> Result<String, Stop> {
    const QUIESCABLE: Features = Features::QUIESCE.union(Features::USER_RECOVERY);
    const TIMEOUT_MS: u32 = 1000;
    offered(QUIESCABLE)?;
    let (mut rig, file, mut fetcher) = live_with(context, QUIESCABLE, 1, |_| {})?;
    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    let (id, begin) = (rig.id, Instant::now());
    let answer = rig.control().quiesce_dev(id, TIMEOUT_MS);
    let waited_ms = begin.elapsed().as_millis();
    let errno = answer.err().and_then(|error| error.errno()).unwrap_or(0);
    context.step(format_args!("QUIESCE_DEV: errno {errno} after {waited_ms} ms"));
    // The request is answered first, whatever was said, so that nobody waits for it any more.
    fetcher.answer(tag)?;
    let read = finish(context, &mut fetcher, reader)?;
    context.check(
        FailureKind::Operation,
        format_args!("the read: {:?}", read.is_ok()),
        read.is_ok(),
    )?;
    drop(fetcher);
    drop(file);
    wait_for(context, &mut rig, DevState::Quiesced)?;
    rig.delete(context)?;
    context.check_result("QUIESCE_DEV without a free tag", -errno, -(Errno::EBUSY as i32))?;
    context.check(
        FailureKind::Completion,
        format_args!("it waits {TIMEOUT_MS} ms ({waited_ms})"),
        waited_ms >= u128::from(TIMEOUT_MS),
    )?;
    Ok(format!("EBUSY after {waited_ms} ms"))
}

/// A server that has fetched, served the start, and fetches no more.
fn serve_the_start(
    context: &mut Context,
    rig: &mut crate::rig::Rig,
    hand: &mut BatchHand,
) -> Result<(), Stop> {
    let prepared = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS of every tag", prepared, 0)?;
    let pending = rig.start_begin()?;
    hand.fetch()?;
    drive(context, rig, hand, &pending)?;
    while hand.serve_for(context.quiet())? > 0 {}
    Ok(())
}

fn left_behind(context: &mut Context) -> Result<String, Stop> {
    let (mut rig, file, mut hand) = batch_device(context, Features::empty())?;
    serve_the_start(context, &mut rig, &mut hand)?;
    // The hand provides no buffer anew while it is not asked to serve: what comes now waits in the driver.
    let clients: Vec<_> = (0..4).map(|_| client(context, &rig, None)).collect();
    std::thread::sleep(context.quiet());
    let waiting = clients.iter().filter(|client| !client.is_finished()).count();
    context.check_eq(FailureKind::Completion, "readers that wait", &waiting, &clients.len())?;
    drop(hand);
    drop(Arc::into_inner(file));
    let count = clients.len();
    let failed = fail(context, "a read that nobody fetched", clients)?;
    context.check_eq(FailureKind::Completion, "reads that fail", &failed, &count)?;
    rig.stop()?;
    std::thread::sleep(Duration::from_millis(1));
    rig.delete(context)?;
    Ok(format!("{failed} reads, EIO each"))
}

/// Waits for readers, each of which has to end with EIO; how many did. One that came when the disk was gone already (6.12 removes
/// it when a ring goes) is at its end instead, for the disk has no bytes then.
fn fail<T>(context: &mut Context, what: &str, readers: Vec<Reader<T>>) -> Result<usize, Stop> {
    let ended =
        wait_until(context.command_timeout(), || readers.iter().all(JoinHandle::is_finished));
    context.check(FailureKind::Completion, "every reader gets its answer", ended)?;
    let mut failed = 0;
    for reader in readers {
        let read = reader.join().map_err(|_| Stop::error("a reader panicked"))??;
        let error = read.err();
        if error.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            continue;
        }
        let errno = error.and_then(|error| error.raw_os_error()).unwrap_or(0);
        context.check_result(what, -errno, -(Errno::EIO as i32))?;
        failed += 1;
    }
    context.check(FailureKind::Completion, format_args!("{what} fails"), failed > 0)?;
    Ok(failed)
}

fn without_a_ring(context: &mut Context) -> Result<String, Stop> {
    let timeout = context.command_timeout();
    let (mut rig, file, fetcher) = live_with(context, Features::empty(), 4, |_| {})?;
    let device = Arc::new(BlockDevice::open(&nodes(rig.id).1, timeout)?);
    drop(fetcher);
    // A ring goes some time after its last descriptor; a read before that is given to a command that nobody will look at.
    let mut reads: Vec<Reader<()>> = Vec::new();
    let answered = wait_until(timeout, || {
        let device = Arc::clone(&device);
        reads.push(std::thread::spawn(move || {
            Ok(device.read_at(AT, &mut AlignedBuffer::zeroed(4096)))
        }));
        std::thread::sleep(context.quiet());
        reads.iter().any(JoinHandle::is_finished)
    });
    let what = "a read ends while the char device is open";
    context.check(FailureKind::Completion, what, answered)?;
    drop(Arc::into_inner(file));
    let count = fail(context, "a read without a ring", reads)?;
    drop(device);
    rig.stop()?;
    rig.delete(context)?;
    Ok(format!("{count} reads, EIO each"))
}
