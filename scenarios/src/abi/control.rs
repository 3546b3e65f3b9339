//! The younger control commands: capacity, quiescing, recovery's own answers, shared memory; and what a kernel says to
//! commands it has not.

use std::sync::Arc;

use reports::event::FailureKind;
use ublk::raw::{Addr, CharFile, CtrlPayload};
use ublk::sys::arena::Arena;
use ublk::uapi::{CtrlOp, DevState, Features, Params, ShmemBufFlags, ShmemBufReg};
use zerocopy::IntoBytes;

use crate::block::{page_bytes, sysfs_block, wait_until};
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{
    EBUSY, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, Fetcher, RawControl, Rig, arena,
    feature_bits, offered,
};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/commands-this-kernel-has-not",
        title: "a control command is unknown exactly where its feature is not offered",
        covers: &["ctl.nr.unknown"],
        run: unknown,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/update-size",
        title: "UPDATE_SIZE resizes a live disk, up, down and without the flag",
        covers: &["UBLK_F_UPDATE_SIZE"],
        run: update_size,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/update-size-without-a-disk",
        title: "UPDATE_SIZE before START_DEV is ENODEV",
        covers: &["size.nodisk"],
        known_bug: update_size_bug,
        run: update_size_early,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/quiesce",
        title: "QUIESCE_DEV aborts idle tags, and is refused without the feature or without a disk",
        covers: &["qsc.nofeature", "qsc.nodisk", "cqe.abort.quiesce", "UBLK_F_QUIESCE"],
        run: quiesce,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/recovery-refusals",
        title: "the recovery commands refuse plain, served and never started devices",
        covers: &["srec.norecovery", "srec.open", "srec.state", "erec.norecovery", "erec.state"],
        run: recovery,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/shared-memory-registration",
        title: "REG_BUF pins memory once and refuses every malformed range; UNREG_BUF gives it back",
        covers: &[
            "reg.nofeature",
            "reg.fault.hdr",
            "reg.flags",
            "reg.reserved",
            "reg.len.zero",
            "reg.len.max",
            "reg.len.align",
            "reg.addr.align",
            "reg.pin.fail",
            "reg.pin.partial",
            "reg.overlap",
            "unreg.nofeature",
            "unreg.range",
            "unreg.enoent",
        ],
        run: shared_memory,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/delete-without-waiting",
        title: "DEL_DEV_ASYNC returns while the device is held open, and its id is free afterwards",
        covers: &["DEL_DEV_ASYNC"],
        run: delete_async,
        ..Scenario::DRIVER
    },
];

/// A live device with one queue of four tags, served from this thread.
pub(super) fn live(
    context: &mut Context,
    features: Features,
) -> Result<(Rig, Arc<CharFile>, Fetcher), Stop> {
    live_with(context, features, 4, |_| {})
}

/// A live device with one queue of `depth` tags and a change to its parameters, served from this thread.
pub(super) fn live_with(
    context: &mut Context,
    features: Features,
    depth: u16,
    change: impl FnOnce(&mut Params),
) -> Result<(Rig, Arc<CharFile>, Fetcher), Stop> {
    let mut rig = Rig::add_with(context, 1, depth, features, |_| {})?;
    let mut params = rig.basic_params();
    change(&mut params);
    let set = rig.set_params_raw(context, &params)?;
    context.check_result("SET_PARAMS", set, 0)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch_all()?;
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV", started, 0)?;
    rig.settle(context, &mut fetcher)?;
    Ok((rig, file, fetcher))
}

/// Stops and deletes what [`live`] made.
pub(super) fn tear_down(
    context: &mut Context,
    mut rig: Rig,
    file: Arc<CharFile>,
    mut fetcher: Fetcher,
) -> Result<(), Stop> {
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)
}

/// Waits until the device is in a state.
pub(super) fn wait_for(context: &mut Context, rig: &mut Rig, wanted: DevState) -> Result<(), Stop> {
    let id = rig.id;
    let there = wait_until(context.command_timeout(), || {
        rig.control().get_dev_info(id).is_ok_and(|info| info.state() == wanted)
    });
    context.check(FailureKind::State, format_args!("the device gets {wanted:?}"), there)
}

/// A command with an argument and without a buffer.
pub(super) fn ask(
    context: &mut Context,
    client: &mut RawControl,
    op: CtrlOp,
    id: u32,
    data: u64,
) -> Result<i32, Stop> {
    client.send(context, op.encoded(), &CtrlPayload { data, ..CtrlPayload::new(id) })
}

