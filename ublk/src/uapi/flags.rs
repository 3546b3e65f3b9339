//! Feature flags: what ADD_DEV is asked for, and what GET_FEATURES says the driver can do.

flag_set! {
    /// `UBLK_F_*`. The driver drops bits it does not know, forces some on, and clears others, so the word that
    /// ADD_DEV returns is the truth and the word that was sent is a wish.
    pub struct Features: u64 {
        /// Registers request pages with a ring instead of copying. Available since Linux 6.15 (the bit is older).
        const SUPPORT_ZERO_COPY = 1 << 0;
        /// Completes commands in task work; forced on by every driver here. Available since Linux 6.0.
        const URING_CMD_COMP_IN_TASK = 1 << 1;
        /// Asks the server for a buffer before a write is copied. Available since Linux 6.0.
        const NEED_GET_DATA = 1 << 2;
        /// Keeps the device when its server dies. Available since Linux 6.1.
        const USER_RECOVERY = 1 << 3;
        /// Sends requests a dead server owned to the next one; needs `USER_RECOVERY`. Available since Linux 6.1.
        const USER_RECOVERY_REISSUE = 1 << 4;
        /// A device without `CAP_SYS_ADMIN`; cleared for callers that have it. Available since Linux 6.3.
        const UNPRIVILEGED_DEV = 1 << 5;
        /// Opcodes are ioctl-encoded; forced on. Available since Linux 6.4.
        const CMD_IOCTL_ENCODE = 1 << 6;
        /// The server moves data with pread and pwrite on `/dev/ublkcN`. Available since Linux 6.5.
        const USER_COPY = 1 << 7;
        /// A zoned device; needs `USER_COPY` or `SUPPORT_ZERO_COPY`. Available since Linux 6.6.
        const ZONED = 1 << 8;
        /// Fails I/O while there is no server; needs `USER_RECOVERY`. Available since Linux 6.13.
        const USER_RECOVERY_FAIL_IO = 1 << 9;
        /// UPDATE_SIZE exists; informational. Available since Linux 6.16.
        const UPDATE_SIZE = 1 << 10;
        /// Registers request pages as a command is delivered. Available since Linux 6.16.
        const AUTO_BUF_REG = 1 << 11;
        /// QUIESCE_DEV is allowed; needs `USER_RECOVERY`. Available since Linux 6.16.
        const QUIESCE = 1 << 12;
        /// Tags belong to tasks, not queues; forced on, and off with `BATCH_IO`. Available since Linux 6.16.
        const PER_IO_DAEMON = 1 << 13;
        /// Any task may register buffers; forced on. Available since Linux 6.17.
        const BUF_REG_OFF_DAEMON = 1 << 14;
        /// Many tags in one command. Available since Linux 7.0.
        const BATCH_IO = 1 << 15;
        /// Integrity metadata; needs `USER_COPY`. Available since Linux 7.0.
        const INTEGRITY = 1 << 16;
        /// TRY_STOP_DEV exists; forced on. Available since Linux 7.0.
        const SAFE_STOP_DEV = 1 << 17;
        /// No partition scan at start. Available since Linux 7.0.
        const NO_AUTO_PART_SCAN = 1 << 18;
        /// Requests in registered shared memory are not copied. Available since Linux 7.1.
        const SHMEM_ZC = 1 << 19;
        /// `io_desc_size` of the device info is honoured. Available since Linux 7.3.
        const IO_DESC_SIZE = 1 << 20;
    }
}

const _: () = assert!(Features::all().bits() == 0x1f_ffff);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_their_names_and_the_unknown_rest() {
        let flags = Features::USER_COPY | Features::from_bits(1 << 40);
        assert_eq!(flags.to_string(), "USER_COPY|0x10000000000");
        assert_eq!(format!("{flags:?}"), "Features(USER_COPY|0x10000000000)");
        assert_eq!(Features::empty().to_string(), "0");
        assert_eq!(Features::from_bits(1 << 63).to_string(), "0x8000000000000000");
        assert_eq!(flags.names(), ["USER_COPY"]);
        assert_eq!(flags.unknown(), 1 << 40);
    }

    #[test]
    fn what_linux_6_12_reports_has_a_name_for_every_bit() {
        let features = Features::from_bits(0x1fe);
        assert_eq!(features.unknown(), 0);
        assert_eq!(features.names().len(), 8);
        assert!(!features.contains(Features::SUPPORT_ZERO_COPY));
    }

    #[test]
    fn names_round_trip() {
        for (name, flag) in Features::NAMED {
            assert_eq!(Features::from_name(name), Some(*flag));
        }
        assert_eq!(Features::from_name("NO_SUCH_FLAG"), None);
    }
}
