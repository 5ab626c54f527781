//! Reading members of a JSON object: absent and ill-typed are told apart, the rest is ignored.

use serde_json::{Map, Value};

use super::WireError;

/// A JSON object of a cloud.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// Reads one object of at most `limit` bytes.
    pub(super) fn parse(bytes: &[u8], limit: usize) -> Result<Self, WireError> {
        if bytes.len() > limit {
            return Err(WireError::TooLarge { limit });
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            _ => Err(WireError::NotAnObject),
        }
    }

    /// The value as an object, where it stands inside an array.
    pub(super) fn from_value(value: &Value, member: &'static str) -> Result<Self, WireError> {
        match value {
            Value::Object(members) => Ok(Self(members.clone())),
            _ => Err(WireError::IllTyped(member)),
        }
    }

    fn member(&self, name: &'static str) -> Result<&Value, WireError> {
        self.0.get(name).ok_or(WireError::Missing(name))
    }

    /// A string.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, WireError> {
        self.member(name)?.as_str().ok_or(WireError::IllTyped(name))
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self, name: &'static str) -> Result<u64, WireError> {
        self.member(name)?.as_u64().ok_or(WireError::IllTyped(name))
    }

    /// An array.
    pub(super) fn array(&self, name: &'static str) -> Result<&[Value], WireError> {
        self.member(name)?
            .as_array()
            .map(Vec::as_slice)
            .ok_or(WireError::IllTyped(name))
    }
}
