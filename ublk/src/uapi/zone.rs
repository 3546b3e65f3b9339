//! A zone as the block layer describes it (`linux/blkzoned.h`): what a server writes into the buffer of a
//! REPORT_ZONES. Not part of ublk's own header, and yet part of what a zoned server speaks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct blk_zone`. All places and lengths are in sectors of 512 bytes. Available since Linux 4.10, with
/// its capacity since Linux 5.9.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct BlkZone {
    /// First sector.
    pub start: u64,
    /// Length. A zone without one ends a report early.
    pub len: u64,
    /// The write pointer, where there is one.
    pub wp: u64,
    /// The kernel's `type`: a [`ZoneType`] as number.
    pub zone_type: u8,
    /// A [`ZoneCondition`] as number.
    pub cond: u8,
    /// Non-sequential write resources are active.
    pub non_seq: u8,
    /// A reset is recommended.
    pub reset: u8,
    /// Not looked at.
    pub resv: [u8; 4],
    /// Sectors that can be written, at most `len`.
    pub capacity: u64,
    /// Not looked at.
    pub reserved: [u8; 24],
}

layout!(BlkZone: 64 {
    start @ 0, len @ 8, wp @ 16, zone_type @ 24, cond @ 25, non_seq @ 26, reset @ 27, resv @ 28,
    capacity @ 32, reserved @ 40,
});

/// How a zone may be written, `enum blk_zone_type`. Available since Linux 4.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ZoneType {
    /// Anywhere, as on a disk without zones.
    Conventional = 1,
    /// Only at the write pointer.
    SequentialRequired = 2,
    /// Best at the write pointer. No driver here takes it from a ublk device.
    SequentialPreferred = 3,
}

/// In which condition a zone is, `enum blk_zone_cond`. Available since Linux 4.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ZoneCondition {
    /// It has no write pointer: a conventional zone.
    NotWritePointer = 0,
    /// Nothing is written.
    Empty = 1,
    /// Opened by a write; the device may close it to open another.
    ImplicitOpen = 2,
    /// Opened by a command.
    ExplicitOpen = 3,
    /// Partly written, and not open.
    Closed = 4,
    /// Cannot be written any more.
    ReadOnly = 13,
    /// Nothing more can be written before a reset.
    Full = 14,
    /// Can be neither read nor written.
    Offline = 15,
}

impl ZoneCondition {
    /// All of them, in order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::NotWritePointer,
        Self::Empty,
        Self::ImplicitOpen,
        Self::ExplicitOpen,
        Self::Closed,
        Self::ReadOnly,
        Self::Full,
        Self::Offline,
    ];

    /// The condition with that number, or `None` where no kernel here defines one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| *condition as u8 == code)
    }
}
