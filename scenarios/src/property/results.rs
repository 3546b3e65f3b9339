//! What a client sees of the result that its server commits, for every operation, in every mode.
//!
//! The results are those at the edges (short, none, too many, every errno with a meaning of its own, the smallest number)
//! and some that nobody chose.

use rand::Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::{Attrs, Op, ParamDiscard, Params};

use super::client::{Action, BLKDISCARD, Client, Sent};
use super::expect::{Again, expected};
use super::hand::Hand;
use super::mode::Mode;
use crate::context::{Context, Stop, errno};
use crate::kernel::KernelRelease;
use crate::probe;
use crate::rig::EIO;
use crate::scenario::Scenario;
use crate::signature::{fill, first_difference};

/// A scenario of one mode: its name, id, title.
macro_rules! of_mode {
    ($name:ident, $mode:ident, $id:literal, $title:literal) => {
        const $name: Scenario = Scenario {
            id: $id,
            title: $title,
            covers: &["commit results", "rq.read.zero"],
            budget: BudgetClass::Long,
            known_bug: |kernel| kernel.page_registration_bug().filter(|_| Mode::$mode.registers()),
            run: |context| results(context, Mode::$mode),
            ..Scenario::DRIVER
        };
    };
}

of_mode!(
    COPY,
    COPY,
    "property/results-copy",
    "where the driver copies, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    GET_DATA,
    GET_DATA,
    "property/results-get-data",
    "where a write's bytes are asked for, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    USER_COPY,
    USER_COPY,
    "property/results-user-copy",
    "where the server copies, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    ZERO_COPY,
    ZERO_COPY,
    "property/results-zero-copy",
    "where the server registers pages, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    AUTO,
    AUTO,
    "property/results-auto",
    "where the kernel registers pages, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    BATCH_COPY,
    BATCH_COPY,
    "property/results-batch-copy",
    "in a batch of copies, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    BATCH_USER_COPY,
    BATCH_USER_COPY,
    "property/results-batch-user-copy",
    "in a batch with user copy, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    BATCH_ZERO_COPY,
    BATCH_ZERO_COPY,
    "property/results-batch-zero-copy",
    "in a batch with registered pages, what a client sees of any result is what the driver's rules say"
);
of_mode!(
    BATCH_AUTO,
    BATCH_AUTO,
    "property/results-batch-auto",
    "in a batch with automatic registration, what a client sees of any result is what the driver's rules say"
);

pub(super) const SCENARIOS: &[Scenario] = &[
    COPY,
    GET_DATA,
    USER_COPY,
    ZERO_COPY,
    AUTO,
    BATCH_COPY,
    BATCH_USER_COPY,
    BATCH_ZERO_COPY,
    BATCH_AUTO,
    TOO_MUCH,
];

const TOO_MUCH: Scenario = Scenario {
    id: "property/read-of-too-much",
    title: "a READ that is committed with more than all its bytes is whole, and the kernel has nothing to say to it",
    covers: &["commit results"],
    known_bug: warns_of_too_much,
    run: too_much,
    ..Scenario::DRIVER
};

const AT: u64 = 1 << 20;
const LEN: usize = 8192;
const FULL: i32 = LEN as i32;
/// Results that nobody chose, for each operation.
const BY_CHANCE: usize = 8;
/// Most deliveries of a request that are told.
const AGAIN_MAX: usize = 8;

/// A disk with a cache, FUA, DISCARD and WRITE_ZEROES.
pub(super) fn with_everything(params: &mut Params) {
    params.basic.attrs |= Attrs::VOLATILE_CACHE | Attrs::FUA;
    *params = params.with_discard(ParamDiscard {
        discard_granularity: 4096,
        max_discard_sectors: 1 << 12,
        max_write_zeroes_sectors: 1 << 12,
        max_discard_segments: 1,
        ..ParamDiscard::default()
    });
}

/// Where a kernel is known to warn of a READ that is committed with more than all its bytes, where it copies them.
fn warns_of_too_much(kernel: KernelRelease) -> Option<&'static str> {
    (!kernel.at_least(7, 3)).then_some("docs/kernel-facts.md, what a commit's result comes to")
}

fn is_too_much(context: &Context, mode: Mode, action: Action, result: i32) -> bool {
    let copies = action == Action::Read && mode.driver_copies();
    copies && result > FULL && warns_of_too_much(context.kernel).is_some()
}

fn too_much(context: &mut Context) -> Result<String, Stop> {
    let mut hand = Hand::live(context, Mode::COPY, 4, with_everything)?;
    let client = Client::open(context, &mut hand)?;
    for (generation, result) in (1..).zip([FULL + 1, FULL * 2, i32::MAX]) {
        one(context, &mut hand, &client, Action::Read, generation, result)?;
    }
    drop(client);
    hand.end(context)?;
    Ok("whole, and no more".into())
}

