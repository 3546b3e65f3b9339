//! What a script should have removed: a server that still runs, a node that is still there. The agent
//! looks for nodes too, but only after it has ended every process, and so never sees a stray server.

use std::time::{Duration, Instant};

use scenarios::Stop;
use scenarios::kselftest::Selftest;

use crate::processes;

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
    let servers = processes::list().into_iter().filter(|p| p.name == "kublk" && p.state != 'Z');
    let mut left: Vec<String> =
        servers.map(|p| format!("process {} kublk of {test}", p.pid)).collect();
    left.extend(scenarios::block::all_nodes()?.into_iter().map(|node| format!("/dev/{node}")));
    Ok(left)
}
