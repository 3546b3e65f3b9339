//! The commands that are one or two control commands each.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use ublk::ctrl::{Command, Control, CtrlError};
use ublk::device::CharDevice;

use super::dump;
use super::options::Options;
use crate::exit::Failure;
use crate::{devices, out};

/// How long a server may take to leave a device that was stopped.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long a command may take that waits for requests in flight, or for whoever holds a disk open.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// What the original gives QUIESCE_DEV.
const QUIESCE_TIMEOUT_MS: u32 = 10_000;
/// Sectors are 512 bytes in every unit of the block layer.
const SECTOR_SHIFT: u32 = 9;

pub(super) fn control() -> Result<Control, Failure> {
    Ok(Control::open().map_err(|error| Failure::driver(&error))?.with_deadline(COMMAND_LIMIT))
}

fn failed(error: &CtrlError) -> Failure {
    Failure::control(error)
}

/// `del`: stops a device, waits for its server to leave, deletes it. With `-a` all of them.
pub(super) fn del(options: &Options) -> Result<(), Failure> {
    let Some(id) = options.number else {
        if !options.all {
            return Err(Failure::usage("del needs a device: give -n ID or -a"));
        }
        let mut control = control()?;
        // As the original, which goes on whatever happens to one.
        devices::ids().into_iter().for_each(|id| drop(delete(&mut control, id)));
        return Ok(());
    };
    delete(&mut control()?, id)
}

fn delete(control: &mut Control, id: u32) -> Result<(), Failure> {
    let info = control.get_dev_info(id).map_err(|error| failed(&error))?;
    if let Err(error) = control.call(Command::StopDev { dev_id: id }, COMMAND_LIMIT) {
        out::warn(&format!("device {id}: {error}"));
    }
    wait_for_server(id, info.ublksrv_pid);
    match control.call(Command::DelDev { dev_id: id }, COMMAND_LIMIT) {
        // Its own server may have deleted it, and that is what was wanted.
        Err(error) if error.errno() != Some(libc::ENODEV) => Err(failed(&error)),
        _ => Ok(()),
    }
}

/// Waits until the server is gone, or has at least let go of the device.
fn wait_for_server(id: u32, pid: i32) {
    let begin = Instant::now();
    let runs = || pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH);
    while runs() && begin.elapsed() < LEAVE_LIMIT && is_held(id) {
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Whether somebody has the character device open: only one can.
fn is_held(id: u32) -> bool {
    let path = PathBuf::from(format!("/dev/ublkc{id}"));
    match CharDevice::open_path(&path, Duration::ZERO) {
        Ok(_) => false,
        Err(error) => error.raw_os_error() == Some(libc::EBUSY),
    }
}

/// `stop`, with `--safe` only if nobody has the disk open.
pub(super) fn stop(options: &Options) -> Result<(), Failure> {
    let dev_id = options.number("stop")?;
    let mut control = control()?;
    control.get_dev_info(dev_id).map_err(|error| failed(&error))?;
    let command =
        if options.safe { Command::TryStopDev { dev_id } } else { Command::StopDev { dev_id } };
    control.call(command, COMMAND_LIMIT).map_err(|error| failed(&error))?;
    Ok(())
}

/// `list` of one device, or of all.
pub(super) fn list(options: &Options) -> Result<(), Failure> {
    let mut control = control()?;
    let Some(id) = options.number else {
        for id in devices::ids() {
            if let Ok(text) = dump::device(&mut control, id) {
                out::line(&text)?;
            }
        }
        return Ok(());
    };
    out::line(&dump::device(&mut control, id).map_err(|error| failed(&error))?)
}

/// `features`: the word, and a line for each bit.
pub(super) fn features() -> Result<(), Failure> {
    let features = control()?.get_features().map_err(|error| failed(&error))?;
    let bits = features.bits();
    out::line(&format!("ublk_drv features: {bits:#x}"))?;
    for bit in (0..u64::BITS).map(|shift| 1_u64 << shift).filter(|bit| bits & bit != 0) {
        let name = ublk::uapi::Features::NAMED.iter().find(|(_, flag)| flag.bits() == bit);
        let name = name.map_or("unknown".to_owned(), |(name, _)| format!("UBLK_F_{name}"));
        out::line(&format!("0x{bit:<16x}: {name}"))?;
    }
    Ok(())
}

/// `update_size`, to whole logical blocks.
pub(super) fn update_size(options: &Options) -> Result<(), Failure> {
    let id = options.number("update_size")?;
    let size_bytes = options.size_bytes.unwrap_or(0);
    let mut control = control()?;
    let params = control.get_params(id).map_err(|error| failed(&error))?;
    let block_bytes = 1_u64 << (params.basic.logical_bs_shift & 63);
    if !size_bytes.is_multiple_of(block_bytes) {
        return Err(Failure::usage("size isn't aligned with logical block size"));
    }
    control.update_size(id, size_bytes >> SECTOR_SHIFT).map_err(|error| failed(&error))
}

/// `quiesce`: the server is told to leave, and the device waits for the next one.
pub(super) fn quiesce(options: &Options) -> Result<(), Failure> {
    let id = options.number("quiesce")?;
    control()?.quiesce_dev(id, QUIESCE_TIMEOUT_MS).map_err(|error| failed(&error))
}
