//! What a scenario is: a value with an id, a claim and a function.
//!
//! Values rather than `#[test]` functions, because the host has to plan, filter and count them without
//! running any, and because each runs in another process on another machine.

use reports::budget::BudgetClass;
use reports::plan::{Canary, Expectation};

use crate::context::{Context, Stop};
use crate::kernel::KernelRelease;

/// Who is judged by a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The kernel's driver, by raw commands.
    Driver,
    /// A ublk server, by its block device and its process.
    Server,
    /// The harness itself.
    Canary,
}

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Scenario {
    /// `group/sentence-in-kebab-case`; stable, because reports of years are compared by it.
    pub id: &'static str,
    /// What holds when it passes, as a sentence.
    pub title: &'static str,
    /// What it covers: rows of the errno map, letters of the myths page, ids of the seed project's bugs.
    pub covers: &'static [&'static str],
    /// Who is judged.
    pub family: Family,
    /// How long it may take.
    pub budget: BudgetClass,
    /// For a canary: which disaster the harness must catch.
    pub canary: Option<Canary>,
    /// A bug of somebody else that makes it fail on some kernels: where it is written down. There a pass
    /// is an error, so that the entry goes when the bug does.
    pub known_bug: fn(KernelRelease) -> Option<&'static str>,
    /// The scenario. `Ok` carries what was shown; the checks are counted by the context.
    pub run: fn(&mut Context) -> Result<String, Stop>,
}

impl Scenario {
    /// A driver scenario with a quick budget; change fields with struct update syntax.
    pub const DRIVER: Self = Self {
        id: "",
        title: "",
        covers: &[],
        family: Family::Driver,
        budget: BudgetClass::Quick,
        canary: None,
        known_bug: |_| None,
        run: nothing,
    };

    /// A server scenario with a normal budget.
    pub const SERVER: Self =
        Self { family: Family::Server, budget: BudgetClass::Normal, ..Self::DRIVER };

    /// What the fold must see of this scenario on `kernel`, where that is known beforehand.
    #[must_use]
    pub fn expectation(&self, kernel: Option<KernelRelease>) -> Expectation {
        match (self.canary, kernel.and_then(self.known_bug)) {
            (Some(canary), _) => Expectation::Canary { canary },
            (None, Some(reference)) => Expectation::KnownBug { reference: reference.to_owned() },
            (None, None) => Expectation::Pass,
        }
    }
}

/// The function of a scenario that was declared without one: an error, never a pass.
fn nothing(_: &mut Context) -> Result<String, Stop> {
    Err(Stop::error("this scenario has no function"))
}
