//! How a device changes hands: the old server quiesces and leaves it, a new one takes it over. Both ends are here
//! because each relies on what the other did.
//!
//! ```text
//!   Live -quiesce-> Quiesced -leave-> (nobody's) -Device::recover-> Recoverable -begin_recovery-> Starting
//! ```
//!
//! A server that dies leaves its device in the same place as one that quiesces it; only its requests fare worse.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::core::{Core, Owed, failed, own_pid};
use super::error::{DeviceError, Step};
use super::lifecycle::{Device, Live, Starting};
use crate::ctrl::{Command, Control};
use crate::queue::{KillSwitch, QueueTicket};
use crate::sys::shared::SharedMemory;
use crate::uapi::{DevInfo, DevState, Features, Params};

/// How often the kernel is asked whether the old server is gone: its end is no event that one can wait for.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// What the kernel may take for QUIESCE_DEV beyond the time it was told to take.
const QUIESCE_MARGIN: Duration = Duration::from_secs(5);

/// The disk is there, nobody serves it, and this process may.
#[derive(Debug)]
pub struct Recoverable {
    params: Params,
}

/// The disk is there, idle tags are aborted, and no request arrives any more. What the server has is finished
/// first; then it leaves.
#[derive(Debug)]
pub struct Quiesced(());

/// Asks the kernel to abort the idle tags of a device and hold back its requests. The server's queues end by it,
/// except for tags that it answers afterwards: ask again until they have ended. Available since Linux 6.16.
///
/// # Errors
/// [`DeviceError::Control`]: EOPNOTSUPP for a device without [`Features::QUIESCE`], ENODEV for one without a disk.
pub fn quiesce(control: &mut Control, id: u32, timeout: Duration) -> Result<(), DeviceError> {
    // 0 means for ever.
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    let command = Command::QuiesceDev { dev_id: id, timeout_ms };
    control.call(command, timeout + QUIESCE_MARGIN).map_err(failed(Step::Quiesce))?;
    Ok(())
}

/// Quiesces a device that another process serves, and waits until that one has left it. Gives the device's state
/// then. Available since Linux 6.16.
///
/// # Errors
/// [`DeviceError::Served`] when it has not left in time, [`DeviceError::NoDisk`], [`DeviceError::Control`] as
/// [`quiesce`].
pub fn quiesce_and_wait(
    control: &mut Control,
    id: u32,
    timeout: Duration,
) -> Result<DevState, DeviceError> {
    let deadline = Instant::now() + timeout;
    loop {
        // Looked at first: a device without a live server may have one that is just taking it over, and QUIESCE_DEV
        // would abort what that one has fetched.
        let info = control.address(id).map_err(failed(Step::Inspect))?;
        match info.state() {
            DevState::Live => {}
            DevState::Dead => return Err(DeviceError::NoDisk { id }),
            left => return Ok(left),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(served(&info, timeout));
        }
        quiesce(control, id, left)?;
        sleep(RETRY_INTERVAL.min(left));
    }
}

fn served(info: &DevInfo, timeout: Duration) -> DeviceError {
    let pid = (info.ublksrv_pid > 0).then_some(info.ublksrv_pid);
    DeviceError::Served { id: info.dev_id, pid, state: info.state(), timeout }
}

