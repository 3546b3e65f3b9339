//! Where a server may read and write in a request's bytes: every place at which pread and pwrite on the char device can be
//! aimed, compared with a model of the place's encoding.

use std::os::unix::fs::FileExt;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::raw::CharFile;
use ublk::uapi::{IO_BUF_OFFSET, IO_INTEGRITY_FLAG, Op, UserCopyPos};

use super::client::{Action, Client};
use super::hand::Hand;
use super::mode::Mode;
use crate::context::{Context, Stop, errno};
use crate::kernel::KernelRelease;
use crate::rig::{EACCES, EINVAL};
use crate::scenario::Scenario;
use crate::signature::fill;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "property/user-copy-positions",
        title: "pread and pwrite move exactly the bytes that their position names, or say why not",
        covers: &["uc.qid", "uc.tag", "uc.off", "uc.dir"],
        budget: BudgetClass::Normal,
        run: |context| positions(context, Mode::USER_COPY),
        ..Scenario::DRIVER
    },
    Scenario {
        id: "property/batch-user-copy-positions",
        title: "on a batch device as well, where no task owns a tag",
        covers: &["uc.qid", "uc.tag", "uc.off", "uc.dir"],
        budget: BudgetClass::Normal,
        run: |context| positions(context, Mode::BATCH_USER_COPY),
        ..Scenario::DRIVER
    },
];

const AT: u64 = 1 << 20;
const DEPTH: u16 = 4;
const REQUESTS: u64 = 24;
const TRIES: usize = 40;

/// A request that is with the server.
#[derive(Clone, Copy, Debug)]
struct There {
    tag: u16,
    len_bytes: usize,
    /// Whether its bytes come from the client.
    write: bool,
}

/// One pread or pwrite.
#[derive(Clone, Copy, Debug)]
struct Try {
    position: u64,
    len_bytes: usize,
    /// pread: out of the request.
    out: bool,
}

/// What the driver makes of it: bytes from a place in the request on, or an errno.
fn model(there: There, attempt: Try) -> Result<(usize, usize), i32> {
    // Below the first buffer the subtraction wraps around and names queue 4095.
    let place = UserCopyPos::decode(attempt.position).ok_or(EINVAL)?;
    let known = place.queue == 0 && !place.integrity && place.tag == there.tag;
    let offset = place.offset_bytes as usize;
    if !known || offset > there.len_bytes {
        return Err(EINVAL);
    }
    if attempt.out != there.write {
        return Err(EACCES);
    }
    Ok((offset, attempt.len_bytes.min(there.len_bytes - offset)))
}

/// What a call says of bytes that it moved.
fn said(kernel: KernelRelease, there: There, attempt: Try, (offset, len): (usize, usize)) -> i32 {
    // Older drivers count the caller's bytes that they looked at, and not those that the request had.
    let counted =
        if kernel.at_least(7, 0) || offset == there.len_bytes { len } else { attempt.len_bytes };
    i32::try_from(counted).unwrap_or(i32::MAX)
}

fn generated(rng: &mut ChaCha8Rng, there: There, integrity: bool) -> Try {
    let len = there.len_bytes as u64;
    let offset = match rng.random_range(0..10) {
        0 => 0,
        1 => len - 1,
        2 => len,
        3 => len + 1,
        4 => (1 << 25) - 1,
        // Around the ends of pages, where one segment ends and another begins.
        5..8 => {
            (rng.random_range(0..=len / 4096) * 4096 + rng.random_range(0..5)).saturating_sub(2)
        }
        _ => rng.random_range(0..=len),
    };
    let tag: u16 = match rng.random_range(0..12) {
        0 => (there.tag + 1) % DEPTH,
        1 => DEPTH,
        2 => u16::MAX,
        _ => there.tag,
    };
    let queue: u16 = match rng.random_range(0..12) {
        0 => 1,
        1 => 4095,
        _ => 0,
    };
    let mut position = IO_BUF_OFFSET + (u64::from(queue) << 41) + (u64::from(tag) << 25) + offset;
    match rng.random_range(0..16) {
        // Bits that nobody looks at.
        0 => position |= 1 << rng.random_range(54..61),
        1 if integrity => position |= IO_INTEGRITY_FLAG,
        // In front of the first buffer.
        2 => position = rng.random_range(0..IO_BUF_OFFSET),
        _ => {}
    }
    let len_bytes = match rng.random_range(0..4) {
        0 => rng.random_range(0..4),
        1 => there.len_bytes + 4096,
        _ => rng.random_range(0..=there.len_bytes),
    };
    Try { position, len_bytes, out: there.write ^ rng.random_ratio(1, 10) }
}

/// Moves bytes, from this task or from one that serves nothing.
fn moved(file: &CharFile, attempt: Try, bytes: &mut [u8], stranger: bool) -> Result<i32, Stop> {
    let mut work = move || {
        let moved = if attempt.out {
            file.file().read_at(bytes, attempt.position)
        } else {
            file.file().write_at(bytes, attempt.position)
        };
        match moved {
            Ok(bytes) => i32::try_from(bytes).unwrap_or(i32::MAX),
            Err(error) => -error.raw_os_error().unwrap_or(i32::MAX),
        }
    };
    if !stranger {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        scope.spawn(work).join().map_err(|_| Stop::error("the other task panicked"))
    })
}

