//! Requests with metadata, against the double with metadata beside it: what a target is given and gives, through
//! either door, goes where it belongs, and what cannot be kept is refused.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::double::{Double, Work};
use super::worker::Lane;
use super::*;
use crate::sys::gate::{Holder, SharedBuffer};
use crate::sys::worker_ring::Operation;
use crate::tag::Command;
use crate::target::{
    AsyncTarget, Checksum, CommitDecision, Finished, IntegrityOptions, IntegrityTarget,
    MetadataTarget, NullTarget, Op, RamTarget, Target,
};
use crate::uapi::IoDesc;

const DISK: u64 = 1 << 20;
const BUFFER: usize = 32 << 10;
const SHAPE: MetadataShape = MetadataShape { interval_bytes: 512, metadata_bytes: 8 };
const OPTIONS: IntegrityOptions = IntegrityOptions {
    metadata_bytes: 8,
    interval_bytes: Some(512),
    checksum: Checksum::Crc16T10Dif,
    tuple_offset_bytes: 0,
    tag_bytes: 0,
    storage_checks: false,
    reference_tag: false,
    max_segments: 0,
};
const WITH_METADATA: u32 = 1 << 18;

/// The double, and metadata beside it.
struct Beside {
    double: Double,
    shape: Option<MetadataShape>,
    /// The requests' own, by the sector where they begin.
    pages: BTreeMap<u64, Vec<u8>>,
    fail: Option<i32>,
}

impl Port for Beside {
    fn push(&mut self, slot: u32, command: Command) -> io::Result<()> {
        self.double.push(slot, command)
    }
    fn submit_and_wait(&mut self, want: u32) -> io::Result<()> {
        self.double.submit_and_wait(want)
    }
    fn next_completion(&mut self) -> Option<Completion> {
        self.double.next_completion()
    }
    fn descriptor(&mut self, slot: u32) -> IoDesc {
        self.double.descriptor(slot)
    }
    fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]> {
        self.double.buffer(slot, len_bytes)
    }
    fn user_copy(&mut self, slot: u32, len_bytes: usize, to_request: bool) -> io::Result<()> {
        self.double.user_copy(slot, len_bytes, to_request)
    }
    fn metadata_shape(&self, _: u32) -> Option<MetadataShape> {
        self.shape
    }
    fn buffers(
        &mut self,
        slot: u32,
        len_bytes: usize,
        metadata_len_bytes: usize,
    ) -> Option<(&mut [u8], &mut [u8])> {
        self.double.buffers(slot, len_bytes, metadata_len_bytes)
    }
    fn metadata_copy(&mut self, slot: u32, len_bytes: usize, to_request: bool) -> io::Result<()> {
        if let Some(errno) = self.fail {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let sector = self.double.descriptor(slot).start_sector;
        let (_, place) = self.double.buffers(slot, 0, len_bytes).expect("the queue's turn");
        if to_request {
            self.pages.insert(sector, place.to_vec());
        } else {
            place.copy_from_slice(&self.pages[&sector]);
        }
        Ok(())
    }
    fn ready(&mut self) -> usize {
        self.double.ready()
    }
    fn enters(&self) -> u64 {
        self.double.enters()
    }
    fn start(&mut self, slot: u32, index: u8, operation: Operation) -> io::Result<()> {
        self.double.start(slot, index, operation)
    }
    fn unregister(&mut self, slot: u32) -> io::Result<()> {
        self.double.unregister(slot)
    }
    fn shared_buffer(&mut self, slot: u32) -> Option<SharedBuffer> {
        self.double.shared_buffer(slot)
    }
    fn pass_to(&mut self, slot: u32, holder: Holder) -> bool {
        self.double.pass_to(slot, holder)
    }
    fn arm_wake(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.double.arm_wake(fd)
    }
}

fn write(start_sector: u64, nr_sectors: u32) -> Work {
    let op_flags = WITH_METADATA | 1;
    let descriptor = IoDesc { op_flags, nr_sectors, start_sector, addr: 0 };
    Work { descriptor, data: vec![7; (nr_sectors as usize) << 9] }
}

fn read(start_sector: u64, nr_sectors: u32) -> Work {
    let descriptor = IoDesc { op_flags: WITH_METADATA, nr_sectors, start_sector, addr: 0 };
    Work { descriptor, data: Vec::new() }
}

fn worker(work: Vec<Work>) -> Worker<Beside> {
    let mut double = Double::new(1, BUFFER as u32).unwrap();
    double.transfer = Transfer::UserCopy;
    let (transfer, tags) = (double.transfer, TagSet::all(1));
    let sent = |work: &Work| {
        let len = work.descriptor.nr_sectors as usize * 8;
        let metadata = (0..len).map(|at| (at as u8).wrapping_mul(3)).collect();
        (work.descriptor.op_flags & 0xff == 1).then_some((work.descriptor.start_sector, metadata))
    };
    let pages = work.iter().filter_map(sent).collect();
    double.work.extend(work);
    let port = Beside { double, shape: Some(SHAPE), pages, fail: None };
    let counters = Arc::default();
    let lane = Lane {
        queue: 0,
        tags,
        fetches: tags,
        first_slot: 0,
        transfer,
        counters,
        ignores_data: false,
        extents: false,
    };
    let mut worker = Worker::with_port(port, vec![lane]);
    worker.fetch_all().unwrap();
    worker
}

