//! The corners of the control path: the tail of an affinity mask, an unknown command of a device with a path, the quota of
//! users, and commands that come in the wrong state of a recovery.

use std::fs;
use std::sync::Arc;

use reports::event::FailureKind;
use ublk::raw::{Addr, CtrlPayload};
use ublk::uapi::{CtrlOp, DevInfo, DevState, Features};

use super::batch::drive;
use super::control::{live, wait_for};
use super::user::{delete_of, without_privileges};
use crate::block::page_bytes;
use crate::context::{Context, During, Stop, errno};
use crate::rig::{
    BatchHand, EACCES, EBUSY, EEXIST, EFAULT, EINVAL, ENODEV, Fetcher, RawControl, Rig, arena,
    offered,
};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/affinity-mask-that-faults",
        title: "GET_QUEUE_AFFINITY into memory that ends anywhere in the mask or behind it is EFAULT",
        covers: &["aff.fault", "aff.fault.clear"],
        run: affinity,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/users-quota",
        title: "users' devices are counted against ublks_max, and the parameter takes no nonsense",
        covers: &["add.unpriv.quota", "param.range", "perm.op.unknown"],
        run: quota,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/recovery-out-of-turn",
        title: "a device that waits for its successor refuses START_DEV and an END_USER_RECOVERY of somebody else",
        covers: &["start.exist.used", "erec.pid"],
        run: out_of_turn,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/quiesce-without-time",
        title: "QUIESCE_DEV with a timeout of 2^32 ms has none at all, and says EBUSY",
        covers: &["qsc.busy"],
        run: no_time,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/batch-fetch-of-a-canceled-queue",
        title: "FETCH_IO_CMDS of a queue that was canceled and not prepared again is ENODEV",
        covers: &["b.fetch.canceling"],
        run: canceled_queue,
        ..Scenario::DRIVER
    },
];

fn affinity(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::add(context, 1, 2)?;
    let mut client = RawControl::open()?;
    let memory = arena(page_bytes())?;
    let mut asked = 0;
    // Where the mask ends and zeroes begin depends on the kernel's configuration: one of these is that place.
    for mapped in [8, 16, 32, 64, 128, 256, 512, 1024, 2048] {
        let len = u16::try_from(mapped + 8).during("size the mask")?;
        let addr = Addr::Arena(&memory, memory.len_bytes() - mapped);
        let payload = CtrlPayload { addr, len, ..CtrlPayload::new(rig.id) };
        let result = client.send(context, CtrlOp::GetQueueAffinity.encoded(), &payload)?;
        let what = format!("{len} bytes, of which {mapped} are there");
        context.check_result(what, result, -EFAULT)?;
        asked += 1;
    }
    rig.delete(context)?;
    Ok(format!("{asked} lengths"))
}

const QUOTA: &str = "/sys/module/ublk_drv/parameters/ublks_max";

/// The quota as it was, put back however the scenario ends.
struct Quota(String);

impl Quota {
    fn read() -> Result<Self, Stop> {
        Ok(Self(fs::read_to_string(QUOTA).during("read ublks_max")?))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::write(QUOTA, self.0.trim());
    }
}

fn of_a_user(keep: bool) -> Result<Result<DevInfo, i32>, Stop> {
    let made = without_privileges(|control| {
        let info = DevInfo::new(1, 2, 64 << 10, Features::UNPRIVILEGED_DEV);
        Ok(control.add_dev(&info).map_err(|error| error.errno().unwrap_or(0)))
    })?;
    if let (Ok(info), false) = (&made, keep) {
        delete_of(info)?;
    }
    Ok(made)
}

fn quota(context: &mut Context) -> Result<String, Stop> {
    offered(Features::UNPRIVILEGED_DEV)?;
    let before = Quota::read()?;
    for nonsense in ["1048577", "-1", "many"] {
        let written = fs::write(QUOTA, nonsense).map_err(|error| error.raw_os_error());
        let what = format!("ublks_max = {nonsense}");
        context.check_eq(FailureKind::Errno, what, &written, &Err(Some(EINVAL)))?;
    }
    let now = fs::read_to_string(QUOTA).during("read ublks_max")?;
    context.check_eq(FailureKind::State, "ublks_max afterwards", &now, &before.0)?;
    fs::write(QUOTA, "0").during("set ublks_max")?;
    let refused = of_a_user(false)?.map(|info| info.dev_id);
    context.check_eq(
        FailureKind::Errno,
        "a user's device with a quota of 0",
        &refused,
        &Err(EACCES),
    )?;
    fs::write(QUOTA, before.0.trim()).during("restore ublks_max")?;
    let made = of_a_user(true)?;
    let info = made.map_err(|error| {
        Stop::fail(FailureKind::Errno, format_args!("a user's device: {}", errno(-error)))
    })?;
    let unknown = unknown_with_path(context, info.dev_id);
    delete_of(&info)?;
    context.check_result("an unknown command of a user's device", unknown?, -EINVAL)?;
    Ok("EACCES at the quota, EINVAL for nonsense".into())
}

