//! Subscriptions to datastores: YANG push (RFC 8641).
//!
//! A periodic one sends what it selects when [`schedule`] says so. One on change hears of the changes of all
//! ([`crate::datastore::changes`]), picks its own out of each and sends them, put together while they are dampened; see
//! `on_change.rs`. All of this is done at the pace of its session. What takes long – all that is selected – a task of its own
//! gathers, so that the subscriptions of a session do not hold each other up.

pub(in crate::netconf) mod capabilities;
mod contents;
mod establish;
mod message;
mod on_change;
mod refusal;
mod schedule;
mod state;
mod terms;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::registry::Order;
use super::{Established, LONGEST_WAIT, Next};
use crate::datastore::Author;
use crate::datastore::nacm::Nacm;
use crate::model::error::{ErrorTag, RpcError};
use crate::netconf::server::Server;

use contents::{Contents, Wanted};
pub(in crate::netconf) use message::NAMESPACE;
use on_change::OnChange;
use schedule::{Now, Schedule};
pub(in crate::netconf) use state::Told;
pub(in crate::netconf) use terms::Terms;
pub use terms::Trigger;

/// How long until what could not be gathered is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often one after the other, before the subscription ends.
const MOST_FAILURES: u32 = 5;

/// A subscription to a datastore.
pub struct Push {
    established: Established,
    server: Server,
    author: Author,
    terms: Terms,
    stop: Option<std::time::SystemTime>,
    course: Course,
    gathering: Gathering,
    /// The room of the update that its session sends.
    sending: Option<OwnedSemaphorePermit>,
    /// How often it failed since it was done last.
    failures: u32,
    /// It was suspended, and is over after one more message.
    is_ending: bool,
    is_over: bool,
}

/// How it goes on.
enum Course {
    Periodic(Schedule),
    OnChange(Box<OnChange>),
}

/// All that is selected, in the making.
enum Gathering {
    None,
    Under(AbortOnDropHandle<Result<Contents, RpcError>>),
    Done(Result<Contents, RpcError>),
    /// It failed and is tried again then.
    Failed(Instant),
}

/// What one step came to.
enum Step {
    Said(Next),
    Passed,
    /// There is nothing to say before this time.
    Quiet(Instant),
}

