//! A subscription of a session: what of a stream goes to whom.

mod filters;
mod message;
pub mod push;
mod registry;
mod serve;
mod sight;

use std::sync::Arc;
use std::time::SystemTime;

use metrics::{Counter, counter};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};

pub use message::write;
pub use registry::Registry;
use registry::{Entry, Order};
use sight::{Sight, Verdict};

use super::server::Server;
use crate::datastore::Author;
use crate::datastore::events::{Event, Found, Listener, Place, Stream};
use crate::datastore::retrieval::Selection;

/// Events that are looked at in one go; then others have their turn.
const TURN: usize = 64;
/// No wait is longer: the device's clock may be set meanwhile, by which a subscription stops.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A subscription of a session.
#[derive(Debug)]
pub enum Subscribed {
    /// To a stream of events.
    Stream(Box<Subscription>),
    /// To a datastore.
    Datastore(Box<push::Push>),
}

impl Subscribed {
    /// Whether it came about by `<create-subscription>`.
    pub fn is_created(&self) -> bool {
        matches!(self, Self::Stream(subscription) if subscription.is_created())
    }

    /// The next message, once there is one. Safe to cancel, if [`Subscribed::rest`] follows. Behind the last one it never
    /// returns.
    pub async fn next(&mut self) -> Next {
        match self {
            Self::Stream(subscription) => subscription.next().await,
            Self::Datastore(push) => push.next().await,
        }
    }

    /// The next message if there is one already.
    pub fn next_now(&mut self) -> Option<Next> {
        match self {
            Self::Stream(subscription) => subscription.next_now(),
            Self::Datastore(push) => push.next_now(),
        }
    }

    /// Has others have their turn.
    pub fn rest(&self) {
        match self {
            Self::Stream(subscription) => subscription.rest(),
            Self::Datastore(push) => push.rest(),
        }
    }
}

/// A subscription to a stream. Its place in the log is its queue: events that it reads too late are gone, and it ends.
pub struct Subscription {
    kind: Kind,
    sight: Sight,
    stream: Stream,
    listener: Listener,
    place: Place,
    /// Where the events of the past end, until that was said.
    replay_until: Option<Place>,
    stop: Option<SystemTime>,
    is_over: bool,
    sent: Counter,
    excluded: Counter,
}

/// How it came about.
enum Kind {
    /// By `<create-subscription>` (RFC 5277).
    Created,
    /// By establish-subscription (RFC 8639); it is in the registry as long as it lives.
    Established(Established),
}

struct Established {
    entry: Arc<Entry>,
    orders: mpsc::Receiver<Order>,
    registry: Registry,
}

impl Drop for Established {
    fn drop(&mut self) {
        self.registry.remove(self.entry.id);
    }
}

/// What a subscription has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This message.
    Message(Arc<str>),
    /// Nothing more after this message, if it is one.
    Last(Option<Arc<str>>),
}

/// What one step came to.
enum Step {
    Said(Next),
    /// An event that is not for this subscriber.
    Passed,
    /// There is nothing to say for now.
    Quiet,
}

/// Why it no longer waits.
enum Woken {
    Ordered(Order),
    Due,
}

impl Subscription {
    /// From `start` on, or from now; see [`super::ops::subscribe`] for what is checked before.
    fn new(
        kind: Kind,
        server: Server,
        author: Author,
        selection: Selection,
        (start, stop): (Option<SystemTime>, Option<SystemTime>),
    ) -> Self {
        let stream = server.stream().clone();
        let end = stream.end();
        Self {
            kind,
            listener: stream.listen(),
            sight: Sight::new(server, author, selection),
            place: start.map_or(end, |start| stream.since(start)),
            replay_until: start.map(|_| end),
            stream,
            stop,
            is_over: false,
            sent: counter!("tether_notifications_total", "outcome" => "sent"),
            excluded: counter!("tether_notifications_total", "outcome" => "excluded"),
        }
    }

    /// Whether it came about by `<create-subscription>`.
    pub fn is_created(&self) -> bool {
        matches!(self.kind, Kind::Created)
    }

    /// The next message, once there is one. Safe to cancel, if [`Subscription::rest`] follows: it may have its turn at the
    /// stream then. Behind the last message it never returns.
    pub async fn next(&mut self) -> Next {
        loop {
            match self.wait().await {
                Woken::Ordered(order) => return self.obey(order),
                Woken::Due => {}
            }
            if let Some(next) = self.next_now() {
                return next;
            }
            // What it looked at was not for it: others first, then what follows.
            self.rest();
            tokio::task::yield_now().await;
        }
    }

    /// The next message if there is one already. Looks at a bounded number of events.
    pub fn next_now(&mut self) -> Option<Next> {
        for _ in 0..TURN {
            match self.step() {
                Step::Said(next) => return Some(next),
                Step::Passed => {}
                Step::Quiet => return None,
            }
        }
        None
    }

    /// Has others read the stream.
    pub fn rest(&self) {
        self.listener.rest();
    }

