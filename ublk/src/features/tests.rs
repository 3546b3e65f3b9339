//! Every row of the driver's matrix, and the promise between the planner and the driver: what is let through is
//! accepted unchanged, and nothing is held back that would be.

use proptest::prelude::*;
use rstest::rstest;

use super::model::{Driver, Request, add_dev};
use super::*;

/// GET_FEATURES of 6.12, 6.16, 6.17, 7.2 and 7.3, as seen.
const SERIES: [(&str, u64); 5] =
    [("6.12", 0x1fe), ("6.16", 0x3fff), ("6.17", 0x7fff), ("7.2", 0xf_ffff), ("7.3", 0x1f_ffff)];

const R: u64 = Features::USER_RECOVERY.bits();
const REISSUE: u64 = Features::USER_RECOVERY_REISSUE.bits();
const FAIL_IO: u64 = Features::USER_RECOVERY_FAIL_IO.bits();
const QUIESCE: u64 = Features::QUIESCE.bits();
const UNPRIV: u64 = Features::UNPRIVILEGED_DEV.bits();
const USER_COPY: u64 = Features::USER_COPY.bits();
const ZC: u64 = Features::SUPPORT_ZERO_COPY.bits();
const AUTO: u64 = Features::AUTO_BUF_REG.bits();
const GET_DATA: u64 = Features::NEED_GET_DATA.bits();
const BATCH: u64 = Features::BATCH_IO.bits();
const PER_IO: u64 = Features::PER_IO_DAEMON.bits();
const ZONED: u64 = Features::ZONED.bits();
const INTEGRITY: u64 = Features::INTEGRITY.bits();
const SHMEM: u64 = Features::SHMEM_ZC.bits();
const DESC: u64 = Features::IO_DESC_SIZE.bits();

fn host(bits: u64, privileged: bool) -> Host {
    Host { features: Features::from_bits(bits), privileged, zoned: Some(true) }
}

fn wish(bits: u64) -> Wish {
    Wish { features: Features::from_bits(bits), ..Wish::default() }
}

fn broken_rule(wish: &Wish, host: &Host) -> &'static str {
    match plan(wish, host) {
        Err(FeatureError::Conflict { rule, .. }) => rule,
        Err(FeatureError::NotOffered { .. }) => "not offered",
        Err(FeatureError::Changed { .. }) => "changed",
        Ok(_) => "accepted",
    }
}

#[rstest]
#[case::reissue_alone(REISSUE, "recovery-kind-alone")]
#[case::fail_io_alone(FAIL_IO, "recovery-kind-alone")]
#[case::both_kinds(R | REISSUE | FAIL_IO, "two-recovery-kinds")]
#[case::quiesce_alone(QUIESCE, "quiesce-alone")]
#[case::integrity_alone(INTEGRITY, "integrity-without-user-copy")]
#[case::integrity_zero_copy(INTEGRITY | ZC, "integrity-without-user-copy")]
#[case::zoned_alone(ZONED, "zoned-copy-mode")]
#[case::zoned_auto(ZONED | AUTO, "zoned-copy-mode")]
#[case::get_data_user_copy(GET_DATA | USER_COPY, "get-data-without-copies")]
#[case::get_data_zero_copy(GET_DATA | ZC, "get-data-without-copies")]
#[case::get_data_auto(GET_DATA | AUTO, "get-data-without-copies")]
#[case::get_data_batch(GET_DATA | BATCH, "get-data-without-copies")]
#[case::batch_per_io(BATCH | PER_IO, "batch-per-io-daemon")]
#[case::desc_size_not_given(DESC, "io-desc-size-range")]
#[case::as_root(UNPRIV, "unprivileged-as-root")]
#[case::unknown_bit(1 << 40, "not offered")]
#[case::three_copies(USER_COPY | ZC | AUTO, "accepted")]
#[case::shmem_get_data(SHMEM | GET_DATA, "shared-memory-get-data")]
#[case::shmem(SHMEM | USER_COPY | BATCH, "accepted")]
#[case::recovery(R, "accepted")]
#[case::reissue(R | REISSUE, "accepted")]
#[case::fail_io_quiesce(R | FAIL_IO | QUIESCE, "accepted")]
#[case::zoned_zero_copy(ZONED | ZC, "accepted")]
#[case::zoned_user_copy(ZONED | USER_COPY, "accepted")]
#[case::integrity(INTEGRITY | USER_COPY, "accepted")]
#[case::batch(BATCH, "accepted")]
#[case::forced(FORCED_ON.bits(), "accepted")]
#[case::nothing(0, "accepted")]
fn rows_of_the_matrix_as_root(#[case] bits: u64, #[case] expected: &str) {
    assert_eq!(broken_rule(&wish(bits), &host(0x1f_ffff, true)), expected);
}

