//! The parts of a request's way that run in user space: the tag's state machine, the descriptor, a whole
//! batch through the queue; and, where there is a driver, what a control command costs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ublk::ctrl::Control;
use ublk::tag::Tag;
use ublk::target::NullTarget;
use ublk::testing::{Disk, Request};
use ublk::uapi::IoDesc;

/// Reads that arrive together.
const BATCH: u64 = 32;

/// One whole turn of a tag: a request arrives, its result is committed.
fn tag_turn(criterion: &mut Criterion) {
    let mut tag = Tag::new();
    if tag.arm().is_err() {
        return;
    }
    criterion.bench_function("tag/complete-and-commit", |bencher| {
        bencher.iter(|| {
            let arrival = tag.complete(black_box(0));
            let command = tag.commit(black_box(4096), 0);
            black_box((arrival.is_ok(), command.is_ok()))
        });
    });
}

/// What is read out of a descriptor for each request.
fn descriptor_decode(criterion: &mut Criterion) {
    let descriptor = IoDesc { op_flags: 1 | 1 << 13, nr_sectors: 8, start_sector: 42, addr: 0 };
    criterion.bench_function("descriptor/decode", |bencher| {
        bencher.iter(|| {
            let descriptor = black_box(descriptor);
            black_box((descriptor.op(), descriptor.flags(), descriptor.len_bytes()))
        });
    });
}

/// A batch from its arrival to its commit, on the double of the driver: everything of ours but the system
/// calls. The worker is made anew for each batch, which is in the number.
fn batch_round_trip(criterion: &mut Criterion) {
    let Ok(disk) = Disk::new(NullTarget::new(1 << 20)) else { return };
    for reads in [1, BATCH] {
        let requests: Vec<Request> = (0..reads).map(|at| Request::read(at * 4096, 4096)).collect();
        criterion.bench_function(&format!("queue/submit-complete-{reads}"), |bencher| {
            bencher.iter(|| black_box(disk.submit(black_box(&requests)).is_ok()));
        });
    }
}

/// The cheapest control command there is. Says so where there is no driver to send it to.
fn control_command(criterion: &mut Criterion) {
    let mut client = match Control::open() {
        Ok(client) => client,
        Err(error) => return eprintln!("ctrl/get-features: SKIPPED: {error}"),
    };
    criterion.bench_function("ctrl/get-features", |bencher| {
        bencher.iter(|| black_box(client.get_features().is_ok()));
    });
}

criterion_group!(benches, tag_turn, descriptor_decode, batch_round_trip, control_command);
criterion_main!(benches);
