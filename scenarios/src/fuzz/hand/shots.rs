//! SQEs of a case are sent through rings of every sort, and their answers collected.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ublk::raw::{Arena, CharFile, ControlFile, DecoyFile, Race, RaceWord, WildRing};

use super::super::act::Racing;
use super::super::rings::{self, Files};
use super::super::shot::Shot;
use super::build::{NOBODYS_ID, payload_at};
use super::device::{Own, memory};
use super::{Answer, Order, Problem, Reply, left};

/// How long the server waits before it answers what it may have got by a wrong command.
const RESCUE: Duration = Duration::from_millis(40);

/// The rings, and the files that are nobody's device.
#[derive(Default)]
pub(super) struct Guns {
    rings: BTreeMap<u8, Option<WildRing>>,
    files: Option<Common>,
    /// Shots of the case so far.
    fired: usize,
}

pub(super) struct Common {
    pub(super) control: ControlFile,
    pub(super) decoy: DecoyFile,
    pub(super) arena: Arena,
}

impl Guns {
    pub(super) fn fire(
        &mut self,
        own: Option<&mut Own>,
        order: &Order,
        ring: u8,
        shots: &[Shot],
        races: &[(u8, Racing)],
    ) -> Result<Reply, Problem> {
        if self.files.is_none() {
            let arena = own.as_deref().map_or_else(memory, |own| Ok(own.arena))?;
            let (control, decoy) = (ControlFile::open()?, DecoyFile::new()?);
            self.files = Some(Common { control, decoy, arena });
        }
        let Some(common) = &self.files else { return Ok(left("there are no files")) };
        let kind = rings::of(ring);
        let file = own.as_deref().and_then(|own| own.file.as_ref());
        let Some(wild) = self.rings.entry(ring).or_insert_with(|| make(kind, common, file)) else {
            return Ok(left("this kernel has no such ring"));
        };
        let mut sent = vec![false; shots.len()];
        let mut words = Vec::new();
        let mut pushed = 0;
        let first = self.fired;
        self.fired += shots.len();
        for (index, shot) in shots.iter().enumerate() {
            let start = payload_at(first + index);
            let Some(sqe) = common.sqe(own.as_deref(), order, start, shot, kind) else { continue };
            let number = u64::from(order.act) << 16 | index as u64;
            if wild.push_sqe(&sqe.user_data(number)).is_err() {
                continue;
            }
            sent[index] = true;
            for (_, what) in races.iter().filter(|(at, _)| usize::from(*at) == index) {
                words.extend(word(*what, pushed, own.as_deref()));
            }
            pushed += 1;
        }
        let buffers: Vec<usize> =
            races.iter().filter_map(|(at, what)| buffer(first + usize::from(*at), *what)).collect();
        // A ring that takes nothing any more is not an answer to anything.
        let submitted = common.while_changing(&buffers, || wild.submit(&words));
        if submitted.is_err() {
            sent.fill(false);
        }
        let must: Vec<bool> =
            order.must.iter().zip(&sent).map(|(must, sent)| *must && *sent).collect();
        let patience = Duration::from_millis(order.patience_ms);
        let mut answers = collect(wild, own, order.act, &must, patience)?;
        for other in self.rings.values_mut().flatten() {
            answers.extend(other.wait(0, Duration::ZERO).unwrap_or_default().iter().map(answer));
        }
        Ok(Reply::Answers { sent, answers })
    }
}

fn answer(completion: &ublk::raw::Completion) -> Answer {
    Answer {
        act: (completion.user_data >> 16) as u16,
        shot: (completion.user_data & 0xffff) as u16,
        res: completion.res,
        more: completion.flags & 2 != 0,
    }
}

/// Answers until those of this act's shots that `must` have come, serving the device meanwhile.
fn collect(
    ring: &mut WildRing,
    mut own: Option<&mut Own>,
    act: u16,
    must: &[bool],
    patience: Duration,
) -> Result<Vec<Answer>, Problem> {
    let begun = Instant::now();
    let mut rescued = begun;
    let mut answers: Vec<Answer> = Vec::new();
    loop {
        let came = |shot: usize| {
            let mut own = answers.iter().filter(|answer| answer.act == act);
            own.any(|answer| usize::from(answer.shot) == shot)
        };
        let all = must.iter().enumerate().all(|(shot, must)| !must || came(shot));
        let enough = all || begun.elapsed() > patience;
        let (wanted, time) =
            if enough { (0, Duration::ZERO) } else { (1, Duration::from_millis(2)) };
        // A disabled ring has no answers, and that is an error here.
        answers.extend(ring.wait(wanted, time).unwrap_or_default().iter().map(answer));
        if let Some(own) = own.as_deref_mut() {
            own.look(Duration::ZERO)?;
            if !enough && rescued.elapsed() > RESCUE {
                rescued = Instant::now();
                own.rescue()?;
            }
        }
        if enough {
            return Ok(answers);
        }
    }
}

/// A ring of that kind; none where this kernel has none.
fn make(kind: rings::Kind, common: &Common, file: Option<&CharFile>) -> Option<WildRing> {
    let mut ring = WildRing::new(kind.shape()).ok()?;
    match (kind.files, file) {
        (Files::Control, _) => ring.register_control(&common.control).ok()?,
        (Files::Char, Some(file)) => ring.register_chars(&[file, file]).ok()?,
        _ => {}
    }
    Some(ring)
}

fn word(what: Racing, index: usize, own: Option<&Own>) -> Option<Race> {
    let id = own.map_or(NOBODYS_ID, |own| own.id);
    let (word, values) = match what {
        Racing::Len => (RaceWord::Len, [0, u32::MAX]),
        // As queue and tag: the right ones of a command, tag 1, and none at all. As an id: this device's, and nobody's.
        Racing::First => (RaceWord::First, [id, NOBODYS_ID]),
        // As a length: 64 or none; as a queue: none. As a result: large, or negative.
        Racing::Second => (RaceWord::Second, [0x0040_ffff, 0xffff_ffff]),
        Racing::Data => (RaceWord::Data, [0, std::process::id()]),
        Racing::Buffer(_) => return None,
    };
    Some(Race { index, word, values })
}

/// Where the racing word of a payload's buffer is.
fn buffer(number: usize, what: Racing) -> Option<usize> {
    let Racing::Buffer(word) = what else { return None };
    Some(payload_at(number) + usize::from(word % 38) * 4)
}

impl Common {
    /// Does something while words of the payloads change.
    fn while_changing<T: Send>(&self, places: &[usize], run: impl FnOnce() -> T + Send) -> T {
        if places.is_empty() {
            return run();
        }
        let over = AtomicBool::new(false);
        let arena = self.arena;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut word = [0; 4];
                while !over.load(Ordering::Relaxed) {
                    for place in places {
                        arena.read(*place, &mut word);
                        let turned = u32::from_ne_bytes(word) ^ u32::MAX;
                        arena.write(*place, &turned.to_ne_bytes());
                        arena.write(*place, &word);
                    }
                }
            });
            let result = run();
            // A control command goes on in a worker.
            std::thread::sleep(Duration::from_millis(1));
            over.store(true, Ordering::Relaxed);
            result
        })
    }
}
