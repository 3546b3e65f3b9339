//! How bytes move between an application and a target, and how many threads move them: choices that are
//! features of the device, taken together so that no half of one can be chosen.

use std::fmt;
use std::str::FromStr;

use crate::queue::QueueTicket;
use crate::target::Capabilities;
use crate::uapi::Features;

/// How a request's bytes move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DataMode {
    /// The kernel copies them to and from a buffer of the server's. Available since Linux 6.0.
    #[default]
    Copy,
    /// The same, and a write's bytes only when the server asks for them: NEED_GET_DATA. It costs each
    /// write a round trip more. Available since Linux 6.0.
    GetData,
    /// The server copies them, through the character device. Available since Linux 6.5.
    UserCopy,
    /// The request's pages are registered with the ring by the server, and files are read into and
    /// written from them. Available since Linux 6.15.
    ZeroCopy,
    /// The kernel registers them as it delivers a request. Available since Linux 6.16.
    AutoZeroCopy,
    /// The same, and the server registers them where the kernel could not. Available since Linux 6.16.
    AutoZeroCopyFallback,
}

impl DataMode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Copy,
        Self::GetData,
        Self::UserCopy,
        Self::ZeroCopy,
        Self::AutoZeroCopy,
        Self::AutoZeroCopyFallback,
    ];

    /// As it is written on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::GetData => "get-data",
            Self::UserCopy => "user-copy",
            Self::ZeroCopy => "zero-copy",
            Self::AutoZeroCopy => "auto-zero-copy",
            Self::AutoZeroCopyFallback => "auto-zero-copy-fallback",
        }
    }

    /// Whether bytes stay in the request's own pages.
    #[must_use]
    pub const fn is_zero_copy(self) -> bool {
        matches!(self, Self::ZeroCopy | Self::AutoZeroCopy | Self::AutoZeroCopyFallback)
    }

    /// The features it stands for, with a target of these capabilities: one that wants bytes gets them
    /// by user copy where pages are registered.
    #[must_use]
    pub fn features(self, capabilities: &Capabilities) -> Features {
        let features = match self {
            Self::Copy => Features::empty(),
            Self::GetData => Features::NEED_GET_DATA,
            Self::UserCopy => Features::USER_COPY,
            Self::ZeroCopy => Features::SUPPORT_ZERO_COPY,
            Self::AutoZeroCopy => Features::AUTO_BUF_REG,
            Self::AutoZeroCopyFallback => Features::AUTO_BUF_REG | Features::SUPPORT_ZERO_COPY,
        };
        let wants_bytes = !capabilities.extents && !capabilities.ignores_data;
        if self.is_zero_copy() && wants_bytes { features | Features::USER_COPY } else { features }
    }
}

impl fmt::Display for DataMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl FromStr for DataMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|mode| mode.name()).collect();
            format!("no data mode is called {text:?}; there are {}", names.join(", "))
        })
    }
}

/// Deals tickets out to threads: several queues to a thread where there are fewer threads, shares of a
/// queue where there are more and the device allows it. As many threads as could be are given.
///
/// With `mixed` each thread gets a share of every queue instead.
pub(super) fn deal(
    tickets: Vec<QueueTicket>,
    threads: Option<usize>,
    mixed: bool,
) -> Vec<Vec<QueueTicket>> {
    let queues = tickets.len().max(1);
    let threads = threads.unwrap_or(queues).max(1);
    let mut hands: Vec<Vec<QueueTicket>> = (0..threads).map(|_| Vec::new()).collect();
    if mixed {
        for (queue, ticket) in tickets.into_iter().enumerate() {
            let shares = ticket.split(u16::try_from(threads).unwrap_or(u16::MAX));
            // One that cannot be split goes to one thread, another one for each queue. A thread that serves
            // all queues belongs to no CPU.
            for (index, share) in shares.unwrap_or_else(|whole| vec![whole]).into_iter().enumerate()
            {
                hands[(index + queue) % threads].push(share.unpinned());
            }
        }
        hands.retain(|hand| !hand.is_empty());
        return hands;
    }
    let shares = threads.div_ceil(queues);
    let mut next = 0;
    for (queue, ticket) in tickets.into_iter().enumerate() {
        // The first queues get one share more where it does not come out even.
        let shares =
            if threads <= queues || queue < threads % queues || threads.is_multiple_of(queues) {
                shares
            } else {
                shares - 1
            };
        let dealt = if shares > 1 {
            ticket
                .split(u16::try_from(shares).unwrap_or(u16::MAX))
                .unwrap_or_else(|whole| vec![whole])
        } else {
            vec![ticket]
        };
        for share in dealt {
            hands[next % threads].push(share);
            next += 1;
        }
    }
    hands.retain(|hand| !hand.is_empty());
    hands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for mode in DataMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        let error = "zerocopy".parse::<DataMode>().unwrap_err();
        assert!(error.contains("zero-copy, auto-zero-copy"), "{error}");
    }

    #[test]
    fn a_target_that_wants_bytes_has_them_copied_beside_zero_copy() {
        let bytes = Capabilities::default();
        let extents = Capabilities { extents: true, ..bytes };
        let ignores = Capabilities { ignores_data: true, ..bytes };
        let zero_copy = DataMode::ZeroCopy;
        assert_eq!(zero_copy.features(&extents), Features::SUPPORT_ZERO_COPY);
        assert_eq!(zero_copy.features(&ignores), Features::SUPPORT_ZERO_COPY);
        assert_eq!(zero_copy.features(&bytes), Features::SUPPORT_ZERO_COPY | Features::USER_COPY);
        assert_eq!(DataMode::GetData.features(&bytes), Features::NEED_GET_DATA);
    }
}
