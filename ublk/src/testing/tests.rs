//! The disk under test, tested: what reaches a target, what comes back, and what never gets there.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::sync::Mutex;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::*;
use crate::queue::AsyncRequest;
use crate::server::DataMode;
use crate::target::{
    AsyncTarget, Capabilities, CommitDecision, FaultTarget, Finished, Op, RamTarget, Target,
    ZoneAction, ZoneCondition, ZonedRamOptions, ZonedRamTarget,
};

const SIZE: u64 = 256 << 10;

/// Small requests, so that Miri need not clear megabytes.
fn small<T>(disk: Disk<T>) -> Disk<T> {
    disk.with_params(|params| params.max_io_bytes(8192)).unwrap()
}

fn ram() -> Disk<RamTarget> {
    small(Disk::new(RamTarget::new(SIZE).unwrap()).unwrap())
}

fn refused(result: io::Result<()>) -> Refused {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::InvalidInput, None));
    error.get_ref().unwrap().downcast_ref::<Refused>().unwrap().clone()
}

fn errno(result: io::Result<()>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn what_is_too_long_for_one_request_comes_in_pieces() {
    let disk = ram();
    let data: Vec<u8> = (0..20_480).map(|at| (at / 7) as u8).collect();
    disk.write(512, &data).unwrap();
    let mut back = vec![0; data.len()];
    disk.read(512, &mut back).unwrap();
    assert!(back == data);
    let counters = disk.counters();
    assert_eq!((counters.writes, counters.reads), (3, 3));
    assert_eq!((counters.bytes_written, counters.in_flight_max), (20_480, 3));
    // And at the borders that the parameters tell.
    let disk = disk.with_params(|params| params.chunk_bytes(4096)).unwrap();
    disk.write(512, &[1; 8192]).unwrap();
    assert_eq!(disk.counters().writes, 6);
    // Nothing is nothing.
    disk.read(0, &mut []).unwrap();
    disk.discard(0, 0).unwrap();
}

#[test]
fn every_mode_leads_to_the_same_bytes() {
    for mode in DataMode::ALL {
        let disk = ram().with_mode(mode);
        disk.write(8192, &[3; 12_288]).unwrap();
        disk.write_fua(8192, &[4; 512]).unwrap();
        disk.write_zeroes(12_288, 512, true).unwrap();
        let mut back = [0; 12_288];
        disk.read(8192, &mut back).unwrap();
        let expected = [[4; 512].as_slice(), &[3; 3584], &[0; 512], &[3; 7680]].concat();
        assert!(back == *expected, "{mode}");
    }
}

#[test]
fn what_the_kernel_would_never_send_is_refused_and_nothing_of_it_sent() {
    let disk = ram();
    let block_bytes = 512;
    assert_eq!(
        refused(disk.read(1, &mut [0; 512])),
        Refused::Unaligned { op: Op::Read, offset_bytes: 1, len_bytes: 512, block_bytes }
    );
    assert!(matches!(refused(disk.write(SIZE, &[0; 512])), Refused::OutOfRange { .. }));
    assert!(matches!(refused(disk.discard(u64::MAX - 511, 512)), Refused::OutOfRange { .. }));
    let submit = |request| refused(disk.submit(&[Request::read(0, 512), request]).map(drop));
    assert!(matches!(submit(Request::read(0, 8704)), Refused::TooLong { max_bytes: 8192, .. }));
    assert_eq!(submit(Request::read(0, 0)), Refused::Empty { op: Op::Read });
    assert_eq!(submit(Request::reset_all()), Refused::NoZones { op: Op::ZoneResetAll });
    let read_only = ram().with_params(|params| params.read_only(true)).unwrap();
    assert_eq!(refused(read_only.write(0, &[0; 512])), Refused::ReadOnly { op: Op::Write });
    assert_eq!(refused(read_only.discard(0, 512)), Refused::ReadOnly { op: Op::Discard });
    assert_eq!(disk.counters().reads, 0);
}

#[test]
fn capabilities_decide_what_a_target_is_ever_asked() {
    let disk = small(Disk::new(Odd::default()).unwrap());
    for (result, capability) in [
        (disk.flush(), "flush"),
        (disk.discard(0, 512), "discard"),
        (disk.write_zeroes(0, 512, true), "write_zeroes"),
        (disk.submit(&[Request::write(0, [0; 512]).fua()]).map(drop), "{flush, fua}"),
    ] {
        let told =
            matches!(refused(result), Refused::Unable { capability: c, .. } if c == capability);
        assert!(told, "{capability}");
    }
    assert_eq!(disk.target().asked.lock().unwrap().as_slice(), []);
    // A write that must be durable is one, and a flush where there is a cache.
    disk.write_fua(2048, &[0; 512]).unwrap();
    assert_eq!(*disk.target().asked.lock().unwrap(), [Op::Write]);
    let cached = Odd { flush: true, ..Odd::default() };
    let disk = small(Disk::new(cached).unwrap());
    disk.write_fua(2048, &[0; 512]).unwrap();
    assert_eq!(*disk.target().asked.lock().unwrap(), [Op::Write, Op::Flush]);
}

/// Does odd things, by sector.
#[derive(Default)]
struct Odd {
    flush: bool,
    asked: Mutex<Vec<Op>>,
}

impl Target for Odd {
    fn size_bytes(&self) -> u64 {
        SIZE
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { flush: self.flush, ..Capabilities::default() }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        match offset_bytes / 512 {
            0 => panic!("on purpose"),
            1 => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            2 => Err(io::Error::from_raw_os_error(libc::EACCES)),
            // It has forgotten the buffer.
            3 => Ok(()),
            _ => {
                buffer.fill(1);
                Ok(())
            }
        }
    }

    fn write(&self, _: u64, _: &[u8], fua: bool) -> io::Result<()> {
        assert!(!fua);
        self.asked.lock().unwrap().push(Op::Write);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.asked.lock().unwrap().push(Op::Flush);
        Ok(())
    }

    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        match (finished.op, finished.offset_bytes / 512) {
            (Op::Write, 0) => CommitDecision::Never,
            (Op::Write, 1) => CommitDecision::CommitAfterNext(finished.result),
            // Less than was asked for, each time.
            (Op::Read, 16..24) => CommitDecision::Commit(finished.result.min(1536)),
            (Op::Read, 33) => CommitDecision::Commit(0),
            _ => CommitDecision::Commit(finished.result),
        }
    }
}

