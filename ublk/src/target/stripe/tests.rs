//! Where a stripe puts what, asked of its members.

use std::fs;

use super::*;
use crate::target::{FileOptions, FileTarget, RamTarget};

fn ramdisks(sizes: &[u64]) -> Vec<RamTarget> {
    sizes.iter().map(|size| RamTarget::new(*size).unwrap()).collect()
}

#[test]
fn chunks_go_to_the_members_in_turn() {
    let stripe = StripeTarget::new(ramdisks(&[1 << 20; 3]), 64 << 10).unwrap();
    let chunk = 64 << 10;
    let data: Vec<u8> = (1..=4).flat_map(|byte| vec![byte; chunk]).collect();
    stripe.write(0, &data, false).unwrap();
    for (member, at, byte) in [(0, 0, 1), (1, 0, 2), (2, 0, 3), (0, chunk as u64, 4)] {
        let mut part = vec![0; chunk];
        stripe.members[member].read(at, &mut part).unwrap();
        assert!(part.iter().all(|b| *b == byte), "member {member} at {at}");
    }
}

#[test]
fn the_smallest_member_decides_and_only_whole_chunks_count() {
    let stripe = StripeTarget::new(ramdisks(&[1 << 20, (1 << 19) + 100]), 64 << 10).unwrap();
    assert_eq!(stripe.size_bytes(), 2 * (1 << 19));
    assert_eq!(stripe.at_most(1_000_448).size_bytes(), 1_000_448);
}

#[test]
fn impossible_stripes_are_refused_with_the_reason() {
    let error = |sizes: &[u64], chunk| StripeTarget::new(ramdisks(sizes), chunk).unwrap_err();
    assert_eq!(error(&[1 << 20], 65536), StripeTargetError::Members { members: 1 });
    for bytes in [0, 512, 5000, 1 << 31] {
        assert_eq!(error(&[1 << 20; 2], bytes), StripeTargetError::Chunk { bytes });
    }
    assert!(error(&[1 << 20, 100], 65536).to_string().starts_with("member 1 has 100 bytes"));
    assert_eq!(
        error(&[1 << 20; 2], 4096).to_string(),
        "a chunk of 4096 bytes is finer than the 65536 bytes member 0 needs"
    );
}

#[test]
fn a_clear_is_one_call_for_each_member() {
    let stripe = StripeTarget::new(ramdisks(&[8 << 20; 3]), 64 << 10).unwrap();
    let ranges = |offset, len| -> Vec<(u64, u64)> {
        stripe.ranges(offset, len).map(|(_, at, len)| (at, len)).collect()
    };
    let chunk = 64 << 10;
    assert_eq!(ranges(0, 9 * chunk), [(0, 3 * chunk); 3]);
    // From the middle of member 1's first chunk to the middle of member 0's second.
    assert_eq!(ranges(chunk + 512, 2 * chunk), [(chunk, 512), (512, chunk - 512), (0, chunk)],);
    assert_eq!(ranges(chunk, 512), [(0, 512)]);
}

#[test]
fn a_member_that_fails_its_flush_does_not_keep_the_others_from_theirs() {
    #[derive(Default)]
    struct Cached(std::sync::atomic::AtomicU32, bool);
    impl Target for Cached {
        fn size_bytes(&self) -> u64 {
            1 << 20
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities { flush: true, ..Capabilities::default() }
        }
        fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Ok(())
        }
        fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if self.1 { Err(io::Error::other("broken")) } else { Ok(()) }
        }
    }
    let stripe =
        StripeTarget::new(vec![Cached(0.into(), true), Cached::default(), Cached::default()], 4096)
            .unwrap();
    assert!(stripe.flush().is_err());
    assert!(stripe.members.iter().all(|m| m.0.load(std::sync::atomic::Ordering::Relaxed) == 1));
    assert!(!stripe.capabilities().fua);
}

#[test]
fn extents_lead_to_the_bytes_that_a_read_gives() {
    let dir = tempfile::tempdir().unwrap();
    let members = (0..3).map(|member| {
        let options = FileOptions::new(dir.path().join(member.to_string())).size_bytes(1 << 20);
        FileTarget::open(options).unwrap()
    });
    let stripe = StripeTarget::new(members.collect(), 4096).unwrap();
    assert!(stripe.capabilities().extents);
    let data: Vec<u8> = (0..100_000_u32).map(|i| (i / 13) as u8).collect();
    stripe.write(3000, &data, false).unwrap();
    let files = stripe.files();
    assert_eq!(files.len(), 3);
    let mut extents = Extents::new();
    stripe.extents(Op::Read, 3000, data.len() as u32, &mut extents).unwrap();
    assert_eq!(extents.len_bytes(), data.len() as u64);
    let mut gathered = Vec::new();
    for Extent { file, offset_bytes, len_bytes } in extents.as_slice() {
        let mut part = vec![0; *len_bytes as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*files[*file], &mut part, *offset_bytes)
            .unwrap();
        gathered.extend(part);
    }
    assert!(gathered == data);
    assert_eq!(fs::metadata(dir.path().join("0")).unwrap().len(), 1 << 20);
}