/// Command number 0x3f with the right path in front of its buffer.
fn unknown_with_path(context: &mut Context, id: u32) -> Result<i32, Stop> {
    const UNKNOWN: u32 = (3 << 30) | (32 << 16) | (0x75 << 8) | 0x3f;
    let mut client = RawControl::open()?;
    let memory = client.arena();
    let path = format!("/dev/ublkc{id}");
    let dev_path_len = u16::try_from(path.len()).during("measure a path")?;
    memory.write(0, path.as_bytes());
    let payload = CtrlPayload {
        addr: Addr::Arena(&memory, 0),
        len: dev_path_len,
        dev_path_len,
        ..CtrlPayload::new(id)
    };
    client.send(context, UNKNOWN, &payload)
}

fn out_of_turn(context: &mut Context) -> Result<String, Stop> {
    const SOMEBODY: i32 = 1;
    if !context.kernel.at_least(6, 16) {
        let reason = "the driver warns of a server that has closed its device and lives on";
        return Err(Stop::skip("kernel release", reason));
    }
    let own = std::process::id().cast_signed();
    let (mut rig, file, fetcher) = live(context, Features::USER_RECOVERY)?;
    let id = rig.id;
    drop(fetcher);
    drop(file);
    wait_for(context, &mut rig, DevState::Quiesced)?;
    rig.control().start_user_recovery(id)?;
    let file = Arc::new(rig.open(context)?);
    let mut fetcher = Fetcher::new(&rig, &file, 0)?;
    fetcher.fetch_all()?;
    let started = rig.start_result(context, own)?;
    context.check_result("START_DEV of a device that recovers", started, -EEXIST)?;
    let ended = rig.control().end_user_recovery(id, SOMEBODY);
    let told = ended.as_ref().err().and_then(ublk::ctrl::CtrlError::errno);
    let refused = Some(EINVAL);
    context.check_eq(FailureKind::Errno, "END_USER_RECOVERY by pid 1", &told, &refused)?;
    rig.control().end_user_recovery(id, own)?;
    wait_for(context, &mut rig, DevState::Live)?;
    rig.stop_driven(context, &mut fetcher)?;
    drop(fetcher);
    drop(file);
    rig.delete(context)?;
    Ok("EEXIST, EINVAL, and then it is live".into())
}

fn no_time(context: &mut Context) -> Result<String, Stop> {
    const QUIESCABLE: Features = Features::QUIESCE.union(Features::USER_RECOVERY);
    offered(QUIESCABLE)?;
    let (mut rig, file, fetcher) = live(context, QUIESCABLE)?;
    let mut client = RawControl::open()?;
    let payload = CtrlPayload { data: 1 << 32, ..CtrlPayload::new(rig.id) };
    let result = client.send(context, CtrlOp::QuiesceDev.encoded(), &payload)?;
    context.check_result("QUIESCE_DEV with 2^32 ms", result, -EBUSY)?;
    // It takes no request any more and has canceled nothing either: only the server's end helps.
    drop(fetcher);
    drop(file);
    wait_for(context, &mut rig, DevState::Quiesced)?;
    rig.stop()?;
    rig.delete(context)?;
    Ok("EBUSY".into())
}

fn canceled_queue(context: &mut Context) -> Result<String, Stop> {
    let features = Features::BATCH_IO | Features::USER_RECOVERY;
    let mut rig = Rig::ready_with(context, 1, 4, features)?;
    let id = rig.id;
    let file = Arc::new(rig.open(context)?);
    let mut hand = BatchHand::new(context, &rig, &file)?;
    let prepared = hand.prepare_all()?;
    context.check_result("PREP_IO_CMDS", prepared, 0)?;
    let pending = rig.start_begin()?;
    hand.fetch()?;
    drive(context, &mut rig, &mut hand, &pending)?;
    drop(hand);
    drop(file);
    wait_for(context, &mut rig, DevState::Quiesced)?;
    rig.control().start_user_recovery(id)?;
    let file = Arc::new(rig.open(context)?);
    let mut hand = BatchHand::new(context, &rig, &file)?;
    let early = hand.result_of("FETCH_IO_CMDS", hand.fetch_command(1))?;
    context.check_result("FETCH_IO_CMDS before the successor's PREP", early, -ENODEV)?;
    drop(hand);
    drop(file);
    rig.stop()?;
    rig.delete(context)?;
    Ok("ENODEV".into())
}
