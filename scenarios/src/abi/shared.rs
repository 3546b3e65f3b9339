//! Requests in shared memory as the driver delivers them: where they say they are, and the one mode in which that
//! is forgotten.

use std::fs::File;
use std::sync::Arc;

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::device::SharedMemory;
use ublk::raw::{Addr, CtrlPayload};
use ublk::uapi::{
    CtrlOp, Features, IO_RES_NEED_GET_DATA, IoCmdOp, IoDesc, IoFlags, ShmemAddr, ShmemBufReg,
};
use zerocopy::IntoBytes;

use super::buffers::{AT, LEN, client, content, finish};
use super::control::{ask, register, tear_down};
use crate::block::{BlockDevice, nodes, page_bytes};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{AT_ONCE_MAX, Fetcher, RawControl, Rig, arena, offered};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/shared-memory-and-get-data",
        title: "a write in shared memory says where, until NEED_GET_DATA forgets it and brings no bytes either: the \
                two do not go together",
        covers: &["UBLK_F_SHMEM_ZC", "UBLK_F_NEED_GET_DATA"],
        known_bug: KernelRelease::shared_memory_bug,
        run: get_data,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/shared-memory-index-full",
        title: "65536 registrations have an index, the next is ENOSPC, and one that was given back is given again",
        covers: &["reg.index.full"],
        budget: BudgetClass::Long,
        run: index_full,
        ..Scenario::DRIVER
    },
];

const ENOSPC: i32 = nix::libc::ENOSPC;

const MEMORY_BYTES: u64 = 64 << 10;
/// Where in the memory the request is.
const OFFSET: u32 = 4096 + 512;

fn in_memory(request: &IoDesc) -> Option<ShmemAddr> {
    let flagged = request.flags().contains(IoFlags::SHMEM_ZC);
    flagged.then(|| ShmemAddr::decode(request.addr))
}

