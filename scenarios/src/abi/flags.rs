//! What ADD_DEV makes of a flag word: the kernel against the model of its arithmetic, and against the planner that
//! every server of ours goes through.

use rand::Rng;
use reports::budget::BudgetClass;
use reports::event::FailureKind;
use ublk::ctrl::{Control, CtrlError};
use ublk::features::model::{Driver, Request, add_dev};
use ublk::features::{FeatureError, Host, RULES, Wish, plan};
use ublk::server::Server;
use ublk::target::RamTarget;
use ublk::uapi::{DevInfo, Features};

use super::user::{delete_of, without_privileges};
use crate::context::{Context, During, Stop, errno};
use crate::rig::{served, stop_served};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/add-dev-flag-arithmetic",
        title: "over random flag words ADD_DEV does what the model says, and takes every plan unchanged",
        covers: &[
            "add.recovery.combo",
            "add.quiesce.norecovery",
            "add.integrity.nousercopy",
            "add.iod.small",
            "add.iod.align",
            "add.iod.max",
            "add.zoned.nocopymode",
            "add.batch.depth1",
        ],
        budget: BudgetClass::Long,
        run: arithmetic,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/flag-constraint-matrix",
        title: "each row of the flag matrix is answered as the model says, and told by the planner",
        covers: &["add.recovery.combo", "add.batch.depth1", "add.zoned.nocopymode"],
        budget: BudgetClass::Normal,
        run: matrix,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/unprivileged-flag-arithmetic",
        title: "without CAP_SYS_ADMIN the flag arithmetic is the model's too",
        covers: &["add.nocap", "add.unpriv.usercopy", "add.unpriv.zc", "add.unpriv.abr"],
        budget: BudgetClass::Normal,
        run: unprivileged,
        ..Scenario::DRIVER
    },
    Scenario {
        id: "abi/planned-features-are-effective",
        title: "a server gets exactly the features it asked for, and an error with the reason for others",
        covers: &["UBLK_F"],
        run: planned,
        ..Scenario::SERVER
    },
];

/// Words tried as root.
const WORDS: usize = 160;
/// Words tried without privileges; each device counts against the driver's quota until it is deleted.
const USER_WORDS: usize = 48;

/// A few bits at a time, with some that have no name.
fn random_word(rng: &mut impl Rng) -> Features {
    let count = rng.random_range(0..6);
    let bits = (0..count).fold(0_u64, |word, _| word | 1 << rng.random_range(0..23));
    let high = if rng.random_ratio(1, 16) { 1 << 45 } else { 0 };
    Features::from_bits(bits | high)
}

fn random_request(rng: &mut impl Rng) -> Request {
    let sizes = [0, 16, 24, 28, 32, 64, 256, 264];
    Request {
        flags: random_word(rng),
        queue_depth: rng.random_range(1..4),
        io_desc_size_bytes: sizes[rng.random_range(0..sizes.len())],
    }
}

fn send(control: &mut Control, request: Request) -> Result<Result<DevInfo, i32>, Stop> {
    let mut info = DevInfo::new(1, request.queue_depth, 64 << 10, request.flags);
    info.io_desc_size = request.io_desc_size_bytes;
    told(control.add_dev(&info))
}

fn told(result: Result<DevInfo, CtrlError>) -> Result<Result<DevInfo, i32>, Stop> {
    match result {
        Ok(info) => Ok(Ok(info)),
        Err(error) => error.errno().map(Err).ok_or_else(|| error.into()),
    }
}

fn probe(control: &mut Control) -> Result<Host, Stop> {
    let host = Host::probe(control)?.with_zoned_probe();
    Ok(Host { zoned: Some(host.zoned.unwrap_or(true)), ..host })
}

