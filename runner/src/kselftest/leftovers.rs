//! What a script should have removed: a server that still runs, a node that is still there. The agent
//! looks for nodes too, but only after it has ended every process, and so never sees a stray server.
//!
//! On a slow machine a script's fio or dd may only start once its device has gone: it then makes a regular
//! file of that name. That is nobody's leak; it is removed, and said.

use std::fs;
use std::time::{Duration, Instant};

use scenarios::Stop;
use scenarios::context::During;
use scenarios::kselftest::Selftest;
use scenarios::user_processes;

/// Names of servers and nodes that are still there after `limit`.
pub(super) fn find(test: &Selftest, limit: Duration) -> Result<Vec<String>, Stop> {
    let begin = Instant::now();
    loop {
        let left = now(test)?;
        if left.is_empty() || begin.elapsed() > limit {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn now(test: &Selftest) -> Result<Vec<String>, Stop> {
    let servers = user_processes::others().into_iter().filter(|p| p.name == "kublk" && p.runs());
    let mut left: Vec<String> =
        servers.map(|p| format!("process {} kublk of {test}", p.pid)).collect();
    left.extend(scenarios::block::all_nodes()?.into_iter().map(|node| format!("/dev/{node}")));
    Ok(left)
}

/// Removes regular files that have a device's name; returns their paths.
pub(super) fn remove_files() -> Result<Vec<String>, Stop> {
    let paths = scenarios::block::all_nodes()?.into_iter().map(|node| format!("/dev/{node}"));
    let is_file = |path: &String| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let files: Vec<String> = paths.filter(is_file).collect();
    for path in &files {
        fs::remove_file(path).during(format_args!("remove the file {path}"))?;
    }
    Ok(files)
}
