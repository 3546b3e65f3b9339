//! Each target as a device, against the plainest reference there is, a `Vec<u8>`: any order of operations
//! must leave the same bytes, in any data mode. The reference starts as zeroes, as a device does.

use proptest::prelude::*;
use ublk::params::ParamsError;
use ublk::server::DataMode;
use ublk::target::{
    CowTarget, FaultTarget, FileOptions, FileTarget, NullTarget, RamTarget, StripeTarget, Target,
    ZoneAction, ZonedRamOptions, ZonedRamTarget,
};
use ublk::testing::Disk;

/// Two regions of the ramdisk and a bit, so that requests cross its locks.
const SIZE: u64 = (8 << 20) + 12_288;

#[derive(Clone, Debug)]
enum Operation {
    Read { at: u64, len: usize },
    Write { at: u64, len: usize, byte: u8, fua: bool },
    WriteZeroes { at: u64, len: u64, may_unmap: bool },
    Discard { at: u64, len: u64 },
    Flush,
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    let sectors = SIZE / 512;
    // Near the borders of chunks and regions as often as anywhere.
    let start = prop_oneof![
        0..sectors,
        (0..sectors / 128, 0..8_u64)
            .prop_map(|(chunk, jitter)| (chunk * 128 + jitter).saturating_sub(4)),
    ];
    (start, 1..600_u64).prop_map(move |(start, len)| {
        let start = start.min(sectors - 1);
        (start * 512, len.min(sectors - start) * 512)
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => range().prop_map(|(at, len)| Operation::Read { at, len: len as usize }),
        4 => (range(), any::<u8>(), any::<bool>()).prop_map(|((at, len), byte, fua)| {
            Operation::Write { at, len: len as usize, byte, fua }
        }),
        1 => (range(), any::<bool>()).prop_map(|((at, len), may_unmap)| {
            Operation::WriteZeroes { at, len, may_unmap }
        }),
        1 => range().prop_map(|(at, len)| Operation::Discard { at, len }),
        1 => Just(Operation::Flush),
    ]
}

/// Bytes that differ from their neighbours, so that a shifted copy shows.
fn pattern(len: usize, byte: u8) -> Vec<u8> {
    (0..len).map(|i| byte.wrapping_add((i / 7) as u8)).collect()
}

fn failed(error: &std::io::Error) -> TestCaseError {
    TestCaseError::fail(format!("the target failed: {error}"))
}

/// A device with the target, in any mode, and with requests so small that most operations are several.
fn device<T: Target>(target: T, mode: DataMode) -> Result<Disk<T>, ParamsError> {
    let disk = Disk::new(target)?.with_mode(mode).with_depth(8);
    disk.with_params(|params| params.max_io_bytes(64 << 10))
}

fn compare<T: Target>(
    target: T,
    mode: DataMode,
    operations: &[Operation],
) -> Result<(), TestCaseError> {
    let capabilities = target.capabilities();
    let made = device(target, mode);
    let disk = made.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let mut reference = vec![0_u8; SIZE as usize];
    for operation in operations {
        match *operation {
            Operation::Read { at, len } => {
                let mut buffer = vec![0xEE; len];
                disk.read(at, &mut buffer).map_err(|error| failed(&error))?;
                prop_assert!(buffer == reference[at as usize..][..len], "{operation:?} differs");
            }
            Operation::Write { at, len, byte, fua } => {
                let data = pattern(len, byte);
                let written = if fua { disk.write_fua(at, &data) } else { disk.write(at, &data) };
                written.map_err(|error| failed(&error))?;
                reference[at as usize..][..len].copy_from_slice(&data);
            }
            Operation::WriteZeroes { at, len, may_unmap } if capabilities.write_zeroes => {
                disk.write_zeroes(at, len, may_unmap).map_err(|error| failed(&error))?;
                reference[at as usize..][..len as usize].fill(0);
            }
            Operation::Discard { at, len } if capabilities.discard => {
                // All targets read a discarded range as zeroes.
                disk.discard(at, len).map_err(|error| failed(&error))?;
                reference[at as usize..][..len as usize].fill(0);
            }
            Operation::Flush if capabilities.flush => {
                disk.flush().map_err(|error| failed(&error))?;
            }
            // The kernel would not ask for it.
            Operation::WriteZeroes { .. } | Operation::Discard { .. } | Operation::Flush => {}
        }
    }
    let mut whole = vec![0xEE; SIZE as usize];
    // A target may be larger than asked for, never smaller.
    disk.read(0, &mut whole).map_err(|error| failed(&error))?;
    prop_assert!(whole == reference, "the whole device differs at the end");
    Ok(())
}

fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operation(), 1..most)
}

