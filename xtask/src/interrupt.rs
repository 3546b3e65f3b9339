//! Ctrl-C, SIGTERM and SIGHUP at any moment: every machine and every build is ended, then the run is folded and written.

use std::sync::atomic::{AtomicU32, Ordering};

static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Installs the handler. The second signal does not wait for anything but the machines' end.
pub(crate) fn install() {
    let installed = ctrlc::set_handler(|| {
        let before = SIGNALS.fetch_add(1, Ordering::SeqCst);
        vmimage::process_group::end_all();
        vmimage::machine::kill_all();
        if before > 0 {
            std::process::exit(i32::from(reports::report::ExitCode::Interrupted.code()));
        }
    });
    if let Err(error) = installed {
        eprintln!("xtask: note: Ctrl-C will not end machines gracefully: {error}");
    }
}

/// Whether the user asked to stop.
pub(crate) fn requested() -> bool {
    SIGNALS.load(Ordering::SeqCst) > 0
}
