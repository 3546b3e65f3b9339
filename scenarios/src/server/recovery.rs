//! The server is killed under load and the next one takes over, with each answer that the driver has to a server's death.

use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::uapi::DevState;

use super::ability::Ability;
use super::input::ServerInput;
use super::served::Wish;
use super::subject::Subject;
use crate::context::{Context, Stop};
use crate::recovery::kit;
use crate::recovery::writers::Writers;
use crate::scenario::Scenario;

const LONG: Scenario =
    Scenario { budget: BudgetClass::Long, covers: &["server.recovery", "S8"], ..Scenario::SERVER };

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "server/recovers",
        title: "after a kill, requests the server had fail with EIO, new ones wait for the next server, and all data is there",
        run: |context| recovers(context, Ability::Recovery),
        ..LONG
    },
    Scenario {
        id: "server/recovers-and-reissues",
        title: "after a kill no request fails, the next server gets them all, and all data is there",
        run: |context| recovers(context, Ability::RecoveryReissue),
        ..LONG
    },
    Scenario {
        id: "server/recovers-and-fails-io",
        title: "after a kill requests fail until the next server is there, and all data is there",
        run: |context| recovers(context, Ability::RecoveryFailIo),
        ..LONG
    },
];

/// State of the device while nobody serves, errors that its users may see, and one that they must see meanwhile.
fn promise(ability: Ability) -> (DevState, &'static [i32], Option<i32>) {
    match ability {
        Ability::RecoveryReissue => (DevState::Quiesced, &[], None),
        Ability::RecoveryFailIo => {
            (DevState::FailIo, &[nix::libc::EIO, nix::libc::EREMOTEIO], Some(nix::libc::EREMOTEIO))
        }
        _ => (DevState::Quiesced, &[nix::libc::EIO], None),
    }
}

fn recovers(context: &mut Context, ability: Ability) -> Result<String, Stop> {
    let input = ServerInput::read()?;
    input.need(context, ability)?;
    let (state, allowed, while_away) = promise(ability);
    let wish = Wish::usual(&input).queues(2).with(ability);
    let mut subject = Subject::start(context, &input, &wish)?;
    subject.fill(context)?;
    super::geometry::check(context, &subject.served, &subject.device)?;
    let writers = Writers::start(context, &subject.served.block_device())?;
    let id = subject.served.id;
    subject.served.kill(context)?;
    kit::check_state(context, id, state)?;
    writers.check_held(context, while_away.is_some())?;
    subject.served.recover(context)?;
    writers.check_progress(context, "served by the next server")?;
    let acknowledged = writers.acknowledged();
    let errors = writers.finish(context, &subject.reference)?;
    let known = errors.keys().all(|errno| allowed.contains(errno));
    let what = format!("users see no other errors than {allowed:?} ({errors:?})");
    context.check(FailureKind::Errno, what, known)?;
    if let Some(errno) = while_away {
        let what = format!("users see errno {errno} ({errors:?})");
        context.check(FailureKind::Errno, what, errors.contains_key(&errno))?;
    }
    subject.check_file(context, "after the recovery")?;
    let md5 = subject.finish(context)?;
    Ok(format!("{acknowledged} writes acknowledged, errors {errors:?}, MD5 {md5}"))
}
