//! Whose machine the agent is on. A guest is its own to the last process; on any other it sees and ends what it has made
//! itself, and nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use scenarios::devices::{self, Owned};
use scenarios::kernel::KernelRelease;
use scenarios::process::UBLK_VARIABLE;
use scenarios::user_processes::{self, UserProcess};
use scenarios::{Stop, block, catalogue, hazard};

use crate::processes;

/// The machine under the agent.
#[derive(Clone, Debug)]
pub(crate) enum Machine {
    /// A virtual machine that is thrown away.
    Guest,
    /// A machine that others use.
    Shared(Shared),
}

/// What tells the run's own things from those of others.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// The group of this run's processes, and so of its devices. Nobody else is in it.
    pub(crate) group: u32,
    /// The server's program as the scenarios see it.
    pub(crate) ublk: PathBuf,
}

impl Machine {
    /// Names of the devices that a scenario has to have removed.
    pub(crate) fn nodes(&self) -> Result<Vec<String>, Stop> {
        match self {
            Self::Guest => block::all_nodes(),
            Self::Shared(shared) => {
                let ours = Owned::by(shared.group)?.ours;
                Ok(ours.into_iter().map(|id| format!("ublkc{id}")).collect())
            }
        }
    }

    /// Devices of others.
    pub(crate) fn strangers(&self) -> Result<BTreeSet<u32>, Stop> {
        match self {
            Self::Guest => Ok(BTreeSet::new()),
            Self::Shared(shared) => Ok(Owned::by(shared.group)?.others),
        }
    }

    /// Removes what a scenario has left. A guest is not tidied: it is thrown away.
    pub(crate) fn tidy(&self) {
        if let Self::Shared(shared) = self {
            // The scenario is red already; what cannot be removed is told when the run ends.
            let _ = devices::remove_all_of(shared.group);
        }
    }

    /// Why a scenario is not run on this machine.
    pub(crate) fn hazard_of(&self, id: &str) -> Option<String> {
        match self {
            Self::Guest => None,
            Self::Shared(_) => {
                let kernel = KernelRelease::parse(&crate::init::kernel_release());
                match (catalogue::find(id), kernel) {
                    (Some(scenario), Some(kernel)) => hazard::of(scenario, kernel),
                    _ => Some("it is not known what it does".to_owned()),
                }
            }
        }
    }

    /// Whether it may be asked to write what is of no use to anybody else into its kernel log.
    pub(crate) fn takes_sysrq(&self) -> bool {
        matches!(self, Self::Guest)
    }

    /// Whether a kernel log that cannot be read is a broken check. Elsewhere it is told once, by whoever began the run.
    pub(crate) fn needs_log(&self) -> bool {
        matches!(self, Self::Guest)
    }

    /// What the process of a scenario has to know.
    pub(crate) fn prepare(&self, command: &mut Command) {
        if let Self::Shared(shared) = self {
            command.env(UBLK_VARIABLE, &shared.ublk).env_remove("TMPDIR");
        }
    }

    /// The processes that a scenario has to have ended.
    pub(crate) fn processes(&self) -> Vec<UserProcess> {
        match self {
            Self::Guest => user_processes::others(),
            Self::Shared(_) => processes::descendants(),
        }
    }
}
