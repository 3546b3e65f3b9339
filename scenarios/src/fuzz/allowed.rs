//! What may be answered to an SQE. Where io_uring itself refuses a field, exactly that; where a command is right and the state
//! of its device is known, what the driver says there; else the errnos that the driver has for such a command.
//!
//! Sets were read from the driver (`errno-map.md`) and from io_uring; a kernel that answers otherwise is a finding, of the
//! kernel or of this table.

use std::collections::BTreeSet;

use nix::libc::{
    E2BIG, EACCES, EAGAIN, EBADF, EBUSY, ECANCELED, EEXIST, EFAULT, EINTR, EINVAL, EIO,
    ENAMETOOLONG, ENOBUFS, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ENXIO, EOPNOTSUPP, EOVERFLOW,
    EPERM, EREMOTEIO, ESPIPE,
};
use ublk::uapi::{CtrlOp, Features, IoCmdOp};

use super::act::{Racing, Stage};
use super::rings::{Files, Kind};
use super::shot::{Base, Change, Dev, Other, Shot, To, control_op, io_op};

/// A set of answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Anything that is no error.
    pub(super) done: bool,
    /// That no answer comes.
    pub(super) silence: bool,
    /// Errnos, positive.
    pub(super) errnos: BTreeSet<i32>,
}

impl Allowed {
    pub(super) fn only(errnos: &[i32]) -> Self {
        Self { errnos: errnos.iter().copied().collect(), ..Self::default() }
    }

    pub(super) fn done() -> Self {
        Self { done: true, ..Self::default() }
    }

    pub(super) fn done_or(errnos: &[i32]) -> Self {
        Self { done: true, ..Self::only(errnos) }
    }

    pub(super) fn or(mut self, errnos: &[i32]) -> Self {
        self.errnos.extend(errnos);
        self
    }

    fn or_silence(mut self) -> Self {
        self.silence = true;
        self
    }

    pub(super) fn takes(&self, result: i64) -> bool {
        if result >= 0 {
            return self.done;
        }
        i32::try_from(-result).is_ok_and(|errno| self.errnos.contains(&errno))
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        if self.done {
            names.push("done".into());
        }
        names.extend(self.errnos.iter().map(|errno| crate::context::errno(-errno)));
        if self.silence {
            names.push("no answer".into());
        }
        names.join(" or ")
    }
}

/// What is known of the device when a shot is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// Where the device is; none where a shot before may have changed that, and `Some(None)` where there is no device.
    pub(super) stage: Option<Option<Stage>>,
    /// Its char device is open, so that there is something to send to.
    pub(super) open: bool,
    pub(super) features: Features,
    pub(super) offered: Features,
    pub(super) ring: Kind,
    pub(super) races: &'a [Racing],
    /// Something before it in the same submission may keep it or cancel it.
    pub(super) chained: bool,
    /// A command that waits may hold what it needs.
    pub(super) blocked: bool,
}

const FIXED_FILE: u8 = 1;
pub(super) const IO_DRAIN: u8 = 2;
const BUFFER_SELECT: u8 = 32;
const CQE_SKIP: u8 = 64;
const NO_FLAG: u8 = 128;
/// Flags after which an SQE is part of a chain, or waits for others.
pub(super) const CHAINS: u8 = 2 | 4 | 8;

/// What may be answered.
pub(super) fn to(shot: &Shot, around: &Around<'_>) -> Allowed {
    let early = early(shot, around);
    let mut allowed = if early.is_empty() {
        late(shot, around)
    } else {
        Allowed::only(&early.into_iter().collect::<Vec<_>>())
    };
    let flags = shot.flags();
    // A fsync that fails is not marked as failed, so its completion is left out like that of one that succeeds (6.12.117).
    let silent = allowed.done || matches!(shot.base, Base::Other(Other::Fsync));
    if flags & CQE_SKIP != 0 && silent {
        allowed = allowed.or_silence();
    }
    if flags & (CQE_SKIP | IO_DRAIN) != 0 {
        allowed = allowed.or(&[EOPNOTSUPP]);
    }
    if around.chained {
        // A link that breaks takes the rest with it; before its head is refused, a bad member is said to be bad.
        allowed = allowed.or(&[ECANCELED, EINVAL]).or_silence();
    }
    if around.ring.is_disabled() {
        allowed = allowed.or_silence();
    }
    allowed
}

