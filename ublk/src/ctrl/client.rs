//! The client itself: a ring, the control node, and commands on their way.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{CONTROL_PATH, Command, CtrlError, OpenError, Reply, SqeDump};
use crate::sys::ctrl_ring::{CtrlRing, Outcome, Submitter};
use crate::uapi::{CtrlOp, DevInfo, DevState, Features};

/// How long the convenience methods wait unless told otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// How long a failed command's device may take to tell its state; a detail of an error must not delay it much.
const STATE_DEADLINE: Duration = Duration::from_millis(200);

/// A command that was submitted. It stays pending until awaited or abandoned, whatever happens to this value.
#[derive(Debug)]
#[must_use = "a pending command occupies a slot until it is awaited or abandoned"]
pub struct Pending {
    token: u64,
    op: CtrlOp,
    dev_id: Option<u32>,
    path_len: usize,
}

impl Pending {
    /// The command.
    #[must_use]
    pub fn op(&self) -> CtrlOp {
        self.op
    }

    /// The device, if the command is about one.
    #[must_use]
    pub fn dev_id(&self) -> Option<u32> {
        self.dev_id
    }
}

/// A control client. It can be moved between threads, but the kernel ties each pending command to the thread that
/// submitted it: when that thread ends, the command is cancelled with `EINTR`.
///
/// At most 64 commands may be pending or uncollected. Dropping the client cancels what is pending, and leaks those
/// commands' buffers (at most 64 KiB each), because the kernel may still write to them.
#[derive(Debug)]
pub struct Control {
    ring: CtrlRing,
    dump: Option<SqeDump>,
    pub(super) deadline: Duration,
    unprivileged: bool,
}

impl Control {
    /// Opens `/dev/ublk-control` and makes a ring for it.
    ///
    /// # Errors
    /// See [`OpenError`]; each variant says what to do.
    pub fn open() -> Result<Self, OpenError> {
        Self::open_at(Path::new(CONTROL_PATH))
    }

