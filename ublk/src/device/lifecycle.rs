//! The states, and what each allows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Owed};
use super::error::DeviceError;
use crate::ctrl::{Control, block_path, char_path};
use crate::params::{DeviceNumbers, MAX_IO_BYTES_DEFAULT};
use crate::queue::{KillSwitch, QueueTicket};
use crate::sys::shared::SharedMemory;
use crate::uapi::{DevInfo, Features, Params};

/// What ADD_DEV is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// The device's number; the first free one if none.
    pub id: Option<u32>,
    /// Queues, 1 to 4096; the kernel gives no more than there are CPUs.
    pub queues: u16,
    /// Tags per queue, 1 to 4096.
    pub depth: u16,
    /// Largest request in bytes, rounded down to pages by the kernel.
    pub max_io_bytes: u32,
    /// Features that are needed; see [`crate::features`] for which go together.
    pub features: Features,
    /// Bytes per descriptor where other than 24: a multiple of 8 up to 256. Available since Linux 7.3.
    pub io_desc_size_bytes: Option<u16>,
    /// A word of the server's own, which the kernel keeps with the device (`ublksrv_flags`).
    pub server_flags: u64,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            id: None,
            queues: 1,
            depth: 64,
            max_io_bytes: MAX_IO_BYTES_DEFAULT,
            features: Features::empty(),
            io_desc_size_bytes: None,
            server_flags: 0,
        }
    }
}

/// Added: the character device is there, the disk is not.
#[derive(Debug)]
pub struct Created(());

/// Has parameters; its tags can be fetched.
#[derive(Debug)]
pub struct Configured(());

/// START_DEV, or END_USER_RECOVERY, is submitted and waits for the last tag.
#[derive(Debug)]
pub struct Starting(pub(super) ());

/// The disk is there.
#[derive(Debug)]
pub struct Live(());

/// The disk is gone and the tags are aborted; the character device is still there.
#[derive(Debug)]
pub struct Stopped {
    forced: bool,
}

/// A device in a state of its life. Dropped, it is stopped and deleted within some 15 seconds at worst; one that is
/// about to be taken over, or that was quiesced, is left to the next server instead.
///
/// It belongs to the thread that starts it until it is live: the kernel cancels a START_DEV whose
/// submitting thread has ended.
#[derive(Debug)]
#[must_use = "a device that is dropped is deleted or left"]
pub struct Device<S> {
    pub(super) core: Core,
    pub(super) state: S,
}

/// What waiting for a start came to.
#[derive(Debug)]
pub enum StartProgress {
    /// It has started.
    Live(Device<Live>),
    /// Tags are still missing; wait again, or drop it.
    Pending(Device<Starting>),
}

impl<S> Device<S> {
    pub(super) fn into_state<T>(self, state: T) -> Device<T> {
        Device { core: self.core, state }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.core.info.dev_id
    }

    /// What the kernel said about it last.
    pub fn info(&self) -> &DevInfo {
        &self.core.info
    }

    /// Asks the kernel again; what it said last where it does not answer.
    pub fn refresh_info(&mut self) -> DevInfo {
        self.core.refresh_info()
    }

    /// Numbers of its nodes, for a /dev that nobody fills.
    ///
    /// # Errors
    /// [`DeviceError::Control`].
    pub fn numbers(&mut self) -> Result<Option<DeviceNumbers>, DeviceError> {
        self.core.numbers()
    }

    /// The disk, once it is live.
    pub fn block_device_path(&self) -> PathBuf {
        block_path(self.id())
    }

    /// The character device.
    pub fn char_device_path(&self) -> PathBuf {
        char_path(self.id())
    }

    /// The switch that ends all of its queues at once, requests unanswered.
    pub fn kill_switch(&self) -> Arc<KillSwitch> {
        Arc::clone(&self.core.kill_switch)
    }

    /// Leaves the device to itself, in whatever state it is, and gives its number.
    pub fn detach(mut self) -> u32 {
        self.core.owed = Owed::Nothing;
        self.id()
    }
}

