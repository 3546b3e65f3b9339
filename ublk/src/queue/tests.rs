//! The worker against the double: what is answered, what is counted, and what a bad target cannot do.

use std::io;
use std::sync::Arc;

use proptest::prelude::*;

use super::double::{Answered, Double, Work};
use super::worker::Lane;
use super::*;
use crate::target::{Capabilities, CommitDecision, Finished, Op, RamTarget, Target};
use crate::uapi::IoDesc;

const BUFFER: usize = 64 << 10;
const DISK: u64 = 1 << 20;

fn work(op_flags: u32, start_sector: u64, nr_sectors: u32) -> Work {
    let len = if op_flags & 0xff == 1 { (nr_sectors as usize) << 9 } else { 0 };
    Work {
        descriptor: IoDesc { op_flags, nr_sectors, start_sector, addr: 0 },
        data: vec![start_sector as u8 | 1; len.min(BUFFER)],
    }
}

fn run(
    target: &dyn Target,
    depth: u16,
    work: Vec<Work>,
    adjust: impl FnOnce(&mut Double),
) -> (Result<(), QueueError>, Vec<Answered>, CounterSnapshot) {
    let counters = Arc::new(QueueCounters::default());
    let mut double = Double::new(depth, BUFFER);
    double.work.extend(work);
    adjust(&mut double);
    let mut worker = worker(double, 3, depth, Arc::clone(&counters));
    let ended = worker.fetch_all().and_then(|()| worker.serve(target));
    (ended, std::mem::take(&mut worker.port.answers), counters.snapshot())
}

fn worker(double: Double, queue: u16, depth: u16, counters: Arc<QueueCounters>) -> Worker<Double> {
    let transfer = double.transfer;
    let tags = TagSet::all(depth);
    let lane = Lane {
        queue,
        tags,
        fetches: tags,
        first_slot: 0,
        transfer,
        counters,
        ignores_data: false,
        extents: false,
    };
    Worker::with_port(double, vec![lane])
}

fn disk() -> RamTarget {
    RamTarget::new(DISK).unwrap()
}

#[test]
fn tickets_and_servers_travel_between_threads() {
    const fn is_send<T: Send>() {}
    const {
        is_send::<QueueTicket>();
        is_send::<crate::server::Server>();
        is_send::<crate::device::Device<crate::device::Live>>();
    }
}

#[test]
fn a_batch_costs_one_enter() {
    let requests = (0..64).map(|sector| work(0, sector, 1)).collect();
    let (ended, answers, counters) = run(&disk(), 16, requests, |_| {});
    ended.unwrap();
    assert_eq!(answers.len(), 64);
    assert!(answers.iter().all(|answer| answer.result == 512));
    // The fetch, four batches of 16, and the wait that brought the abort.
    assert_eq!(counters.enters, 6);
    assert_eq!((counters.reads, counters.bytes_read), (64, 64 * 512));
    assert_eq!(counters.in_flight_max, 16);
}

#[test]
fn every_operation_reaches_the_target_and_its_counter() {
    let requests = vec![
        work(1 | 1 << 13, 8, 8),
        work(1, 16, 8),
        work(0, 8, 8),
        work(2, u64::MAX, 0),
        work(3, 0, 128),
        work(5 | 1 << 15, 8, 8),
        work(0, 8, 8),
    ];
    let (ended, answers, counters) = run(&disk(), 1, requests, |_| {});
    ended.unwrap();
    let results: Vec<i32> = answers.iter().map(|answer| answer.result).collect();
    assert_eq!(results, [4096, 4096, 4096, 0, 65536, 4096, 4096]);
    assert_eq!(answers[2].data[..4096], [9; 4096]);
    assert_eq!(answers[6].data[..4096], [0; 4096]);
    let expected = CounterSnapshot {
        reads: 2,
        writes: 2,
        fua_writes: 1,
        flushes: 1,
        discards: 1,
        write_zeroes: 1,
        bytes_read: 8192,
        bytes_written: 8192,
        in_flight_max: 1,
        enters: counters.enters,
        ..CounterSnapshot::default()
    };
    assert_eq!(counters, expected);
}

/// Checks nothing itself: what reaches it must be right. A panic shows in the counters.
struct Trusting;

