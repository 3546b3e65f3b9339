//! What a request asks for, decoded once from the copied descriptor.

use crate::target::Hints;
use crate::uapi::{BlkZone, IoDesc, IoFlags, Op, SECTOR_BYTES, ShmemAddr};

/// A request, in the units of the block layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The operation.
    pub op: Op,
    /// The first sector. A sector is 512 bytes, whatever the logical block is.
    pub start_sector: u64,
    /// How many sectors; 0 for a flush. Of a report of zones: how many zones.
    pub nr_sectors: u32,
    /// A write that must be durable on completion.
    pub fua: bool,
    /// A write-zeroes that must not give the storage back.
    pub no_unmap: bool,
    /// What its sender says about it.
    pub hints: Hints,
    /// Its pages were to be registered with the ring and are not. Available since Linux 6.16.
    pub needs_registration: bool,
    /// Where its bytes are in shared memory, and nowhere else unless the server asks. Available since Linux 7.1.
    pub shared: Option<ShmemAddr>,
    /// It has metadata beside its data. Available since Linux 7.0.
    pub has_metadata: bool,
}

impl Descriptor {
    /// Decodes a descriptor; none for an operation without a name.
    pub fn from_wire(wire: &IoDesc) -> Option<Self> {
        let flags = wire.flags();
        let op = wire.op()?;
        // A FLUSH is about no sector, and the block layer says so with all ones.
        let (start_sector, nr_sectors) = match op {
            Op::Flush => (0, 0),
            _ => (wire.start_sector, wire.nr_sectors),
        };
        Some(Self {
            op,
            start_sector,
            nr_sectors,
            fua: flags.contains(IoFlags::FUA),
            no_unmap: flags.contains(IoFlags::NOUNMAP),
            hints: Hints::new(flags),
            needs_registration: flags.contains(IoFlags::NEED_REG_BUF),
            shared: flags.contains(IoFlags::SHMEM_ZC).then(|| ShmemAddr::decode(wire.addr)),
            has_metadata: flags.contains(IoFlags::INTEGRITY),
        })
    }

    /// The bytes it covers; 0 for a report of zones, which counts zones instead of sectors.
    pub fn len_bytes(&self) -> u64 {
        match self.op {
            Op::ReportZones => 0,
            _ => u64::from(self.nr_sectors) * SECTOR_BYTES,
        }
    }

    /// The bytes it moves through the tag's buffer: none for a flush, a discard or a write-zeroes.
    pub fn data_len_bytes(&self) -> u64 {
        match self.op {
            Op::Read | Op::Write | Op::ZoneAppend => self.len_bytes(),
            Op::ReportZones => u64::from(self.nr_sectors) * size_of::<BlkZone>() as u64,
            _ => 0,
        }
    }

    /// Whether it comes with bytes for the server.
    pub fn brings_data(&self) -> bool {
        matches!(self.op, Op::Write | Op::ZoneAppend)
    }

    /// Whether the server owes it bytes.
    pub fn wants_data(&self) -> bool {
        matches!(self.op, Op::Read | Op::ReportZones)
    }

    /// Where it begins, in bytes; none above what 64 bits hold.
    pub fn offset_bytes(&self) -> Option<u64> {
        self.start_sector.checked_mul(SECTOR_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(op_flags: u32, nr_sectors: u32, start_sector: u64) -> Option<Descriptor> {
        Descriptor::from_wire(&IoDesc { op_flags, nr_sectors, start_sector, addr: 0 })
    }

    #[test]
    fn operations_and_flags_are_told_apart() {
        let fua_write = decode(1 | 1 << 13, 8, 16).unwrap();
        assert_eq!(fua_write.op, Op::Write);
        assert!(fua_write.fua && !fua_write.no_unmap);
        assert_eq!((fua_write.offset_bytes(), fua_write.len_bytes()), (Some(8192), 4096));
        let zeroes = decode(5 | 1 << 15, 8, 0).unwrap();
        assert_eq!((zeroes.op, zeroes.no_unmap, zeroes.fua), (Op::WriteZeroes, true, false));
        assert_eq!((zeroes.len_bytes(), zeroes.data_len_bytes()), (4096, 0));
        let protected = decode(1 << 18, 8, 0).unwrap();
        assert!(protected.op == Op::Read && protected.has_metadata && !fua_write.has_metadata);
        let hinted = decode(0x0001_0f00, 1, 0).unwrap();
        assert_eq!((hinted.op, hinted.hints.flags()), (Op::Read, Hints::ALL));
        assert_eq!(fua_write.hints, Hints::default());
        assert_eq!(decode(200, 1, 0), None);
    }

    /// Found by `data/scattered-file-1q-4096` on 7.3: every FLUSH was answered EIO.
    #[test]
    fn a_flush_has_no_range_whatever_its_descriptor_says() {
        let flush = decode(2, 0, u64::MAX).unwrap();
        assert_eq!((flush.offset_bytes(), flush.len_bytes()), (Some(0), 0));
    }

    #[test]
    fn a_report_moves_zones_and_an_append_moves_sectors() {
        let report = decode(18, 3, 128).unwrap();
        assert_eq!((report.len_bytes(), report.data_len_bytes()), (0, 192));
        let append = decode(13, 3, 128).unwrap();
        assert_eq!((append.len_bytes(), append.data_len_bytes()), (1536, 1536));
        assert_eq!(decode(15, 0, 128).unwrap().data_len_bytes(), 0);
    }

    #[test]
    fn a_request_in_shared_memory_says_where() {
        let wire =
            IoDesc { op_flags: 1 | 1 << 19, nr_sectors: 8, start_sector: 0, addr: 3 << 32 | 4096 };
        let shared = Descriptor::from_wire(&wire).unwrap().shared;
        assert_eq!(shared, Some(ShmemAddr { index: 3, offset: 4096 }));
        // Without the flag the number is an address of the server's.
        assert_eq!(decode(1, 8, 0).unwrap().shared, None);
    }

    #[test]
    fn a_sector_no_byte_offset_can_name_is_none() {
        assert_eq!(decode(0, 1, u64::MAX).unwrap().offset_bytes(), None);
    }
}
