//! The worker against a kernel that says anything at any time: completions of slots that have no command,
//! of operations that nobody started, with results that mean nothing. It may end with an error; it may not
//! panic, send a second command for a slot, or touch bytes that are not its own at that moment.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::worker::Lane;
use super::*;
use crate::sys::gate::{Holder, SharedBuffer};
use crate::sys::memory::Memory;
use crate::sys::worker_ring::Operation;
use crate::tag::Command;
use crate::target::{AsyncTarget, Extent, Extents, Op, RamTarget, Target};
use crate::uapi::IoDesc;

const SLOTS: u16 = 3;
const BUFFER: u32 = 4096;
const DISK: u64 = 64 << 10;
const CASES: u32 = if cfg!(miri) { 2 } else { 256 };

#[derive(Debug)]
struct Hostile {
    memory: Memory,
    script: VecDeque<Completion>,
    descriptors: Vec<IoDesc>,
    in_flight: [bool; SLOTS as usize],
    /// It has completed something that nobody sent. A worker must not believe it and go on.
    lied: bool,
}

impl Port for Hostile {
    fn push(&mut self, slot: u32, _: Command) -> io::Result<()> {
        assert!(!self.lied, "a command after a completion that cannot be");
        assert!(!std::mem::replace(&mut self.in_flight[slot as usize], true), "two commands");
        assert!(self.memory.gates.enter_kernel(slot, Holder::Queue), "a command out of turn");
        Ok(())
    }

    fn submit_and_wait(&mut self, want: u32) -> io::Result<()> {
        if want > 0 && self.script.is_empty() {
            self.script.push_back(Completion::Watch);
        }
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        let completion = self.script.pop_front()?;
        if let Completion::Slot { slot, .. } = completion {
            match self.in_flight.get_mut(slot as usize).filter(|in_flight| **in_flight) {
                Some(in_flight) => {
                    *in_flight = false;
                    self.memory.gates.leave_kernel(slot);
                }
                None => self.lied = true,
            }
        }
        Some(completion)
    }

    fn descriptor(&mut self, _: u32) -> IoDesc {
        self.descriptors.rotate_left(1);
        self.descriptors[0]
    }

    fn buffer(&mut self, slot: u32, len_bytes: usize) -> Option<&mut [u8]> {
        self.memory.buffer(slot, len_bytes)
    }

    fn user_copy(&mut self, slot: u32, len_bytes: usize, _: bool) -> io::Result<()> {
        let fits = self.memory.with(slot, len_bytes, |bytes| bytes.fill(1));
        if fits { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFAULT)) }
    }

    fn ready(&mut self) -> usize {
        self.script.len()
    }

    fn enters(&self) -> u64 {
        0
    }

    fn start(&mut self, slot: u32, index: u8, _: Operation) -> io::Result<()> {
        assert!(self.memory.gates.enter_kernel(slot, Holder::Task), "an operation out of turn");
        self.memory.gates.leave_kernel(slot);
        // As much as was asked for, or nothing like it.
        let result = self.descriptors[0].nr_sectors.cast_signed() << 9;
        self.script.push_front(Completion::Operation { slot, index, result });
        Ok(())
    }

    fn unregister(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn shared_buffer(&mut self, slot: u32) -> Option<SharedBuffer> {
        self.memory.shared(slot)
    }

    fn pass_to(&mut self, slot: u32, holder: Holder) -> bool {
        self.memory.pass_to(slot, holder)
    }

    fn arm_wake(&mut self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Both doors of one disk.
struct Disk(RamTarget);

impl AsyncTarget for Disk {
    fn size_bytes(&self) -> u64 {
        DISK
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        request.sleep(Duration::ZERO).await?;
        let (offset_bytes, len_bytes) = (request.offset_bytes(), request.len_bytes() as u32);
        request.move_extents(&[Extent { file: 0, offset_bytes, len_bytes }]).await?;
        request.with_bytes(|bytes| bytes.fill(2))
    }
}

impl Target for Disk {
    fn size_bytes(&self) -> u64 {
        DISK
    }

    fn capabilities(&self) -> crate::target::Capabilities {
        crate::target::Capabilities { extents: true, ..self.0.capabilities() }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read(offset_bytes, buffer)
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        self.0.write(offset_bytes, data, fua)
    }

    fn extents(&self, _: Op, at: u64, len: u32, extents: &mut Extents) -> io::Result<()> {
        extents.push(Extent { file: 0, offset_bytes: at, len_bytes: len / 2 });
        extents.push(Extent { file: 1, offset_bytes: at, len_bytes: len - len / 2 });
        Ok(())
    }
}

fn completion() -> impl Strategy<Value = Completion> {
    let slot = 0..u32::from(SLOTS);
    let result = prop_oneof![
        8 => Just(0),
        1 => Just(1),
        1 => Just(-libc::ENODEV),
        1 => any::<i32>(),
    ];
    prop_oneof![
        12 => (slot.clone(), result.clone())
            .prop_map(|(slot, result)| Completion::Slot { slot, result }),
        2 => (slot, any::<u8>(), result)
            .prop_map(|(slot, index, result)| Completion::Operation { slot, index: index % 10, result }),
        1 => Just(Completion::Wake),
        1 => any::<u32>().prop_map(|slot| Completion::Slot { slot, result: 0 }),
        1 => any::<u32>().prop_map(|slot| Completion::Operation { slot, index: 0, result: 0 }),
    ]
}

fn descriptor() -> impl Strategy<Value = IoDesc> {
    let op_flags = prop_oneof![4 => 0..6_u32, 1 => 10..19_u32, 1 => any::<u32>()];
    let nr_sectors = prop_oneof![6 => 0..10_u32, 1 => any::<u32>()];
    let start_sector = prop_oneof![6 => 0..140_u64, 1 => any::<u64>()];
    (op_flags, nr_sectors, start_sector).prop_map(|(op_flags, nr_sectors, start_sector)| IoDesc {
        op_flags,
        nr_sectors,
        start_sector,
        addr: 0,
    })
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let registered =
        |(auto, fallback, user_copy)| Transfer::Registered { auto, fallback, user_copy };
    prop_oneof![
        Just(Transfer::Copy),
        Just(Transfer::UserCopy),
        any::<(bool, bool, bool)>().prop_map(registered),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_kernel_makes_a_worker_break_the_rules(
        script in prop::collection::vec(completion(), 0..60),
        descriptors in prop::collection::vec(descriptor(), 1..20),
        transfer in transfer(),
        door in 0..2,
    ) {
        let port = Hostile {
            memory: Memory::new(SLOTS, BUFFER).unwrap(),
            script: script.into(),
            descriptors,
            in_flight: [false; SLOTS as usize],
            lied: false,
        };
        let (tags, counters) = (TagSet::all(SLOTS), Arc::default());
        let lane = Lane { queue: 0, tags, fetches: tags, first_slot: 0, transfer, counters, ignores_data: false, extents: false };
        let mut worker = Worker::with_port(port, vec![lane]);
        let disk = Disk(RamTarget::new(DISK).unwrap());
        // Whatever it comes to: a panic here is a panic of the worker's thread.
        let ended = worker.fetch_all().and_then(|()| match door {
            0 => worker.serve(&disk),
            _ => worker.serve_async(&disk),
        });
        prop_assert!(!worker.port.lied || ended.is_err(), "a lie was believed");
        let panics = worker.lanes[0].counters.snapshot().panics;
        prop_assert_eq!(panics, 0, "a target was asked for what it cannot answer");
    }
}
