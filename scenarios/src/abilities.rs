//! What a kernel can do that a ublk server depends on, asked once in each boot before any scenario runs. It is told beside
//! the verdicts and decides none of them; a scenario asks its own probe.

use std::time::Duration;

use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use nix::errno::Errno;
use reports::abilities::{Abilities, RingAbilities};
use ublk::ctrl::Control;
use ublk::features::Host;
use ublk::raw::{ControlFile, RawRing, RawSqe, RingShape};

use crate::rig::{arena, control_payload};

/// Longest wait for the answer to a command that is on no device.
const ANSWER: Duration = Duration::from_secs(10);
/// GET_DEV_INFO as it was before opcodes were encoded.
const LEGACY_GET_DEV_INFO: u32 = 0x02;
/// An id that no device can have.
const NO_DEVICE: u32 = u32::MAX;
/// Entries of the rings that are only made to be seen.
const ENTRIES: u32 = 4;

/// A ring of the entries that every kernel has.
type Plain = IoUring<squeue::Entry, cqueue::Entry>;
/// A name, and whether a ring with it can be made.
type Setup = (&'static str, fn() -> std::io::Result<()>);

/// Ring setups that servers want.
const SETUPS: &[Setup] = &[
    ("SQE128", || IoUring::<squeue::Entry128>::builder().build(ENTRIES).map(drop)),
    ("CQE32", || IoUring::<squeue::Entry, cqueue::Entry32>::builder().build(ENTRIES).map(drop)),
    ("SUBMIT_ALL", || Plain::builder().setup_submit_all().build(ENTRIES).map(drop)),
    ("COOP_TASKRUN", || Plain::builder().setup_coop_taskrun().build(ENTRIES).map(drop)),
    ("SINGLE_ISSUER", || Plain::builder().setup_single_issuer().build(ENTRIES).map(drop)),
    ("DEFER_TASKRUN", || {
        Plain::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES).map(drop)
    }),
    ("NO_SQARRAY", || Plain::builder().setup_no_sqarray().build(ENTRIES).map(drop)),
    ("SQPOLL", || Plain::builder().setup_sqpoll(1).build(ENTRIES).map(drop)),
];

/// Operations that servers want, beyond those that every kernel with a ublk driver has.
const WANTED: &[(&str, u8)] = &[
    ("URING_CMD", opcode::UringCmd16::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("READ_MULTISHOT", opcode::ReadMulti::CODE),
    ("FUTEX_WAIT", opcode::FutexWait::CODE),
    ("FTRUNCATE", opcode::Ftruncate::CODE),
    ("EPOLL_WAIT", opcode::EpollWait::CODE),
    ("READV_FIXED", opcode::ReadvFixed::CODE),
    ("PIPE", opcode::Pipe::CODE),
];

/// Asks the running kernel. What cannot be asked is left open.
#[must_use]
pub fn abilities() -> Abilities {
    let host = Control::open().ok().and_then(|mut control| Host::probe(&mut control).ok());
    Abilities {
        features: host.map(|host| names(host.features)).unwrap_or_default(),
        legacy_opcodes: legacy_opcodes(),
        zoned: host.and_then(|host| host.with_zoned_probe().zoned),
        io_uring: ring_abilities(),
    }
}

fn names(features: ublk::uapi::Features) -> Vec<String> {
    let known = features.names().into_iter().map(str::to_owned);
    let rest = Some(features.unknown()).filter(|bits| *bits != 0);
    known.chain(rest.map(|bits| format!("{bits:#x}"))).collect()
}

/// Any other answer than EOPNOTSUPP comes from behind the place where such opcodes are turned away.
fn legacy_opcodes() -> Option<bool> {
    let file = ControlFile::open().ok()?;
    let mut ring = RawRing::new(RingShape { sqe128: true, ..RingShape::default() }).ok()?;
    let arena = arena(4096).ok()?;
    let payload = control_payload(&arena, NO_DEVICE, 64);
    ring.push(&RawSqe::control(&file, LEGACY_GET_DEV_INFO, &payload)).ok()?;
    ring.submit().ok()?;
    let completions = ring.wait(1, ANSWER).ok()?;
    let answer = completions.first()?.res;
    Some(answer != -(Errno::EOPNOTSUPP as i32))
}

fn ring_abilities() -> Option<RingAbilities> {
    let ring = IoUring::new(ENTRIES).ok()?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).ok()?;
    let there = |names: &[(&str, u8)]| {
        let there = names.iter().filter(|(_, code)| probe.is_supported(*code));
        there.map(|(name, _)| (*name).to_owned()).collect()
    };
    let operations = (0..=u8::MAX).filter(|code| probe.is_supported(*code)).count();
    Some(RingAbilities {
        operations: u32::try_from(operations).unwrap_or(u32::MAX),
        setups: SETUPS
            .iter()
            .filter(|(_, made)| made().is_ok())
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        wanted: there(WANTED),
    })
}
