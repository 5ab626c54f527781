//! The operations on subscriptions to datastores, as the server does them (RFC 8641, section 4.4).

use std::sync::Arc;

use super::contents::Wanted;
use super::on_change::OnChange;
use super::refusal::{Of, refuse};
use super::schedule::Schedule;
use super::terms::{self, Terms, Trigger};
use super::{Course, Gathering, Push, contents};
use crate::datastore::changes::Unsettled;
use crate::datastore::filter::Filter;
use crate::datastore::retrieval::Selection;
use crate::datastore::{Author, View};
use crate::model::error::{Errors, RpcError};
use crate::model::tree::SchemaNode;
use crate::netconf::ops::subscribe;
use crate::netconf::reply::Reply;
use crate::netconf::rpc::{Datastore, EstablishPush, EventFilter, ModifyPush, Stored};
use crate::netconf::server::Server;
use crate::netconf::subscription::registry::{Entry, Order, Target, Terms as Registered};
use crate::netconf::subscription::serve::{leaf, told};
use crate::netconf::subscription::{Subscribed, message};

/// The shortest period, in hundredths of a second: each update gathers all that is selected.
pub(super) const SHORTEST_PERIOD: u32 = 100;

/// What was found of a filter: what it selects, its XPath expression, and of what no changes are told.
type Found = (Selection, Option<String>, Unsettled);

impl Server {
    /// establish-subscription, for a datastore.
    pub(in crate::netconf::subscription) async fn establish_push(
        &self,
        caller: &Author,
        request: EstablishPush,
    ) -> Result<Reply, Errors> {
        subscribe::check_encoding(request.encoding.as_deref())?;
        subscribe::check_stop(request.stop, self.date())?;
        let datastore = subscribable(request.datastore)?;
        check_trigger(Of::Establish, &request.trigger)?;
        let (selection, expression, unsettled) = self
            .check_push(Of::Establish, datastore, &request.filter, &request.trigger)
            .await?;
        let terms = Terms {
            datastore,
            filter: request.filter,
            expression,
            selection,
            trigger: request.trigger,
        };
        let registered = Registered {
            target: Target::Datastore(Box::new(terms.clone())),
            stop: request.stop,
        };
        let established = self.register(caller, registered)?;
        let mut output = String::new();
        leaf(&mut output, "id", &established.entry.id.to_string());
        let now = super::Now {
            instant: tokio::time::Instant::now(),
            date: self.date(),
        };
        let course = match &terms.trigger {
            Trigger::OnChange { .. } => {
                Course::OnChange(Box::new(self.listen(&terms, unsettled).await?))
            }
            Trigger::Periodic { period, anchor } => {
                let period = terms::centiseconds(*period);
                Course::Periodic(Schedule::new(period, *anchor, now))
            }
        };
        let push = Push {
            established,
            server: self.clone(),
            author: caller.clone(),
            terms,
            stop: request.stop,
            course,
            gathering: Gathering::None,
            sending: None,
            failures: 0,
            is_ending: false,
            is_over: false,
        };
        push.check_size().await?;
        Ok(Reply::Subscribed(
            Box::new(Subscribed::Datastore(Box::new(push))),
            output,
        ))
    }

    /// Hears of changes from now on.
    async fn listen(&self, terms: &Terms, unsettled: Unsettled) -> Result<OnChange, RpcError> {
        let is_operational = terms.is_operational();
        let listener = self.told().changes.listen(is_operational);
        if is_operational {
            self.begin_to_follow().await?;
        }
        let look = |view: &View| Ok((view.version(), Arc::clone(view.nacm())));
        let seen = self.look(look).await?;
        let beside = (listener, unsettled);
        Ok(OnChange::new(self.schema(), terms, beside, seen))
    }

