//! A walk over one JSON object that knows what was not asked for.
//!
//! fio grows fields with every release. Derived deserialisation would either drop them silently or
//! refuse the document; `serde(flatten)` would keep them at the price of errors that name no field.
//! Here every reader takes the fields it knows, and what remains is listed by path.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::units::{BytesPerSec, Iops, KibPerSec, Millis, Nanos};

/// A field of fio's JSON that is missing or of another type than fio writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A field without which the numbers mean nothing.
    #[error("field `{path}` is missing; this is no complete fio document")]
    Missing {
        /// Where it should be, as `jobs[0].read.total_ios`.
        path: String,
    },
    /// A field of another type or out of range.
    #[error("field `{path}` should be {expected}, found {found}")]
    WrongType {
        /// Where it is.
        path: String,
        /// What fio writes there.
        expected: &'static str,
        /// The beginning of what was found.
        found: String,
    },
}

/// Paths of fields that no reader took, with array indexes left out (`jobs[].read.new_field`).
pub(crate) type UnknownFields = BTreeSet<String>;

/// A value with the path it was found at.
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) path: String,
}

impl Node {
    pub(crate) fn root(value: Value) -> Self {
        Self { value, path: String::new() }
    }

    pub(crate) fn scalar<T: Scalar>(self) -> Result<T, FieldError> {
        T::from_value(&self.value).ok_or_else(|| self.wrong_type(T::EXPECTED))
    }

    pub(crate) fn object(self) -> Result<Object, FieldError> {
        match self.value {
            Value::Object(fields) => Ok(Object { fields, path: self.path }),
            _ => Err(self.wrong_type("an object")),
        }
    }

    pub(crate) fn array(self) -> Result<Vec<Self>, FieldError> {
        match self.value {
            Value::Array(items) => Ok(items
                .into_iter()
                .enumerate()
                .map(|(index, value)| Self { value, path: format!("{}[{index}]", self.path) })
                .collect()),
            _ => Err(self.wrong_type("an array")),
        }
    }

    pub(crate) fn wrong_type(&self, expected: &'static str) -> FieldError {
        const FOUND_CHARS_MAX: usize = 60;
        let found = self.value.to_string().chars().take(FOUND_CHARS_MAX).collect();
        FieldError::WrongType { path: self.path.clone(), expected, found }
    }
}

/// A JSON object whose fields are taken one by one.
pub(crate) struct Object {
    fields: Map<String, Value>,
    path: String,
}

impl Object {
    pub(crate) fn take(&mut self, name: &str) -> Option<Node> {
        let value = self.fields.remove(name)?;
        Some(Node { value, path: join(&self.path, name) })
    }

    pub(crate) fn take_required(&mut self, name: &str) -> Result<Node, FieldError> {
        self.take(name).ok_or_else(|| FieldError::Missing { path: join(&self.path, name) })
    }

    pub(crate) fn optional<T: Scalar>(&mut self, name: &str) -> Result<Option<T>, FieldError> {
        self.take(name).map(Node::scalar).transpose()
    }

    pub(crate) fn required<T: Scalar>(&mut self, name: &str) -> Result<T, FieldError> {
        self.take_required(name)?.scalar()
    }

    /// Takes an optional field through a reader of its own.
    pub(crate) fn optional_with<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Node) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        self.take(name).map(read).transpose()
    }

    /// All fields, for objects whose names are data (percentiles, bins, options).
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (String, Node)> {
        let path = self.path;
        self.fields.into_iter().map(move |(name, value)| {
            let path = join(&path, &name);
            (name, Node { value, path })
        })
    }

    /// Records what nobody took.
    pub(crate) fn finish(self, unknown: &mut UnknownFields) {
        let base = without_indexes(&self.path);
        unknown.extend(self.fields.into_iter().map(|(name, _)| join(&base, &name)));
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn without_indexes(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|&letter| {
            if letter == ']' {
                inside = false;
            }
            let keep = !inside;
            if letter == '[' {
                inside = true;
            }
            keep
        })
        .collect()
}

/// A leaf of fio's JSON.
pub(crate) trait Scalar: Sized {
    const EXPECTED: &'static str;
    fn from_value(value: &Value) -> Option<Self>;
}

impl Scalar for u64 {
    const EXPECTED: &'static str = "an unsigned integer";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Scalar for i64 {
    const EXPECTED: &'static str = "an integer";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_i64()
    }
}

impl Scalar for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl Scalar for String {
    const EXPECTED: &'static str = "a string";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

macro_rules! scalar_newtypes {
    ($($newtype:ident$(<$param:ty>)?: $inner:ty),+ $(,)?) => {$(
        impl Scalar for $newtype$(<$param>)? {
            const EXPECTED: &'static str = <$inner as Scalar>::EXPECTED;
            fn from_value(value: &Value) -> Option<Self> {
                <$inner as Scalar>::from_value(value).map(Self)
            }
        }
    )+};
}

scalar_newtypes! {
    BytesPerSec: u64,
    KibPerSec<u64>: u64,
    KibPerSec<f64>: f64,
    Nanos<u64>: u64,
    Nanos<f64>: f64,
    Millis: u64,
    Iops: f64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_the_path_and_what_was_found() {
        let mut root = Node::root(json!({"jobs": [{"error": "no"}]})).object().unwrap();
        let jobs = root.take("jobs").unwrap().array().unwrap();
        let mut job = jobs.into_iter().next().unwrap().object().unwrap();
        let error = job.required::<i64>("error").unwrap_err();
        assert_eq!(error.to_string(), "field `jobs[0].error` should be an integer, found \"no\"");
        let error = job.required::<u64>("eta").unwrap_err();
        assert_eq!(error, FieldError::Missing { path: "jobs[0].eta".to_owned() });
    }

    #[test]
    fn what_is_left_is_listed_without_indexes() {
        let mut unknown = UnknownFields::new();
        let root = Node { value: json!({"a": 1, "b": 2}), path: "jobs[12].prios[3]".to_owned() };
        let mut object = root.object().unwrap();
        object.take("a");
        object.finish(&mut unknown);
        assert_eq!(unknown.into_iter().collect::<Vec<_>>(), ["jobs[].prios[].b"]);
    }
}
