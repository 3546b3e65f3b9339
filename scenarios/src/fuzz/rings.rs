//! The rings that commands are sent through: set-up flags in every combination that means something, and some that do not.

use ublk::raw::WildShape;
use ublk::raw::setup::{
    COOP_TASKRUN, CQE_MIXED, CQE32, DEFER_TASKRUN, HYBRID_IOPOLL, IOPOLL, NO_SQARRAY, R_DISABLED,
    SINGLE_ISSUER, SQE_MIXED, SQE128, SQPOLL, SUBMIT_ALL, TASKRUN_FLAG,
};

/// What a ring's file table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    None,
    /// The control node, in slot 0.
    Control,
    /// The device's character node, in slots 0 and 1.
    Char,
}

/// One sort of ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) flags: u32,
    pub(super) files: Files,
}

const fn kind(name: &'static str, flags: u32) -> Kind {
    Kind { name, flags, files: Files::None }
}

/// All of them; the number of one is what a case names. New ones go to the end, for the sake of old reproducers.
pub(super) const KINDS: &[Kind] = &[
    kind("wide", SQE128),
    kind("narrow", 0),
    kind("wide, deferred", SQE128 | SINGLE_ISSUER | DEFER_TASKRUN),
    kind("narrow, deferred", SINGLE_ISSUER | DEFER_TASKRUN),
    kind("wide, SQPOLL", SQE128 | SQPOLL),
    kind("narrow, SQPOLL", SQPOLL),
    kind("wide, IOPOLL", SQE128 | IOPOLL),
    kind("narrow, IOPOLL", IOPOLL),
    kind("wide, big completions", SQE128 | CQE32),
    kind("mixed entries", SQE_MIXED),
    kind("mixed entries and completions", SQE_MIXED | CQE_MIXED | NO_SQARRAY),
    kind("wide, submits all", SQE128 | SUBMIT_ALL | COOP_TASKRUN | TASKRUN_FLAG),
    Kind { name: "wide, control in slot 0", flags: SQE128, files: Files::Control },
    Kind { name: "wide, the char device in slots", flags: SQE128, files: Files::Char },
    Kind { name: "SQPOLL, the char device in slots", flags: SQPOLL, files: Files::Char },
    kind("disabled", SQE128 | R_DISABLED),
    kind("wide, SQPOLL and IOPOLL", SQE128 | SQPOLL | IOPOLL),
    kind("hybrid IOPOLL", SQE128 | IOPOLL | HYBRID_IOPOLL),
    kind("mixed, SQPOLL", SQE_MIXED | SQPOLL),
    kind("flags that exclude each other", SQE128 | SQE_MIXED),
];

/// The ring with that number.
pub(super) fn of(number: u8) -> Kind {
    KINDS[usize::from(number) % KINDS.len()]
}

impl Kind {
    pub(super) fn shape(self) -> WildShape {
        WildShape { entries: 16, flags: self.flags, sq_idle_ms: 20 }
    }

    /// Whether a control command has its 128 bytes there.
    pub(super) fn takes_control(self) -> bool {
        self.flags & (SQE128 | SQE_MIXED) != 0
    }

    /// Whether control commands have to be made the wide ones of a mixed ring.
    pub(super) fn is_mixed(self) -> bool {
        self.flags & SQE_MIXED != 0
    }

    /// Whether commands are those of a kernel's thread.
    pub(super) fn has_thread(self) -> bool {
        self.flags & SQPOLL != 0
    }

    pub(super) fn is_iopoll(self) -> bool {
        self.flags & IOPOLL != 0
    }

    /// Whether nothing that is sent there is looked at.
    pub(super) fn is_disabled(self) -> bool {
        self.flags & R_DISABLED != 0
    }
}
