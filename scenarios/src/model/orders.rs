//! `model/orders`: every order of the lifecycle's commands, as far as the time goes.

use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::graph::Graph;
use super::input::Input;
use super::lab::Lab;
use super::sequences::{Findings, PATIENCE, empty};
use super::sort::{Recovery, Sort};
use crate::context::{Context, Stop};

/// Commands in a row, beyond the root they begin at.
pub(super) const LENGTH: usize = 5;

/// Sorts of devices whose orders are tried.
pub(super) const SORTS: &[Sort] = &[
    Sort::plain(Recovery::None, false),
    Sort::plain(Recovery::Plain, true).with_two_queues(),
    Sort::plain(Recovery::Reissue, false),
    Sort::plain(Recovery::FailIo, true),
];

pub(super) fn run(context: &mut Context) -> Result<String, Stop> {
    let input = Input::read()?;
    let world = empty(context, 1, 1)?;
    let limit = input.time_limit(context);
    let begin = Instant::now();
    let mut rng = match input.orders_seed {
        Some(seed) => ChaCha8Rng::seed_from_u64(seed),
        None => context.rng("orders"),
    };
    let mut graphs = Vec::new();
    for sort in SORTS {
        let quiesce = sort.quiesce && world.profile.quiesce;
        let two_queues = sort.two_queues && world.profile.two_cpus;
        let sort = Sort { quiesce, two_queues, ..*sort };
        if sort.recovery != Recovery::FailIo || world.profile.fail_io {
            let mut graph = Graph::explore(world.profile, sort, LENGTH);
            graph.shuffle(&mut rng);
            graphs.push(graph);
        }
    }
    let mut lab = Lab::new(&world, PATIENCE)?;
    let mut findings = Findings::new("model/orders");
    // A walk of each sort in turn: a run that is cut short has seen something of all.
    let mut walks = 0;
    let mut left = true;
    while left && begin.elapsed() < limit && !findings.are_enough() {
        left = false;
        for graph in &mut graphs {
            if walks > input.orders_done && begin.elapsed() >= limit {
                left = true;
                break;
            }
            let Some(steps) = graph.walk() else { continue };
            (walks, left) = (walks + 1, true);
            if walks > input.orders_done {
                findings.try_case(context, &mut lab, &world, &steps)?;
            }
        }
    }
    let state = if left { "more are left" } else { "that is all" };
    context.step(format_args!("orders: {walks} walks, {state}"));
    let sizes = graphs.iter().map(Graph::size);
    let (states, edges, walked) =
        sizes.fold((0, 0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1, sum.2 + size.2));
    let told = lab.rate(begin.elapsed());
    context.evidence("time-by-step", &lab.time_by_step());
    findings.conclude(format!(
        "{walked} of {edges} edges between {states} states, orders of {LENGTH} from {} roots; {told}",
        graphs.len() * 3
    ))
}