/// Where it is written down that this kernel dereferences NULL when it is told the size of a device without a disk.
fn update_size_bug(kernel: KernelRelease) -> Option<&'static str> {
    let bug = kernel.at_least(6, 16) && !kernel.at_least(7, 0);
    bug.then_some("docs/kernel-facts.md, UPDATE_SIZE without a disk")
}

fn unknown(context: &mut Context) -> Result<String, Stop> {
    let features = Features::from_bits(feature_bits()?);
    let mut rig = Rig::add(context, 1, 2)?;
    let mut client = RawControl::open()?;
    let mut known = Vec::new();
    for (op, feature) in [
        (CtrlOp::UpdateSize, Features::UPDATE_SIZE),
        (CtrlOp::QuiesceDev, Features::QUIESCE),
        (CtrlOp::TryStopDev, Features::SAFE_STOP_DEV),
        (CtrlOp::RegBuf, Features::SHMEM_ZC),
        (CtrlOp::UnregBuf, Features::SHMEM_ZC),
    ] {
        if op == CtrlOp::UpdateSize && update_size_bug(context.kernel).is_some() {
            context.step("without UPDATE_SIZE, which abi/update-size-without-a-disk sends");
            continue;
        }
        let result = ask(context, &mut client, op, rig.id, 0)?;
        let offered = features.contains(feature);
        // Of a plain device that is not started: no disk, or a feature it was not given.
        let expected = match op {
            _ if !offered => -EOPNOTSUPP,
            CtrlOp::UpdateSize | CtrlOp::TryStopDev => -ENODEV,
            _ => -EOPNOTSUPP,
        };
        context.check_result(format_args!("{} of a plain device", op.name()), result, expected)?;
        if offered {
            known.push(op.name());
        }
    }
    rig.delete(context)?;
    Ok(format!("known here: {}", known.join(", ")))
}

fn update_size(context: &mut Context) -> Result<String, Stop> {
    offered(Features::UPDATE_SIZE)?;
    let mut sizes = 0;
    for features in [Features::empty(), Features::UPDATE_SIZE] {
        let (mut rig, file, fetcher) = live(context, features)?;
        let id = rig.id;
        for sectors in [4096_u64, 1 << 30, 8, 16384] {
            rig.control().update_size(id, sectors)?;
            let told = sysfs_block(&format!("ublkb{id}"), "size")?;
            let what = format!("size with {features}");
            context.check_eq(FailureKind::State, what, &told, &sectors.to_string())?;
            let stored = rig.control().get_params(id)?.basic.dev_sectors;
            context.check_eq(FailureKind::State, "dev_sectors", &stored, &sectors)?;
            sizes += 1;
        }
        tear_down(context, rig, file, fetcher)?;
    }
    Ok(format!("{sizes} sizes"))
}

fn update_size_early(context: &mut Context) -> Result<String, Stop> {
    offered(Features::UPDATE_SIZE)?;
    let mut client = RawControl::open()?;
    let mut rig = Rig::ready(context, 1, 2)?;
    let early = ask(context, &mut client, CtrlOp::UpdateSize, rig.id, 4096)?;
    context.check_result("UPDATE_SIZE before START_DEV", early, -ENODEV)?;
    rig.delete(context)?;
    Ok("ENODEV".into())
}

fn quiesce(context: &mut Context) -> Result<String, Stop> {
    const QUIESCABLE: Features = Features::QUIESCE.union(Features::USER_RECOVERY);
    offered(QUIESCABLE)?;
    let mut client = RawControl::open()?;
    let (rig, file, fetcher) = live(context, Features::USER_RECOVERY)?;
    let refused = ask(context, &mut client, CtrlOp::QuiesceDev, rig.id, 1000)?;
    context.check_result("QUIESCE_DEV without the feature", refused, -EOPNOTSUPP)?;
    tear_down(context, rig, file, fetcher)?;
    let mut rig = Rig::ready_with(context, 1, 2, QUIESCABLE)?;
    let early = ask(context, &mut client, CtrlOp::QuiesceDev, rig.id, 1000)?;
    context.check_result("QUIESCE_DEV before START_DEV", early, -ENODEV)?;
    rig.delete(context)?;
    let (mut rig, file, mut fetcher) = live(context, QUIESCABLE)?;
    let id = rig.id;
    rig.control().quiesce_dev(id, 1000)?;
    while !fetcher.all_aborted() && fetcher.serve_for(context.command_timeout())? > 0 {}
    let (aborted, armed) = fetcher.aborted_of_armed();
    context.check_eq(FailureKind::Completion, "tags aborted by QUIESCE_DEV", &aborted, &armed)?;
    let state = rig.control().get_dev_info(id)?.state();
    context.check_eq(
        FailureKind::State,
        "state while the server is there",
        &state,
        &DevState::Live,
    )?;
    drop(fetcher);
    drop(file);
    wait_for(context, &mut rig, DevState::Quiesced)?;
    rig.control().start_user_recovery(id)?;
    rig.stop()?;
    rig.delete(context)?;
    Ok("EOPNOTSUPP, ENODEV, and quiesced".into())
}

