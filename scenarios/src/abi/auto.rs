//! Pages that the driver registers by itself as it delivers a request: where, how that fails, and what is refused.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::raw::{Addr, CharFile, IoPayload, RawSqe};
use ublk::uapi::{AutoBufReg, AutoBufRegFlags, Features, IoCmdOp, IoFlags};

use super::buffers::{
    AT, DISK_BYTES, LEN, check_same, client, content, finish, move_slot, slot_command,
};
use super::control::{live, tear_down};
use crate::context::{Context, During, Stop};
use crate::kernel::KernelRelease;
use crate::rig::{EBUSY, EINVAL, EIO, Fetcher, Rig, backing_file, offered};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/auto-buf-reg",
        title: "pages are registered as a request is delivered and taken out as it is committed",
        covers: &["UBLK_F_AUTO_BUF_REG"],
        budget: BudgetClass::Normal,
        known_bug: KernelRelease::page_registration_bug,
        run: auto_buf_reg,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/auto-buf-reg-malformed",
        title: "a FETCH with a malformed registration is refused, and the device goes as if it had not been sent",
        covers: &["fetch.abr.reserved0", "fetch.abr.reserved1", "fetch.abr.flags"],
        known_bug: refused_fetch_bug,
        run: auto_malformed,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/auto-buf-reg-malformed-commit",
        title: "a COMMIT with a malformed registration is refused, the request waits for a better one, and the device stops",
        covers: &["commit.abr.reserved", "commit.abr.flags"],
        known_bug: |kernel| refused_fetch_bug(kernel).or(kernel.page_registration_bug()),
        run: auto_malformed_commit,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/auto-buf-reg-that-fails",
        title: "a failed automatic registration fails the request, or with FALLBACK leaves it to the server",
        covers: &["rq.abr.fail", "UBLK_AUTO_BUF_REG_FALLBACK"],
        budget: BudgetClass::Normal,
        known_bug: KernelRelease::page_registration_bug,
        run: auto_fallback,
        ..Scenario::DRIVER
    },
];

/// Zero copy too, so that slots can be looked at by hand.
const AUTO: Features = Features::AUTO_BUF_REG.union(Features::SUPPORT_ZERO_COPY);

/// Where it is written down that this kernel keeps a FETCH or COMMIT whose registration it refused, and answers it once
/// more when the device is stopped.
fn refused_fetch_bug(kernel: KernelRelease) -> Option<&'static str> {
    let bug = kernel.at_least(6, 17) && !kernel.at_least(7, 0);
    bug.then_some("docs/kernel-facts.md, a refused FETCH is answered twice")
}

