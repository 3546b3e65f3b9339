//! What a server's end means for its device: options of `ublk add`, and the way out for a server that leaves its
//! device to the next one.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use ublk::device::Recovery;
use ublk::queue::CounterSnapshot;
use ublk::server::{DetachError, Server, ServerBuilder, StartError, Wake};

use crate::cli::CommonArgs;
use crate::exit::Failure;
use crate::out;

#[derive(Debug, Args)]
pub(crate) struct LifeArgs {
    /// What becomes of the device when its server goes away.
    #[arg(long, value_enum)]
    recovery: Option<RecoveryArg>,
    /// Leave the device to the next server when told to stop; needs a recovery.
    #[arg(long)]
    keep: bool,
    /// A device for a user without CAP_SYS_ADMIN.
    #[arg(long, conflicts_with = "recovery")]
    pub(crate) unprivileged: bool,
    /// From `ublk recover`: the device is there already.
    #[arg(skip)]
    pub(crate) takeover: Option<Takeover>,
}

/// Which device to take over, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeover {
    pub(crate) id: u32,
    pub(crate) replace: bool,
    pub(crate) wait: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RecoveryArg {
    /// The disk goes with its server.
    None,
    /// Requests the server had fail, new ones wait for the next server.
    Plain,
    /// Requests the server had go to the next one, new ones wait for it.
    Reissue,
    /// Requests fail until the next server is there.
    FailIo,
}

impl LifeArgs {
    pub(crate) fn recovery(&self) -> Recovery {
        match self.recovery {
            None | Some(RecoveryArg::None) => Recovery::None,
            Some(RecoveryArg::Plain) => Recovery::Plain,
            Some(RecoveryArg::Reissue) => Recovery::Reissue,
            Some(RecoveryArg::FailIo) => Recovery::FailIo,
        }
    }

    /// Adds the device, or takes it over.
    pub(crate) fn start(&self, builder: ServerBuilder) -> Result<Server, StartError> {
        let Some(Takeover { id, replace, wait }) = self.takeover else { return builder.start() };
        let takeover = builder.recover(id).wait(wait);
        if replace { takeover.replace().start() } else { takeover.start() }
    }

    /// Whether a server that was woken by that leaves its device.
    pub(crate) fn leaves(&self, wake: Option<Wake>) -> bool {
        match wake {
            Some(Wake::DeviceQuiesced) => true,
            Some(Wake::DeviceStopped) => false,
            _ => self.keep,
        }
    }

    /// Says what is wrong with the options before anything is done.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let recovers = self.takeover.is_some() || self.recovery() != Recovery::None;
        if self.keep && !recovers {
            return Err(Failure::usage("--keep needs a recovery").with_hint("--recovery plain"));
        }
        Ok(())
    }
}

/// Options of `ublk add` that a device has settled already.
pub(crate) fn check_settled(common: &CommonArgs) -> Result<(), Failure> {
    let given = [
        (common.id.is_some(), "--id"),
        (common.queues.is_some(), "--queues"),
        (common.depth.is_some(), "--depth"),
        (common.block_size.is_some(), "--block-size"),
        (common.max_io_size.is_some(), "--max-io-size"),
        (common.life.recovery.is_some(), "--recovery"),
        (common.life.unprivileged, "--unprivileged"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(Failure::usage(format!("the device has its {option} already"))),
        None => Ok(()),
    }
}

/// What `--json` reports of a server that left its device.
#[derive(Serialize)]
#[serde(tag = "event", rename = "detached", rename_all = "kebab-case")]
struct Detached {
    id: u32,
    /// Why: `signal`, `device-quiesced` or `queue-failed`.
    reason: &'static str,
    /// Whether every request was answered first.
    quiesced: bool,
    elapsed_ms: u64,
    failures: Vec<String>,
    total: CounterSnapshot,
    counters: Vec<CounterSnapshot>,
}

/// Ends a server and leaves its device. Where the kernel cannot quiesce it, the end of this process is what ends the
/// server, and comes right after.
pub(crate) fn leave(server: Server, wake: Option<Wake>, args: &CommonArgs) -> Result<(), Failure> {
    let begin = Instant::now();
    let counters = server.counters();
    let (id, quiesced, counters, failures) = match server.detach(args.stop_timeout) {
        Ok(report) => (report.id, report.quiesced, report.counters, report.failures),
        Err(DetachError::CannotQuiesce { server, .. }) => {
            (server.abandon(), false, counters, Vec::new())
        }
        Err(error) => return Err(Failure::failed(error)),
    };
    let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
    if args.json {
        out::json(&Detached {
            id,
            reason: match wake {
                Some(Wake::DeviceQuiesced) => "device-quiesced",
                Some(Wake::QueueFailed) => "queue-failed",
                _ => "signal",
            },
            quiesced,
            elapsed_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
            failures: failures.clone(),
            total: CounterSnapshot::total(&counters),
            counters,
        })?;
    } else {
        out::line(&format!("left /dev/ublkb{id}; `ublk recover {id} ...` takes it over"))?;
    }
    failures.into_iter().next().map_or(Ok(()), |failure| Err(Failure::failed(failure)))
}
