//! One SQE as a value: a command or an operation that is well-formed, and what is then changed of it. A list of changes is
//! what can be shrunk: each that goes is a field that is right again.

use std::fmt;
use std::mem::discriminant;

use serde::{Deserialize, Serialize};
use ublk::uapi::{CtrlOp, IoCmdOp};

/// What it is before anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// A control command for the case's device, by number.
    Control(u8),
    /// An I/O command for a tag of it, by number.
    Io(u8),
    /// Something that is no command.
    Other(Other),
}

/// Operations that are no commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // The names are the operations'.
pub enum Other {
    Read,
    Write,
    Poll,
    Fsync,
    Splice,
    Nop,
    CloseSlot,
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// `/dev/ublk-control`.
    Control,
    /// `/dev/ublkcN`, where it is open; the control node else.
    Char,
    /// The bystander's `/dev/ublkbN`. Not for commands, which go to a pipe.
    Block,
    /// A pipe.
    Decoy,
    /// A descriptor that nobody has.
    Nobody,
}

/// Whose id is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dev {
    /// An id that no device has.
    Nobodys,
    /// All ones: ADD_DEV chooses.
    Auto,
    /// The first id that the driver does not give out.
    TooLarge,
    /// The bystander's. Only commands that change nothing are sent with it.
    Bystanders,
}

/// Where a buffer is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Address 0.
    Null,
    /// That many bytes before a page that faults.
    End(u8),
    /// A page that faults on writing.
    ReadOnly,
    /// A page that faults.
    Unmapped,
    /// In the kernel's half.
    Kernel(u32),
    /// Nobody's address.
    NonCanonical(u32),
    /// A small number.
    Small(u16),
    /// The buffer of a tag.
    TagBuffer(u8),
}

/// One thing that is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Bits of `cmd_op` that are turned round.
    CmdOp(u32),
    /// The file.
    To(To),
    /// The device id.
    Dev(Dev),
    /// The queue.
    Queue(u16),
    /// The tag.
    Tag(u16),
    /// The result of a commit.
    Result(i32),
    /// `len` of a control command's payload, or of a read or write.
    Len(u16),
    /// The address of the payload's buffer, or of a read or write.
    Place(Place),
    /// `data` of a control command, or the position of a read or write.
    Data(u64),
    /// `dev_path_len`.
    PathLen(u16),
    /// The payload's reserved bytes.
    Reserved(u32),
    /// A word of the payload's buffer, and the bits of it that are turned round.
    Poke(u8, u32),
    /// `IOSQE_*`.
    Flags(u8),
    /// `sqe.ioprio`.
    Ioprio(u16),
    /// `sqe.__pad1`.
    Pad(u32),
    /// `sqe.len` of a command, which nobody looks at.
    SqeLen(u32),
    /// `sqe.uring_cmd_flags` and its namesakes.
    CmdFlags(u32),
    /// `sqe.buf_index`.
    BufIndex(u16),
    /// `sqe.personality`.
    Personality(u16),
    /// `sqe.addr` of a command, as a place.
    SqePlace(Place),
    /// `sqe.addr` of a command, as a buffer registration: index, flags, and the reserved fields.
    AutoReg(u16, u8, u8, u32),
    /// The file is named by a slot of the ring's file table.
    Slot(u16),
}

/// An SQE.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shot {
    /// What it is.
    pub base: Base,
    /// Queue and tag of an I/O command, before they are changed.
    #[serde(default)]
    pub tag: (u8, u8),
    /// What is changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

impl Shot {
    /// The opcode as it is sent; none of what is no command.
    #[must_use]
    pub fn cmd_op(&self) -> Option<u32> {
        let encoded = match self.base {
            Base::Control(nr) => control_op(nr)?.encoded(),
            Base::Io(nr) => io_op(nr)?.encoded(),
            Base::Other(_) => return None,
        };
        let change = |op, change: &Change| match change {
            Change::CmdOp(bits) => op ^ bits,
            _ => op,
        };
        Some(self.changes.iter().fold(encoded, change))
    }

