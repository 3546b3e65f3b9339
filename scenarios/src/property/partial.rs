//! COMMIT_IO_CMDS of elements of which one is wrong: those before it are committed, it and those behind it are not, and the
//! result says how many bytes of elements were taken.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::{IoCmdOp, Op};

use super::client::{Action, Client, Sent};
use super::hand::{COMMIT, Hand};
use super::mode::Mode;
use crate::context::{Context, Stop, errno};
use crate::rig::{EBUSY, EFAULT, EINVAL};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "property/partial-commit-copy",
        title: "a batch commit with a wrong element takes those before it, says how many, and leaves the rest",
        covers: &["b.commit.tag", "b.commit.notowned", "b.commit.fault"],
        budget: BudgetClass::Normal,
        run: |context| partial(context, Mode::BATCH_COPY),
        ..Scenario::DRIVER
    },
    Scenario {
        id: "property/partial-commit-user-copy",
        title: "so does one whose elements have no addresses",
        covers: &["b.commit.tag", "b.commit.notowned", "b.commit.fault"],
        budget: BudgetClass::Normal,
        run: |context| partial(context, Mode::BATCH_USER_COPY),
        ..Scenario::DRIVER
    },
];

const DEPTH: u16 = 64;
const ROUNDS: u64 = 12;
/// Bytes of elements that the driver reads at a time, in each layout a whole number of them.
const READ_BYTES: usize = 480;
const BLOCK: u64 = 4096;

/// What is wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// A tag that has no request.
    Idle,
    /// A tag that was committed by an element before.
    Twice,
    /// A tag that the queue has not.
    TooFar,
}

impl Wrong {
    fn errno(self) -> i32 {
        match self {
            Self::Idle | Self::Twice => EBUSY,
            Self::TooFar => EINVAL,
        }
    }
}

/// A list of elements, and what becomes of it.
#[derive(Debug)]
struct Plan {
    elements: Vec<(u16, i32)>,
    /// Elements that are taken.
    taken: usize,
    /// The result.
    result: i32,
}

/// `owned` tags in a random order with something wrong at a random place.
fn plan(rng: &mut ChaCha8Rng, owned: &[u16], stride: usize) -> Plan {
    let mut tags = owned.to_vec();
    tags.shuffle(rng);
    let results = [4096, 0, 512, i32::MAX];
    let mut elements: Vec<_> =
        tags.iter().map(|tag| (*tag, results[rng.random_range(0..results.len())])).collect();
    let at = rng.random_range(0..=elements.len());
    let wrong = [Wrong::Idle, Wrong::Twice, Wrong::TooFar][rng.random_range(0..3)];
    let tag = match wrong {
        Wrong::TooFar => DEPTH + rng.random_range(0..1000),
        Wrong::Twice if at > 0 => elements[rng.random_range(0..at)].0,
        _ => (0..DEPTH).find(|tag| !owned.contains(tag)).unwrap_or(DEPTH),
    };
    elements.insert(at, (tag, 4096));
    let result = if at == 0 { -wrong.errno() } else { i32::try_from(at * stride).unwrap_or(0) };
    Plan { elements, taken: at, result }
}

/// A write that waits for its answer.
struct Waiting {
    tag: u16,
    sent: Sent,
}

/// As many writes as that, all delivered and none answered.
fn waiting(hand: &mut Hand, client: &Client, count: usize) -> Result<Vec<Waiting>, Stop> {
    let first = 1 << 20;
    let mut sent: Vec<_> = (0..count as u64)
        .map(|number| {
            // A block apart, so that no two of them are merged.
            let at = first + number * 2 * BLOCK;
            let content = vec![u8::try_from(number % 255).unwrap_or(0); BLOCK as usize];
            (at / 512, Some(client.send(Action::Write, at, BLOCK as usize, &content)))
        })
        .collect();
    let mut there = Vec::new();
    while there.len() < count {
        let tag = hand.find(|request| {
            request.op() == Some(Op::Write)
                && sent.iter().any(|(at, _)| *at == request.start_sector)
        })?;
        let start = hand.request(tag).start_sector;
        let of = sent.iter_mut().find(|(at, sent)| *at == start && sent.is_some());
        let Some(sent) = of.and_then(|(_, sent)| sent.take()) else {
            return Err(Stop::fail(FailureKind::State, format_args!("sector {start} came twice")));
        };
        there.push(Waiting { tag, sent });
    }
    Ok(there)
}

/// Which of the waiting have their answer, once all have it that should.
fn answered(
    context: &mut Context,
    hand: &mut Hand,
    waiting: &[Waiting],
    tags: &[u16],
    what: &str,
) -> Result<(), Stop> {
    let done = |waiting: &Waiting| waiting.sent.is_finished();
    hand.serve_until(|| waiting.iter().filter(|w| tags.contains(&w.tag)).all(done))?;
    // One that should wait and does not would have been woken together with the others.
    std::thread::sleep(std::time::Duration::from_millis(3));
    let mut seen: Vec<_> = waiting.iter().filter(|w| done(w)).map(|w| w.tag).collect();
    let mut right = tags.to_vec();
    seen.sort_unstable();
    right.sort_unstable();
    context.check_eq(FailureKind::Completion, format_args!("{what}: answered"), &seen, &right)
}

