//! What is said about a request, on its way from its sender to a target.

use std::io;
use std::sync::{Arc, Mutex};

use super::{Answer, Disk, Request};
use crate::queue::AsyncRequest;
use crate::target::{AsyncTarget, CommitDecision, FaultTarget, Finished, Hints, Op, Target};
use crate::uapi::IoFlags;

const SIZE: u64 = 256 << 10;

/// Small requests, so that Miri need not clear megabytes; and one at a time.
fn small<T>(disk: Disk<T>) -> Disk<T> {
    disk.with_params(|params| params.max_io_bytes(8192)).unwrap().with_depth(1)
}

/// Keeps what was said about each request: when it began, and when it was done.
#[derive(Default)]
struct Listens(Mutex<Vec<(Op, Hints)>>);

impl Target for Listens {
    fn size_bytes(&self) -> u64 {
        SIZE
    }

    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_hinted(&self, _: u64, buffer: &mut [u8], hints: Hints) -> io::Result<()> {
        buffer.fill(0);
        self.0.lock().unwrap().push((Op::Read, hints));
        Ok(())
    }

    fn write_hinted(&self, _: u64, _: &[u8], _: bool, hints: Hints) -> io::Result<()> {
        self.0.lock().unwrap().push((Op::Write, hints));
        Ok(())
    }

    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        self.0.lock().unwrap().push((finished.op, finished.hints));
        CommitDecision::Commit(finished.result)
    }
}

impl AsyncTarget for Listens {
    fn size_bytes(&self) -> u64 {
        SIZE
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        self.0.lock().unwrap().push((request.op(), request.hints()));
        Ok(())
    }
}

#[test]
fn what_is_said_about_a_request_reaches_the_target_by_both_doors_and_through_faults() {
    let [meta, swap] = [IoFlags::META, IoFlags::SWAP | IoFlags::FAILFAST_DRIVER].map(Hints::new);
    let requests = [
        Request::read(0, 512).hinted(meta),
        Request::write(0, [1; 512]).hinted(swap),
        Request::read(0, 512),
    ];
    let expected = [(Op::Read, meta), (Op::Write, swap), (Op::Read, Hints::default())];
    let twice: Vec<_> = expected.iter().flat_map(|heard| [*heard, *heard]).collect();

    let check = |answers: Vec<Answer>| {
        assert_eq!(answers.len(), 3);
        answers.into_iter().for_each(|answer| drop(answer.result.unwrap()));
    };
    let disk = small(Disk::new(Listens::default()).unwrap());
    check(disk.submit(&requests).unwrap());
    assert_eq!(*disk.target().0.lock().unwrap(), twice);
    let faulty = Arc::new(FaultTarget::new(Listens::default(), Vec::new()));
    let disk = small(Disk::new(faulty).unwrap());
    check(disk.submit(&requests).unwrap());
    assert_eq!(*disk.target().inner().0.lock().unwrap(), twice);
    let disk = small(Disk::new_async(Listens::default()).unwrap());
    check(disk.submit(&requests).unwrap());
    assert_eq!(*disk.target().0.lock().unwrap(), expected);
}
