//! Loads the recorded streams, so that every test speaks of the same runs.
//!
//! A stream is `name.jsonl` (the records, as in `events.jsonl`) beside `name.expect.json` (the plan, and
//! what must follow). Adding a case needs no code.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reports::event::Record;
use reports::plan::PlannedScenario;
use reports::report::{
    Accelerator, HostFacts, KernelHeader, LockEntry, QemuFacts, Report, RunErrorKind, RunHeader,
};
use reports::{KernelInput, RunInput, Status, fold};

/// What must follow from a stream.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// What happened, in a sentence.
    pub(crate) story: String,
    /// The plan of each kernel.
    pub(crate) planned: Vec<Vec<PlannedScenario>>,
    /// Whether the host was interrupted outside a boot.
    pub(crate) interrupted: bool,
    /// The run's status.
    pub(crate) status: Status,
    /// The run's exit code.
    pub(crate) exit_code: u8,
    /// `verdict` or `verdict/cause` of each scenario of each kernel.
    pub(crate) verdicts: Vec<BTreeMap<String, String>>,
    /// A part of each violation, in order; nothing where only their presence matters.
    pub(crate) violations: Option<Vec<String>>,
    /// The kind of each run error, in order.
    pub(crate) errors: Vec<RunErrorKind>,
}

/// A recorded stream.
pub(crate) struct Stream {
    pub(crate) records: Vec<Record>,
    pub(crate) expected: Expected,
}

impl Stream {
    /// Loads `name.jsonl`'s path and the expectation beside it.
    pub(crate) fn load(path: &Path) -> Self {
        let read = |path: &Path| {
            fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let text = read(path);
        // An empty stream is written as one empty line.
        let records = reports::parse_events(text.trim_start_matches('\n')).unwrap();
        let expected = serde_json::from_str(&read(&path.with_extension("expect.json"))).unwrap();
        Self { records, expected }
    }

    /// Loads the stream called `name`.
    pub(crate) fn named(name: &str) -> Self {
        Self::load(&folder("streams").join(format!("{name}.jsonl")))
    }

    /// The report that follows from the stream.
    pub(crate) fn fold(&self) -> Report {
        self.fold_records(&self.records)
    }

    /// The report that follows from other `records` under the same plan.
    pub(crate) fn fold_records(&self, records: &[Record]) -> Report {
        let kernels = kernels(&self.expected.planned);
        fold(&RunInput {
            run: &run_header(),
            kernels: &kernels,
            records,
            host_errors: &[],
            interrupted: self.expected.interrupted,
        })
    }
}

/// A folder of fixtures.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn kernels(planned: &[Vec<PlannedScenario>]) -> Vec<KernelInput> {
    let kernel = |planned: &Vec<PlannedScenario>| KernelInput {
        header: KernelHeader {
            spec: "7.3".into(),
            release: Some("7.3.4-cloud-amd64".into()),
            packages: vec![LockEntry {
                name: "linux-binary-7.3.4-cloud-amd64".into(),
                version: "7.3.4-1".into(),
                sha256: "ab".repeat(32),
                origin: "unstable main".into(),
            }],
            config_sha256: Some("cd".repeat(32)),
            image_sha256: Some("ef".repeat(32)),
            instruments: Vec::new(),
            arch: None,
        },
        planned: planned.clone(),
        whole: Vec::new(),
        setup_error: None,
    };
    planned.iter().map(kernel).collect()
}

/// A header with every field set.
pub(crate) fn run_header() -> RunHeader {
    RunHeader {
        run_id: "20260101-000000".into(),
        seed: 0x5eed,
        commit: Some("0123456789abcdef".into()),
        dirty: true,
        started_at_unix_ms: 1_767_225_600_000,
        command_line: vec!["vm-e2e".into(), "--kernel".into(), "7.3".into()],
        partition: None,
        server: None,
        accelerator: Accelerator { name: "tcg".into(), reason: "kvm does not boot".into() },
        qemu: QemuFacts {
            version: "10.0.2".into(),
            origin: "PATH".into(),
            sha256: Some("01".repeat(32)),
        },
        host: HostFacts {
            os: "Debian GNU/Linux 13".into(),
            kernel_release: "6.12.0".into(),
            cpu_model: "a CPU".into(),
            cpus: 2,
            memory_bytes: 1 << 34,
        },
    }
}

/// The records of one boot in which all of `planned` pass.
pub(crate) fn clean_boot(kernel: u32, planned: &[PlannedScenario]) -> Vec<Record> {
    use serde_json::json;
    let nonce = format!("{kernel:016x}");
    let ids: Vec<_> = planned.iter().map(|one| one.id.clone()).collect();
    let mut events = vec![json!({
        "type": "ready", "protocol_version": 1, "kernel_release": "7.3.4-cloud-amd64", "kernel_version": "#1",
        "cmdline": "console=ttyS0", "cpus": 2, "memory_bytes": 1_u64 << 30, "ublk_features": 16383, "boot_ms": 1900,
    })];
    for id in &ids {
        events.push(json!({"type": "scenario-started", "id": id}));
        events.push(json!({
            "type": "scenario-finished", "id": id, "duration_ms": 5, "health": [],
            "outcome": {"kind": "pass", "checks": 3, "summary": "3 checks held"},
        }));
    }
    events.push(json!({"type": "finished", "reported": ids.len(), "stopped_early": false}));
    let line = |(seq, event)| {
        let text = json!({"nonce": nonce, "seq": seq, "guest_ms": seq, "event": event}).to_string();
        json!({"type": "line", "text": text})
    };
    let mut seen = vec![json!({"type": "boot-started", "nonce": nonce, "planned": ids})];
    seen.extend((0_u64..).zip(events).map(line));
    seen.push(json!({
        "type": "boot-ended", "end": {"kind": "exited", "status": "exit code 0"}, "console": "",
        "console_splat": false, "retried": false,
    }));
    let base_ms = u64::from(kernel) * 1000;
    let record = |(at_ms, seen)| {
        let record = json!({"at_ms": base_ms + at_ms, "kernel": kernel, "boot": 0, "seen": seen});
        serde_json::from_value(record).unwrap()
    };
    (1_u64..).zip(seen).map(record).collect()
}
