//! What a ring's entries carry to be known again by: a kind and two numbers in 64 bits.

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A slot's command.
    Command,
    /// An operation of a slot's task.
    Operation,
    /// Something that completes only if it fails, and whose failure shows elsewhere.
    Quiet,
    /// A lane's FETCH_IO_CMDS.
    Fetch,
    /// A lane's PREP_IO_CMDS or COMMIT_IO_CMDS.
    Elements,
    /// The watch.
    Watch,
    /// The wake-up of tasks.
    Wake,
}

const KINDS: [Kind; 7] = [
    Kind::Command,
    Kind::Operation,
    Kind::Quiet,
    Kind::Fetch,
    Kind::Elements,
    Kind::Watch,
    Kind::Wake,
];

/// The parts of a user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserData {
    pub(super) kind: Kind,
    /// A slot, or a lane.
    pub(super) number: u32,
    /// Which operation or element buffer.
    pub(super) index: u8,
}

impl UserData {
    pub(super) const fn new(kind: Kind, number: u32, index: u8) -> Self {
        Self { kind, number, index }
    }

    /// A command is all its slot: the entry that is made and taken most costs no shifting.
    pub(super) const fn encode(self) -> u64 {
        self.number as u64 | (self.index as u64) << 32 | (self.kind as u64) << 40
    }

    /// None for what this module did not make.
    pub(super) fn decode(bits: u64) -> Option<Self> {
        let kind = KINDS.get(usize::try_from(bits >> 40).ok()?)?;
        Some(Self { kind: *kind, number: bits as u32, index: (bits >> 32) as u8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_comes_back() {
        for kind in KINDS {
            for (number, index) in [(0, 0), (16_383, 7), (u32::MAX, u8::MAX)] {
                let data = UserData::new(kind, number, index);
                assert_eq!(UserData::decode(data.encode()), Some(data));
            }
        }
        assert_eq!(UserData::decode(u64::MAX), None);
        assert_eq!(UserData::new(Kind::Command, 9, 0).encode(), 9);
    }
}