/// Checks one answer of the driver against the model and the planner.
fn judge(
    context: &mut Context,
    host: &Host,
    request: Request,
    answer: Result<DevInfo, i32>,
) -> Result<(), Stop> {
    let asked = request.flags;
    let driver = Driver {
        features: host.features,
        zoned: host.zoned.unwrap_or(true),
        privileged: host.privileged,
    };
    let words = |flags: Result<Features, i32>| match flags {
        Ok(flags) => flags.to_string(),
        Err(number) => errno(-number),
    };
    let what = format!(
        "ADD_DEV of depth {} with {asked} ({} byte descriptors)",
        request.queue_depth, request.io_desc_size_bytes
    );
    let made = answer.map(|info| info.flags);
    let expected = words(add_dev(driver, request));
    context.check_eq(
        FailureKind::State,
        format_args!("{what}, by the model"),
        &words(made),
        &expected,
    )?;
    let sized = asked.contains(Features::IO_DESC_SIZE);
    let wish = Wish {
        features: asked,
        queue_depth: request.queue_depth,
        io_desc_size_bytes: sized.then_some(request.io_desc_size_bytes),
        auto_buf_fallback: false,
    };
    let as_asked = made.is_ok_and(|flags| flags.contains(asked));
    match plan(&wish, host) {
        Ok(plan) => {
            let effective = words(Ok(plan.effective));
            context.check_eq(
                FailureKind::State,
                format_args!("{what}, by the planner"),
                &words(made),
                &effective,
            )?;
            if let Ok(info) = answer {
                let planned = plan.io_desc_size_bytes.max(24);
                let stride = info.io_desc_stride_bytes();
                context.check_eq(
                    FailureKind::State,
                    format_args!("{what}: stride"),
                    &stride,
                    &planned,
                )?;
            }
            Ok(())
        }
        Err(error) => {
            let harmless = matches!(&error, FeatureError::Conflict { rule, .. }
                if RULES.iter().any(|r| r.id == *rule && r.accepted));
            context.check(
                FailureKind::State,
                format_args!("{what} is not given as asked, since the planner says: {error}"),
                harmless || !as_asked,
            )
        }
    }
}

fn arithmetic(context: &mut Context) -> Result<String, Stop> {
    let mut rng = context.rng("flag words");
    let mut control = Control::open().during("open the control device")?;
    let host = probe(&mut control)?;
    let (mut made, mut refused) = (0, 0);
    for _ in 0..WORDS {
        let request = random_request(&mut rng);
        let answer = send(&mut control, request)?;
        if let Ok(info) = answer {
            control.del_dev(info.dev_id)?;
            made += 1;
        } else {
            refused += 1;
        }
        judge(context, &host, request, answer)?;
    }
    Ok(format!("{WORDS} words on {}: {made} made, {refused} refused", host.features))
}

/// One word for each row of the matrix, plus those that are accepted.
fn rows() -> Vec<Request> {
    use Features as F;
    let recovery = F::USER_RECOVERY;
    let (reissue, fail_io) = (F::USER_RECOVERY_REISSUE, F::USER_RECOVERY_FAIL_IO);
    let (user_copy, zero_copy, auto) = (F::USER_COPY, F::SUPPORT_ZERO_COPY, F::AUTO_BUF_REG);
    let words = [
        reissue,
        fail_io,
        recovery | reissue | fail_io,
        recovery | reissue,
        recovery | fail_io,
        F::QUIESCE,
        F::QUIESCE | recovery,
        F::UNPRIVILEGED_DEV,
        F::INTEGRITY,
        F::INTEGRITY | user_copy,
        F::ZONED,
        F::ZONED | auto,
        F::ZONED | user_copy,
        F::ZONED | zero_copy,
        F::NEED_GET_DATA,
        F::NEED_GET_DATA | user_copy,
        F::NEED_GET_DATA | zero_copy,
        F::NEED_GET_DATA | auto,
        F::NEED_GET_DATA | F::BATCH_IO,
        F::BATCH_IO | F::PER_IO_DAEMON,
        F::BATCH_IO,
        user_copy | zero_copy | auto,
        auto,
        F::SHMEM_ZC | F::NEED_GET_DATA,
        F::UPDATE_SIZE,
        F::NO_AUTO_PART_SCAN,
        F::IO_DESC_SIZE,
        F::from_bits(1 << 63),
        F::all() - F::UNPRIVILEGED_DEV,
        F::empty(),
    ];
    let request = |queue_depth| move |flags| Request { flags, queue_depth, io_desc_size_bytes: 32 };
    let shallow = words.into_iter().filter(|w| w.contains(F::BATCH_IO)).map(request(1));
    words.into_iter().map(request(2)).chain(shallow).collect()
}

