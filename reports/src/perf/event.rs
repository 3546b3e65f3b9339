//! What the guest says while it measures: one JSON object a line.

use serde::{Deserialize, Serialize};

use super::plan::Cell;
use super::report::DeviceFacts;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerfLine {
    /// The plan's.
    pub nonce: String,
    /// Counts up from 0.
    pub seq: u64,
    /// What happened.
    pub event: PerfEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum PerfEvent {
    /// The guest has read the plan and begins.
    Ready {
        /// `uname -r`.
        kernel_release: String,
        /// CPUs online.
        cpus: u32,
    },
    /// The guest cannot work with the plan.
    Refused {
        /// Why.
        reason: String,
    },
    /// A visit begins.
    Started {
        /// Index of the visit.
        visit: usize,
    },
    /// The kernel or the image lacks what the subject needs.
    Skipped {
        /// Index of the visit.
        visit: usize,
        /// What was asked, and the answer.
        probe: String,
    },
    /// A visit came to its end.
    Measured {
        /// Index of the visit.
        visit: usize,
        /// What came of it.
        measured: Box<Measured>,
    },
    /// A visit broke off.
    Failed {
        /// Index of the visit.
        visit: usize,
        /// Why, with what the server said.
        reason: String,
    },
    /// A program of benches came to its end.
    Benched {
        /// Index of the program.
        bench: usize,
        /// What it printed.
        output: String,
    },
    /// A program of benches broke off.
    BenchFailed {
        /// Index of the program.
        bench: usize,
        /// Why, with what it said.
        reason: String,
    },
    /// All visits and benches are done.
    Finished,
}

/// What a visit brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How the start went; none for a subject without a server.
    pub start_up: Option<StartUp>,
    /// How the end went; none for a subject without a server.
    pub stop_ns: Option<u64>,
    /// Memory of the server when its device was there and, where the visit measures, had served: what is
    /// resident, in bytes.
    pub resident_bytes: Option<u64>,
    /// From the start of the program that takes over to the first read it serves, in nanoseconds of guest
    /// time, after the first server was killed; none where the visit does not ask for it.
    pub recovery_ns: Option<u64>,
    /// What the kernel says of the device; none where nobody looked.
    pub device: Option<DeviceFacts>,
    /// What fio printed; none where the visit has no job file.
    pub fio: Option<String>,
    /// Costs, for each cell that was to be counted.
    pub counted: Vec<Counted>,
    /// Context switches of all threads of the server while nothing was asked of it.
    pub idle_switches: Option<u64>,
}

/// The start of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartUp {
    /// From the start of the program to the device that can be opened, in nanoseconds of guest time.
    pub elapsed_ns: u64,
    /// Allocations until then; none where they are not counted.
    pub allocations: Option<u64>,
}

/// What one cell cost the server, over all its threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The cell.
    pub cell: Option<Cell>,
    /// What fio printed.
    pub fio: String,
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// `futex` calls.
    pub futexes: u64,
    /// All system calls.
    pub syscalls: u64,
    /// Times a thread waited.
    pub voluntary_switches: u64,
    /// Times a thread was made to wait.
    pub involuntary_switches: u64,
    /// Calls of allocating functions; none where they are not counted.
    pub allocations: Option<u64>,
    /// The same once more without any tracing, for what a tracer would make dearer.
    pub untraced: Option<Untraced>,
}

/// What a cell costs while nothing is traced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Untraced {
    /// What fio printed.
    pub fio: String,
    /// CPU time of all threads of the server, in user space and in the kernel, in nanoseconds.
    pub server_cpu_ns: u64,
}
