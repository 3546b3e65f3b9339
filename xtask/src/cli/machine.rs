//! What every task that boots a machine takes: where kernel, QEMU and tools come from, and how the
//! machine is made.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use vmimage::arch::Arch;

/// Where things come from; shared by everything that boots a machine.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// Package archive to use instead of the one apt is configured for.
    #[arg(long, value_name = "URI", env = "UBLK_ARCHIVE", help_heading = "Sources")]
    pub(crate) archive: Option<String>,
    /// Suite of that archive, as `trixie-backports`.
    #[arg(long, value_name = "SUITE", env = "UBLK_SUITE", help_heading = "Sources")]
    pub(crate) suite: Option<String>,
    /// Keyring that signs that archive.
    #[arg(long, value_name = "FILE", env = "UBLK_KEYRING", help_heading = "Sources")]
    pub(crate) keyring: Option<PathBuf>,
    /// A QEMU of your own, 10 or newer.
    #[arg(long, value_name = "PROGRAM", help_heading = "Sources")]
    pub(crate) qemu: Option<PathBuf>,
    /// Module folder (`lib/modules/<release>`) that belongs to a `--kernel` that is a file.
    #[arg(long, value_name = "DIR", help_heading = "Sources")]
    pub(crate) modules: Option<PathBuf>,
    /// A fio of your own; its libraries are taken from this machine.
    #[arg(long, value_name = "PROGRAM", help_heading = "Sources")]
    pub(crate) fio: Option<PathBuf>,
    /// Folder for downloads and images; default `.cache` in the workspace.
    #[arg(long, value_name = "DIR", env = "UBLK_CACHE", help_heading = "Sources")]
    pub(crate) cache: Option<PathBuf>,
    /// Asks the archive for its newest lists even if those at hand are fresh.
    #[arg(long, help_heading = "Sources")]
    pub(crate) refresh: bool,
}

/// How the machine is made.
#[derive(Clone, Debug, Args)]
pub(crate) struct MachineArgs {
    /// CPUs of the guest. A device gets at most as many queues.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Machine")]
    pub(crate) cpus: u32,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..=65536), help_heading = "Machine")]
    pub(crate) memory_mib: u32,
    /// Accelerator; `auto` boots a boot sector to see whether KVM really works.
    #[arg(long, value_enum, default_value_t = Accel::Auto, help_heading = "Machine")]
    pub(crate) accel: Accel,
    /// Architecture of the guest; another one than this machine's is emulated.
    #[arg(long, default_value_t = Arch::X86_64, value_parser = arch(), help_heading = "Machine")]
    pub(crate) arch: Arch,
}

/// Its name, one of those there are.
fn arch() -> impl TypedValueParser<Value = Arch> {
    let named = |name: String| Arch::ALL.into_iter().find(|arch| arch.facts().name == name);
    PossibleValuesParser::new(Arch::ALL.map(|arch| arch.facts().name))
        .map(move |name| named(name).unwrap_or_default())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accel {
    Auto,
    Kvm,
    Tcg,
}
