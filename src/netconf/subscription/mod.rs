//! A subscription of a session: what of a stream goes to whom.

mod message;
mod registry;
mod serve;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep_until};

pub use message::write;
pub use registry::Registry;
use registry::{Entry, Order};

use super::server::Server;
use crate::datastore::Author;
use crate::datastore::events::{Event, Found, Place, Stream, notices};
use crate::datastore::nacm::Nacm;
use crate::datastore::retrieval::{Options, Retrieval, Selection, Source};
use crate::model::error::{Errors, RpcError};
use crate::model::tree::{Diff, Snapshot};

/// Events that are looked at in one go; then others have their turn.
const TURN: usize = 64;
/// No wait is longer: the device's clock may be set meanwhile, by which a subscription stops.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A subscription. Its place in the log is its queue: events that it reads too late are gone, and it ends.
pub struct Subscription {
    kind: Kind,
    server: Server,
    author: Author,
    selection: Selection,
    stream: Stream,
    added: watch::Receiver<Place>,
    place: Place,
    /// Where the events of the past end, until that was said.
    replay_until: Option<Place>,
    stop: Option<SystemTime>,
    is_over: bool,
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
    Message(String),
    /// Nothing more after this message, if it is one.
    Last(Option<String>),
}

/// What one step came to.
enum Step {
    Said(Next),
    /// An event that is not for this subscriber.
    Passed,
    /// There is nothing to say before this time.
    Quiet(Instant),
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
        let added = stream.watch();
        let end = stream.end();
        Self {
            kind,
            server,
            author,
            selection,
            added,
            place: start.map_or(end, |start| stream.since(start)),
            replay_until: start.map(|_| end),
            stream,
            stop,
            is_over: false,
        }
    }

    /// Whether it came about by `<create-subscription>`.
    pub fn is_created(&self) -> bool {
        matches!(self.kind, Kind::Created)
    }

    /// The next message, once there is one. Safe to cancel. Behind the last one it never returns.
    pub async fn next(&mut self) -> Next {
        loop {
            for _ in 0..TURN {
                match self.step().await {
                    Step::Said(next) => return next,
                    Step::Passed => {}
                    Step::Quiet(until) => {
                        if let Some(order) = self.wait(until).await {
                            return self.obey(order);
                        }
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits for something to do.
    async fn wait(&mut self, until: Instant) -> Option<Order> {
        let place = self.place;
        let order = async {
            match &mut self.kind {
                Kind::Established(established) => established.orders.recv().await,
                Kind::Created => std::future::pending().await,
            }
        };
        tokio::select! {
            order = order => order,
            // The stream lives as long as this subscription holds it.
            _ = self.added.wait_for(|end| *end > place) => None,
            () = sleep_until(until) => None,
        }
    }

    async fn step(&mut self) -> Step {
        if self.is_over {
            std::future::pending::<()>().await;
        }
        if let Kind::Established(established) = &mut self.kind
            && let Ok(order) = established.orders.try_recv()
        {
            return Step::Said(self.obey(order));
        }
        if self.replay_until.is_some_and(|end| self.place >= end) {
            self.replay_until = None;
            return Step::Said(Next::Message(message::replay_complete(self.id())));
        }
        match self.stream.at(self.place) {
            Found::Event(event) if self.stop.is_some_and(|stop| event.at > stop) => {
                self.stop_before()
            }
            Found::Event(event) => self.pass(&event).await,
            Found::End => self.quiet(),
            Found::Lost { oldest } => self.lost(oldest),
        }
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
                self.selection = selection;
                self.stop = stop;
                Next::Message(notice)
            }
            Order::Delete => {
                self.is_over = true;
                Next::Last(None)
            }
            Order::Kill => self.end("no-such-subscription"),
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

    async fn pass(&mut self, event: &Event) -> Step {
        let message = self.message(event).await;
        self.place = Place(event.number + 1);
        let message = message.unwrap_or_else(|errors| {
            tracing::warn!(?errors, "an event cannot be shown to a subscriber");
            None
        });
        if let Kind::Established(established) = &self.kind {
            match message {
                Some(_) => established.entry.count_sent(),
                None => established.entry.count_excluded(),
            }
        }
        message.map_or(Step::Passed, |message| Step::Said(Next::Message(message)))
    }

    fn quiet(&mut self) -> Step {
        let left = self.stop.map(|stop| stop.duration_since(SystemTime::now()));
        match left {
            None => Step::Quiet(Instant::now() + LONGEST_WAIT),
            Some(Ok(left)) if !left.is_zero() => {
                Step::Quiet(Instant::now() + left.min(LONGEST_WAIT))
            }
            Some(_) => Step::Said(self.stopped()),
        }
    }

    /// The stop time is over. An established subscription ends without a word then: there is one for configured
    /// subscriptions alone (RFC 8639, section 2.7.4).
    fn stopped(&mut self) -> Next {
        self.is_over = true;
        let created = self.is_created();
        Next::Last(created.then(message::notification_complete))
    }

    /// The server ends it, for a reason that is an identity of ietf-subscribed-notifications.
    fn end(&mut self, reason: &str) -> Next {
        self.is_over = true;
        Next::Last(Some(match self.id() {
            Some(id) => message::terminated(id, reason),
            None => message::notification_complete(),
        }))
    }

    /// It reads more slowly than things happen. What a replay asked for and the log has no more is no loss.
    fn lost(&mut self, oldest: Place) -> Step {
        if self.replay_until.is_some() {
            self.place = oldest;
            return Step::Passed;
        }
        tracing::warn!(
            session = self.author.session,
            user = self.author.user,
            subscription = self.id(),
            events = oldest.0 - self.place.0,
            "a subscription ends: its session reads too slowly"
        );
        Step::Said(self.end("suspension-timeout"))
    }

    /// The message of an event; none if it is not selected, or not for this user (RFC 8341, section 3.4.6).
    async fn message(&self, event: &Event) -> Result<Option<String>, Errors> {
        let Some(content) = self.visible(event).await? else {
            return Ok(None);
        };
        let Content { xml, tree } = content;
        let selected = match (&self.selection, tree) {
            (Selection::All, _) => true,
            (selection, tree) => {
                let tree = match tree {
                    Some(tree) => tree,
                    None => event.content(self.server.schema())?,
                };
                self.selects(tree, selection.clone()).await?
            }
        };
        Ok(selected.then(|| message::write(event.at, xml.as_deref().unwrap_or(&event.xml))))
    }

    /// What of an event the user may see.
    async fn visible(&self, event: &Event) -> Result<Option<Content>, Errors> {
        if self.author.recovery {
            return Ok(Some(Content::default()));
        }
        let nacm = self.server.nacm().await?;
        let tree = event.content(self.server.schema())?;
        let Some((module, name)) = tree.roots().next().map(|root| (root.module(), root.name()))
        else {
            return Ok(None);
        };
        if !nacm.may_receive(&self.author, module, name) {
            return Ok(None);
        }
        if nacm.shows_everything(&self.author) {
            return Ok(Some(Content {
                xml: None,
                tree: Some(tree),
            }));
        }
        self.pruned(event, &tree, &nacm)
    }

    /// Without the nodes of the notification that the user may not read, and without what it tells of others that he may
    /// not read.
    fn pruned(
        &self,
        event: &Event,
        tree: &Snapshot,
        nacm: &Arc<Nacm>,
    ) -> Result<Option<Content>, Errors> {
        let mut copy = tree.duplicate();
        if let Some(about) = &event.about {
            let diff = Diff::parse(self.server.schema(), about)?;
            if !notices::list_edits(&mut copy, &diff, &mut nacm.view(&self.author))? {
                return Ok(None);
            }
        }
        nacm.prune(&self.author, &mut copy);
        Ok(Some(Content {
            xml: Some(copy.to_xml()),
            tree: Some(Snapshot::new(copy)),
        }))
    }

    /// A filter picks events, it does not change them (RFC 5277, section 2.1.1).
    async fn selects(&self, tree: Snapshot, selection: Selection) -> Result<bool, RpcError> {
        let look = move || {
            let source = Source::new(tree, selection);
            let retrieval = Retrieval::new(vec![source], Options::default(), None);
            let mut pieces = retrieval.begin()?;
            while let Some(piece) = pieces.next_piece() {
                if !piece.is_empty() {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match self.selection {
            Selection::XPath(_) => self.server.evaluate(look).await?,
            _ => look(),
        }
    }
}

/// What a user sees of an event.
#[derive(Default)]
struct Content {
    /// None where that is all there is.
    xml: Option<String>,
    /// None where nobody had to read it so far.
    tree: Option<Snapshot>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("session", &self.author.session)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