/// Registrations that no kernel takes.
fn malformed() -> [(&'static str, AutoBufReg); 3] {
    let flags = AutoBufRegFlags::from_bits(2);
    [
        ("a reserved byte", AutoBufReg { reserved0: 1, ..AutoBufReg::default() }),
        ("a reserved word", AutoBufReg { reserved1: 1, ..AutoBufReg::default() }),
        ("unknown flags", AutoBufReg { flags, ..AutoBufReg::default() }),
    ]
}

fn auto_malformed(context: &mut Context) -> Result<String, Stop> {
    offered(AUTO)?;
    let mut rig = Rig::ready_with(context, 1, 2, AUTO)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    for (what, reg) in malformed() {
        fetcher.set_auto(reg);
        fetcher.fetch(0)?;
        let refused = fetcher.only_completion(context, what)?.res;
        context.check_result(format_args!("FETCH with {what} in sqe.addr"), refused, -EINVAL)?;
    }
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok(format!("{} refusals", malformed().len()))
}

fn auto_malformed_commit(context: &mut Context) -> Result<String, Stop> {
    offered(AUTO)?;
    let (rig, file, mut fetcher) = live(context, AUTO)?;
    let writer = client(context, &rig, Some(content(context, 6)));
    let tag = fetcher.next_request(context, AT / 512)?;
    for (what, reg) in malformed() {
        let payload = IoPayload { tag, result: -EIO, ..IoPayload::default() };
        let sqe = RawSqe::io(&file, IoCmdOp::CommitAndFetchReq.encoded(), &payload)
            .sqe_addr(ublk::raw::SqeAddr::AutoBufReg(reg));
        let refused = fetcher.result_of(context, what, sqe)?;
        context.check_result(format_args!("COMMIT with {what} in sqe.addr"), refused, -EINVAL)?;
    }
    fetcher.commit(tag, i32::try_from(LEN).unwrap_or(0))?;
    let written = finish(context, &mut fetcher, writer)?;
    let told = format!("the write, by the commit that was taken: {:?}", written.as_ref().err());
    context.check(FailureKind::Operation, told, written.is_ok())?;
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{} refusals", malformed().len()))
}

fn auto_buf_reg(context: &mut Context) -> Result<String, Stop> {
    offered(AUTO)?;
    let backing = backing_file(DISK_BYTES)?;
    let (rig, file, mut fetcher) = live(context, AUTO)?;
    let sent = content(context, 4);
    let writer = client(context, &rig, Some(content(context, 4)));
    let tag = fetcher.next_request(context, AT / 512)?;
    let flags = fetcher.request(tag).flags();
    let registered = !flags.contains(IoFlags::NEED_REG_BUF);
    context.check(
        FailureKind::State,
        format_args!("delivered with its pages: {flags}"),
        registered,
    )?;
    move_slot(context, &mut fetcher, &backing, true, tag)?;
    let len = i32::try_from(LEN).unwrap_or(0);
    fetcher.commit(tag, len)?;
    finish(context, &mut fetcher, writer)??;
    let gone = slot_command(&file, IoCmdOp::UnregisterIoBuf, tag, Addr::Small(tag));
    let gone = fetcher.result_of(context, "the slot after the commit", gone)?;
    // 6.16 first looks at the tag, which is not the server's.
    let expected = if context.kernel.at_least(6, 17) { -EINVAL } else { -EBUSY };
    context.check_result("UNREGISTER_IO_BUF after the commit", gone, expected)?;
    let reader = client(context, &rig, None);
    let tag = fetcher.next_request(context, AT / 512)?;
    move_slot(context, &mut fetcher, &backing, false, tag)?;
    fetcher.commit(tag, len)?;
    let back = finish(context, &mut fetcher, reader)??;
    check_same(context, &back, &sent)?;
    tear_down(context, rig, file, fetcher)?;
    Ok(format!("{LEN} bytes out and in"))
}

fn auto_fallback(context: &mut Context) -> Result<String, Stop> {
    offered(AUTO)?;
    // Beyond every table: registration fails each time.
    let nowhere = AutoBufReg { index: 5000, ..AutoBufReg::default() };
    let (rig, file, mut fetcher) = live_auto(context, nowhere)?;
    let reader = client(context, &rig, None);
    let failed = finish(context, &mut fetcher, reader)?;
    let errno = failed.err().and_then(|error| error.raw_os_error());
    context.check_eq(FailureKind::Errno, "the client's read", &errno, &Some(EIO))?;
    tear_down(context, rig, file, fetcher)?;

    let fallback = AutoBufReg { flags: AutoBufRegFlags::FALLBACK, ..nowhere };
    let (rig, file, mut fetcher) = live_auto(context, fallback)?;
    let backing = backing_file(DISK_BYTES)?;
    let sent = content(context, 5);
    let writer = client(context, &rig, Some(content(context, 5)));
    let tag = fetcher.next_request(context, AT / 512)?;
    let flags = fetcher.request(tag).flags();
    let marked = flags.contains(IoFlags::NEED_REG_BUF);
    context.check(
        FailureKind::State,
        format_args!("marked for registration by hand: {flags}"),
        marked,
    )?;
    let put = slot_command(&file, IoCmdOp::RegisterIoBuf, tag, Addr::Small(1));
    let put = fetcher.result_of(context, "registration by hand", put)?;
    context.check_result("REGISTER_IO_BUF of a fallback", put, 0)?;
    move_slot(context, &mut fetcher, &backing, true, 1)?;
    let out = slot_command(&file, IoCmdOp::UnregisterIoBuf, tag, Addr::Small(1));
    let out = fetcher.result_of(context, "slot 1 out", out)?;
    context.check_result("UNREGISTER_IO_BUF of a fallback", out, 0)?;
    fetcher.commit(tag, i32::try_from(LEN).unwrap_or(0))?;
    finish(context, &mut fetcher, writer)??;
    let mut stored = vec![0; LEN];
    backing.read_exact_at(&mut stored, AT).during("read the file")?;
    check_same(context, &stored, &sent)?;
    tear_down(context, rig, file, fetcher)?;
    Ok("EIO without, and by hand with FALLBACK".into())
}

/// As [`live`], with automatic registration of the caller's choice.
fn live_auto(
    context: &mut Context,
    reg: AutoBufReg,
) -> Result<(Rig, Arc<CharFile>, Fetcher), Stop> {
    let mut rig = Rig::ready_with(context, 1, 4, AUTO)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.set_auto(reg);
    fetcher.fetch_all()?;
    let pending = rig.start_begin()?;
    let started = rig.drive(context, &pending, &mut fetcher)?;
    context.check_result("START_DEV", started, 0)?;
    rig.settle(context, &mut fetcher)?;
    Ok((rig, file, fetcher))
}
