//! How long a request lives whose pages are registered: walks of register, move, commit and unregister in any order, and the
//! death of the server between them.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::raw::RawSqe;
use ublk::uapi::{IoCmdOp, Op};

use super::client::{Action, Client, Sent};
use super::hand::{Hand, OTHERS};
use super::life::{Answer, Life, Step, steps};
use super::mode::{Mode, Way};
use crate::block::wait_until;
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{EBUSY, EFAULT, EINVAL, EIO};
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

/// A scenario of one mode: its name, id, title.
macro_rules! of_mode {
    ($mode:ident, $id:literal, $title:literal) => {
        Scenario {
            id: $id,
            title: $title,
            covers: &["unregio.empty", "regio.owner.slot"],
            budget: BudgetClass::Normal,
            known_bug: KernelRelease::page_registration_bug,
            run: |context| lifetime(context, Mode::$mode),
            ..Scenario::DRIVER
        }
    };
}

pub(super) const SCENARIOS: &[Scenario] = &[
    of_mode!(
        ZERO_COPY,
        "property/lifetime-zero-copy",
        "a request ends when it is committed and no slot and no I/O has its pages, in whatever order that comes"
    ),
    of_mode!(
        AUTO,
        "property/lifetime-auto",
        "so does one whose pages the kernel registered; a commit takes them out of their slot"
    ),
    of_mode!(BATCH_ZERO_COPY, "property/lifetime-batch-zero-copy", "so does one of a batch device"),
    of_mode!(
        BATCH_AUTO,
        "property/lifetime-batch-auto",
        "so does one of a batch device that registers by itself"
    ),
];

pub(super) const AT: u64 = 1 << 20;
/// One page, which a pipe gives away whole.
const LEN: usize = 4096;
const WALKS: u64 = 40;

/// A request of a client, and what its server has done with it so far.
struct Walk {
    tag: u16,
    life: Life,
    /// The other ends of what flies, oldest first, with the number of the read.
    pipes: Vec<(u64, File)>,
    next_number: u64,
    generation: u64,
    /// What the pages hold.
    holds: Vec<u8>,
}

fn lifetime(context: &mut Context, mode: Mode) -> Result<String, Stop> {
    let mut hand = Hand::live(context, mode, 4, |_| {})?;
    if let Err(stop) = slots_are_free(&mut hand) {
        hand.end(context)?;
        return Err(stop);
    }
    let client = Client::open(context, &mut hand)?;
    let mut rng = context.rng(&format!("lifetime-{}", mode.name));
    let (mut taken, mut generation) = (0, 0);
    for _ in 0..WALKS {
        let sent = client.send(Action::Read, AT, LEN, &[]);
        let mut walk = begin(&mut hand, generation)?;
        let plan = steps(&mut rng, walk.life.clone());
        taken += plan.len();
        let walked = plan.iter().enumerate().try_for_each(|(number, step)| {
            let told = format!("{}: {:?} of {plan:?}", mode.name, (number, step));
            take(context, &mut hand, &mut walk, *step, &told)?;
            is_over(context, &mut hand, &walk, &sent, &told)
        });
        if let Err(stop) = walked {
            give_up(&mut hand, walk);
            return Err(stop);
        }
        let what = format!("{}: {plan:?}", mode.name);
        let got = sent.join().map_err(|_| Stop::error("the client panicked"))?;
        let got = got.during(format_args!("read through {what}"))?;
        let told = first_difference(AT / 512, &got, &walk.holds);
        let what = format!("{what}: the client has what was moved last: {told:?}");
        context.check(FailureKind::DataMismatch, what, told.is_none())?;
        generation = walk.generation;
    }
    death(context, hand, client, false)?;
    let mut hand = Hand::live(context, mode, 4, |_| {})?;
    let client = Client::open(context, &mut hand)?;
    death(context, hand, client, true)?;
    Ok(format!("{WALKS} walks of {taken} steps, and two deaths"))
}

