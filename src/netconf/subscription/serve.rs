//! The operations on subscriptions, as the server does them.

use std::sync::Arc;
use std::time::SystemTime;

use super::registry::{Entry, Order, Target, Terms};
use super::{Established, Kind, Subscribed, Subscription, message};
use crate::datastore::retrieval::Selection;
use crate::datastore::{Author, View};
use crate::model::date_and_time;
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::netconf::ops::subscribe;
use crate::netconf::reply::Reply;
use crate::netconf::rpc::{
    CreateSubscription, EstablishSubscription, EventFilter, Filter, ModifyPush, ModifySubscription,
    Rpc, unknown_operation,
};
use crate::netconf::server::Server;
use crate::protocol::xml::{write_declaration, write_leaf};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications";

impl Server {
    /// Does an operation on subscriptions, which the caller may execute.
    pub(in crate::netconf) async fn subscribe(
        &self,
        caller: &Author,
        rpc: Rpc,
    ) -> Result<Reply, Errors> {
        match rpc {
            Rpc::CreateSubscription(request) => self.create(caller, request).await,
            Rpc::EstablishSubscription(request) => self.establish(caller, request).await,
            Rpc::EstablishPush(request) => self.establish_push(caller, request).await,
            Rpc::ModifySubscription(request) => self.modify(caller, request).await,
            Rpc::ModifyPush(request) => {
                let entry = self.own(caller, request.id)?;
                self.modify_push(&entry, request).await
            }
            Rpc::ResyncSubscription { id } => self.resync(caller, id),
            Rpc::DeleteSubscription { id } => {
                let own = |entry: &Entry| entry.session == caller.session;
                self.order(id, own, Order::Delete)
            }
            Rpc::KillSubscription { id } => {
                self.order(id, |_| true, Order::End("no-such-subscription"))
            }
            other => Err(unknown_operation(other.name()).into()),
        }
    }

    async fn create(&self, caller: &Author, request: CreateSubscription) -> Result<Reply, Errors> {
        let times = (request.start, request.stop);
        let check =
            move |view: &View| subscribe::create_subscription(view, &request, SystemTime::now());
        let selection = self.look(check).await?;
        let (server, author) = (self.clone(), caller.clone());
        let subscription = Subscription::new(Kind::Created, server, author, selection, times);
        let subscribed = Subscribed::Stream(Box::new(subscription));
        Ok(Reply::Subscribed(Box::new(subscribed), String::new()))
    }

    async fn establish(
        &self,
        caller: &Author,
        request: EstablishSubscription,
    ) -> Result<Reply, Errors> {
        let times = (request.start, request.stop);
        let asked = request.clone();
        let check =
            move |view: &View| subscribe::establish_subscription(view, &asked, SystemTime::now());
        let selection = self.look(check).await?;
        let established = self.register(
            caller,
            Terms {
                target: Target::Stream {
                    filter: shown(&request.filter, &selection),
                    name: request.stream,
                },
                stop: request.stop,
            },
        )?;
        let mut output = String::new();
        leaf(&mut output, "id", &established.entry.id.to_string());
        if let Some(revised) = request.start.and_then(|start| self.revised(start)) {
            leaf(
                &mut output,
                "replay-start-time-revision",
                &date_and_time::milliseconds(revised),
            );
        }
        let kind = Kind::Established(established);
        let (server, author) = (self.clone(), caller.clone());
        let subscription = Subscription::new(kind, server, author, selection, times);
        let subscribed = Subscribed::Stream(Box::new(subscription));
        Ok(Reply::Subscribed(Box::new(subscribed), output))
    }

    /// A number for a new subscription, which has it as long as it lives.
    pub(super) fn register(&self, caller: &Author, terms: Terms) -> Result<Established, RpcError> {
        let registry = self.registry().clone();
        let most = self.limits().subscriptions;
        let added = registry.add(caller.session, &caller.user, terms, most);
        let Some((entry, orders)) = added else {
            let words = format!("a session has at most {most} subscriptions");
            let error = RpcError::application(ErrorTag::ResourceDenied, words);
            let tag = "ietf-subscribed-notifications:insufficient-resources";
            return Err(error.app_tag(tag));
        };
        Ok(Established {
            entry,
            orders,
            registry,
        })
    }

    /// A subscription of the caller's session.
    fn own(&self, caller: &Author, id: u32) -> Result<Arc<Entry>, RpcError> {
        let entry = self.registry().find(id);
        let entry = entry.filter(|entry| entry.session == caller.session);
        entry.ok_or_else(no_such_subscription)
    }

