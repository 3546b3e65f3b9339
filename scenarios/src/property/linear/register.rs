//! Is what was seen of one sector explained by some order of the writes and reads that respects real time?
//!
//! A sector is a register, and every write to it has a value of its own, which makes the question easy: all operations on one
//! value form a cluster, which occupies the time from the first end to the last begin among them. Where the first end comes
//! before the last begin the value must have been there in between (a forward zone), else some moment between the two will do
//! (a backward zone). Some order explains the history if and only if no read comes before its write, no two forward zones
//! overlap, and no backward zone lies within a forward one (Gibbons and Korach, 1997). A search through all orders, in the
//! tests, agrees.

use std::collections::BTreeMap;

/// The value before any write.
pub(super) const INITIAL: u64 = 0;

/// One operation on a register, between two moments in some unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Written, by whoever wrote it alone, or read.
    pub(super) value: u64,
    pub(super) write: bool,
}

/// Why no order explains a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// A value that nobody wrote.
    Unwritten(u64),
    /// A read that ended before its value's write began.
    Early(u64),
    /// Two values that must each have been there at the same time: one was seen again after the other.
    Both(u64, u64),
    /// A value that had no time to be there, for another was there all along.
    Never(u64, u64),
}

/// Where a value is in time.
#[derive(Clone, Copy, Debug)]
struct Zone {
    value: u64,
    first_end: u64,
    last_begin: u64,
}

impl Zone {
    fn is_forward(self) -> bool {
        self.first_end < self.last_begin
    }

    fn low(self) -> u64 {
        self.first_end.min(self.last_begin)
    }

    fn high(self) -> u64 {
        self.first_end.max(self.last_begin)
    }
}

/// Whether an order explains the history, which begins with [`INITIAL`] in the register.
///
/// Moments begin at 1: before that the register was made.
pub(super) fn check(history: &[Operation]) -> Result<(), Contradiction> {
    let made = Operation { begin: 0, end: 0, value: INITIAL, write: true };
    let mut clusters = BTreeMap::<u64, Vec<Operation>>::new();
    for operation in history.iter().chain([&made]) {
        clusters.entry(operation.value).or_default().push(*operation);
    }
    let mut zones = Vec::new();
    for (value, operations) in clusters {
        let write = operations.iter().find(|operation| operation.write);
        let write = write.ok_or(Contradiction::Unwritten(value))?;
        if operations.iter().any(|operation| operation.end < write.begin) {
            return Err(Contradiction::Early(value));
        }
        let first_end = operations.iter().map(|operation| operation.end).min().unwrap_or(0);
        let last_begin = operations.iter().map(|operation| operation.begin).max().unwrap_or(0);
        zones.push(Zone { value, first_end, last_begin });
    }
    let (mut forward, backward): (Vec<_>, Vec<_>) =
        zones.into_iter().partition(|zone| zone.is_forward());
    forward.sort_by_key(|zone| zone.low());
    for pair in forward.windows(2) {
        if let [a, b] = pair
            && b.low() < a.high()
        {
            return Err(Contradiction::Both(a.value, b.value));
        }
    }
    for inner in backward {
        // Forward zones are apart, so only the last that begins before it can have it within.
        let at = forward.partition_point(|zone| zone.low() < inner.low());
        if let Some(outer) = at.checked_sub(1).and_then(|at| forward.get(at))
            && inner.high() < outer.high()
        {
            return Err(Contradiction::Never(inner.value, outer.value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn write(begin: u64, end: u64, value: u64) -> Operation {
        Operation { begin, end, value, write: true }
    }

    fn read(begin: u64, end: u64, value: u64) -> Operation {
        Operation { begin, end, value, write: false }
    }

    #[rstest]
    #[case::nothing(&[], Ok(()))]
    #[case::new(&[read(1, 2, 0)], Ok(()))]
    #[case::in_order(&[write(1, 2, 7), read(3, 4, 7)], Ok(()))]
    #[case::stale(&[write(1, 2, 7), read(3, 4, 0)], Err(Contradiction::Never(7, 0)))]
    #[case::while_written(&[write(1, 9, 7), read(2, 3, 0), read(4, 5, 7)], Ok(()))]
    #[case::back_again(
        &[write(1, 9, 7), read(2, 3, 7), read(4, 5, 0)],
        Err(Contradiction::Never(7, 0))
    )]
    #[case::from_the_future(&[read(1, 2, 7), write(3, 4, 7)], Err(Contradiction::Early(7)))]
    #[case::nobodys(&[read(1, 2, 5)], Err(Contradiction::Unwritten(5)))]
    #[case::either_of_two(&[write(1, 9, 7), write(1, 9, 8), read(10, 11, 7)], Ok(()))]
    #[case::both_of_two(
        &[write(1, 9, 7), write(1, 9, 8), read(10, 11, 7), read(12, 13, 8)],
        Err(Contradiction::Both(7, 8))
    )]
    #[case::overwritten(
        &[write(1, 2, 7), write(3, 4, 8), read(5, 6, 7)],
        Err(Contradiction::Never(8, 7))
    )]
    fn histories(#[case] history: &[Operation], #[case] expected: Result<(), Contradiction>) {
        assert_eq!(check(history), expected);
    }

    /// Every order there is: which operation may come next, until all have come or none may.
    fn some_order(history: &[Operation], done: u32, value: u64) -> bool {
        let open = |index: &usize| done & (1 << index) == 0;
        let rest: Vec<_> = (0..history.len()).filter(open).collect();
        if rest.is_empty() {
            return true;
        }
        rest.iter().any(|&next| {
            let operation = history[next];
            let first = rest.iter().all(|&other| history[other].end >= operation.begin);
            let fits = operation.write || operation.value == value;
            first && fits && some_order(history, done | 1 << next, operation.value)
        })
    }

    /// Up to six operations at distinct moments, each write with a value of its own.
    fn history() -> impl Strategy<Value = Vec<Operation>> {
        (1_usize..=6).prop_flat_map(|count| {
            let moments = Just((1..=2 * count as u64).collect::<Vec<_>>()).prop_shuffle();
            let kinds = proptest::collection::vec((any::<bool>(), 0..4_u64), count);
            (moments, kinds).prop_map(|(moments, kinds)| {
                let times =
                    moments.chunks(2).map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1])));
                let operations = times.zip(kinds).zip(1..);
                operations
                    .map(|(((begin, end), (write, value)), own)| Operation {
                        begin,
                        end,
                        value: if write { own } else { value },
                        write,
                    })
                    .collect()
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn the_zones_and_the_search_through_all_orders_agree(history in history()) {
            prop_assert_eq!(check(&history).is_ok(), some_order(&history, 0, INITIAL), "{:?}", history);
        }
    }
}