fn matrix(context: &mut Context) -> Result<String, Stop> {
    let mut control = Control::open().during("open the control device")?;
    let host = probe(&mut control)?;
    let rows = rows();
    for request in &rows {
        let answer = send(&mut control, *request)?;
        if let Ok(info) = answer {
            control.del_dev(info.dev_id)?;
        }
        judge(context, &host, *request, answer)?;
    }
    Ok(format!("{} rows", rows.len()))
}

fn unprivileged(context: &mut Context) -> Result<String, Stop> {
    let mut rng = context.rng("unprivileged flag words");
    let mut requests: Vec<_> = rows();
    requests.truncate(USER_WORDS / 2);
    requests.resize_with(USER_WORDS, || random_request(&mut rng));
    for request in requests.iter_mut().skip(1) {
        // Without it every answer is the same EPERM.
        request.flags |= Features::UNPRIVILEGED_DEV;
    }
    let asked = requests.clone();
    let (host, answers) = without_privileges(move |control| {
        let host = probe(control)?;
        let answers: Result<Vec<_>, Stop> =
            asked.iter().map(|request| send(control, *request)).collect();
        Ok((host, answers?))
    })?;
    let made: Vec<_> = answers.iter().filter_map(|answer| answer.ok()).collect();
    let deleted: Result<Vec<_>, Stop> = made.iter().map(delete_of).collect();
    deleted?;
    context.check(FailureKind::State, "the caller has no CAP_SYS_ADMIN", !host.privileged)?;
    for info in &made {
        context.check_eq(FailureKind::State, "owner of the device", &info.owner_uid, &1000)?;
    }
    for (request, answer) in requests.into_iter().zip(answers) {
        judge(context, &host, request, answer)?;
    }
    Ok(format!("{USER_WORDS} words, {} made", made.len()))
}

fn planned(context: &mut Context) -> Result<String, Stop> {
    let builder = || -> Result<_, Stop> {
        let target = RamTarget::new(4 << 20).during("make a ramdisk")?;
        Ok(Server::builder(target).no_socket())
    };
    // On every series, and no matter for the data plane.
    let wish = Features::USER_RECOVERY | Features::USER_RECOVERY_REISSUE;
    let server = served(context, builder()?.features(wish))?;
    let flags = server.info().flags;
    context.check(FailureKind::State, format_args!("{flags} has {wish}"), flags.contains(wish))?;
    stop_served(context, server)?;
    let nodes = crate::block::all_nodes()?;
    for (wish, word) in [
        (Features::USER_RECOVERY_REISSUE, "needs USER_RECOVERY"),
        (Features::UNPRIVILEGED_DEV, "clears it for callers with CAP_SYS_ADMIN"),
        (Features::NEED_GET_DATA | Features::USER_COPY, "clears NEED_GET_DATA"),
        (Features::ZONED, "needs USER_COPY or SUPPORT_ZERO_COPY"),
        (Features::from_bits(1 << 62), "does not offer 0x4000000000000000"),
    ] {
        let error = match builder()?.features(wish).start() {
            Ok(server) => {
                stop_served(context, server)?;
                "it started".to_owned()
            }
            Err(error) => error.to_string(),
        };
        context.check(
            FailureKind::Operation,
            format_args!("{wish} is refused with \u{201c}{word}\u{201d}: {error}"),
            error.contains(word),
        )?;
    }
    let after = crate::block::all_nodes()?;
    context.check_eq(FailureKind::Leak, "nodes after the refusals", &after, &nodes)?;
    Ok(format!("{wish} became {flags}; 5 combinations refused before ADD_DEV"))
}