    /// As [`Control::open`], for a control node elsewhere.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_at(path: &Path) -> Result<Self, OpenError> {
        let file = open_node(path)?;
        let dump = SqeDump::from_env()?;
        let ring = CtrlRing::new(file).map_err(|source| OpenError::Ring { source })?;
        Ok(Self { ring, dump, deadline: DEFAULT_DEADLINE, unprivileged: false })
    }

    /// Sends the device's path along, which unprivileged devices demand and privileged ones do not skip: use such a
    /// client for unprivileged devices only.
    #[must_use]
    pub fn for_unprivileged(mut self) -> Self {
        self.unprivileged = true;
        self
    }

    /// Says whether the devices this client speaks of from now on are unprivileged ones; see
    /// [`for_unprivileged`](Self::for_unprivileged). ADD_DEV tells by the flags it returns.
    pub fn set_unprivileged(&mut self, unprivileged: bool) {
        self.unprivileged = unprivileged;
    }

    /// Learns how a device that is there wants to be spoken to, and what it is. Commands that follow carry its path
    /// exactly if it is an unprivileged one.
    ///
    /// # Errors
    /// See [`CtrlError`]; `ENODEV` where there is no such device.
    pub fn address(&mut self, dev_id: u32) -> Result<DevInfo, CtrlError> {
        self.unprivileged = false;
        // GET_DEV_INFO2 works with every device whose node is in place; GET_DEV_INFO without a node, and on
        // kernels before 6.3, for privileged ones.
        let info = match self.get_dev_info2(dev_id) {
            Err(error) if error.errno() != Some(libc::ENODEV) => {
                self.get_dev_info(dev_id).map_err(|_| error)?
            }
            found => found?,
        };
        self.unprivileged = info.flags.contains(Features::UNPRIVILEGED_DEV);
        Ok(info)
    }

    /// Sets how long the convenience methods wait.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Submits a command and returns at once.
    ///
    /// # Errors
    /// [`CtrlError::Ring`] when the ring does not take it; the driver's own answer comes with [`Control::wait`].
    pub fn submit(&mut self, command: Command) -> Result<Pending, CtrlError> {
        self.submit_by(Submitter::Us, command)
    }

    /// What the kernel writes into a buffer goes to the submitter's: a copy is not for commands with an answer.
    pub(super) fn submit_by(
        &mut self,
        submitter: Submitter,
        command: Command,
    ) -> Result<Pending, CtrlError> {
        let (op, dev_id) = (command.op(), command.dev_id());
        let (cmd, buffer) = command.encode(self.unprivileged);
        let path_len = usize::from(cmd.dev_path_len);
        let dump = self.dump.as_ref();
        let observe = |sqe: &_| {
            if let Some(dump) = dump {
                dump.record(op.name(), sqe);
            }
        };
        let token = self
            .ring
            .submit(op.encoded(), cmd, buffer, submitter, observe)
            .map_err(|source| CtrlError::ring(op, dev_id, source))?;
        Ok(Pending { token, op, dev_id, path_len })
    }

    /// Waits for a command. After [`CtrlError::Timeout`] it is still pending and may be awaited again; any other
    /// outcome is told once.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn wait(&mut self, pending: &Pending, timeout: Duration) -> Result<Reply, CtrlError> {
        self.outcome(pending, timeout)?
            .unwrap_or_else(|| Err(CtrlError::timeout(pending.op, pending.dev_id, timeout)))
    }

    /// Looks whether a command is done, without waiting; `None` while it is pending.
    ///
    /// # Errors
    /// See [`CtrlError`]; never a timeout.
    pub fn poll(&mut self, pending: &Pending) -> Result<Option<Reply>, CtrlError> {
        self.outcome(pending, Duration::ZERO)?.transpose()
    }

    /// Gives up on a command's reply. The command itself goes on in the kernel.
    #[allow(clippy::needless_pass_by_value)] // Taking the handle is the point: nobody can wait for it any more.
    pub fn abandon(&mut self, pending: Pending) {
        self.ring.abandon(pending.token);
    }

    /// How many of the 64 places are taken: by commands that are pending, abandoned ones too until the kernel is done with
    /// them, and by those that are done and were never awaited. A client that has collected everything has none.
    ///
    /// # Errors
    /// The ring's own, where completions cannot be taken in.
    pub fn occupied(&mut self) -> io::Result<usize> {
        self.ring.occupied()
    }

    /// Submits a command and waits for it. When the time is over, the command is abandoned: use [`Control::submit`]
    /// where it has to be awaited later.
    ///
    /// # Errors
    /// See [`CtrlError`].
    pub fn call(&mut self, command: Command, timeout: Duration) -> Result<Reply, CtrlError> {
        let pending = self.submit(command)?;
        let reply = self.wait(&pending, timeout);
        if matches!(reply, Err(CtrlError::Timeout { .. })) {
            self.abandon(pending);
        }
        reply
    }

    /// The outer result is the ring's, the inner one the driver's.
    #[allow(clippy::type_complexity)] // Three answers: the ring failed, not yet, and the driver's.
    fn outcome(
        &mut self,
        pending: &Pending,
        timeout: Duration,
    ) -> Result<Option<Result<Reply, CtrlError>>, CtrlError> {
        let Pending { token, op, dev_id, path_len } = *pending;
        let waited = self.ring.wait(token, timeout);
        let outcome = waited.map_err(|source| CtrlError::ring(op, dev_id, source))?;
        let Some(Outcome { result, payload }) = outcome else { return Ok(None) };
        if result < 0 {
            let error = CtrlError::from_errno(op, dev_id, -result);
            let state = self.state_for_error(op, dev_id);
            return Ok(Some(Err(error.with_state(state))));
        }
        let reply = Reply::decode(op, result, path_len, &payload).ok_or_else(|| {
            let source = io::Error::other("the reply does not have the command's shape");
            CtrlError::ring(op, dev_id, source)
        });
        Ok(Some(reply))
    }

    /// The device's state, for errors of commands that depend on it.
    fn state_for_error(&mut self, op: CtrlOp, dev_id: Option<u32>) -> Option<DevState> {
        let depends = matches!(
            op,
            CtrlOp::StartDev
                | CtrlOp::TryStopDev
                | CtrlOp::SetParams
                | CtrlOp::StartUserRecovery
                | CtrlOp::EndUserRecovery
                | CtrlOp::UpdateSize
                | CtrlOp::QuiesceDev
        );
        let dev_id = dev_id.filter(|_| depends)?;
        // GET_DEV_INFO is not in the list above, so this does not come back here.
        match self.call(Command::GetDevInfo { dev_id }, STATE_DEADLINE) {
            Ok(Reply::DevInfo(info)) => Some(info.state()),
            _ => None,
        }
    }
}