fn recovery(context: &mut Context) -> Result<String, Stop> {
    let mut client = RawControl::open()?;
    let own = u64::from(std::process::id());
    let (rig, file, fetcher) = live(context, Features::empty())?;
    let result = ask(context, &mut client, CtrlOp::StartUserRecovery, rig.id, 0)?;
    context.check_result("START_USER_RECOVERY of a plain device", result, -EINVAL)?;
    let result = ask(context, &mut client, CtrlOp::EndUserRecovery, rig.id, own)?;
    context.check_result("END_USER_RECOVERY of a plain device", result, -EINVAL)?;
    tear_down(context, rig, file, fetcher)?;
    let (rig, file, fetcher) = live(context, Features::USER_RECOVERY)?;
    let result = ask(context, &mut client, CtrlOp::StartUserRecovery, rig.id, 0)?;
    context.check_result("START_USER_RECOVERY of a served device", result, -EBUSY)?;
    let result = ask(context, &mut client, CtrlOp::EndUserRecovery, rig.id, own)?;
    context.check_result("END_USER_RECOVERY of a live device", result, -EBUSY)?;
    tear_down(context, rig, file, fetcher)?;
    let mut rig = Rig::ready_with(context, 1, 2, Features::USER_RECOVERY)?;
    let result = ask(context, &mut client, CtrlOp::StartUserRecovery, rig.id, 0)?;
    // 6.12 first asks whether any queue was ever ready.
    let expected = if context.kernel.at_least(6, 16) { -EBUSY } else { -EINVAL };
    context.check_result("START_USER_RECOVERY of a device never started", result, expected)?;
    rig.delete(context)?;
    Ok("5 refusals".into())
}

