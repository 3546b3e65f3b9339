//! One device as the driver keeps it: the variables of the reference model, and what changes them.
//!
//! Nothing here knows of commands. Each function is one of the driver's own transitions (a disk goes, a server goes, a round
//! is complete), and leaves what it answers in [`Effects`].

use super::effects::Effects;
use super::profile::Profile;
use super::step::Recovery;

/// Tags of a device's one queue.
pub const TAGS: u8 = 2;
/// Bytes of a read, and its result.
pub(super) const READ_BYTES: i32 = 4096;
/// Size of a device until UPDATE_SIZE.
pub(super) const DEFAULT_MIB: u8 = 8;

/// `UBLK_S_DEV_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// There is no disk.
    Dead,
    /// There is a disk, and a server.
    Live,
    /// There is a disk; requests wait for a server.
    Quiesced,
    /// There is a disk; requests fail until there is a server.
    FailIo,
}

/// What a tag's command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// None in this round.
    Free,
    /// Armed: waits for a request.
    Armed,
    /// With the server, request and all.
    Owned,
    /// Taken back. It counts as fetched until the device is closed.
    Cancelled,
    /// Of an earlier round that was not ended: it counts as fetched, and its command is gone. Before 7.3.
    Stale,
}

/// A command that the kernel holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// Where its answer will come.
    pub slot: u8,
    /// What it waits with.
    pub what: Waits,
}

/// What a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waits {
    /// START_DEV with that server's pid: for all tags.
    Start(u8),
    /// END_USER_RECOVERY with that server's pid: for all tags.
    End(u8),
    /// DEL_DEV: for the last who holds the device.
    Del,
    /// STOP_DEV and TRY_STOP_DEV: for the requests that the server has.
    Stop,
    /// DEL_DEV and DEL_DEV_ASYNC before they have stopped the device: likewise.
    StopOfDel {
        /// Whether it then waits for the device to be gone.
        wait: bool,
    },
}

/// A server that is gone: its pid is nobody's.
const NOBODY: u8 = u8::MAX;

impl Waits {
    /// A command keeps the pid it was given; the next process of that number has another.
    #[must_use]
    pub fn after_death_of(self, server: u8) -> Self {
        match self {
            Self::Start(own) if own == server => Self::Start(NOBODY),
            Self::End(own) if own == server => Self::End(NOBODY),
            other => other,
        }
    }

    /// Whether it holds the device's mutex while it waits.
    #[must_use]
    pub fn stops(self) -> bool {
        matches!(self, Self::Stop | Self::StopOfDel { .. })
    }
}

/// A read that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// Where its result will come.
    pub slot: u8,
    /// Whether the server has it; else the driver holds it back.
    pub delivered: bool,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // The driver's own flag bits, by their names.
pub struct Device {
    /// What it promises.
    pub recovery: Recovery,
    /// UBLK_F_QUIESCE.
    pub quiesce: bool,
    /// DEL_DEV was accepted; the id is taken until the last holder is gone.
    pub deleted: bool,
    /// Right parameters are stored.
    pub params: bool,
    /// Size that is stored.
    pub mib: u8,
    /// As GET_DEV_INFO tells it.
    pub state: State,
    /// `UB_STATE_USED`: from START_DEV until the disk's last opener is gone.
    pub used: bool,
    /// Server that has the char device open.
    pub opener: Option<u8>,
    /// `UB_STATE_STOPPING`: the server has to close the device first.
    pub stopping: bool,
    /// A command of this round was cancelled.
    pub round_cancelled: bool,
    /// Requests are not given to the queue's tags.
    pub cancelling: bool,
    /// Requests are failed, for the disk goes.
    pub force_abort: bool,
    /// Requests are failed, for there is no server.
    pub fails_io: bool,
    /// Tags.
    pub tags: [Tag; TAGS as usize],
    /// Server that GET_DEV_INFO names.
    pub server: Option<u8>,
    /// START_DEV has succeeded once.
    pub started: bool,
    /// It can only be deleted: series before 7.3, see [`older`](super::older).
    pub spent: bool,
    /// START_USER_RECOVERY was answered 0 since the server left.
    pub recovering: bool,
    /// A client has the block device open.
    pub block_open: bool,
    /// Commands that are held back.
    pub waiting: Vec<Waiting>,
    /// Reads that are not answered.
    pub reads: Vec<Read>,
}

impl Device {
    /// As ADD_DEV makes it.
    #[must_use]
    pub fn new(recovery: Recovery, quiesce: bool) -> Self {
        Self {
            recovery,
            quiesce,
            deleted: false,
            params: false,
            mib: DEFAULT_MIB,
            state: State::Dead,
            used: false,
            opener: None,
            stopping: false,
            round_cancelled: false,
            cancelling: false,
            force_abort: false,
            fails_io: false,
            tags: [Tag::Free; TAGS as usize],
            server: None,
            started: false,
            spent: false,
            recovering: false,
            block_open: false,
            waiting: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// Whether requests wait while there is no server.
    #[must_use]
    pub fn queues(&self) -> bool {
        matches!(self.recovery, Recovery::Plain | Recovery::Reissue)
    }

    /// Whether there is a disk.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.state != State::Dead
    }

    /// Whether every tag was fetched in this round.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.tags.iter().all(|tag| *tag != Tag::Free)
    }