/// Skips where a slot can only be emptied by the owner of a request: the model of a life here is that of later kernels.
fn slots_are_free(hand: &mut Hand) -> Result<(), Stop> {
    let sqe = hand.slot_command(IoCmdOp::UnregisterIoBuf, 0, 7);
    let answer = hand.result_of("UNREGISTER_IO_BUF", sqe)?;
    if answer == -EBUSY {
        let probe = "UNREGISTER_IO_BUF of an empty slot with a tag that is armed";
        return Err(Stop::skip(probe, "EBUSY: no slot can be emptied after the commit"));
    }
    Ok(())
}

/// Lets go of everything, so that what failed is told and does not hang.
fn give_up(hand: &mut Hand, walk: Walk) {
    drop(walk.pipes);
    for slot in 0..8 {
        let sqe = hand.slot_command(IoCmdOp::UnregisterIoBuf, walk.tag, slot);
        let _ = hand.result_of("UNREGISTER_IO_BUF", sqe);
    }
}

/// Takes over the request that was sent.
fn begin(hand: &mut Hand, generation: u64) -> Result<Walk, Stop> {
    let tag = hand.find(|request| {
        request.op() == Some(Op::Read)
            && request.start_sector == AT / 512
            && request.nr_sectors == 8
    })?;
    let automatic = (hand.mode.way == Way::Auto).then_some(tag);
    Ok(Walk {
        tag,
        life: Life::new(automatic, !hand.mode.batch),
        pipes: Vec::new(),
        next_number: OTHERS,
        generation,
        holds: vec![0; LEN],
    })
}

impl Walk {
    /// Bytes that nobody has seen yet.
    fn fresh(&mut self, context: &Context) -> Vec<u8> {
        self.generation += 1;
        let mut bytes = vec![0; LEN];
        fill(&mut bytes, AT / 512, self.generation, context.seed);
        bytes
    }
}

/// Does one step, and compares what it answers with the model.
fn take(
    context: &mut Context,
    hand: &mut Hand,
    walk: &mut Walk,
    step: Step,
    told: &str,
) -> Result<(), Stop> {
    let expected = walk.life.apply(step);
    let number = match expected {
        Answer::Nothing | Answer::Done => 0,
        Answer::Bytes => i32::try_from(LEN).unwrap_or(0),
        Answer::Empty => -EINVAL,
        Answer::Taken | Answer::NotOwned => -EBUSY,
        Answer::Fault => -EFAULT,
    };
    let tag = walk.tag;
    let result = match step {
        Step::Register(slot) => {
            let sqe = hand.slot_command(IoCmdOp::RegisterIoBuf, tag, slot);
            hand.result_of("REGISTER_IO_BUF", sqe)?
        }
        Step::Unregister(slot) => {
            let sqe = hand.slot_command(IoCmdOp::UnregisterIoBuf, tag, slot);
            hand.result_of("UNREGISTER_IO_BUF", sqe)?
        }
        Step::Move(slot) => {
            let bytes = walk.fresh(context);
            hand.backing.write_all_at(&bytes, Hand::place(tag) as u64)?;
            let (sqe, _) = hand.move_command(tag, slot, LEN, false)?;
            let result = hand.result_of("a fixed read", sqe)?;
            if result > 0 {
                walk.holds = bytes;
            }
            result
        }
        Step::Fly(slot) => fly(hand, walk, slot, expected)?,
        Step::Land => land(context, hand, walk)?,
        Step::Commit => {
            hand.commit(tag, i32::try_from(LEN).unwrap_or(0))?;
            0
        }
    };
    context.check_result(told, result, number)
}

