//! One case: its acts are done by a hand of its own, from a clean kernel to a clean kernel.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::act::{Act, numbered};
use super::hand::{Order, Reply};
use super::judge::{Judge, Trouble};
use super::lab::{Client, Lab};
use super::process::{HandProcess, Heard};
use crate::context::Stop;

/// Where it went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Acts that were done; the last one is where it showed, unless it showed in the end.
    pub acts: Vec<Act>,
    /// What is right.
    pub expected: String,
    /// What was seen.
    pub observed: String,
}

impl Failure {
    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let list = numbered(&self.acts);
        format!("{list}expected: {}\nobserved: {}\n", self.expected, self.observed)
    }
}

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) failure: Option<Failure>,
    /// Pairs of command and answer.
    pub(super) seen: Vec<String>,
}

/// A case that goes on.
struct Course<'a> {
    lab: &'a mut Lab,
    hand: HandProcess,
    judge: Judge,
    clients: Vec<Client>,
    device: Option<u32>,
    /// The next act is the hand's last.
    kill_after: Option<Duration>,
    dead: bool,
}

/// Does `acts`.
pub(super) fn run(lab: &mut Lab, acts: &[Act]) -> Result<Outcome, Stop> {
    let hand = lab.spares.take(lab.patience * 4)?;
    let judge = Judge::new(lab.offered, lab.plant);
    let (device, kill_after) = (None, None);
    let mut course =
        Course { lab, hand, judge, clients: Vec::new(), device, kill_after, dead: false };
    let mut done = Vec::new();
    let mut trouble = None;
    for (number, act) in acts.iter().enumerate() {
        done.push(act.clone());
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        match course.act(number, act)? {
            Ok(()) if course.dead => break,
            Ok(()) => {}
            Err(found) => {
                trouble = Some(found);
                break;
            }
        }
    }
    if course.kill_after.is_some() {
        course.hand.kill();
    }
    let Course { lab, hand, judge, clients, .. } = course;
    lab.cases += 1;
    lab.acts += done.len() as u64;
    let end = lab.end(hand, clients);
    let trouble = trouble.or(end.err());
    let failure = trouble.map(|(expected, observed)| Failure { acts: done, expected, observed });
    Ok(Outcome { failure, seen: judge.seen })
}

impl Course<'_> {
    fn act(&mut self, number: u16, act: &Act) -> Result<Result<(), Trouble>, Stop> {
        match act {
            Act::Kill { after_us } => {
                self.kill_after = Some(Duration::from_micros(u64::from(*after_us)));
                return Ok(Ok(()));
            }
            Act::Io { write, block } => {
                if let Some(id) = self.device {
                    self.clients.push(self.lab.client(id, *write, *block));
                }
                return Ok(Ok(()));
            }
            _ => {}
        }
        let must = self.judge.expect(number, act);
        let order = Order {
            act: number,
            what: act.clone(),
            must,
            patience_ms: u64::try_from(self.lab.patience.as_millis()).unwrap_or(u64::MAX),
            bystander: self.lab.bystander(),
        };
        let taken = self.hand.order(&order)?;
        if let Some(after) = self.kill_after.take() {
            std::thread::sleep(after);
            self.hand.kill();
            self.dead = true;
            return Ok(Ok(()));
        }
        let heard = if taken { self.hand.hear(self.lab.patience * 3)? } else { Heard::Gone };
        Ok(match heard {
            Heard::Reply(reply) => {
                if let Reply::Device { id } = reply {
                    self.device = Some(id);
                }
                self.judge.hear(number, &reply)
            }
            Heard::Nothing => Err((format!("{act}: it returns"), "it does not".into())),
            Heard::Gone => Err((format!("{act}: the process lives"), "it is gone".into())),
        })
    }
}
