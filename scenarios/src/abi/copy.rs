//! User copy: the server moves a request's bytes by pread and pwrite on the char device, and every position that names
//! none is refused.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use reports::event::FailureKind;
use ublk::raw::{Addr, CharFile, RawRing, RawSqe, RingShape};
use ublk::uapi::{Attrs, Features, UserCopyPos};

use super::buffers::{AT, LEN, check_same, client, content, finish};
use super::commands::{flushed, flusher};
use super::control::{live, live_with, tear_down};
use crate::context::{Context, During, Stop, errno};
use crate::rig::{EACCES, EINVAL, Rig, arena, offered, only_result};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/user-copy",
        title: "pread takes a write's bytes and pwrite gives a read's; wrong positions and directions are refused",
        covers: &[
            "uc.dead",
            "uc.nofeature",
            "uc.qid",
            "uc.tag",
            "uc.daemon.notowned",
            "uc.off",
            "uc.dir",
            "uc.integrity.nofeature",
        ],
        run: user_copy,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/user-copy-of-nothing",
        title: "a FLUSH has no bytes for anybody, an idle tag none for another task, and kernel memory is not taken",
        covers: &[
            "uc.iter",
            "uc.daemon.nodata",
            "uc.other.noreq",
            "uc.other.noref",
            "uc.other.nodata",
        ],
        run: nothing_to_copy,
        ..Scenario::DRIVER
    },
];

/// The end of a request is a place where 0 bytes are; beyond it is none.
const END: u32 = LEN as u32;

fn place(tag: u16, offset_bytes: u32) -> UserCopyPos {
    UserCopyPos { queue: 0, tag, offset_bytes, integrity: false }
}

/// Bytes moved, or a negative errno.
fn result(moved: std::io::Result<usize>) -> i32 {
    match moved {
        Ok(bytes) => i32::try_from(bytes).unwrap_or(i32::MAX),
        Err(error) => -error.raw_os_error().unwrap_or(i32::MAX),
    }
}

fn read(file: &CharFile, position: UserCopyPos, buffer: &mut [u8]) -> i32 {
    position.encode().map_or(-EINVAL, |position| result(file.file().read_at(buffer, position)))
}

fn write(file: &CharFile, position: UserCopyPos, bytes: &[u8]) -> i32 {
    position.encode().map_or(-EINVAL, |position| result(file.file().write_at(bytes, position)))
}