/// A fixed read of a pipe in which nothing is; its result, if it fails at once.
fn fly(hand: &mut Hand, walk: &mut Walk, slot: u16, expected: Answer) -> Result<i32, Stop> {
    let (reader, writer) = std::io::pipe().during("make a pipe")?;
    let reader = Arc::new(File::from(OwnedFd::from(reader)));
    let len = u32::try_from(LEN).unwrap_or(0);
    let sqe = RawSqe::read_fixed(&reader, u64::MAX, len).buf_index(slot);
    if expected == Answer::Fault {
        return hand.result_of("a fixed read of a pipe", sqe);
    }
    let number = walk.next_number;
    walk.next_number += 1;
    hand.send(&sqe.user_data(number))?;
    walk.pipes.push((number, File::from(OwnedFd::from(writer))));
    Ok(0)
}

/// Fills the oldest pipe and waits for its read.
fn land(context: &mut Context, hand: &mut Hand, walk: &mut Walk) -> Result<i32, Stop> {
    let bytes = walk.fresh(context);
    let (number, mut pipe) = walk.pipes.remove(0);
    pipe.write_all(&bytes).during("fill a pipe")?;
    let mut result = None;
    let begin = std::time::Instant::now();
    while result.is_none() && begin.elapsed() < context.command_timeout() {
        hand.serve_for(Duration::from_millis(5))?;
        let at = hand.others.iter().position(|(of, _)| *of == number);
        result = at.map(|at| hand.others.remove(at).1);
    }
    walk.holds = bytes;
    result.ok_or_else(|| Stop::fail(FailureKind::Completion, "a pipe's read does not end"))
}

/// The client has its answer if and only if the model says so.
fn is_over(
    context: &mut Context,
    hand: &mut Hand,
    walk: &Walk,
    sent: &Sent,
    told: &str,
) -> Result<(), Stop> {
    let over = walk.life.is_over();
    let seen = if over {
        hand.serve_until(|| sent.is_finished())?
    } else {
        hand.serve_for(Duration::from_millis(2))?;
        sent.is_finished()
    };
    let what = format!("{told}: the request is over");
    context.check_eq(FailureKind::Completion, what, &seen, &over)
}

/// The server goes while a slot has the pages of a request that it has not committed, or while I/O has those of one that it
/// has. A slot that outlives the commit is a matter of its own: [`super::outlived`].
fn death(
    context: &mut Context,
    mut hand: Hand,
    client: Client,
    committed: bool,
) -> Result<(), Stop> {
    let what = format!("{}: the server dies, committed {committed}", hand.mode.name);
    let sent = client.send(Action::Read, AT, LEN, &[]);
    let mut walk = begin(&mut hand, 1000)?;
    let slot = walk.life.slots().next().unwrap_or(1);
    if walk.life.slots().next().is_none() {
        take(context, &mut hand, &mut walk, Step::Register(slot), &what)?;
    }
    take(context, &mut hand, &mut walk, Step::Move(slot), &what)?;
    if committed {
        for step in [Step::Fly(slot), Step::Unregister(slot), Step::Commit] {
            take(context, &mut hand, &mut walk, step, &what)?;
        }
        is_over(context, &mut hand, &walk, &sent, &what)?;
    }
    let mut rig = hand.close();
    let ended = wait_until(context.command_timeout(), || sent.is_finished());
    context.check(FailureKind::Completion, format_args!("{what}: its client goes on"), ended)?;
    let got = sent.join().map_err(|_| Stop::error("the client panicked"))?;
    let told = got.as_ref().err().map(|error| error.raw_os_error().unwrap_or(0));
    let right = (!committed).then_some(EIO);
    context.check_eq(FailureKind::Errno, format_args!("{what}: what it gets"), &told, &right)?;
    if let Ok(bytes) = got {
        let told = first_difference(AT / 512, &bytes, &walk.holds);
        let what = format!("{what}: the bytes that were moved: {told:?}");
        context.check(FailureKind::DataMismatch, what, told.is_none())?;
    }
    drop(client);
    rig.stop()?;
    rig.delete(context)
}
