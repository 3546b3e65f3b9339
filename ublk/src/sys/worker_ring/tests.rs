//! The ring against real files, without a driver.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::queue::KillSwitch;
use crate::sys::common::CommonTags;
use crate::sys::gate::Holder;
use crate::sys::lane::TagSet;
use crate::sys::shared::SharedMemory;
use crate::tag::Command;
use crate::uapi::ShmemAddr;

/// A ring over a file that answers any command at once; none where io_uring is not to be had.
fn ring(depth: u16, files: Vec<BorrowedFd<'_>>) -> Option<WorkerRing> {
    let file = File::options().read(true).write(true).open("/dev/null").unwrap();
    let spec = LaneSpec {
        char_device: file.as_fd(),
        queue: 0,
        depth,
        tags: TagSet::all(depth),
        buffer_len_bytes: 4096,
        metadata_len_bytes: 64,
        transfer: Transfer::Copy,
        batch: false,
        zoned: false,
        files,
        common: None,
        rotate: false,
        shared: Arc::default(),
    };
    open(spec)
}

fn open(spec: LaneSpec<'_>) -> Option<WorkerRing> {
    match WorkerRing::new(&[spec]) {
        Ok(ring) => Some(ring),
        Err(error) => {
            eprintln!("skipped: no io_uring here: {error}");
            None
        }
    }
}

const COMMIT: Command = Command::CommitAndFetch { result: 0, append_sector: 0 };

