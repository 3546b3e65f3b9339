//! Control commands by number, by pid and by id: what each mistake is answered.

use reports::event::FailureKind;
use ublk::uapi::{CtrlOp, DevInfo, Features};

use crate::context::{Context, During, Stop, errno};
use crate::rig::{EEXIST, EINVAL, ENODEV, EOPNOTSUPP, RawServer, Rig, feature_bits};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "startup/wrong-pid-in-start",
        title: "START_DEV with a pid that is not the opener's is answered as this series does",
        covers: &["myth g", "start.pid.mismatch", "start.pid.bad"],
        run: wrong_pid,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/start-without-params",
        title: "START_DEV without parameters is refused at once, without waiting for FETCHes",
        covers: &["start.nobasic", "myth a"],
        run: start_without_params,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/start-twice",
        title: "a second START_DEV of a live device is refused with EEXIST",
        covers: &["start.exist.live", "a549516"],
        run: start_twice,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/commands-on-no-device",
        title: "every command on an id that does not exist is answered ENODEV",
        covers: &["ctl.nodev", "a549516"],
        run: no_device,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/unencoded-opcodes",
        title: "raw opcodes work where the kernel keeps them, and are EOPNOTSUPP where not",
        covers: &["myth h", "ctl.type.legacy_off", "ctl.type.bad", "a809929"],
        run: unencoded,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/add-that-is-refused",
        title: "ADD_DEV refuses a wrong depth, queue count, id or header, and leaves nothing",
        covers: &[
            "add.depth.zero",
            "add.depth.max",
            "add.nrq.zero",
            "add.nrq.max",
            "add.qid",
            "add.id.mismatch",
            "add.id.max",
            "add.id.exists",
            "add.len",
        ],
        run: add_refused,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/flags-in-and-out",
        title: "GET_FEATURES is the series' set; ADD_DEV drops unknown flags and forces its own",
        covers: &["feat.len", "myth b", "S1", "538b87c"],
        run: flags,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/queue-affinity-covers-the-cpus",
        title: "GET_QUEUE_AFFINITY gives every CPU to exactly one queue",
        covers: &["aff.queue", "S3"],
        run: affinity,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/stop-and-delete-in-any-state",
        title: "STOP_DEV never fails; DEL_DEV works from every state and a second one is ENODEV",
        covers: &["stop.never", "ctl.nodev"],
        run: stop_and_delete,
        ..Scenario::DRIVER
    },
];

fn wrong_pid(context: &mut Context) -> Result<String, Stop> {
    let own = std::process::id().cast_signed();
    for (what, pid) in [("pid 0", 0), ("pid -1", -1)] {
        let mut rig = Rig::ready(context, 1, 2)?;
        let result = rig.start_result(context, pid)?;
        context.check_result(format_args!("START_DEV with {what}"), result, -EINVAL)?;
        rig.delete(context)?;
    }
    let thread = nix::unistd::gettid().as_raw();
    let other_thread = std::thread::spawn(|| nix::unistd::gettid().as_raw())
        .join()
        .map_err(|_| Stop::error("a thread panicked"))?;
    let wrong = [("pid 1", 1), ("a dead thread's id", other_thread), ("a dead pid", 4_194_000)];
    for (what, pid) in wrong {
        let mut rig = Rig::ready(context, 1, 2)?;
        let mut server = RawServer::open(context, &rig)?;
        server.serve(context, &rig, 0)?;
        let result = rig.start_result(context, pid)?;
        context.step(format_args!("START_DEV with {what}: {}", errno(result)));
        // Seen: 0 on every 6.12 tried, EINVAL on 6.16.3 and all after it.
        let expected = if context.kernel.at_least(6, 16) { -EINVAL } else { 0 };
        context.check_result(format_args!("START_DEV with {what}"), result, expected)?;
        if result != 0 {
            rig.start(context)?;
        }
        rig.tear_down(context, server)?;
    }
    Ok(format!("own pid {own}, thread {thread}; {} wrong ones tried", wrong.len() + 2))
}

fn start_without_params(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 1, 2)?;
    let result = rig.start_result(context, std::process::id().cast_signed())?;
    context.check_result("START_DEV without SET_PARAMS", result, -EINVAL)?;
    rig.delete(context)?;
    Ok("EINVAL at once".into())
}

