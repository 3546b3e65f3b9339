//! What is left out, because this kernel is known to die of it, each with its reason: so that the next thing is found.
//!
//! Reasons are in docs/kernel-facts.md and docs/kernel-findings/. Nothing of it is left out of a reproducer with `bold`.

use ublk::uapi::{CtrlOp, Features, IoCmdOp};

use super::act::{Act, Hold, Stage};
use super::shot::{Change, Place, Shot, To};
use crate::kernel::KernelRelease;

/// What of a case is known when one of its acts is looked at.
#[derive(Clone, Copy, Debug)]
struct Case {
    kernel: KernelRelease,
    features: Features,
    stage: Option<Stage>,
    /// Tags of each queue.
    depth: u8,
    /// Requests that clients have sent: all of them may be with the server, even behind an answer, for they come when they like.
    requests: u8,
    /// A command that ends a round is somewhere in the case.
    stops: bool,
    /// A command that waits for requests is.
    freezes: bool,
}

/// The case without what this kernel does not take.
#[must_use]
pub fn strip(kernel: KernelRelease, acts: &[Act]) -> Vec<Act> {
    let shots = || {
        acts.iter().flat_map(|act| match act {
            Act::Shots { shots, .. } => shots.as_slice(),
            _ => &[],
        })
    };
    let deletes = acts.iter().any(|act| matches!(act, Act::Delete));
    let mut case = Case {
        kernel,
        features: Features::empty(),
        stage: None,
        depth: 0,
        requests: 0,
        stops: deletes || shots().any(stops),
        freezes: shots().any(freezes),
    };
    let mut kept = Vec::new();
    for act in acts {
        if forbids(&mut case, act).is_none() {
            kept.extend(without(&case, act));
        }
    }
    kept
}

/// An act without the shots that are left out.
fn without(case: &Case, act: &Act) -> Option<Act> {
    let Act::Shots { ring, shots, races } = act else { return Some(act.clone()) };
    let mut places = vec![None; shots.len()];
    let mut kept = Vec::new();
    for (index, shot) in shots.iter().enumerate() {
        if forbids_shot(case, shot).is_none() {
            places[index] = u8::try_from(kept.len()).ok();
            kept.push(shot.clone());
        }
    }
    let races = races.iter().filter_map(|(shot, what)| {
        Some((places.get(usize::from(*shot)).copied().flatten()?, *what))
    });
    let races = races.collect();
    (!kept.is_empty()).then_some(Act::Shots { ring: *ring, shots: kept, races })
}

/// Why an act is left out.
fn forbids(case: &mut Case, act: &Act) -> Option<&'static str> {
    let kernel = case.kernel;
    match act {
        Act::Device { features, stage, depth, .. } => {
            case.depth = (*depth).max(1);
            case.features = Features::from_bits(*features);
            case.stage = Some(*stage);
            let pages = Features::SUPPORT_ZERO_COPY | Features::AUTO_BUF_REG;
            if kernel.page_registration_bug().is_some() && !(case.features & pages).is_empty() {
                return Some("pages that are registered print a splat on 7.2");
            }
            None
        }
        Act::Io { .. } if case.freezes => Some(
            "a server that dies while its own stop waits for its request stays: docs/kernel-findings/stop-by-a-server-that-dies.md",
        ),
        Act::Io { .. }
            if kernel.is_series(6, 16) && case.features.contains(Features::AUTO_BUF_REG) =>
        {
            Some(
                "6.16 ends a request whose server dies, and then empties the slot that has its pages",
            )
        }
        Act::Io { .. }
            if kernel.is_series(6, 17) && case.features.contains(Features::USER_COPY) =>
        {
            Some("6.17 prints a WARNING when the server of a USER_COPY device dies with a request")
        }
        Act::Io { .. } if !kernel.at_least(6, 16) => {
            if case.requests + 1 >= case.depth {
                return Some(
                    "6.12 learns of a server's death by the commands it has; without any, when a request is 30 s old",
                );
            }
            case.requests += 1;
            None
        }
        Act::Kill { .. } if !kernel.at_least(7, 0) && case.stage.is_none() => {
            Some("a server that dies while its START_DEV reads partitions stays, before 7.0")
        }
        Act::Hold { how: Hold::Slot } if !kernel.at_least(6, 16) => {
            Some("6.12 takes a second to close a ring")
        }
        Act::Release { which: 0 }
            if !kernel.at_least(7, 0) && case.stage >= Some(Stage::Fetched) =>
        {
            Some("6.12 takes a second to close a server's ring")
        }
        _ => None,
    }
}

