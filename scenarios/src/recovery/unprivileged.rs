//! A device of a user without privileges: added, served, used and deleted by that user, with the nodes' owner set as
//! udev would; and what such a user is refused.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, Uid, chown};
use reports::event::FailureKind;
use ublk::uapi::{DevState, Features};

use super::kit::{self, Ran, SIZE_BYTES};
use super::writers::Writers;
use crate::block::{self, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::oracle::Reference;
use crate::process::{ServerProcess, UBLK, check_no_nodes};
use crate::rig;
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "recovery/unprivileged",
        title: "a user without privileges adds, serves, resizes and deletes a device; others may not touch it",
        covers: &["perm.inode", "perm.op.del_async", "perm.path.zero", "bopen.eperm"],
        run: life,
        ..Scenario::SERVER
    },
    Scenario {
        id: "recovery/unprivileged-refused",
        title: "what an unprivileged device cannot have is refused with a reason, and leaves nothing",
        covers: &["add.nocap", "perm.nocap", "add.unpriv.usercopy"],
        run: refused,
        ..Scenario::SERVER
    },
];

pub(super) const USER: u32 = 1000;
const OTHER: u32 = 1001;
const CONTROL: &str = "/dev/ublk-control";

/// What udev's rules do: everybody may ask the driver, and each device's nodes belong to its owner.
pub(super) struct Udev {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Udev {
    pub(super) fn start() -> Result<Self, Stop> {
        set_mode(CONTROL, 0o666)?;
        let stop = Arc::new(AtomicBool::new(false));
        let at_thread = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !at_thread.load(Ordering::Relaxed) {
                // A node that went meanwhile needs no owner.
                let _ = give_nodes();
                sleep(Duration::from_millis(10));
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Udev {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = set_mode(CONTROL, 0o600);
    }
}

fn give_nodes() -> Result<(), Stop> {
    for name in block::all_nodes()? {
        let number = name.trim_start_matches("ublkc").trim_start_matches("ublkb").parse();
        let Ok(id) = number else { continue };
        let Some(info) = kit::info(id)? else { continue };
        if info.flags.contains(Features::UNPRIVILEGED_DEV) {
            let (uid, gid) = (Uid::from_raw(info.owner_uid), Gid::from_raw(info.owner_gid));
            chown(&Path::new("/dev").join(name), Some(uid), Some(gid)).during("chown a node")?;
        }
    }
    Ok(())
}

fn set_mode(path: &str, mode: u32) -> Result<(), Stop> {
    let mode = Mode::from_bits_truncate(mode);
    let done = fchmodat(nix::fcntl::AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink);
    done.during(format_args!("change the mode of {path}"))
}

pub(super) fn command_as(user: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new(UBLK.as_str());
    command.args(arguments).uid(user).gid(user).current_dir("/");
    command
}

/// Runs the `ublk` command as that user.
fn ublk_as(context: &mut Context, user: u32, arguments: &[&str]) -> Result<Ran, Stop> {
    context.step(format_args!("as {user}: ublk {}", arguments.join(" ")));
    let begin = Instant::now();
    let output = command_as(user, arguments).output().during("run ublk")?;
    Ok(Ran::of(&output, begin))
}

fn life(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::UNPRIVILEGED_DEV)?;
    let _udev = Udev::start()?;
    let socket = std::env::temp_dir().join(format!("unprivileged-{}", std::process::id()));
    std::fs::create_dir(&socket).during("make a directory")?;
    chown(&socket, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).during("give it away")?;
    let told = served(context, &socket.join("s.sock"));
    let _ = std::fs::remove_dir_all(&socket);
    told
}

fn served(context: &mut Context, socket: &Path) -> Result<String, Stop> {
    let socket = socket.to_str().unwrap_or_default();
    let mut arguments = vec!["add", "ram", "--size", "8M", "--queues", "2", "--depth", "16"];
    arguments.extend(["--unprivileged", "--json", "--socket", socket]);
    let mut server = ServerProcess::start_command(context, command_as(USER, &arguments))?;
    let (id, number) = (server.live.id, server.live.id.to_string());
    let info = kit::info(id)?.ok_or_else(|| Stop::error("the device is gone"))?;
    let right = info.flags.contains(Features::UNPRIVILEGED_DEV)
        && (info.owner_uid, info.owner_gid) == (USER, USER);
    context.check(FailureKind::State, format_args!("it belongs to the user: {info:?}"), right)?;
    let writers = Writers::start(context, &server.live.block_device)?;
    let listed = ublk_as(context, USER, &["list", "--json"])?;
    let right =
        listed.said.contains(r#""state":"live""#) && listed.said.contains(r#""error":null"#);
    context.check(FailureKind::State, format_args!("the user's list: {}", listed.said), right)?;
    let within = context.command_timeout();
    for arguments in [&["del", &number][..], &["stop", &number]] {
        let ran = ublk_as(context, OTHER, arguments)?;
        ran.check_refused(context, "somebody else's command", &["EACCES"], within)?;
    }
    opened_by_others(context, &server.live.block_device)?;
    let ran = ublk_as(context, USER, &["del", "--no-wait", &number])?;
    ran.check_refused(context, "DEL_DEV_ASYNC", &["DEL_DEV_ASYNC", "EINVAL"], within)?;
    kit::check_state(context, id, DevState::Live)?;
    writers.check_progress(context, "after what was refused")?;
    let grown = grown(context, id, socket)?;
    let reference = Reference::zeros("unprivileged", grown)?;
    let errors = writers.finish(context, &reference)?;
    context.check_eq(FailureKind::Errno, "errors that users saw", &errors.len(), &0)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let md5 = reference.check_device(context, &device, "served by a user")?;
    drop(device);
    ublk_as(context, USER, &["del", &number])?.check_done(context, "ublk del by its owner")?;
    server.check_clean_end(context, within)?;
    check_no_nodes(context, id)?;
    Ok(format!("{grown} bytes, MD5 {md5}"))
}

/// Another user may not open the disk, not even with access to its node.
fn opened_by_others(context: &mut Context, disk: &Path) -> Result<(), Stop> {
    let path = disk.to_str().unwrap_or_default();
    set_mode(path, 0o666)?;
    let ran = ublk_as(context, OTHER, &["add", "file", "--path", path, "--unprivileged"])?;
    set_mode(path, 0o660)?;
    let within = context.command_timeout();
    ran.check_refused(context, "somebody else's open", &["not permitted"], within)
}

/// The size after `ublk resize` by the owner, where the kernel can.
fn grown(context: &mut Context, id: u32, socket: &str) -> Result<u64, Stop> {
    if !rig::offers(Features::UPDATE_SIZE)? {
        return Ok(SIZE_BYTES);
    }
    let number = id.to_string();
    let ran = ublk_as(context, USER, &["resize", &number, "16M", "--socket", socket])?;
    ran.check_done(context, "ublk resize by its owner")?;
    Ok(16 << 20)
}

fn refused(context: &mut Context) -> Result<String, Stop> {
    rig::offered(Features::UNPRIVILEGED_DEV)?;
    let within = context.command_timeout() * 2;
    let add = ["add", "ram", "--size", "1M", "--no-socket"];
    {
        let ran = ublk_as(context, USER, &add)?;
        ran.check_refused(context, "the driver's node of root", &["may not be opened"], within)?;
    }
    let udev = Udev::start()?;
    let ran = ublk_as(context, USER, &add)?;
    ran.check_refused(context, "a privileged device", &["UNPRIVILEGED_DEV"], within)?;
    let unprivileged = [&add[..], &["--unprivileged"]].concat();
    let ran = ublk_as(context, USER, &[&unprivileged[..], &["--recovery", "plain"]].concat())?;
    ran.check_refused(context, "a recovery", &["--recovery"], within)?;
    let ran = kit::ublk(context, &unprivileged)?;
    ran.check_refused(context, "root's wish for it", &["CAP_SYS_ADMIN"], within)?;
    let privileged = ServerProcess::start(context, &["ram", "--size", "1M"])?;
    let number = privileged.live.id.to_string();
    let ran = ublk_as(context, USER, &["del", &number])?;
    ran.check_refused(context, "root's device", &["EPERM"], within)?;
    kit::check_state(context, privileged.live.id, DevState::Live)?;
    privileged.stop(context)?;
    // Without udev the node stays root's, and the server cannot even delete what it has added.
    drop(udev);
    set_mode(CONTROL, 0o666)?;
    let ran = ublk_as(context, USER, &unprivileged);
    set_mode(CONTROL, 0o600)?;
    ran?.check_refused(context, "a node nobody gave away", &["cannot open", "denied"], within)?;
    kit::ublk(context, &["del", "--all"])?.check_done(context, "ublk del --all by root")?;
    let nodes = block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "ublk nodes", &nodes, &Vec::new())?;
    Ok("each with its reason".into())
}
