//! Every way for bytes to move, against the double: the same requests to the same targets come to the
//! same end, through either door, whole or in pieces.

use std::cell::Cell;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;

use super::double::{Answered, Double, Work};
use super::worker::Lane;
use super::*;
use crate::sys::worker_ring::Operation;
use crate::target::{AsyncTarget, Capabilities, Extent, Extents, Op, RamTarget, Target};
use crate::uapi::IoDesc;

const BUFFER: usize = 32 << 10;
const FILE: usize = 64 << 10;
/// Chunk of the target that is striped over two files.
const CHUNK: u64 = 4096;

const MODES: [Transfer; 6] = [
    Transfer::Copy,
    Transfer::UserCopy,
    Transfer::Registered { auto: false, fallback: false, user_copy: false },
    Transfer::Registered { auto: true, fallback: false, user_copy: false },
    Transfer::Registered { auto: true, fallback: true, user_copy: false },
    Transfer::Registered { auto: false, fallback: false, user_copy: true },
];

fn request(write: bool, start_sector: u64, nr_sectors: u32, seed: u8) -> Work {
    let len = if write { (nr_sectors as usize) << 9 } else { 0 };
    Work {
        descriptor: IoDesc { op_flags: u32::from(write), nr_sectors, start_sector, addr: 0 },
        data: (0..len).map(|at| seed.wrapping_add((at >> 9) as u8)).collect(),
    }
}

fn double(transfer: Transfer, work: impl IntoIterator<Item = Work>) -> Double {
    let mut double = Double::new(4, BUFFER);
    double.transfer = transfer;
    double.files = vec![vec![0; FILE]; 2];
    double.work.extend(work);
    double
}

fn worker(double: Double) -> Worker<Double> {
    let (transfer, tags) = (double.transfer, TagSet::all(4));
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
    let mut worker = Worker::with_port(double, vec![lane]);
    worker.fetch_all().unwrap();
    worker
}

fn answers(worker: &mut Worker<Double>) -> Vec<Answered> {
    std::mem::take(&mut worker.port.answers)
}

/// Two files as one disk, in chunks: the double has the bytes.
struct Striped;

fn locate(mut offset: u64, len: u32, mut push: impl FnMut(Extent)) {
    let end = offset + u64::from(len);
    while offset < end {
        let (chunk, inside) = (offset / CHUNK, offset % CHUNK);
        let len = (CHUNK - inside).min(end - offset);
        let file = (chunk % 2) as usize;
        push(Extent { file, offset_bytes: chunk / 2 * CHUNK + inside, len_bytes: len as u32 });
        offset += len;
    }
}

impl Target for Striped {
    fn size_bytes(&self) -> u64 {
        2 * FILE as u64
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { extents: true, ..Capabilities::default() }
    }

    fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        panic!("extents were to be used")
    }

    fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
        panic!("extents were to be used")
    }

    fn extents(&self, _: Op, offset: u64, len: u32, extents: &mut Extents) -> io::Result<()> {
        locate(offset, len, |extent| extents.push(extent));
        Ok(())
    }
}

impl AsyncTarget for Striped {
    fn size_bytes(&self) -> u64 {
        Target::size_bytes(self)
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        request.sleep(Duration::from_millis(1)).await?;
        let mut extents = Vec::new();
        locate(request.offset_bytes(), request.len_bytes() as u32, |extent| extents.push(extent));
        request.move_extents(&extents).await
    }
}

/// What a disk does with requests one after another.
fn expected(works: &[Work], disk: &mut [u8]) -> Vec<Option<Vec<u8>>> {
    let mut results = Vec::new();
    for work in works {
        let (start, len) = (
            (work.descriptor.start_sector as usize) << 9,
            (work.descriptor.nr_sectors as usize) << 9,
        );
        if start + len > disk.len() || len > BUFFER {
            results.push(None);
        } else if work.descriptor.op_flags == 1 {
            disk[start..start + len].copy_from_slice(&work.data);
            results.push(Some(work.data.clone()));
        } else {
            results.push(Some(disk[start..start + len].to_vec()));
        }
    }
    results
}

fn check(works: &[Work], answers: &[Answered], shown: &str) {
    let expected = expected(works, &mut vec![0; 2 * FILE]);
    assert_eq!(answers.len(), works.len(), "{shown}");
    for ((work, answer), expected) in works.iter().zip(answers).zip(expected) {
        let shown = format!("{shown}: {:?}", work.descriptor);
        match expected {
            None => assert_eq!(answer.result, -libc::EIO, "{shown}"),
            Some(data) => {
                assert_eq!(answer.result as usize, data.len(), "{shown}");
                assert!(answer.data[..data.len()] == data, "{shown}: wrong bytes");
            }
        }
    }
}

