//! What is done in a case, as values: a list of these is a test, a reproducer and a corpus entry.

use std::fmt;

use serde::{Deserialize, Serialize};
use ublk::uapi::Features;

use super::rings;
use super::shot::Shot;
use crate::model::Shrinkable;

/// How far a device is brought before anything wrong is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// ADD_DEV.
    Added,
    /// SET_PARAMS.
    Params,
    /// The char device is open, its descriptors are mapped.
    Opened,
    /// Every tag is fetched.
    Fetched,
    /// START_DEV.
    Live,
}

/// A word that changes while the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Racing {
    /// `sqe.len`.
    Len,
    /// The device id, or queue and tag.
    First,
    /// Queue and length, or the result.
    Second,
    /// `data`.
    Data,
    /// A word of the payload's buffer.
    Buffer(u8),
}

/// One act. Who does it is the case's process, the hand, unless its line says another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
#[allow(missing_docs)] // What a field is, the variant's line says.
pub enum Act {
    /// A device with these features (`UBLK_F_*`), brought as far as `stage`.
    Device { features: u64, queues: u8, depth: u8, stage: Stage },
    /// SQEs in one submission; of each racing word the shot and what it is.
    Shots {
        ring: u8,
        shots: Vec<Shot>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        races: Vec<(u8, Racing)>,
    },
    /// A client, in a process that lives on, reads or writes a block of the device and does not wait.
    Io { write: bool, block: u8 },
    /// The server answers the requests it has; those of a client it keeps until then.
    Serve,
    /// Nothing is done for 20 ms, so that what a client has sent arrives.
    Pause,
    /// SIGKILL, so long after the next act was begun.
    Kill { after_us: u16 },
    /// A part of the char device is mapped: bits of `prot` as PROT_*.
    Map { offset: u64, len: u32, prot: u8, private: bool },
    /// The mapping made last gets another protection.
    Protect { prot: u8 },
    /// The mapping made last gets another length.
    Remap { len: u32 },
    /// The mapping made last loses bytes at its front or its end.
    Trim { front: bool, len: u32 },
    /// The mapping made last is read, where it may be.
    Look,
    /// A positional read of the char device.
    Pread { position: u64, len: u32 },
    /// A positional write.
    Pwrite { position: u64, len: u32 },
    /// One holder more of the char device, of this sort.
    Hold { how: Hold },
    /// The holder that was made as the `which`-th lets go.
    Release { which: u8 },
    /// Threads open and close the char device at once, as often as that.
    Storm { threads: u8, rounds: u8 },
    /// Somebody else opens the char device, and closes it again.
    Probe,
    /// Somebody else deletes the device, without waiting for its end.
    Delete,
}

/// Ways of holding an open char device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// open.
    Open,
    /// dup of what is open.
    Dup,
    /// A mapping of it.
    Mapping,
    /// A forked process.
    Fork,
    /// A process that was started with it as its standard input.
    Exec,
    /// On its way through a socket: sent, and not received.
    InFlight,
    /// In a ring's file table.
    Slot,
}

impl Shrinkable for Act {
    fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Shots { ring, shots, races } => simpler_shots(*ring, shots, races),
            Self::Device { features, queues, depth, stage } => {
                let device = |features, queues, depth| Self::Device {
                    features,
                    queues,
                    depth,
                    stage: *stage,
                };
                let mut all = Vec::new();
                if *features != 0 {
                    all.push(device(0, *queues, *depth));
                }
                if *queues > 1 || *depth > 1 {
                    all.push(device(*features, 1, 1));
                }
                all
            }
            Self::Kill { after_us } if *after_us > 0 => vec![Self::Kill { after_us: 0 }],
            Self::Storm { threads, rounds } if *rounds > 1 => {
                vec![Self::Storm { threads: *threads, rounds: rounds / 2 }]
            }
            _ => Vec::new(),
        }
    }
}