impl Core {
    /// Waits until the device has no server, and makes this process the one that may serve it.
    fn take_over(
        mut control: Control,
        id: u32,
        timeout: Duration,
    ) -> Result<(Self, Params), DeviceError> {
        let kill_switch = Arc::new(KillSwitch::new().map_err(DeviceError::KillSwitch)?);
        let deadline = Instant::now() + timeout;
        let info = loop {
            let info = control.address(id).map_err(failed(Step::Inspect))?;
            if !info.flags.contains(Features::USER_RECOVERY) {
                return Err(DeviceError::NotRecoverable { id });
            }
            if info.state() == DevState::Dead {
                return Err(DeviceError::NoDisk { id });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match control.start_user_recovery(id) {
                Ok(()) => break info,
                // 6.12 forgets by this command what was fetched, and refuses to forget twice: an earlier
                // successor died before it had fetched a whole queue.
                Err(error)
                    if error.errno() == Some(libc::EINVAL)
                        && info.state() == DevState::Quiesced =>
                {
                    break info;
                }
                // Also a server that has just died, until the kernel is done with it.
                Err(error) if error.errno() == Some(libc::EBUSY) => {
                    if left.is_zero() {
                        return Err(served(&info, timeout));
                    }
                }
                Err(error) => return Err(failed(Step::TakeOver)(error)),
            }
            sleep(RETRY_INTERVAL.min(left));
        };
        let params = control.get_params(id).map_err(failed(Step::Inspect))?;
        Ok((Self::with_info(control, info, kill_switch, Owed::Release), params))
    }

    fn begin_recovery(&mut self) -> Result<(), DeviceError> {
        let ended = self.control.end_user_recovery_begin(self.info.dev_id, own_pid());
        self.start = Some((Step::Recover, ended.map_err(failed(Step::Recover))?));
        Ok(())
    }
}

impl Device<Recoverable> {
    /// Takes over a device whose server is gone; one that is about to go is waited for up to `timeout`. Dropped
    /// before it is live again, the device stays as it was, for another attempt.
    ///
    /// # Errors
    /// [`DeviceError::Served`] when the old server stays, [`DeviceError::NotRecoverable`] and
    /// [`DeviceError::NoDisk`] for a device nobody can take over, [`DeviceError::Control`].
    pub fn recover(control: Control, id: u32, timeout: Duration) -> Result<Self, DeviceError> {
        let (core, params) = Core::take_over(control, id, timeout)?;
        Ok(Self { core, state: Recoverable { params } })
    }

    /// The parameters it was started with, which the new server has to live up to.
    pub fn params(&self) -> &Params {
        &self.state.params
    }

    /// Tells which memory the old server had registered, in the order in which it did, before the tickets are taken:
    /// the kernel keeps the pages, and cannot be asked what they are. Another file than the old server's would be
    /// other bytes. Without it, requests in that memory fail with EIO where the driver does not copy them either.
    pub fn shares(&mut self, memories: &[SharedMemory]) {
        for (index, memory) in (0..).zip(memories) {
            self.core.know_shared(index, memory);
        }
    }

    /// As [`Device::<Configured>::open_queues`](Device::open_queues): opens the character device and gives a
    /// ticket for each queue.
    ///
    /// # Errors
    /// [`DeviceError::Open`], [`DeviceError::Control`].
    pub fn open_queues(&mut self) -> Result<Vec<QueueTicket>, DeviceError> {
        self.core.tickets()
    }

    /// Submits END_USER_RECOVERY, and does not wait for it. Like START_DEV it completes with the last tag.
    ///
    /// # Errors
    /// [`DeviceError::Control`] when it could not even be submitted.
    pub fn begin_recovery(mut self) -> Result<Device<Starting>, DeviceError> {
        self.core.begin_recovery()?;
        Ok(self.into_state(Starting(())))
    }
}

impl Device<Live> {
    /// Aborts the idle tags, so that the server may leave without losing a request: new ones wait (or fail, with
    /// [`Recovery::FailIo`](super::Recovery::FailIo)). Available since Linux 6.16.
    ///
    /// # Errors
    /// As [`quiesce`], with the device. After EOPNOTSUPP it is as live as before; after a timeout its requests may
    /// be held back.
    pub fn quiesce(
        mut self,
        timeout: Duration,
    ) -> Result<Device<Quiesced>, (Box<Self>, DeviceError)> {
        let id = self.id();
        match quiesce(&mut self.core.control, id, timeout) {
            Ok(()) => {
                // Whoever quiesces a device wants it to outlive its server.
                self.core.owed = Owed::Release;
                Ok(self.into_state(Quiesced(())))
            }
            Err(error) => Err((Box::new(self), error)),
        }
    }

    /// Ends the queues and leaves the device as it is. Requests they had are lost or sent again, as its recovery
    /// says. On 6.12 end the process instead: there the kernel may wait for ever for requests of queues that ended
    /// under a process that lives.
    pub fn leave(mut self) -> u32 {
        self.core.owed = Owed::Release;
        self.id()
    }
}

impl Device<Quiesced> {
    /// Aborts the tags that have become idle since.
    ///
    /// # Errors
    /// As [`quiesce`].
    pub fn quiesce_again(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        let id = self.id();
        quiesce(&mut self.core.control, id, timeout)
    }

    /// Closes the device, which is then there for the next server. Queues that have not ended are ended, and their
    /// requests are lost or sent again.
    pub fn leave(self) -> u32 {
        self.id()
    }
}
