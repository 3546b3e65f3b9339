//! Follows a case and compares each answer with what may be answered: once, in time, and nothing but what is allowed.

use std::collections::BTreeMap;

use ublk::uapi::{CtrlOp, Features};

use super::act::{Act, Racing, Stage};
use super::allowed::{self, Allowed, Around, CHAINS, IO_DRAIN};
use super::hand::{Answer, Reply};
use super::holding::Holding;
use super::maps::{Geometry, Maps};
use super::rings;
use super::shot::{Base, Change, Dev, Shot, control_op};
use crate::context::errno;
use crate::kernel::KernelRelease;

/// Expected and observed.
pub(super) type Trouble = (String, String);

/// A shot that was sent.
#[derive(Clone, Debug)]
struct Sent {
    told: String,
    allowed: Allowed,
    answered: bool,
    /// It has to be answered while its act is done.
    must: bool,
    /// While it is not, others may have to wait.
    blocks: bool,
    /// Ring that it was sent to, and whether all that follows there waits for it (IOSQE_IO_DRAIN).
    ring: u8,
    drains: bool,
}

/// What is known of a case so far.
#[derive(Debug)]
pub(super) struct Judge {
    kernel: KernelRelease,
    offered: Features,
    /// Where the device was brought.
    brought: Option<Stage>,
    pub(super) holding: Holding,
    maps: Option<Maps>,
    features: Features,
    /// None where a shot may have changed it; none inside where there is no device.
    stage: Option<Option<Stage>>,
    /// A request may be with a command that cannot be answered: what waits for requests may wait.
    lost: bool,
    sent: BTreeMap<(u16, u16), Sent>,
    /// Turns one expectation of each theme round, to see that it is found: a pad that is refused is to be done, and a mapping
    /// for writing or an open of what is held to be EIO.
    plant: bool,
    /// Pairs of command and answer that were seen.
    pub(super) seen: Vec<String>,
}

impl Judge {
    pub(super) fn new(kernel: KernelRelease, offered: Features, plant: bool) -> Self {
        Self {
            kernel,
            offered,
            brought: None,
            holding: Holding::default(),
            maps: None,
            features: Features::empty(),
            stage: Some(None),
            lost: false,
            sent: BTreeMap::new(),
            plant,
            seen: Vec::new(),
        }
    }

    /// Prepares for an act; of each of its shots whether it has to be answered.
    pub(super) fn expect(&mut self, number: u16, act: &Act) -> Vec<bool> {
        match act {
            Act::Device { features, stage, .. } => {
                self.features = Features::from_bits(*features);
                self.stage = Some(Some(*stage));
                self.brought = Some(*stage);
                self.holding = Holding::new(*stage >= Stage::Opened);
                Vec::new()
            }
            Act::Shots { ring, shots, races } => self.expect_shots(number, *ring, shots, races),
            _ => Vec::new(),
        }
    }

    fn expect_shots(
        &mut self,
        number: u16,
        ring: u8,
        shots: &[Shot],
        races: &[(u8, Racing)],
    ) -> Vec<bool> {
        let waiting = self.sent.values().any(|sent| sent.blocks && !sent.answered);
        let blocked = waiting || self.lost;
        let changing: Vec<bool> = shots.iter().map(changes_state).collect();
        let count = changing.iter().filter(|changing| **changing).count();
        let racing = races.iter().any(|(_, what)| !matches!(what, Racing::Len));
        let drained = |sent: &Sent| sent.ring == ring && sent.drains && !sent.answered;
        let mut chained = self.sent.values().any(drained);
        let mut must = Vec::new();
        for (index, shot) in shots.iter().enumerate() {
            let others = count - usize::from(changing[index]);
            let own: Vec<Racing> = races
                .iter()
                .filter(|(at, _)| usize::from(*at) == index)
                .map(|(_, what)| *what)
                .collect();
            chained |= shot.flags() & CHAINS != 0;
            let around = Around {
                stage: self.stage.filter(|_| others == 0 && !(racing && own.is_empty())),
                open: self.brought >= Some(Stage::Opened),
                features: self.features,
                offered: self.offered,
                ring: rings::of(ring),
                races: &own,
                chained,
                blocked: blocked || others > 0 && matches!(shot.base, Base::Control(_)),
            };
            let mut allowed = allowed::to(shot, &around);
            if self.plant && shot.has(|change| matches!(change, Change::Pad(1..))) {
                allowed = Allowed::done();
            }
            let waits = matches!(shot.base, Base::Control(_)) && allowed.silence;
            must.push(!allowed.silence);
            let sent = Sent {
                told: shot.to_string(),
                must: !allowed.silence,
                allowed,
                answered: false,
                blocks: waits,
                ring,
                drains: shot.flags() & IO_DRAIN != 0,
            };
            self.sent.insert((number, u16::try_from(index).unwrap_or(u16::MAX)), sent);
        }
        if count > 0 || racing {
            self.stage = None;
        }
        let pages = Features::SUPPORT_ZERO_COPY | Features::AUTO_BUF_REG;
        let loses = rings::of(ring).has_thread()
            || racing
            || !(self.features & pages).is_empty()
            || shots.iter().any(|shot| !shot.changes.is_empty());
        self.lost |= loses && shots.iter().any(|shot| matches!(shot.base, Base::Io(_)));
        must
    }

