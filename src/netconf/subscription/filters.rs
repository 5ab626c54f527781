//! Configured filters (RFC 8639, section 2.2): a subscription to events that names one goes on with what becomes of it, and ends with
//! it.

use std::sync::Arc;

use super::message;
use super::registry::{Entry, Order, Registry};
use super::serve::element;
use crate::datastore::events::NETCONF;
use crate::datastore::subscriber::{Change, ConfigSubscriber, Prepared};
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::tree::{Node, Tree};
use crate::netconf::ops::subscribe::{stream_filter, stream_selection};
use crate::netconf::rpc::EventFilter;
use crate::protocol::xml::write_leaf;

impl ConfigSubscriber for Registry {
    fn reads(&self) -> Option<Vec<&'static str>> {
        Some(vec![paths::FILTERS])
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        if change.at_start || !change.diff.touches(paths::FILTERS) {
            return Ok(Box::new(|| {}));
        }
        let orders: Vec<_> = self
            .with_named_filter()
            .into_iter()
            .filter_map(|(entry, name)| {
                let order = order(&entry, &name, change)?;
                Some((entry, order))
            })
            .collect();
        Ok(Box::new(move || {
            for (entry, order) in orders {
                let id = entry.id;
                if !entry.order(order) {
                    tracing::warn!(
                        subscription = id,
                        "it goes on with a filter that is no more"
                    );
                }
            }
        }))
    }
}

/// What a subscription with this filter is told of a change; nothing if the filter stays as it is.
fn order(entry: &Arc<Entry>, name: &str, change: &Change<'_>) -> Option<Order> {
    let text = |tree: &Tree| {
        let filters = tree.find(paths::FILTERS);
        let filter = filters
            .as_ref()
            .and_then(|filters| stream_filter(filters, name));
        filter.map(|filter| filter.xml())
    };
    if text(change.old) == text(change.new) {
        return None;
    }
    let filters = change.new.find(paths::FILTERS);
    let filter: Option<Node<'_>> = filters
        .as_ref()
        .and_then(|filters| stream_filter(filters, name));
    let selection = filter.map(|filter| stream_selection(change.new.schema(), &filter));
    let Some(Ok(selection)) = selection else {
        return Some(Order::End("filter-unavailable"));
    };
    let terms = entry.terms();
    let mut elements = element(&EventFilter::Named(name.to_owned()));
    write_leaf(&mut elements, "stream", NETCONF);
    Some(Order::Modify {
        notice: message::modified(entry.id, &elements, terms.stop),
        selection,
        stop: terms.stop,
    })
}
