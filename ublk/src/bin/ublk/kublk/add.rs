//! `add` and `recover`: a server that goes into the background once its device is live, and leaves the
//! device as it is when it ends: other commands of the scripts stop and delete it.

use std::time::Duration;

use ublk::device::Recovery;
use ublk::server::{Server, ServerBuilder, StartError};
use ublk::uapi::Features;

use super::commands::control;
use super::options::Options;
use super::set_params::MAX_IO_BYTES;
use super::targets::{self, Chosen};
use super::{dump, halffetch};
use crate::daemon::{DaemonArgs, Herald, launch};
use crate::exit::{Exit, Failure};
use crate::plane::open_shared;

/// Largest numbers the original takes.
const QUEUES_MAX: u16 = 32;
const DEPTH_MAX: u16 = 1024;
const THREADS_MAX: u16 = 32;

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long `recover` waits for the old server to be quite gone.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// The original's daemon has no log and no file with its number.
const DAEMON: DaemonArgs = DaemonArgs { daemon: true, log: None, pidfile: None };

/// Whether the device is made or taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Add,
    Recover,
}

/// Serves a device until somebody stops it.
pub(super) fn run(options: &Options, kind: Kind, herald: &Herald) -> Result<(), Failure> {
    check(options, kind)?;
    if !options.foreground && !herald.is_daemon() {
        return launch(&DAEMON, START_LIMIT);
    }
    // Scripts and people look for a process of that name; it is no reason to fail.
    let _ = nix::sys::prctl::set_name(c"kublk");
    let chosen = targets::choose(options)?;
    if chosen.die_during_fetch {
        return halffetch::run(options, kind);
    }
    let builder = builder(options, chosen)?;
    let server = start(options, kind, builder).map_err(start_failure)?;
    let id = server.info().dev_id;
    let text = dump::device(&mut control()?, id).map_err(|error| Failure::control(&error))?;
    if !(options.quiet && options.foreground) {
        herald.live(&text, &DAEMON)?;
    }
    server.wait(None);
    // Not dropped, which would stop and delete the device: it was stopped by somebody who goes on with
    // it, or quiesced for the next server.
    std::process::exit(0)
}

fn check(options: &Options, kind: Kind) -> Result<(), Failure> {
    if kind == Kind::Recover {
        options.number("recover")?;
    }
    let Options { queues, depth, .. } = *options;
    if !(1..=QUEUES_MAX).contains(&queues) || !(1..=DEPTH_MAX).contains(&depth) {
        let message =
            format!("{queues} queues of depth {depth}: at most {QUEUES_MAX}, {DEPTH_MAX}");
        return Err(Failure::usage(message));
    }
    let threads = options.threads.unwrap_or(queues);
    if threads > THREADS_MAX {
        return Err(Failure::usage(format!("{threads} threads, at most {THREADS_MAX}")));
    }
    let free = options.per_io_tasks || options.features.contains(Features::BATCH_IO);
    if threads != queues && !free {
        let message = format!("{threads} threads for {queues} queues need per_io_tasks or batch");
        return Err(Failure::usage(message));
    }
    Ok(())
}

fn start(options: &Options, kind: Kind, builder: ServerBuilder) -> Result<Server, StartError> {
    match (kind, options.number) {
        (Kind::Recover, Some(id)) => builder.recover(id).wait(GONE_LIMIT).start(),
        (_, Some(id)) => builder.id(id).start(),
        (_, None) => builder.start(),
    }
}

fn builder(options: &Options, chosen: Chosen) -> Result<ServerBuilder, Failure> {
    let Chosen { name, server, params, .. } = chosen;
    let recovery = Recovery::of(options.features);
    let integrity = targets::integrity(options);
    let mut builder = server
        .target_name(name)
        .queues(options.queues)
        .depth(options.depth)
        .max_io_bytes(MAX_IO_BYTES)
        .features(options.features)
        .recovery(recovery)
        .params(params)
        .threads(usize::from(options.threads.unwrap_or(options.queues)))
        .share_queues(options.per_io_tasks)
        .rotate_indices(options.rotate_auto_buf)
        .start_timeout(START_LIMIT)
        .no_socket();
    if let Some(path) = &options.htlb {
        builder = builder.shared_memory(open_shared(path, !options.rdonly_shmem_buf)?);
    }
    if let Some(bytes) = options.io_desc_size_bytes {
        builder = builder.io_desc_size_bytes(bytes);
    }
    if let Some(integrity) = integrity {
        builder = builder.params(|params| params.integrity(integrity));
    }
    Ok(builder)
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Driver(error) => Failure::driver(&error),
        StartError::Device(error) => Failure::device(&error),
        error => Failure::Failed { exit: Exit::Failed, message: error.to_string(), hint: None },
    }
}