#[rstest]
#[case::plain(0, "capability")]
#[case::unprivileged(UNPRIV, "accepted")]
#[case::user_copy(UNPRIV | USER_COPY, "unprivileged-copy-mode")]
#[case::zero_copy(UNPRIV | ZC, "unprivileged-copy-mode")]
#[case::auto(UNPRIV | AUTO, "unprivileged-copy-mode")]
#[case::recovery(UNPRIV | R, "unprivileged-recovery")]
#[case::reissue(UNPRIV | R | REISSUE, "unprivileged-recovery")]
#[case::fail_io(UNPRIV | R | FAIL_IO, "unprivileged-recovery")]
#[case::get_data(UNPRIV | GET_DATA, "accepted")]
fn rows_of_the_matrix_without_the_capability(#[case] bits: u64, #[case] expected: &str) {
    assert_eq!(broken_rule(&wish(bits), &host(0x1f_ffff, false)), expected);
}

#[test]
fn options_have_rules_too() {
    let new = host(0x1f_ffff, true);
    let shallow = Wish { queue_depth: 1, ..wish(BATCH) };
    assert_eq!(broken_rule(&shallow, &new), "batch-depth");
    assert_eq!(broken_rule(&Wish { queue_depth: 1, ..wish(0) }, &new), "accepted");
    for bytes in [0, 16, 20, 28, 257, 264, u16::MAX] {
        let wish = Wish { io_desc_size_bytes: Some(bytes), ..wish(0) };
        assert_eq!(broken_rule(&wish, &new), "io-desc-size-range", "{bytes}");
    }
    for bytes in [24, 32, 256] {
        let wish = Wish { io_desc_size_bytes: Some(bytes), ..wish(0) };
        let plan = plan(&wish, &new).unwrap();
        assert!(plan.flags.contains(Features::IO_DESC_SIZE));
        assert_eq!(plan.io_desc_size_bytes, bytes);
    }
    let fallback = |bits| Wish { auto_buf_fallback: true, ..wish(bits) };
    assert_eq!(broken_rule(&fallback(0), &new), "fallback-without-auto-buf");
    assert_eq!(broken_rule(&fallback(AUTO), &new), "fallback-without-zero-copy");
    assert_eq!(broken_rule(&fallback(AUTO | ZC), &new), "accepted");
    let no_zones = Host { zoned: Some(false), ..new };
    assert_eq!(broken_rule(&wish(ZONED | ZC), &no_zones), "zoned-config");
    let unknown = Host { zoned: None, ..new };
    assert_eq!(broken_rule(&wish(ZONED | ZC), &unknown), "accepted");
}

#[test]
fn every_rule_can_be_broken_and_says_what_to_do() {
    let mut seen = std::collections::BTreeSet::new();
    for privileged in [false, true] {
        for zoned in [Some(false), Some(true)] {
            let host = Host { zoned, ..host(0x1f_ffff, privileged) };
            for bits in (0_u64..1 << 21).step_by(97) {
                for auto_buf_fallback in [false, true] {
                    let wish = Wish { queue_depth: 1, auto_buf_fallback, ..wish(bits) };
                    seen.extend(RULES.iter().filter(|r| r.is_broken(&wish, &host)).map(|r| r.id));
                }
            }
        }
    }
    let all: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(all.len(), RULES.len(), "ids are unique");
    assert_eq!(seen, all);
}

