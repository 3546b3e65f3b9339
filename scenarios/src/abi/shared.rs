//! Requests in shared memory as the driver delivers them: where they say they are, and the one mode in which that
//! is forgotten.

use std::fs::File;
use std::sync::Arc;

use reports::event::FailureKind;
use ublk::device::SharedMemory;
use ublk::uapi::{Features, IO_RES_NEED_GET_DATA, IoCmdOp, IoDesc, IoFlags, ShmemAddr};

use super::buffers::{AT, LEN, client, content, finish};
use super::control::tear_down;
use crate::block::{BlockDevice, nodes};
use crate::context::{Context, During, Stop};
use crate::rig::{Fetcher, Rig, offered};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "abi/shared-memory-and-get-data",
    title: "a write in shared memory says where, until NEED_GET_DATA forgets it and brings no bytes either: the two do \
            not go together",
    covers: &["UBLK_F_SHMEM_ZC", "UBLK_F_NEED_GET_DATA"],
    run: get_data,
    ..Scenario::DRIVER
}];

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
