//! The model against what the reference says in words, state by state; no kernel.

use rstest::rstest;

use super::device::State;
use super::effects::{Answer, Effects};
use super::profile::Profile;
use super::queue::Tag;
use super::sort::{Recovery, Sort};
use super::step::{Step, Stray};
use super::world::World;
use crate::kernel::KernelRelease;
use crate::rig::{EACCES, EBUSY, EEXIST, EINVAL, ENODEV, EOPNOTSUPP};
use ublk::uapi::Features;

const DEV: u8 = 0;

fn world(recovery: Recovery, steps: &[Step]) -> World {
    let mut world = World::new(Profile::newest(), 1, 2);
    world.apply(&Step::Add { dev: DEV, sort: Sort::plain(recovery, recovery != Recovery::None) });
    for step in steps {
        assert_eq!(world.forbids(step), None, "{step}");
        world.apply(step);
    }
    world
}

const LIVE: [Step; 4] = [
    Step::SetParams { dev: DEV, valid: true },
    Step::Open { dev: DEV, server: 0 },
    Step::FetchAll { dev: DEV, spread: false },
    Step::Start { dev: DEV, server: 0 },
];

fn live(recovery: Recovery, more: &[Step]) -> World {
    world(recovery, &[LIVE.as_slice(), more].concat())
}

fn result(effects: &Effects) -> Option<i32> {
    match &effects.answer {
        Answer::Results { allowed, .. } => allowed.first().copied(),
        _ => None,
    }
}

#[rstest]
#[case::again(Step::Add { dev: DEV, sort: Sort::plain(Recovery::None, false) }, -EEXIST)]
#[case::params(Step::SetParams { dev: DEV, valid: true }, -EACCES)]
#[case::open(Step::Open { dev: DEV, server: 1 }, -EBUSY)]
#[case::start(Step::Start { dev: DEV, server: 0 }, -EEXIST)]
#[case::wrong_pid(Step::Start { dev: DEV, server: 1 }, -EINVAL)]
#[case::end(Step::EndRecovery { dev: DEV, server: 0 }, -EBUSY)]
#[case::recovery(Step::StartRecovery { dev: DEV }, -EBUSY)]
#[case::stop(Step::Stop { dev: DEV }, 0)]
#[case::try_stop(Step::TryStop { dev: DEV }, 0)]
#[case::quiesce(Step::Quiesce { dev: DEV }, 0)]
#[case::size(Step::UpdateSize { dev: DEV, mib: 16 }, 0)]
#[case::queue(Step::GetAffinity { dev: DEV, queue: 1 }, -EINVAL)]
fn a_live_device_answers(#[case] step: Step, #[case] expected: i32) {
    assert_eq!(result(&live(Recovery::Plain, &[]).predict(&step)), Some(expected));
}

#[rstest]
#[case::try_stop(Step::TryStop { dev: DEV }, -ENODEV)]
#[case::quiesce(Step::Quiesce { dev: DEV }, -ENODEV)]
#[case::size(Step::UpdateSize { dev: DEV, mib: 16 }, -ENODEV)]
#[case::start_without_params(Step::Start { dev: DEV, server: 0 }, -EINVAL)]
#[case::recovery(Step::StartRecovery { dev: DEV }, -EBUSY)]
#[case::stop(Step::Stop { dev: DEV }, 0)]
fn a_new_device_answers(#[case] step: Step, #[case] expected: i32) {
    assert_eq!(result(&world(Recovery::Plain, &[]).predict(&step)), Some(expected));
}

#[test]
fn start_waits_for_the_last_tag_and_stop_ends_the_wait() {
    let waiting = world(
        Recovery::None,
        &[
            LIVE[0],
            LIVE[1],
            Step::Start { dev: DEV, server: 0 },
            Step::Fetch { dev: DEV, tag: 1, thread: 0 },
        ],
    );
    assert_eq!(waiting.held_back(), [0]);
    let released = waiting.predict(&Step::Fetch { dev: DEV, tag: 0, thread: 0 }).released;
    assert_eq!(released, [(0, vec![0])]);
    assert_eq!(waiting.predict(&Step::Stop { dev: DEV }).released, [(0, vec![-EBUSY])]);
    assert_eq!(waiting.predict(&Step::CloseChar { dev: DEV }).released, []);
}