fn get_data(context: &mut Context) -> Result<String, Stop> {
    let features = Features::SHMEM_ZC | Features::NEED_GET_DATA;
    offered(features)?;
    let path = std::env::temp_dir().join(format!("shared-get-data-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.during("make the shared file")?;
    file.set_len(MEMORY_BYTES).during("size the shared file")?;
    let _ = std::fs::remove_file(&path);
    let memory = SharedMemory::from_file(&file, MEMORY_BYTES).map_err(Stop::error)?;

    let mut rig = Rig::ready_with(context, 1, 4, features)?;
    let id = rig.id;
    let index = rig.control().reg_shared(id, &memory)?;
    context.check_eq(FailureKind::State, "index of the memory", &index, &0)?;
    let char_file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &char_file, 0)?;
    fetcher.fetch_all()?;
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV", started, 0)?;
    rig.settle(context, &mut fetcher)?;

    let sent = content(context, 1);
    memory.write(u64::from(OFFSET), &sent)?;
    let (node, timeout, source) = (nodes(id).1, context.command_timeout(), memory.clone());
    let writer = std::thread::spawn(move || {
        let device = BlockDevice::open(&node, timeout)?;
        let sent = source.send_to(u64::from(OFFSET), LEN as u64, device.file(), AT);
        Ok(sent.map(|()| crate::block::AlignedBuffer::zeroed(0)))
    });
    let asked = fetcher.wait(1, context.command_timeout())?;
    let results: Vec<_> = asked.iter().map(|completion| completion.res).collect();
    let wanted = vec![IO_RES_NEED_GET_DATA];
    context.check_eq(FailureKind::Completion, "the write's first answer", &results, &wanted)?;
    let tag = u16::try_from(asked[0].user_data).during("read a tag")?;
    let right = ShmemAddr { index: 0, offset: OFFSET };
    let told = in_memory(&fetcher.request(tag));
    context.check_eq(FailureKind::State, "where the write is, at first", &told, &Some(right))?;
    fetcher.command(IoCmdOp::NeedGetData.encoded(), 0, tag, 0, true)?;
    let filled = fetcher.only_completion(context, "NEED_GET_DATA")?.res;
    context.check_result("NEED_GET_DATA", filled, 0)?;
    let told = in_memory(&fetcher.request(tag));
    context.check(
        FailureKind::State,
        format_args!("it still claims to be in the memory, and not where it is ({told:?})"),
        told.is_some_and(|place| place != right),
    )?;
    fetcher.answer(tag)?;
    finish(context, &mut fetcher, writer)??;
    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    fetcher.answer(tag)?;
    let back = finish(context, &mut fetcher, reader)??;
    context.check(
        FailureKind::DataMismatch,
        "what the server found in its buffer is not what was written",
        back[..] != sent[..],
    )?;
    tear_down(context, rig, char_file, fetcher)?;
    Ok(format!("at {OFFSET} of the memory before NEED_GET_DATA, {told:?} after it"))
}

/// Registrations that an index can tell apart.
const REGISTRATIONS: u32 = 1 << 16;
/// The most that one arena may have.
const ARENA_BYTES: usize = 256 << 20;

/// What the memory for them takes, and as much again for everything else.
fn need_kib() -> u64 {
    2 * u64::from(REGISTRATIONS) * (page_bytes() as u64 >> 10)
}

fn available_kib() -> Result<u64, Stop> {
    let text = std::fs::read_to_string("/proc/meminfo").during("read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Stop::error("/proc/meminfo has no MemAvailable"))
}

/// REG_BUF of several at once, at most [`AT_ONCE_MAX`]; one after the other takes more than twice as long.
fn register_some(
    context: &Context,
    client: &mut RawControl,
    id: u32,
    arguments: impl Iterator<Item = ShmemBufReg>,
) -> Result<Vec<i32>, Stop> {
    let arena = client.arena();
    let size = size_of::<ShmemBufReg>();
    let payloads = arguments.enumerate().map(|(place, argument)| {
        arena.write(place * size, argument.as_bytes());
        let len = u16::try_from(size).unwrap_or(u16::MAX);
        CtrlPayload { addr: Addr::Arena(&arena, place * size), len, ..CtrlPayload::new(id) }
    });
    client.send_all(context, CtrlOp::RegBuf.encoded(), payloads)
}

fn index_full(context: &mut Context) -> Result<String, Stop> {
    offered(Features::SHMEM_ZC)?;
    let (available, need) = (available_kib()?, need_kib());
    if available < need {
        return Err(Stop::skip("MemAvailable", format_args!("{available} KiB of {need}")));
    }
    let mut client = RawControl::open()?;
    let mut rig = Rig::ready_with(context, 1, 2, Features::SHMEM_ZC)?;
    // Of small pages one arena has enough.
    let each = REGISTRATIONS.min((ARENA_BYTES / page_bytes()) as u32);
    let arenas = (0..REGISTRATIONS).step_by(each as usize);
    let arenas =
        arenas.map(|_| arena(each as usize * page_bytes())).collect::<Result<Vec<_>, _>>()?;
    let page = |number: u32| ShmemBufReg {
        addr: arenas[(number / each) as usize].addr((number % each) as usize * page_bytes()),
        len: page_bytes() as u64,
        ..ShmemBufReg::default()
    };
    let mut given = vec![false; REGISTRATIONS as usize];
    for first in (0..REGISTRATIONS).step_by(AT_ONCE_MAX as usize) {
        let pages = (first..first + AT_ONCE_MAX).map(page);
        for index in register_some(context, &mut client, rig.id, pages)? {
            let place = usize::try_from(index).ok().and_then(|index| given.get_mut(index));
            let is_new = place.is_some_and(|given| !std::mem::replace(given, true));
            if !is_new {
                let what = format!("a registration after {first} others is answered {index}");
                return Err(Stop::fail(FailureKind::State, what));
            }
        }
    }
    context.check(FailureKind::State, "every index is given once", !given.contains(&false))?;
    let more = arena(page_bytes())?;
    let one_more = ShmemBufReg { len: page_bytes() as u64, addr: more.addr(0), ..page(0) };
    let full = register(context, &mut client, rig.id, &one_more, 24)?;
    context.check_result("one more registration", full, -ENOSPC)?;
    let result = ask(context, &mut client, CtrlOp::UnregBuf, rig.id, 4711)?;
    context.check_result("UNREG_BUF of 4711", result, 0)?;
    let again = register(context, &mut client, rig.id, &one_more, 24)?;
    context.check_result("the index of the next registration", again, 4711)?;
    rig.delete(context)?;
    Ok(format!("{REGISTRATIONS} pages, then ENOSPC"))
}