fn works() -> impl Strategy<Value = Vec<Work>> {
    let one = (any::<bool>(), 0..260_u64, 0..65_u32, any::<u8>());
    prop::collection::vec(one, 1..40).prop_map(|all| {
        all.into_iter().map(|(write, start, len, seed)| request(write, start, len, seed)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// One request at a time, so that there is one right end.
    #[test]
    fn each_mode_and_door_comes_to_the_same_end(works in works(), piece in 1..9_usize) {
        for transfer in MODES {
            for door in 0..2 {
                let mut double = double(transfer, works.clone());
                double.batch = 1;
                double.transfer_max_bytes = piece << 10;
                let mut worker = worker(double);
                if door == 0 {
                    worker.serve(&Striped).unwrap();
                } else {
                    worker.serve_async(&Striped).unwrap();
                }
                check(&works, &answers(&mut worker), &format!("{transfer:?}, door {door}"));
            }
        }
    }

    #[test]
    fn bytes_reach_a_target_in_every_mode_that_lets_them(works in works(), get_data in any::<bool>()) {
        for transfer in MODES {
            let mut double = double(transfer, works.clone());
            double.batch = 1;
            double.get_data = get_data && transfer == Transfer::Copy;
            let mut worker = worker(double);
            let disk = RamTarget::new(2 * FILE as u64).unwrap();
            let ended = worker.serve(&disk);
            if matches!(transfer, Transfer::Registered { user_copy: false, .. }) {
                let refused = matches!(ended, Err(QueueError::NoBytes { queue: 0 }));
                prop_assert!(refused);
                continue;
            }
            ended.unwrap();
            check(&works, &answers(&mut worker), &format!("{transfer:?}"));
        }
    }
}

#[test]
fn pages_are_registered_by_hand_where_the_kernel_did_not() {
    const NEED_REG_BUF: u32 = 1 << 17;
    for (transfer, flags, by_hand) in [
        (MODES[2], 0, true),
        (MODES[4], 0, false),
        (MODES[4], NEED_REG_BUF, true),
        (MODES[0], 0, false),
    ] {
        let mut work = request(false, 0, 4, 0);
        work.descriptor.op_flags |= flags;
        let mut worker = worker(double(transfer, [work]));
        worker.serve(&Striped).unwrap();
        let registers =
            |operation: &Operation| matches!(operation, Operation::Transfer { register: true, .. });
        assert_eq!(worker.port.operations.iter().any(registers), by_hand, "{transfer:?} {flags:x}");
        assert_eq!(answers(&mut worker)[0].result, 2048);
    }
}

#[test]
fn a_target_that_ignores_data_has_none_moved() {
    let null = crate::target::NullTarget::untouched(FILE as u64);
    for transfer in MODES {
        let mut worker =
            worker(double(transfer, [request(false, 0, 8, 0), request(true, 0, 8, 1)]));
        worker.serve(&null).unwrap();
        let answers = answers(&mut worker);
        assert!(answers.iter().all(|answer| answer.result == 4096), "{transfer:?}");
        assert!(worker.port.operations.is_empty());
        if transfer == Transfer::UserCopy {
            assert!(answers[0].data.iter().all(|byte| *byte == 0xee), "bytes were moved");
        }
    }
}

/// Does what its sector says: wrong things, mostly.
#[derive(Default)]
struct Odd {
    kept: Mutex<Vec<std::task::Waker>>,
}

impl AsyncTarget for Odd {
    fn size_bytes(&self) -> u64 {
        FILE as u64
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        match request.descriptor().start_sector {
            0 => panic!("a target's bug"),
            1 => {
                // Given up while it is under way: the answer has to wait for it.
                let mut moved = Box::pin(request.read_file(0, 0, 0, 512));
                poll_fn(|context| Poll::Ready(moved.as_mut().poll(context).is_pending())).await;
                assert!(request.with_bytes(|_| ()).is_ok(), "not started yet");
                Ok(())
            }
            2 => {
                let waited = Cell::new(false);
                poll_fn(|context| {
                    if waited.replace(true) {
                        return Poll::Ready(());
                    }
                    self.kept.lock().unwrap().push(context.waker().clone());
                    Poll::Pending
                })
                .await;
                request.with_bytes(|bytes| bytes.fill(9))
            }
            3 => request.move_extents(&[]).await,
            4 => request.read_file(7, 0, 0, 512).await.map(drop),
            5 => request.read_file(0, 0, 1, 512).await.map(drop),
            6 => request.with_bytes(|_| request.with_bytes(|_| ())).and_then(|inner| inner),
            7 => request.read_file(0, FILE as u64, 0, 512).await.and_then(|moved| {
                if moved == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            }),
            _ => request.with_bytes(|bytes| bytes.fill(1)),
        }
    }
}

#[test]
fn an_odd_async_target_costs_its_own_requests_only() {
    let sectors = [0, 1, 3, 5, 6, 7, 8];
    let mut worker =
        worker(double(Transfer::Copy, sectors.map(|sector| request(false, sector, 1, 0))));
    worker.serve_async(&Odd::default()).unwrap();
    let results: Vec<(u16, i32)> =
        answers(&mut worker).iter().map(|answer| (answer.tag, answer.result)).collect();
    let mut sorted: Vec<i32> = results.iter().map(|(_, result)| *result).collect();
    sorted.sort_unstable();
    let (eio, einval, ebusy) = (-libc::EIO, -libc::EINVAL, -libc::EBUSY);
    let mut expected = vec![eio, 512, eio, einval, ebusy, eio, 512];
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(worker.lanes[0].counters.snapshot().panics, 1);
}

#[test]
fn async_requests_and_files_stay_with_their_device() {
    // An index that names no file of the target's is refused by the ring, which the double does not play.
    const fn is_target<T: AsyncTarget>() {}
    const { is_target::<Striped>() };
    let files: Vec<Arc<File>> = AsyncTarget::files(&Striped);
    assert!(files.is_empty());
}
