//! `ublk list`: every device, what the driver says of it, and what its server says where it answers.

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
    /// Whether the process that the kernel knows as the server runs; none where it knows none.
    server_alive: Option<bool>,
    /// What becomes of it when its server dies: `none`, `plain`, `reissue` or `fail-io`.
    recovery: Option<&'static str>,
    /// `copy`, `get-data`, `user-copy`, `zero-copy` or `auto-buf`, then `+shmem` and `+batch`.
    data_mode: Option<String>,
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
    entries.iter().try_for_each(|entry| out::line(&describe(entry)))
}

/// None for a device that went while we looked.
fn entry(control: &mut Control, id: u32) -> Option<Entry> {
    let mut entry = Entry {
        id,
        info: None,
        params: None,
        server_alive: None,
        recovery: None,
        data_mode: None,
        server: None,
        error: None,
    };
    match control.address(id) {
        Ok(info) => {
            entry.server_alive = devices::server_pid(&info).map(devices::is_alive);
            entry.recovery = Some(devices::recovery(info.flags));
            entry.data_mode = Some(devices::data_mode(info.flags));
            entry.info = Some(DeviceStatus::from(&info));
        }
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
    let mut text = out::bold(&format!("/dev/ublkb{}", entry.id));
    if let Some(info) = &entry.info {
        let state = match info.state.as_str() {
            "live" => out::good(&info.state),
            "dead" => out::caution(&info.state),
            other => out::bad(other),
        };
        text += &format!("  {state}  {} x {}", info.queues, info.depth);
    }
    if let Some(params) = &entry.params {
        text += &format!("  {}", size::format(params.size_bytes));
    }
    if let Some(mode) = &entry.data_mode {
        text += &format!("  {mode}");
    }
    if let Some(recovery) = entry.recovery.filter(|recovery| *recovery != "none") {
        text += &format!("  recovery {recovery}");
    }
    text += &describe_server(entry);
    if let Some(error) = &entry.error {
        text += &format!("  ({error})");
    }
    text
}

fn describe_server(entry: &Entry) -> String {
    let pid = entry.info.as_ref().and_then(|info| info.server_pid);
    match (&entry.server, pid) {
        (Some(server), _) => {
            let total = &server.total;
            format!(
                "  {}  pid {}  {} reads, {} writes, {} flushes, {} errors",
                server.target, server.pid, total.reads, total.writes, total.flushes, total.errors
            )
        }
        (None, Some(pid)) if entry.server_alive == Some(true) => format!("  pid {pid}"),
        (None, Some(pid)) => out::bad(&format!("  pid {pid} is gone")),
        (None, None) => out::caution("  no server"),
    }
}
