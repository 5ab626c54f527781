//! The parameters of the operations on subscriptions: `<create-subscription>` (RFC 5277, section 2.1.1) and those of
//! ietf-subscribed-notifications (RFC 8639, section 2.4).

use std::time::SystemTime;

use chrono::DateTime;

use super::parameters::{Parameters, content, filter, invalid_value};
use super::parse::unknown_operation;
use super::push;
use super::{
    CreateSubscription, EstablishSubscription, EventFilter, Filter, ModifySubscription, Rpc,
};
use crate::datastore::events::NETCONF;
use crate::model::error::{ErrorTag, RpcError};
use crate::protocol::xml::Element;

/// The namespace of RFC 5277.
pub(super) const NOTIFICATION_NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:notification:1.0";
/// The namespace of ietf-subscribed-notifications.
pub(super) const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications";

const FILTERS: [&str; 3] = [
    "stream-filter-name",
    "stream-subtree-filter",
    "stream-xpath-filter",
];

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

/// An operation of ietf-subscribed-notifications.
pub(super) fn operation(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    match operation.name() {
        "establish-subscription" if push::is_about_datastore(operation) => {
            push::establish(operation)
        }
        "establish-subscription" => establish(operation),
        "modify-subscription" if push::is_about_datastore(operation) => push::modify(operation),
        "modify-subscription" => {
            let known = [&["id", "stop-time"][..], &FILTERS].concat();
            let parameters = Parameters::read(operation, &known)?;
            Ok(Rpc::ModifySubscription(ModifySubscription {
                id: id(&parameters)?,
                filter: event_filter(&parameters)?,
                stop: time(&parameters, "stop-time")?,
            }))
        }
        "delete-subscription" => Ok(Rpc::DeleteSubscription {
            id: id(&Parameters::read(operation, &["id"])?)?,
        }),
        "kill-subscription" => Ok(Rpc::KillSubscription {
            id: id(&Parameters::read(operation, &["id"])?)?,
        }),
        name => Err(unknown_operation(name)),
    }
}

fn establish(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let known = ["stream", "replay-start-time", "stop-time", "encoding"];
    let parameters = Parameters::read(operation, &[&known[..], &FILTERS].concat())?;
    let stream = parameters.text("stream")?;
    Ok(Rpc::EstablishSubscription(EstablishSubscription {
        stream: stream.ok_or_else(|| parameters.missing("stream"))?,
        filter: event_filter(&parameters)?,
        start: time(&parameters, "replay-start-time")?,
        stop: time(&parameters, "stop-time")?,
        encoding: encoding(&parameters)?,
    }))
}

/// An identity: its prefix is that of ietf-subscribed-notifications, whatever the client calls it.
pub(super) fn encoding(parameters: &Parameters<'_>) -> Result<Option<String>, RpcError> {
    let name = |encoding: String| {
        let name = encoding.trim().rsplit(':').next();
        name.unwrap_or_default().to_owned()
    };
    Ok(parameters.text("encoding")?.map(name))
}

pub(super) fn id(parameters: &Parameters<'_>) -> Result<u32, RpcError> {
    let text = parameters.text("id")?;
    let text = text.ok_or_else(|| parameters.missing("id"))?;
    let number = text.trim().parse();
    number.map_err(|_| invalid_value("id", &text))
}

/// The one that is given of several parameters, of which there may be one.
pub(super) fn one_of<'p, 'a>(
    parameters: &'p Parameters<'a>,
    names: &[&'static str],
    words: &str,
) -> Result<Option<&'p Element<'a>>, RpcError> {
    let mut given = names.iter().filter(|name| parameters.has(name));
    let (first, second) = (given.next(), given.next());
    if let Some(second) = second {
        let error = RpcError::protocol(ErrorTag::BadElement, words);
        return Err(error.info("bad-element", *second));
    }
    Ok(first.and_then(|name| parameters.get(name)))
}

/// One of the three, of which there may be one.
fn event_filter(parameters: &Parameters<'_>) -> Result<EventFilter, RpcError> {
    let words = "a subscription has one filter";
    let Some(parameter) = one_of(parameters, &FILTERS, words)? else {
        return Ok(EventFilter::None);
    };
    let text = || parameter.leaf_text().unwrap_or_default();
    Ok(match parameter.name() {
        "stream-filter-name" => EventFilter::Named(text()),
        "stream-xpath-filter" => EventFilter::Own(Filter::XPath {
            expression: text(),
            declared: parameter.declarations(),
        }),
        _ => EventFilter::Own(Filter::Subtree(content(parameter)?)),
    })
}

/// A `yang:date-and-time` (RFC 6991, section 3).
pub(super) fn time(
    parameters: &Parameters<'_>,
    name: &str,
) -> Result<Option<SystemTime>, RpcError> {
    let Some(text) = parameters.text(name)? else {
        return Ok(None);
    };
    match DateTime::parse_from_rfc3339(text.trim()) {
        Ok(time) => Ok(Some(time.into())),
        Err(_) => Err(invalid_value(name, &text).info("bad-element", name)),
    }
}
