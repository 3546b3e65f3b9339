//! What the kernel under test is like, as far as the model's predictions depend on it.
//!
//! What can be asked is asked (GET_FEATURES). What a kernel *answers* is a fact of its version, found by running: each such
//! field says where the change is seen.

use ublk::uapi::Features;

use crate::kernel::KernelRelease;
use crate::rig::{EBUSY, EINVAL};

/// The kernel, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// UPDATE_SIZE is known.
    pub update_size: bool,
    /// QUIESCE_DEV is known, and ADD_DEV takes its flag.
    pub quiesce: bool,
    /// TRY_STOP_DEV is known.
    pub try_stop: bool,
    /// Devices that fail I/O while nobody serves can be made.
    pub fail_io: bool,
    /// The scan for partitions can be left out.
    pub no_part_scan: bool,
    /// START_DEV and END_USER_RECOVERY compare the pid with the opener's: from 6.16.
    pub pid_checked: bool,
    /// A second FETCH of a tag: EBUSY on 6.12 and 6.16.
    pub fetch_again: i32,
    /// A queue has one task, which fetched its last tag; another one's commands are EINVAL: 6.12.
    pub queue_has_a_task: bool,
    /// FETCH_REQ of a tag by another task than has fetched it is EINVAL, by that one EBUSY: 6.16.
    pub task_looked_at_first: bool,
    /// pread and pwrite of a device without USER_COPY: EACCES, where the mode is looked at first.
    pub copy_asks_the_mode: bool,
    /// Pages of requests can be registered: modelled from 7.3 on.
    pub zero_copy: bool,
    /// Memory can be registered with a device: modelled from 7.3 on, and not under lockdep, which complains of each lookup
    /// (`docs/kernel-findings/shmem-lookup-without-rcu.md`).
    pub shared: bool,
    /// Commands of a tag that has no request are refused by what the tag is: modelled from 7.3 on.
    pub stray: bool,
    /// A thread that ends takes nothing with it but its own tags: from 7.3.
    pub threads_end: bool,
    /// Two CPUs at least, so that a device can have two queues; 6.16 to 6.18 were not tried with them.
    pub two_cpus: bool,
    /// STOP_DEV turns the server away until it has closed the device, and a START_DEV that waits: from 7.3.
    pub stop_turns_away: bool,
    /// A server that closes a device that was never started leaves it as new: from 7.3.
    pub close_starts_anew: bool,
    /// UPDATE_SIZE without a disk is answered, not a NULL dereference: from 7.0.
    pub update_size_checks: bool,
    /// ADD_DEV refuses flags that make no sense together: with FAIL_IO.
    pub combos_checked: bool,
    /// The close of the char device clears its queues; before, the cancel of a queue's command did, which a queue whose tags
    /// are all with the server has not: from 6.16.
    pub close_clears: bool,
    /// START_USER_RECOVERY begins the new server's round, once: 6.12.
    pub recovery_in_two_steps: bool,
    /// "All tags are fetched" is remembered when the server leaves, until START_USER_RECOVERY: 6.16 to 6.18.
    pub ready_is_kept: bool,
    /// GET_DEV_INFO looks whether the server's process is there: from 6.16.
    pub pid_looked_up: bool,
    /// A server's end goes on after the references to the module and the state of the device have told of it: 6.17 and 6.18.
    pub release_is_late: bool,
    /// A disk counts as used until a moment after its device is dead: 6.17 to 7.2.
    pub use_ends_late: bool,
    /// The driver complains when a server of a USER_COPY device dies with a request: 6.17.
    pub copier_dies_loudly: bool,
    /// `ublksrv_pid` of a device that nobody has started, from GET_DEV_INFO.
    pub pid_of_new: i32,
}

impl Profile {
    /// What is known of `kernel`, which offers `features`.
    #[must_use]
    pub fn of(kernel: KernelRelease, features: Features) -> Self {
        let old_order = !kernel.at_least(6, 17);
        Self {
            update_size: features.contains(Features::UPDATE_SIZE),
            quiesce: features.contains(Features::QUIESCE),
            try_stop: features.contains(Features::SAFE_STOP_DEV),
            fail_io: features.contains(Features::USER_RECOVERY_FAIL_IO),
            no_part_scan: features.contains(Features::NO_AUTO_PART_SCAN),
            pid_checked: kernel.at_least(6, 16),
            fetch_again: if old_order { -EBUSY } else { -EINVAL },
            queue_has_a_task: !kernel.at_least(6, 16),
            task_looked_at_first: old_order && kernel.at_least(6, 16),
            copy_asks_the_mode: kernel.at_least(6, 16),
            zero_copy: features.contains(Features::SUPPORT_ZERO_COPY) && kernel.at_least(7, 3),
            shared: features.contains(Features::SHMEM_ZC)
                && kernel.at_least(7, 3)
                && !kernel.lockdep,
            stray: kernel.at_least(7, 3),
            threads_end: kernel.at_least(7, 3),
            two_cpus: !kernel.at_least(6, 16) || kernel.at_least(7, 0),
            stop_turns_away: kernel.at_least(7, 3),
            close_starts_anew: kernel.at_least(7, 3),
            update_size_checks: kernel.at_least(7, 0),
            combos_checked: features.contains(Features::USER_RECOVERY_FAIL_IO),
            close_clears: kernel.at_least(6, 16),
            recovery_in_two_steps: !kernel.at_least(6, 16),
            ready_is_kept: kernel.at_least(6, 16) && !kernel.at_least(7, 0),
            pid_looked_up: kernel.at_least(7, 0),
            release_is_late: kernel.at_least(6, 17) && !kernel.at_least(7, 0),
            use_ends_late: kernel.at_least(6, 17) && !kernel.at_least(7, 3),
            copier_dies_loudly: kernel.is_series(6, 17),
            pid_of_new: if kernel.at_least(6, 16) && !kernel.at_least(6, 18) { 0 } else { -1 },
        }
    }

    /// The newest kernel that the model was read from.
    #[must_use]
    pub fn newest() -> Self {
        Self::of(KernelRelease { major: 7, minor: 3, patch: 4, lockdep: false }, Features::all())
    }
}