/// What io_uring, or the driver before all else, refuses; any of them may be first.
fn early(shot: &Shot, around: &Around<'_>) -> BTreeSet<i32> {
    let mut errnos = refused(shot, around);
    // 6.12 looks the registered buffer up when it takes the command, before it looks at the file; there is none.
    let fixed = shot.has(|c| matches!(c, Change::CmdFlags(flags) if flags & 1 != 0));
    if fixed && !errnos.is_empty() && !matches!(shot.base, Base::Other(_)) {
        errnos.insert(EFAULT);
    }
    errnos
}

fn refused(shot: &Shot, around: &Around<'_>) -> BTreeSet<i32> {
    let mut errnos = BTreeSet::new();
    let command = !matches!(shot.base, Base::Other(_));
    let flags = shot.flags();
    if flags & NO_FLAG != 0 || shot.has(|c| matches!(c, Change::Personality(1..))) {
        errnos.insert(EINVAL);
    }
    let multishot = shot.has(|c| matches!(c, Change::CmdFlags(2)));
    if flags & BUFFER_SELECT != 0 && command && !multishot {
        errnos.extend([EINVAL, EOPNOTSUPP]);
    }
    if !command {
        // Of several things that are wrong, this is looked at before a personality.
        let both = flags & BUFFER_SELECT != 0 && !errnos.is_empty();
        errnos.extend(both.then_some(EOPNOTSUPP));
        return errnos;
    }
    if shot.has(|c| matches!(c, Change::Ioprio(1..) | Change::Pad(1..))) {
        errnos.insert(EINVAL);
    }
    // A multishot command takes buffers of a group: either both or none.
    let takes_buffers = flags & BUFFER_SELECT != 0;
    let multishot_or_none = |flags: u32| flags & !1 != 0 && !(takes_buffers && flags == 2);
    if shot.has(|c| matches!(c, Change::CmdFlags(flags) if multishot_or_none(*flags))) {
        errnos.insert(EINVAL);
    }
    let slot = shot.changes.iter().rev().find_map(|change| match change {
        Change::Slot(slot) => Some(*slot),
        _ => None,
    });
    let slots = match around.ring.files {
        Files::None => 0,
        Files::Control => 1,
        Files::Char => 2,
    };
    // A slot's flag is set by the change; a later change of the flags may take it away again.
    let sets_slot = slot.is_some() || flags & FIXED_FILE != 0;
    if sets_slot && slot.is_none_or(|slot| slot >= slots) && slots == 0 {
        errnos.insert(EBADF);
    }
    if sets_slot {
        return errnos;
    }
    match shot.to() {
        To::Nobody => {
            errnos.insert(EBADF);
        }
        To::Decoy | To::Block => {
            errnos.insert(EOPNOTSUPP);
        }
        To::Control if matches!(shot.base, Base::Control(_)) && !around.ring.takes_control() => {
            errnos.insert(EINVAL);
            // Before 7.0 io_uring asks first whether the file has polled commands.
            errnos.extend(around.ring.is_iopoll().then_some(EOPNOTSUPP));
        }
        _ => {}
    }
    errnos
}

