//! Every limit of time, bytes and retries of a run, in one table.
//!
//! A time is written down once, as it should be on hardware virtualisation, and scaled once by the
//! accelerator the virtual machine got. Nothing else in the workspace carries a timeout constant for
//! guest work, so a slow machine is one number, not forty edits.

use serde::{Deserialize, Serialize};

/// How much time a scenario may take before the watchdog calls it hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetClass {
    /// A handful of commands on one device.
    Quick,
    /// Several devices, or a server that is started and stopped.
    Normal,
    /// A generated workload or many repetitions.
    Long,
    /// A scenario that is meant to hang, or that a known bug makes hang; short, because its whole budget is always spent.
    HangCanary,
}

impl BudgetClass {
    /// Unscaled budget in milliseconds.
    #[must_use]
    pub const fn base_ms(self) -> u64 {
        match self {
            Self::Quick => 10_000,
            Self::Normal => 15_000,
            Self::Long => 30_000,
            Self::HangCanary => 1_500,
        }
    }
}

/// The scaled limits of one virtual machine, computed once and carried in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Budgets {
    /// Factor by which the times of this table were multiplied.
    pub scale: u32,
    /// From QEMU's start to the agent's `ready`.
    pub boot_ms: u64,
    /// From the last scenario's end to QEMU's exit.
    pub power_off_ms: u64,
    /// Time given to a control command that should not block.
    pub command_ms: u64,
    /// How long "nothing happens" is watched before it is believed.
    pub quiet_ms: u64,
    /// Time between the watchdog's first and second look at a hung scenario.
    pub hang_grace_ms: u64,
    /// From the first Ctrl-C of a run on a real machine to the end of the scenario that runs; then it is killed.
    pub interrupt_ms: u64,
    /// Boots that may be repeated before the agent was ready, for one kernel.
    pub boot_retries_max: u32,
    /// Boots altogether that one kernel's plan may need.
    pub boots_max: u32,
    /// Bytes of one evidence text.
    pub evidence_bytes_max: usize,
    /// Bytes of console that are kept for one boot.
    pub console_bytes_max: usize,
    /// Lines the agent may send for one scenario.
    pub steps_max: u32,
}

/// Most boots of one kernel's plan. Each known bug that leaves its mark on the kernel costs one: on 7.2 that is every scenario
/// that registers pages, some 45 in a whole run. A kernel that crashes at everything is given up long before its scenarios end.
const BOOTS_MAX: u32 = 64;

/// Factor for a kernel that checks itself: the time KASAN, the lock validator and UBSAN together take, where
/// nothing but the kernel runs. Counting branches of one driver costs nothing that shows.
pub const CHECKED_KERNEL_SCALE: u32 = 3;

impl Budgets {
    /// The same table for a kernel with these instruments, by name.
    #[must_use]
    pub fn of_instruments(&self, instruments: &[String]) -> Self {
        let checks =
            instruments.iter().any(|name| matches!(name.as_str(), "kasan" | "lockdep" | "ubsan"));
        Self::scaled(if checks { self.scale * CHECKED_KERNEL_SCALE } else { self.scale })
    }

    /// How long whoever watches an agent waits for a scenario of `budget_ms`. The agent's own watchdog acts first; this comes after
    /// it, for an agent that cannot act any more.
    #[must_use]
    pub const fn watched_ms(&self, budget_ms: u64) -> u64 {
        budget_ms + 4 * self.hang_grace_ms + self.power_off_ms
    }

    /// The table, scaled by `scale` (1 for hardware virtualisation, 3 for emulation).
    #[must_use]
    pub const fn scaled(scale: u32) -> Self {
        let factor = scale as u64;
        Self {
            scale,
            boot_ms: 20_000 * factor,
            power_off_ms: 5_000 * factor,
            command_ms: 3_000 * factor,
            quiet_ms: 150 * factor,
            hang_grace_ms: 500 * factor,
            interrupt_ms: 10_000 * factor,
            boot_retries_max: 2,
            boots_max: BOOTS_MAX,
            evidence_bytes_max: 64 << 10,
            console_bytes_max: 4 << 20,
            steps_max: 2_000,
        }
    }

    /// The scaled budget of `class` in milliseconds.
    #[must_use]
    pub const fn class_ms(&self, class: BudgetClass) -> u64 {
        class.base_ms() * self.scale as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_multiplies_times_and_leaves_counts_alone() {
        let (one, three) = (Budgets::scaled(1), Budgets::scaled(3));
        assert_eq!(three.boot_ms, 3 * one.boot_ms);
        assert_eq!(three.class_ms(BudgetClass::Quick), 3 * one.class_ms(BudgetClass::Quick));
        assert_eq!(three.boots_max, one.boots_max);
        assert_eq!(three.evidence_bytes_max, one.evidence_bytes_max);
    }

    #[test]
    fn a_kernel_that_checks_itself_gets_more_time() {
        let plain = Budgets::scaled(3);
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            plain.of_instruments(&names).boot_ms
        };
        assert_eq!(of(&["kasan", "lockdep"]), plain.boot_ms * u64::from(CHECKED_KERNEL_SCALE));
        assert_eq!((of(&["gcov"]), of(&[])), (plain.boot_ms, plain.boot_ms));
    }
}