    /// The number part of the opcode as it is sent.
    #[must_use]
    pub fn nr(&self) -> Option<u8> {
        self.cmd_op().map(|op| (op & 0xff) as u8)
    }

    /// The file it goes to.
    #[must_use]
    pub fn to(&self) -> To {
        let first = match self.base {
            Base::Control(_) => To::Control,
            Base::Io(_) | Base::Other(_) => To::Char,
        };
        let last = |to, change: &Change| match change {
            Change::To(other) => *other,
            _ => to,
        };
        self.changes.iter().fold(first, last)
    }

    /// `IOSQE_*` as they are sent, without what a slot adds.
    #[must_use]
    pub fn flags(&self) -> u8 {
        let last = |flags, change: &Change| match change {
            Change::Flags(bits) => *bits,
            _ => flags,
        };
        self.changes.iter().fold(0, last)
    }

    /// Whether one of the changes is as `which` says, and no later one undoes it.
    #[must_use]
    pub fn has(&self, which: impl Fn(&Change) -> bool) -> bool {
        let undone = |index: usize, change: &Change| {
            let later = self.changes.get(index + 1..).unwrap_or_default();
            let adds_up = matches!(change, Change::CmdOp(_) | Change::Poke(..));
            !adds_up && later.iter().any(|later| discriminant(later) == discriminant(change))
        };
        let mut all = self.changes.iter().enumerate();
        all.any(|(index, change)| which(change) && !undone(index, change))
    }

    /// The same with one change less, and simpler ones.
    #[must_use]
    pub fn simpler(&self) -> Vec<Self> {
        let less = |index: usize| {
            let mut changes = self.changes.clone();
            changes.remove(index);
            Self { changes, ..self.clone() }
        };
        let mut all: Vec<Self> = (0..self.changes.len()).map(less).collect();
        if self.tag != (0, 0) {
            all.push(Self { tag: (0, 0), ..self.clone() });
        }
        all
    }
}

/// The control command with that number.
#[must_use]
pub(super) fn control_op(nr: u8) -> Option<CtrlOp> {
    CtrlOp::ALL.iter().copied().find(|op| op.nr() == nr)
}

/// The I/O command with that number.
#[must_use]
pub(super) fn io_op(nr: u8) -> Option<IoCmdOp> {
    IoCmdOp::ALL.iter().copied().find(|op| op.nr() == nr)
}

impl fmt::Display for Shot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            Base::Control(nr) => {
                out.write_str(control_op(nr).map_or("control command", CtrlOp::name))?;
            }
            Base::Io(nr) => {
                out.write_str(io_op(nr).map_or("I/O command", IoCmdOp::name))?;
                write!(out, " of queue {}, tag {}", self.tag.0, self.tag.1)?;
            }
            Base::Other(other) => write!(out, "{other:?}")?,
        }
        for (index, change) in self.changes.iter().enumerate() {
            out.write_str(if index == 0 { " with " } else { ", " })?;
            match change {
                Change::CmdOp(bits) => write!(out, "cmd_op ^ {bits:#x}")?,
                Change::To(to) => write!(out, "the file {to:?}")?,
                Change::Dev(dev) => write!(out, "the id {dev:?}")?,
                Change::Poke(at, bits) => {
                    write!(out, "word {at} of its buffer ^ {bits:#x}")?;
                }
                Change::Flags(bits) => write!(out, "IOSQE flags {bits:#x}")?,
                Change::Data(data) => write!(out, "data {data:#x}")?,
                other => write!(out, "{other:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_number_and_a_name() {
        for op in CtrlOp::ALL {
            assert_eq!(control_op(op.nr()), Some(*op));
        }
        let shot = Shot {
            base: Base::Control(CtrlOp::AddDev.nr()),
            tag: (0, 0),
            changes: vec![Change::Ioprio(3), Change::Flags(4)],
        };
        assert_eq!(shot.to_string(), "ADD_DEV with Ioprio(3), IOSQE flags 0x4");
        assert_eq!(shot.simpler().len(), 2);
        assert_eq!(shot.flags(), 4);
    }
}
