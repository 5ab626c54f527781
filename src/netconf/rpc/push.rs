//! The parameters that ietf-yang-push adds to the operations on subscriptions (RFC 8641, section 4.4).

use super::get_data::stored_if_known;
use super::parameters::{Parameters, content, invalid_value};
use super::subscribe::{id, one_of, time};
use super::{EstablishPush, EventFilter, Filter, ModifyPush, Rpc};
use crate::datastore::changes::ChangeType;
use crate::model::error::{ErrorTag, RpcError};
use crate::netconf::subscription::push::Trigger;
use crate::protocol::xml::Element;

/// Those that are of its namespace.
pub(super) const PARAMETERS: [&str; 6] = [
    "datastore",
    "selection-filter-ref",
    "datastore-subtree-filter",
    "datastore-xpath-filter",
    "periodic",
    "on-change",
];

const FILTERS: [&str; 3] = [
    "selection-filter-ref",
    "datastore-subtree-filter",
    "datastore-xpath-filter",
];

/// Whether an operation on subscriptions is about a datastore.
pub(super) fn is_about_datastore(operation: &Element<'_>) -> bool {
    operation
        .children()
        .any(|parameter| PARAMETERS.contains(&parameter.name()))
}

pub(super) fn establish(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let known = [&["stop-time", "encoding"][..], &PARAMETERS].concat();
    let parameters = Parameters::read(operation, &known)?;
    let datastore = parameters.get("datastore");
    let datastore = datastore.ok_or_else(|| parameters.missing("datastore"))?;
    Ok(Rpc::EstablishPush(EstablishPush {
        datastore: stored_if_known(datastore)?,
        filter: filter(&parameters)?.unwrap_or(EventFilter::None),
        trigger: trigger(&parameters, true)?.ok_or_else(|| parameters.missing("on-change"))?,
        stop: time(&parameters, "stop-time")?,
        encoding: super::subscribe::encoding(&parameters)?,
    }))
}

pub(super) fn modify(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let known = [&["id", "stop-time"][..], &PARAMETERS].concat();
    let parameters = Parameters::read(operation, &known)?;
    let datastore = parameters.get("datastore").map(stored_if_known);
    Ok(Rpc::ModifyPush(ModifyPush {
        id: id(&parameters)?,
        datastore: datastore.transpose()?,
        filter: filter(&parameters)?,
        trigger: trigger(&parameters, false)?,
        stop: time(&parameters, "stop-time")?,
    }))
}

pub(super) fn resync(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    Ok(Rpc::ResyncSubscription {
        id: id(&Parameters::read(operation, &["id"])?)?,
    })
}

/// One of the three, of which there may be one.
fn filter(parameters: &Parameters<'_>) -> Result<Option<EventFilter>, RpcError> {
    let Some(parameter) = one_of(parameters, &FILTERS, "a subscription has one filter")? else {
        return Ok(None);
    };
    let text = || parameter.leaf_text().unwrap_or_default();
    Ok(Some(match parameter.name() {
        "selection-filter-ref" => EventFilter::Named(text()),
        "datastore-xpath-filter" => EventFilter::Own(Filter::XPath {
            expression: text(),
            declared: parameter.declarations(),
        }),
        _ => EventFilter::Own(Filter::Subtree(content(parameter)?)),
    }))
}

/// One of the two; `is_whole` says whether the parts of it may be given that cannot be modified.
fn trigger(parameters: &Parameters<'_>, is_whole: bool) -> Result<Option<Trigger>, RpcError> {
    let both = ["periodic", "on-change"];
    let words = "a subscription is periodic or on change";
    match one_of(parameters, &both, words)? {
        Some(periodic) if periodic.name() == "periodic" => {
            let inside = Parameters::read(periodic, &["period", "anchor-time"])?;
            let period = centiseconds(&inside, "period")?;
            Ok(Some(Trigger::Periodic {
                period: period.ok_or_else(|| inside.missing("period"))?,
                anchor: time(&inside, "anchor-time")?,
            }))
        }
        Some(on_change) => self::on_change(on_change, is_whole).map(Some),
        None => Ok(None),
    }
}

fn on_change(element: &Element<'_>, is_whole: bool) -> Result<Trigger, RpcError> {
    let (known, lists): (&[&str], &[&str]) = match is_whole {
        true => (&["dampening-period", "sync-on-start"], &["excluded-change"]),
        false => (&["dampening-period"], &[]),
    };
    let inside = Parameters::read_with(element, known, lists)?;
    let booleans = [("true", true), ("false", false)];
    let excluded = inside.all("excluded-change").map(|parameter| {
        let word = parameter.leaf_text().unwrap_or_default();
        let mut all = ChangeType::ALL.into_iter();
        let found = all.find(|kind| kind.as_str() == word.trim());
        found.ok_or_else(|| invalid_value("excluded-change", &word))
    });
    let mut excluded = excluded.collect::<Result<Vec<_>, _>>()?;
    for at in (1..excluded.len()).rev() {
        if excluded[..at].contains(&excluded[at]) {
            let words = "a type of change is excluded twice";
            let error = RpcError::protocol(ErrorTag::BadElement, words);
            return Err(error.info("bad-element", "excluded-change"));
        }
    }
    excluded.sort_by_key(|kind| kind.as_str());
    Ok(Trigger::OnChange {
        dampening: centiseconds(&inside, "dampening-period")?.unwrap_or(0),
        sync: inside.word("sync-on-start", &booleans)?.unwrap_or(true),
        excluded,
    })
}

fn centiseconds(parameters: &Parameters<'_>, name: &str) -> Result<Option<u32>, RpcError> {
    let Some(text) = parameters.text(name)? else {
        return Ok(None);
    };
    let number = text.trim().parse().map(Some);
    number.map_err(|_| invalid_value(name, &text).info("bad-element", name))
}