/// Without a race, without a shot, with a simpler shot, through a simpler ring.
fn simpler_shots(ring: u8, shots: &[Shot], races: &[(u8, Racing)]) -> Vec<Act> {
    let act = |shots: Vec<Shot>, races: Vec<(u8, Racing)>| Act::Shots { ring, shots, races };
    let mut all = Vec::new();
    for left_out in 0..races.len() {
        let mut races = races.to_vec();
        races.remove(left_out);
        all.push(act(shots.to_vec(), races));
    }
    if shots.len() > 1 {
        for left_out in 0..shots.len() {
            let mut fewer = shots.to_vec();
            fewer.remove(left_out);
            let place = u8::try_from(left_out).unwrap_or(u8::MAX);
            let kept = races.iter().filter(|(shot, _)| *shot != place);
            let moved = kept.map(|(shot, what)| (shot - u8::from(*shot > place), *what));
            all.push(act(fewer, moved.collect()));
        }
    }
    for (index, shot) in shots.iter().enumerate() {
        for simpler in shot.simpler() {
            let mut changed = shots.to_vec();
            changed[index] = simpler;
            all.push(act(changed, races.to_vec()));
        }
    }
    if ring != 0 {
        all.push(Act::Shots { ring: 0, shots: shots.to_vec(), races: races.to_vec() });
    }
    all
}

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { features, queues, depth, stage } => {
                let features = Features::from_bits(*features);
                write!(out, "a device of {queues} queues of {depth}, {features}: {stage:?}")
            }
            Self::Shots { ring, shots, races } => {
                let list: Vec<_> = shots.iter().map(ToString::to_string).collect();
                write!(out, "{} (ring: {})", list.join("; "), rings::of(*ring).name)?;
                for (shot, what) in races {
                    write!(out, "; of number {} changes meanwhile: {what:?}", shot + 1)?;
                }
                Ok(())
            }
            Self::Io { write, block } => {
                let verb = if *write { "writes" } else { "reads" };
                write!(out, "a client {verb} block {block}")
            }
            Self::Serve => out.write_str("the server answers the requests it has"),
            Self::Pause => out.write_str("20 ms go by"),
            Self::Kill { after_us } => {
                write!(out, "SIGKILL {after_us} us after the next act was begun")
            }
            Self::Map { offset, len, prot, private } => {
                let sort = if *private { "private" } else { "shared" };
                write!(out, "mmap of {len} bytes at {offset:#x}, {sort}, protection {prot}")
            }
            Self::Protect { prot } => write!(out, "mprotect of it: {prot}"),
            Self::Remap { len } => write!(out, "mremap of it to {len} bytes"),
            Self::Trim { front, len } => {
                let place = if *front { "first" } else { "last" };
                write!(out, "munmap of its {place} {len} bytes")
            }
            Self::Look => out.write_str("it is read"),
            Self::Pread { position, len } => write!(out, "pread of {len} bytes at {position:#x}"),
            Self::Pwrite { position, len } => {
                write!(out, "pwrite of {len} bytes at {position:#x}")
            }
            Self::Hold { how } => write!(out, "the char device is held by: {how:?}"),
            Self::Release { which } => write!(out, "holder {which} lets go"),
            Self::Storm { threads, rounds } => {
                write!(out, "{threads} threads open and close the char device {rounds} times")
            }
            Self::Probe => out.write_str("another process opens the char device"),
            Self::Delete => out.write_str("another process sends DEL_DEV and does not wait"),
        }
    }
}

/// A case as a numbered list, one act a line.
#[must_use]
pub fn numbered(acts: &[Act]) -> String {
    let line = |(index, act): (usize, &Act)| format!("{:>3}. {act}\n", index + 1);
    acts.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::shot::{Base, Change};
    use super::*;

    fn shot(nr: u8) -> Shot {
        Shot { base: Base::Control(nr), tag: (0, 0), changes: vec![Change::Pad(1)] }
    }

    #[test]
    fn acts_survive_a_file() {
        let acts = vec![
            Act::Device { features: 0, queues: 1, depth: 2, stage: Stage::Live },
            Act::Shots { ring: 3, shots: vec![shot(4)], races: vec![(0, Racing::First)] },
            Act::Hold { how: Hold::InFlight },
        ];
        let text = serde_json::to_string(&acts).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Act>>(&text).unwrap(), acts);
    }

    #[test]
    fn a_race_stays_with_its_shot_when_another_goes() {
        let act =
            Act::Shots { ring: 0, shots: vec![shot(4), shot(5)], races: vec![(1, Racing::Data)] };
        let wanted = Act::Shots { ring: 0, shots: vec![shot(5)], races: vec![(0, Racing::Data)] };
        assert!(act.simpler().contains(&wanted), "{:?}", act.simpler());
    }
}
