//! Every order of the lifecycle's commands up to a length, without doing the same thing twice: the model's states are the nodes,
//! steps the edges, and a few long walks go over every edge once or more.
//!
//! Two sequences that lead to the same state of the model are one here. That is what makes all orders to length 5 a matter of
//! minutes; a difference between kernel and model that only shows later is found on one of the walks.

use std::collections::{HashMap, VecDeque};

use rand::Rng;
use rand::seq::SliceRandom;

use super::profile::Profile;
use super::sort::Sort;
use super::step::Step;
use super::world::World;

/// Longest walk: a failing one has to be shrunk.
const WALK_MAX: usize = 60;

/// Devices of one sort, and every order of commands on one of them.
#[derive(Debug)]
pub struct Graph {
    states: HashMap<World, usize>,
    /// For each state: each step and the state after it.
    edges: Vec<Vec<Edge>>,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    step: Step,
    to: usize,
    /// Within the length asked for; else only a way to get there.
    counts: bool,
    walked: bool,
}

/// The commands whose orders are tried, on one device.
fn commands(sort: Sort) -> Vec<Step> {
    let (dev, server) = (0, 0);
    vec![
        Step::Add { dev, sort },
        Step::SetParams { dev, valid: true },
        Step::Open { dev, server },
        Step::Mmap { dev },
        Step::Fetch { dev, tag: 0, thread: 0 },
        Step::FetchAll { dev, spread: false },
        Step::Start { dev, server },
        Step::Stop { dev },
        Step::TryStop { dev },
        Step::Quiesce { dev },
        Step::KillServer { server },
        Step::CloseChar { dev },
        Step::StartRecovery { dev },
        Step::EndRecovery { dev, server },
        Step::Del { dev },
        Step::DelAsync { dev },
    ]
}

/// From where orders begin: nothing, a live device, and one whose server has left.
fn roots(sort: Sort) -> Vec<Vec<Step>> {
    let (dev, server) = (0, 0);
    let live = vec![
        Step::Add { dev, sort },
        Step::SetParams { dev, valid: true },
        Step::Open { dev, server },
        Step::FetchAll { dev, spread: false },
        Step::Start { dev, server },
    ];
    let mut left = live.clone();
    left.push(Step::KillServer { server });
    vec![Vec::new(), live, left]
}

impl Graph {
    /// All orders of up to `length` commands from each root.
    #[must_use]
    pub fn explore(profile: Profile, sort: Sort, length: usize) -> Self {
        let mut graph = Self { states: HashMap::new(), edges: Vec::new() };
        let commands = commands(sort);
        let mut queue = VecDeque::new();
        for root in roots(sort) {
            let mut world = World::new(profile, 1, 1);
            graph.node(&world);
            for step in root {
                world = graph.edge(&world, step, false).0;
            }
            queue.push_back((world, 0));
        }
        let mut seen = std::collections::HashSet::new();
        while let Some((world, depth)) = queue.pop_front() {
            if depth == length || !seen.insert(world.clone()) {
                continue;
            }
            for step in &commands {
                if world.forbids(step).is_none() {
                    let (after, _) = graph.edge(&world, *step, true);
                    queue.push_back((after, depth + 1));
                }
            }
        }
        graph
    }

    fn node(&mut self, world: &World) -> usize {
        let next = self.states.len();
        let index = *self.states.entry(world.clone()).or_insert(next);
        if index == next {
            self.edges.push(Vec::new());
        }
        index
    }

    fn edge(&mut self, from: &World, step: Step, counts: bool) -> (World, usize) {
        let mut after = from.clone();
        after.apply(&step);
        let (from, to) = (self.node(from), self.node(&after));
        match self.edges[from].iter_mut().find(|edge| edge.step == step) {
            Some(edge) => edge.counts |= counts,
            None => self.edges[from].push(Edge { step, to, counts, walked: false }),
        }
        (after, to)
    }

    /// Number of states, of edges that count, and of those that were walked.
    #[must_use]
    pub fn size(&self) -> (usize, usize, usize) {
        let counted = self.edges.iter().flatten().filter(|edge| edge.counts);
        let (mut all, mut walked) = (0, 0);
        for edge in counted {
            all += 1;
            walked += usize::from(edge.walked);
        }
        (self.states.len(), all, walked)
    }

    /// Takes the edges of each state in another order, so that a run that is cut short walks others than the last one.
    pub fn shuffle(&mut self, rng: &mut impl Rng) {
        for edges in &mut self.edges {
            edges.shuffle(rng);
        }
    }

    /// The next walk from nothing, always to the nearest edge that was not walked; none when all were.
    pub fn walk(&mut self) -> Option<Vec<Step>> {
        let (mut at, mut steps) = (0, Vec::new());
        while steps.len() < WALK_MAX {
            let Some(way) = self.nearest(at) else { break };
            for (state, edge) in way {
                let edge = &mut self.edges[state][edge];
                edge.walked = true;
                steps.push(edge.step);
                at = edge.to;
            }
        }
        (!steps.is_empty()).then_some(steps)
    }

    /// Edges, as (state, index), up to and with the nearest one that counts and was not walked.
    fn nearest(&self, start: usize) -> Option<Vec<(usize, usize)>> {
        let mut came: Vec<Option<(usize, usize)>> = vec![None; self.edges.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(state) = queue.pop_front() {
            for (index, edge) in self.edges[state].iter().enumerate() {
                if edge.counts && !edge.walked {
                    let mut way = vec![(state, index)];
                    let mut back = state;
                    while let Some((before, edge)) = came[back].filter(|_| back != start) {
                        way.push((before, edge));
                        back = before;
                    }
                    way.reverse();
                    return Some(way);
                }
            }
            for (index, edge) in self.edges[state].iter().enumerate() {
                if came[edge.to].is_none() && edge.to != start {
                    came[edge.to] = Some((state, index));
                    queue.push_back(edge.to);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_go_over_every_edge_and_obey_the_model() {
        for sort in super::super::orders::SORTS {
            let profile = Profile::newest();
            let mut graph = Graph::explore(profile, *sort, 5);
            let (states, edges, _) = graph.size();
            let (mut walks, mut steps) = (0, 0);
            while let Some(walk) = graph.walk() {
                walks += 1;
                steps += walk.len();
                let mut world = World::new(profile, 1, 1);
                for step in walk {
                    assert_eq!(world.forbids(&step), None);
                    world.apply(&step);
                }
            }
            println!("{sort}: {states} states, {edges} edges, {walks} walks, {steps} steps");
            assert_eq!(graph.size().2, edges);
            assert!(edges > 200 && steps < edges * 4, "{edges} edges in {steps} steps");
        }
    }
}
