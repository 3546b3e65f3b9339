//! Data and metadata stay together, whoever writes what.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::target::RamTarget;

const DISK: u64 = 4 << 20;

const CRC: IntegrityOptions = IntegrityOptions {
    metadata_bytes: 16,
    interval_bytes: Some(512),
    checksum: Checksum::Crc16T10Dif,
    tuple_offset_bytes: 8,
    tag_bytes: 0,
    storage_checks: false,
    reference_tag: false,
    max_segments: 0,
};

type Disk = MetadataTarget<RamTarget, RamTarget>;

fn disk(options: IntegrityOptions) -> Disk {
    let room = options.metadata_len_bytes(DISK);
    MetadataTarget::new(RamTarget::new(DISK).unwrap(), RamTarget::new(room).unwrap(), options)
        .unwrap()
}

fn metadata(disk: &Disk, offset: u64, sectors: usize) -> Vec<u8> {
    let (mut data, mut metadata) = (vec![0; sectors * 512], vec![1; sectors * 16]);
    disk.read_with_metadata(offset, &mut data, &mut metadata).unwrap();
    metadata
}

#[test]
fn what_was_never_written_is_not_checked_and_takes_no_room() {
    let disk = disk(CRC);
    assert_eq!(metadata(&disk, 0, 8), [0xff; 128]);
    assert_eq!(disk.metadata().allocated_bytes(), 0);
    let opaque = super::tests::disk(IntegrityOptions { checksum: Checksum::None, ..CRC });
    assert_eq!(metadata(&opaque, 0, 8), [0; 128]);
}

#[test]
fn metadata_comes_back_with_its_data_across_stretches() {
    for options in [CRC, IntegrityOptions { checksum: Checksum::None, ..CRC }] {
        let disk = disk(options);
        let data: Vec<u8> = (0..2_u32 << 20).map(|at| (at / 512 % 251) as u8).collect();
        let sent: Vec<u8> = (0..65536_u32).map(|at| (at % 249) as u8).collect();
        let at = (1 << 20) - 512;
        disk.write_with_metadata(at, &data, &sent, true).unwrap();
        let (mut back, mut got) = (vec![0; data.len()], vec![0; sent.len()]);
        disk.read_with_metadata(at, &mut back, &mut got).unwrap();
        assert!(back == data && got == sent);
        assert_eq!(metadata(&disk, at + 512, 1), sent[16..32]);
    }
}

#[test]
fn data_without_metadata_and_cleared_data_lose_what_there_was() {
    let disk = disk(CRC);
    let write = || disk.write_with_metadata(0, &[7; 4096], &[3; 128], false).unwrap();
    write();
    disk.write(512, &[8; 512], true).unwrap();
    let got = metadata(&disk, 0, 8);
    assert_eq!((got[15], got[16], got[31], got[32]), (3, 0xff, 0xff, 3));
    for clear in [
        |disk: &Disk| disk.discard(0, 4096),
        |disk: &Disk| disk.write_zeroes(0, 4096, true),
        |disk: &Disk| disk.write_zeroes(0, 4096, false),
    ] {
        write();
        clear(&disk).unwrap();
        assert_eq!(metadata(&disk, 0, 8), [0xff; 128]);
    }
}

#[test]
fn what_is_no_whole_number_of_intervals_is_refused() {
    let coarse = disk(IntegrityOptions { interval_bytes: Some(4096), ..CRC });
    assert_eq!(coarse.capabilities().logical_block_bytes_min, 4096);
    for (offset, data, metadata) in [(512, 4096, 16), (0, 512, 16), (0, 4096, 15), (0, 4096, 32)] {
        let (data, metadata) = (vec![0; data], vec![0; metadata]);
        coarse.write_with_metadata(offset, &data, &metadata, false).unwrap_err();
    }
    coarse.write(0, &[0; 512], false).unwrap_err();
    coarse.write_with_metadata(0, &[0; 4096], &[0; 16], false).unwrap();
}

#[test]
fn a_disk_that_grows_has_room_for_its_metadata() {
    let disk = disk(CRC);
    disk.resize(2 * DISK).unwrap();
    assert_eq!(disk.metadata().size_bytes(), 2 * DISK / 512 * 16);
    disk.write_with_metadata(2 * DISK - 512, &[1; 512], &[2; 16], false).unwrap();
    assert_eq!(metadata(&disk, 2 * DISK - 512, 1), [2; 16]);
}

#[test]
fn impossible_ones_are_named() {
    let new = |options, room| {
        MetadataTarget::new(RamTarget::new(DISK).unwrap(), RamTarget::new(room).unwrap(), options)
            .map(drop)
    };
    let none = IntegrityOptions { metadata_bytes: 0, ..CRC };
    assert_eq!(new(none, DISK), Err(MetadataTargetError::Empty));
    let odd = IntegrityOptions { interval_bytes: Some(768), ..CRC };
    assert_eq!(new(odd, DISK), Err(MetadataTargetError::Interval { interval_bytes: 768 }));
    let wanted_bytes = DISK / 512 * 16;
    let size_bytes = wanted_bytes - 1;
    let error = new(CRC, size_bytes).unwrap_err();
    assert_eq!(error, MetadataTargetError::Room { wanted_bytes, size_bytes });
    new(CRC, wanted_bytes).unwrap();
}

/// The kernel would call it corruption.
#[test]
fn a_read_beside_a_write_sees_data_and_metadata_of_the_same_write() {
    let disk = disk(CRC);
    disk.write_with_metadata(0, &[0; 8192], &[0; 256], false).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2000_u32 {
                let mark = round as u8;
                disk.write_with_metadata(0, &[mark; 8192], &[mark; 256], false).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let (mut data, mut metadata) = ([0; 8192], [0; 256]);
            disk.read_with_metadata(0, &mut data, &mut metadata).unwrap();
            assert!(metadata.iter().all(|byte| *byte == data[0]), "{} {}", data[0], metadata[0]);
        }
    });
}
