//! One case: its acts are done by a hand of its own, from a clean kernel to a clean kernel.

use std::time::Duration;

use ublk::ctrl::{Command, CtrlError, Pending};
use ublk::raw::CharFile;

use serde::{Deserialize, Serialize};

use super::act::{Act, numbered};
use super::hand::{Order, Reply};
use super::judge::{Judge, Trouble};
use super::lab::Lab;
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
    device: Option<u32>,
    /// A DEL_DEV that waits for the last holder.
    deletion: Option<Pending>,
    /// The next act is the hand's last.
    kill_after: Option<Duration>,
    dead: bool,
}

/// Does `acts`.
pub(super) fn run(lab: &mut Lab, acts: &[Act]) -> Result<Outcome, Stop> {
    let hand = lab.spares.take(lab.patience * 4)?;
    let judge = Judge::new(lab.kernel, lab.offered, lab.plant);
    let mut course =
        Course { lab, hand, judge, device: None, deletion: None, kill_after: None, dead: false };
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
    let Course { lab, hand, judge, deletion, .. } = course;
    lab.cases += 1;
    lab.acts += done.len() as u64;
    let end = lab.end(hand, deletion);
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
                    self.lab.clients.begin(id, *write, *block)?;
                }
                return Ok(Ok(()));
            }
            Act::Probe => return Ok(self.probe()),
            Act::Delete => return self.delete(),
            _ => {}
        }
        let must = self.judge.expect(number, act);
        let order = Order {
            act: number,
            what: act.clone(),
            free: !self.judge.holding.is_busy() && !self.judge.holding.deleted,
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
                if let Reply::Device { id, .. } = reply {
                    self.device = Some(id);
                }
                self.judge.hear(number, act, &reply)
            }
            Heard::Nothing => Err((format!("{act}: it returns"), "it does not".into())),
            Heard::Gone => Err((format!("{act}: the process lives"), "it is gone".into())),
        })
    }

    /// Opens the char device, and closes it again.
    fn probe(&mut self) -> Result<(), Trouble> {
        let Some(id) = self.device else { return Ok(()) };
        let allowed = self.judge.holding.opening();
        // Whoever held it last is let go in the background.
        let time = if allowed.done { self.lab.patience } else { Duration::ZERO };
        let result = match CharFile::open_within(id, time) {
            Ok(_) => 0,
            Err(error) => -error.raw_os_error().unwrap_or(i32::MAX),
        };
        if allowed.takes(i64::from(result)) {
            return Ok(());
        }
        let expected = format!("{}: {}", Act::Probe, allowed.to_text());
        Err((expected, crate::context::errno(result)))
    }

    /// Sends DEL_DEV, which is answered when nobody holds the device.
    fn delete(&mut self) -> Result<Result<(), Trouble>, Stop> {
        let Some(id) = self.device.filter(|_| !self.judge.holding.deleted) else {
            return Ok(Ok(()));
        };
        let pending = self.lab.control.submit(Command::DelDev { dev_id: id })?;
        let busy = self.judge.holding.is_busy();
        self.judge.holding.deleted = true;
        let time = if busy { Duration::from_millis(15) } else { self.lab.patience };
        let answer = self.lab.control.wait(&pending, time);
        match (busy, answer) {
            (true, Err(CtrlError::Timeout { .. })) => {
                self.deletion = Some(pending);
                Ok(Ok(()))
            }
            (false, Ok(_)) => Ok(Ok(())),
            (_, answer) => {
                self.lab.control.abandon(pending);
                let wanted = if busy { "it waits for the last holder" } else { "done" };
                Ok(Err((format!("{}: {wanted}", Act::Delete), format!("{answer:?}"))))
            }
        }
    }
}