fn results(worker: &Worker<Beside>) -> Vec<i32> {
    worker.port.double.answers.iter().map(|answer| answer.result).collect()
}

fn disk() -> MetadataTarget<RamTarget, RamTarget> {
    let ram = || RamTarget::new(DISK).unwrap();
    MetadataTarget::new(ram(), ram(), OPTIONS).unwrap()
}

#[test]
fn metadata_goes_to_the_target_and_comes_back() {
    let disk = disk();
    let mut worker = worker(vec![write(8, 8), read(10, 4), read(100, 1)]);
    worker.serve(&disk).unwrap();
    assert_eq!(results(&worker), [4096, 2048, 512]);
    let pages = &worker.port.pages;
    assert_eq!(pages[&10], pages[&8][16..48]);
    assert_eq!(pages[&100], [0xff; 8], "nobody wrote there");
}

#[test]
fn a_short_answer_has_the_metadata_of_what_it_has() {
    struct Short(MetadataTarget<RamTarget, RamTarget>);
    impl Target for Short {
        fn size_bytes(&self) -> u64 {
            DISK
        }
        fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            panic!("it has metadata")
        }
        fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
            panic!("it has metadata")
        }
        fn integrity(&self) -> Option<&dyn IntegrityTarget> {
            Some(&self.0)
        }
        fn before_commit(&self, finished: &Finished) -> CommitDecision {
            CommitDecision::Commit(if finished.op == Op::Read { 1536 } else { finished.result })
        }
    }
    let mut worker = worker(vec![write(8, 8), read(8, 8)]);
    let sent = worker.port.pages[&8].clone();
    worker.serve(&Short(disk())).unwrap();
    assert_eq!(results(&worker), [4096, 1536]);
    assert_eq!(worker.port.pages[&8], sent[..24]);
}

#[test]
fn metadata_that_nobody_keeps_is_refused_and_not_lost() {
    let mut plain = worker(vec![write(0, 1), read(0, 1)]);
    plain.serve(&RamTarget::new(DISK).unwrap()).unwrap();
    assert_eq!(results(&plain), [-libc::EOPNOTSUPP; 2]);
    // Whoever wants no bytes wants no metadata.
    let mut null = worker(vec![write(0, 1), read(0, 1)]);
    null.serve(&NullTarget::untouched(DISK)).unwrap();
    assert_eq!(results(&null), [512; 2]);
    assert_eq!(null.port.pages.len(), 1);
}

#[test]
fn what_does_not_fit_never_reaches_the_target() {
    let disk = disk();
    let mut none = worker(vec![write(0, 8), read(0, 8)]);
    none.port.shape = None;
    none.serve(&disk).unwrap();
    let mut other = worker(vec![write(0, 8), read(0, 8)]);
    other.port.shape = Some(MetadataShape { interval_bytes: 4096, ..SHAPE });
    other.port.pages.insert(0, vec![0; 8]);
    other.serve(&disk).unwrap();
    let mut failing = worker(vec![write(0, 8), read(0, 8)]);
    failing.port.fail = Some(libc::EINVAL);
    failing.serve(&disk).unwrap();
    assert_eq!(results(&none), [-libc::EIO; 2]);
    assert_eq!(results(&other), [-libc::EIO; 2]);
    assert_eq!(results(&failing), [-libc::EINVAL; 2]);
    assert_eq!(disk.data().allocated_bytes(), 0);
}

#[test]
fn an_async_target_sees_metadata_in_its_turn() {
    struct Keeps(MetadataTarget<RamTarget, RamTarget>, Option<IntegrityOptions>);
    impl AsyncTarget for Keeps {
        fn size_bytes(&self) -> u64 {
            DISK
        }
        fn integrity(&self) -> Option<IntegrityOptions> {
            self.1
        }
        async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
            let at = request.offset_bytes();
            let mut data = request.with_bytes(|bytes| bytes.to_vec())?;
            let mut metadata = request.with_metadata(|bytes| bytes.to_vec())?;
            if request.op() == Op::Write {
                return self.0.write_with_metadata(at, &data, &metadata, false);
            }
            self.0.read_with_metadata(at, &mut data, &mut metadata)?;
            request.with_bytes(|bytes| bytes.copy_from_slice(&data))?;
            request.with_metadata(|bytes| bytes.copy_from_slice(&metadata))
        }
    }
    let mut kept = worker(vec![write(8, 8), read(10, 4)]);
    kept.serve_async(&Keeps(disk(), Some(OPTIONS))).unwrap();
    assert_eq!(results(&kept), [4096, 2048]);
    assert_eq!(kept.port.pages[&10], kept.port.pages[&8][16..48]);
    let mut plain = worker(vec![write(8, 8), read(10, 4)]);
    plain.serve_async(&Keeps(disk(), None)).unwrap();
    assert_eq!(results(&plain), [-libc::EOPNOTSUPP; 2]);
}