#[test]
fn stop_turns_the_server_away_until_it_closes() {
    let stopped = live(Recovery::None, &[Step::Stop { dev: DEV }]);
    assert_eq!(stopped.device(DEV).unwrap().count(Tag::Cancelled), 2);
    assert_eq!(result(&stopped.predict(&Step::Start { dev: DEV, server: 0 })), Some(-EBUSY));
    let fetched = stopped.predict(&Step::FetchAll { dev: DEV, spread: false }).answer;
    assert_eq!(fetched, Answer::Fetched { results: vec![(0, -ENODEV)] });
    let again = live(
        Recovery::None,
        &[Step::Stop { dev: DEV }, Step::CloseChar { dev: DEV }, LIVE[1], LIVE[2], LIVE[3]],
    );
    assert_eq!(again.device(DEV).unwrap().state, State::Live);
}

#[rstest]
#[case(Recovery::None, State::Dead, Some(-nix::libc::EIO))]
#[case(Recovery::Plain, State::Quiesced, Some(-nix::libc::EIO))]
#[case(Recovery::Reissue, State::Quiesced, None)]
#[case(Recovery::FailIo, State::FailIo, Some(-nix::libc::EIO))]
fn a_killed_server_leaves_what_was_promised(
    #[case] recovery: Recovery,
    #[case] state: State,
    #[case] read: Option<i32>,
) {
    let mut world = live(
        recovery,
        &[Step::OpenBlock { dev: DEV, client: 0 }, Step::Read { dev: DEV, queue: 0 }],
    );
    let effects = world.apply(&Step::KillServer { server: 0 });
    assert_eq!(world.device(DEV).unwrap().state, state);
    assert_eq!(effects.reads.first().map(|(_, allowed)| allowed[0]), read);
}

#[test]
fn a_reissued_read_goes_to_the_next_server() {
    let mut world = live(
        Recovery::Reissue,
        &[
            Step::OpenBlock { dev: DEV, client: 0 },
            Step::Read { dev: DEV, queue: 0 },
            Step::KillServer { server: 0 },
            Step::Open { dev: DEV, server: 1 },
            Step::FetchAll { dev: DEV, spread: false },
        ],
    );
    assert!(!world.device(DEV).unwrap().is_serving());
    world.apply(&Step::EndRecovery { dev: DEV, server: 1 });
    assert!(world.device(DEV).unwrap().is_serving());
    assert_eq!(world.apply(&Step::Answer { dev: DEV }).reads, [(0, vec![4096])]);
}

#[test]
fn stop_waits_for_the_request_that_the_server_has() {
    let mut world = live(
        Recovery::None,
        &[
            Step::OpenBlock { dev: DEV, client: 0 },
            Step::Read { dev: DEV, queue: 0 },
            Step::Stop { dev: DEV },
        ],
    );
    assert_eq!(world.held_back(), [0]);
    assert!(world.forbids(&Step::SetParams { dev: DEV, valid: true }).is_some());
    let effects = world.apply(&Step::Answer { dev: DEV });
    assert_eq!((effects.released, effects.reads.len()), (vec![(0, vec![0])], 1));
}

#[test]
fn a_deleted_device_is_there_until_its_last_holder_goes() {
    let mut world = live(Recovery::None, &[]);
    let effects = world.apply(&Step::Del { dev: DEV });
    assert!(matches!(effects.answer, Answer::Blocks { .. }));
    let add = Step::Add { dev: DEV, sort: Sort::plain(Recovery::None, false) };
    assert_eq!(result(&world.predict(&add)), Some(-EEXIST));
    assert_eq!(world.apply(&Step::CloseChar { dev: DEV }).released, [(0, vec![0])]);
    assert_eq!(result(&world.predict(&add)), Some(0));
}