#[test]
fn errors_are_what_an_application_sees() {
    let disk = small(Disk::new(Odd::default()).unwrap());
    let read = |sector: u64| disk.read(sector * 512, &mut [0; 512]);
    assert_eq!(errno(read(0)), libc::EIO);
    assert_eq!(errno(read(1)), libc::ENOSPC);
    assert_eq!(errno(read(2)), libc::EIO, "the block layer has no status for EACCES");
    assert_eq!(errno(read(33)), libc::EIO, "a read of nothing");
    read(4).unwrap();
    let mut unfilled = [0; 512];
    disk.read(1536, &mut unfilled).unwrap();
    assert_ne!(unfilled, [0; 512], "zeroes would look right");
    assert_eq!((disk.counters().panics, disk.counters().errors), (1, 3));
}

#[test]
fn the_rest_of_a_short_read_is_asked_for_again() {
    let disk = small(Disk::new(Odd::default()).unwrap());
    let mut back = [0; 4096];
    disk.read(8192, &mut back).unwrap();
    assert_eq!(back, [1; 4096]);
    assert_eq!(disk.counters().reads, 3);
}

#[test]
fn answers_come_in_the_order_in_which_they_were_given_and_some_never() {
    let disk = small(Disk::new(Odd::default()).unwrap());
    let write = |sector: u64| Request::write(sector * 512, [0; 512]);
    let answers = disk.submit(&[write(0), write(1), write(2), write(3)]).unwrap();
    let order: Vec<usize> = answers.iter().map(|answer| answer.request).collect();
    assert_eq!(order, [2, 1, 3]);
    let never = disk.write(0, &[0; 512]).unwrap_err();
    assert_eq!((never.kind(), never.raw_os_error()), (io::ErrorKind::TimedOut, None));
    // Even those that had no tag because of it.
    let one_at_a_time = disk.with_depth(1);
    assert!(one_at_a_time.submit(&[write(0), write(2)]).unwrap().is_empty());
    assert_eq!(one_at_a_time.submit(&[write(2), write(0)]).unwrap().len(), 1);
    one_at_a_time.write(1024, &[0; 512]).unwrap();
}

#[test]
fn zones_are_appended_to_described_and_emptied() {
    const ZONE: u64 = 64 << 10;
    let options = ZonedRamOptions::new(4 * ZONE).zone_bytes(ZONE).conventional_zones(1);
    let disk = Disk::new(ZonedRamTarget::new(options).unwrap()).unwrap();
    for mode in [DataMode::Copy, DataMode::GetData, DataMode::ZeroCopy] {
        let disk = &disk;
        assert_eq!(disk.append(ZONE, &[1; 512]).unwrap(), ZONE, "{mode}");
        assert_eq!(disk.append(ZONE, &[2; 512]).unwrap(), ZONE + 512);
        let mut back = [0; 1024];
        disk.read(ZONE, &mut back).unwrap();
        assert_eq!((back[0], back[512]), (1, 2));
        disk.manage(ZoneAction::Finish, 2 * ZONE).unwrap();
        let zones = disk.report(0, 9).unwrap();
        let conditions: Vec<ZoneCondition> = zones.iter().map(|(_, zone)| zone.condition).collect();
        use ZoneCondition::{Empty, Full, ImplicitOpen, NotWritePointer};
        assert_eq!(conditions, [NotWritePointer, ImplicitOpen, Full, Empty]);
        assert_eq!((zones[1].0, zones[1].1.write_pointer_bytes), (ZONE, ZONE + 1024));
        disk.reset_all().unwrap();
    }
    assert_eq!(errno(disk.write(ZONE + 512, &[0; 512])), libc::EIO, "not at the write pointer");
    let not_a_zone = disk.append(512, &[0; 512]).unwrap_err();
    assert_eq!(not_a_zone.to_string(), "ZONE_APPEND at 512: zones begin at multiples of 65536");
}

