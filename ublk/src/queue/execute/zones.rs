//! The requests that only a device with zones gets, in the kernel's terms: sectors, and reports as arrays
//! of `struct blk_zone`.

use std::io;

use zerocopy::IntoBytes;

use super::{Answer, Descriptor};
use crate::target::{Op, Zone, ZoneAction, ZoneCondition, ZonedTarget, errno_of};
use crate::uapi::{BlkZone, SECTOR_BYTES, ZoneType};

/// As [`execute`](super::execute), which has checked the range and the buffer.
pub(super) fn execute(
    target: &dyn ZonedTarget,
    descriptor: &Descriptor,
    size_bytes: u64,
    buffer: &mut [u8],
) -> Answer {
    let Some(offset) = descriptor.offset_bytes() else { return (-libc::EIO).into() };
    let done = match descriptor.op {
        Op::ReportZones => report(target, offset, size_bytes, buffer),
        Op::ZoneAppend => return append(target, offset, buffer, descriptor.fua),
        Op::ZoneResetAll => target.reset_all(),
        op => match action_of(op) {
            Some(_) if offset >= size_bytes => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(action) => target.manage(action, offset),
            None => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        },
    };
    match done {
        // A report is all of its buffer; the others have none, and only their sign counts.
        Ok(()) => i32::try_from(buffer.len()).unwrap_or(i32::MAX).into(),
        Err(error) => (-errno_of(&error)).into(),
    }
}

fn action_of(op: Op) -> Option<ZoneAction> {
    Some(match op {
        Op::ZoneOpen => ZoneAction::Open,
        Op::ZoneClose => ZoneAction::Close,
        Op::ZoneFinish => ZoneAction::Finish,
        Op::ZoneReset => ZoneAction::Reset,
        _ => return None,
    })
}

fn append(target: &dyn ZonedTarget, offset: u64, data: &[u8], fua: bool) -> Answer {
    match target.append(offset, data, fua) {
        Ok(at) => Answer {
            result: i32::try_from(data.len()).unwrap_or(i32::MAX),
            append_sector: at / SECTOR_BYTES,
        },
        Err(error) => (-errno_of(&error)).into(),
    }
}

