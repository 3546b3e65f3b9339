//! `ublk add`: a server, in the foreground or as a daemon.

use serde::Serialize;
use ublk::queue::CounterSnapshot;
use ublk::server::{Server, ServerBuilder, StartError, StopReport, Wake};
use ublk::target::{FaultTarget, Target};

use crate::cli::{AddArgs, CommonArgs};
use crate::daemon::{self, Herald};
use crate::exit::{Exit, Failure};
use crate::pidfile::PidFile;
use crate::targets::TargetArgs;
use crate::{life, out, signals, size};

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

/// Serves a device until it is stopped, or starts the daemon that does.
pub(crate) fn run(args: &AddArgs, herald: &Herald) -> Result<(), Failure> {
    let common = args.target.common();
    common.life.check()?;
    if common.daemon.daemon && !herald.is_daemon() {
        return daemon::launch(&common.daemon, common.start_timeout);
    }
    match &args.target {
        TargetArgs::Null(args) => serve("null", args.open(), &args.common, herald),
        TargetArgs::Ram(args) => match args.open_with_metadata()? {
            Some(target) => serve("ram", target, &args.common, herald),
            None => serve("ram", args.open()?, &args.common, herald),
        },
        TargetArgs::File(args) => serve("file", args.open()?, &args.common, herald),
        TargetArgs::Zoned(args) => serve("zoned", args.open()?, &args.common, herald),
        TargetArgs::Cow(args) => serve("cow", args.open()?, &args.common, herald),
        TargetArgs::Stripe(args) => serve("stripe", args.open()?, &args.common, herald),
    }
}

fn builder(
    name: &str,
    target: impl Target + 'static,
    args: &CommonArgs,
) -> Result<ServerBuilder, Failure> {
    let mut builder = Server::builder(target)
        .target_name(name)
        .read_only(args.read_only)
        .recovery(args.life.recovery())
        .unprivileged(args.life.unprivileged)
        .start_timeout(args.start_timeout)
        .latency(args.latency);
    if let Some(id) = args.id {
        builder = builder.id(id);
    }
    if let Some(queues) = args.queues {
        builder = builder.queues(queues);
    }
    if let Some(depth) = args.depth {
        builder = builder.depth(depth);
    }
    if let Some(bytes) = args.max_io_size {
        builder = builder.max_io_bytes(bytes);
    }
    if let Some(bytes) = args.block_size {
        builder = builder.logical_block_bytes(bytes);
    }
    if let Some(path) = &args.socket {
        // A daemon goes to another directory before the socket is removed again.
        builder = builder.socket(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    }
    builder = args.plane.apply(builder)?;
    Ok(if args.no_socket { builder.no_socket() } else { builder })
}

fn serve(
    name: &'static str,
    target: impl Target + 'static,
    args: &CommonArgs,
    herald: &Herald,
) -> Result<(), Failure> {
    // Removed when everything else is over; and refused before anything else is done.
    let _pidfile = args.daemon.pidfile.as_deref().map(PidFile::create).transpose()?;
    let builder = if args.faults.is_empty() {
        builder(name, target, args)?
    } else {
        builder(name, FaultTarget::new(target, args.faults.clone()), args)?
    };
    // Before the device is there, so that there is no moment at which a signal would leave one behind.
    let stop = builder.stop_handle();
    signals::on_first(move || stop.request_stop())?;
    let server = args.life.start(builder).map_err(start_failure)?;
    let id = server.info().dev_id;
    if let Err(error) = server.socket_path() {
        out::warn(&format!("`ublk list` will show no counters of device {id}: {error}"));
    }
    // A script that started us and went away still wants its device: serve on.
    match announce(name, &server, args, herald) {
        Ok(()) | Err(Failure::BrokenPipe) => {}
        Err(failure) => return Err(failure),
    }
    let wake = server.wait(None);
    if args.life.leaves(wake) {
        return life::leave(server, wake, args);
    }
    let report = server.stop(args.stop_timeout).map_err(Failure::failed)?;
    finish(id, wake, &report, args.json)
}

fn announce(
    name: &'static str,
    server: &Server,
    args: &CommonArgs,
    herald: &Herald,
) -> Result<(), Failure> {
    let info = server.info();
    let (id, pid) = (info.dev_id, std::process::id());
    let (queues, depth) = (info.nr_hw_queues, info.queue_depth);
    let size_bytes = server.status().params.size_bytes;
    let block_device = server.block_device_path().display().to_string();
    let line = if args.json {
        let socket = server.socket_path().ok().flatten();
        serde_json::to_string(&Event::Live {
            id,
            block_device,
            char_device: server.char_device_path().display().to_string(),
            pid,
            queues,
            depth,
            target: name,
            size_bytes,
            socket: socket.map(|path| path.display().to_string()),
        })
        .map_err(Failure::failed)?
    } else {
        let size = size::format(size_bytes);
        let plural = if queues == 1 { "" } else { "s" };
        let stop = if herald.is_daemon() {
            format!("process {pid}, stop with `ublk del {id}`")
        } else {
            "stop with Ctrl-C".into()
        };
        format!("serving {block_device} ({name}, {size}, {queues} queue{plural} x {depth}); {stop}")
    };
    herald.live(&line, &args.daemon)
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
        StartError::Mismatch(error) => Failure::usage(error),
        StartError::Device(error) => Failure::device(&error),
        error => Failure::Failed { exit: Exit::Failed, message: error.to_string(), hint: None },
    }
}
