//! The parts of a request's way that run in user space: the tag's state machine and the descriptor.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ublk::tag::Tag;
use ublk::uapi::IoDesc;

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

criterion_group!(benches, tag_turn, descriptor_decode);
criterion_main!(benches);
