//! The parameters of `<create-subscription>` (RFC 5277, section 2.1.1).

use std::time::SystemTime;

use chrono::DateTime;

use super::parameters::{Parameters, filter, invalid_value};
use super::{CreateSubscription, Rpc};
use crate::datastore::events::NETCONF;
use crate::model::error::RpcError;
use crate::protocol::xml::Element;

/// The namespace of the operation.
pub(super) const NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:notification:1.0";

pub(super) fn create_subscription(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let parameters = Parameters::read(operation, &["stream", "filter", "startTime", "stopTime"])?;
    let stream = parameters.text("stream")?;
    Ok(Rpc::CreateSubscription(CreateSubscription {
        stream: stream.unwrap_or_else(|| NETCONF.to_owned()),
        filter: filter(&parameters)?,
        start: time(&parameters, "startTime")?,
        stop: time(&parameters, "stopTime")?,
    }))
}

/// A `yang:date-and-time` (RFC 6991, section 3).
fn time(parameters: &Parameters<'_>, name: &str) -> Result<Option<SystemTime>, RpcError> {
    let Some(text) = parameters.text(name)? else {
        return Ok(None);
    };
    match DateTime::parse_from_rfc3339(text.trim()) {
        Ok(time) => Ok(Some(time.into())),
        Err(_) => Err(invalid_value(name, &text).info("bad-element", name)),
    }
}
