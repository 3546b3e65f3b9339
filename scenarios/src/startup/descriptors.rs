//! Where each queue's descriptors are mapped.
//!
//! The stride is fixed by the deepest possible queue, not by this device's depth. With the seed project's
//! smaller stride the mapping succeeds and shows queue 0's descriptors for every queue: the quietest data
//! corruption of all. Both the right and the wrong offset are shown here.

use std::sync::Arc;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use reports::event::FailureKind;
use ublk::uapi::{desc_area_len_bytes, desc_area_offset, desc_area_stride_bytes};

use crate::block::{AlignedBuffer, BlockDevice, nodes, page_bytes};
use crate::context::{Context, During, Stop};
use crate::rig::{EACCES, EINVAL, EPERM, RawServer, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "startup/descriptors-of-each-queue",
        title: "the mapping at the true stride shows a queue's own descriptors",
        covers: &["myth e", "S2", "R:1", "96921a1"],
        run: of_each_queue,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/small-stride-maps-queue-zero",
        title: "the mapping at a depth-sized stride succeeds and shows queue 0: the trap",
        covers: &["myth e", "S2", "R:1"],
        run: small_stride,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/descriptor-mapping-limits",
        title: "a wrong offset, length or protection of the mapping is refused",
        covers: &["mmap.off", "mmap.size", "mmap.write", "3049986", "5da681b"],
        run: limits,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/second-open-is-refused",
        title: "/dev/ublkcN has one opener at a time",
        covers: &["chopen.busy", "88b44c4"],
        run: second_open,
        ..Scenario::DRIVER
    },
];

/// A page, as offsets of mappings are counted.
pub(super) fn page() -> u64 {
    page_bytes() as u64
}

/// Bytes from one queue's descriptors to the next one's: whole pages that hold 4096 of 24 bytes.
fn stride() -> u64 {
    98_304_u64.next_multiple_of(page())
}

/// Brings up two queues and makes one write through each, at a sector that names its queue.
fn two_queues_used(context: &mut Context) -> Result<(Rig, RawServer, [u64; 2]), Stop> {
    let mut rig = Rig::ready(context, 2, 4)?;
    if rig.info.nr_hw_queues < 2 {
        let queues = rig.info.nr_hw_queues;
        return Err(Stop::skip("hardware queues after asking for 2", queues));
    }
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    server.serve(context, &rig, 1)?;
    rig.start(context)?;
    let device = BlockDevice::open(&nodes(rig.id).1, context.command_timeout())?;
    let sectors = [1000 * 8, 1500 * 8];
    for (queue, sector) in sectors.into_iter().enumerate() {
        let cpu = rig.first_cpu_of_queue(u16::try_from(queue).unwrap_or(0))?;
        let mut set = CpuSet::new();
        set.set(cpu).during("choose a CPU")?;
        sched_setaffinity(Pid::from_raw(0), &set).during(format_args!("move to CPU {cpu}"))?;
        // Every tag of the queue, so that each of its descriptors names the queue's own sector.
        for _ in 0..8 {
            device.write_at(sector * 512, &AlignedBuffer::zeroed(4096))?;
        }
    }
    Ok((rig, server, sectors))
}

fn of_each_queue(context: &mut Context) -> Result<String, Stop> {
    let (mut rig, server, sectors) = two_queues_used(context)?;
    let stride = desc_area_stride_bytes(rig.info.io_desc_stride_bytes(), page());
    context.check_eq(
        FailureKind::State,
        "stride for 24-byte descriptors",
        &stride,
        &self::stride(),
    )?;
    for (queue, sector) in (0..2).zip(sectors) {
        let offset = desc_area_offset(queue, rig.info.io_desc_stride_bytes(), page());
        let seen = rig.start_sectors_at(&server, offset)?;
        context.check(
            FailureKind::State,
            format_args!("queue {queue}'s descriptors hold sector {sector}: {seen:?}"),
            seen.contains(&sector) && !seen.contains(&sectors[1 - usize::from(queue)]),
        )?;
    }
    rig.tear_down(context, server)?;
    Ok(format!("stride {stride}"))
}

fn small_stride(context: &mut Context) -> Result<String, Stop> {
    let (mut rig, server, sectors) = two_queues_used(context)?;
    for offset in [page(), stride() / 2, stride() - page()] {
        let seen = rig.start_sectors_at(&server, offset)?;
        context.check(
            FailureKind::State,
            format_args!("offset {offset} shows queue 0 ({seen:?})"),
            seen.contains(&sectors[0]) && !seen.contains(&sectors[1]),
        )?;
    }
    rig.tear_down(context, server)?;
    Ok(format!("every offset below {} is queue 0", stride()))
}

fn limits(context: &mut Context) -> Result<String, Stop> {
    // More than one page of descriptors, so that there can be a page less.
    let depth = u16::try_from(page_bytes() / 24 + 30).unwrap_or(u16::MAX);
    let mut rig = Rig::ready(context, 2, depth)?;
    let file = Arc::new(rig.open(context)?);
    let descriptor_bytes = rig.info.io_desc_stride_bytes();
    let len = desc_area_len_bytes(rig.info.queue_depth, descriptor_bytes, page());
    let len = usize::try_from(len).during("size the mapping")?;
    let end = desc_area_offset(rig.info.nr_hw_queues, descriptor_bytes, page());
    let errno = |result: std::io::Result<_>| match result {
        Ok(_) => 0,
        Err(error) => -error.raw_os_error().unwrap_or(0),
    };
    for (what, offset, len, writable, expected) in [
        ("the right one", 0, len, false, 0),
        ("an offset behind the last queue", end, len, false, -EINVAL),
        ("a length of a page more", 0, len + page_bytes(), false, -EINVAL),
        ("a length of a page less", 0, len - page_bytes(), false, -EINVAL),
        ("a writable mapping", 0, len, true, -EPERM),
    ] {
        let observed = errno(file.map_at(offset, len, writable).map(drop));
        context.check_result(format_args!("mmap with {what}"), observed, expected)?;
    }
    let area = file.map_at(0, len, false).during("map the descriptors")?;
    let made_writable = errno(area.make_writable());
    // Seen: 0 on 6.12.43 to 6.12.107 and 6.16 to 6.18.15, EACCES on 6.12.111 to 6.12.117 and 7.2 on.
    let expected = if context.kernel.has_backport(111) { -EACCES } else { 0 };
    context.check_result("mprotect(PROT_WRITE) of the mapping", made_writable, expected)?;
    drop(area);
    drop(file);
    rig.delete(context)?;
    Ok(format!("length {len} exactly; mprotect {}", crate::context::errno(made_writable)))
}

fn second_open(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let file = rig.open(context)?;
    let path = nodes(rig.id).0;
    let second = std::fs::OpenOptions::new().read(true).write(true).open(&path);
    let errno = second.err().and_then(|error| error.raw_os_error());
    context.check_eq(FailureKind::Errno, "errno of a second open", &errno, &Some(16))?;
    drop(file);
    let again = crate::block::retry(context.command_timeout(), || {
        std::fs::OpenOptions::new().read(true).write(true).open(&path)
    });
    context.check(FailureKind::State, "it opens again after the close", again.is_ok())?;
    drop(again);
    rig.delete(context)?;
    Ok("EBUSY while open".into())
}