/// What the driver may say.
fn late(shot: &Shot, around: &Around<'_>) -> Allowed {
    let goes_elsewhere =
        shot.has(|c| matches!(c, Change::Slot(_))) || shot.flags() & FIXED_FILE != 0;
    if goes_elsewhere {
        return anything().or(&[EBADF]).or_silence();
    }
    let allowed = match (shot.base, shot.to()) {
        (Base::Other(other), To::Char) if !around.open => ordinary(other, To::Decoy, around),
        (Base::Other(other), to) => ordinary(other, to, around),
        (Base::Control(_), To::Char) => astray(shot.nr()),
        (Base::Io(_), To::Control) => Allowed::only(&[ENODEV, EOPNOTSUPP, EINVAL, EPERM]),
        (Base::Control(_), _) => control(shot, around),
        (Base::Io(_), _) => io(shot, around),
    };
    let allowed = if shot.flags() & BUFFER_SELECT != 0 {
        allowed.or(&[ENOBUFS, EINVAL, EOPNOTSUPP])
    } else {
        allowed
    };
    let allowed = if around.ring.is_iopoll() { allowed.or(&[EOPNOTSUPP]) } else { allowed };
    if shot.has(|c| matches!(c, Change::CmdFlags(1))) {
        return allowed.or(&[EFAULT, EINVAL]);
    }
    allowed
}

/// A control command with its own opcode or another one.
fn control(shot: &Shot, around: &Around<'_>) -> Allowed {
    let Base::Control(nr) = shot.base else { return anything() };
    if shot.has(|c| matches!(c, Change::CmdOp(1..))) {
        // What the bits make of it: another command, none, or one of another type.
        let other = shot.nr().and_then(control_op);
        let silence = other.is_none_or(may_wait) && other.is_some();
        let allowed = anything();
        return if silence || around.blocked { allowed.or_silence() } else { allowed };
    }
    let Some(op) = control_op(nr) else { return anything() };
    let mut allowed = match around.stage {
        Some(stage) if shot.changes.is_empty() && around.races.is_empty() && !around.blocked => {
            exact(op, stage, around).unwrap_or_else(|| of_control(op))
        }
        _ => of_control(op),
    };
    if shot.has(|c| matches!(c, Change::Dev(Dev::Nobodys | Dev::TooLarge)))
        && !matches!(op, CtrlOp::AddDev | CtrlOp::GetFeatures)
        && !around.races.contains(&Racing::First)
    {
        // The device is looked up before anything else is.
        return Allowed::only(&[ENODEV]);
    }
    for change in &shot.changes {
        allowed = allowed.or(of_change(op, change));
        let refused = matches!(change, Change::Dev(_) | Change::Len(_) | Change::Queue(_))
            || matches!(change, Change::Place(_) | Change::Poke(..) | Change::PathLen(_))
            || matches!(change, Change::Data(_));
        // A right command in another place may do what it would have done here.
        allowed.done |= refused && !matches!(op, CtrlOp::StartUserRecovery);
    }
    if !around.races.is_empty() {
        allowed = Allowed { done: true, ..allowed }.or(ANY);
    }
    if around.blocked || may_wait(op) && around.stage != Some(None) && !shot_is_exact(shot, around)
    {
        allowed = allowed.or_silence();
    }
    allowed
}

fn shot_is_exact(shot: &Shot, around: &Around<'_>) -> bool {
    shot.changes.is_empty() && around.races.is_empty() && around.stage.is_some()
}

/// Commands that may wait for somebody.
fn may_wait(op: CtrlOp) -> bool {
    matches!(
        op,
        CtrlOp::StartDev
            | CtrlOp::EndUserRecovery
            | CtrlOp::DelDev
            | CtrlOp::RegBuf
            | CtrlOp::UnregBuf
    )
}

/// Errnos of the driver's control commands, all together.
const ANY: &[i32] = &[
    ENODEV,
    EINVAL,
    EACCES,
    EPERM,
    EBUSY,
    EEXIST,
    EFAULT,
    EOPNOTSUPP,
    EINTR,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENAMETOOLONG,
    ENOTDIR,
];

fn anything() -> Allowed {
    Allowed::done_or(ANY)
}

