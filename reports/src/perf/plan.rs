//! What the guest is to measure, laid out by the host down to the order.

use serde::{Deserialize, Serialize};

/// The version of plan and lines; the guest refuses another.
pub const PERF_PROTOCOL_VERSION: u32 = 3;

/// A whole run in one virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerfPlan {
    /// [`PERF_PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// Repeated in every line, so that no other run's line can be taken for one of this.
    pub nonce: String,
    /// Everything that is measured.
    pub subjects: Vec<Subject>,
    /// What is done, in this order.
    pub visits: Vec<Visit>,
    /// Programs of criterion benches, run after the visits.
    pub benches: Vec<BenchRequest>,
}

/// A program of criterion benches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchRequest {
    /// Where it is in the guest.
    pub program: String,
    /// Its arguments; they have to ask for the output that [`BenchResult::parse`](super::BenchResult::parse)
    /// reads.
    pub arguments: Vec<String>,
}

/// What a subject is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Our server.
    Ours,
    /// The server that ratios refer to.
    Reference,
    /// Another server.
    Peer,
    /// A block device without a server: what is left when serving costs nothing.
    Limit,
}

/// One thing to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Name of the program, as `ublk`, `kublk`, `null_blk`.
    pub name: String,
    /// Data mode, as `copy`; subjects of one mode are compared with each other.
    pub mode: String,
    /// Its part in the comparison.
    pub role: Role,
    /// `UBLK_F_*` bits that the kernel must offer; without them the subject is skipped.
    pub features: u64,
    /// How it gets there.
    pub launch: Launch,
    /// The block device that is then there.
    pub device: String,
    /// What it serves, as `null` or `file`, where subjects are compared by that.
    pub target: Option<String>,
    /// What it has to show before it is measured. Where something is asked, a subject that is not ours and does
    /// not start is skipped, and one that gives a wrong answer is an error.
    pub proof: Option<Proof>,
}

/// What a device has to show, so that all that are compared do the same work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Proof {
    /// It answers reads and writes up to this length, and may forget.
    Answers {
        /// The least it may have.
        len_bytes_min: u64,
    },
    /// It gives back what was written, and is as long as this.
    Remembers {
        /// Its length.
        len_bytes: u64,
    },
    /// It shows this file, and what is written to it is in the file. The file is made before the start, filled
    /// with a pattern, and removed after the end.
    Shows {
        /// The file.
        path: String,
        /// Its length, and the device's.
        len_bytes: u64,
    },
}

impl Subject {
    /// Name and mode, as `kublk/copy`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.mode)
    }
}

/// How a block device comes to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Launch {
    /// A ublk server; it may stay in the foreground or not.
    Server {
        /// Program and arguments.
        argv: Vec<String>,
        /// The device's number, which the arguments ask for.
        id: u32,
        /// Where the program's allocating functions are, as offsets in its file: what is called there is
        /// an allocation. Empty where that is not known.
        allocators: Vec<u64>,
    },
    /// A kernel module that makes the device when it is loaded.
    Module {
        /// Its name.
        module: String,
        /// Its parameters.
        parameters: String,
        /// Files and what is written into them once it is loaded.
        settings: Vec<(String, String)>,
    },
    /// A loop device over a file in memory.
    Loop {
        /// Length of the file; it is made, unless a proof has made it.
        len_bytes: u64,
        /// Whether the page cache is passed by.
        direct: bool,
    },
    /// A network block device whose server is reached through a socket in the file system.
    Nbd {
        /// The server, which stays in the foreground.
        server: Vec<String>,
        /// The program that connects the device to it and ends.
        connect: Vec<String>,
        /// The program that takes the device from it.
        disconnect: Vec<String>,
        /// Files that the server reads, and what is in them.
        files: Vec<(String, String)>,
        /// The socket.
        socket: String,
    },
}

/// One subject, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Index in [`PerfPlan::subjects`].
    pub subject: usize,
    /// Arguments appended to a server's, for visits that vary one thing.
    pub extra_argv: Vec<String>,
    /// The fio job file that measures the cells; none where only the start matters.
    pub job_file: Option<String>,
    /// What is counted beside it, after the measuring.
    pub count: Option<CountRequest>,
    /// Tags of the device, for the start-up table; the guest does not look at it.
    pub depth: u16,
    /// The program that takes the device over after its server was killed, and its arguments; none where
    /// nobody is killed.
    pub recover_argv: Option<Vec<String>>,
}

/// Counting runs apart from measuring, because a traced system call is a slower one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountRequest {
    /// One fio job file for each cell that is counted, with the cell.
    pub jobs: Vec<(Cell, String)>,
    /// How long the idle server is watched, in guest time.
    pub idle_ms: u64,
}

/// What a cell does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Random reads.
    Read,
    /// Random writes.
    Write,
}

/// Length of an I/O where nothing else is asked for.
pub const BLOCK_BYTES: u32 = 4096;

const fn block_bytes() -> u32 {
    BLOCK_BYTES
}

/// One cell of the table: blocks at random, always that many in flight.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Cell {
    /// What is done.
    pub operation: Operation,
    /// I/Os in flight, over all jobs.
    pub depth: u16,
    /// Jobs that share them; each has a queue of its own where there are enough.
    pub jobs: u16,
    /// Length of each I/O.
    #[serde(default = "block_bytes")]
    pub block_bytes: u32,
}

impl Cell {
    /// One job, 4 KiB.
    #[must_use]
    pub const fn new(operation: Operation, depth: u16) -> Self {
        Self { operation, depth, jobs: 1, block_bytes: BLOCK_BYTES }
    }

    /// Its name, also in fio's output: `read-qd32`, `write-qd32-jobs4`, `read-64k-qd1`.
    #[must_use]
    pub fn name(&self) -> String {
        let operation = match self.operation {
            Operation::Read => "read",
            Operation::Write => "write",
        };
        let size = match self.block_bytes {
            BLOCK_BYTES => String::new(),
            bytes if bytes % 1024 == 0 => format!("-{}k", bytes / 1024),
            bytes => format!("-{bytes}b"),
        };
        match self.jobs {
            0 | 1 => format!("{operation}{size}-qd{}", self.depth),
            jobs => format!("{operation}{size}-qd{}-jobs{jobs}", self.depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_told_apart_by_name() {
        let cell = Cell::new(Operation::Read, 32);
        assert_eq!(cell.name(), "read-qd32");
        assert_eq!(Cell { block_bytes: 65536, ..cell }.name(), "read-64k-qd32");
        assert_eq!(Cell { block_bytes: 512, ..cell }.name(), "read-512b-qd32");
        assert_eq!(Cell { jobs: 4, ..cell }.name(), "read-qd32-jobs4");
    }
}