    /// Number of tags that are `wanted`.
    #[must_use]
    pub fn count(&self, wanted: Tag) -> usize {
        self.tags.iter().filter(|tag| **tag == wanted).count()
    }

    /// Whether the server has a request.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.reads.iter().any(|read| read.delivered)
    }

    /// Whether a stop waits for the server's requests, and holds the device's mutex.
    #[must_use]
    pub fn is_stopping_slowly(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.what.stops())
    }

    /// Whether somebody holds the device, so that its id stays taken.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let waits = |w: &Waiting| matches!(w.what, Waits::Start(_) | Waits::End(_));
        self.opener.is_some() || self.used || self.waiting.iter().any(waits)
    }

    /// Gives a request to a tag, holds it back or fails it.
    pub fn queue(&mut self, slot: u8, effects: &mut Effects) {
        if self.fails_io {
            effects.read(slot, &[-nix::libc::EREMOTEIO]);
        } else if self.queues() && self.force_abort || self.cancelling && !self.queues() {
            effects.read(slot, &[-nix::libc::EIO]);
        } else if self.cancelling {
            self.reads.push(Read { slot, delivered: false });
        } else {
            self.deliver(slot);
        }
    }

    /// Which tag a request gets is the block layer's choice; all that are armed are alike to the model.
    fn deliver(&mut self, slot: u8) {
        let armed = self.tags.iter_mut().find(|tag| **tag == Tag::Armed);
        let delivered = armed.map(|tag| *tag = Tag::Owned).is_some();
        self.reads.push(Read { slot, delivered });
    }

    /// The server commits all it has.
    pub fn answer(&mut self, effects: &mut Effects) {
        for tag in self.tags.iter_mut().filter(|tag| **tag == Tag::Owned) {
            *tag = Tag::Armed;
        }
        self.reads.retain(|read| {
            if read.delivered {
                effects.read(read.slot, &[READ_BYTES]);
            }
            !read.delivered
        });
    }

    /// Requests that were held back go to the new server.
    pub fn kick(&mut self, effects: &mut Effects) {
        for read in std::mem::take(&mut self.reads) {
            if read.delivered {
                self.reads.push(read);
            } else {
                self.queue(read.slot, effects);
            }
        }
    }

    /// A tag's FETCH_REQ was accepted.
    pub fn fetched(&mut self, tag: usize) {
        self.tags[tag] = Tag::Armed;
        if self.is_ready() {
            self.cancelling &= self.round_cancelled;
            self.fails_io = false;
            self.force_abort = false;
        }
    }

    /// Takes back every command that waits for a request.
    pub fn cancel_armed(&mut self) {
        for tag in self.tags.iter_mut().filter(|tag| **tag == Tag::Armed) {
            *tag = Tag::Cancelled;
        }
    }

    /// The disk goes; nothing may be with the server any more.
    pub fn remove_disk(&mut self, effects: &mut Effects) {
        self.force_abort |= self.has_disk() && self.queues();
        for read in std::mem::take(&mut self.reads) {
            effects.read(read.slot, &[-nix::libc::EIO]);
        }
        self.state = State::Dead;
        self.server = None;
        self.used = self.block_open && self.used;
    }

    /// STOP_DEV's work, once no request is with the server.
    pub fn stop(&mut self, profile: &Profile, effects: &mut Effects) {
        self.remove_disk(effects);
        self.spent |= self.started && profile.recovery_in_two_steps;
        if self.opener.is_some() {
            self.stopping = profile.stop_turns_away;
            self.spent |= !profile.stop_turns_away;
            self.cancel_armed();
        }
    }

    /// The char device's last holder is gone.
    pub fn release(&mut self, profile: &Profile, effects: &mut Effects) {
        let keeps = self.has_disk() && self.recovery != Recovery::None;
        let anew = if profile.recovery_in_two_steps { keeps } else { self.has_disk() };
        self.spent |= !profile.close_starts_anew && !anew;
        self.recovering = false;
        if self.has_disk() {
            self.cancelling = true;
            self.lose_server(effects);
        } else if self.count(Tag::Armed) > 0 {
            self.cancelling = true;
        }
        self.end_round();
        self.opener = None;
        self.stopping = false;
        self.round_cancelled = false;
    }

    /// Tags are to be fetched again; those of a device that is spent keep what they were.
    fn end_round(&mut self) {
        let spent = self.spent;
        for tag in self.tags.iter_mut().filter(|tag| !spent || **tag != Tag::Free) {
            *tag = if spent { Tag::Stale } else { Tag::Free };
        }
    }

    fn lose_server(&mut self, effects: &mut Effects) {
        let reissue = self.recovery == Recovery::Reissue && !self.is_stopping_slowly();
        for read in std::mem::take(&mut self.reads) {
            if self.queues() && (!read.delivered || reissue) {
                self.reads.push(Read { delivered: false, ..read });
            } else {
                effects.read(read.slot, &[-nix::libc::EIO]);
            }
        }
        match self.recovery {
            Recovery::None => self.remove_disk(effects),
            Recovery::FailIo => {
                self.state = State::FailIo;
                self.fails_io = true;
            }
            Recovery::Plain | Recovery::Reissue => self.state = State::Quiesced,
        }
    }
}