fn start_twice(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    rig.start(context)?;
    let result = rig.start_result(context, std::process::id().cast_signed())?;
    context.check_result("the second START_DEV", result, -EEXIST)?;
    rig.check_round_trip(context)?;
    rig.tear_down(context, server)?;
    Ok("EEXIST, and the device works".into())
}

fn no_device(context: &mut Context) -> Result<String, Stop> {
    let mut client = crate::rig::RawControl::open()?;
    let mut count = 0;
    for op in CtrlOp::ALL {
        if matches!(op, CtrlOp::AddDev | CtrlOp::GetFeatures) {
            continue;
        }
        for id in [999, 1 << 20, u32::MAX] {
            let result = client.command(context, op.encoded(), id, 0)?;
            context.check_result(format_args!("{} on id {id}", op.name()), result, -ENODEV)?;
            count += 1;
        }
    }
    Ok(format!("{count} commands answered ENODEV"))
}

fn unencoded(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 2)?;
    let mut client = crate::rig::RawControl::open()?;
    let info = client.command(context, 0x02, rig.id, 64)?;
    let kept = info != -EOPNOTSUPP;
    let told = if kept { "kept" } else { "compiled out" };
    context.step(format_args!("raw GET_DEV_INFO: {}; legacy opcodes are {told}", errno(info)));
    let expected = |result| if kept { result } else { -EOPNOTSUPP };
    for (what, raw, len, result) in [
        ("GET_DEV_INFO", 0x02, 64, 0),
        ("GET_PARAMS with a zero len", 0x09, 64, -EINVAL),
        ("STOP_DEV", 0x07, 0, 0),
        // 0x13 is not GET_FEATURES: that one is compared as a whole.
        ("0x13", 0x13, 8, -EOPNOTSUPP),
        ("0x7f", 0x7f, 0, -EOPNOTSUPP),
    ] {
        let observed = client.command(context, raw, rig.id, len)?;
        context.check_result(format_args!("raw {what}"), observed, expected(result))?;
    }
    let foreign = client.command(context, 0xc020_7606, rig.id, 0)?;
    context.check_result("an opcode of type 'v'", foreign, -EOPNOTSUPP)?;
    // Direction and size bits do not matter: only type and number do.
    let odd = client.command(context, 0x4001_7502, rig.id, 64)?;
    context.check_result("GET_DEV_INFO with odd direction and size", odd, 0)?;
    rig.delete(context)?;
    Ok(format!("legacy opcodes are {told}"))
}

fn add_refused(context: &mut Context) -> Result<String, Stop> {
    let taken = Rig::add(context, 1, 2)?;
    let mut client = crate::rig::RawControl::open()?;
    let right = DevInfo::new(1, 2, 64 << 10, Features::from_bits(0));
    let with = |change: fn(&mut DevInfo)| {
        let mut info = right;
        info.dev_id = 77;
        change(&mut info);
        info
    };
    let wrong = [
        ("depth 0", with(|i| i.queue_depth = 0), 77, u16::MAX, 64, -EINVAL),
        ("depth 4097", with(|i| i.queue_depth = 4097), 77, u16::MAX, 64, -EINVAL),
        ("0 queues", with(|i| i.nr_hw_queues = 0), 77, u16::MAX, 64, -EINVAL),
        ("4097 queues", with(|i| i.nr_hw_queues = 4097), 77, u16::MAX, 64, -EINVAL),
        ("queue_id 0", with(|_| {}), 77, 0, 64, -EINVAL),
        ("another id in the header", with(|_| {}), 78, u16::MAX, 64, -EINVAL),
        ("id 1 << 20", with(|i| i.dev_id = 1 << 20), 1 << 20, u16::MAX, 64, -EINVAL),
        ("63 bytes", with(|_| {}), 77, u16::MAX, 63, -EINVAL),
    ];
    let count = wrong.len() + 1;
    for (what, info, id, queue_id, len, expected) in wrong {
        let result = client.add(context, &info, id, queue_id, len)?;
        context.check_result(format_args!("ADD_DEV with {what}"), result, expected)?;
    }
    let mut info = right;
    info.dev_id = taken.id;
    let result = client.add(context, &info, taken.id, u16::MAX, 64)?;
    context.check_result("ADD_DEV with a taken id", result, -EEXIST)?;
    let nodes = crate::block::all_nodes()?;
    let expected = vec![format!("ublkc{}", taken.id)];
    context.check_eq(FailureKind::Leak, "nodes afterwards", &nodes, &expected)?;
    let mut taken = taken;
    taken.delete(context)?;
    let mut deepest = Rig::add(context, 1, 4096)?;
    context.check_eq(FailureKind::State, "depth 4096", &deepest.info.queue_depth, &4096)?;
    deepest.delete(context)?;
    Ok(format!("{count} refused, depth 4096 accepted"))
}

