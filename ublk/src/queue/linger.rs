//! Whether to let other threads run once before sleeping for the next request.
//!
//! Where an application shares the CPU with its server, going to sleep is the most expensive thing a
//! server does: every request then has to wake it, and preempts the application in the middle of its
//! batch. A server that only yields stays runnable; the application goes on until it has nothing left to
//! submit, and what it submitted is taken in one system call. Where nobody else wants the CPU a yield
//! costs a system call and gives nothing, and where somebody unrelated does, it costs their whole slice.
//! So it is kept up only as long as it pays: each yield that brought something earns the next ones, each
//! that brought nothing, or took too long, uses them up, and after that it is tried now and then. A
//! server without requests sleeps.

use std::time::Duration;

/// Yields in vain in a row after which there are none for a while.
const CREDIT_MAX: u8 = 4;
/// Sleeps between two attempts, at first and at most.
const PAUSE_SLEEPS: u16 = 32;
const PAUSE_SLEEPS_MAX: u16 = 4096;
/// Every how many yields the clock is looked at.
const LOOK_EVERY: u8 = 8;
/// What a yield may take for each request that it brought.
const REQUEST_MAX: Duration = Duration::from_micros(200);

/// The memory of one worker about its yields.
#[derive(Debug)]
pub(super) struct Linger {
    credit: u8,
    /// Sleeps until the next attempt, and how many there will be before the one after it.
    left_sleeps: u16,
    pause_sleeps: u16,
    until_look: u8,
}

impl Default for Linger {
    fn default() -> Self {
        Self { credit: 1, left_sleeps: 0, pause_sleeps: PAUSE_SLEEPS, until_look: 0 }
    }
}

impl Linger {
    /// Whether to yield before this sleep.
    pub(super) fn is_due(&mut self) -> bool {
        if self.credit > 0 {
            return true;
        }
        match self.left_sleeps.checked_sub(1) {
            Some(left) => {
                self.left_sleeps = left;
                false
            }
            None => {
                self.credit = 1;
                true
            }
        }
    }

    /// Whether to measure this yield.
    pub(super) fn looks(&mut self) -> bool {
        match self.until_look.checked_sub(1) {
            Some(left) => {
                self.until_look = left;
                false
            }
            None => {
                self.until_look = LOOK_EVERY - 1;
                true
            }
        }
    }

    /// There was something, without the sleep.
    pub(super) fn paid(&mut self) {
        self.credit = (self.credit + 1).min(CREDIT_MAX);
    }

    /// There was nothing.
    pub(super) fn was_in_vain(&mut self) {
        self.credit = self.credit.saturating_sub(1);
        self.left_sleeps = self.pause_sleeps;
    }

    /// So long a yield, for so many requests: somebody else had the CPU, or it was time well spent.
    pub(super) fn took(&mut self, elapsed: Duration, requests: usize) {
        let requests = u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
        if elapsed > REQUEST_MAX.saturating_mul(requests) {
            self.credit = 0;
            self.left_sleeps = self.pause_sleeps;
            self.pause_sleeps = (self.pause_sleeps * 2).min(PAUSE_SLEEPS_MAX);
        } else {
            self.pause_sleeps = (self.pause_sleeps / 2).max(PAUSE_SLEEPS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(linger: &mut Linger, sleeps: u32) -> u32 {
        (0..sleeps)
            .map(|_| {
                let due = linger.is_due();
                if due {
                    linger.was_in_vain();
                }
                u32::from(due)
            })
            .sum()
    }

    #[test]
    fn what_pays_goes_on_and_what_does_not_is_tried_now_and_then() {
        let mut linger = Linger::default();
        for _ in 0..100 {
            assert!(linger.is_due());
            linger.paid();
        }
        assert_eq!(attempts(&mut linger, 4), 4, "one miss is forgiven");
        assert_eq!(attempts(&mut linger, 33 * 10), 10);
        while !linger.is_due() {}
        linger.paid();
        assert!(linger.is_due());
    }

    #[test]
    fn a_yield_that_others_use_up_is_tried_ever_more_rarely() {
        let mut linger = Linger::default();
        for expected in [32, 64, 128, 256, 512, 1024, 2048, 4096, 4096] {
            assert!(linger.is_due());
            linger.paid();
            linger.took(Duration::from_millis(3), 1);
            let mut sleeps = 0;
            while !linger.is_due() {
                sleeps += 1;
            }
            assert_eq!(sleeps, expected);
        }
        // It is back as soon as it pays.
        linger.took(Duration::from_micros(150), 1);
        linger.paid();
        assert!(linger.is_due());
    }

    #[test]
    fn a_long_yield_with_many_requests_was_the_application_at_work() {
        let mut linger = Linger::default();
        linger.paid();
        linger.took(Duration::from_millis(3), 128);
        assert!(linger.is_due());
        linger.took(Duration::from_millis(3), 8);
        assert!(!linger.is_due());
    }

    #[test]
    fn the_clock_is_looked_at_once_in_a_while() {
        let mut linger = Linger::default();
        assert_eq!((0..80).filter(|_| linger.looks()).count(), 10);
    }
}