#[test]
fn an_old_driver_is_named_with_what_it_lacks() {
    let error = plan(&wish(BATCH | USER_COPY), &host(0x1fe, true)).unwrap_err().to_string();
    assert_eq!(
        error,
        "this kernel's driver does not offer BATCH_IO (it offers URING_CMD_COMP_IN_TASK|\
         NEED_GET_DATA|USER_RECOVERY|USER_RECOVERY_REISSUE|UNPRIVILEGED_DEV|CMD_IOCTL_ENCODE|\
         USER_COPY|ZONED); do without, or use Linux 7.0 for BATCH_IO"
    );
    let conflict = plan(&wish(QUIESCE), &host(0x1f_ffff, true)).unwrap_err().to_string();
    assert!(conflict.starts_with("QUIESCE: a quiesced device waits"), "{conflict}");
}

#[test]
fn a_device_that_differs_from_its_plan_is_told() {
    let plan = plan(&wish(USER_COPY | R), &host(0x1f_ffff, true)).unwrap();
    assert_eq!(plan.check(plan.effective), Ok(()));
    assert_eq!(plan.check(plan.effective | Features::from_bits(1 << 50)), Ok(()), "newer driver");
    let missing = plan.check(plan.effective - Features::USER_COPY).unwrap_err().to_string();
    assert!(missing.contains("dropped USER_COPY and added 0"), "{missing}");
    let extra = plan.check(plan.effective | Features::ZONED).unwrap_err().to_string();
    assert!(extra.contains("dropped 0 and added ZONED"), "{extra}");
}

fn any_word() -> impl Strategy<Value = u64> {
    // Few bits at a time, or no word would ever pass.
    let few = prop::collection::vec(0_u32..24, 0..5)
        .prop_map(|bits| bits.into_iter().fold(0, |word, bit| word | 1 << bit));
    prop_oneof![8 => few, 1 => 0_u64..1 << 21, 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn what_is_planned_is_what_the_driver_makes_of_it(
        series in 0..SERIES.len(),
        bits in any_word(),
        privileged: bool,
        zoned: bool,
        queue_depth in 1_u16..5,
        io_desc_size_bytes in prop::option::of(prop_oneof![Just(24_u16), Just(32), 0_u16..300]),
    ) {
        let (name, known) = SERIES[series];
        let host = Host { zoned: Some(zoned), ..host(known, privileged) };
        let wish = Wish { queue_depth, io_desc_size_bytes, ..wish(bits) };
        let asked = wish.all_features();
        let driver = Driver { features: host.features, zoned, privileged };
        let sent = Request {
            flags: asked,
            queue_depth,
            io_desc_size_bytes: io_desc_size_bytes.unwrap_or(0),
        };
        let made = add_dev(driver, sent);
        match plan(&wish, &host) {
            Ok(plan) => {
                prop_assert_eq!(plan.flags, asked);
                prop_assert_eq!(made, Ok(plan.effective), "{}: {}", name, asked);
                prop_assert!(plan.effective.contains(asked));
            }
            Err(FeatureError::Conflict { rule, .. }) => {
                let rule = RULES.iter().find(|r| r.id == rule).unwrap();
                let as_asked = made.is_ok_and(|flags| flags.contains(asked));
                prop_assert!(!as_asked || rule.accepted, "{}: {} refused by {}", name, asked, rule.id);
            }
            Err(_) => {
                let as_asked = made.is_ok_and(|flags| flags.contains(asked));
                prop_assert!(!as_asked, "{}: {} is offered after all", name, asked);
            }
        }
    }
}
