//! Submissions at random: right commands, and commands with some of their fields wrong.

use rand::Rng;
use rand::seq::IndexedRandom;
use ublk::uapi::{CtrlOp, IoCmdOp};

use super::super::act::{Act, Racing};
use super::super::rings::KINDS;
use super::super::shot::{Base, Change, Dev, Other, Place, Shot, To};

/// An act of a case of wrong commands.
pub(super) fn act(rng: &mut impl Rng) -> Act {
    match rng.random_range(0..20) {
        0 | 1 => Act::Io { write: rng.random(), block: rng.random_range(0..8) },
        2 => Act::Serve,
        _ => submission(rng),
    }
}

fn submission(rng: &mut impl Rng) -> Act {
    // Half of them through plain rings, so that the driver is reached.
    let ring = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..KINDS.len()) };
    let shots: Vec<_> = (0..rng.random_range(1..=4)).map(|_| shot(rng)).collect();
    let mut races = Vec::new();
    if rng.random_bool(0.12) {
        races.push((rng.random_range(0..shots.len()) as u8, racing(rng)));
    }
    Act::Shots { ring: ring as u8, shots, races }
}

/// One thing different.
pub(super) fn change(
    ring: &mut u8,
    shots: &mut [Shot],
    races: &mut Vec<(u8, Racing)>,
    rng: &mut impl Rng,
) {
    let count = shots.len().max(1);
    match rng.random_range(0..10) {
        0 => *ring = rng.random_range(0..KINDS.len()) as u8,
        1 => races.push((rng.random_range(0..count) as u8, racing(rng))),
        2 | 3 => {
            if let Some(old) = shots.get_mut(rng.random_range(0..count)) {
                *old = shot(rng);
            }
        }
        _ => {
            if let Some(old) = shots.get_mut(rng.random_range(0..count)) {
                if old.changes.len() > 3 {
                    old.changes.remove(0);
                }
                old.changes.push(one_change(old.base, rng));
            }
        }
    }
    races.truncate(2);
}

fn racing(rng: &mut impl Rng) -> Racing {
    let word = Racing::Buffer(rng.random_range(0..38));
    let all = [Racing::Len, Racing::First, Racing::Second, Racing::Data, word, word];
    *all.choose(rng).unwrap_or(&Racing::First)
}

fn shot(rng: &mut impl Rng) -> Shot {
    let base = match rng.random_range(0..20) {
        0..9 => Base::Control(CtrlOp::ALL.choose(rng).map_or(1, |op| op.nr())),
        9..17 => Base::Io(IoCmdOp::ALL.choose(rng).map_or(0x20, |op| op.nr())),
        _ => Base::Other(*OTHERS.choose(rng).unwrap_or(&Other::Nop)),
    };
    let tag = (rng.random_range(0..2), rng.random_range(0..3));
    let count = *[0, 0, 1, 1, 1, 1, 2, 2, 3].choose(rng).unwrap_or(&1);
    let changes = (0..count).map(|_| one_change(base, rng)).collect();
    Shot { base, tag, changes }
}

const OTHERS: &[Other] = &[
    Other::Read,
    Other::Read,
    Other::Write,
    Other::Write,
    Other::Poll,
    Other::Fsync,
    Other::Splice,
    Other::Nop,
    Other::CloseSlot,
];