impl Target for Trusting {
    fn size_bytes(&self) -> u64 {
        DISK
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(offset_bytes + buffer.len() as u64 <= DISK, "out of bounds");
        Ok(())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], _fua: bool) -> io::Result<()> {
        assert!(offset_bytes + data.len() as u64 <= DISK, "out of bounds");
        Ok(())
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        assert!(offset_bytes + len_bytes <= DISK, "out of bounds");
        Ok(())
    }
}

#[test]
fn what_lies_outside_of_disk_or_buffer_is_eio_and_what_is_unknown_is_not_supported() {
    let (eio, unsupported) = (-libc::EIO, -libc::EOPNOTSUPP);
    let last = (DISK >> 9) - 1;
    for (request, expected) in [
        (work(0, last, 1), 512),
        (work(0, last + 1, 1), eio),
        (work(1, last, 2), eio),
        (work(0, u64::MAX, 1), eio),
        (work(0, (u64::MAX >> 9) - 1, u32::MAX), eio),
        (work(0, u64::MAX >> 9, 128), eio),
        (work(0, 0, 128), 65536),
        (work(0, 0, 129), eio),
        (work(3, 1, last as u32 + 1), eio),
        (work(3, 0, u32::MAX), eio),
        (work(13, 0, 1), unsupported),
        (work(99, 0, 1), unsupported),
    ] {
        let shown = format!("{:?}", request.descriptor);
        let (ended, answers, counters) = run(&Trusting, 4, vec![request], |_| {});
        ended.unwrap();
        assert_eq!(answers.len(), 1, "{shown}");
        assert_eq!(answers[0].result, expected, "{shown}");
        assert_eq!(counters.errors, u64::from(expected < 0), "{shown}");
        assert_eq!(counters.panics, 0, "{shown}");
    }
}

/// Panics, fails or lies, by sector.
struct Bad;

impl Target for Bad {
    fn size_bytes(&self) -> u64 {
        DISK
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        match offset_bytes >> 9 {
            0 => panic!("a target's bug"),
            1 => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            2 => Err(io::Error::other("checksum")),
            _ => {
                buffer.fill(5);
                Ok(())
            }
        }
    }

    fn write(&self, _offset_bytes: u64, _data: &[u8], _fua: bool) -> io::Result<()> {
        Ok(())
    }

    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        assert_eq!(finished.queue, 3);
        match (finished.op, finished.result) {
            (Op::Write, 512) => CommitDecision::Never,
            (Op::Write, 1024) => CommitDecision::Commit(-libc::EROFS),
            (Op::Write, 2048) => CommitDecision::CommitAfterNext(2048),
            (_, result) => CommitDecision::Commit(result),
        }
    }
}

#[test]
fn a_bad_target_costs_its_requests_and_never_the_queue() {
    let requests =
        vec![work(0, 0, 1), work(0, 1, 1), work(0, 2, 1), work(2, u64::MAX, 0), work(0, 3, 1)];
    let (ended, answers, counters) = run(&Bad, 1, requests, |_| {});
    ended.unwrap();
    let results: Vec<i32> = answers.iter().map(|answer| answer.result).collect();
    assert_eq!(results, [-libc::EIO, -libc::ENOSPC, -libc::EIO, -libc::EOPNOTSUPP, 512]);
    assert_eq!((counters.errors, counters.panics), (4, 1));
}

#[test]
fn the_seam_can_lie_and_a_withheld_tag_holds_the_queue_until_it_is_killed() {
    let requests = vec![work(1, 8, 1), work(1, 8, 2), work(0, 8, 1)];
    let (ended, answers, counters) = run(&Bad, 2, requests, |double| double.kill_at_end = true);
    assert!(matches!(ended, Err(QueueError::Killed { queue: 3 })));
    let results: Vec<i32> = answers.iter().map(|answer| answer.result).collect();
    assert_eq!(results, [-libc::EROFS, 512]);
    assert_eq!(counters.withheld, 1);
}

#[test]
fn an_answer_that_is_held_back_comes_after_the_next_one_or_before_the_queue_waits() {
    let requests = || vec![work(1, 8, 4), work(0, 8, 1), work(0, 9, 2)];
    for (batch, expected) in [
        // All at once: the read goes first. One at a time: there is no next one, and no hang either.
        (3, [512, 2048, 1024]),
        (1, [2048, 512, 1024]),
    ] {
        let (ended, answers, counters) = run(&Bad, 3, requests(), |double| double.batch = batch);
        ended.unwrap();
        let results: Vec<i32> = answers.iter().map(|answer| answer.result).collect();
        assert_eq!(results, expected, "batches of {batch}");
        assert_eq!((counters.writes, counters.reads), (1, 2));
    }
    // Two in a row: the first has waited long enough when the second is held back.
    let (ended, answers, _) = run(&Bad, 3, vec![work(1, 8, 4), work(1, 16, 4)], |_| {});
    ended.unwrap();
    assert_eq!(answers.len(), 2);
}