#[test]
fn older_series_answer_and_are_spared() {
    let kernel = KernelRelease { major: 6, minor: 12, patch: 107, lockdep: false };
    let profile = Profile::of(kernel, Features::USER_RECOVERY);
    let mut world = World::new(profile, 1, 1);
    world.apply(&Step::Add { dev: DEV, sort: Sort::plain(Recovery::None, false) });
    assert_eq!(result(&world.predict(&Step::TryStop { dev: DEV })), Some(-EOPNOTSUPP));
    let fail_io = Step::Add { dev: DEV, sort: Sort::plain(Recovery::FailIo, false) };
    assert!(world.forbids(&fail_io).is_some());
    for step in LIVE {
        assert_eq!(world.forbids(&step), None);
        world.apply(&step);
    }
    let again = world.predict(&Step::FetchAll { dev: DEV, spread: false }).answer;
    assert_eq!(again, Answer::Fetched { results: vec![(0, -EBUSY)] });
    world.apply(&Step::Stop { dev: DEV });
    assert!(world.forbids(&Step::Start { dev: DEV, server: 0 }).is_some());
}

#[test]
fn a_second_round_is_not_waited_for_before_7_0() {
    let kernel = KernelRelease { major: 6, minor: 18, patch: 15, lockdep: false };
    let profile = Profile::of(kernel, Features::all());
    let mut world = World::new(profile, 1, 2);
    let sort = Sort::plain(Recovery::Plain, false);
    world.apply(&Step::Add { dev: DEV, sort });
    for step in LIVE {
        world.apply(&step);
    }
    world.apply(&Step::KillServer { server: 0 });
    let end = Step::EndRecovery { dev: DEV, server: 1 };
    assert_eq!(result(&world.predict(&end)), Some(-EINVAL));
    world.apply(&Step::StartRecovery { dev: DEV });
    assert!(matches!(world.predict(&end).answer, Answer::Blocks { .. }));
}

#[test]
fn each_queue_serves_as_soon_as_it_is_fetched() {
    let (sort, fetch) = (Sort::plain(Recovery::Plain, false).with_two_queues(), |tag, thread| {
        Step::Fetch { dev: DEV, tag, thread }
    });
    let mut world = World::new(Profile::newest(), 1, 2);
    world.apply(&Step::Add { dev: DEV, sort });
    let away = [Step::OpenBlock { dev: DEV, client: 0 }, Step::KillServer { server: 0 }];
    let again = [LIVE[1], fetch(0, 0), fetch(1, 0)];
    for step in LIVE.iter().chain(&away).chain(&again) {
        assert_eq!(world.forbids(step), None, "{step}");
        world.apply(step);
    }
    world.apply(&Step::Read { dev: DEV, queue: 0 });
    world.apply(&Step::Read { dev: DEV, queue: 1 });
    let device = world.device(DEV).unwrap();
    let delivered: Vec<bool> = device.reads.iter().map(|read| read.delivered).collect();
    assert_eq!((delivered, device.count(Tag::Owned)), (vec![true, false], 1));
    // Its tag would be fetched again while queue 1 is not complete.
    assert!(world.forbids(&fetch(0, 0)).is_some());
    // The tags of a queue are one thread's.
    world.apply(&fetch(2, 1));
    assert!(world.forbids(&fetch(3, 0)).is_some() && world.forbids(&fetch(3, 1)).is_none());
}

#[test]
fn a_thread_that_ends_takes_its_tags_and_orphans_its_requests() {
    let sort = Sort::plain(Recovery::None, false).with_two_queues();
    let mut world = World::new(Profile::newest(), 1, 1);
    let fetch = Step::FetchAll { dev: DEV, spread: true };
    let read = |queue| Step::Read { dev: DEV, queue };
    let begin = [
        LIVE[0],
        LIVE[1],
        fetch,
        LIVE[3],
        Step::OpenBlock { dev: DEV, client: 0 },
        read(0),
        read(1),
    ];
    world.apply(&Step::Add { dev: DEV, sort });
    for step in begin.iter().chain(&[Step::EndThread { server: 0 }]) {
        assert_eq!(world.forbids(step), None, "{step}");
        world.apply(step);
    }
    let device = world.device(DEV).unwrap();
    assert_eq!((device.count(Tag::Cancelled), device.count(Tag::Armed)), (1, 1));
    assert_eq!(world.predict(&read(0)).reads, [(2, vec![-nix::libc::EIO])]);
    assert_eq!(world.apply(&Step::Answer { dev: DEV }).reads, [(0, vec![4096])]);
    assert!(world.forbids(&Step::Answer { dev: DEV }).is_some());
    let closed = world.predict(&Step::CloseChar { dev: DEV });
    assert_eq!(closed.reads, [(1, vec![-nix::libc::EIO])]);
}

