//! `ublk list`: every device, and what its server says where it answers.

use serde::Serialize;
use ublk::ctrl::Control;
use ublk::queue::CounterSnapshot;
use ublk::server::{DeviceStatus, ParamsStatus, read_status, socket_path};

use crate::cli::ListArgs;
use crate::exit::Failure;
use crate::{devices, out, size};

/// A device, with as much about it as could be learnt.
#[derive(Serialize)]
struct Entry {
    id: u32,
    info: Option<DeviceStatus>,
    params: Option<ParamsStatus>,
    /// From the server; none where it does not answer.
    server: Option<ServerEntry>,
    /// Why something is missing.
    error: Option<String>,
}

#[derive(Serialize)]
struct ServerEntry {
    pid: u32,
    target: String,
    total: CounterSnapshot,
    counters: Vec<CounterSnapshot>,
}

/// Lists all devices.
pub(crate) fn run(args: &ListArgs) -> Result<(), Failure> {
    let mut control = Control::open().map_err(|error| Failure::driver(&error))?;
    let entries: Vec<Entry> =
        devices::ids().into_iter().filter_map(|id| entry(&mut control, id)).collect();
    if args.json {
        return out::json(&entries);
    }
    for entry in &entries {
        out::line(&describe(entry))?;
    }
    Ok(())
}

/// None for a device that went while we looked.
fn entry(control: &mut Control, id: u32) -> Option<Entry> {
    let mut entry = Entry { id, info: None, params: None, server: None, error: None };
    match control.address(id) {
        Ok(info) => entry.info = Some(DeviceStatus::from(&info)),
        Err(error) if error.errno() == Some(libc::ENODEV) => return None,
        Err(error) => entry.error = Some(error.to_string()),
    }
    match control.get_params(id) {
        Ok(params) => entry.params = Some(ParamsStatus::from(&params)),
        Err(error) => {
            entry.error.get_or_insert(error.to_string());
        }
    }
    entry.server = read_status(&socket_path(id)).ok().map(|status| ServerEntry {
        pid: status.pid,
        target: status.target,
        total: CounterSnapshot::total(&status.counters),
        counters: status.counters,
    });
    Some(entry)
}

fn describe(entry: &Entry) -> String {
    let mut text = format!("/dev/ublkb{}", entry.id);
    if let Some(info) = &entry.info {
        let (queues, depth) = (info.queues, info.depth);
        text += &format!("  {}  {queues} x {depth}", info.state);
    }
    if let Some(params) = &entry.params {
        text += &format!("  {}", size::format(params.size_bytes));
    }
    match (&entry.server, entry.info.as_ref().and_then(|info| info.server_pid)) {
        (Some(server), _) => {
            let total = &server.total;
            text += &format!("  {}  pid {}", server.target, server.pid);
            text += &format!("  {} reads, {} writes", total.reads, total.writes);
            text += &format!(", {} flushes, {} errors", total.flushes, total.errors);
        }
        (None, Some(pid)) => text += &format!("  pid {pid}"),
        (None, None) => text += "  no server",
    }
    if let Some(error) = &entry.error {
        text += &format!("  ({error})");
    }
    text
}
