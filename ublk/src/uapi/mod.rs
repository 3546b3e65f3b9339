//! The ublk kernel ABI as of Linux 7.3, and nothing else: numbers, wire structs and the formulas that join them.
//!
//! Everything here is plain data without I/O, so that the control client, the data plane, the conformance
//! suite and a reader with a hex dump share one definition. Sizes and offsets are asserted at compile time,
//! and `tests/uapi_header.rs` compares every item with a kernel header through the C compiler.
//!
//! "Available since Linux x.y." says when an item appeared upstream. Releases older than 6.12 are quoted
//! from the kernel's history, not from a source tree at hand: probe features, never compare versions.

#[macro_use]
pub(crate) mod macros;

mod batch;
mod ctrl;
mod dev_info;
mod flags;
mod io;
mod mapping;
mod op;
mod params;
mod shmem;
mod zone;

pub use batch::{BatchFlags, BatchIo, ElemHeader, FETCH_ELEM_BYTES, MAX_TAGS_PER_FETCH};
pub use ctrl::{
    CtrlCmd, CtrlOp, DEV_ID_AUTO, FEATURES_LEN_BYTES, MAX_DEV_ID, MAX_DEV_PATH_LEN_BYTES,
    QUEUE_ID_NONE, ioc_nr, ioc_type,
};
pub use dev_info::{
    DevInfo, DevState, MAX_IO_DESC_SIZE_BYTES, MAX_NR_QUEUES, MAX_QUEUE_DEPTH,
    MIN_IO_DESC_SIZE_BYTES,
};
pub use flags::Features;
pub use io::{
    AutoBufReg, AutoBufRegFlags, IO_RES_ABORT, IO_RES_NEED_GET_DATA, IO_RES_OK, IoCmd, IoCmdOp,
};
pub use mapping::{
    CMD_BUF_OFFSET, IO_BUF_BITS, IO_BUF_BITS_MASK, IO_BUF_OFF, IO_BUF_OFFSET, IO_BUF_TOTAL_BITS,
    IO_BUF_TOTAL_SIZE_BYTES, IO_INTEGRITY_FLAG, IO_INTEGRITY_FLAG_OFF, QID_BITS, QID_BITS_MASK,
    QID_OFF, TAG_BITS, TAG_BITS_MASK, TAG_OFF, UserCopyPos, desc_area_len_bytes, desc_area_offset,
    desc_area_stride_bytes,
};
pub use op::{IoDesc, IoFlags, Op};
pub use params::{
    Attrs, IntegrityFlags, MIN_SEGMENT_SIZE_BYTES, ParamBasic, ParamDevt, ParamDiscard,
    ParamDmaAlign, ParamIntegrity, ParamSegment, ParamTypes, ParamZoned, Params,
};
pub use shmem::{
    SHMEM_ADDR_IDX_MASK, SHMEM_ADDR_IDX_OFF, SHMEM_ADDR_OFF_MASK, ShmemAddr, ShmemBufFlags,
    ShmemBufReg,
};
pub use zone::{BlkZone, ZoneCondition, ZoneType};

/// Bytes in one sector, the unit of every `*_sectors` field of the ABI, whatever the logical block size.
pub const SECTOR_BYTES: u64 = 512;
