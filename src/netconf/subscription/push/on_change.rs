//! Subscriptions on change: what is owed to the subscriber, and when it may be sent.
//!
//! What is selected by names and keys alone is picked out of each change, at the cost of the change. Other selections – a
//! value may bring nodes in or out that did not change themselves – are gathered anew after a change that can touch them,
//! and compared with what was sent last.
//!
//! Whoever reads too slowly for the log of changes has missed some. He gets all there is once more, which makes his copy a
//! true one; if he has forbidden that (`sync-on-start` false), the next update says that it is incomplete (RFC 8641,
//! section 3.11.1). The same happens when more changed than a record is to hold, and when access control is another one for
//! him: what he lost is then not in his copy any more (section 3.9). If he has forbidden updates the subscription ends, so
//! that he begins anew.

use std::sync::Arc;

use tokio::time::Instant;

use super::contents::{Contents, Wanted};
use super::schedule::Now;
use super::terms::{self, Terms, Trigger};
use super::{Course, Push, Step, message, see_the_same};
use crate::datastore::Author;
use crate::datastore::changes::{Change, Found, Listener, Look, Of, Record, Unsettled};
use crate::datastore::filter::Filter;
use crate::datastore::nacm::Nacm;
use crate::datastore::retrieval::Selection;
use crate::model::schema::Schema;
use crate::model::tree::{Node, SchemaNode, Snapshot};

/// Nodes of a record; if more changed, all there is tells as much.
const MOST_NODES: usize = 100_000;
/// Octets of its values, for the same reason.
const MOST_OCTETS: usize = 16 << 20;

/// See the module.
pub(super) struct OnChange {
    schema: Schema,
    listener: Listener,
    unsettled: Unsettled,
    pick: Pick,
    record: Record,
    /// The running that is in what was told and recorded.
    version: u64,
    /// The rules by which that was seen.
    nacm: Arc<Nacm>,
    /// No update before this time.
    dampened: Option<Instant>,
    patch: u32,
    /// Changes were missed, and the next update has to say so.
    is_incomplete: bool,
    owed: Owed,
}

/// How the subscriber's part is found in a change.
enum Pick {
    /// By names and keys; none for everything.
    Named(Option<Filter>),
    /// By comparison with what was told last, once there is that; changes at or below these nodes of the top matter.
    Compared {
        copy: Option<Snapshot>,
        roots: Vec<SchemaNode>,
    },
}

/// What is to be gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    /// To be compared with the copy.
    Comparison,
    /// To be sent as a whole.
    All,
}

impl Pick {
    fn of(schema: Schema, selection: &Selection) -> Self {
        match selection {
            Selection::All => Self::Named(None),
            Selection::Filter(filter) if filter.is_by_name(schema) => {
                Self::Named(Some(filter.clone()))
            }
            _ => Self::Compared {
                copy: None,
                roots: selection.roots(schema).unwrap_or_default(),
            },
        }
    }
}

impl OnChange {
    /// What begins with `listener`, made before the running of `version` and `nacm` were looked at.
    pub fn new(
        schema: Schema,
        terms: &Terms,
        (listener, unsettled): (Listener, Unsettled),
        (version, nacm): (u64, Arc<Nacm>),
    ) -> Self {
        let mut course = Self {
            schema,
            listener,
            unsettled,
            pick: Pick::Named(None),
            record: Record::default(),
            version,
            nacm,
            dampened: None,
            patch: 0,
            is_incomplete: false,
            owed: Owed::Nothing,
        };
        course.begin(terms);
        course
    }

    /// Owes what the subscriber has to begin with.
    fn begin(&mut self, terms: &Terms) {
        self.pick = Pick::of(self.schema, &terms.selection);
        self.record = Record::default();
        self.owed = match (&terms.trigger, &self.pick) {
            (Trigger::OnChange { sync: true, .. }, _) => Owed::All,
            (_, Pick::Compared { .. }) => Owed::Comparison,
            _ => Owed::Nothing,
        };
    }

