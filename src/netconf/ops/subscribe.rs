//! Whether a subscription makes sense: `<create-subscription>` (RFC 5277, section 2.1.1) and the operations of
//! ietf-subscribed-notifications (RFC 8639, section 2.4).

use std::time::SystemTime;

use super::retrieve;
use crate::datastore::events::NETCONF;
use crate::datastore::filter::Filter;
use crate::datastore::retrieval::Selection;
use crate::datastore::{Target, View};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::{Expression, Node};
use crate::model::xml;
use crate::netconf::rpc::{CreateSubscription, EstablishSubscription, EventFilter};

/// What a subscription by create-subscription selects.
///
/// # Errors
/// `invalid-value` for a stream that is not there, `bad-element` for a start in the future or a stop before the start,
/// `missing-element` for a stop without a start, and what is wrong with the filter.
pub fn create_subscription(
    view: &View,
    request: &CreateSubscription,
    now: SystemTime,
) -> Result<Selection, RpcError> {
    known_stream(&request.stream)?;
    let bad = |element: &str, words: &str| {
        RpcError::protocol(ErrorTag::BadElement, words).info("bad-element", element)
    };
    match (request.start, request.stop) {
        (Some(start), _) if start > now => {
            return Err(bad("startTime", "the start of a replay is not in the past"));
        }
        (Some(start), Some(stop)) if stop <= start => {
            return Err(bad("stopTime", "the stop is not after the start"));
        }
        (None, Some(_)) => {
            let words = "a stopTime needs a startTime";
            let error = RpcError::protocol(ErrorTag::MissingElement, words);
            return Err(error.info("bad-element", "startTime"));
        }
        _ => {}
    }
    retrieve::selection(view.schema(), request.filter.as_ref())
}

/// What a subscription by establish-subscription selects.
///
/// # Errors
/// `invalid-value`, for another encoding, for a filter and where there is none of that name with the identity of the
/// module for it as app-tag; for a time that makes no sense, and for a stream that is not there.
pub fn establish_subscription(
    view: &View,
    request: &EstablishSubscription,
    now: SystemTime,
) -> Result<Selection, RpcError> {
    known_stream(&request.stream)?;
    check_encoding(request.encoding.as_deref())?;
    if request.start.is_some_and(|start| start > now) {
        return Err(bad_time(
            "replay-start-time",
            "the start of a replay is not in the past",
        ));
    }
    check_stop(request.stop, request.start.unwrap_or(now))?;
    selection(view, &request.filter)
}

/// Whether there is an encoding of that name.
///
/// # Errors
/// `invalid-value` with the app-tag `encoding-unsupported`.
pub fn check_encoding(encoding: Option<&str>) -> Result<(), RpcError> {
    match encoding {
        None | Some("encode-xml") => Ok(()),
        Some(_) => Err(unsupported(
            "encoding-unsupported",
            "there is encode-xml and no other encoding",
        )),
    }
}

/// Whether a stop time makes sense for what begins at this time.
///
/// # Errors
/// `invalid-value`.
pub fn check_stop(stop: Option<SystemTime>, begin: SystemTime) -> Result<(), RpcError> {
    match stop {
        Some(stop) if stop <= begin => {
            Err(bad_time("stop-time", "the stop is not after the start"))
        }
        _ => Ok(()),
    }
}

/// What the filter of a subscription selects.
///
/// # Errors
/// `invalid-value` with the app-tag `filter-unsupported` or `filter-unavailable`.
pub fn selection(view: &View, filter: &EventFilter) -> Result<Selection, RpcError> {
    select(view, filter, &STREAM_FILTERS)
}

/// What the filter of a subscription to a datastore selects (RFC 8641, section 3.6).
///
/// # Errors
/// As [`selection`].
pub fn datastore_selection(view: &View, filter: &EventFilter) -> Result<Selection, RpcError> {
    select(view, filter, &DATASTORE_FILTERS)
}

/// How configured filters are called.
struct Names {
    list: &'static str,
    key: &'static str,
    xpath: &'static str,
    subtree: &'static str,
}

const STREAM_FILTERS: Names = Names {
    list: "stream-filter",
    key: "name",
    xpath: "stream-xpath-filter",
    subtree: "stream-subtree-filter",
};

const DATASTORE_FILTERS: Names = Names {
    list: "selection-filter",
    key: "filter-id",
    xpath: "datastore-xpath-filter",
    subtree: "datastore-subtree-filter",
};

fn select(view: &View, filter: &EventFilter, names: &Names) -> Result<Selection, RpcError> {
    let selection = match filter {
        EventFilter::None => return Ok(Selection::All),
        EventFilter::Own(filter) => retrieve::selection(view.schema(), Some(filter)),
        EventFilter::Named(name) => {
            let running = view.snapshot(Target::Running);
            let filters = running.find(paths::FILTERS);
            let found = filters
                .as_ref()
                .and_then(|filters| named(filters, name, names));
            let Some(found) = found else {
                let words = format!("no filter \"{name}\" is configured");
                return Err(unsupported("filter-unavailable", &words));
            };
            configured(view.schema(), &found, names)
        }
    };
    selection.map_err(|error| unsupported("filter-unsupported", &error.message))
}

fn named<'a>(filters: &Node<'a>, name: &str, names: &Names) -> Option<Node<'a>> {
    let is_it = |filter: &Node<'_>| {
        filter.name() == names.list && filter.child_value(names.key).as_deref() == Some(name)
    };
    filters.children().find(is_it)
}

/// The configured filter for events of this name.
pub fn stream_filter<'a>(filters: &Node<'a>, name: &str) -> Option<Node<'a>> {
    named(filters, name, &STREAM_FILTERS)
}

/// What it selects; an empty one everything.
///
/// # Errors
/// What is wrong with it.
pub fn stream_selection(schema: Schema, filter: &Node<'_>) -> Result<Selection, RpcError> {
    configured(schema, filter, &STREAM_FILTERS)
}

/// What a configured filter selects; an empty one everything.
fn configured(schema: Schema, filter: &Node<'_>, names: &Names) -> Result<Selection, RpcError> {
    if let Some(expression) = filter.child_value(names.xpath) {
        // As it is stored, its prefixes are names of modules.
        return Expression::parse(schema, &expression).map(Selection::XPath);
    }
    let Some(subtree) = filter.child(names.subtree) else {
        return Ok(Selection::All);
    };
    let parsed = xml::parse(&subtree.xml(), &xml::Scope::default())?;
    let inside = parsed
        .first()
        .map_or(&[][..], |element| element.children.as_slice());
    Filter::new(inside).map(Selection::Filter)
}

fn known_stream(stream: &str) -> Result<(), RpcError> {
    if stream == NETCONF {
        return Ok(());
    }
    let words = format!("there is no stream of that name; there is \"{NETCONF}\"");
    let error = RpcError::protocol(ErrorTag::InvalidValue, words);
    Err(error.info("bad-element", "stream"))
}

fn bad_time(element: &str, words: &str) -> RpcError {
    RpcError::application(ErrorTag::InvalidValue, words).info("bad-element", element)
}

/// A refusal that ietf-subscribed-notifications has an identity for, which is the app-tag (RFC 8640, section 5).
pub fn unsupported(identity: &str, words: &str) -> RpcError {
    let error = RpcError::application(ErrorTag::InvalidValue, words);
    error.app_tag(format!("ietf-subscribed-notifications:{identity}"))
}