/// Results for an operation: all there are where bytes are copied by the driver and where they are copied by the server, and
/// of every sort one elsewhere.
fn numbers(context: &Context, mode: Mode, action: Action) -> Vec<i32> {
    let mut numbers = match (action, mode) {
        // Each costs a process.
        (Action::Discard, _) => vec![FULL, 0, i32::MAX, -5, -28, -95],
        (_, Mode::COPY | Mode::USER_COPY) => every_number(context, mode, action),
        _ => vec![FULL, 0, 512, FULL - 100, FULL * 2, i32::MAX, -1, -28, -95, -121, i32::MIN],
    };
    numbers.retain(|result| !is_too_much(context, mode, action, *result));
    numbers
}

fn every_number(context: &Context, mode: Mode, action: Action) -> Vec<i32> {
    let mut numbers = vec![FULL, 0, 512, FULL / 2, FULL - 512, FULL + 512, FULL * 2, i32::MAX];
    numbers.extend([1, 100, 511, 513, FULL - 1, FULL - 100, FULL + 1]);
    let errnos =
        [1, 2, 4, 5, 11, 12, 16, 19, 22, 28, 52, 61, 62, 67, 75, 78, 84, 95, 109, 110, 121];
    numbers.extend(errnos.map(|errno: i32| -errno));
    numbers.extend([-4095, -4096, i32::MIN, i32::MIN + 1]);
    let mut rng = context.rng(&format!("results-{}-{action:?}", mode.name));
    for _ in 0..BY_CHANCE {
        numbers.push(match rng.random_range(0..3) {
            0 => rng.random_range(0..=2 * FULL),
            1 => -rng.random_range(1..134),
            _ => rng.random(),
        });
    }
    numbers
}

fn results(context: &mut Context, mode: Mode) -> Result<String, Stop> {
    probe::program(BLKDISCARD)?;
    let mut hand = Hand::live(context, mode, 4, with_everything)?;
    let client = Client::open(context, &mut hand)?;
    let mut asked = 0;
    for action in Action::EVERY {
        for (generation, result) in (1..).zip(numbers(context, mode, action)) {
            one(context, &mut hand, &client, action, generation, result)?;
            asked += 1;
        }
    }
    drop(client);
    hand.end(context)?;
    Ok(format!("{asked} results of 7 operations"))
}

/// The operation as its server sees it.
pub(super) fn op_of(action: Action) -> Op {
    match action {
        Action::Read => Op::Read,
        Action::Write | Action::FuaWrite => Op::Write,
        Action::Flush => Op::Flush,
        Action::Discard => Op::Discard,
        Action::Zero | Action::ZeroKeep => Op::WriteZeroes,
    }
}

/// One request that is answered with `result`, and with the truth whenever it comes again.
fn one(
    context: &mut Context,
    hand: &mut Hand,
    client: &Client,
    action: Action,
    generation: u64,
    result: i32,
) -> Result<(), Stop> {
    let (name, op) = (hand.mode.name, op_of(action));
    let what = format!("{name}: {action:?} that is committed with {}", errno(result));
    let mut content = vec![0; LEN];
    fill(&mut content, AT / 512, generation, context.seed);
    let range = usize::try_from(AT).unwrap_or(0)..usize::try_from(AT).unwrap_or(0) + LEN;
    if action == Action::Read {
        hand.disk[range].copy_from_slice(&content);
    }
    let sent = client.send(action, AT, LEN, &content);
    let tag = hand.find(|request| request.op() == Some(op))?;
    hand.perform(tag)?;
    hand.commit(tag, result)?;
    let (again, ended) = watch(context, hand, op, sent, &what)?;
    let request: Again = (AT / 512, FULL.cast_unsigned() / 512);
    let right = expected(context.kernel, hand.mode, action, request, result);
    let error = ended.as_ref().err().map(|error| error.raw_os_error().unwrap_or(0));
    let seen = (error, again);
    context.check_eq(FailureKind::Errno, &what, &seen, &(right.error, right.again))?;
    if let (Action::Read, Ok(bytes)) = (action, ended) {
        let told = first_difference(AT / 512, &bytes, &content);
        let what = format!("{what} has the right bytes: {told:?}");
        context.check(FailureKind::DataMismatch, what, told.is_none())?;
    }
    Ok(())
}

/// Serves until the client has its answer; what came again of its request, and that answer.
fn watch(
    context: &mut Context,
    hand: &mut Hand,
    op: Op,
    sent: Sent,
    what: &str,
) -> Result<(Vec<Again>, std::io::Result<Vec<u8>>), Stop> {
    let mut again = Vec::new();
    let begin = std::time::Instant::now();
    while !sent.is_finished() && begin.elapsed() < context.command_timeout() {
        if let Some(tag) = hand.next(std::time::Duration::from_millis(1))? {
            let request = hand.request(tag);
            if request.op() == Some(op) && op != Op::Flush {
                again.push((request.start_sector, request.nr_sectors));
            }
            if request.nr_sectors == 0 && matches!(request.op(), Some(Op::Read | Op::Write)) {
                hand.ask_for_data(tag)?;
                hand.commit(tag, -EIO)?;
            } else {
                hand.serve(tag)?;
            }
        }
    }
    again.truncate(AGAIN_MAX);
    let what = format!("{what} ends (it came again as {again:?})");
    context.check(FailureKind::Completion, what, sent.is_finished())?;
    let ended = sent.join().map_err(|_| Stop::error("the client panicked"))?;
    Ok((again, ended))
}
