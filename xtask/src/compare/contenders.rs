//! Who is compared in this run: subjects for the guest, and for whoever is not there the reason.

use std::collections::BTreeMap;

use reports::perf::{Launch, Proof, Role, Subject, SubjectResult};
use vmimage::symbols;

use super::device::{self, Device, Needs};
use super::peers::{Had, Peers};
use super::servers::{SERVERS, Server};
use crate::cli::PerfTarget;
use crate::perf::subjects::{ALLOCATORS, ID};

/// The file that file-backed devices serve, in the guest's tmpfs.
pub(super) const FILE: &str = "/tmp/compare.img";
/// Length of that file, and of the devices that keep their bytes in memory; fio touches all of it.
pub(super) const LEN_BYTES: u64 = 256 << 20;
/// Modules that the devices need and the scenarios do not.
pub(crate) const MODULES: &[&str] = &["nbd", "brd", "zram"];

/// A subject and what the report says beside its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) subject: Subject,
    pub(crate) version: Option<String>,
    pub(crate) note: Option<String>,
    /// Why it is not there.
    pub(crate) missing: Option<String>,
}

/// Everybody with one of these targets, in the order of the tables.
pub(crate) fn all(peers: &Peers, targets: &[PerfTarget]) -> Vec<Contender> {
    let devices = device::all();
    let mut contenders = Vec::new();
    for target in targets {
        let servers = SERVERS.iter().filter(|server| server.target == *target);
        contenders.extend(servers.map(|server| of_server(server, peers)));
        let devices = devices.iter().filter(|device| device.target == *target);
        contenders.extend(devices.map(|device| of_device(device, peers)));
    }
    contenders
}

/// Whether all of its target are compared with it.
pub(crate) fn is_reference(subject: &Subject) -> bool {
    subject.role == Role::Ours && subject.mode == "copy"
}

/// Puts what the host knows to what the guest measured, and whoever is not there to whoever was skipped.
pub(crate) fn complete(subjects: &mut Vec<SubjectResult>, contenders: &[Contender]) {
    let measured: BTreeMap<String, SubjectResult> =
        subjects.drain(..).map(|own| (format!("{}/{}", own.name, own.mode), own)).collect();
    for contender in contenders {
        let Contender { subject, version, note, missing } = contender;
        let mut own = match measured.get(&subject.id()) {
            Some(own) => own.clone(),
            None => absent(subject),
        };
        own.version.clone_from(version);
        own.note.clone_from(note);
        if missing.is_some() {
            own.skipped.clone_from(missing);
        }
        subjects.push(own);
    }
}

fn absent(subject: &Subject) -> SubjectResult {
    SubjectResult {
        name: subject.name.clone(),
        mode: subject.mode.clone(),
        role: subject.role,
        skipped: None,
        target: subject.target.clone(),
        version: None,
        note: None,
        device: None,
        cells: Vec::new(),
        counts: Vec::new(),
        idle_switches_per_s: None,
    }
}

fn of_server(server: &Server, peers: &Peers) -> Contender {
    let built = peers.program(server.program);
    let allocators = match &built {
        Ok(built) => symbols::function_offsets(&built.path, ALLOCATORS).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let words = std::iter::once(server.program.guest()).chain(server.words.split(' '));
    let ours = matches!(server.program, super::peers::Program::Ublk);
    let subject = Subject {
        name: server.name.to_owned(),
        mode: server.mode.to_owned(),
        role: if ours { Role::Ours } else { Role::Peer },
        features: server.features(),
        launch: Launch::Server { argv: words.map(str::to_owned).collect(), id: ID, allocators },
        device: format!("/dev/ublkb{ID}"),
        target: Some(target_name(server.target).to_owned()),
        proof: Some(proof(server.target)),
    };
    let version = built.as_ref().ok().map(|built| built.version.clone());
    let note = server.note.map(str::to_owned);
    Contender { subject, version, note, missing: built.err() }
}

fn of_device(device: &Device, peers: &Peers) -> Contender {
    let subject = Subject {
        name: device.name.to_owned(),
        mode: device.mode.to_owned(),
        role: match device.needs {
            Needs::NbdTools => Role::Peer,
            Needs::Nothing | Needs::Losetup => Role::Limit,
        },
        features: 0,
        launch: device.launch.clone(),
        device: device.node.to_owned(),
        target: Some(target_name(device.target).to_owned()),
        proof: Some(proof(device.target)),
    };
    let needed: &Had<()> = match device.needs {
        Needs::Nothing => &Ok(()),
        Needs::NbdTools => &peers.nbd,
        Needs::Losetup => &peers.losetup,
    };
    let missing = needed.as_ref().err().cloned();
    Contender { subject, version: None, note: device.note.map(str::to_owned), missing }
}

fn proof(target: PerfTarget) -> Proof {
    match target {
        PerfTarget::Null => Proof::Answers { len_bytes_min: LEN_BYTES },
        PerfTarget::Ram => Proof::Remembers { len_bytes: LEN_BYTES },
        PerfTarget::File => Proof::Shows { path: FILE.to_owned(), len_bytes: LEN_BYTES },
    }
}

const fn target_name(target: PerfTarget) -> &'static str {
    match target {
        PerfTarget::Null => "null",
        PerfTarget::Ram => "ram",
        PerfTarget::File => "file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        let none = || Err("no registry".to_owned());
        let own = std::env::current_exe().unwrap();
        let (kublk, rublk) = (Err("no registry".to_owned()), Err("no registry".to_owned()));
        Peers {
            ublk: own,
            kublk,
            libublk: Err("no registry".into()),
            rublk,
            nbd: none(),
            losetup: Ok(()),
        }
    }

    #[test]
    fn each_target_has_one_reference_and_every_name_is_somebody() {
        let targets = [PerfTarget::Null, PerfTarget::File, PerfTarget::Ram];
        let all = all(&peers(), &targets);
        for target in targets {
            let own = |contender: &&Contender| {
                contender.subject.target.as_deref() == Some(target_name(target))
            };
            let references = all.iter().filter(own).filter(|c| is_reference(&c.subject));
            assert_eq!(references.count(), 1, "{target:?}");
        }
        let mut ids: Vec<String> = all.iter().map(|contender| contender.subject.id()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn whoever_is_not_there_is_in_the_report_with_the_reason() {
        let all = all(&peers(), &[PerfTarget::File]);
        let mut subjects = Vec::new();
        complete(&mut subjects, &all);
        assert_eq!(subjects.len(), all.len());
        let why =
            |name: &str| subjects.iter().find(|own| own.name == name).unwrap().skipped.as_deref();
        assert_eq!(why("rublk-file"), Some("no registry"));
        assert_eq!(why("nbd"), Some("no registry"));
        assert_eq!(why("ublk-file"), None);
    }

    #[test]
    fn words_end_where_the_depth_goes() {
        let takes_none = |server: &&Server| server.name != "libublk-ram";
        for server in SERVERS.iter().filter(takes_none) {
            assert!(
                server.words.ends_with("-d") || server.words.ends_with("--depth"),
                "{server:?}"
            );
        }
    }
}
