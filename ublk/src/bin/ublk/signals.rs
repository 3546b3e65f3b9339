//! SIGINT and SIGTERM: the first asks the server to stop, the second ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Exit code of a process that a second signal ended, as a shell reports a death by SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Calls `stop` from a thread of its own on the first signal.
///
/// From the moment this returns no signal is lost: one that comes while the device still starts stops
/// it as soon as it is live. The second one ends the process from within the handler, and so even when
/// every thread of it hangs; the kernel then fails the requests and keeps the device for `ublk del`.
pub(crate) fn on_first(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    for signal in [SIGINT, SIGTERM] {
        // In this order: the check sees what an earlier signal left, not this one's own mark.
        flag::register_conditional_shutdown(signal, EXIT_INTERRUPTED, Arc::clone(&seen))?;
        flag::register(signal, Arc::clone(&seen))?;
    }
    std::thread::Builder::new().name("ublk-signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            stop();
        }
    })?;
    Ok(())
}
