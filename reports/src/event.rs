//! The one stream of events of a run: what the guest said, and what the host saw.
//!
//! The guest writes [`GuestLine`]s as JSON, one a line, on the virtio-serial port. The host appends them
//! unparsed to a list of [`Record`]s together with what it observed itself (boots, exits, the console).
//! Unparsed, because a line that does not parse is a finding of the fold, not something for the
//! transport to swallow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::abilities::Abilities;

/// One line from the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GuestLine {
    /// The plan's nonce; a line with another one is a violation.
    pub nonce: String,
    /// 0, 1, 2, ... within one boot; a gap or a repetition is a violation.
    pub seq: u64,
    /// Milliseconds since the guest's boot.
    pub guest_ms: u64,
    /// What happened.
    pub event: GuestEvent,
}

/// What the agent in the guest reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum GuestEvent {
    /// The agent runs, has read the plan and knows every scenario in it.
    Ready(Box<GuestFacts>),
    /// The agent cannot do the plan at all.
    Refused {
        /// Why, as a one-line sentence fragment.
        reason: String,
    },
    /// The process of a scenario is about to be started.
    ScenarioStarted {
        /// Catalogue id.
        id: String,
    },
    /// A line of progress of a scenario.
    Step {
        /// Catalogue id.
        id: String,
        /// What it is doing.
        text: String,
    },
    /// Something worth keeping beside the verdict.
    Evidence {
        /// Catalogue id.
        id: String,
        /// Short name, as `blocked-tasks` or `fio-json`; also the artifact's file name.
        name: String,
        /// Text, cut at the budget's limit.
        text: String,
    },
    /// What the scenario made the driver do, where that was asked for and the kernel counts it.
    Counters {
        /// Catalogue id.
        id: String,
        /// gcov's file of the driver's counters since the last time, deflated, in base64.
        gcda: String,
    },
    /// The scenario's process has ended or was given up, and the kernel was examined.
    ScenarioFinished {
        /// Catalogue id.
        id: String,
        /// How the scenario itself ended.
        outcome: Outcome,
        /// Wall-clock milliseconds.
        duration_ms: u64,
        /// What the kernel-health check found after it; empty is healthy.
        health: Vec<HealthFinding>,
    },
    /// The agent stops; nothing follows but power-off.
    Finished {
        /// Number of `ScenarioFinished` sent in this boot.
        reported: u32,
        /// Whether the agent stopped before the plan's end: the kernel is not to be trusted, or it was told to.
        stopped_early: bool,
    },
}

/// What the guest is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GuestFacts {
    /// [`crate::plan::PROTOCOL_VERSION`] of the agent.
    pub protocol_version: u32,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// Kernel command line.
    pub cmdline: String,
    /// CPUs online.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Answer to `UBLK_U_CMD_GET_FEATURES`, or the errno.
    pub ublk_features: Option<u64>,
    /// What else the kernel was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abilities: Option<Abilities>,
    /// Milliseconds from the guest's boot to this message.
    pub boot_ms: u64,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every check held. `checks` is never 0: a scenario that checked nothing is reported as `Error`.
    Pass {
        /// Number of checks that were made.
        checks: u64,
        /// What was shown, with numbers.
        summary: String,
    },
    /// A property did not hold.
    Fail {
        /// What sort of property.
        failure: FailureKind,
        /// Expected and observed.
        message: String,
    },
    /// The scenario cannot run here.
    Skip {
        /// What was asked, as `GET_FEATURES bit 7` or `kernel config BLK_DEV_NULL_BLK`.
        probe: String,
        /// What the answer was.
        reason: String,
    },
    /// The scenario could not do its work for a reason that is not the subject's.
    Error {
        /// What went wrong.
        message: String,
    },
    /// The process of the scenario outlived its budget.
    Hang {
        /// Milliseconds after which it was given up.
        after_ms: u64,
        /// Whether its processes could be killed afterwards; if not they are stuck in the kernel.
        killable: bool,
    },
    /// The process of the scenario died without saying how it ended.
    Died {
        /// `signal 11`, `exit code 101`.
        how: String,
    },
}

