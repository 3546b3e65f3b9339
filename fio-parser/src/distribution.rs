//! fio's percentages by bucket (`iodepth_level`, `latency_us`, ...), whose last key is text such as
//! `">=64"`, so that neither numbers nor strings order them.

use std::collections::BTreeMap;
use std::fmt;

use crate::walk::{FieldError, Node};

/// Key of a bucket; ordered as fio prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Up to this value, from the value of the bucket before.
    UpTo(u64),
    /// This value or more.
    AtLeast(u64),
}

impl fmt::Display for Bucket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpTo(value) => write!(out, "{value}"),
            Self::AtLeast(value) => write!(out, ">={value}"),
        }
    }
}

/// Percent of I/Os by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution(pub BTreeMap<Bucket, f64>);

impl Distribution {
    pub(crate) fn read(node: Node) -> Result<Self, FieldError> {
        node.object()?
            .into_entries()
            .map(|(name, node)| match parse_bucket(&name) {
                Some(bucket) => Ok((bucket, node.scalar()?)),
                None => Err(node.wrong_type("named by a number or `>=` and a number")),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse_bucket(name: &str) -> Option<Bucket> {
    match name.strip_prefix(">=") {
        Some(value) => value.parse().ok().map(Bucket::AtLeast),
        None => name.parse().ok().map(Bucket::UpTo),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_open_bucket_comes_last() {
        let node = Node::root(json!({">=64": 1.0, "64": 0.5, "8": 98.5}));
        let keys: Vec<_> =
            Distribution::read(node).unwrap().0.keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["8", "64", ">=64"]);
    }
}