    /// From when on there are events, if that is later than was asked for.
    fn revised(&self, start: SystemTime) -> Option<SystemTime> {
        let (created, aged) = self.stream().ages();
        let first = aged.map_or(created, |aged| aged.max(created));
        Some(first).filter(|first| *first > start)
    }

    async fn modify(&self, caller: &Author, request: ModifySubscription) -> Result<Reply, Errors> {
        let entry = self.own(caller, request.id)?;
        let before = entry.terms().target;
        let name = match before {
            Target::Stream { name, .. } => name,
            Target::Datastore(_) => {
                return self.modify_push(&entry, of_stream(request)?).await;
            }
        };
        subscribe::check_stop(request.stop, SystemTime::now())?;
        let filter = request.filter.clone();
        let selection = self
            .look(move |view: &View| subscribe::selection(view, &filter))
            .await?;
        let mut elements = element(&request.filter);
        write_leaf(&mut elements, "stream", &name);
        let terms = Terms {
            stop: request.stop,
            target: Target::Stream {
                name,
                filter: shown(&request.filter, &selection),
            },
        };
        let order = Order::Modify {
            notice: message::modified(entry.id, &elements, request.stop),
            selection,
            stop: request.stop,
        };
        told(entry.order(order))?;
        entry.set_terms(terms);
        self.registry().tell();
        Ok(Reply::Ok)
    }

    fn order(
        &self,
        id: u32,
        may: impl FnOnce(&Entry) -> bool,
        order: Order,
    ) -> Result<Reply, Errors> {
        let entry = self.registry().find(id).filter(|entry| may(entry));
        let entry = entry.ok_or_else(no_such_subscription)?;
        told(entry.order(order))?;
        // It is gone for everybody from now on; its session learns it before the next event.
        self.registry().remove(id);
        tracing::info!(
            subscription = id,
            session = entry.session,
            user = entry.user,
            "subscription ended"
        );
        Ok(Reply::Ok)
    }
}

/// An element of the output, which is of the module of RFC 8639.
pub(super) fn leaf(output: &mut String, name: &str, value: &str) {
    output.push('<');
    output.push_str(name);
    write_declaration(output, "", NAMESPACE);
    output.push('>');
    output.push_str(value);
    output.push_str("</");
    output.push_str(name);
    output.push('>');
}

/// What a request that gives no target changes of a subscription to a datastore.
fn of_stream(request: ModifySubscription) -> Result<ModifyPush, RpcError> {
    if request.filter != EventFilter::None {
        let words = "the filter is one for events, and the subscription one to a datastore";
        return Err(subscribe::unsupported("filter-unsupported", words));
    }
    Ok(ModifyPush {
        id: request.id,
        datastore: None,
        filter: None,
        trigger: None,
        stop: request.stop,
    })
}

/// What the state shows of a filter.
fn shown(filter: &EventFilter, selection: &Selection) -> Option<(&'static str, String)> {
    match (filter, selection) {
        (EventFilter::Named(name), _) => Some(("stream-filter-name", name.clone())),
        (EventFilter::Own(_), Selection::XPath(expression)) => {
            Some(("stream-xpath-filter", expression.text().to_owned()))
        }
        _ => None,
    }
}

/// The element of a filter as it was given.
pub(super) fn element(filter: &EventFilter) -> String {
    let mut xml = String::new();
    match filter {
        EventFilter::None => {}
        EventFilter::Named(name) => write_leaf(&mut xml, "stream-filter-name", name),
        EventFilter::Own(Filter::Subtree(inside)) => {
            xml.push_str("<stream-subtree-filter>");
            xml.push_str(inside);
            xml.push_str("</stream-subtree-filter>");
        }
        EventFilter::Own(Filter::XPath {
            expression,
            declared,
        }) => {
            xml.push_str("<stream-xpath-filter");
            let prefixes = declared.iter().filter(|(prefix, _)| !prefix.is_empty());
            prefixes.for_each(|(prefix, uri)| write_declaration(&mut xml, prefix, uri));
            xml.push('>');
            xml.push_str(&quick_xml::escape::escape(expression.as_str()));
            xml.push_str("</stream-xpath-filter>");
        }
    }
    xml
}

pub(super) fn no_such_subscription() -> RpcError {
    subscribe::unsupported(
        "no-such-subscription",
        "there is no such subscription, or it is not one of this session",
    )
}

pub(super) fn told(is_told: bool) -> Result<(), RpcError> {
    let words = "the subscription is not done with what it was told before, try again";
    match is_told {
        true => Ok(()),
        false => Err(RpcError::application(ErrorTag::ResourceDenied, words)),
    }
}
