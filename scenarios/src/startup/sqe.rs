//! Which bytes of an SQE are looked at, by whom, and which are not.
//!
//! The seed project changed `sqe.len` for weeks to cure a "phantom completion" that was a NOP.

use std::sync::Arc;

use reports::event::FailureKind;
use ublk::raw::{ControlFile, RawRing, RawSqe, RingShape, SqeFlags};
use ublk::uapi::CtrlOp;

use crate::context::{Context, During, Stop};
use crate::rig::{EINVAL, EOPNOTSUPP, Fetcher, Rig, control_payload};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "startup/sqe-len-is-ignored",
        title: "FETCH with sqe.len 0, 1, 16 or all ones behaves the same: armed, no completion",
        covers: &["myth c", "myth i"],
        run: len_ignored,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/zeroed-sqe-is-a-nop",
        title: "an all-zero SQE completes with 0 at once: the phantom completion is a NOP",
        covers: &["myth c"],
        run: zeroed_is_nop,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/control-needs-wide-sqe",
        title: "a control command in a 64-byte SQE is refused; FETCH works in both sizes",
        covers: &["myth d", "ctl.sqe64"],
        run: control_needs_wide,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/sqe-fields-that-are-checked",
        title: "ioprio, the pad behind cmd_op and unknown command flags are refused",
        covers: &["myth i", "uring.pad1", "uring.flags", "uring.ioprio"],
        run: fields_checked,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "startup/fetch-by-a-worker",
        title: "FETCH that io_uring hands to a worker belongs to the task that submitted it, and serves as any other",
        covers: &["myth i"],
        run: by_a_worker,
        ..Scenario::DRIVER
    },
];

fn len_ignored(context: &mut Context) -> Result<String, Stop> {
    let lengths = [0, 1, 16, u32::MAX];
    let mut rig = Rig::ready(context, 1, 4)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    for (tag, len) in (0..).zip(lengths) {
        fetcher.fetch_marked(tag, u64::from(tag), |sqe| sqe.sqe_len(len))?;
        let early = fetcher.wait(1, context.quiet())?;
        context.check(
            FailureKind::Completion,
            format_args!("FETCH with len {len} does not complete: {early:?}"),
            early.is_empty(),
        )?;
    }
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV after them", started, 0)?;
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(format!("{} lengths, all armed", lengths.len()))
}

fn zeroed_is_nop(context: &mut Context) -> Result<String, Stop> {
    let mut ring = RawRing::new(RingShape::default()).during("make a ring")?;
    ring.push(&RawSqe::zeroed().user_data(7)).during("push the NOP")?;
    ring.submit().during("submit the NOP")?;
    let completions = ring.wait(1, context.command_timeout()).during("wait for the NOP")?;
    let seen: Vec<_> = completions.iter().map(|c| (c.user_data, c.res)).collect();
    context.check_eq(FailureKind::Completion, "completions", &seen, &vec![(7, 0)])?;
    Ok("completed with 0, without any device".into())
}

fn control_needs_wide(context: &mut Context) -> Result<String, Stop> {
    let control = ControlFile::open().during("open the control device")?;
    let arena = crate::rig::arena(4096)?;
    let mut results = Vec::new();
    for (sqe128, expected) in [(false, -EINVAL), (true, 0)] {
        let mut ring =
            RawRing::new(RingShape { sqe128, ..RingShape::default() }).during("make a ring")?;
        let payload = control_payload(&arena, 0, 8);
        let sqe = RawSqe::control(&control, CtrlOp::GetFeatures.encoded(), &payload);
        let result = crate::rig::only_result(context, &mut ring, &sqe)?;
        let bytes = if sqe128 { 128 } else { 64 };
        context.check_result(format_args!("GET_FEATURES in {bytes} bytes"), result, expected)?;
        results.push(format!("{bytes} bytes: {}", crate::context::errno(result)));
    }
    for sqe128 in [false, true] {
        let mut rig = Rig::ready(context, 1, 2)?;
        let file = Arc::new(rig.open(context)?);
        let mut fetcher = Fetcher::with_shape(&rig, &file, 0, sqe128)?;
        fetcher.fetch_all()?;
        let pending = rig.start_begin()?;
        let started = rig.drive(context, &pending, &mut fetcher)?;
        context.check_result(format_args!("START_DEV, SQE128 {sqe128}"), started, 0)?;
        rig.stop_driven(context, &mut fetcher)?;
        drop(fetcher);
        drop(file);
        rig.delete(context)?;
    }
    Ok(results.join(", "))
}

fn fields_checked(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 2)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    type Change = fn(RawSqe) -> RawSqe;
    let changes: [(&str, Change, i32); 5] = [
        ("ioprio 1", |sqe| sqe.ioprio(1), -EINVAL),
        ("pad1 1", |sqe| sqe.pad1(1), -EINVAL),
        ("uring_cmd_flags 1 << 31", |sqe| sqe.uring_cmd_flags(1 << 31), -EINVAL),
        ("uring_cmd_flags 1 << 8", |sqe| sqe.uring_cmd_flags(1 << 8), -EINVAL),
        ("personality 9 (there is none)", |sqe| sqe.personality(9), -EINVAL),
    ];
    for (what, change, expected) in changes {
        fetcher.fetch_marked(0, 1, change)?;
        let refused = fetcher.only_completion(context, what)?;
        context.check_result(format_args!("FETCH with {what}"), refused.res, expected)?;
    }
    fetcher.command(0xc010_7621, 0, 0, 0, true)?;
    let foreign = fetcher.only_completion(context, "a foreign type byte")?;
    // 6.12 asks for the tag's state before the opcode's type; an idle tag is then the first reason.
    let expected = if context.kernel.at_least(7, 0) || foreign.res == -EOPNOTSUPP {
        -EOPNOTSUPP
    } else {
        -EINVAL
    };
    context.check_result("a command of type 'v'", foreign.res, expected)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(format!("{} wrong fields refused", changes.len() + 1))
}

fn by_a_worker(context: &mut Context) -> Result<String, Stop> {
    const DEPTH: u16 = 4;
    let mut rig = Rig::ready(context, 1, DEPTH)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    for tag in 0..DEPTH {
        fetcher.fetch_marked(tag, u64::from(tag), |sqe| sqe.flags(SqeFlags::ASYNC))?;
    }
    // The worker hands the command back to this task, which has to be in the kernel to take it.
    let early = fetcher.wait(1, context.quiet())?;
    context.check(
        FailureKind::Completion,
        format_args!("no FETCH completes: {early:?}"),
        early.is_empty(),
    )?;
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV", started, 0)?;
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(format!("{DEPTH} tags armed by a worker"))
}