fn mode() -> impl Strategy<Value = DataMode> {
    prop::sample::select(DataMode::ALL.to_vec())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_ramdisk_is_a_vector(operations in operations(60), mode in mode()) {
        compare(RamTarget::new(SIZE).unwrap(), mode, &operations)?;
    }

    #[test]
    fn a_file_is_a_vector(operations in operations(30), mode in mode()) {
        let dir = tempfile::tempdir().unwrap();
        let options = FileOptions::new(dir.path().join("disk")).size_bytes(SIZE);
        compare(FileTarget::open(options).unwrap(), mode, &operations)?;
    }

    #[test]
    fn a_cow_over_zeroes_is_a_vector(
        operations in operations(60),
        mode in mode(),
        cluster_shift in 12_u32..=21,
    ) {
        let overlay = RamTarget::new(1 << 30).unwrap();
        let cow = CowTarget::new(NullTarget::new(SIZE), overlay, 1 << cluster_shift).unwrap();
        compare(cow, mode, &operations)?;
    }

    #[test]
    fn a_stripe_of_ramdisks_is_a_vector(
        operations in operations(60),
        mode in mode(),
        (members, chunk_shift) in (2_u64..=6, 16_u32..=20),
    ) {
        // As large as need be, whatever part of the last row is left over.
        let member_bytes = SIZE.div_ceil(members).next_multiple_of(1 << chunk_shift);
        let disks = (0..members).map(|_| RamTarget::new(member_bytes).unwrap()).collect();
        compare(StripeTarget::new(disks, 1 << chunk_shift).unwrap(), mode, &operations)?;
    }

    #[test]
    fn a_stripe_of_files_is_a_vector(
        operations in operations(30),
        mode in mode(),
        (members, chunk_shift) in (2_u64..=4, 12_u32..=17),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let member_bytes = SIZE.div_ceil(members).next_multiple_of(1 << chunk_shift);
        let files = (0..members).map(|member| {
            let options = FileOptions::new(dir.path().join(member.to_string()));
            FileTarget::open(options.size_bytes(member_bytes)).unwrap()
        });
        compare(StripeTarget::new(files.collect(), 1 << chunk_shift).unwrap(), mode, &operations)?;
    }

    /// A fault that strikes nothing changes nothing; one that answers late or in pieces does not either,
    /// for the block layer asks for the rest.
    #[test]
    fn a_fault_that_does_no_harm_is_not_seen(operations in operations(30), mode in mode()) {
        let rules = ["op=read,probability=0.3,short=4096", "probability=0.3,reorder"];
        // In the other modes the kernel believes a short read.
        let rules = if mode == DataMode::Copy { &rules[..] } else { &rules[1..] };
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        compare(FaultTarget::new(RamTarget::new(SIZE).unwrap(), rules), mode, &operations)?;
    }

    /// Zones are written in order, by appends and by writes; the reference is a vector for each.
    #[test]
    fn a_zoned_disk_is_its_zones(
        steps in prop::collection::vec((0..4_u64, 1..20_usize, 0..12_u8, any::<bool>()), 1..60),
    ) {
        const ZONE: u64 = 64 << 10;
        let target = ZonedRamTarget::new(ZonedRamOptions::new(4 * ZONE).zone_bytes(ZONE)).unwrap();
        let disk = Disk::new(target).unwrap();
        let mut zones = vec![Vec::<u8>::new(); 4];
        for (zone, sectors, what, append) in steps {
            let (start, written) = (zone * ZONE, &mut zones[zone as usize]);
            let at = start + written.len() as u64;
            if what == 0 {
                disk.manage(ZoneAction::Reset, start).map_err(|error| failed(&error))?;
                written.clear();
                continue;
            }
            let data = pattern(sectors * 512, what);
            let fits = written.len() + data.len() <= ZONE as usize;
            if append {
                prop_assert_eq!(disk.append(start, &data).ok(), fits.then_some(at));
            } else if fits {
                disk.write(at, &data).map_err(|error| failed(&error))?;
            } else {
                continue;
            }
            if fits {
                written.extend(data);
            }
        }
        for ((start, zone), written) in disk.report(0, 4).unwrap().iter().zip(&mut zones) {
            prop_assert_eq!(zone.write_pointer_bytes - start, written.len() as u64);
            written.resize(ZONE as usize, 0);
            let mut back = vec![0xEE; ZONE as usize];
            disk.read(*start, &mut back).map_err(|error| failed(&error))?;
            prop_assert!(back == *written, "the zone at {start} differs");
        }
    }
}

#[test]
fn queues_write_their_own_stripes_of_one_ramdisk() {
    let disk = RamTarget::new(SIZE).unwrap();
    let disk = &disk;
    std::thread::scope(|scope| {
        for queue in 0..4_u64 {
            scope.spawn(move || {
                for sector in (queue..SIZE / 512).step_by(4) {
                    disk.write(sector * 512, &[queue as u8 + 1; 512], false).unwrap();
                }
            });
        }
    });
    let mut whole = vec![0; SIZE as usize];
    disk.read(0, &mut whole).unwrap();
    for (sector, bytes) in whole.chunks(512).enumerate() {
        assert!(bytes.iter().all(|byte| *byte == (sector % 4) as u8 + 1), "sector {sector}");
    }
}

#[test]
fn null_reads_as_zeroes_and_its_other_form_leaves_the_buffer_alone() {
    let mut buffer = [7; 512];
    NullTarget::untouched(4096).read(0, &mut buffer).unwrap();
    assert_eq!(buffer, [7; 512]);
    let null = NullTarget::new(4096);
    null.write(0, &[1; 512], false).unwrap();
    null.read(0, &mut buffer).unwrap();
    assert_eq!(buffer, [0; 512]);
}
