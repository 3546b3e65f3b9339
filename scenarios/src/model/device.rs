//! One device as the driver keeps it: the variables of the reference model, and what changes them.
//!
//! Nothing here knows of commands. Each function is one of the driver's own transitions (a disk goes, a server goes, a round
//! is complete), and leaves what it answers in [`Effects`]. What becomes of requests is in [`requests`](super::requests).

use super::effects::Effects;
use super::profile::Profile;
use super::queue::{Queue, TAGS, Tag};
use super::sort::{Recovery, Sort};

/// Size of a device until UPDATE_SIZE.
pub(super) const DEFAULT_MIB: u8 = 8;

/// Clients that open the block device.
pub(super) const CLIENTS: usize = 2;
/// Pages that can be registered with a device.
pub(super) const PAGES: usize = 2;

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
    /// DEL_DEV of a device that is deleted already: likewise. Nothing shows that it has begun, so it may find no device any more.
    DelAgain,
    /// STOP_DEV: for the requests that the server has.
    Stop,
    /// TRY_STOP_DEV: likewise. It has the disk in its hand meanwhile.
    TryStop,
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
        matches!(self, Self::Stop | Self::TryStop | Self::StopOfDel { .. })
    }
}

/// A read or a write that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // Each is one step further on its way.
pub struct Read {
    /// Where its result will come.
    pub slot: u8,
    /// Queue that it is on.
    pub queue: u8,
    /// Whether the server has it; else the driver holds it back.
    pub delivered: bool,
    /// Whether its pages are registered.
    pub registered: bool,
    /// Whether it was committed, and waits for its pages to be unregistered.
    pub committed: bool,
    /// The thread that it was given to is gone: nobody can commit it.
    pub orphan: bool,
    /// It is a write.
    pub write: bool,
    /// Its data has to be asked for before it is committed.
    pub wants: bool,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // The driver's own flag bits, by their names.
pub struct Device {
    /// What it was made as.
    pub sort: Sort,
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
    /// Queues.
    pub queues: Vec<Queue>,
    /// Server that GET_DEV_INFO names.
    pub server: Option<u8>,
    /// START_DEV has succeeded once.
    pub started: bool,
    /// It can only be deleted: series before 7.3, see [`older`](super::older).
    pub spent: bool,
    /// START_USER_RECOVERY was answered 0 since the server left.
    pub recovering: bool,
    /// A queue was complete since START_USER_RECOVERY, without which there is no other: 6.12.
    pub queue_was_ready: bool,
    /// All tags were fetched once, and the driver still says so: see [`Profile::ready_is_kept`].
    pub kept_ready: bool,
    /// Which clients have the block device open.
    pub clients: [bool; CLIENTS],
    /// Index under which each page of the test's is registered.
    pub shared: [Option<u8>; PAGES],
    /// Commands that are held back.
    pub waiting: Vec<Waiting>,
    /// Reads that are not answered.
    pub reads: Vec<Read>,
}

impl Device {
    /// As ADD_DEV makes it.
    #[must_use]
    pub fn new(sort: Sort) -> Self {
        Self {
            sort,
            deleted: false,
            params: false,
            mib: DEFAULT_MIB,
            state: State::Dead,
            used: false,
            opener: None,
            stopping: false,
            round_cancelled: false,
            queues: vec![Queue::new(); usize::from(sort.queues())],
            server: None,
            started: false,
            spent: false,
            recovering: false,
            queue_was_ready: false,
            kept_ready: false,
            clients: [false; CLIENTS],
            shared: [None; PAGES],
            waiting: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// Whether requests wait while there is no server.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.sort.recovery, Recovery::Plain | Recovery::Reissue)
    }

    /// Whether there is a disk.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.state != State::Dead
    }

    /// Whether a client has the block device open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.clients.contains(&true)
    }

