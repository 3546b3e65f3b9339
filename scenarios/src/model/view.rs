//! What can be seen of the devices between two steps, as the model expects it and as the kernel shows it.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::device::{Device, State};
use super::queue::Tag;
use super::server::TagCounts;
use super::sort::{Mode, Recovery, Sort};
use super::world::World;
use crate::block::nodes;
use ublk::uapi::{DevInfo, DevState, Features};

/// One device from outside. What is not to be compared is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) state: DevState,
    pub(super) pid: Option<i32>,
    pub(super) queues: u16,
    pub(super) features: u64,
    pub(super) char_node: Option<bool>,
    pub(super) block_node: Option<bool>,
    pub(super) sectors: Option<u64>,
    pub(super) tags: Option<TagCounts>,
}

impl Seen {
    /// What GET_DEV_INFO tells by itself.
    pub(super) fn at_a_glance(self) -> Self {
        Self { char_node: None, block_node: None, sectors: None, tags: None, ..self }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {} queues, flags {:#x}", self.state, self.queues, self.features)?;
        if let Some(pid) = self.pid {
            write!(out, ", pid {pid}")?;
        }
        if let Some(node) = self.char_node {
            write!(out, ", char node {node}")?;
        }
        if let Some(block) = self.block_node {
            write!(out, ", block node {block}")?;
        }
        if let Some(sectors) = self.sectors {
            write!(out, ", {sectors} sectors")?;
        }
        if let Some(tags) = self.tags {
            let TagCounts { armed, owned, cancelled } = tags;
            write!(out, ", tags {armed} armed, {owned} with the server, {cancelled} taken back")?;
        }
        Ok(())
    }
}

/// The flags of ADD_DEV that the model knows of.
const KNOWN: u64 = Features::USER_RECOVERY
    .union(Features::USER_RECOVERY_REISSUE)
    .union(Features::USER_RECOVERY_FAIL_IO)
    .union(Features::QUIESCE)
    .union(Features::USER_COPY)
    .union(Features::SUPPORT_ZERO_COPY)
    .union(Features::NEED_GET_DATA)
    .union(Features::SHMEM_ZC)
    .bits();

/// What ADD_DEV is asked for.
pub(super) fn features(sort: Sort) -> Features {
    let kept = match sort.recovery {
        Recovery::None => Features::empty(),
        Recovery::Plain => Features::USER_RECOVERY,
        Recovery::Reissue => Features::USER_RECOVERY | Features::USER_RECOVERY_REISSUE,
        Recovery::FailIo => Features::USER_RECOVERY | Features::USER_RECOVERY_FAIL_IO,
    };
    let data = match sort.mode {
        Mode::Copy => Features::empty(),
        Mode::UserCopy => Features::USER_COPY,
        Mode::ZeroCopy => Features::SUPPORT_ZERO_COPY,
        Mode::GetData => Features::NEED_GET_DATA,
    };
    let quiesce = if sort.quiesce { Features::QUIESCE } else { Features::empty() };
    let shared = if sort.shared { Features::SHMEM_ZC } else { Features::empty() };
    kept | data | quiesce | shared
}

/// What the model expects to be seen of `device`, whose servers have these pids.
pub(super) fn expected(world: &World, device: &Device, pid: impl Fn(u8) -> i32) -> Seen {
    let stopping = device.is_stopping_slowly();
    let has_disk = device.has_disk();
    Seen {
        state: match device.state {
            State::Dead => DevState::Dead,
            State::Live => DevState::Live,
            State::Quiesced => DevState::Quiesced,
            State::FailIo => DevState::FailIo,
        },
        pid: match device.server {
            Some(server) => Some(pid(server)),
            // There the number stays that of a process which is gone.
            None if has_disk && !world.profile.pid_looked_up => None,
            None if device.started => Some(-1),
            None => Some(world.profile.pid_of_new),
        },
        queues: u16::from(device.sort.queues()),
        features: features(device.sort).bits(),
        char_node: Some(!device.deleted),
        // While a stop waits, the disk may be half way out.
        block_node: (!stopping).then_some(has_disk),
        sectors: (!stopping && has_disk).then_some(u64::from(device.mib) << 11),
        tags: device.opener.map(|_| TagCounts {
            armed: device.count(Tag::Armed) + device.count(Tag::Held),
            owned: device.count(Tag::Owned),
            cancelled: device.count(Tag::Cancelled),
        }),
    }
}

/// What the kernel shows of device `id`, as far as `wanted` asks for it.
pub(super) fn observed(id: u32, info: &DevInfo, tags: Option<TagCounts>, wanted: &Seen) -> Seen {
    let (char_node, block_node) = nodes(id);
    let size = || std::fs::read_to_string(format!("/sys/block/ublkb{id}/size")).ok();
    Seen {
        state: info.state(),
        pid: wanted.pid.map(|_| info.ublksrv_pid),
        queues: info.nr_hw_queues,
        features: info.flags.bits() & KNOWN,
        char_node: wanted.char_node.map(|_| char_node.exists()),
        block_node: wanted.block_node.map(|_| block_node.exists()),
        sectors: wanted.sectors.and_then(|_| size()?.trim().parse().ok()),
        tags,
    }
}

/// References to the driver's module: open nodes and releases that go on.
#[derive(Debug)]
pub(crate) struct ModuleReferences(Option<File>);

impl ModuleReferences {
    /// Opened once: it is read after every step.
    pub(crate) fn open() -> Self {
        Self(File::open("/sys/module/ublk_drv/refcnt").ok())
    }

    /// `None` where the driver is built in.
    pub(crate) fn count(&self) -> Option<i64> {
        let mut text = [0; 24];
        let bytes = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..bytes]).ok()?.trim().parse().ok()
    }
}
