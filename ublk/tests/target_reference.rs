//! Each target against the plainest reference there is, a `Vec<u8>`: any order of operations must leave
//! the same bytes. The reference starts as zeroes, as a device does.

use proptest::prelude::*;
use ublk::target::{
    CowTarget, FileOptions, FileTarget, NullTarget, RamTarget, StripeTarget, Target,
};

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

fn compare(target: &dyn Target, operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut reference = vec![0_u8; SIZE as usize];
    for operation in operations {
        match *operation {
            Operation::Read { at, len } => {
                let mut buffer = vec![0xEE; len];
                target.read(at, &mut buffer).map_err(|error| failed(&error))?;
                prop_assert!(buffer == reference[at as usize..][..len], "{operation:?} differs");
            }
            Operation::Write { at, len, byte, fua } => {
                let data = pattern(len, byte);
                target.write(at, &data, fua).map_err(|error| failed(&error))?;
                reference[at as usize..][..len].copy_from_slice(&data);
            }
            Operation::WriteZeroes { at, len, may_unmap } => {
                target.write_zeroes(at, len, may_unmap).map_err(|error| failed(&error))?;
                reference[at as usize..][..len as usize].fill(0);
            }
            Operation::Discard { at, len } => {
                if target.capabilities().discard {
                    // All targets read a discarded range as zeroes.
                    target.discard(at, len).map_err(|error| failed(&error))?;
                    reference[at as usize..][..len as usize].fill(0);
                }
            }
            Operation::Flush => target.flush().map_err(|error| failed(&error))?,
        }
    }
    let mut whole = vec![0xEE; SIZE as usize];
    // A target may be larger than asked for, never smaller.
    target.read(0, &mut whole).map_err(|error| failed(&error))?;
    prop_assert!(whole == reference, "the whole device differs at the end");
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_ramdisk_is_a_vector(operations in prop::collection::vec(operation(), 1..60)) {
        compare(&RamTarget::new(SIZE).unwrap(), &operations)?;
    }

    #[test]
    fn a_file_is_a_vector(operations in prop::collection::vec(operation(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let options = FileOptions::new(dir.path().join("disk")).size_bytes(SIZE);
        compare(&FileTarget::open(options).unwrap(), &operations)?;
    }

    #[test]
    fn a_cow_over_zeroes_is_a_vector(
        operations in prop::collection::vec(operation(), 1..60),
        cluster_shift in 12_u32..=21,
    ) {
        let overlay = RamTarget::new(1 << 30).unwrap();
        compare(&CowTarget::new(NullTarget::new(SIZE), overlay, 1 << cluster_shift).unwrap(), &operations)?;
    }

    #[test]
    fn a_stripe_of_ramdisks_is_a_vector(
        operations in prop::collection::vec(operation(), 1..60),
        (members, chunk_shift) in (2_u64..=6, 16_u32..=20),
    ) {
        // As large as need be, whatever part of the last row is left over.
        let member_bytes = SIZE.div_ceil(members).next_multiple_of(1 << chunk_shift);
        let disks = (0..members).map(|_| RamTarget::new(member_bytes).unwrap()).collect();
        compare(&StripeTarget::new(disks, 1 << chunk_shift).unwrap(), &operations)?;
    }

    #[test]
    fn a_stripe_of_files_is_a_vector(
        operations in prop::collection::vec(operation(), 1..30),
        (members, chunk_shift) in (2_u64..=4, 12_u32..=17),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let member_bytes = SIZE.div_ceil(members).next_multiple_of(1 << chunk_shift);
        let files = (0..members).map(|member| {
            let options = FileOptions::new(dir.path().join(member.to_string()));
            FileTarget::open(options.size_bytes(member_bytes)).unwrap()
        });
        compare(&StripeTarget::new(files.collect(), 1 << chunk_shift).unwrap(), &operations)?;
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