fn partial(context: &mut Context, mode: Mode) -> Result<String, Stop> {
    let mut hand = Hand::live(context, mode, DEPTH, |_| {})?;
    let client = Client::open(context, &mut hand)?;
    let mut rng = context.rng(&format!("partial-{}", mode.name));
    let stride = if mode.driver_copies() { 16 } else { 8 };
    let mut taken = 0;
    for round in 0..ROUNDS {
        let writes = waiting(&mut hand, &client, rng.random_range(1..=10))?;
        let owned: Vec<_> = writes.iter().map(|waiting| waiting.tag).collect();
        let plan = plan(&mut rng, &owned, stride);
        let what = format!("{}, round {round}: {:?}", mode.name, plan.elements);
        let sqe = hand.elements_command(IoCmdOp::CommitIoCmds, &plan.elements)?;
        hand.send(&sqe.user_data(COMMIT))?;
        let result = hand.one_commit()?;
        context.check_result(&what, result, plan.result)?;
        let done: Vec<_> = plan.elements[..plan.taken].iter().map(|(tag, _)| *tag).collect();
        answered(context, &mut hand, &writes, &done, &what)?;
        let rest: Vec<_> =
            owned.iter().filter(|tag| !done.contains(tag)).map(|tag| (*tag, 4096)).collect();
        finish(context, &mut hand, writes, &rest, &what)?;
        taken += plan.taken;
    }
    let at_the_fault = fault(context, &mut hand, &client, stride)?;
    drop(client);
    hand.end(context)?;
    Ok(format!("{ROUNDS} commits, {taken} elements taken; {at_the_fault} before memory ends"))
}

/// Commits the rest, and every write has its answer.
fn finish(
    context: &mut Context,
    hand: &mut Hand,
    writes: Vec<Waiting>,
    rest: &[(u16, i32)],
    what: &str,
) -> Result<(), Stop> {
    if !rest.is_empty() {
        hand.commit_batch(rest)?;
    }
    hand.serve_until(|| writes.iter().all(|waiting| waiting.sent.is_finished()))?;
    for Waiting { tag, sent } in writes {
        context.check(
            FailureKind::Completion,
            format_args!("{what}: tag {tag} is answered in the end"),
            sent.is_finished(),
        )?;
        let ended = sent.join().map_err(|_| Stop::error("a client panicked"))?;
        let told = ended.err().map(|error| errno(-error.raw_os_error().unwrap_or(0)));
        context.check_eq(
            FailureKind::Operation,
            format_args!("{what}: tag {tag}"),
            &told,
            &None,
        )?;
    }
    Ok(())
}

/// Elements that go on where memory does not: whole pieces of them are taken, and none of the piece that cannot be read.
fn fault(
    context: &mut Context,
    hand: &mut Hand,
    client: &Client,
    stride: usize,
) -> Result<usize, Stop> {
    let piece = READ_BYTES / stride;
    // More than the queue has tags is refused as a whole, so where elements are small there is no second piece.
    let readable = if piece < usize::from(DEPTH) - 2 { piece + 2 } else { 2 };
    let taken = if readable > piece { piece } else { 0 };
    let writes = waiting(hand, client, readable)?;
    let all: Vec<_> = writes.iter().map(|waiting| (waiting.tag, 4096)).collect();
    let sqe = hand.elements_at_the_end(IoCmdOp::CommitIoCmds, &all, readable + 2)?;
    hand.send(&sqe.user_data(COMMIT))?;
    let result = hand.one_commit()?;
    let expected = if taken == 0 { -EFAULT } else { i32::try_from(READ_BYTES).unwrap_or(0) };
    let what = format!("{readable} elements at the end of memory and 2 behind it");
    context.check_result(&what, result, expected)?;
    let done: Vec<_> = all[..taken].iter().map(|(tag, _)| *tag).collect();
    answered(context, hand, &writes, &done, &what)?;
    finish(context, hand, writes, &all[taken..], &what)?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_plan_stops_at_its_one_wrong_element() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            let owned = [3, 9, 4];
            let plan = plan(&mut rng, &owned, 16);
            assert_eq!(plan.elements.len(), 4);
            let before: Vec<_> = plan.elements[..plan.taken].iter().map(|e| e.0).collect();
            assert!(before.iter().all(|tag| owned.contains(tag)), "{plan:?}");
            let wrong = plan.elements[plan.taken].0;
            assert!(!owned.contains(&wrong) || before.contains(&wrong), "{plan:?}");
            let right = if plan.taken == 0 {
                plan.result < 0
            } else {
                plan.result as usize == 16 * plan.taken
            };
            assert!(right, "{plan:?}");
        }
    }
}