    pub fn unsettled(&self) -> &Unsettled {
        &self.unsettled
    }

    /// What is to be gathered for it.
    pub fn wanted(&self, terms: Terms) -> Wanted {
        let comparison = match &self.pick {
            Pick::Compared { copy, .. } => Some(copy.clone()),
            Pick::Named(_) => None,
        };
        Wanted {
            terms,
            unsettled: Some(Arc::clone(&self.unsettled)),
            comparison,
        }
    }

    /// Waits for its turn at the changes.
    pub fn turn(&self) -> impl Future<Output = ()> + Send + '_ {
        let (owed, listener) = (self.owed, &self.listener);
        async move {
            match owed {
                Owed::Nothing => listener.turn().await,
                // What is to be gathered first is of a later time than what follows.
                _ => std::future::pending().await,
            }
        }
    }

    /// Has others read the changes.
    pub fn rest(&self) {
        self.listener.rest();
    }

    /// All there is is to be sent.
    pub fn owe(&mut self) {
        self.owed = Owed::All;
    }

    /// Goes on by other terms; with another selection, which a filter of the same name may have become, from the beginning.
    pub fn modify(&mut self, old: &Terms, new: &Terms) {
        if old.selection != new.selection {
            let is_sync = matches!(new.trigger, Trigger::OnChange { sync: true, .. });
            self.is_incomplete |= !is_sync && self.is_pending();
            self.begin(new);
        }
        self.dampened = None;
    }

    /// Whether something changed that was not told yet.
    fn is_pending(&self) -> bool {
        let is_told = |pick: &Pick| matches!(pick, Pick::Compared { copy: Some(_), .. });
        !self.record.is_empty() || self.owed == Owed::Comparison && is_told(&self.pick)
    }

    /// Takes over what was gathered; true if it is to be sent.
    pub fn gathered(&mut self, terms: &Terms, contents: Contents, now: Now) -> bool {
        let is_all = self.owed == Owed::All;
        if let (Pick::Compared { copy, .. }, Some(compared)) = (&mut self.pick, contents.compared) {
            if let Some(diff) = compared.diff.filter(|_| !is_all) {
                let settled = Unsettled::default();
                let mut everything = Look {
                    filter: None,
                    unsettled: &settled,
                    view: &mut |_| true,
                    sees_all: true,
                };
                self.record.take(&diff, &mut everything);
            }
            *copy = Some(compared.copy);
        }
        // Of running there are versions; a change of the state that is in there already would be told a second time.
        self.listener.skip_to(contents.end);
        self.version = contents.version;
        self.nacm = contents.nacm;
        self.owed = Owed::Nothing;
        if is_all {
            self.record = Record::default();
            self.patch = 0;
            self.is_incomplete = false;
            self.dampen(terms, now);
        }
        is_all
    }

    fn dampen(&mut self, terms: &Terms, now: Now) {
        if let Trigger::OnChange { dampening, .. } = terms.trigger {
            self.dampened = (dampening > 0).then(|| now.instant + terms::centiseconds(dampening));
        }
    }

    fn is_dampened(&self, now: Now) -> bool {
        self.dampened.is_some_and(|until| now.instant < until)
    }

    /// Changes are missing in what the subscriber was told.
    fn missed(&mut self, terms: &Terms) {
        match (&self.pick, &terms.trigger) {
            (Pick::Compared { .. }, _) => self.owed = Owed::Comparison,
            (_, Trigger::OnChange { sync: true, .. }) => self.owed = Owed::All,
            _ => self.is_incomplete = true,
        }
        if self.owed == Owed::All {
            self.record = Record::default();
        }
    }

    /// The subscriber sees other nodes than before; false if he can only begin anew.
    fn take_rules(&mut self, nacm: &Arc<Nacm>, author: &Author, terms: &Terms) -> bool {
        let old = std::mem::replace(&mut self.nacm, Arc::clone(nacm));
        let is_same = see_the_same(author, &old, nacm);
        match (&self.pick, &terms.trigger) {
            _ if is_same => {}
            (Pick::Compared { .. }, _) => self.owed = Owed::Comparison,
            (_, Trigger::OnChange { sync: true, .. }) => self.owed = Owed::All,
            _ => return false,
        }
        true
    }

    /// Puts a change in the record; false if there was none in it for the subscriber.
    fn take(&mut self, change: &Change, author: &Author, terms: &Terms) -> bool {
        match change.of {
            Of::State if !terms.is_operational() => return true,
            Of::State => {}
            Of::Running(version) if version <= self.version => return true,
            Of::Running(version) => {
                let is_next = version == self.version + 1;
                self.version = version;
                if !is_next {
                    self.missed(terms);
                }
            }
        }
        let before = self.record.nodes();
        match &self.pick {
            Pick::Compared { roots, .. } => {
                let mut touched = change.diff.tree().roots().map(|root| root.schema());
                if touched.any(|root| roots.contains(&root)) {
                    self.owed = Owed::Comparison;
                }
                return true;
            }
            Pick::Named(filter) => {
                let sees_all = author.recovery || self.nacm.shows_everything(author);
                let mut own = self.nacm.view(author);
                let mut view = |node: Node<'_>| sees_all || own(node);
                let mut look = Look {
                    filter: filter.as_ref(),
                    unsettled: &self.unsettled,
                    view: &mut view,
                    sees_all,
                };
                self.record.take(&change.diff, &mut look);
            }
        }
        let after = self.record.nodes();
        if after > MOST_NODES || self.record.octets() > MOST_OCTETS {
            self.record = Record::default();
            self.missed(terms);
        } else if self.record.is_misplaced() {
            self.missed(terms);
        }
        after > before
    }

    /// The next update, if it may be sent; none if there is nothing in it.
    fn update(&mut self, id: u32, terms: &Terms, now: Now) -> Option<String> {
        let Trigger::OnChange { excluded, .. } = &terms.trigger else {
            return None;
        };
        let edits = std::mem::take(&mut self.record).edits(excluded);
        if edits.is_empty() {
            return None;
        }
        let is_incomplete = std::mem::take(&mut self.is_incomplete);
        let message = message::change(now.date, id, self.patch, &edits, is_incomplete);
        self.patch = self.patch.wrapping_add(1);
        self.dampen(terms, now);
        Some(message)
    }
}