impl Device<Created> {
    /// Adds a device with exactly the features that are asked for.
    ///
    /// # Errors
    /// [`DeviceError::Features`] before the kernel is asked, where it would refuse the features or silently change
    /// them; [`DeviceError::Control`] with what ADD_DEV said: EEXIST for a number that is taken.
    pub fn add(control: Control, spec: &DeviceSpec) -> Result<Self, DeviceError> {
        Ok(Self { core: Core::add(control, spec)?, state: Created(()) })
    }

    /// Sets the parameters.
    ///
    /// # Errors
    /// [`DeviceError::Control`]; the device is deleted then.
    pub fn set_params(mut self, params: &Params) -> Result<Device<Configured>, DeviceError> {
        self.core.set_params(params)?;
        Ok(self.into_state(Configured(())))
    }
}

impl Device<Configured> {
    /// Registers memory that clients share with the server, before the tickets are taken: a request that is wholly
    /// in it comes without a copy. Needs [`Features::SHMEM_ZC`]. Available since Linux 7.1.
    ///
    /// # Errors
    /// [`DeviceError::Control`]: EOPNOTSUPP for a device without the feature, EFAULT for a file whose pages cannot be
    /// kept in memory, EEXIST for pages that are registered already.
    pub fn share(&mut self, memory: &SharedMemory) -> Result<(), DeviceError> {
        self.core.share(memory)
    }

    /// Opens the character device and gives a ticket for each queue the kernel granted. Asked again, it
    /// gives new tickets for the same open device; a queue can be served by one of them only.
    ///
    /// # Errors
    /// [`DeviceError::Open`] when the node does not come within 3 seconds, [`DeviceError::Control`].
    pub fn open_queues(&mut self) -> Result<Vec<QueueTicket>, DeviceError> {
        self.core.tickets()
    }

    /// Submits START_DEV, and does not wait for it. Before Linux 7.0 a copy of this process submits it:
    /// [`Control::start_dev_begin_apart`].
    ///
    /// # Errors
    /// [`DeviceError::Control`] when it could not even be submitted.
    pub fn begin_start(mut self) -> Result<Device<Starting>, DeviceError> {
        self.core.begin_start()?;
        Ok(self.into_state(Starting(())))
    }
}

impl Device<Starting> {
    /// As [`Device::<Configured>::open_queues`], for a start that was submitted first.
    ///
    /// # Errors
    /// As there.
    pub fn open_queues(&mut self) -> Result<Vec<QueueTicket>, DeviceError> {
        self.core.tickets()
    }

    /// Waits for START_DEV or END_USER_RECOVERY.
    ///
    /// # Errors
    /// [`DeviceError::Control`] with what it said; a new device is deleted then, one that was to be taken over stays.
    pub fn wait(mut self, timeout: Duration) -> Result<StartProgress, DeviceError> {
        Ok(if self.core.wait_start(timeout)? {
            StartProgress::Live(self.into_state(Live(())))
        } else {
            StartProgress::Pending(self)
        })
    }
}

impl Device<Live> {
    /// Stops it: waits for requests in flight, removes the disk, aborts the tags. Where that takes
    /// longer than `timeout` the queues are ended, which fails their requests.
    ///
    /// # Errors
    /// [`DeviceError::Stuck`] when even that did not help within 5 seconds, [`DeviceError::Control`].
    pub fn stop(mut self, timeout: Duration) -> Result<Device<Stopped>, DeviceError> {
        let forced = self.core.stop(timeout)?;
        Ok(self.into_state(Stopped { forced }))
    }
}

impl Device<Stopped> {
    /// Whether its queues had to be ended for it.
    pub fn was_forced(&self) -> bool {
        self.state.forced
    }

    /// Deletes it. Its queues must have ended, their rings be closed: the kernel waits for that, and for
    /// everybody who holds the disk open.
    ///
    /// # Errors
    /// [`DeviceError::Control`]; at a timeout the device goes as soon as nobody holds it.
    pub fn delete(mut self, timeout: Duration) -> Result<(), DeviceError> {
        let deleted = self.core.delete(timeout);
        // It was asked for and marked; to ask again while it is dropped would only wait once more.
        self.core.owed = Owed::Nothing;
        deleted
    }
}
