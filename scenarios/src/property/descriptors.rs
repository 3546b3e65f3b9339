//! What a descriptor says of a request: generated requests of every kind, on disks with and without a cache, in every mode, and
//! every descriptor that they become.
//!
//! A request may arrive in pieces, as the limits of the disk have it. So the pieces are held to be in the limits and to be the
//! request when put together; their operation, flags and address are exact.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::{Attrs, AutoBufReg, IoDesc, IoFlags, Op};

use super::client::{Action, BLKDISCARD, Client};
use super::hand::{BUFFER_BYTES, DISK_BYTES, Hand};
use super::mode::{Mode, Way};
use super::results::with_everything;
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;
use crate::probe;
use crate::scenario::Scenario;

/// A scenario of one mode: its name, id, title.
macro_rules! of_mode {
    ($mode:ident, $id:literal, $title:literal) => {
        Scenario {
            id: $id,
            title: $title,
            covers: &["iod.FUA", "iod.NOUNMAP"],
            budget: BudgetClass::Normal,
            known_bug: |kernel| kernel.page_registration_bug().filter(|_| Mode::$mode.registers()),
            run: |context| descriptors(context, Mode::$mode),
            ..Scenario::DRIVER
        }
    };
}

pub(super) const SCENARIOS: &[Scenario] = &[
    of_mode!(
        COPY,
        "property/descriptors-copy",
        "descriptors name operation, flags, place and buffer of any request, where the driver copies"
    ),
    of_mode!(
        GET_DATA,
        "property/descriptors-get-data",
        "descriptors name operation, flags, place and buffer of any request, where bytes are asked for"
    ),
    of_mode!(
        USER_COPY,
        "property/descriptors-user-copy",
        "descriptors name operation, flags and place of any request, and no buffer, where the server copies"
    ),
    of_mode!(
        ZERO_COPY,
        "property/descriptors-zero-copy",
        "descriptors name operation, flags and place of any request, and no buffer, where pages are registered"
    ),
    of_mode!(
        AUTO,
        "property/descriptors-auto",
        "descriptors name operation, flags, place and slot of any request, where the kernel registers pages"
    ),
    of_mode!(
        BATCH_COPY,
        "property/descriptors-batch-copy",
        "descriptors of a batch of copies name operation, flags, place and buffer of any request"
    ),
    of_mode!(
        BATCH_AUTO,
        "property/descriptors-batch-auto",
        "descriptors of a batch that registers pages name operation, flags, place and slot of any request"
    ),
];

const REQUESTS: usize = 48;
const SECTOR: u64 = 512;

/// What the disk says of its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    None,
    Volatile,
    WithFua,
}

impl Cache {
    fn attrs(self) -> Attrs {
        match self {
            Self::None => Attrs::empty(),
            Self::Volatile => Attrs::VOLATILE_CACHE,
            Self::WithFua => Attrs::VOLATILE_CACHE.union(Attrs::FUA),
        }
    }
}

/// A kind of descriptor: operation and flags.
type Kind = (Op, IoFlags);

/// What a client's request becomes: descriptors of its bytes, and of what comes besides.
fn kinds(action: Action, cache: Cache) -> (Option<Kind>, Option<Kind>) {
    let plain = |op| Some((op, IoFlags::empty()));
    let flush = if cache == Cache::None { None } else { plain(Op::Flush) };
    match action {
        Action::Read => (plain(Op::Read), None),
        Action::Write => (plain(Op::Write), None),
        // The flush is the write's own where the disk has no better way, and comes anyway where it has one.
        Action::FuaWrite if cache == Cache::WithFua => (Some((Op::Write, IoFlags::FUA)), flush),
        Action::FuaWrite => (plain(Op::Write), flush),
        Action::Flush => (None, flush),
        Action::Discard => (plain(Op::Discard), None),
        Action::Zero => (plain(Op::WriteZeroes), None),
        Action::ZeroKeep => (Some((Op::WriteZeroes, IoFlags::NOUNMAP)), None),
    }
}

/// What a descriptor of `tag` has as its address.
fn address(kernel: KernelRelease, hand: &Hand, tag: u16) -> u64 {
    match hand.mode.way {
        Way::Copy | Way::GetData => hand.buffer_addr(tag),
        Way::UserCopy | Way::ZeroCopy => 0,
        // The registration shares its word with the address, on 6.16 not yet.
        Way::Auto if !kernel.at_least(6, 17) => 0,
        Way::Auto => AutoBufReg { index: tag, ..AutoBufReg::default() }.to_sqe_addr(),
    }
}

/// A request: what, where and how long.
fn generated(rng: &mut ChaCha8Rng, number: usize) -> (Action, u64, usize) {
    // Each of them once, and then whatever comes but the last.
    let every = Action::EVERY;
    let action = every.get(number).copied().unwrap_or_else(|| every[rng.random_range(0..6)]);
    let sectors: u64 = match rng.random_range(0..4) {
        0 => rng.random_range(1..=8),
        1 => rng.random_range(1..=128),
        2 => 128 + rng.random_range(0..=2),
        _ => rng.random_range(1..=700),
    };
    let disk = DISK_BYTES as u64 / SECTOR;
    let first = match rng.random_range(0..6) {
        0 => disk - sectors,
        1 => 0,
        _ => rng.random_range(0..=disk - sectors),
    };
    // What is cleared is a number of the pages that the page cache has.
    let (first, sectors) = match action {
        Action::Read | Action::Write | Action::FuaWrite => (first, sectors),
        _ => (first / 8 * 8, sectors.div_ceil(8) * 8),
    };
    let first = first.min(disk - sectors);
    (action, first * SECTOR, usize::try_from(sectors * SECTOR).unwrap_or(0))
}