fn flags(context: &mut Context) -> Result<String, Stop> {
    let features = feature_bits()?;
    // Every release adds bits and none is taken back; INTEGRITY alone depends on the config.
    let integrity = 1 << 16;
    let expected = match (context.kernel.major, context.kernel.minor) {
        (6, 12) => Some(0x1fe),
        (6, 16) => Some(0x3fff),
        (6, 17 | 18) => Some(0x7fff),
        (7, 2) => Some(0xf_ffff),
        (7, 3) => Some(0x1f_ffff),
        _ => None,
    };
    match expected {
        Some(expected) => context.check(
            FailureKind::State,
            format_args!("GET_FEATURES {features:#x} is {expected:#x}, INTEGRITY left open"),
            features | integrity == expected | integrity,
        )?,
        None => context.check(
            FailureKind::State,
            format_args!("GET_FEATURES {features:#x} has what 6.12 has"),
            features & 0x1fe == 0x1fe,
        )?,
    }
    let mut control = ublk::ctrl::Control::open().during("open the control device")?;
    let unknown = 1 << 63;
    let info = DevInfo::new(1, 2, 64 << 10, Features::from_bits(unknown));
    let added = control.add_dev(&info)?;
    let out = added.flags.bits();
    let id = added.dev_id;
    let forced = 0x42; // COMP_IN_TASK and CMD_IOCTL_ENCODE, in every series.
    let checked = context
        .check(
            FailureKind::State,
            format_args!("flags out {out:#x}: the unknown bit is dropped, {forced:#x} is forced"),
            out & unknown == 0 && out & forced == forced,
        )
        .and_then(|()| {
            context.check(
                FailureKind::State,
                format_args!("flags out {out:#x} are all in GET_FEATURES {features:#x}"),
                // The two forced ones are not all advertised by every series.
                out & !(features | forced) == 0,
            )
        });
    control.del_dev(id)?;
    checked?;
    Ok(format!("GET_FEATURES {features:#x}, plain ADD_DEV {out:#x}"))
}

fn affinity(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 2, 2)?;
    let cpus = reports::environment::cpus();
    let mut seen = Vec::new();
    for queue in 0..rig.info.nr_hw_queues {
        let id = rig.id;
        seen.extend(rig.control().get_queue_affinity(id, queue)?);
    }
    seen.sort_unstable();
    let expected: Vec<_> = (0..).take(cpus).collect();
    context.check_eq(FailureKind::State, "CPUs over all queues", &seen, &expected)?;
    let beyond = rig.info.nr_hw_queues;
    let id = rig.id;
    let refused = rig.control().get_queue_affinity(id, beyond);
    let result = refused.map_or_else(|error| -error.errno().unwrap_or(0), |_| 0);
    context.check_result("GET_QUEUE_AFFINITY of a queue too many", result, -EINVAL)?;
    rig.delete(context)?;
    Ok(format!("{cpus} CPUs over {beyond} queues"))
}

fn stop_and_delete(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 1, 2)?;
    rig.stop()?;
    context.check(FailureKind::Operation, "STOP_DEV of a device without parameters", true)?;
    rig.delete(context)?;
    let id = rig.id;
    let again = rig.control().del_dev(id);
    let result = again.map_or_else(|error| -error.errno().unwrap_or(0), |_| 0);
    context.check_result("a second DEL_DEV", result, -ENODEV)?;
    let mut rig = Rig::ready(context, 1, 2)?;
    let mut server = RawServer::open(context, &rig)?;
    server.serve(context, &rig, 0)?;
    rig.start(context)?;
    rig.stop()?;
    rig.stop()?;
    context.check(FailureKind::Operation, "STOP_DEV of a stopped device", true)?;
    server.end(context)?;
    rig.delete(context)?;
    Ok("STOP_DEV is 0 from every state".into())
}