fn shared_memory(context: &mut Context) -> Result<String, Stop> {
    offered(Features::SHMEM_ZC)?;
    let mut client = RawControl::open()?;
    let mut plain = Rig::add(context, 1, 2)?;
    for op in [CtrlOp::RegBuf, CtrlOp::UnregBuf] {
        let result = ask(context, &mut client, op, plain.id, 0)?;
        let what = format!("{} without SHMEM_ZC", op.name());
        context.check_result(what, result, -EOPNOTSUPP)?;
    }
    plain.delete(context)?;
    let mut rig = Rig::ready_with(context, 1, 2, Features::SHMEM_ZC)?;
    let memory = arena(64 << 10)?;
    memory.write(0, &[1; 64 << 10]);
    memory.fill_read_only(b"read me")?;
    let (right, page) = (registration(&memory), page_bytes() as u64);
    let wrong: [(&str, ShmemBufReg, i32); 9] = [
        ("unknown flags", ShmemBufReg { flags: ShmemBufFlags::from_bits(2), ..right }, -EINVAL),
        ("a reserved word", ShmemBufReg { reserved: 1, ..right }, -EINVAL),
        ("no length", ShmemBufReg { len: 0, ..right }, -EINVAL),
        ("more than 4 GiB", ShmemBufReg { len: (4 << 30) + page, ..right }, -EINVAL),
        ("half a page", ShmemBufReg { len: page / 2, ..right }, -EINVAL),
        ("an address within a page", ShmemBufReg { addr: right.addr + 512, ..right }, -EINVAL),
        ("unmapped memory", ShmemBufReg { addr: memory.unmapped_addr(), ..right }, -EFAULT),
        ("a hole at the end", ShmemBufReg { len: right.len + page, ..right }, -EFAULT),
        (
            "a page it may not write",
            ShmemBufReg { addr: memory.read_only_addr(), len: page, ..right },
            -EFAULT,
        ),
    ];
    for (what, argument, expected) in &wrong {
        let result = register(context, &mut client, rig.id, argument, 24)?;
        context.check_result(format_args!("REG_BUF with {what}"), result, *expected)?;
    }
    let short = register(context, &mut client, rig.id, &right, 8)?;
    context.check_result("REG_BUF with 8 bytes of argument, so no length", short, -EINVAL)?;
    let lost = Addr::Unmapped(&memory);
    let payload = CtrlPayload { addr: lost, len: 24, ..CtrlPayload::new(rig.id) };
    let fault = client.send(context, CtrlOp::RegBuf.encoded(), &payload)?;
    context.check_result("REG_BUF with an unmapped argument", fault, -EFAULT)?;
    let first = register(context, &mut client, rig.id, &right, 24)?;
    context.check_result("the first registration's index", first, 0)?;
    let again = register(context, &mut client, rig.id, &right, 24)?;
    context.check_result("the same pages a second time", again, -EEXIST)?;
    let id = rig.id;
    let readable = ShmemBufReg {
        addr: memory.read_only_addr(),
        len: page,
        flags: ShmemBufFlags::READ_ONLY,
        ..right
    };
    let second = register(context, &mut client, id, &readable, 24)?;
    context.check_result("a page to be read, as such: index", second, 1)?;
    for (what, index, expected) in [
        ("an index never given", 7, -ENOENT),
        ("65536", 1 << 16, -EINVAL),
        ("-1", u64::from(u32::MAX), -EINVAL),
        ("0", 0, 0),
        ("0 again", 0, -ENOENT),
    ] {
        let result = ask(context, &mut client, CtrlOp::UnregBuf, id, index)?;
        context.check_result(format_args!("UNREG_BUF of {what}"), result, expected)?;
    }
    let other = arena(8192)?;
    other.write(0, &[2; 8192]);
    let reused = rig.control().reg_buf(id, &other, ShmemBufFlags::empty())?;
    context.check_eq(FailureKind::State, "index of the next registration", &reused, &0)?;
    // The deletion gives back what is still registered.
    rig.delete(context)?;
    Ok(format!("{} malformed ranges", wrong.len() + 2))
}

fn registration(memory: &Arena) -> ShmemBufReg {
    let len = memory.len_bytes() as u64;
    ShmemBufReg { addr: memory.addr(0), len, ..ShmemBufReg::default() }
}

pub(super) fn register(
    context: &mut Context,
    client: &mut RawControl,
    id: u32,
    argument: &ShmemBufReg,
    len: u16,
) -> Result<i32, Stop> {
    let arena = client.arena();
    arena.write(0, argument.as_bytes());
    let payload = CtrlPayload { addr: Addr::Arena(&arena, 0), len, ..CtrlPayload::new(id) };
    client.send(context, CtrlOp::RegBuf.encoded(), &payload)
}

fn delete_async(context: &mut Context) -> Result<String, Stop> {
    let rig = Rig::ready(context, 1, 2)?;
    let id = rig.id;
    let held = rig.open(context)?;
    let mut control = rig.second_control()?;
    control.del_dev_async(id)?;
    context.check(FailureKind::Operation, "DEL_DEV_ASYNC returns while it is held", true)?;
    let gone = crate::block::nodes(id).0;
    let gone = wait_until(context.command_timeout(), || !gone.exists());
    context.check(FailureKind::State, "the node is gone", gone)?;
    let mut client = RawControl::open()?;
    // It is only on its way: the number is taken, and its info can be read, until the last close.
    let info = client.command(context, CtrlOp::GetDevInfo.encoded(), id, 64)?;
    context.check_result("GET_DEV_INFO of a device that is held open", info, 0)?;
    let taken = add_as(context, &mut client, id)?;
    context.check_result("ADD_DEV with an id that is still held", taken, -EEXIST)?;
    drop(held);
    let free =
        wait_until(context.command_timeout(), || matches!(add_as(context, &mut client, id), Ok(0)));
    context.check(FailureKind::State, "the id is free once nobody holds it", free)?;
    // The rig's own clean-up deletes the new device of that id.
    drop(rig);
    crate::process::check_no_nodes(context, id)?;
    Ok(format!("id {id} came free with the last close"))
}

fn add_as(context: &mut Context, client: &mut RawControl, id: u32) -> Result<i32, Stop> {
    let mut info = ublk::uapi::DevInfo::new(1, 2, 64 << 10, Features::empty());
    info.dev_id = id;
    client.add(context, &info, id, u16::MAX, 64)
}
