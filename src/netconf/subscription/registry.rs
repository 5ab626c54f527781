//! The dynamic subscriptions of all sessions (RFC 8639): who they belong to, what they have sent, and how they are told
//! to become other ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::push;
use crate::datastore::SessionId;
use crate::datastore::changes::Bell;
use crate::datastore::retrieval::Selection;
use crate::datastore::subscriber::{StateProvider, Telling};
use crate::model::date_and_time;
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::tree::Tree;

/// Orders that wait for one subscription.
const ORDERS: usize = 8;

/// What a subscription is told.
#[derive(Debug)]
pub(super) enum Order {
    /// To go on with another selection and stop time.
    Modify {
        selection: Selection,
        stop: Option<SystemTime>,
        /// The message that tells the subscriber.
        notice: String,
    },
    /// The same for a subscription to a datastore.
    ModifyPush {
        terms: Box<push::Terms>,
        stop: Option<SystemTime>,
        /// The message that tells the subscriber.
        notice: String,
    },
    /// To send all there is once more.
    Resync,
    /// To end without a word: its own session wants it.
    Delete,
    /// To end, and to say so with this identity of ietf-subscribed-notifications as reason.
    End(&'static str),
}

/// What the state shows of a subscription.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub target: Target,
    pub stop: Option<SystemTime>,
}

/// What a subscription is to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Events.
    Stream {
        name: String,
        /// The name of a configured filter, or the XPath filter, by the names of modules; a subtree filter is not shown.
        filter: Option<(&'static str, String)>,
    },
    /// Data.
    Datastore(Box<push::Terms>),
}

impl Target {
    /// The leaves of the state: path below the subscription, and value.
    fn shown(&self) -> Vec<(String, String)> {
        match self {
            Self::Stream { name, filter } => {
                let filter = filter.as_ref().map(|(leaf, value)| (*leaf, value.clone()));
                let leaves = [Some(("stream", name.clone())), filter];
                let leaves = leaves.into_iter().flatten();
                leaves
                    .map(|(leaf, value)| (leaf.to_owned(), value))
                    .collect()
            }
            Self::Datastore(terms) => terms.shown(),
        }
    }
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Entry {
    pub id: u32,
    pub session: SessionId,
    pub user: String,
    terms: Mutex<Terms>,
    orders: mpsc::Sender<Order>,
    sent: AtomicU64,
    excluded: AtomicU64,
}

impl Entry {
    /// Tells it; false if it does not listen at the moment.
    pub fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    pub fn terms(&self) -> Terms {
        self.locked().clone()
    }

    pub fn set_terms(&self, terms: Terms) {
        *self.locked() = terms;
    }

    pub fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_excluded(&self) {
        self.excluded.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes that were not told one by one.
    pub fn count_lost(&self, changes: u64) {
        self.excluded.fetch_add(changes, Ordering::Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    all: Arc<Mutex<Entries>>,
    /// Rings when there are others, or others terms.
    bell: Bell,
}

#[derive(Debug, Default)]
struct Entries {
    last: u32,
    all: BTreeMap<u32, Arc<Entry>>,
    /// What they select, and what subscriptions by create-subscription do.
    selections: Vec<Weak<Selection>>,
}

impl Registry {
    /// A new subscription of a session, and its orders; none if that session has `most` already.
    pub(super) fn add(
        &self,
        session: SessionId,
        user: &str,
        terms: Terms,
        most: usize,
    ) -> Option<(Arc<Entry>, mpsc::Receiver<Order>)> {
        let mut entries = self.entries();
        let own = entries.all.values().filter(|one| one.session == session);
        if own.count() >= most {
            return None;
        }
        let (orders, ordered) = mpsc::channel(ORDERS);
        // Numbers come round only after four billion, when those before are long gone.
        entries.last = entries.last.checked_add(1).unwrap_or(1);
        let entry = Arc::new(Entry {
            id: entries.last,
            session,
            user: user.to_owned(),
            terms: Mutex::new(terms),
            orders,
            sent: AtomicU64::new(0),
            excluded: AtomicU64::new(0),
        });
        entries.all.insert(entry.id, Arc::clone(&entry));
        drop(entries);
        self.tell();
        Some((entry, ordered))
    }

    /// The same selection for all who have an equal one.
    pub(super) fn share(&self, selection: Selection) -> Arc<Selection> {
        let mut entries = self.entries();
        entries.selections.retain(|one| one.strong_count() > 0);
        let mut all = entries.selections.iter().filter_map(Weak::upgrade);
        if let Some(equal) = all.find(|one| **one == selection) {
            return equal;
        }
        let own = Arc::new(selection);
        entries.selections.push(Arc::downgrade(&own));
        own
    }

    /// Those with a configured filter, and its name.
    pub(super) fn with_named_filter(&self) -> Vec<(Arc<Entry>, String)> {
        let entries = self.entries();
        let named = entries
            .all
            .values()
            .filter_map(|entry| match entry.terms().target {
                Target::Stream {
                    filter: Some(("stream-filter-name", name)),
                    ..
                } => Some((Arc::clone(entry), name)),
                _ => None,
            });
        named.collect()
    }

    pub(super) fn find(&self, id: u32) -> Option<Arc<Entry>> {
        self.entries().all.get(&id).cloned()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries().all.len()
    }

    pub(super) fn remove(&self, id: u32) {
        self.entries().all.remove(&id);
        self.tell();
    }

    /// Tells that there is something else to show.
    pub(super) fn tell(&self) {
        self.bell.ring();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, into: &mut Tree) -> Result<(), RpcError> {
        let all: Vec<_> = self.entries().all.values().cloned().collect();
        for entry in all {
            let base = format!("{}/subscription[id='{}']", paths::SUBSCRIPTIONS, entry.id);
            let mut set =
                |leaf: &str, value: &str| into.set(&format!("{base}/{leaf}"), Some(value));
            let terms = entry.terms();
            for (leaf, value) in terms.target.shown() {
                set(&leaf, &value)?;
            }
            if let Some(stop) = terms.stop {
                set("stop-time", &date_and_time::milliseconds(stop))?;
            }
            set("encoding", "ietf-subscribed-notifications:encode-xml")?;
            // The receiver of a dynamic subscription is its session (RFC 8640, section 3).
            let receiver = format!(
                "receivers/receiver[name='NETCONF session {}']",
                entry.session
            );
            let sent = entry.sent.load(Ordering::Relaxed).to_string();
            set(&format!("{receiver}/sent-event-records"), &sent)?;
            let excluded = entry.excluded.load(Ordering::Relaxed).to_string();
            set(&format!("{receiver}/excluded-event-records"), &excluded)?;
            set(&format!("{receiver}/state"), "active")?;
        }
        Ok(())
    }
}

impl StateProvider for Registry {
    fn module(&self) -> &'static str {
        "ietf-subscribed-notifications"
    }

    fn state(&self, into: &mut Tree) {
        if let Err(error) = self.write(into) {
            tracing::warn!(%error, "the subscriptions do not fit their module");
        }
    }

    fn telling(&self) -> Option<Telling> {
        Telling::by(self.bell.hear(), &paths::SUBSCRIPTIONS_UNSETTLED)
    }
}