    /// Compares what was said of an act.
    pub(super) fn hear(&mut self, number: u16, act: &Act, reply: &Reply) -> Result<(), Trouble> {
        match reply {
            Reply::Answers { sent, answers } => {
                for (index, was_sent) in sent.iter().enumerate() {
                    if !was_sent {
                        let place = (number, u16::try_from(index).unwrap_or(u16::MAX));
                        self.sent.remove(&place);
                    }
                }
                for answer in answers {
                    self.answered(answer)?;
                }
                self.missing(number)
            }
            Reply::Left { .. } => {
                self.sent.retain(|(act, _), _| *act != number);
                Ok(())
            }
            Reply::Trouble { message } => Err(("what is right succeeds".into(), message.clone())),
            Reply::Device { queues, depth, desc_bytes, .. } => {
                let geometry = self.brought.map(|stage| Geometry {
                    queues: *queues,
                    depth: *depth,
                    desc_bytes: *desc_bytes,
                    features: self.features,
                    stage,
                });
                self.maps = geometry.map(|of| Maps::new(self.kernel, self.offered, of));
                Ok(())
            }
            Reply::Result { result } => self.result(act, *result),
        }
    }

    /// Compares the result of an act that is about memory or holders.
    fn result(&mut self, act: &Act, result: i64) -> Result<(), Trouble> {
        let of_maps = self.maps.as_ref().and_then(|maps| maps.expect(act));
        let allowed = of_maps.or_else(|| self.holding.expect(act));
        let told = kinds_only(&act.to_string());
        self.seen.push(format!("{told}: {}", result.min(1)));
        if let Act::Storm { .. } = act
            && self.holding.is_busy()
            && result > 0
        {
            let observed = format!("{result} times it could be opened");
            return Err((format!("{act}: it is busy"), observed));
        }
        let Some(allowed) = allowed.map(|allowed| self.planted(allowed)) else { return Ok(()) };
        if !allowed.takes(result) {
            let shown = i32::try_from(result).map_or_else(|_| result.to_string(), errno);
            return Err((format!("{act}: {}", allowed.to_text()), shown));
        }
        if result >= 0 {
            self.holding.done(act);
            if let Some(maps) = &mut self.maps {
                maps.done(act);
            }
        }
        Ok(())
    }

    fn planted(&self, allowed: Allowed) -> Allowed {
        let turned = [Allowed::only(&[nix::libc::EPERM]), Allowed::only(&[nix::libc::EBUSY])];
        let turns = self.plant && turned.contains(&allowed);
        if turns { Allowed::only(&[nix::libc::EIO]) } else { allowed }
    }

    fn answered(&mut self, answer: &Answer) -> Result<(), Trouble> {
        let (act, shot) = (answer.act + 1, answer.shot + 1);
        let Some(sent) = self.sent.get_mut(&(answer.act, answer.shot)) else {
            let observed = format!("{} for shot {shot} of act {act}", errno(answer.res));
            return Err(("no answer to what was not sent".into(), observed));
        };
        if sent.answered {
            let observed = format!("and then {} once more", errno(answer.res));
            return Err((format!("{}: one answer", sent.told), observed));
        }
        sent.answered = !answer.more;
        self.seen.push(format!("{}: {}", kinds_only(&sent.told), answer.res.min(1)));
        if sent.allowed.takes(i64::from(answer.res)) {
            return Ok(());
        }
        let expected = format!("{}: {}", sent.told, sent.allowed.to_text());
        Err((expected, format!("{} to shot {shot} of act {act}", errno(answer.res))))
    }

    /// Whether all answers of an act have come that must.
    fn missing(&self, number: u16) -> Result<(), Trouble> {
        let shots = self.sent.iter().filter(|((act, _), _)| *act == number);
        let Some((_, sent)) = shots.into_iter().find(|(_, sent)| sent.must && !sent.answered)
        else {
            return Ok(());
        };
        Err((format!("{}: {}", sent.told, sent.allowed.to_text()), "no answer".into()))
    }
}

/// Numbers are not what makes a case new.
fn kinds_only(told: &str) -> String {
    told.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Whether it may change what its device is.
fn changes_state(shot: &Shot) -> bool {
    let other_opcode = shot.has(|change| matches!(change, Change::CmdOp(1..) | Change::Slot(_)));
    match shot.base {
        Base::Control(nr) => {
            let reads = [
                CtrlOp::GetDevInfo,
                CtrlOp::GetDevInfo2,
                CtrlOp::GetFeatures,
                CtrlOp::GetQueueAffinity,
                CtrlOp::GetParams,
                CtrlOp::AddDev,
            ];
            let elsewhere = shot.has(|change| {
                matches!(change, Change::Dev(Dev::Nobodys | Dev::TooLarge | Dev::Bystanders))
            });
            let reads = control_op(nr).is_some_and(|op| reads.contains(&op)) || elsewhere;
            !reads || other_opcode
        }
        Base::Io(_) => true,
        Base::Other(_) => false,
    }
}
