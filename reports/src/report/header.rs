//! Where a run comes from: enough to do it again somewhere else.
//!
//! The host fills these in before the first boot; the fold copies them and judges nothing by them but
//! the guest's kernel release.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::partition::Partition;

/// Who ran what, where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunHeader {
    /// Name of the run, also of its folder.
    pub run_id: String,
    /// Seed from which every random choice is derived.
    pub seed: u64,
    /// Commit of this workspace, where it is known.
    pub commit: Option<String>,
    /// Whether the work tree differs from that commit.
    pub dirty: bool,
    /// Milliseconds since 1970-01-01 UTC.
    pub started_at_unix_ms: u64,
    /// The command as it was typed, one entry a word.
    pub command_line: Vec<String>,
    /// Which part of a run this is, where several hosts share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Whose server was tested, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFacts>,
    /// What executes the guest's instructions.
    pub accelerator: Accelerator,
    /// Which QEMU.
    pub qemu: QemuFacts,
    /// The machine QEMU runs on.
    pub host: HostFacts,
}

/// Whose server was tested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerFacts {
    /// As its adapter names it.
    pub name: String,
    /// What was typed: the same name, or the adapter's file.
    pub argument: String,
    /// Release or origin of its program, where that is known.
    pub version: Option<String>,
    /// SHA-256 of its program, in hex.
    pub program_sha256: String,
}

impl std::fmt::Display for ServerFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(f, " {version}"))
    }
}

/// What executes the guest's instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accelerator {
    /// `kvm` or `tcg`.
    pub name: String,
    /// Why it was chosen, as `kvm did not boot a probe within 2 s`.
    pub reason: String,
}

/// Which QEMU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QemuFacts {
    /// As `10.0.2`.
    pub version: String,
    /// Where it comes from, as `PATH`, `--qemu` or a package with its version.
    pub origin: String,
    /// SHA-256 of the executable, in hex.
    pub sha256: Option<String>,
}

/// The machine QEMU runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// As `Debian GNU/Linux 13`.
    pub os: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// CPU model.
    pub cpu_model: String,
    /// CPUs online.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// Which kernel, and what its image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelHeader {
    /// As it was typed: `7.3`, `newest`, a path.
    pub spec: String,
    /// The resolved release as `uname -r` prints it; the guest has to say the same. Nothing where a
    /// kernel was given as a file.
    pub release: Option<String>,
    /// Every package the image is made of.
    pub packages: Vec<LockEntry>,
    /// SHA-256 of the kernel's config, in hex.
    pub config_sha256: Option<String>,
    /// SHA-256 of the guest image, in hex; nothing where it could not be made.
    pub image_sha256: Option<String>,
    /// What the kernel was built to watch itself with, as `kasan`; empty for a distribution's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instruments: Vec<String>,
    /// The guest's architecture as `--arch` names it; nothing where it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
}

/// One downloaded or given file, by content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockEntry {
    /// Package or file name.
    pub name: String,
    /// Package version; empty for a plain file.
    pub version: String,
    /// SHA-256, in hex.
    pub sha256: String,
    /// Suite or source, as `trixie-backports main`.
    pub origin: String,
}
