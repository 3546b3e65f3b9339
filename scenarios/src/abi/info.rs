//! What can be asked of the driver and of a device, and what a malformed question is answered.

use reports::event::FailureKind;
use ublk::params::DeviceNumbers;
use ublk::raw::{Addr, CtrlPayload};
use ublk::uapi::{CtrlOp, DevInfo, DevState, Features, ParamTypes};
use zerocopy::FromBytes;

use crate::block::sysfs_block;
use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{EFAULT, EINVAL, ENOENT, EPERM, RawControl, RawServer, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/dev-info-round-trip",
        title: "what a server writes into ADD_DEV's opaque fields is read back, with state, pid and owner",
        covers: &["ublksrv_ctrl_dev_info"],
        run: round_trip,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/get-dev-info2-needs-the-path",
        title: "GET_DEV_INFO2 wants the path of the device itself in front of its buffer",
        covers: &[
            "perm.path.zero",
            "perm.path.toolong",
            "perm.len.short",
            "perm.path.fault",
            "perm.path.lookup",
            "perm.path.notdev",
            "perm.path.otherdev",
        ],
        run: info2,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/malformed-questions",
        title: "GET commands refuse a short, missing, misaligned or unmapped buffer",
        covers: &[
            "feat.len",
            "feat.addr",
            "feat.fault",
            "getp.len",
            "getp.addr",
            "getp.fault.in",
            "getp.fault.out",
            "getp.plen.gt",
            "getp.plen.zero",
            "info.len",
            "info.addr",
            "info.fault",
            "aff.len",
            "aff.align",
            "aff.addr",
            "aff.queue",
            "aff.fault",
        ],
        run: malformed,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/malformed-add-and-set",
        title: "ADD_DEV and SET_PARAMS refuse a missing, unmapped or half-mapped buffer and leave nothing",
        covers: &[
            "add.addr",
            "add.fault.in",
            "add.fault.out",
            "setp.len",
            "setp.addr",
            "setp.fault.hdr",
            "setp.fault.body",
            "setp.plen.gt",
        ],
        run: malformed_writes,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/devt-matches-sysfs",
        title: "GET_PARAMS tells the numbers of both nodes, and of the disk only while there is one",
        covers: &["ublk_param_devt", "vp.devt"],
        run: devt,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/params-are-an-overlay",
        title: "SET_PARAMS writes the front it is given and keeps the rest; GET_PARAMS gives it back",
        covers: &["ublk_params"],
        run: overlay,
        ..Scenario::DRIVER
    },
];

fn round_trip(context: &mut Context) -> Result<String, Stop> {
    const OPAQUE: u64 = 0x0123_4567_89ab_cdef;
    let mut rig = Rig::add_with(context, 2, 8, Features::empty(), |info| {
        info.ublksrv_flags = OPAQUE;
        info.pad1 = 0x1111;
        info.reserved1 = 0x2222;
        info.reserved2 = 0x3333;
        info.max_io_buf_bytes = (64 << 10) + 17;
    })?;
    let params = rig.basic_params();
    let id = rig.id;
    let added = as_asked_later(context, rig.info)?;
    let seen = rig.control().get_dev_info(id)?;
    context.check_eq(FailureKind::State, "GET_DEV_INFO after ADD_DEV", &seen, &added)?;
    let opaque = (seen.ublksrv_flags, seen.pad1, seen.reserved1, seen.reserved2);
    let expected = (OPAQUE, 0x1111, 0x2222, 0x3333);
    context.check_eq(FailureKind::State, "opaque fields", &opaque, &expected)?;
    let buffer = seen.max_io_buf_bytes;
    context.check_eq(
        FailureKind::State,
        "largest request, in whole pages",
        &buffer,
        &(64 << 10),
    )?;
    let own = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    context.check_eq(FailureKind::State, "owner", &(seen.owner_uid, seen.owner_gid), &own)?;
    context.check_eq(FailureKind::State, "state", &seen.state(), &DevState::Dead)?;
    context.check_eq(FailureKind::State, "depth", &seen.queue_depth, &8)?;
    rig.control().set_params(id, &params)?;
    let mut server = RawServer::open(context, &rig)?;
    for queue in 0..rig.info.nr_hw_queues {
        server.serve(context, &rig, queue)?;
    }
    rig.start(context)?;
    let live = rig.control().get_dev_info2(id)?;
    context.check_eq(
        FailureKind::State,
        "state after START_DEV",
        &live.state(),
        &DevState::Live,
    )?;
    let own = std::process::id().cast_signed();
    context.check_eq(FailureKind::State, "pid of the server", &live.ublksrv_pid, &own)?;
    context.check_eq(FailureKind::State, "opaque word", &live.ublksrv_flags, &OPAQUE)?;
    rig.tear_down(context, server)?;
    Ok(format!("{OPAQUE:#x} kept, {} queues", seen.nr_hw_queues))
}