fn user_copy(context: &mut Context) -> Result<String, Stop> {
    offered(Features::USER_COPY)?;
    let mut buffer = vec![0; LEN];
    let rig = Rig::ready_with(context, 1, 2, Features::USER_COPY)?;
    let file = rig.open(context)?;
    let dead = read(&file, place(0, 0), &mut buffer);
    context.check_result("pread before START_DEV", dead, -EACCES)?;
    drop(file);
    drop(rig);
    let (rig, file, fetcher) = live(context, Features::empty())?;
    let refused = read(&file, place(0, 0), &mut buffer);
    // 6.12 looks for the request first.
    let expected =
        if context.kernel.at_least(7, 2) { vec![-EACCES] } else { vec![-EACCES, -EINVAL] };
    let what = format!("pread in copy mode is refused: {}", errno(refused));
    context.check(FailureKind::Errno, what, expected.contains(&refused))?;
    tear_down(context, rig, file, fetcher)?;

    let (rig, file, mut fetcher) = live(context, Features::USER_COPY)?;
    let sent = content(context, 6);
    let writer = client(context, &rig, Some(content(context, 6)));
    let tag = fetcher.next_request(context, AT / 512)?;
    let idle = (0..4).find(|other| *other != tag).unwrap_or(0);
    let elsewhere = UserCopyPos { queue: 1, ..place(tag, 0) };
    let metadata = UserCopyPos { integrity: true, ..place(tag, 0) };
    for (what, position, expected) in [
        ("of another queue", elsewhere, -EINVAL),
        ("of a tag too far", place(4, 0), -EINVAL),
        ("of a tag without a request", place(idle, 0), -EINVAL),
        ("at the end", place(tag, END), 0),
        ("beyond the end", place(tag, END + 1), -EINVAL),
    ] {
        let observed = read(&file, position, &mut buffer);
        context.check_result(format_args!("pread {what}"), observed, expected)?;
    }
    if fetcher.request(tag).nr_sectors > 0 && context.kernel.at_least(7, 2) {
        let observed = read(&file, metadata, &mut buffer);
        context.check_result("pread of metadata that there is none", observed, -EINVAL)?;
    }
    let wrong_way = write(&file, place(tag, 0), &sent);
    context.check_result("pwrite into a write", wrong_way, -EACCES)?;
    let (front, back) = buffer.split_at_mut(4096);
    let len = i32::try_from(LEN).unwrap_or(0);
    let moved = read(&file, place(tag, 0), front) + read(&file, place(tag, 4096), back);
    context.check_result("bytes read in two pieces", moved, len)?;
    check_same(context, &buffer, &sent)?;
    fetcher.commit(tag, len)?;
    finish(context, &mut fetcher, writer)??;

    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    let wrong_way = read(&file, place(tag, 0), &mut buffer);
    context.check_result("pread from a read", wrong_way, -EACCES)?;
    let moved = write(&file, place(tag, 0), &sent);
    context.check_result("bytes written", moved, len)?;
    fetcher.commit(tag, len)?;
    let back = finish(context, &mut fetcher, reader)??;
    check_same(context, &back, &sent)?;
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{LEN} bytes out and in; 9 wrong positions"))
}

/// pread from a task that serves no tag.
fn read_by_a_stranger(file: &CharFile, position: UserCopyPos) -> Result<i32, Stop> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| read(file, position, &mut [0; 512]));
        thread.join().map_err(|_| Stop::error("the other task panicked"))
    })
}

fn nothing_to_copy(context: &mut Context) -> Result<String, Stop> {
    const DEPTH: u16 = 64;
    offered(Features::USER_COPY)?;
    let (rig, file, mut fetcher) = live_with(context, Features::USER_COPY, DEPTH, |params| {
        params.basic.attrs |= Attrs::VOLATILE_CACHE;
    })?;
    let flush = flusher(context, &rig);
    let tag = fetcher.next_request(context, u64::MAX)?;
    let owner = read(&file, place(tag, 0), &mut [0; 512]);
    context.check_result("pread of a FLUSH by its owner", owner, -EINVAL)?;
    let stranger = read_by_a_stranger(&file, place(tag, 0))?;
    context.check_result("pread of a FLUSH by another task", stranger, -EINVAL)?;
    // Some of them were used by the look for partitions, most of them never.
    for idle in (0..DEPTH).filter(|other| *other != tag) {
        let stranger = read_by_a_stranger(&file, place(idle, 0))?;
        context.check_result(format_args!("pread of idle tag {idle}"), stranger, -EINVAL)?;
    }
    fetcher.commit(tag, 0)?;
    flushed(context, &mut fetcher, flush)?;

    let memory = arena(4096)?;
    let mut ring = RawRing::new(RingShape::default()).during("make a ring")?;
    ring.register_sparse_buffers(1).during("make a buffer table")?;
    ring.register_arena(0, &memory).during("register memory")?;
    let node = Arc::new(file.file().try_clone().during("duplicate the descriptor")?);
    let position = place(0, 0).encode().ok_or_else(|| Stop::error("no position"))?;
    let fixed =
        RawSqe::read_fixed(&node, position, 512).buf_index(0).fixed_addr(Addr::Arena(&memory, 0));
    let refused = only_result(context, &mut ring, &fixed)?;
    context.check_result("READ_FIXED of the char device", refused, -EACCES)?;
    drop(ring);
    drop(fixed);
    drop(node);
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{DEPTH} tags"))
}