/// What a right command may be answered, wherever its device is.
fn of_control(op: CtrlOp) -> Allowed {
    match op {
        CtrlOp::AddDev => Allowed::done_or(&[EINTR, ENOMEM]),
        CtrlOp::GetFeatures => Allowed::done(),
        // It looks its path up: the node of a device that was deleted is gone before the last holder is.
        CtrlOp::GetDevInfo2 => Allowed::done_or(&[ENODEV, ENOENT]),
        CtrlOp::DelDev | CtrlOp::DelDevAsync => Allowed::done_or(&[ENODEV, EINTR]),
        CtrlOp::StartDev => Allowed::done_or(&[ENODEV, EINVAL, EEXIST, EBUSY, EINTR]),
        CtrlOp::EndUserRecovery => Allowed::done_or(&[ENODEV, EINVAL, EBUSY, EINTR]),
        CtrlOp::StartUserRecovery => Allowed::done_or(&[ENODEV, EINVAL, EBUSY]),
        CtrlOp::TryStopDev => Allowed::done_or(&[ENODEV, EBUSY, EOPNOTSUPP]),
        CtrlOp::SetParams => Allowed::done_or(&[ENODEV, EACCES]),
        CtrlOp::UpdateSize => Allowed::done_or(&[ENODEV, EOPNOTSUPP]),
        CtrlOp::QuiesceDev => Allowed::done_or(&[ENODEV, EOPNOTSUPP, EBUSY, EINTR]),
        CtrlOp::RegBuf => Allowed::done_or(&[ENODEV, EOPNOTSUPP, EINVAL, EFAULT, EEXIST]),
        CtrlOp::UnregBuf => Allowed::done_or(&[ENODEV, EOPNOTSUPP, ENOENT]),
        _ => Allowed::done_or(&[ENODEV]),
    }
}

/// The answer where the state of the device is known; none where it is not one.
fn exact(op: CtrlOp, stage: Option<Stage>, around: &Around<'_>) -> Option<Allowed> {
    match op {
        CtrlOp::AddDev | CtrlOp::GetFeatures => return Some(Allowed::done()),
        _ => {}
    }
    let Some(stage) = stage else { return Some(Allowed::only(&[ENODEV])) };
    let knows = |feature: Features| around.offered.contains(feature);
    let unknown = || Some(Allowed::only(&[EOPNOTSUPP]));
    match op {
        CtrlOp::GetDevInfo | CtrlOp::GetDevInfo2 | CtrlOp::GetParams | CtrlOp::GetQueueAffinity => {
            Some(Allowed::done())
        }
        CtrlOp::SetParams if stage == Stage::Live => Some(Allowed::only(&[EACCES])),
        CtrlOp::SetParams | CtrlOp::StopDev => Some(Allowed::done()),
        CtrlOp::DelDev if stage < Stage::Opened => Some(Allowed::done()),
        CtrlOp::DelDev => Some(Allowed::done_or(&[EINTR]).or_silence()),
        CtrlOp::EndUserRecovery => Some(Allowed::done_or(&[EINVAL, EBUSY, EINTR]).or_silence()),
        CtrlOp::RegBuf if around.features.contains(Features::SHMEM_ZC) => {
            Some(Allowed::done_or(&[EINVAL, EFAULT, EEXIST]).or_silence())
        }
        CtrlOp::StartDev => match stage {
            Stage::Added => Some(Allowed::only(&[EINVAL])),
            Stage::Params | Stage::Opened => Some(Allowed::only(&[EINTR]).or_silence()),
            Stage::Fetched => Some(Allowed::done()),
            Stage::Live => Some(Allowed::only(&[EEXIST])),
        },
        CtrlOp::TryStopDev if !knows(Features::SAFE_STOP_DEV) => unknown(),
        CtrlOp::TryStopDev if stage < Stage::Live => Some(Allowed::only(&[ENODEV])),
        CtrlOp::UpdateSize if !knows(Features::UPDATE_SIZE) => unknown(),
        CtrlOp::UpdateSize if stage < Stage::Live => Some(Allowed::only(&[ENODEV])),
        CtrlOp::UpdateSize => Some(Allowed::done()),
        CtrlOp::QuiesceDev if !around.features.contains(Features::QUIESCE) => unknown(),
        CtrlOp::QuiesceDev if stage < Stage::Live => Some(Allowed::only(&[ENODEV])),
        CtrlOp::StartUserRecovery if !around.features.contains(Features::USER_RECOVERY) => {
            Some(Allowed::only(&[EINVAL]))
        }
        CtrlOp::StartUserRecovery => Some(Allowed::only(&[EBUSY, EINVAL])),
        CtrlOp::RegBuf | CtrlOp::UnregBuf if !around.features.contains(Features::SHMEM_ZC) => {
            unknown()
        }
        CtrlOp::UnregBuf => Some(Allowed::only(&[ENOENT])),
        _ => None,
    }
}