    /// modify-subscription, for a datastore. What is not given stays as it is.
    pub(in crate::netconf::subscription) async fn modify_push(
        &self,
        entry: &Entry,
        request: ModifyPush,
    ) -> Result<Reply, Errors> {
        let now = entry.terms();
        let Target::Datastore(old) = now.target else {
            let words = "the subscription is one to a stream, not to a datastore";
            return Err(refuse(Of::Modify, "datastore-not-subscribable", words, &[]).into());
        };
        if request
            .datastore
            .is_some_and(|datastore| datastore != Some(old.datastore))
        {
            let words = "the datastore of a subscription stays what it is";
            return Err(refuse(Of::Modify, "datastore-not-subscribable", words, &[]).into());
        }
        subscribe::check_stop(request.stop, self.date())?;
        let trigger = changed(&old.trigger, request.trigger)?;
        check_trigger(Of::Modify, &trigger)?;
        let filter = request.filter.unwrap_or_else(|| old.filter.clone());
        let (selection, expression, _) = self
            .check_push(Of::Modify, old.datastore, &filter, &trigger)
            .await?;
        let terms = Terms {
            datastore: old.datastore,
            filter,
            expression,
            selection,
            trigger,
        };
        let stop = request.stop.or(now.stop);
        let registered = Registered {
            target: Target::Datastore(Box::new(terms.clone())),
            stop,
        };
        let notice = message::modified(entry.id, &terms.elements(), stop);
        told(entry.order(Order::ModifyPush {
            terms: Box::new(terms),
            stop,
            notice,
        }))?;
        entry.set_terms(registered);
        self.registry().tell();
        Ok(Reply::Ok)
    }

    /// resync-subscription: all there is, once more.
    pub(in crate::netconf::subscription) fn resync(
        &self,
        caller: &Author,
        id: u32,
    ) -> Result<Reply, Errors> {
        let entry = self.registry().find(id);
        let entry = entry.filter(|entry| entry.session == caller.session);
        let refused = |identity: &str, words: &str| refuse(Of::Resync, identity, words, &[]);
        let Some(entry) = entry else {
            let words = "there is no such subscription, or it is not one of this session";
            return Err(refused("no-such-subscription-resync", words).into());
        };
        let is_on_change = match &entry.terms().target {
            Target::Datastore(terms) => {
                matches!(terms.trigger, Trigger::OnChange { sync: true, .. })
            }
            Target::Stream { .. } => false,
        };
        if !is_on_change {
            let words =
                "only a subscription on change that has updates of all there is can have one more";
            return Err(refused("on-change-sync-unsupported", words).into());
        }
        told(entry.order(Order::Resync))?;
        Ok(Reply::Ok)
    }

    /// What a filter selects, if such a subscription makes sense.
    async fn check_push(
        &self,
        of: Of,
        datastore: Stored,
        filter: &EventFilter,
        trigger: &Trigger,
    ) -> Result<Found, RpcError> {
        let (server, filter, trigger) = (self.clone(), filter.clone(), trigger.clone());
        let look = move |view: &View| {
            let selection = subscribe::datastore_selection(view, &filter)?;
            let (selection, expression) = simple(view, selection);
            let unsettled = match datastore {
                Stored::Operational => server.told().unsettled(view),
                Stored::Conventional(_) => Unsettled::default(),
            };
            if matches!(trigger, Trigger::OnChange { .. }) {
                check_selection(of, view, datastore, &selection, &unsettled)?;
            }
            Ok((selection, expression, unsettled))
        };
        self.look(look).await
    }
}

