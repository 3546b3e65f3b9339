//! The machine against arbitrary kernels: every completion it may see, in every state.

use proptest::prelude::*;

use super::*;

/// What a fuzzing kernel or server does next to one tag.
#[derive(Clone, Copy, Debug)]
enum Step {
    Arm,
    Complete(i32),
    Commit(i32),
    GetData,
}

fn step() -> impl Strategy<Value = Step> {
    let completion = prop_oneof![
        6 => Just(0),
        2 => Just(-libc::ENODEV),
        1 => Just(1),
        1 => any::<i32>(),
    ];
    prop_oneof![
        2 => Just(Step::Arm),
        5 => completion.prop_map(Step::Complete),
        5 => any::<i32>().prop_map(Step::Commit),
        1 => Just(Step::GetData),
    ]
}

/// Miri needs a second for what takes a millisecond.
const STEPS_MAX: usize = if cfg!(miri) { 40 } else { 200 };

/// Proptest writes regressions beside the sources, which Miri's isolation forbids.
fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { 512 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Counted from outside: the emitted commands less the accepted completions are 0 or 1, and they
    /// are 1 exactly while the machine says `Armed`. A tag is never lost: it is always with the
    /// kernel, with the server, not begun, or ended by the kernel.
    #[test]
    fn one_command_in_flight_at_most(steps in prop::collection::vec(step(), 0..STEPS_MAX)) {
        let mut tag = Tag::new();
        let (mut in_flight, mut owed, mut asked, mut ended) = (0_i32, 0_i32, false, false);
        for step in steps {
            let before = tag.clone();
            match step {
                Step::Arm => match tag.arm() {
                    Ok(command) => {
                        prop_assert_eq!(before.state(), TagState::New);
                        prop_assert_eq!(command, Command::Fetch);
                        in_flight += 1;
                    }
                    Err(error) => {
                        let is_forbidden = matches!(error, TagError::Forbidden { .. });
                        prop_assert!(is_forbidden);
                        prop_assert_eq!(&tag, &before);
                    }
                },
                Step::Commit(result) => match tag.commit(result, 7) {
                    Ok(command) => {
                        prop_assert_eq!(before.state(), TagState::Owned);
                        prop_assert_eq!(command, Command::CommitAndFetch { result, append_sector: 7 });
                        in_flight += 1;
                        owed -= 1;
                    }
                    Err(error) => {
                        prop_assert_ne!(before.state(), TagState::Owned);
                        let is_forbidden = matches!(error, TagError::Forbidden { .. });
                        prop_assert!(is_forbidden);
                        prop_assert_eq!(&tag, &before);
                    }
                },
                Step::GetData => match tag.get_data() {
                    Ok(command) => {
                        prop_assert_eq!(before.state(), TagState::Asked);
                        prop_assert_eq!(command, Command::GetData);
                        in_flight += 1;
                        asked = false;
                    }
                    Err(error) => {
                        prop_assert_ne!(before.state(), TagState::Asked);
                        let is_forbidden = matches!(error, TagError::Forbidden { .. });
                        prop_assert!(is_forbidden);
                        prop_assert_eq!(&tag, &before);
                    }
                },
                Step::Complete(result) => match tag.complete(result) {
                    Ok(Arrival::Request) => {
                        prop_assert_eq!(result, 0);
                        in_flight -= 1;
                        owed += 1;
                    }
                    Ok(Arrival::NeedsBuffer) => {
                        prop_assert_eq!(result, 1);
                        in_flight -= 1;
                        asked = true;
                    }
                    Ok(Arrival::Aborted) => {
                        prop_assert_eq!(result, -libc::ENODEV);
                        in_flight -= 1;
                        ended = true;
                    }
                    Err(TagError::Unexpected { state, .. }) => {
                        prop_assert_eq!(state, before.state());
                        prop_assert_ne!(state, TagState::Armed);
                        prop_assert_eq!(&tag, &before);
                    }
                    Err(_) => {
                        in_flight -= 1;
                        ended = true;
                    }
                },
            }
            prop_assert!((0..=1).contains(&in_flight));
            prop_assert!((0..=1).contains(&owed));
            let expected = match (in_flight, owed, asked, ended) {
                (1, 0, false, false) => TagState::Armed,
                (0, 1, false, false) => TagState::Owned,
                (0, 0, true, false) => TagState::Asked,
                (0, 0, false, true) => TagState::Aborted,
                (0, 0, false, false) => TagState::New,
                other => return Err(TestCaseError::fail(format!("impossible: {other:?}"))),
            };
            prop_assert_eq!(tag.state(), expected);
        }
    }
}

#[test]
fn a_refused_commit_says_that_a_request_was_lost() {
    let mut tag = Tag::new();
    tag.arm().unwrap();
    tag.complete(0).unwrap();
    tag.commit(4096, 0).unwrap();
    let refused = tag.complete(-libc::EINVAL).unwrap_err();
    assert_eq!(refused, TagError::Refused { errno: libc::EINVAL, commit: true });
    assert_eq!(refused.to_string(), "the kernel refused the commit with errno 22");
    assert_eq!(tag.state(), TagState::Aborted);
}

#[test]
fn a_refused_fetch_loses_nothing() {
    let mut tag = Tag::new();
    tag.arm().unwrap();
    let refused = tag.complete(-libc::EBUSY).unwrap_err();
    assert_eq!(refused, TagError::Refused { errno: libc::EBUSY, commit: false });
}

#[test]
fn the_smallest_result_does_not_overflow() {
    let mut tag = Tag::new();
    tag.arm().unwrap();
    let refused = tag.complete(i32::MIN).unwrap_err();
    assert_eq!(refused, TagError::Refused { errno: i32::MAX, commit: false });
}

/// A kernel that announces a write again after it got the buffer for it would never deliver it.
#[test]
fn a_write_is_announced_once() {
    let mut tag = Tag::new();
    tag.arm().unwrap();
    assert_eq!(tag.complete(1), Ok(Arrival::NeedsBuffer));
    assert_eq!(tag.get_data(), Ok(Command::GetData));
    assert_eq!(tag.clone().complete(1), Err(TagError::Foreign { result: 1 }));
    assert_eq!(tag.complete(0), Ok(Arrival::Request));
    tag.commit(512, 0).unwrap();
    assert_eq!(tag.complete(1), Ok(Arrival::NeedsBuffer));
}