    /// Waits for something to do.
    async fn wait(&mut self) -> Woken {
        if self.is_over {
            std::future::pending::<()>().await;
        }
        if self.is_replayed() {
            return Woken::Due;
        }
        let until = self.due();
        let order = async {
            match &mut self.kind {
                Kind::Established(established) => established.orders.recv().await,
                Kind::Created => std::future::pending().await,
            }
        };
        let (sight, listener) = (&mut self.sight, &self.listener);
        let ready = async {
            match sight.is_looking() {
                true => sight.look().await,
                false => listener.turn(self.place).await,
            }
        };
        tokio::select! {
            biased;
            Some(order) = order => Woken::Ordered(order),
            () = ready => Woken::Due,
            () = sleep_until(until) => Woken::Due,
        }
    }

    fn step(&mut self) -> Step {
        if self.is_over {
            return Step::Quiet;
        }
        if let Kind::Established(established) = &mut self.kind
            && let Ok(order) = established.orders.try_recv()
        {
            return Step::Said(self.obey(order));
        }
        if self.is_replayed() {
            self.replay_until = None;
            return Step::Said(Next::Message(message::replay_complete(self.id()).into()));
        }
        match self.stream.read(self.place) {
            Found::Event(event) if self.stop.is_some_and(|stop| event.at > stop) => {
                self.stop_before()
            }
            Found::Event(event) => self.pass(&event),
            Found::End => self.end_of_stream(),
            Found::Lost { oldest } => self.lost(oldest),
        }
    }

    /// Whether all events of the past were told, and this was not said yet.
    fn is_replayed(&self) -> bool {
        self.replay_until.is_some_and(|end| self.place >= end)
    }

    fn id(&self) -> Option<u32> {
        match &self.kind {
            Kind::Created => None,
            Kind::Established(established) => Some(established.entry.id),
        }
    }

    fn obey(&mut self, order: Order) -> Next {
        match order {
            Order::Modify {
                selection,
                stop,
                notice,
            } => {
                self.sight.select(selection);
                self.stop = stop;
                Next::Message(notice.into())
            }
            Order::Delete => {
                self.is_over = true;
                Next::Last(None)
            }
            Order::End(reason) => self.end(reason),
            // For a subscription to a datastore.
            Order::ModifyPush { .. } | Order::Resync => self.end("no-such-subscription"),
        }
    }

    /// The next event is after the stop time. What is left of the past is too, so a replay is over.
    fn stop_before(&mut self) -> Step {
        match self.replay_until {
            Some(end) => {
                self.place = end;
                Step::Passed
            }
            None => Step::Said(self.stopped()),
        }
    }

    fn pass(&mut self, event: &Arc<Event>) -> Step {
        let verdict = self.sight.verdict(event);
        if let Verdict::Open = verdict {
            return Step::Quiet;
        }
        self.place = Place(event.number + 1);
        if let Kind::Established(established) = &self.kind {
            match verdict {
                Verdict::Told(_) => established.entry.count_sent(),
                _ => established.entry.count_excluded(),
            }
        }
        match &verdict {
            Verdict::Told(_) => self.sent.increment(1),
            _ => self.excluded.increment(1),
        }
        match verdict {
            Verdict::Told(message) => Step::Said(Next::Message(message)),
            _ => Step::Passed,
        }
    }

    fn end_of_stream(&mut self) -> Step {
        let now = SystemTime::now();
        match self.stop {
            Some(stop) if stop <= now => Step::Said(self.stopped()),
            _ => Step::Quiet,
        }
    }

    /// When it has something to do though nothing happens.
    fn due(&self) -> Instant {
        let left = self.stop.map(|stop| stop.duration_since(SystemTime::now()));
        let left = left.map_or(LONGEST_WAIT, |left| left.unwrap_or_default());
        Instant::now() + left.min(LONGEST_WAIT)
    }

    /// The stop time is over. An established subscription ends without a word then: there is one for configured
    /// subscriptions alone (RFC 8639, section 2.7.4).
    fn stopped(&mut self) -> Next {
        self.is_over = true;
        let created = self.is_created();
        Next::Last(created.then(|| message::notification_complete().into()))
    }

    /// The server ends it, for a reason that is an identity of ietf-subscribed-notifications.
    fn end(&mut self, reason: &str) -> Next {
        self.is_over = true;
        let message = match self.id() {
            Some(id) => message::terminated(id, reason),
            None => message::notification_complete(),
        };
        Next::Last(Some(message.into()))
    }

    /// It reads more slowly than things happen. What a replay asked for and the log has no more is no loss.
    fn lost(&mut self, oldest: Place) -> Step {
        if self.replay_until.is_some() {
            self.place = oldest;
            return Step::Passed;
        }
        self.stream.count_loss(self.place);
        tracing::warn!(
            session = self.sight.author().session,
            user = self.sight.author().user,
            subscription = self.id(),
            events = oldest.0 - self.place.0,
            "a subscription ends: its session reads too slowly"
        );
        Step::Said(self.end("suspension-timeout"))
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("session", &self.sight.author().session)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