/// The pid of a device that nobody serves yet: in ADD_DEV's answer, and in a question's. Older kernels give back what
/// ADD_DEV brought: docs/kernel-facts.md.
fn pids_of_nobody(kernel: KernelRelease) -> (i32, i32) {
    match kernel {
        _ if kernel.has_backport(111) => (-1, -1),
        _ if kernel.is_series(6, 18) => (0, -1),
        _ => (0, 0),
    }
}

/// What ADD_DEV answered, as a question has to tell it afterwards.
fn as_asked_later(context: &mut Context, added: DevInfo) -> Result<DevInfo, Stop> {
    let (then, ublksrv_pid) = pids_of_nobody(context.kernel);
    context.check_eq(FailureKind::State, "pid in ADD_DEV's answer", &added.ublksrv_pid, &then)?;
    Ok(DevInfo { ublksrv_pid, ..added })
}

fn info2(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 1, 2)?;
    let mut client = RawControl::open()?;
    let arena = client.arena();
    let path = format!("/dev/ublkc{}", rig.id);
    let path_len = u16::try_from(path.len()).unwrap_or(u16::MAX);
    let op = CtrlOp::GetDevInfo2.encoded();
    let mut ask = |context: &mut Context, what: &str, text: &str, path_len, len, expected| {
        arena.write(0, &[0; 4096]);
        arena.write(0, text.as_bytes());
        let addr = Addr::Arena(&arena, 0);
        let payload = CtrlPayload { addr, len, dev_path_len: path_len, ..CtrlPayload::new(rig.id) };
        let result = client.send(context, op, &payload)?;
        context.check_result(format_args!("GET_DEV_INFO2 with {what}"), result, expected)
    };
    ask(context, "the path", &path, path_len, path_len + 64, 0)?;
    let mut bytes = [0; 64];
    arena.read(path.len(), &mut bytes);
    let info = DevInfo::read_from_bytes(&bytes).unwrap_or_default();
    let added = as_asked_later(context, rig.info)?;
    context.check_eq(FailureKind::State, "what it tells", &info, &added)?;
    ask(context, "no path", "", 0, 64, -EINVAL)?;
    ask(context, "a path of 4097 bytes", &path, 4097, 4096 + 65, -EINVAL)?;
    ask(context, "less buffer than path", &path, path_len, path_len - 1, -EINVAL)?;
    ask(context, "no room behind the path", &path, path_len, path_len + 63, -EINVAL)?;
    ask(context, "a path to nothing", "/dev/nothing-here", 17, 17 + 64, -ENOENT)?;
    ask(context, "a path to a file", "/proc/self/status", 17, 17 + 64, -EPERM)?;
    ask(context, "a path to another device", "/dev/null", 9, 9 + 64, -EPERM)?;
    let addr = Addr::Unmapped(&arena);
    let payload = CtrlPayload { addr, len: 80, dev_path_len: 16, ..CtrlPayload::new(rig.id) };
    let fault = client.send(context, op, &payload)?;
    context.check_result("GET_DEV_INFO2 with an unmapped path", fault, -EFAULT)?;
    rig.delete(context)?;
    Ok("the path, and 8 wrong ones".into())
}

/// One malformed command: what is wrong with it, the opcode, `len`, the buffer, `data` and the answer.
type Malformed<'a> = (&'a str, CtrlOp, u16, Addr<'a>, u64, i32);