    /// Whether every tag was fetched in this round.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.queues.iter().all(Queue::is_ready)
    }

    /// Number of tags that are `wanted`.
    #[must_use]
    pub fn count(&self, wanted: Tag) -> usize {
        self.queues.iter().map(|queue| queue.count(wanted)).sum()
    }

    /// Number of tags.
    #[must_use]
    pub fn tags(&self) -> u8 {
        self.sort.queues() * TAGS
    }

    /// A tag by its number over all queues.
    #[must_use]
    pub fn tag(&self, tag: u8) -> Option<Tag> {
        let queue = self.queues.get(usize::from(tag / TAGS))?;
        Some(queue.tags[usize::from(tag % TAGS)])
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

    /// A tag's FETCH_REQ by a thread was accepted.
    pub fn fetched(&mut self, tag: u8, thread: u8, profile: &Profile) {
        let away = matches!(self.state, State::Quiesced);
        let cancelled = self.round_cancelled || (profile.recovery_in_two_steps && away);
        let Some(queue) = self.queues.get_mut(usize::from(tag / TAGS)) else { return };
        queue.tags[usize::from(tag % TAGS)] = Tag::Armed;
        queue.thread = thread;
        if queue.is_ready() {
            self.queue_was_ready = profile.recovery_in_two_steps;
            queue.cancelling &= cancelled;
            queue.fails_io = false;
            queue.force_abort = false;
        }
        self.kept_ready |= profile.ready_is_kept && self.is_ready();
    }

    /// Takes back every command that waits for a request.
    pub fn cancel_armed(&mut self) {
        for queue in &mut self.queues {
            queue.turn_all(Tag::Armed, Tag::Cancelled);
        }
    }

    /// No request is given to any tag from now on, until a new round is complete.
    pub fn cancel_round(&mut self) {
        for queue in &mut self.queues {
            queue.cancelling = true;
        }
    }

    /// A thread of the server ends: what it has armed is taken back, what it was given nobody can answer.
    pub fn end_thread(&mut self, thread: u8) {
        let mut cancelled = false;
        for (number, queue) in (0_u8..).zip(&mut self.queues) {
            if queue.thread != thread || queue.is_new() {
                continue;
            }
            cancelled |= queue.count(Tag::Armed) > 0;
            queue.turn_all(Tag::Armed, Tag::Cancelled);
            let given = |read: &&mut Read| read.queue == number && read.delivered;
            for read in self.reads.iter_mut().filter(given) {
                read.orphan = true;
            }
        }
        if cancelled {
            self.round_cancelled = true;
            self.cancel_round();
        }
    }

    /// The disk goes; nothing may be with the server any more.
    pub fn remove_disk(&mut self, effects: &mut Effects) {
        let aborts = self.has_disk() && self.holds();
        for queue in &mut self.queues {
            queue.force_abort |= aborts;
        }
        for read in std::mem::take(&mut self.reads) {
            effects.read(read.slot, &[-nix::libc::EIO]);
        }
        self.state = State::Dead;
        self.server = None;
        self.used = self.is_open() && self.used;
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

    /// Requests of a queue that are not answered.
    pub fn requests_of(&self, queue: u8) -> usize {
        self.reads.iter().filter(|read| read.queue == queue).count()
    }

    /// Whether a request was committed whose pages are registered: it ends when they are not any more.
    pub fn has_committed(&self) -> bool {
        self.reads.iter().any(|read| read.committed)
    }

    /// The char device's last holder is gone.
    pub fn release(&mut self, profile: &Profile, effects: &mut Effects) {
        let keeps = self.has_disk() && self.sort.recovery != Recovery::None;
        let anew = if profile.recovery_in_two_steps { keeps } else { self.has_disk() };
        self.spent |= !profile.close_starts_anew && !anew;
        self.recovering &= !self.queue_was_ready;
        self.drop_registrations(effects);
        if self.has_disk() {
            self.cancel_round();
            self.lose_server(effects);
        } else if self.count(Tag::Armed) > 0 {
            self.cancel_round();
        }
        self.end_round();
        self.opener = None;
        self.stopping = false;
        self.round_cancelled = false;
    }

    /// Tags are to be fetched again; those of a device that is spent keep what they were.
    fn end_round(&mut self) {
        let spent = self.spent;
        for tag in self.queues.iter_mut().flat_map(|queue| &mut queue.tags) {
            match tag {
                Tag::Free => {}
                _ if spent => *tag = Tag::Stale,
                _ => *tag = Tag::Free,
            }
        }
    }

    fn lose_server(&mut self, effects: &mut Effects) {
        let reissue = self.sort.recovery == Recovery::Reissue && !self.is_stopping_slowly();
        for read in std::mem::take(&mut self.reads) {
            if self.holds() && (!read.delivered || reissue) {
                self.reads.push(Read { delivered: false, orphan: false, wants: false, ..read });
            } else {
                effects.read(read.slot, &[-nix::libc::EIO]);
            }
        }
        match self.sort.recovery {
            Recovery::None => self.remove_disk(effects),
            Recovery::FailIo => {
                self.state = State::FailIo;
                for queue in &mut self.queues {
                    queue.fails_io = true;
                }
            }
            Recovery::Plain | Recovery::Reissue => self.state = State::Quiesced,
        }
    }
}