impl Push {
    /// Gathers all that is selected if that is sent at all, to refuse what is too much at once. It is not kept: nobody
    /// knows when there is room to send it.
    async fn check_size(&self) -> Result<(), RpcError> {
        let (identity, unsettled) = match &self.course {
            Course::Periodic(_) => ("update-too-big", None),
            Course::OnChange(course) => ("sync-too-big", Some(course.unsettled().clone())),
        };
        if matches!(self.terms.trigger, Trigger::OnChange { sync: false, .. }) {
            return Ok(());
        }
        let (server, author) = (self.server.clone(), self.author.clone());
        let wanted = Wanted {
            terms: self.terms.clone(),
            unsettled,
            comparison: None,
        };
        let gathered = contents::gather(server, author, wanted).await?;
        if gathered.xml.is_none() {
            let limit = contents::MOST_OCTETS as u64 / 1024;
            let words = format!("what is selected is more than the {limit} KiB of an update");
            let hints = [("kilobytes-limit", limit)];
            return Err(refuse(Of::Establish, identity, words, &hints));
        }
        Ok(())
    }
}

fn subscribable(datastore: Option<Stored>) -> Result<Stored, RpcError> {
    match datastore {
        Some(stored @ (Stored::Operational | Stored::Conventional(Datastore::Running))) => {
            Ok(stored)
        }
        _ => {
            let words = "running and operational can be subscribed to, and no other datastore";
            Err(refuse(
                Of::Establish,
                "datastore-not-subscribable",
                words,
                &[],
            ))
        }
    }
}

/// An XPath expression that is a location path as a filter, which is cheaper to have; and the expression itself.
fn simple(view: &View, selection: Selection) -> (Selection, Option<String>) {
    let Selection::XPath(expression) = selection else {
        return (selection, None);
    };
    let text = expression.text().to_owned();
    let selection = match Filter::of_location_paths(view.schema(), &text) {
        Some(filter) => Selection::Filter(filter),
        None => Selection::XPath(expression),
    };
    (selection, Some(text))
}

fn check_trigger(of: Of, trigger: &Trigger) -> Result<(), RpcError> {
    match trigger {
        Trigger::Periodic { period, .. } if *period < SHORTEST_PERIOD => {
            let words = format!("the shortest period is {SHORTEST_PERIOD} centiseconds");
            let hints = [("period-hint", u64::from(SHORTEST_PERIOD))];
            Err(refuse(of, "period-unsupported", words, &hints))
        }
        _ => Ok(()),
    }
}

/// Refuses a selection of whose nodes no change will be told.
fn check_selection(
    of: Of,
    view: &View,
    datastore: Stored,
    selection: &Selection,
    unsettled: &Unsettled,
) -> Result<(), RpcError> {
    let schema = view.schema();
    let Selection::Filter(filter) = selection else {
        // What XPath can select shows only when it is evaluated.
        return Ok(());
    };
    let is_there = |node: SchemaNode| datastore == Stored::Operational || node.is_config();
    if !filter.can_select(schema, &is_there) {
        let words = "the filter selects nothing that the datastore can hold";
        return Err(refuse(of, "unchanging-selection", words, &[]));
    }
    let settles = |node: SchemaNode| is_there(node) && !unsettled.contains(&node);
    match filter.can_select(schema, &settles) {
        true => Ok(()),
        false => {
            let words = "the filter selects nothing but nodes whose changes are not told; system-capabilities lists them";
            Err(refuse(of, "on-change-unsupported", words, &[]))
        }
    }
}

/// The trigger with what is given of another one, which must be of the same kind.
fn changed(old: &Trigger, new: Option<Trigger>) -> Result<Trigger, RpcError> {
    match (old, new) {
        (old, None) => Ok(old.clone()),
        (Trigger::Periodic { anchor: old, .. }, Some(Trigger::Periodic { period, anchor })) => {
            let anchor = anchor.or(*old);
            Ok(Trigger::Periodic { period, anchor })
        }
        (Trigger::OnChange { sync, excluded, .. }, Some(Trigger::OnChange { dampening, .. })) => {
            Ok(Trigger::OnChange {
                dampening,
                sync: *sync,
                excluded: excluded.clone(),
            })
        }
        _ => {
            let words = "a periodic subscription stays periodic, one on change on change";
            let error = crate::model::error::ErrorTag::InvalidValue;
            Err(RpcError::application(error, words))
        }
    }
}