fn check_all(
    context: &mut Context,
    client: &mut RawControl,
    id: u32,
    wrong: &[Malformed<'_>],
) -> Result<(), Stop> {
    for (what, op, len, addr, data, expected) in wrong {
        let payload = CtrlPayload { len: *len, addr: *addr, data: *data, ..CtrlPayload::new(id) };
        let result = client.send(context, op.encoded(), &payload)?;
        context.check_result(format_args!("{} with {what}", op.name()), result, *expected)?;
    }
    Ok(())
}

fn malformed(context: &mut Context) -> Result<String, Stop> {
    use CtrlOp::{GetDevInfo, GetFeatures, GetParams, GetQueueAffinity};
    let mut rig = Rig::ready(context, 1, 2)?;
    let mut client = RawControl::open()?;
    let arena = client.arena();
    // `len` of struct ublk_params, for GET_PARAMS, at three places.
    arena.write(0, &64_u32.to_ne_bytes());
    arena.write(512, &0_u32.to_ne_bytes());
    arena.fill_read_only(&64_u32.to_ne_bytes())?;
    let (right, none) = (Addr::Arena(&arena, 0), Addr::Null);
    let (fault, read_only) = (Addr::Unmapped(&arena), Addr::ReadOnly(&arena));
    let wrong: &[Malformed<'_>] = &[
        ("len 7", GetFeatures, 7, right, 0, -EINVAL),
        ("len 9", GetFeatures, 9, right, 0, -EINVAL),
        ("no address", GetFeatures, 8, none, 0, -EINVAL),
        ("unmapped memory", GetFeatures, 8, fault, 0, -EFAULT),
        ("memory that is read-only", GetFeatures, 8, read_only, 0, -EFAULT),
        ("len 8", GetParams, 8, right, 0, -EINVAL),
        ("no address", GetParams, 64, none, 0, -EINVAL),
        ("unmapped memory", GetParams, 64, fault, 0, -EFAULT),
        ("memory that is read-only", GetParams, 64, read_only, 0, -EFAULT),
        ("params.len above len", GetParams, 63, right, 0, -EINVAL),
        ("params.len 0", GetParams, 64, Addr::Arena(&arena, 512), 0, -EINVAL),
        ("len 63", GetDevInfo, 63, right, 0, -EINVAL),
        ("no address", GetDevInfo, 64, none, 0, -EINVAL),
        ("unmapped memory", GetDevInfo, 64, fault, 0, -EFAULT),
        ("len 0", GetQueueAffinity, 0, right, 0, -EINVAL),
        ("len 12", GetQueueAffinity, 12, right, 0, -EINVAL),
        ("no address", GetQueueAffinity, 1024, none, 0, -EINVAL),
        ("queue 1 of 1", GetQueueAffinity, 1024, right, 1, -EINVAL),
        ("unmapped memory", GetQueueAffinity, 1024, fault, 0, -EFAULT),
    ];
    check_all(context, &mut client, rig.id, wrong)?;
    // Fields that nobody reads may hold anything.
    let payload = CtrlPayload {
        len: 64,
        addr: Addr::Arena(&arena, 1024),
        queue_id: 77,
        pad: 1,
        reserved: 2,
        ..CtrlPayload::new(rig.id)
    };
    let result = client.send(context, GetDevInfo.encoded(), &payload)?;
    context.check_result("GET_DEV_INFO with queue_id, pad and reserved set", result, 0)?;
    rig.delete(context)?;
    Ok(format!("{} malformed questions", wrong.len()))
}

fn malformed_writes(context: &mut Context) -> Result<String, Stop> {
    use CtrlOp::{AddDev, SetParams};
    let mut rig = Rig::ready(context, 1, 2)?;
    let nodes = crate::block::all_nodes()?;
    let mut client = RawControl::open()?;
    let arena = client.arena();
    let end = arena.len_bytes();
    let mut info = DevInfo::new(1, 2, 64 << 10, Features::empty());
    info.dev_id = 55;
    arena.fill_read_only(zerocopy::IntoBytes::as_bytes(&info))?;
    let (none, fault) = (Addr::Null, Addr::Unmapped(&arena));
    check_all(
        context,
        &mut client,
        55,
        &[
            ("no address", AddDev, 64, none, 0, -EINVAL),
            ("unmapped memory", AddDev, 64, fault, 0, -EFAULT),
            // It is read and the device is made; only the answer cannot be written.
            ("memory that is read-only", AddDev, 64, Addr::ReadOnly(&arena), 0, -EFAULT),
        ],
    )?;
    let after = crate::block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "nodes after refused ADD_DEVs", &after, &nodes)?;
    let params = rig.basic_params();
    let bytes = zerocopy::IntoBytes::as_bytes(&params);
    arena.write(0, bytes);
    // The last 16 bytes of the arena: a header that claims a body, which then faults.
    arena.write(end - 16, &bytes[..16]);
    check_all(
        context,
        &mut client,
        rig.id,
        &[
            ("len 8", SetParams, 8, Addr::Arena(&arena, 0), 0, -EINVAL),
            ("no address", SetParams, 152, none, 0, -EINVAL),
            ("unmapped memory", SetParams, 152, fault, 0, -EFAULT),
            ("params.len above len", SetParams, 151, Addr::Arena(&arena, 0), 0, -EINVAL),
            ("half of the body mapped", SetParams, 152, Addr::Arena(&arena, end - 16), 0, -EFAULT),
        ],
    )?;
    let id = rig.id;
    rig.control().set_params(id, &params)?;
    rig.delete(context)?;
    Ok("8 malformed writes; nothing is left of them".into())
}