impl Push {
    /// The next message, once there is one. Safe to cancel, if [`Push::rest`] follows. Behind the last one it never returns.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            if self.is_over {
                std::future::pending::<()>().await;
            }
            match self.advance() {
                Step::Said(next) => return next,
                // What it looked at was not for it: others first, then what follows.
                Step::Passed => {
                    self.rest();
                    tokio::task::yield_now().await;
                }
                Step::Quiet(until) => {
                    self.rest();
                    if let Some(order) = self.wait(until).await
                        && let Some(next) = self.obey(order)
                    {
                        return next;
                    }
                }
            }
        }
    }

    /// The next message if there is one already. Looks at a bounded number of changes.
    pub(super) fn next_now(&mut self) -> Option<Next> {
        match self.advance() {
            Step::Said(next) => Some(next),
            Step::Passed | Step::Quiet(_) => None,
        }
    }

    /// Has others read the changes.
    pub(super) fn rest(&self) {
        if let Course::OnChange(course) = &self.course {
            course.rest();
        }
    }

    fn advance(&mut self) -> Step {
        for _ in 0..super::TURN {
            match self.step() {
                Step::Passed => {}
                other => return other,
            }
        }
        Step::Passed
    }

    /// Waits for something to do.
    async fn wait(&mut self, until: Instant) -> Option<Order> {
        let Self {
            established,
            course,
            gathering,
            ..
        } = self;
        let gathered = async {
            match gathering {
                Gathering::Under(task) => task.await,
                _ => std::future::pending().await,
            }
        };
        let changed = async {
            match course {
                Course::OnChange(course) => course.turn().await,
                Course::Periodic(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            order = established.orders.recv() => order,
            done = gathered => {
                let broken_off = |_| {
                    let words = "an update was broken off";
                    Err(RpcError::application(ErrorTag::OperationFailed, words))
                };
                *gathering = Gathering::Done(done.unwrap_or_else(broken_off));
                None
            }
            () = changed => None,
            () = sleep_until(until) => None,
        }
    }

    fn step(&mut self) -> Step {
        // A session asks for more when it is done with what there was.
        self.sending = None;
        let now = self.now();
        if self.is_over {
            return self.quiet(None, now);
        }
        if self.is_ending {
            return Step::Said(self.end("suspension-timeout"));
        }
        if let Ok(order) = self.established.orders.try_recv() {
            return self.obey(order).map_or(Step::Passed, Step::Said);
        }
        if self.stop.is_some_and(|stop| now.date >= stop) {
            // Without a word, as there is one for configured subscriptions alone (RFC 8639, section 2.7.4).
            self.is_over = true;
            return Step::Said(Next::Last(None));
        }
        match std::mem::replace(&mut self.gathering, Gathering::None) {
            Gathering::Done(done) => return self.gathered(done, now),
            other => self.gathering = other,
        }
        match self.course {
            Course::Periodic(_) => self.periodic(now),
            Course::OnChange(_) => self.on_change(now),
        }
    }

    fn periodic(&mut self, now: Now) -> Step {
        let Course::Periodic(schedule) = &mut self.course else {
            return self.quiet(None, now);
        };
        if self.gathering.is_under_way(now) {
            let again = self.gathering.again();
            return self.quiet(again, now);
        }
        // One that was put off is made up for.
        let is_put_off = matches!(self.gathering, Gathering::Failed(_));
        if !is_put_off && let Some(wait) = schedule.wait(now) {
            return self.quiet(Some(now.instant + wait), now);
        }
        schedule.begun(now);
        self.gather();
        Step::Passed
    }

    /// Begins to gather all that is selected.
    fn gather(&mut self) {
        let terms = self.terms.clone();
        let wanted = match &self.course {
            Course::OnChange(course) => course.wanted(terms),
            Course::Periodic(_) => Wanted {
                terms,
                unsettled: None,
                comparison: None,
            },
        };
        let (server, author) = (self.server.clone(), self.author.clone());
        let task = contents::gather(server, author, wanted);
        self.gathering = Gathering::Under(AbortOnDropHandle::new(tokio::spawn(task)));
    }

    fn gathered(&mut self, done: Result<Contents, RpcError>, now: Now) -> Step {
        let mut contents = match done {
            Ok(contents) => contents,
            Err(error) => return self.failed(&error, now),
        };
        self.failures = 0;
        if !see_the_same(&self.author, &contents.nacm, &self.server.nacm()) {
            // It was for somebody who may see other things.
            self.gathering = Gathering::Failed(now.instant + AGAIN);
            return Step::Passed;
        }
        let Some(xml) = &contents.xml else {
            return Step::Said(self.grown_too_big());
        };
        let message = message::update(contents.at, self.id(), xml);
        self.sending = contents.room.take();
        let is_told = match &mut self.course {
            Course::Periodic(_) => true,
            Course::OnChange(course) => course.gathered(&self.terms, contents, now),
        };
        match is_told {
            true => self.said(message),
            false => Step::Passed,
        }
    }

    /// What is selected could not be gathered. If that may be another time it is put off.
    fn failed(&mut self, error: &RpcError, now: Now) -> Step {
        let is_busy = error.tag == ErrorTag::ResourceDenied;
        self.failures += u32::from(!is_busy);
        if self.failures >= MOST_FAILURES {
            tracing::warn!(%error, subscription = self.id(), "a subscription ends");
            return Step::Said(self.end("filter-unavailable"));
        }
        tracing::debug!(%error, subscription = self.id(), "an update is put off");
        self.gathering = Gathering::Failed(now.instant + AGAIN);
        Step::Passed
    }

    fn said(&mut self, message: String) -> Step {
        self.established.entry.count_sent();
        Step::Said(Next::Message(message.into()))
    }

    /// What it selects has grown beyond what one message may hold. The subscription is suspended, and as nobody could resume
    /// it, it ends.
    fn grown_too_big(&mut self) -> Next {
        self.is_ending = true;
        let id = self.id();
        let reason = match self.course {
            Course::Periodic(_) => "update-too-big",
            Course::OnChange(_) => "sync-too-big",
        };
        tracing::warn!(subscription = id, reason, "a subscription ends");
        Next::Message(super::message::suspended(id, NAMESPACE, reason).into())
    }

    /// The server ends it, for a reason that is an identity of ietf-subscribed-notifications.
    fn end(&mut self, reason: &str) -> Next {
        self.is_over = true;
        Next::Last(Some(super::message::terminated(self.id(), reason).into()))
    }

    /// The same for a reason of ietf-yang-push.
    fn end_for(&mut self, reason: &str) -> Next {
        self.is_over = true;
        let text = super::message::terminated_by(self.id(), NAMESPACE, reason);
        Next::Last(Some(text.into()))
    }

    /// What it is told; a message if there is something to say.
    fn obey(&mut self, order: Order) -> Option<Next> {
        match order {
            Order::Delete => {
                self.is_over = true;
                Some(Next::Last(None))
            }
            Order::End(reason) => Some(self.end(reason)),
            Order::Resync => {
                if let Course::OnChange(course) = &mut self.course {
                    course.owe();
                }
                None
            }
            Order::ModifyPush {
                terms,
                stop,
                notice,
            } => {
                self.modify(*terms, stop);
                Some(Next::Message(notice.into()))
            }
            // That one is for a subscription to a stream.
            Order::Modify { .. } => None,
        }
    }

    fn modify(&mut self, terms: Terms, stop: Option<std::time::SystemTime>) {
        let now = self.now();
        self.stop = stop;
        match (&mut self.course, &terms.trigger) {
            (Course::Periodic(schedule), Trigger::Periodic { period, anchor }) => {
                schedule.change(terms::centiseconds(*period), *anchor, now);
            }
            (Course::OnChange(course), Trigger::OnChange { .. }) => {
                course.modify(&self.terms, &terms);
            }
            // It was checked that the trigger stays what it is.
            _ => {}
        }
        let was_under_way = !matches!(self.gathering, Gathering::None);
        self.gathering = Gathering::None;
        self.terms = terms;
        if was_under_way && matches!(self.course, Course::Periodic(_)) {
            // It is due, by the new terms.
            self.gather();
        }
    }

    fn id(&self) -> u32 {
        self.established.entry.id
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            date: self.server.date(),
        }
    }

    /// Quiet until then, or until something else is due.
    fn quiet(&self, until: Option<Instant>, now: Now) -> Step {
        let mut wait = LONGEST_WAIT;
        if let Some(stop) = self.stop {
            wait = wait.min(stop.duration_since(now.date).unwrap_or_default());
        }
        let latest = now.instant + wait;
        Step::Quiet(until.map_or(latest, |until| until.min(latest)))
    }
}

/// Whether a subscriber sees the same by these rules and by those.
fn see_the_same(author: &Author, these: &Arc<Nacm>, those: &Arc<Nacm>) -> bool {
    let is_all = |rules: &Nacm| author.recovery || rules.shows_everything(author);
    Arc::ptr_eq(these, those) || is_all(these) && is_all(those)
}

impl Gathering {
    fn is_under_way(&self, now: Now) -> bool {
        match self {
            Self::None => false,
            Self::Failed(again) => now.instant < *again,
            Self::Under(_) | Self::Done(_) => true,
        }
    }

    fn again(&self) -> Option<Instant> {
        match self {
            Self::Failed(again) => Some(*again),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push")
            .field("session", &self.author.session)
            .field("id", &self.established.entry.id)
            .finish_non_exhaustive()
    }
}