/// What a change adds to the answers of a control command.
fn of_change(op: CtrlOp, change: &Change) -> &'static [i32] {
    match change {
        Change::Place(_) | Change::Len(_) => {
            if op == CtrlOp::GetDevInfo2 {
                &[EINVAL, EFAULT, ENOENT, EPERM, EACCES, ENOTDIR, ENAMETOOLONG]
            } else {
                &[EINVAL, EFAULT]
            }
        }
        Change::PathLen(_) => &[EINVAL, EFAULT, ENOENT, EPERM, EACCES, ENOTDIR, ENAMETOOLONG],
        Change::Poke(..) => match op {
            CtrlOp::AddDev => &[EINVAL, EPERM, EEXIST, ENOMEM, ENOSPC, EOPNOTSUPP, EACCES],
            CtrlOp::GetDevInfo2 => &[EINVAL, ENOENT, EPERM, EACCES, ENOTDIR, ENAMETOOLONG],
            CtrlOp::SetParams => &[EINVAL, EFAULT, EOPNOTSUPP],
            CtrlOp::GetParams => &[EINVAL, EFAULT],
            CtrlOp::RegBuf => &[EINVAL, EFAULT, EEXIST, ENOMEM],
            _ => &[],
        },
        Change::Dev(_) => &[EINVAL, ENODEV],
        Change::Queue(_) => match op {
            CtrlOp::AddDev => &[EINVAL],
            _ => &[],
        },
        Change::Data(_) => match op {
            CtrlOp::StartDev
            | CtrlOp::EndUserRecovery
            | CtrlOp::GetQueueAffinity
            | CtrlOp::UnregBuf => &[EINVAL, ENOENT],
            CtrlOp::QuiesceDev => &[EBUSY],
            _ => &[],
        },
        _ => &[],
    }
}

/// An I/O command: its owner, its tag and its state are all wrong often enough that one set serves.
fn io(shot: &Shot, around: &Around<'_>) -> Allowed {
    let allowed = astray(shot.nr());
    let batch = around.features.contains(Features::BATCH_IO);
    if batch { allowed.or(&[EFAULT, ENOBUFS]) } else { allowed }
}

/// Anything that reaches a character node.
fn astray(nr: Option<u8>) -> Allowed {
    let errnos = Allowed::only(&[EINVAL, EOPNOTSUPP, EBUSY, ENODEV]);
    match nr.and_then(io_op) {
        None => errnos,
        Some(IoCmdOp::RegisterIoBuf | IoCmdOp::UnregisterIoBuf) => Allowed { done: true, ..errnos },
        Some(_) => Allowed { done: true, ..errnos }.or(&[EFAULT, ENOBUFS, E2BIG]).or_silence(),
    }
}

