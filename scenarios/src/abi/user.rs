//! Being somebody without CAP_SYS_ADMIN for a moment.
//!
//! A control command may be finished by a worker of io_uring, which keeps the rights its thread had when the worker was
//! made. So the commands are sent from a thread of their own, which has no worker yet.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use nix::unistd::{Uid, setresuid};
use ublk::ctrl::Control;
use ublk::uapi::DevInfo;

use crate::context::{During, Stop};

/// Who that is; no such user has to exist.
const SOMEBODY: u32 = 1000;

/// Runs `work` on a new thread with a control client, all of it without privileges.
pub(super) fn without_privileges<T: Send>(
    work: impl FnOnce(&mut Control) -> Result<T, Stop> + Send,
) -> Result<T, Stop> {
    let node = ublk::ctrl::CONTROL_PATH;
    let mode = |bits| set_permissions(node, Permissions::from_mode(bits)).during("open the node");
    mode(0o666)?;
    // The C library changes every thread; none of the others sends a command meanwhile.
    // All three kinds: the driver notes the real one as the owner, rights go by the effective one, and the saved one
    // is the way back.
    let (somebody, root) = (Uid::from_raw(SOMEBODY), Uid::from_raw(0));
    setresuid(somebody, somebody, root).during("become somebody")?;
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut control = Control::open().during("open the control device as somebody")?;
            work(&mut control)
        });
        thread.join().map_err(|_| Stop::error("the thread without privileges panicked"))
    });
    setresuid(root, root, root).during("become root again")?;
    mode(0o600)?;
    result?
}

/// Deletes a device that somebody made: its commands carry its path.
pub(super) fn delete_of(info: &DevInfo) -> Result<(), Stop> {
    let control = Control::open().during("open the control device")?;
    Ok(control.for_unprivileged().del_dev(info.dev_id)?)
}