/// Fills the buffer with zones from the one at `offset` on. What is left of it after the last zone stays
/// zeroes, which is how the kernel knows the end.
fn report(
    target: &dyn ZonedTarget,
    offset: u64,
    size_bytes: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    let zone_bytes = target.geometry().zone_bytes;
    if zone_bytes == 0 || !offset.is_multiple_of(zone_bytes) {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    buffer.fill(0);
    let room = buffer.len() / size_of::<BlkZone>();
    let zones = (size_bytes.saturating_sub(offset) / zone_bytes).min(room as u64);
    let mut at = offset;
    let mut slots = buffer.chunks_exact_mut(size_of::<BlkZone>());
    target.report(offset, zones as u32, &mut |zone| {
        // A target that tells more than it was asked for is not believed.
        if let Some(slot) = slots.next() {
            slot.copy_from_slice(describe(at, zone_bytes, zone).as_bytes());
            at += zone_bytes;
        }
    })
}

fn describe(start_bytes: u64, zone_bytes: u64, zone: Zone) -> BlkZone {
    let conventional = zone.condition == ZoneCondition::NotWritePointer;
    let zone_type =
        if conventional { ZoneType::Conventional } else { ZoneType::SequentialRequired };
    BlkZone {
        start: start_bytes / SECTOR_BYTES,
        len: zone_bytes / SECTOR_BYTES,
        wp: zone.write_pointer_bytes / SECTOR_BYTES,
        zone_type: zone_type as u8,
        cond: zone.condition as u8,
        capacity: zone.capacity_bytes / SECTOR_BYTES,
        ..BlkZone::default()
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromBytes;

    use super::*;
    use crate::queue::execute;
    use crate::target::{RamTarget, Target, ZonedRamOptions, ZonedRamTarget};

    const ZONE: u64 = 64 << 10;
    const ZONE_SECTORS: u64 = ZONE / SECTOR_BYTES;

    fn disk() -> ZonedRamTarget {
        let options = ZonedRamOptions::new(8 * ZONE).zone_bytes(ZONE).conventional_zones(1);
        ZonedRamTarget::new(options).unwrap()
    }

    fn ask(target: &dyn Target, op: Op, start_sector: u64, nr: u32, buffer: &mut [u8]) -> Answer {
        let descriptor = Descriptor {
            op,
            start_sector,
            nr_sectors: nr,
            fua: false,
            no_unmap: false,
            hints: crate::target::Hints::default(),
            needs_registration: false,
            shared: None,
            has_metadata: false,
        };
        execute(target, &descriptor, target.size_bytes(), buffer)
    }

    fn report(target: &dyn Target, first: u64, zones: u32) -> (i32, Vec<BlkZone>) {
        let mut buffer = vec![0xEE; zones as usize * 64];
        let answer = ask(target, Op::ReportZones, first * ZONE_SECTORS, zones, &mut buffer);
        let zones = buffer.chunks_exact(64).map(|zone| BlkZone::read_from_bytes(zone).unwrap());
        (answer.result, zones.collect())
    }

    #[test]
    fn a_report_is_what_the_kernel_wants_it_to_be() {
        let disk = disk();
        assert_eq!(ask(&disk, Op::Write, ZONE_SECTORS, 3, &mut [1; 1536]), 1536.into());
        assert_eq!(ask(&disk, Op::ZoneFinish, 2 * ZONE_SECTORS, 0, &mut []), 0.into());
        let (result, zones) = report(&disk, 0, 8);
        assert_eq!(result, 512);
        let expected = |number: u64, zone_type, cond, written| BlkZone {
            start: number * ZONE_SECTORS,
            len: ZONE_SECTORS,
            wp: number * ZONE_SECTORS + written,
            zone_type,
            cond,
            capacity: ZONE_SECTORS,
            ..BlkZone::default()
        };
        assert_eq!(zones[0], expected(0, 1, 0, 0));
        assert_eq!(zones[1], expected(1, 2, 2, 3));
        assert_eq!(zones[2], expected(2, 2, 14, ZONE_SECTORS));
        assert_eq!(zones[7], expected(7, 2, 1, 0));
    }

    #[test]
    fn a_report_from_the_middle_ends_with_zeroes() {
        let (result, zones) = report(&disk(), 6, 4);
        assert_eq!(result, 256, "all of the buffer, or the kernel asks again for the rest");
        assert_eq!(zones[0].start, 6 * ZONE_SECTORS);
        assert_eq!(zones[1].start, 7 * ZONE_SECTORS);
        assert_eq!(zones[2..], [BlkZone::default(); 2]);
    }

    #[test]
    fn an_append_answers_with_its_sector() {
        let disk = disk();
        for sectors_before in [0, 2] {
            let answer = ask(&disk, Op::ZoneAppend, ZONE_SECTORS, 2, &mut [7; 1024]);
            let append_sector = ZONE_SECTORS + sectors_before;
            assert_eq!(answer, Answer { result: 1024, append_sector });
        }
        let refused = ask(&disk, Op::ZoneAppend, 0, 2, &mut [7; 1024]);
        assert_eq!(refused, (-libc::EIO).into());
        let mut back = [0; 2048];
        ask(&disk, Op::Read, ZONE_SECTORS, 4, &mut back);
        assert_eq!(back, [7; 2048]);
    }

    #[test]
    fn each_command_reaches_its_zone() {
        let disk = disk();
        let condition = || report(&disk, 3, 1).1[0].cond;
        for (op, expected) in [
            (Op::ZoneOpen, ZoneCondition::ExplicitOpen),
            (Op::ZoneClose, ZoneCondition::Empty),
            (Op::ZoneFinish, ZoneCondition::Full),
            (Op::ZoneReset, ZoneCondition::Empty),
            (Op::ZoneFinish, ZoneCondition::Full),
            (Op::ZoneResetAll, ZoneCondition::Empty),
        ] {
            let start = if op == Op::ZoneResetAll { 0 } else { 3 * ZONE_SECTORS };
            assert_eq!(ask(&disk, op, start, 0, &mut []), 0.into(), "{op}");
            assert_eq!(condition(), expected as u8, "{op}");
        }
    }

    #[test]
    fn what_is_out_of_range_or_without_zones_is_refused() {
        let disk = disk();
        let (eio, unsupported) = (Answer::from(-libc::EIO), Answer::from(-libc::EOPNOTSUPP));
        for op in [Op::ZoneOpen, Op::ZoneReset, Op::ZoneFinish] {
            assert_eq!(ask(&disk, op, 8 * ZONE_SECTORS, 0, &mut []), eio);
            assert_eq!(ask(&disk, op, 1, 0, &mut []), eio);
        }
        assert_eq!(ask(&disk, Op::ReportZones, 1, 1, &mut [0; 64]), eio);
        assert_eq!(ask(&disk, Op::ReportZones, 0, 2, &mut [0; 64]), eio, "another buffer");
        assert_eq!(ask(&disk, Op::ReportZones, u64::MAX, 1, &mut [0; 64]), eio);
        assert_eq!(report(&disk, 8, 1).1, [BlkZone::default()], "nothing behind the last zone");
        assert_eq!(ask(&disk, Op::ZoneAppend, 8 * ZONE_SECTORS, 1, &mut [0; 512]), eio);
        let plain = RamTarget::new(1 << 20).unwrap();
        for (op, mut buffer) in [(Op::ReportZones, vec![0; 64]), (Op::ZoneReset, vec![])] {
            assert_eq!(ask(&plain, op, 0, 1, &mut buffer), unsupported);
        }
    }
}