/// Operations that are no commands.
fn ordinary(other: Other, to: To, around: &Around<'_>) -> Allowed {
    let refused =
        Allowed::only(&[EINVAL, EBADF, EOPNOTSUPP, EACCES, EFAULT, ESPIPE, EAGAIN, EPERM]);
    let polled = around.ring.is_iopoll();
    match (other, to) {
        (Other::Nop, _) => Allowed::done_or(&[EINVAL]),
        (Other::CloseSlot, _) => Allowed::done_or(&[EBADF, ENXIO, EINVAL]),
        (Other::Poll, _) => Allowed::done_or(&[EINVAL]).or_silence(),
        (Other::Fsync, To::Char | To::Control) => Allowed::only(&[EINVAL]),
        (Other::Read | Other::Write, To::Char)
            if !around.features.contains(Features::USER_COPY) && !polled =>
        {
            // A device that is not live, or has no such copies; a position that is none.
            refused.or(&[EOVERFLOW])
        }
        (Other::Read | Other::Write, To::Control) => refused.or(&[EOVERFLOW, EPERM]),
        _ => Allowed { done: true, ..refused }
            .or(&[EIO, ENODEV, ENXIO, ENOSPC, EOVERFLOW, EREMOTEIO, EINTR, EPERM, ENOMEM])
            .or_silence(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rings;
    use super::super::shot::Place;
    use super::*;

    fn around(stage: Option<Stage>) -> Around<'static> {
        Around {
            stage: Some(stage),
            open: true,
            features: Features::empty(),
            offered: Features::all(),
            ring: rings::of(0),
            races: &[],
            chained: false,
            blocked: false,
        }
    }

    fn shot(op: CtrlOp, changes: Vec<Change>) -> Shot {
        Shot { base: Base::Control(op.nr()), tag: (0, 0), changes }
    }

    #[test]
    fn a_field_that_io_uring_refuses_has_one_answer() {
        let allowed = to(&shot(CtrlOp::AddDev, vec![Change::Pad(1)]), &around(None));
        assert_eq!(allowed, Allowed::only(&[EINVAL]));
        assert!(!allowed.takes(0) && allowed.takes(-i64::from(EINVAL)));
    }

    #[test]
    fn of_two_changes_of_one_field_the_later_counts() {
        let flags = |last| vec![Change::CmdFlags(3), Change::CmdFlags(last)];
        assert!(to(&shot(CtrlOp::AddDev, flags(1)), &around(None)).done);
        assert!(!to(&shot(CtrlOp::AddDev, flags(4)), &around(None)).done);
    }

    #[test]
    fn of_two_refusals_either_may_come() {
        let changes = vec![Change::Flags(BUFFER_SELECT), Change::Personality(7)];
        let nop = Shot { base: Base::Other(Other::Nop), tag: (0, 0), changes };
        assert_eq!(to(&nop, &around(None)), Allowed::only(&[EINVAL, EOPNOTSUPP]));
    }

    #[test]
    fn what_6_12_looks_at_first_or_leaves_out_is_taken() {
        let slot = vec![Change::Slot(1), Change::CmdFlags(1)];
        let fetch = Shot { base: Base::Io(IoCmdOp::FetchReq.nr()), tag: (0, 0), changes: slot };
        assert_eq!(to(&fetch, &around(None)), Allowed::only(&[EBADF, EFAULT]));
        let changes = vec![Change::Flags(CQE_SKIP)];
        let fsync = |changes| Shot { base: Base::Other(Other::Fsync), tag: (0, 0), changes };
        assert!(to(&fsync(changes), &around(None)).silence);
        assert!(!to(&fsync(vec![]), &around(None)).silence);
    }

    #[test]
    fn a_right_command_in_a_known_state_has_one_answer() {
        let start = shot(CtrlOp::StartDev, vec![]);
        assert_eq!(to(&start, &around(Some(Stage::Live))), Allowed::only(&[EEXIST]));
        assert!(to(&start, &around(Some(Stage::Opened))).silence);
    }

    #[test]
    fn what_the_kernel_keeps_to_itself_is_never_allowed() {
        for place in [Place::Null, Place::Unmapped, Place::Kernel(7)] {
            let shot = shot(CtrlOp::SetParams, vec![Change::Place(place)]);
            let allowed = to(&shot, &around(Some(Stage::Added)));
            for internal in 512..=531 {
                assert!(!allowed.takes(-internal), "{internal}");
            }
        }
    }
}