impl Push {
    /// The next step of a subscription on change.
    pub(super) fn on_change(&mut self, now: Now) -> Step {
        let (id, nacm) = (self.id(), self.server.nacm());
        let Course::OnChange(course) = &mut self.course else {
            return self.quiet(None, now);
        };
        // What was recorded by other rules may not be for him any more.
        if !course.take_rules(&nacm, &self.author, &self.terms) {
            return Step::Said(self.end_for("unchanging-selection"));
        }
        if course.owed != Owed::Nothing {
            if self.gathering.is_under_way(now) {
                let again = self.gathering.again();
                return self.quiet(again, now);
            }
            self.gather();
            return Step::Passed;
        }
        let is_due = !course.record.is_empty() && !course.is_dampened(now);
        if is_due {
            return match course.update(id, &self.terms, now) {
                Some(message) => self.said(message),
                None => {
                    self.established.entry.count_excluded();
                    Step::Passed
                }
            };
        }
        match course.listener.take() {
            Found::Change(change) => self.hear(&change),
            Found::Lost { changes } => {
                course.missed(&self.terms);
                tracing::warn!(
                    subscription = id,
                    user = self.author.user,
                    changes,
                    "a subscriber reads too slowly: changes are not told one by one"
                );
                self.established.entry.count_lost(changes);
                Step::Passed
            }
            Found::End => {
                let until = course.dampened.filter(|_| !course.record.is_empty());
                self.quiet(until, now)
            }
        }
    }

    fn hear(&mut self, change: &Change) -> Step {
        let Course::OnChange(course) = &mut self.course else {
            return Step::Passed;
        };
        if !course.take(change, &self.author, &self.terms) {
            self.established.entry.count_excluded();
        }
        Step::Passed
    }
}
