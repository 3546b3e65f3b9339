//! Mappings, reads and writes at random: near what is right, and far from it.

use rand::Rng;
use rand::seq::IndexedRandom;
use ublk::uapi::desc_area_stride_bytes;

use super::super::act::Act;
use crate::block::page_bytes;

fn page() -> u32 {
    u32::try_from(page_bytes()).unwrap_or(4096)
}

/// An act of a case about memory.
pub(super) fn act(rng: &mut impl Rng) -> Act {
    match rng.random_range(0..24) {
        0..8 => Act::Map {
            offset: offset(rng),
            len: length(rng),
            prot: *[1, 1, 1, 0, 2, 3, 4, 5, 7].choose(rng).unwrap_or(&1),
            private: rng.random_bool(0.3),
        },
        8 | 9 => Act::Protect { prot: rng.random_range(0..8) },
        10 | 11 => Act::Remap { len: length(rng) },
        12 => Act::Trim { front: rng.random(), len: length(rng) },
        13 => Act::Look,
        14..17 => Act::Pread { position: position(rng), len: bytes(rng) },
        17..20 => Act::Pwrite { position: position(rng), len: bytes(rng) },
        20 | 21 => Act::Io { write: rng.random(), block: rng.random_range(0..8) },
        _ => Act::Serve,
    }
}

fn offset(rng: &mut impl Rng) -> u64 {
    let page = u64::from(page());
    let stride = desc_area_stride_bytes(24, page);
    let known =
        [0, 0, 0, stride, stride, page, stride - page, 2 * stride, 3 * stride, 0x8000_0000, 100];
    match rng.random_range(0..8) {
        0 => rng.random::<u64>() >> rng.random_range(0..40),
        1 => (rng.random::<u64>() >> rng.random_range(0..40)) & !(page - 1),
        2 => (i64::MAX as u64) & !(page - 1),
        _ => *known.choose(rng).unwrap_or(&0),
    }
}

/// One page is right for every device here.
fn length(rng: &mut impl Rng) -> u32 {
    let page = page();
    *[page, page, page, page, 24, 96, 0, 1, page + 1, 2 * page, 8 * page, 1 << 20]
        .choose(rng)
        .unwrap_or(&page)
}

fn bytes(rng: &mut impl Rng) -> u32 {
    *[0, 1, 511, 512, 4096, 4097, 16384, 65536].choose(rng).unwrap_or(&512)
}

fn position(rng: &mut impl Rng) -> u64 {
    let buffers = 0x8000_0000_u64;
    let place = |queue: u64, tag: u64, at: u64| buffers + (queue << 41 | tag << 25 | at);
    let known = [
        0,
        buffers - 1,
        place(0, 0, 0),
        place(0, 0, 512),
        place(0, 0, 4096),
        place(0, 0, 4097),
        place(0, 1, 0),
        place(0, 3, 0),
        place(0, 4, 0),
        place(0, 4095, 0),
        place(1, 0, 0),
        place(2, 0, 0),
        place(4095, 0, 0),
        place(0, 0, 0) | 1 << 62,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ];
    if rng.random_bool(0.15) { rng.random() } else { *known.choose(rng).unwrap_or(&0) }
}