#[test]
fn a_buffer_is_ours_except_while_its_command_is_with_the_kernel() {
    let Some(mut ring) = ring(4, vec![]) else { return };
    assert!(ring.registered.is_some());
    ring.buffer(2, 4096).unwrap().fill(7);
    ring.push(2, Command::Fetch).unwrap();
    assert!(ring.buffer(2, 1).is_none());
    assert!(ring.buffer(1, 1).is_some());
    assert_eq!(ring.push(2, Command::Fetch).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    assert_eq!(ring.push(4, Command::Fetch).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    ring.submit_and_wait(1).unwrap();
    assert!(matches!(ring.next_completion(), Some(Completion::Slot { slot: 2, .. })));
    assert_eq!(ring.next_completion(), None);
    assert_eq!(ring.buffer(2, 4096).unwrap(), [7; 4096]);
    assert_eq!(ring.enters(), 1);
}

#[test]
fn a_full_queue_fits_the_ring_and_costs_one_enter() {
    let Some(mut ring) = ring(4096, vec![]) else { return };
    for slot in 0..4096 {
        ring.push(slot, COMMIT).unwrap();
    }
    ring.submit_and_wait(4096).unwrap();
    let mut seen = vec![false; 4096];
    while let Some(completion) = ring.next_completion() {
        let Completion::Slot { slot, .. } = completion else { panic!("{completion:?}") };
        assert!(!std::mem::replace(&mut seen[slot as usize], true), "slot {slot} twice");
    }
    assert!(seen.iter().all(|seen| *seen));
    assert_eq!(ring.enters(), 1);
}

#[test]
fn a_task_moves_its_bytes_between_file_and_buffer() {
    let file = tempfile::tempfile().unwrap();
    let Some(mut ring) = ring(2, vec![file.as_fd()]) else { return };
    let shared = ring.shared_buffer(1).unwrap();
    let transfer = |write, start_bytes, register| Operation::Transfer {
        write,
        file: 0,
        offset_bytes: 512,
        start_bytes,
        len_bytes: 1024,
        dsync: write,
        register,
        shared: None,
    };
    // It is not a task's turn yet.
    let early = ring.start(1, 0, transfer(true, 0, false)).unwrap_err();
    assert_eq!(early.raw_os_error(), Some(libc::EBUSY));
    assert!(ring.pass_to(1, Holder::Task));
    shared.look(1024, |bytes| bytes.fill(3)).unwrap();
    ring.start(1, 5, transfer(true, 0, false)).unwrap();
    assert!(shared.look(1, |_| ()).is_none() && ring.buffer(1, 1).is_none());
    ring.submit_and_wait(1).unwrap();
    let done = Completion::Operation { slot: 1, index: 5, result: 1024 };
    assert_eq!(ring.next_completion(), Some(done));
    ring.start(1, 0, transfer(false, 2048, false)).unwrap();
    ring.start(1, 1, Operation::Sync { file: 0 }).unwrap();
    ring.start(1, 2, Operation::Sleep { duration: Duration::from_millis(1) }).unwrap();
    let mut results = [i32::MAX; 3];
    // A timeout that fires ends any wait.
    while results.contains(&i32::MAX) {
        ring.submit_and_wait(1).unwrap();
        while let Some(Completion::Operation { index, result, .. }) = ring.next_completion() {
            results[usize::from(index)] = result;
        }
    }
    assert_eq!(results, [1024, 0, -libc::ETIME]);
    let seen = shared.look(4096, |bytes| (bytes[2047], bytes[2048], bytes[3071], bytes[3072]));
    assert_eq!(seen, Some((0, 3, 3, 0)));
    // What is not there is refused before the kernel sees it, and leaves no count behind.
    for wrong in [
        transfer(false, 4096 - 1023, false),
        transfer(false, 0, true),
        Operation::Sync { file: 1 },
        Operation::Register,
    ] {
        assert!(ring.start(1, 0, wrong).is_err(), "{wrong:?}");
    }
    assert!(ring.pass_to(1, Holder::Queue));
    assert!(ring.buffer(1, 4096).is_some());
}

#[test]
fn a_task_moves_its_bytes_between_file_and_shared_memory() {
    let (file, shared) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    shared.set_len(8192).unwrap();
    let memory = SharedMemory::from_file(&shared, 8192).unwrap();
    memory.write(4096, &[5; 1024]).unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let spec = LaneSpec {
        char_device: null.as_fd(),
        queue: 0,
        depth: 1,
        tags: TagSet::all(1),
        buffer_len_bytes: 4096,
        metadata_len_bytes: 0,
        transfer: Transfer::Copy,
        batch: false,
        zoned: false,
        files: vec![file.as_fd()],
        common: None,
        rotate: false,
        shared: Arc::new(vec![(7, memory.clone())]),
    };
    let Some(mut ring) = open(spec) else { return };
    let transfer = |write, start_bytes, index, offset| Operation::Transfer {
        write,
        file: 0,
        offset_bytes: 0,
        start_bytes,
        len_bytes: 1024,
        dsync: false,
        register: false,
        shared: Some(ShmemAddr { index, offset }),
    };
    assert!(ring.pass_to(0, Holder::Task));
    for (write, offset) in [(true, 4096 - 512), (false, 8192 - 1536)] {
        ring.start(0, 1, transfer(write, 512, 7, offset)).unwrap();
        ring.submit_and_wait(1).unwrap();
        let done = Completion::Operation { slot: 0, index: 1, result: 1024 };
        assert_eq!(ring.next_completion(), Some(done));
    }
    let mut seen = [0; 1024];
    memory.read(8192 - 1024, &mut seen).unwrap();
    assert_eq!(seen, [5; 1024]);
    // Beyond the memory, and in memory that nobody registered.
    for wrong in [transfer(false, 512, 7, 8192 - 1535), transfer(false, 0, 6, 0)] {
        assert_eq!(ring.start(0, 1, wrong).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }
    assert!(ring.pass_to(0, Holder::Queue));
    let place = |offset| ShmemAddr { index: 7, offset };
    assert!(
        ring.reaches_shared(0, place(4096), 4096) && !ring.reaches_shared(0, place(4097), 4096)
    );
    ring.shared_copy(0, place(4096), 1024, false).unwrap();
    assert_eq!(ring.buffer(0, 1024).unwrap(), [5; 1024]);
    ring.buffer(0, 512).unwrap().fill(6);
    ring.shared_copy(0, place(0), 512, true).unwrap();
    memory.read(0, &mut seen).unwrap();
    assert_eq!((seen[511], seen[512]), (6, 0));
}

#[test]
fn of_a_queue_that_rings_share_each_has_its_part_until_it_gives_it() {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let common = Arc::new(CommonTags::new(4));
    let spec = |index| LaneSpec {
        char_device: null.as_fd(),
        queue: 0,
        depth: 4,
        tags: TagSet::all(4),
        buffer_len_bytes: 4096,
        metadata_len_bytes: 0,
        transfer: Transfer::Copy,
        batch: true,
        zoned: false,
        files: Vec::new(),
        common: Some((Arc::clone(&common), TagSet::all(4).share(index, 2))),
        rotate: false,
        shared: Arc::default(),
    };
    let Some(mut first) = open(spec(0)) else { return };
    let Some(mut second) = open(spec(1)) else { return };
    for slot in 0..4 {
        let (own, other) =
            if slot % 2 == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        assert!(own.buffer(slot, 4096).is_some() && other.buffer(slot, 1).is_none());
        assert!(!other.pass_to(slot, Holder::Task));
        let refused = other.push(slot, Command::Fetch).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
    }
    // Two tickets for the same part cannot be, and would be refused.
    assert!(WorkerRing::new(&[spec(0)]).is_err());
    first.buffer(2, 1).unwrap().fill(9);
    first.push(2, Command::Fetch).unwrap();
    assert!(first.buffer(2, 1).is_none());
    assert!(common.take(2), "it was given away before the kernel could have it");
}

#[test]
fn two_sleeps_of_one_request_end_each_in_its_time() {
    let Some(mut ring) = ring(1, vec![]) else { return };
    assert!(ring.pass_to(0, Holder::Task));
    let begin = std::time::Instant::now();
    for (index, millis) in [(0, 60), (1, 1)] {
        let operation = Operation::Sleep { duration: Duration::from_millis(millis) };
        ring.start(0, index, operation).unwrap();
    }
    let mut ended = Vec::new();
    while ended.len() < 2 {
        ring.submit_and_wait(1).unwrap();
        while let Some(completion) = ring.next_completion() {
            let Completion::Operation { index, .. } = completion else { panic!("{completion:?}") };
            ended.push((index, begin.elapsed()));
        }
    }
    assert_eq!((ended[0].0, ended[1].0), (1, 0), "{ended:?}");
    assert!(ended[1].1 >= Duration::from_millis(60), "{ended:?}");
}

#[test]
fn a_cut_switch_wakes_a_ring_that_waits() {
    let Some(mut ring) = ring(1, vec![]) else { return };
    let switch = KillSwitch::new().unwrap();
    ring.watch(switch.watched()).unwrap();
    ring.submit_and_wait(0).unwrap();
    assert_eq!(ring.next_completion(), None);
    std::thread::scope(|scope| {
        scope.spawn(|| switch.cut());
        ring.submit_and_wait(1).unwrap();
    });
    assert_eq!(ring.next_completion(), Some(Completion::Watch));
}

#[test]
fn no_slots_and_too_many_are_refused() {
    assert!(WorkerRing::new(&[]).is_err());
}