/// Opens the control node, and says what to do when that fails.
pub(crate) fn open_node(path: &Path) -> Result<File, OpenError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|source| {
        let path = path.to_owned();
        match source.raw_os_error() {
            Some(libc::ENOENT) => match misc_minor("ublk-control") {
                Some(minor) => OpenError::NoNode { path, minor },
                None => OpenError::NoDriver { path },
            },
            // A node without a driver behind it, left over from an earlier one.
            Some(libc::ENXIO | libc::ENODEV) => OpenError::NoDriver { path },
            Some(libc::EACCES | libc::EPERM) => OpenError::Permission { path },
            _ => OpenError::Node { path, source },
        }
    })
}

/// Minor number of a registered misc device, from lines like ` 59 ublk-control`.
fn misc_minor(name: &str) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/misc").ok()?;
    table.lines().find_map(|line| {
        let (minor, found) = line.trim().split_once(' ')?;
        (found.trim() == name).then(|| minor.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_move_between_threads() {
        const fn is_send<T: Send>() {}
        const { is_send::<Control>() };
    }

    #[test]
    fn a_missing_node_says_how_to_load_the_driver() {
        let error = Control::open_at(Path::new("/no/such/ublk-control")).expect_err("no node");
        let text = error.to_string();
        if misc_minor("ublk-control").is_some() {
            assert!(text.contains("mknod"), "{text}");
        } else {
            assert!(text.contains("modprobe ublk_drv"), "{text}");
        }
    }

    #[test]
    fn a_node_that_is_something_else_is_told_by_the_first_command() {
        // /dev/null takes commands of its own; a regular file takes none.
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut control = match Control::open_at(file.path()) {
            Ok(control) => control,
            Err(OpenError::Ring { source }) => {
                eprintln!("skipped: io_uring is not available here: {source}");
                return;
            }
            Err(other) => panic!("{other}"),
        };
        let error = control.call(Command::GetFeatures, DEFAULT_DEADLINE).expect_err("refused");
        assert_eq!(error.errno(), Some(libc::EOPNOTSUPP), "{error}");
        assert_eq!(error.command(), CtrlOp::GetFeatures);
        // The reply of a collected command cannot be had twice.
        let pending = control.submit(Command::StopDev { dev_id: 1 }).expect("submitted");
        let first = control.wait(&pending, DEFAULT_DEADLINE).expect_err("refused");
        assert_eq!(first.errno(), Some(libc::EOPNOTSUPP));
        let second = control.poll(&pending).expect_err("collected");
        assert!(matches!(second, CtrlError::Ring { .. }), "{second}");
    }

    #[test]
    fn slots_come_back_when_commands_are_collected_or_abandoned() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let Ok(mut control) = Control::open_at(file.path()) else {
            eprintln!("skipped: io_uring is not available here");
            return;
        };
        for _ in 0..200 {
            let pending = control.submit(Command::GetFeatures).expect("submitted");
            control.abandon(pending);
        }
        let kept: Vec<_> = (0..64)
            .map(|_| control.submit(Command::GetFeatures).expect("a slot for each"))
            .collect();
        let error = control.submit(Command::GetFeatures).expect_err("full");
        assert!(error.to_string().contains("wait for some of them"), "{error}");
        assert_eq!(control.occupied().expect("a count"), 64);
        for pending in &kept {
            assert!(control.wait(pending, DEFAULT_DEADLINE).is_err());
        }
        assert_eq!(control.occupied().expect("a count"), 0);
        let _ = control.submit(Command::GetFeatures).expect("free again");
    }
}
