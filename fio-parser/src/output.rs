//! One fio document: everything a run printed about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::host::{CpuIdleness, DiskUtil};
use crate::job::Job;
use crate::walk::{FieldError, Node, Object, UnknownFields};

/// Options by name as fio repeats them; bare options have empty text
/// (3.33 leaves them out of the global ones).
pub type Options = BTreeMap<String, String>;

/// Name fio gives the sum over all servers, at the end of `client_stats[]`.
const ALL_CLIENTS: &str = "All clients";

/// A parsed fio document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FioOutput {
    /// As printed, as `fio-3.41`.
    pub version: String,
    /// Wall clock at the end of the run, in seconds since 1970.
    pub timestamp_s: Option<u64>,
    /// The same in milliseconds; missing in client mode.
    pub timestamp_ms: Option<u64>,
    /// The same as text, in the machine's time zone.
    pub time: Option<String>,
    /// Options of `[global]`: none, one set, or in client mode one for each server.
    pub global_options: Vec<Options>,
    /// Jobs, or in client mode the jobs of all servers. Never the sum over servers.
    pub jobs: Vec<Job>,
    /// fio's sum over all servers, in client mode with more than one entry.
    pub all_clients: Option<Job>,
    /// Block devices touched; empty for engines without any.
    pub disks: Vec<DiskUtil>,
    /// Idleness, with `--idle-prof`.
    pub cpu_idleness: Option<CpuIdleness>,
    /// Paths of fields this crate does not know, sorted, with array indexes left out.
    pub unknown_fields: Vec<String>,
}

/// A fio release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FioVersion {
    /// Before the dot.
    pub major: u32,
    /// After the dot.
    pub minor: u32,
}

impl FioOutput {
    /// The release, `None` where the text is not `fio-MAJOR.MINOR` with an optional rest.
    #[must_use]
    pub fn release(&self) -> Option<FioVersion> {
        self.version.parse().ok()
    }

    /// True for a document of `fio --client`.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.all_clients.is_some() || self.jobs.iter().any(|job| job.client.is_some())
    }

    /// Reads a document that was already decoded.
    ///
    /// # Errors
    /// [`FieldError`] for a missing field without which the numbers mean nothing, and for one of
    /// another type than fio writes.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        let mut unknown = UnknownFields::new();
        let mut object = Node::root(value).object()?;
        let mut output = Self {
            version: object.required("fio version")?,
            timestamp_s: object.optional("timestamp")?,
            timestamp_ms: object.optional("timestamp_ms")?,
            time: object.optional("time")?,
            global_options: match object.take("global options") {
                None => Vec::new(),
                Some(node) => read_global_options(node)?,
            },
            disks: read_list(&mut object, "disk_util", &mut unknown, DiskUtil::read)?,
            cpu_idleness: object.optional_with("cpu_idleness", CpuIdleness::read)?,
            ..Self::default()
        };
        output.read_jobs(&mut object, &mut unknown)?;
        object.finish(&mut unknown);
        output.unknown_fields = unknown.into_iter().collect();
        Ok(output)
    }

    fn read_jobs(
        &mut self,
        object: &mut Object,
        unknown: &mut UnknownFields,
    ) -> Result<(), FieldError> {
        let clients = read_optional_list(object, "client_stats", unknown, Job::read)?;
        let Some(clients) = clients else {
            self.jobs = object
                .take_required("jobs")?
                .array()?
                .into_iter()
                .map(|node| Job::read(node, unknown))
                .collect::<Result<_, _>>()?;
            return Ok(());
        };
        self.jobs = clients;
        // A user's own job of that name is never alone at the end of several: the sum follows it.
        if self.jobs.len() > 1 {
            self.all_clients = self.jobs.pop_if(|job| job.name == ALL_CLIENTS);
        }
        Ok(())
    }
}

fn read_list<T>(
    object: &mut Object,
    name: &str,
    unknown: &mut UnknownFields,
    read: impl Fn(Node, &mut UnknownFields) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    Ok(read_optional_list(object, name, unknown, read)?.unwrap_or_default())
}

fn read_optional_list<T>(
    object: &mut Object,
    name: &str,
    unknown: &mut UnknownFields,
    read: impl Fn(Node, &mut UnknownFields) -> Result<T, FieldError>,
) -> Result<Option<Vec<T>>, FieldError> {
    let Some(node) = object.take(name) else { return Ok(None) };
    node.array()?.into_iter().map(|node| read(node, unknown)).collect::<Result<_, _>>().map(Some)
}

fn read_global_options(node: Node) -> Result<Vec<Options>, FieldError> {
    if node.value.is_array() {
        node.array()?.into_iter().map(read_options).collect()
    } else {
        Ok(vec![read_options(node)?])
    }
}

/// Options are strings, but for the port number fio puts among the global options of a server.
pub(crate) fn read_options(node: Node) -> Result<Options, FieldError> {
    node.object()?
        .into_entries()
        .map(|(name, node)| match &node.value {
            Value::Number(number) => Ok((name, number.to_string())),
            _ => Ok((name, node.scalar()?)),
        })
        .collect()
}

impl FromStr for FioVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownVersion(text.chars().take(64).collect());
        let rest = text.strip_prefix("fio-").ok_or_else(unknown)?;
        let (major, rest) = rest.split_once('.').ok_or_else(unknown)?;
        let minor = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        Ok(Self {
            major: major.parse().map_err(|_| unknown())?,
            minor: minor.parse().map_err(|_| unknown())?,
        })
    }
}

impl fmt::Display for FioVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "fio-{}.{}", self.major, self.minor)
    }
}

/// A text that names no fio release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no fio release; expected `fio-MAJOR.MINOR`")]
pub struct UnknownVersion(String);

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("fio-3.41", Some((3, 41)))]
    #[case("fio-3.33-12-g1b5e-dirty", Some((3, 33)))]
    #[case("fio-3.5.1", Some((3, 5)))]
    #[case("3.41", None)]
    #[case("fio-3", None)]
    #[case("fio-x.y", None)]
    fn reads_versions(#[case] text: &str, #[case] expected: Option<(u32, u32)>) {
        let version = text.parse::<FioVersion>().ok().map(|version| (version.major, version.minor));
        assert_eq!(version, expected);
    }

    #[test]
    fn a_document_without_jobs_is_none_of_fio() {
        let error = FioOutput::from_value(json!({"fio version": "fio-3.41"})).unwrap_err();
        assert_eq!(error, FieldError::Missing { path: "jobs".to_owned() });
        assert!(FioOutput::from_value(json!([])).is_err());
        assert!(FioOutput::from_value(json!({})).is_err());
    }

    #[test]
    fn a_single_client_job_of_the_reserved_name_stays_a_job() {
        let value = json!({
            "fio version": "fio-3.41",
            "client_stats": [{"jobname": "All clients", "error": 0, "hostname": "h", "port": 1}]
        });
        let output = FioOutput::from_value(value).unwrap();
        assert_eq!(output.jobs.len(), 1);
        assert!(output.is_client());
    }
}