#[test]
fn a_faulty_target_is_as_faulty_as_on_a_machine() {
    let rules = ["op=read,sectors=0-7,error=EIO", "op=write,sectors=8-15,never"];
    let rules = rules.map(|rule| rule.parse().unwrap()).to_vec();
    let disk = small(Disk::new(FaultTarget::new(RamTarget::new(SIZE).unwrap(), rules)).unwrap());
    assert_eq!(errno(disk.read(0, &mut [0; 512])), libc::EIO);
    assert_eq!(disk.write(4096, &[0; 512]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    disk.read(4096, &mut [0; 512]).unwrap();
}

/// Waits in its own way, by sector.
#[derive(Default)]
struct Waits {
    wakers: Mutex<Vec<std::task::Waker>>,
}

impl AsyncTarget for Waits {
    fn size_bytes(&self) -> u64 {
        SIZE
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        match request.offset_bytes() / 512 {
            0 => panic!("on purpose"),
            1 => request.sleep(Duration::from_millis(40)).await?,
            2 => request.sleep(Duration::from_millis(1)).await?,
            3 => {
                let asked = Cell::new(false);
                poll_fn(|context| {
                    if asked.replace(true) {
                        return Poll::Ready(());
                    }
                    let waker = context.waker().clone();
                    std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_millis(10));
                        waker.wake();
                    });
                    Poll::Pending
                })
                .await;
            }
            // Nobody ever wakes it.
            4 => {
                poll_fn(|context| {
                    self.wakers.lock().unwrap().push(context.waker().clone());
                    Poll::<()>::Pending
                })
                .await;
            }
            5 => request.read_file(0, 0, 0, 512).await.map(drop)?,
            _ => {}
        }
        if request.op() == Op::Read { request.with_bytes(|bytes| bytes.fill(9)) } else { Ok(()) }
    }
}

#[test]
fn tasks_sleep_and_are_woken_while_others_go_on() {
    let disk = small(Disk::new_async(Waits::default()).unwrap());
    let reads = [1, 3, 2, 0, 5, 6].map(|sector| Request::read(sector * 512, 512));
    let begin = Instant::now();
    let answers = disk.submit(&reads).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(40));
    let order: Vec<usize> = answers.iter().map(|answer| answer.request).collect();
    // What waits for nothing goes first; the short sleep is over before the long one. When the call from
    // outside comes is nobody's promise.
    assert_eq!(order[..3], [3, 4, 5]);
    let place = |request: usize| order.iter().position(|other| *other == request).unwrap();
    assert!(place(2) < place(0) && order.contains(&1), "{order:?}");
    let results: Vec<Option<i32>> = answers
        .iter()
        .map(|answer| answer.result.as_ref().err().and_then(io::Error::raw_os_error))
        .collect();
    let (eio, einval) = (Some(libc::EIO), Some(libc::EINVAL));
    assert_eq!(results, [eio, einval, None, None, None, None]);
    assert!(answers[2..].iter().all(|answer| *answer.result.as_ref().unwrap() == [9; 512]));
}

#[test]
fn a_task_that_nobody_wakes_is_given_up() {
    let disk = small(Disk::new_async(Waits::default()).unwrap());
    let disk = disk.with_patience(Duration::from_millis(50));
    let answers = disk.submit(&[Request::read(2048, 512), Request::read(4096, 512)]).unwrap();
    assert_eq!(answers.iter().map(|answer| answer.request).collect::<Vec<_>>(), [1]);
    disk.read(4096, &mut [0; 512]).unwrap();
}

#[test]
fn several_threads_are_several_queues() {
    let disk = ram();
    std::thread::scope(|scope| {
        for queue in 0..4_u64 {
            let disk = &disk;
            scope.spawn(move || {
                for row in 0..8 {
                    disk.write((row * 4 + queue) * 512, &[queue as u8; 512]).unwrap();
                }
            });
        }
    });
    assert_eq!(disk.counters().writes, 32);
    let mut back = [9; 512 * 32];
    disk.read(0, &mut back).unwrap();
    assert!(back.chunks(512).enumerate().all(|(row, bytes)| bytes == [row as u8 % 4; 512]));
}