#[test]
fn a_dropped_request_is_answered_with_eio() {
    let counters = Arc::new(QueueCounters::default());
    let mut double = Double::new(2, BUFFER);
    double.work.extend([work(0, 0, 1), work(0, 1, 1)]);
    let mut queue = worker(double, 0, 2, counters);
    queue.fetch_all().unwrap();
    drop(queue.next_request().unwrap());
    let request = queue.next_request().unwrap().unwrap();
    let len_bytes = request.len_bytes();
    request.complete(len_bytes).unwrap();
    assert!(queue.next_request().unwrap().is_none());
    let results: Vec<i32> = queue.port.answers.iter().map(|answer| answer.result).collect();
    assert_eq!(results, [-libc::EIO, 512]);
}

#[test]
fn a_refused_fetch_is_an_error_before_the_queue_counts_as_armed() {
    let mut double = Double::new(2, BUFFER);
    double.refuse = Some((1, libc::EBUSY));
    let mut queue = worker(double, 0, 2, Arc::default());
    let refused = queue.fetch_all().unwrap_err();
    assert_eq!(refused.to_string(), "queue 0, tag 1: the kernel refused the fetch with errno 16");
}

#[test]
fn a_tag_can_be_left_out_and_fetched_later_but_not_twice() {
    let mut worker = worker(Double::new(2, BUFFER), 0, 2, Arc::default());
    worker.fetch(0).unwrap();
    assert!(matches!(worker.fetch(0), Err(QueueError::Tag { tag: 0, .. })));
    worker.fetch_all().unwrap();
    assert!(worker.next_request().unwrap().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Whatever is asked for, in whatever batches: each request is answered once, and the queue ends.
    /// The double panics on any breach of the protocol.
    #[test]
    fn each_request_is_answered_once(
        depth in 1..32_u16,
        batch in 1..40_usize,
        requests in prop::collection::vec(
            (any::<u8>().prop_map(|op| op % 7), 0..3000_u64, 0..160_u32), 0..200,
        ),
    ) {
        let count = requests.len();
        let works = requests.iter().map(|(op, start, len)| work(u32::from(*op), *start, *len));
        let (ended, answers, counters) =
            run(&disk(), depth, works.collect(), |double| double.batch = batch);
        ended.unwrap();
        prop_assert_eq!(answers.len(), count);
        prop_assert!(counters.in_flight_max <= u64::from(depth));
        let failed = answers.iter().filter(|answer| answer.result < 0).count() as u64;
        prop_assert_eq!(counters.errors, failed);
    }
}

/// Takes its time for each request.
#[derive(Debug)]
struct Slow(std::time::Duration);

impl Target for Slow {
    fn size_bytes(&self) -> u64 {
        DISK
    }

    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        std::thread::sleep(self.0);
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn latencies_are_counted_by_class_and_only_where_they_are_wanted() {
    let slow = Slow(std::time::Duration::from_millis(2));
    let requests = [work(0, 0, 1), work(0, 1, 1), work(1, 2, 1), work(2, u64::MAX, 0)];
    for (counters, wanted) in
        [(QueueCounters::with_latency(), true), (QueueCounters::default(), false)]
    {
        let counters = Arc::new(counters);
        let mut double = Double::new(2, BUFFER);
        double.work.extend(requests.iter().cloned());
        let mut queue = worker(double, 0, 2, Arc::clone(&counters));
        queue.fetch_all().and_then(|()| queue.serve(&slow)).unwrap();
        assert_eq!(counters.snapshot().reads, 2);
        let Some(seen) = counters.latency().map(LatencyHistogram::snapshot) else {
            assert!(!wanted);
            continue;
        };
        assert!(wanted);
        let counts = OpClass::ALL.map(|op| seen.class(op).count());
        assert_eq!(counts, [2, 1, 1, 0]);
        // Both reads came in one batch, and left together when the second one was done.
        assert!(seen.read.quantile_ns(0.0) >= Some(4_000_000), "{:?}", seen.read);
    }
}