fn positions(context: &mut Context, mode: Mode) -> Result<String, Stop> {
    let mut hand = Hand::live(context, mode, DEPTH, |_| {})?;
    let client = Client::open(context, &mut hand)?;
    let mut rng = context.rng(&format!("positions-{}", mode.name));
    let mut refused = 0;
    for generation in 1..=REQUESTS {
        let write = generation % 2 == 0;
        let len_bytes = rng.random_range(1..=96_usize) * 512;
        let mut content = vec![0; len_bytes];
        fill(&mut content, AT / 512, generation, context.seed);
        let (action, op) =
            if write { (Action::Write, Op::Write) } else { (Action::Read, Op::Read) };
        let sent = client.send(action, AT, len_bytes, &content);
        let tag =
            hand.find(|request| request.op() == Some(op) && request.start_sector == AT / 512)?;
        let there = There { tag, len_bytes, write };
        let whole = hand.request(tag).nr_sectors as usize * 512;
        context.check_eq(FailureKind::State, "bytes of the request", &whole, &len_bytes)?;
        // What the request holds: the client's bytes, or zeroes that wait to be overwritten.
        let mut holds = if write { content } else { vec![0; len_bytes] };
        for number in 0..TRIES {
            let attempt = generated(&mut rng, there, context.kernel.at_least(7, 0));
            let stranger = rng.random_ratio(1, 4);
            let byte = u8::try_from(number % 255 + 1).unwrap_or(1);
            let mut bytes = vec![byte; attempt.len_bytes];
            let result = moved(&hand.file, attempt, &mut bytes, stranger)?;
            let expected = model(there, attempt);
            let what = format!("{}: {attempt:?} of {there:?}, stranger {stranger}", mode.name);
            let number = expected
                .map_or_else(|errno| -errno, |moved| said(context.kernel, there, attempt, moved));
            context.check_result(&what, result, number)?;
            refused += u32::from(expected.is_err());
            let mut right = vec![byte; attempt.len_bytes];
            if let Ok((offset, len)) = expected {
                if attempt.out {
                    right[..len].copy_from_slice(&holds[offset..offset + len]);
                } else {
                    holds[offset..offset + len].fill(byte);
                }
            }
            context.check(
                FailureKind::DataMismatch,
                format_args!("bytes of {what}"),
                bytes == right,
            )?;
        }
        hand.commit(tag, i32::try_from(len_bytes).unwrap_or(0))?;
        let done = hand.serve_until(|| sent.is_finished())?;
        context.check(FailureKind::Completion, "the client gets its answer", done)?;
        let got = sent.join().map_err(|_| Stop::error("the client panicked"))??;
        let what = format!("{}: request {generation} is what was put together", mode.name);
        context.check(FailureKind::DataMismatch, what, got == holds)?;
        let after = Try { position: super::moves::position(tag, 0)?, len_bytes: 512, out: write };
        let result = moved(&hand.file, after, &mut [0; 512], generation % 3 == 0)?;
        let what = format!("{}: a request that has ended: {}", mode.name, errno(result));
        context.check_result(what, result, -EINVAL)?;
    }
    drop(client);
    hand.end(context)?;
    Ok(format!("{} places in {REQUESTS} requests, {refused} refused", REQUESTS * TRIES as u64))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::all(0, 0, 0, 4096, true, Ok((0, 1024)))]
    #[case::a_piece(0, 3, 1000, 10, true, Ok((1000, 10)))]
    #[case::across_the_end(0, 3, 1000, 100, true, Ok((1000, 24)))]
    #[case::at_the_end(0, 3, 1024, 1, true, Ok((1024, 0)))]
    #[case::behind_it(0, 3, 1025, 1, true, Err(EINVAL))]
    #[case::wrong_way(0, 3, 0, 1, false, Err(EACCES))]
    #[case::wrong_way_behind(0, 3, 1025, 1, false, Err(EINVAL))]
    #[case::queue(1, 3, 0, 1, true, Err(EINVAL))]
    fn places(
        #[case] queue: u16,
        #[case] tag: u16,
        #[case] offset_bytes: u32,
        #[case] len_bytes: usize,
        #[case] out: bool,
        #[case] expected: Result<(usize, usize), i32>,
    ) {
        let place = UserCopyPos { queue, tag, offset_bytes, integrity: false };
        let there = There { tag, len_bytes: 1024, write: true };
        let position = place.encode().unwrap();
        assert_eq!(model(there, Try { position, len_bytes, out }), expected);
        // Bits that nobody looks at change nothing.
        let noise = Try { position: position | 1 << 58, len_bytes, out };
        assert_eq!(model(there, noise), expected);
    }
}
