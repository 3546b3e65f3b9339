//! `ublk recover`: a server for a device that is there already. From the start on it is `ublk add`'s.

use crate::add;
use crate::cli::{AddArgs, RecoverArgs};
use crate::daemon::Herald;
use crate::exit::Failure;
use crate::life::{Takeover, check_settled};

/// Takes a device over and serves it until it is stopped.
pub(crate) fn run(args: RecoverArgs, herald: &Herald) -> Result<(), Failure> {
    let RecoverArgs { id, replace, wait, mut target } = args;
    let common = target.common_mut();
    check_settled(common)?;
    common.life.takeover = Some(Takeover { id, replace, wait });
    add::run(&AddArgs { target }, herald)
}
