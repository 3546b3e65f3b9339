//! `ublk add`: a server in the foreground.

use serde::Serialize;
use ublk::queue::CounterSnapshot;
use ublk::server::{Server, ServerBuilder, StartError, StopReport, Wake};
use ublk::target::{FileOptions, FileTarget, FileTargetError, NullTarget, RamTarget, Target};

use crate::cli::{AddArgs, CommonArgs, TargetArgs};
use crate::exit::{Exit, Failure};
use crate::{out, signals, size};

/// What `--json` reports, one a line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Live {
        id: u32,
        block_device: String,
        char_device: String,
        pid: u32,
        queues: u16,
        depth: u16,
        target: &'static str,
        size_bytes: u64,
        socket: Option<String>,
    },
    Stopped {
        id: u32,
        /// Why: `signal`, `device-stopped` or `queue-failed`.
        reason: &'static str,
        forced: bool,
        elapsed_ms: u64,
        failures: Vec<String>,
        total: CounterSnapshot,
        counters: Vec<CounterSnapshot>,
    },
}

/// Serves a device until it is stopped.
pub(crate) fn run(args: AddArgs) -> Result<(), Failure> {
    match args.target {
        TargetArgs::Null { size, untouched, common } => {
            let target =
                if untouched { NullTarget::untouched(size) } else { NullTarget::new(size) };
            serve("null", target, &common)
        }
        TargetArgs::Ram { size, common } => {
            let target = RamTarget::new(size).map_err(Failure::usage)?;
            serve("ram", target, &common)
        }
        TargetArgs::File { path, size, direct, common } => {
            let mut options = FileOptions::new(path).direct(direct).read_only(common.read_only);
            if let Some(size) = size {
                options = options.size_bytes(size);
            }
            let target = FileTarget::open(options).map_err(|error| match error {
                FileTargetError::Empty { .. } => Failure::usage(error).with_hint("--size 64M"),
                error => Failure::failed(error),
            })?;
            serve("file", target, &common)
        }
    }
}

fn builder(name: &str, target: impl Target + 'static, args: &CommonArgs) -> ServerBuilder {
    let mut builder = Server::builder(target)
        .target_name(name)
        .queues(args.queues)
        .depth(args.depth)
        .max_io_bytes(args.max_io_size)
        .features(args.data_mode.features())
        .read_only(args.read_only)
        .start_timeout(args.start_timeout);
    if let Some(id) = args.id {
        builder = builder.id(id);
    }
    if let Some(bytes) = args.block_size {
        builder = builder.logical_block_bytes(bytes);
    }
    if let Some(path) = &args.socket {
        builder = builder.socket(path);
    }
    if args.no_socket { builder.no_socket() } else { builder }
}

fn serve(
    name: &'static str,
    target: impl Target + 'static,
    args: &CommonArgs,
) -> Result<(), Failure> {
    let builder = builder(name, target, args);
    // Before the device is there, so that there is no moment at which a signal would leave one behind.
    let stop = builder.stop_handle();
    signals::on_first(move || stop.request_stop())?;
    let server = builder.start().map_err(start_failure)?;
    let id = server.info().dev_id;
    if let Err(error) = server.socket_path() {
        out::warn(&format!("`ublk list` will show no counters of device {id}: {error}"));
    }
    // A script that started us and went away still wants its device: serve on.
    match announce(name, &server, args.json) {
        Ok(()) | Err(Failure::BrokenPipe) => {}
        Err(failure) => return Err(failure),
    }
    let wake = server.wait(None);
    let report = server.stop(args.stop_timeout).map_err(Failure::failed)?;
    finish(id, wake, &report, args.json)
}

fn announce(name: &'static str, server: &Server, json: bool) -> Result<(), Failure> {
    let info = server.info();
    let size_bytes = server.status().params.size_bytes;
    let block_device = server.block_device_path().display().to_string();
    if json {
        let socket = server.socket_path().ok().flatten();
        return out::json(&Event::Live {
            id: info.dev_id,
            block_device,
            char_device: server.char_device_path().display().to_string(),
            pid: std::process::id(),
            queues: info.nr_hw_queues,
            depth: info.queue_depth,
            target: name,
            size_bytes,
            socket: socket.map(|path| path.display().to_string()),
        });
    }
    let (queues, depth) = (info.nr_hw_queues, info.queue_depth);
    let plural = if queues == 1 { "" } else { "s" };
    out::line(&format!(
        "serving {block_device} ({name}, {}, {queues} queue{plural} x {depth}); stop with Ctrl-C",
        size::format(size_bytes)
    ))
}

fn finish(id: u32, wake: Option<Wake>, report: &StopReport, json: bool) -> Result<(), Failure> {
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    let total = report.total();
    let reason = match wake {
        Some(Wake::DeviceStopped) => "device-stopped",
        Some(Wake::QueueFailed) => "queue-failed",
        _ => "signal",
    };
    if json {
        out::json(&Event::Stopped {
            id,
            reason,
            forced: report.forced,
            elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
            failures: failures.clone(),
            total,
            counters: report.counters.clone(),
        })?;
    } else {
        out::line(&format!(
            "stopped /dev/ublkb{id}: {} reads ({}), {} writes ({}), {} flushes, {} errors",
            total.reads,
            size::format(total.bytes_read),
            total.writes,
            size::format(total.bytes_written),
            total.flushes,
            total.errors
        ))?;
    }
    match failures.into_iter().next() {
        Some(failure) => Err(Failure::failed(failure)),
        None if report.forced => {
            Err(Failure::failed("requests in flight were given up at the stop timeout"))
        }
        None => Ok(()),
    }
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Driver(error) => Failure::driver(&error),
        StartError::Params(error) => Failure::usage(error),
        StartError::Device(error) => Failure::device(&error),
        error => Failure::Failed { exit: Exit::Failed, message: error.to_string(), hint: None },
    }
}
