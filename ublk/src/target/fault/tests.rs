//! What a target and its reader see of each fault.

use std::time::Instant;

use super::*;
use crate::target::RamTarget;

fn faulty(rules: &[&str]) -> FaultTarget<RamTarget> {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    FaultTarget::new(RamTarget::new(1 << 20).unwrap(), rules)
}

fn finished(op: Op, len_bytes: u64, result: i32) -> Finished {
    Finished {
        queue: 0,
        tag: 0,
        op,
        offset_bytes: 4096,
        len_bytes,
        hints: Hints::default(),
        result,
    }
}

#[test]
fn an_error_is_seen_by_the_reader_and_not_by_the_target() {
    let disk = faulty(&["op=write,sectors=8-15,error=ENOSPC", "op=flush,error=EIO"]);
    let error = disk.write(4096, &[1; 4096], false).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(disk.inner().allocated_bytes(), 0);
    disk.write(0, &[1; 4096], false).unwrap();
    disk.read(4096, &mut [0; 4096]).unwrap();
    assert_eq!(disk.flush().unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(disk.rules[0].struck(), 1);
}

#[test]
fn a_flipped_read_leaves_the_medium_alone_and_a_flipped_write_does_not() {
    let differing = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != 5).count();
    let disk = faulty(&["op=read,times=1,flip"]);
    let mut bytes = [0; 4096];
    disk.write(0, &[5; 4096], false).unwrap();
    disk.read(0, &mut bytes).unwrap();
    assert_eq!(differing(&bytes), 1);
    disk.read(0, &mut bytes).unwrap();
    assert_eq!(differing(&bytes), 0);

    let disk = faulty(&["op=write,times=1,flip"]);
    disk.write(0, &[5; 4096], false).unwrap();
    for _ in 0..2 {
        disk.read(0, &mut bytes).unwrap();
        assert_eq!(differing(&bytes), 1);
    }
}

#[test]
fn a_short_write_loses_its_end_and_a_short_read_is_told() {
    let disk = faulty(&["short=512"]);
    disk.write(4096, &[5; 2048], false).unwrap();
    let mut bytes = [0; 2048];
    disk.read(4096, &mut bytes).unwrap();
    assert!(bytes[..512].iter().all(|b| *b == 5) && bytes[512..].iter().all(|b| *b == 0));
    let decide = |op, len, result| disk.before_commit(&finished(op, len, result));
    assert_eq!(decide(Op::Read, 2048, 2048), CommitDecision::Commit(512));
    assert_eq!(decide(Op::Read, 512, 512), CommitDecision::Commit(512));
    assert_eq!(decide(Op::Read, 2048, -libc::EIO), CommitDecision::Commit(-libc::EIO));
    assert_eq!(decide(Op::Discard, 2048, 2048), CommitDecision::Commit(2048));
}

#[test]
fn answers_are_withheld_or_held_back() {
    let disk = faulty(&["op=read,never", "op=write,reorder"]);
    let decide = |op| disk.before_commit(&finished(op, 512, 512));
    assert_eq!(decide(Op::Read), CommitDecision::Never);
    assert_eq!(decide(Op::Write), CommitDecision::CommitAfterNext(512));
    assert_eq!(decide(Op::Discard), CommitDecision::Commit(512));
    // Both at once: what is never answered cannot be late.
    let both = faulty(&["reorder", "never"]);
    assert_eq!(both.before_commit(&finished(Op::Read, 512, 512)), CommitDecision::Never);
}

#[test]
fn a_delay_takes_its_time() {
    let disk = faulty(&["op=read,delay=50ms"]);
    let begin = Instant::now();
    disk.write(0, &[0; 512], false).unwrap();
    let written = begin.elapsed();
    disk.read(0, &mut [0; 512]).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(written < Duration::from_millis(50), "{written:?}");
}

#[test]
fn rules_of_one_target_add_up() {
    let disk = faulty(&["delay=20ms", "op=read,error=EILSEQ"]);
    let begin = Instant::now();
    let error = disk.read(0, &mut [0; 512]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EILSEQ));
    assert!(begin.elapsed() >= Duration::from_millis(20));
}

#[test]
fn data_that_is_to_be_spoiled_has_to_come_by() {
    let wrap = |rule: &str| {
        let null = crate::target::NullTarget::untouched(4096);
        FaultTarget::new(null, vec![rule.parse().unwrap()])
    };
    assert!(wrap("error=EIO").capabilities().ignores_data);
    assert!(!wrap("flip").capabilities().ignores_data);
    assert!(!wrap("short=512").capabilities().ignores_data);
}

#[test]
fn zones_are_there_if_the_target_has_them_and_meet_faults_too() {
    use crate::target::{ZoneAction, ZonedRamOptions, ZonedRamTarget};
    assert!(faulty(&[]).zoned().is_none());
    let zoned = |rule: &str| {
        let options = ZonedRamOptions::new(1 << 20).zone_bytes(64 << 10);
        FaultTarget::new(ZonedRamTarget::new(options).unwrap(), vec![rule.parse().unwrap()])
    };
    let disk = zoned("op=zone-reset,sectors=128-255,error=EIO");
    let zones = disk.zoned().unwrap();
    assert_eq!(zones.geometry().zone_bytes, 64 << 10);
    zones.manage(ZoneAction::Reset, 0).unwrap();
    assert!(zones.manage(ZoneAction::Reset, 64 << 10).is_err());
    let disk = zoned("op=zone-append,flip");
    disk.zoned().unwrap().append(0, &[5; 512], false).unwrap();
    let mut bytes = [0; 512];
    disk.read(0, &mut bytes).unwrap();
    assert_eq!(bytes.iter().filter(|byte| **byte != 5).count(), 1);
    let disk = zoned("op=report-zones,error=EIO");
    assert!(disk.zoned().unwrap().report(0, 1, &mut |_| {}).is_err());
}

#[test]
fn data_and_metadata_are_spoiled_apart() {
    use crate::target::{IntegrityOptions, MetadataTarget};

    let options = IntegrityOptions { metadata_bytes: 8, ..IntegrityOptions::default() };
    let disk = |rule: &str| {
        let ram = || RamTarget::new(1 << 20).unwrap();
        let inner = MetadataTarget::new(ram(), ram(), options).unwrap();
        FaultTarget::new(inner, vec![rule.parse().unwrap()])
    };
    let spoiled = |rule: &str| {
        let disk = disk(rule);
        let door = disk.integrity().unwrap();
        assert_eq!(door.options().metadata_bytes, 8);
        door.write_with_metadata(0, &[5; 2048], &[6; 32], false).unwrap();
        let (mut data, mut metadata) = ([0; 2048], [0; 32]);
        door.read_with_metadata(0, &mut data, &mut metadata).unwrap();
        let wrong = |bytes: &[u8], right| bytes.iter().filter(|byte| **byte != right).count();
        (wrong(&data, 5), wrong(&metadata, 6))
    };
    assert_eq!(spoiled("op=read,flip"), (1, 0));
    assert_eq!(spoiled("op=write,flip"), (1, 0));
    assert_eq!(spoiled("op=read,flip-metadata"), (0, 1));
    assert_eq!(spoiled("op=write,flip-metadata"), (0, 1));
    assert_eq!(spoiled("op=write,short=512"), (1536, 24));
    let failing = disk("error=EIO");
    failing.integrity().unwrap().write_with_metadata(0, &[5; 512], &[6; 8], false).unwrap_err();
    assert!(FaultTarget::new(RamTarget::new(512).unwrap(), vec![]).integrity().is_none());
}