/// What sort of property did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Another errno or result than the model of this kernel predicts.
    Errno,
    /// Bytes differ from the reference.
    DataMismatch,
    /// A completion came that should not, or did not come in time.
    Completion,
    /// A node, state, sysfs value or counter is not what it should be.
    State,
    /// Something was left behind: a process, a node, a descriptor.
    Leak,
    /// A command that had to work did not.
    Operation,
    /// A panic inside the scenario itself.
    Panic,
}

/// One finding of the kernel-health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthFinding {
    /// What sort.
    pub kind: HealthKind,
    /// The first line, and up to ten lines around it.
    pub text: String,
}

/// What the kernel-health check looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthKind {
    /// `BUG:`, `Oops:`, `general protection fault`.
    Oops,
    /// `Kernel panic`.
    Panic,
    /// `WARNING:`.
    Warning,
    /// `UBSAN:`.
    Ubsan,
    /// `BUG: KASAN:` and its relatives.
    Kasan,
    /// Lock validator reports.
    Lockdep,
    /// RCU stall or soft/hard lockup.
    Stall,
    /// `INFO: task ... blocked for more than`.
    HungTask,
    /// A user-space process died of a fault.
    Segfault,
    /// A `/dev/ublkc*`, `/dev/ublkb*` or `/sys` node that the scenario did not remove.
    LeakedDevice,
    /// A process in uninterruptible sleep that outlived the scenario.
    StuckProcess,
    /// The check itself could not be made; that is never a clean bill of health.
    CheckerBroken,
}

impl HealthKind {
    /// Whether the kernel must not be used for another scenario after this.
    #[must_use]
    pub const fn spoils_kernel(self) -> bool {
        !matches!(self, Self::Segfault)
    }
}

/// One entry of the run's record, as written to `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Milliseconds since the run began, by the host's monotonic clock.
    pub at_ms: u64,
    /// Index of the kernel in the run.
    pub kernel: u32,
    /// Index of the boot of that kernel, from 0.
    pub boot: u32,
    /// What was seen.
    pub seen: Seen,
}

/// What the host saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Seen {
    /// A boot begins.
    BootStarted {
        /// Nonce of the plan of this boot.
        nonce: String,
        /// Ids of the scenarios of this boot's plan, in order.
        planned: Vec<String>,
        /// Which part of its kernel's plan, from 0. Parts run side by side; the boots of one part do not.
        #[serde(default)]
        shard: u32,
    },
    /// A line from the virtio-serial port, without its newline, unparsed.
    Line {
        /// The line.
        text: String,
    },
    /// The virtual machine is gone.
    BootEnded {
        /// Why.
        end: BootEnd,
        /// What the console says about a crash, or its last lines.
        console: String,
        /// Whether `console` holds a kernel panic, oops or BUG.
        console_splat: bool,
        /// Whether another boot is made because the agent never got ready. Counted and shown.
        retried: bool,
    },
}

/// Why a virtual machine is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BootEnd {
    /// QEMU exited by itself. Says nothing about success.
    Exited {
        /// Exit code or signal, as text.
        status: String,
    },
    /// The host ended it at its deadline.
    Deadline {
        /// Which deadline, as `boot` or `scenario startup/x`.
        which: String,
    },
    /// The host ended it because the user asked (Ctrl-C, SIGTERM).
    Interrupted,
    /// QEMU could not be started or talked to.
    Infrastructure {
        /// Why.
        reason: String,
    },
}

/// What the process of a scenario writes on its standard output for the agent, one JSON a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ScenarioLine {
    /// A line of progress.
    Step {
        /// What it is doing.
        text: String,
    },
    /// Something worth keeping.
    Evidence {
        /// Short name.
        name: String,
        /// Text.
        text: String,
    },
    /// How it ended; the last line.
    Outcome {
        /// The outcome.
        outcome: Outcome,
    },
}