#[test]
fn a_committed_request_ends_when_its_pages_are_unregistered() {
    let sort = Sort::plain(Recovery::None, false).with_mode(super::sort::Mode::ZeroCopy);
    let mut world = World::new(Profile::newest(), 1, 1);
    world.apply(&Step::Add { dev: DEV, sort });
    let (register, unregister) = (Step::Register { dev: DEV }, Step::Unregister { dev: DEV });
    for step in LIVE.iter().chain(&[Step::OpenBlock { dev: DEV, client: 0 }]) {
        world.apply(step);
    }
    assert_eq!(result(&world.predict(&register)), Some(-EBUSY));
    assert_eq!(result(&world.predict(&unregister)), Some(-EINVAL));
    world.apply(&Step::Read { dev: DEV, queue: 0 });
    assert_eq!(result(&world.apply(&register)), Some(0));
    assert_eq!(result(&world.predict(&register)), Some(-EBUSY));
    assert_eq!(world.apply(&Step::Answer { dev: DEV }).reads, []);
    assert_eq!(world.device(DEV).unwrap().count(Tag::Held), 1);
    assert!(matches!(world.predict(&Step::Stop { dev: DEV }).answer, Answer::Blocks { .. }));
    assert_eq!(world.apply(&unregister).reads, [(0, vec![4096])]);
}

#[test]
fn data_is_copied_where_the_mode_says_so_and_in_its_direction() {
    let sort = Sort::plain(Recovery::None, false).with_mode(super::sort::Mode::UserCopy);
    let mut world = World::new(Profile::newest(), 1, 1);
    world.apply(&Step::Add { dev: DEV, sort });
    let copy = |write| Step::Copy { dev: DEV, write };
    let answer = |world: &World, write| result(&world.predict(&copy(write)));
    for step in &LIVE[..3] {
        world.apply(step);
    }
    assert_eq!(answer(&world, true), Some(-EACCES));
    world.apply(&LIVE[3]);
    world.apply(&Step::OpenBlock { dev: DEV, client: 0 });
    assert_eq!(answer(&world, true), Some(-EINVAL));
    world.apply(&Step::Read { dev: DEV, queue: 0 });
    assert_eq!((answer(&world, true), answer(&world, false)), (Some(4096), Some(-EACCES)));
}

#[test]
fn parameters_that_are_refused_while_start_waits_leave_no_size() {
    let started = world(
        Recovery::None,
        &[
            LIVE[0],
            LIVE[3],
            LIVE[1],
            Step::SetParams { dev: DEV, valid: false },
            Step::FetchAll { dev: DEV, spread: false },
        ],
    );
    let device = started.device(DEV).unwrap();
    assert_eq!((device.state, device.mib), (State::Live, 0));
}

#[test]
fn a_tag_is_only_meddled_with_where_it_is_known_what_it_has() {
    let stray = Step::Stray { dev: DEV, command: Stray::Unknown };
    let read = |slot_taken: &[Step]| {
        let open = Step::OpenBlock { dev: DEV, client: 0 };
        live(Recovery::None, &[[open].as_slice(), slot_taken].concat())
    };
    let one = Step::Read { dev: DEV, queue: 0 };
    assert_eq!(read(&[]).forbids(&stray), None);
    assert_eq!(result(&read(&[]).predict(&stray)), Some(-EBUSY));
    // The second of two reads may have either tag.
    assert!(read(&[one]).forbids(&stray).is_some());
    assert!(read(&[one, Step::Answer { dev: DEV }, one]).forbids(&stray).is_some());
    assert_eq!(read(&[one, one]).forbids(&stray), None);
    assert_eq!(result(&read(&[one, one]).predict(&stray)), Some(-EINVAL));
}

#[test]
fn a_second_deletion_may_come_too_late() {
    let steps = [
        Step::OpenBlock { dev: DEV, client: 0 },
        Step::DelAsync { dev: DEV },
        Step::Del { dev: DEV },
        Step::CloseBlock { dev: DEV, client: 0 },
    ];
    let effects = live(Recovery::None, &steps).apply(&Step::KillServer { server: 0 });
    assert_eq!(effects.released, [(0, vec![0, -ENODEV])]);
}