fn descriptors(context: &mut Context, mode: Mode) -> Result<String, Stop> {
    probe::program(BLKDISCARD)?;
    let mut pieces = 0;
    for cache in [Cache::None, Cache::Volatile, Cache::WithFua] {
        let mut hand = Hand::live(context, mode, 8, |params| {
            with_everything(params);
            params.basic.attrs = cache.attrs();
        })?;
        let client = Client::open(context, &mut hand)?;
        let mut rng = context.rng(&format!("descriptors-{}-{cache:?}", mode.name));
        for number in 0..REQUESTS / 3 {
            let (action, at, len) = generated(&mut rng, number);
            pieces += one(context, &mut hand, &client, cache, (action, at, len))?;
        }
        drop(client);
        hand.end(context)?;
    }
    Ok(format!("{REQUESTS} requests in {pieces} descriptors, with and without a cache"))
}

/// Sends a request, notes every descriptor until it is done, and compares.
fn one(
    context: &mut Context,
    hand: &mut Hand,
    client: &Client,
    cache: Cache,
    (action, at, len): (Action, u64, usize),
) -> Result<usize, Stop> {
    let what = format!("{}: {action:?} of {len} bytes at {at}, cache {cache:?}", hand.mode.name);
    let sent = client.send(action, at, len, &vec![7; len]);
    let mut seen = VecDeque::new();
    let begin = Instant::now();
    while !sent.is_finished() && begin.elapsed() < context.command_timeout() {
        if let Some(tag) = hand.next(Duration::from_millis(1))? {
            let request = hand.request(tag);
            let expected = address(context.kernel, hand, tag);
            let told = format!("{what}: address of {request:?}");
            context.check_eq(FailureKind::State, told, &request.addr, &expected)?;
            seen.push_back(request);
            hand.serve(tag)?;
        }
    }
    context.check(FailureKind::Completion, format_args!("{what} is done"), sent.is_finished())?;
    let ended = sent.join().map_err(|_| Stop::error("the client panicked"))?;
    let told = format!("{what}: {:?}", ended.as_ref().err());
    context.check(FailureKind::Operation, told, ended.is_ok())?;
    compare(context, &what, seen.make_contiguous(), (action, cache), (at / SECTOR, len))?;
    Ok(seen.len())
}

/// The descriptors that came, against those that had to.
fn compare(
    context: &mut Context,
    what: &str,
    seen: &mut [IoDesc],
    (action, cache): (Action, Cache),
    (first, len): (u64, usize),
) -> Result<(), Stop> {
    let (bytes, besides) = kinds(action, cache);
    seen.sort_by_key(|request| request.start_sector);
    let is = |request: &IoDesc, kind: Option<Kind>| {
        kind.is_some_and(|(op, flags)| request.op() == Some(op) && request.flags() == flags)
    };
    let known = seen.iter().all(|request| is(request, bytes) || is(request, besides));
    let told = format!("{what}: operations and flags of {seen:?}");
    context.check(FailureKind::State, told, known)?;
    let (of_bytes, of_besides): (Vec<&IoDesc>, Vec<&IoDesc>) =
        seen.iter().partition(|request| is(request, bytes));
    let mut at = first;
    for request in &of_bytes {
        let moved = matches!(request.op(), Some(Op::Read | Op::Write));
        let most = if moved { BUFFER_BYTES as u64 / SECTOR } else { 1 << 12 };
        let next = request.start_sector == at && (1..=most).contains(&request.nr_sectors.into());
        let told = format!("{what}: {request:?} follows at sector {at}");
        context.check(FailureKind::State, told, next)?;
        at += u64::from(request.nr_sectors);
    }
    let end = if bytes.is_some() { first + len as u64 / SECTOR } else { first };
    context.check_eq(FailureKind::State, format_args!("{what}: its end"), &at, &end)?;
    // A flush has neither place nor length.
    let placeless = of_besides
        .iter()
        .all(|request| (request.start_sector, request.nr_sectors) == (u64::MAX, 0));
    let told = format!("{what}: besides {of_besides:?}");
    context.check(FailureKind::State, told, placeless)?;
    // A write that has to be durable is followed by a flush of its caller's, and has one for each piece where the disk has a
    // cache and no FUA.
    let emulated = action == Action::FuaWrite && cache == Cache::Volatile;
    let counts = match besides {
        None => 0..=0,
        Some(_) if emulated => 2..=1 + of_bytes.len(),
        Some(_) => 1..=1,
    };
    let told = format!("{what}: {counts:?} descriptors besides: {of_besides:?}");
    context.check(FailureKind::State, told, counts.contains(&of_besides.len()))
}
