//! What is run here: the same catalogue, without what could cost the machine.

use rand::Rng;
use reports::budget::Budgets;
use reports::plan::{DebugOptions, Expectation, PROTOCOL_VERSION, Plan, PlannedScenario};
use scenarios::kernel::KernelRelease;
use scenarios::{Scenario, catalogue, hazard};

use super::options::Options;
use super::refusal::Refusal;

/// A chosen scenario, and why it is left out if it is.
pub(super) struct Chosen {
    pub(super) scenario: &'static Scenario,
    pub(super) left_out: Option<String>,
}

pub(super) fn choose(filters: &[String], kernel: KernelRelease) -> Result<Vec<Chosen>, Refusal> {
    let chosen = catalogue::choose(catalogue::all(), filters)
        .map_err(|filter| Refusal::NoScenario(filter.to_owned()))?;
    let judged = |scenario| Chosen { scenario, left_out: hazard::of(scenario, kernel) };
    Ok(chosen.into_iter().map(judged).collect())
}

pub(super) fn list(chosen: &[Chosen]) {
    for Chosen { scenario, left_out } in chosen {
        println!("{:<44} {}", scenario.id, scenario.title);
        if let Some(why) = left_out {
            println!("{:<44}   left out: {why}", "");
        }
    }
    println!("{} scenarios, {} left out", chosen.len(), count_left_out(chosen));
}

pub(super) fn count_left_out(chosen: &[Chosen]) -> usize {
    chosen.iter().filter(|one| one.left_out.is_some()).count()
}

pub(super) fn plan(chosen: &[Chosen], options: &Options, kernel: KernelRelease) -> Plan {
    let budgets = Budgets::scaled(options.slow);
    let planned = |one: &Chosen| PlannedScenario {
        id: one.scenario.id.to_owned(),
        budget_ms: budgets.class_ms(one.scenario.budget),
        // What is left out is reported as skipped; that is nothing a canary or a known bug could be judged by.
        expect: match one.left_out {
            Some(_) => Expectation::Pass,
            None => one.scenario.expectation(Some(kernel)),
        },
    };
    Plan {
        server: None,
        protocol_version: PROTOCOL_VERSION,
        nonce: format!("{:032x}", rand::rng().random::<u128>()),
        seed: options.seed.unwrap_or_else(|| rand::rng().random()),
        budgets,
        scenarios: chosen.iter().map(planned).collect(),
        debug: DebugOptions::default(),
        model_input: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_disaster_is_planned_as_one_but_the_harmless() {
        let kernel = KernelRelease::parse("7.2.1").unwrap();
        let chosen = choose(&[], kernel).unwrap();
        let options = Options {
            allowed: true,
            filters: Vec::new(),
            seed: Some(7),
            list: false,
            output: None,
            json: false,
            slow: 3,
        };
        let plan = plan(&chosen, &options, kernel);
        assert_eq!((plan.seed, plan.scenarios.len()), (7, chosen.len()));
        let odd: Vec<_> =
            plan.scenarios.iter().filter(|one| one.expect != Expectation::Pass).collect();
        assert_eq!(odd.len(), 1, "{odd:?}");
        assert_eq!(odd[0].id, "canary/corrupt-byte");
    }

    #[test]
    fn a_filter_that_names_nothing_is_told() {
        let kernel = KernelRelease::parse("7.3.1").unwrap();
        let refusal = choose(&["data/*".into(), "no/such".into()], kernel).err();
        assert_eq!(refusal, Some(Refusal::NoScenario("no/such".into())));
    }
}