fn devt(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 2)?;
    let id = rig.id;
    let numbers = |rig: &mut Rig| -> Result<_, Stop> {
        let params = rig.control().get_params(id)?;
        DeviceNumbers::from_params(&params).ok_or_else(|| Stop::error("GET_PARAMS gave no DEVT"))
    };
    let text = |(major, minor): (u32, u32)| format!("{major}:{minor}");
    let char_node = format!("/sys/class/ublk-char/ublkc{id}/dev");
    let read = std::fs::read_to_string(&char_node)?;
    let before = numbers(&mut rig)?;
    let told = text(before.char_device);
    context.check_eq(FailureKind::State, "char device", &told.as_str(), &read.trim())?;
    context.check_eq(FailureKind::State, "disk before START_DEV", &before.disk, &None)?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    rig.start(context)?;
    let live = numbers(&mut rig)?;
    let disk = live.disk.map(text).unwrap_or_default();
    let read = sysfs_block(&format!("ublkb{id}"), "dev")?;
    context.check_eq(FailureKind::State, "disk of a live device", &disk, &read)?;
    rig.tear_down(context, server)?;
    Ok(format!("char {told}, disk {disk}"))
}

fn overlay(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 1, 2)?;
    let id = rig.id;
    let blank = rig.control().get_params(id)?;
    let empty = (blank.len, blank.types - ParamTypes::DEVT);
    context.check_eq(
        FailureKind::State,
        "len and types before any",
        &empty,
        &(0, ParamTypes::empty()),
    )?;
    let mut params = rig.basic_params();
    params.types |= ParamTypes::DISCARD;
    params.discard.discard_granularity = 4096;
    params.discard.max_discard_sectors = 128;
    params.discard.max_discard_segments = 1;
    rig.control().set_params(id, &params)?;
    let full = rig.control().get_params(id)?;
    context.check_eq(FailureKind::State, "basic group", &full.basic, &params.basic)?;
    context.check_eq(FailureKind::State, "discard group", &full.discard, &params.discard)?;
    // Only the front: header and basic group. The types are new, the discard group stays where it was.
    let mut front = rig.basic_params();
    front.len = 40;
    front.basic.dev_sectors = 2048;
    rig.control().set_params(id, &front)?;
    let after = rig.control().get_params(id)?;
    context.check_eq(FailureKind::State, "capacity", &after.basic.dev_sectors, &2048)?;
    context.check_eq(FailureKind::State, "len", &after.len, &40)?;
    context.check_eq(
        FailureKind::State,
        "the group behind the front",
        &after.discard,
        &params.discard,
    )?;
    let types = after.types - ParamTypes::DEVT;
    context.check_eq(FailureKind::State, "types", &types, &ParamTypes::BASIC)?;
    rig.delete(context)?;
    Ok("40 of 152 bytes replaced".into())
}