/// A command that ends a round, or may.
fn stops(shot: &Shot) -> bool {
    let ends = [
        CtrlOp::StopDev,
        CtrlOp::TryStopDev,
        CtrlOp::DelDev,
        CtrlOp::DelDevAsync,
        CtrlOp::QuiesceDev,
    ];
    ends.iter().any(|op| shot.nr() == Some(op.nr()))
}

/// A command that waits until no request is in flight, holding what every stop of the device needs.
fn freezes(shot: &Shot) -> bool {
    let others = [CtrlOp::RegBuf, CtrlOp::UnregBuf, CtrlOp::UpdateSize];
    stops(shot) || others.iter().any(|op| shot.nr() == Some(op.nr()))
}

/// Why a shot is left out.
fn forbids_shot(case: &Case, shot: &Shot) -> Option<&'static str> {
    let kernel = case.kernel;
    let is = |op: CtrlOp| shot.nr() == Some(op.nr());
    let is_io = |op: IoCmdOp| shot.nr() == Some(op.nr());
    if is(CtrlOp::UpdateSize) && kernel.at_least(6, 16) && !kernel.at_least(7, 0) {
        return Some("UPDATE_SIZE without a disk is a NULL dereference before 7.0");
    }
    let malformed = shot.has(|c| matches!(c, Change::AutoReg(..) | Change::SqePlace(_)));
    if malformed && kernel.at_least(6, 16) && !kernel.at_least(7, 0) {
        return Some("a refused registration is answered twice on 6.17 and 6.18");
    }
    let null = shot.has(|c| matches!(c, Change::Place(Place::Null | Place::Small(0))));
    if is_io(IoCmdOp::FetchReq) && kernel.is_series(6, 16) && null {
        return Some("FETCH without a buffer is forgotten on 6.16");
    }
    let begins = is(CtrlOp::StartDev) || is(CtrlOp::EndUserRecovery);
    if begins && !kernel.at_least(7, 3) && case.stops && case.stage >= Some(Stage::Opened) {
        return Some("before 7.3 START_DEV after a stop uses dead commands");
    }
    if begins && !kernel.at_least(7, 0) && case.stage == Some(Stage::Fetched) {
        return Some("a server that dies while its START_DEV reads partitions stays, before 7.0");
    }
    let fetches = is_io(IoCmdOp::FetchReq) && shot.to() == To::Char;
    if fetches && !kernel.at_least(7, 3) && case.stage == Some(Stage::Opened) {
        return Some("before 7.3 a device whose tags are fetched in part does not come back");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::act::Racing;
    use super::super::shot::Base;
    use super::*;

    #[test]
    fn before_6_16_a_server_keeps_a_tag_without_a_request() {
        let device = Act::Device { features: 0, queues: 1, depth: 2, stage: Stage::Live };
        let acts = [device.clone(), Act::Io { write: true, block: 0 }, Act::Serve];
        let more = [acts.as_slice(), &[Act::Io { write: false, block: 1 }]].concat();
        let kernel = KernelRelease::parse("6.12.117").unwrap();
        assert_eq!(strip(kernel, &more), acts);
        assert_eq!(strip(KernelRelease::parse("6.16.12").unwrap(), &more), more);
    }

    #[test]
    fn servers_that_one_series_lets_die_with_a_request_have_none_there() {
        for (features, bad) in
            [(Features::AUTO_BUF_REG, "6.16.12"), (Features::USER_COPY, "6.17.13")]
        {
            let features = features.bits();
            let device = Act::Device { features, queues: 1, depth: 2, stage: Stage::Live };
            let acts = [device.clone(), Act::Io { write: true, block: 0 }];
            for release in ["6.16.12", "6.17.13", "6.18.15", "7.3.4"] {
                let kept = strip(KernelRelease::parse(release).unwrap(), &acts);
                let wanted = if release == bad { 1 } else { 2 };
                assert_eq!(kept, acts[..wanted], "{release}");
            }
        }
    }

    #[test]
    fn a_race_follows_its_shot_when_one_before_it_is_left_out() {
        let shot = |op: CtrlOp| Shot { base: Base::Control(op.nr()), tag: (0, 0), changes: vec![] };
        let acts = [Act::Shots {
            ring: 0,
            shots: vec![shot(CtrlOp::UpdateSize), shot(CtrlOp::StopDev)],
            races: vec![(0, Racing::Data), (1, Racing::Len)],
        }];
        let kernel = KernelRelease::parse("6.17.13").unwrap();
        let wanted = Act::Shots {
            ring: 0,
            shots: vec![shot(CtrlOp::StopDev)],
            races: vec![(0, Racing::Len)],
        };
        assert_eq!(strip(kernel, &acts), [wanted]);
        let kernel = KernelRelease::parse("7.3.4").unwrap();
        assert_eq!(strip(kernel, &acts), acts);
    }
}
