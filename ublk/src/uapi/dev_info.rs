//! What a device is: the struct that ADD_DEV takes and the GET_DEV_INFO commands return.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{DEV_ID_AUTO, Features};

/// Largest queue depth ADD_DEV accepts. Available since Linux 6.0.
pub const MAX_QUEUE_DEPTH: u16 = 4096;

/// Largest number of queues ADD_DEV accepts; the driver then clamps it to the number of CPUs.
/// Available since Linux 6.0.
pub const MAX_NR_QUEUES: u16 = 4096;

/// Smallest descriptor, and the only size before [`Features::IO_DESC_SIZE`]. Available since Linux 6.0.
pub const MIN_IO_DESC_SIZE_BYTES: u16 = 24;

/// Largest descriptor; sizes are multiples of 8. Available since Linux 7.3.
pub const MAX_IO_DESC_SIZE_BYTES: u16 = 256;

/// `struct ublksrv_ctrl_dev_info`. Available since Linux 6.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct DevInfo {
    /// Hardware queues, 1 to [`MAX_NR_QUEUES`].
    pub nr_hw_queues: u16,
    /// Tags per queue, 1 to [`MAX_QUEUE_DEPTH`] (at least 2 with [`Features::BATCH_IO`]).
    pub queue_depth: u16,
    /// Written by the kernel; see [`DevInfo::state`].
    pub state: u16,
    /// Bytes per descriptor; 0 from kernels that have no such field, see [`DevInfo::io_desc_stride_bytes`].
    /// Available since Linux 7.3.
    pub io_desc_size: u16,
    /// Largest I/O in bytes; rounded down to a page.
    pub max_io_buf_bytes: u32,
    /// Device id, or [`DEV_ID_AUTO`] to let ADD_DEV choose.
    pub dev_id: u32,
    /// Process that serves the device, -1 when there is none.
    pub ublksrv_pid: i32,
    /// Stored and returned unchanged.
    pub pad1: u32,
    /// Requested, then effective, features.
    pub flags: Features,
    /// Opaque to the driver, stored and returned unchanged.
    pub ublksrv_flags: u64,
    /// Written by the kernel: uid of the caller of ADD_DEV.
    pub owner_uid: u32,
    /// Written by the kernel: gid of the caller of ADD_DEV.
    pub owner_gid: u32,
    /// Stored and returned unchanged.
    pub reserved1: u64,
    /// Stored and returned unchanged.
    pub reserved2: u64,
}

layout!(DevInfo: 64 {
    nr_hw_queues @ 0, queue_depth @ 2, state @ 4, io_desc_size @ 6, max_io_buf_bytes @ 8,
    dev_id @ 12, ublksrv_pid @ 16, pad1 @ 20, flags @ 24, ublksrv_flags @ 32, owner_uid @ 40,
    owner_gid @ 44, reserved1 @ 48, reserved2 @ 56,
});

impl DevInfo {
    /// A request for a device with an id of the kernel's choice.
    #[must_use]
    pub fn new(
        nr_hw_queues: u16,
        queue_depth: u16,
        max_io_buf_bytes: u32,
        flags: Features,
    ) -> Self {
        Self {
            nr_hw_queues,
            queue_depth,
            max_io_buf_bytes,
            dev_id: DEV_ID_AUTO,
            flags,
            ..Self::default()
        }
    }

    /// The device's state at the time the struct was read.
    #[must_use]
    pub const fn state(&self) -> DevState {
        DevState::from_raw(self.state)
    }

    /// Distance between two descriptors in the mapped area, in bytes; right for kernels that have no
    /// `io_desc_size` field too, where those two bytes are padding.
    #[must_use]
    pub const fn io_desc_stride_bytes(&self) -> u16 {
        if self.flags.contains(Features::IO_DESC_SIZE) {
            self.io_desc_size
        } else {
            MIN_IO_DESC_SIZE_BYTES
        }
    }
}

/// A device's state, `UBLK_S_DEV_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DevState {
    /// There is no disk. Available since Linux 6.0.
    Dead,
    /// The disk is there and served. Available since Linux 6.0.
    Live,
    /// The disk is there, its server is gone, I/O waits. Available since Linux 6.1.
    Quiesced,
    /// The disk is there, its server is gone, I/O fails. Available since Linux 6.13.
    FailIo,
    /// A number this crate does not know.
    Unknown(u16),
}

impl DevState {
    /// Takes the number of `DevInfo::state`.
    #[must_use]
    pub const fn from_raw(raw: u16) -> Self {
        match raw {
            0 => Self::Dead,
            1 => Self::Live,
            2 => Self::Quiesced,
            3 => Self::FailIo,
            other => Self::Unknown(other),
        }
    }

    /// The number of `DevInfo::state`.
    #[must_use]
    pub const fn raw(self) -> u16 {
        match self {
            Self::Dead => 0,
            Self::Live => 1,
            Self::Quiesced => 2,
            Self::FailIo => 3,
            Self::Unknown(raw) => raw,
        }
    }

    /// The kernel's name without its `UBLK_S_DEV_` prefix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dead => "DEAD",
            Self::Live => "LIVE",
            Self::Quiesced => "QUIESCED",
            Self::FailIo => "FAIL_IO",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

impl fmt::Display for DevState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_round_trip() {
        for raw in 0..6 {
            assert_eq!(DevState::from_raw(raw).raw(), raw);
        }
        assert_eq!(DevState::FailIo.to_string(), "FAIL_IO");
    }

    #[test]
    fn the_stride_ignores_padding_of_older_kernels() {
        let mut info = DevInfo::new(1, 2, 4096, Features::empty());
        info.io_desc_size = 64;
        assert_eq!(info.io_desc_stride_bytes(), 24);
        info.flags |= Features::IO_DESC_SIZE;
        assert_eq!(info.io_desc_stride_bytes(), 64);
    }
}