fn one_change(base: Base, rng: &mut impl Rng) -> Change {
    let everybodys = match base {
        Base::Control(_) => 0..18,
        Base::Io(_) => 4..20,
        Base::Other(_) => 9..18,
    };
    match rng.random_range(everybodys) {
        0 => Change::Dev(device(base, rng)),
        1 => Change::PathLen(*[1, 7, 12, 64, 4096, 4097, u16::MAX].choose(rng).unwrap_or(&1)),
        2 | 3 => Change::Poke(rng.random_range(0..40), bits(rng)),
        4 => Change::CmdOp(bits(rng)),
        5 => Change::Queue(*[0, 1, 2, 0xff, 0x7fff, u16::MAX].choose(rng).unwrap_or(&1)),
        6 => Change::Tag(*[0, 1, 3, 4, 4095, 4096, u16::MAX].choose(rng).unwrap_or(&4)),
        7 => Change::Reserved(rng.random()),
        8 => Change::Slot(rng.random_range(0..4)),
        9 => Change::Len(*[0, 1, 7, 8, 63, 64, 65, 512, 4096, u16::MAX].choose(rng).unwrap_or(&1)),
        10 | 11 => Change::Place(place(rng)),
        12 => Change::Data(number(rng)),
        13 | 14 => Change::Flags(flags(rng)),
        15 => field(rng),
        16 => Change::To(*TARGETS.choose(rng).unwrap_or(&To::Decoy)),
        17 => Change::CmdFlags(*[1, 2, 3, 1 << 8, 1 << 31, u32::MAX].choose(rng).unwrap_or(&1)),
        18 => Change::Result(*[0, 1, -1, -5, 512, i32::MIN, i32::MAX].choose(rng).unwrap_or(&0)),
        _ => registration(rng),
    }
}

const TARGETS: &[To] =
    &[To::Control, To::Char, To::Char, To::Block, To::Block, To::Decoy, To::Nobody];

/// The bystander's id goes with commands that change nothing.
fn device(base: Base, rng: &mut impl Rng) -> Dev {
    let reads = [CtrlOp::GetDevInfo, CtrlOp::GetParams, CtrlOp::GetQueueAffinity];
    let harmless = matches!(base, Base::Control(nr) if reads.iter().any(|op| op.nr() == nr));
    match rng.random_range(0..4) {
        0 if harmless => Dev::Bystanders,
        1 => Dev::TooLarge,
        2 => Dev::Auto,
        _ => Dev::Nobodys,
    }
}

fn registration(rng: &mut impl Rng) -> Change {
    if rng.random_bool(0.3) {
        return Change::SqePlace(place(rng));
    }
    let index = *[0, 1, 7, 8, u16::MAX].choose(rng).unwrap_or(&0);
    let flags = *[0, 0, 1, 2, 0xff].choose(rng).unwrap_or(&0);
    let reserved = if rng.random_bool(0.2) { (1, 0) } else { (0, u32::from(rng.random_bool(0.2))) };
    Change::AutoReg(index, flags, reserved.0, reserved.1)
}

fn field(rng: &mut impl Rng) -> Change {
    match rng.random_range(0..5) {
        0 => Change::Ioprio(rng.random_range(1..=u16::MAX)),
        1 => Change::Pad(rng.random_range(1..=u32::MAX)),
        2 => Change::SqeLen(bits(rng)),
        3 => Change::BufIndex(rng.random()),
        _ => Change::Personality(rng.random_range(1..=u16::MAX)),
    }
}

/// One bit of IOSQE as a rule, all of them at times.
fn flags(rng: &mut impl Rng) -> u8 {
    if rng.random_bool(0.15) { rng.random() } else { 1 << rng.random_range(1..8) }
}

/// One bit, some bits, or all.
fn bits(rng: &mut impl Rng) -> u32 {
    match rng.random_range(0..10) {
        0 => u32::MAX,
        1 => rng.random(),
        2 => 0x8000_0000,
        _ => 1 << rng.random_range(0..32),
    }
}

fn number(rng: &mut impl Rng) -> u64 {
    let known = [
        0,
        1,
        u64::from(u16::MAX),
        u64::from(u32::MAX),
        1 << 31,
        1 << 32,
        1 << 62,
        1 << 63,
        u64::MAX,
        0x8000_0000,
        i64::MAX as u64,
    ];
    *known.choose(rng).unwrap_or(&0)
}

fn place(rng: &mut impl Rng) -> Place {
    let low = rng.random();
    let all = [
        Place::Null,
        Place::End(0),
        Place::End(rng.random_range(1..255)),
        Place::ReadOnly,
        Place::Unmapped,
        Place::Kernel(low),
        Place::NonCanonical(low),
        Place::Small(rng.random()),
        Place::TagBuffer(rng.random_range(0..4)),
    ];
    *all.choose(rng).unwrap_or(&Place::Null)
}
