//! Requests that come in one batch while nobody serves: the block layer hands them to the driver as a list, by another way
//! than one at a time.

use std::sync::Arc;

use nix::sys::signal::Signal;
use reports::event::FailureKind;
use ublk::raw::{Addr, RawRing, RawSqe, RingShape};
use ublk::uapi::{DevState, Features};

use super::kit::{self, Backing};
use crate::block::BlockDevice;
use crate::context::{Context, During, Stop};
use crate::rig;
use crate::rig::arena;
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "recovery/a-list-of-reads-waits-for-a-server",
    title: "reads that come as one list to a device without a server wait, and the next server answers each of them",
    covers: &["rq.canceling.plug"],
    run: plugged,
    ..Scenario::SERVER
}];

/// More than io_uring submits without a plug, and less than the queue has tags.
const READS: usize = 8;
const LEN: usize = 4096;

/// Where read `number` reads.
fn place(number: usize) -> u64 {
    number as u64 * (64 << 10)
}

fn plugged(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::USER_RECOVERY)?;
    let backing = Backing::new("plugged")?;
    let server = backing.serve(context, "plain", &[])?;
    let (id, path) = (server.live.id, server.live.block_device.clone());
    let device = BlockDevice::open(&path, context.command_timeout())?;
    let mut written = Vec::new();
    for number in 0..READS {
        let mut buffer = crate::block::AlignedBuffer::zeroed(LEN);
        fill(&mut buffer, place(number) / 512, 1, context.seed);
        device.write_at(place(number), &buffer)?;
        written.push(buffer);
    }
    server.signal(Signal::SIGKILL)?;
    server.give_up(context.command_timeout())?;
    kit::check_state(context, id, DevState::Quiesced)?;

    let memory = arena(READS * LEN)?;
    let mut ring = RawRing::new(RingShape::default()).during("make a ring")?;
    ring.register_sparse_buffers(1).during("make a buffer table")?;
    ring.register_arena(0, &memory).during("register memory")?;
    let file = Arc::new(device.file().try_clone().during("duplicate the descriptor")?);
    for number in 0..READS {
        let read = RawSqe::read_fixed(&file, place(number), LEN as u32)
            .fixed_addr(Addr::Arena(&memory, number * LEN))
            .user_data(number as u64);
        ring.push(&read)?;
    }
    ring.submit()?;
    let early = ring.wait(1, context.quiet())?;
    context.check_eq(
        FailureKind::Completion,
        "reads that end without a server",
        &early.len(),
        &0,
    )?;

    let next = backing.recover(context, id, &[], &[])?;
    let mut ended = Vec::new();
    while ended.len() < READS {
        let more = ring.wait(1, context.command_timeout())?;
        context.check(
            FailureKind::Completion,
            format_args!("a read ends after {} others have", ended.len()),
            !more.is_empty(),
        )?;
        ended.extend(more);
    }
    for completion in ended {
        let number = usize::try_from(completion.user_data).unwrap_or(READS);
        let what = format!("read {number} of the list");
        context.check_result(&what, completion.res, LEN as i32)?;
        let mut read = vec![0; LEN];
        memory.read(number * LEN, &mut read);
        let told = first_difference(place(number) / 512, &read, &written[number]);
        let what = format!("{what} has what was written: {told:?}");
        context.check(FailureKind::DataMismatch, what, told.is_none())?;
    }
    drop((ring, file, device));
    next.stop(context)?;
    Ok(format!("{READS} reads in one list"))
}
