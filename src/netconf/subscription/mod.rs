//! A subscription of a session: what of a stream goes to whom.

mod message;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

pub use message::write;

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

/// A subscription by `<create-subscription>` (RFC 5277). Its place in the log is its queue: events that it reads too late
/// are gone, and it ends.
pub struct Subscription {
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

/// What a subscription has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This message.
    Message(String),
    /// Nothing more after this message.
    Last(String),
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
    pub(super) fn new(
        server: Server,
        author: Author,
        selection: Selection,
        stream: Stream,
        (start, stop): (Option<SystemTime>, Option<SystemTime>),
    ) -> Self {
        let added = stream.watch();
        let end = stream.end();
        Self {
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

    /// The next message, once there is one. Safe to cancel. Behind the last one it never returns.
    pub async fn next(&mut self) -> Next {
        loop {
            for _ in 0..TURN {
                match self.step().await {
                    Step::Said(next) => return next,
                    Step::Passed => {}
                    Step::Quiet(until) => {
                        let place = self.place;
                        tokio::select! {
                            // The stream lives as long as this subscription holds it.
                            _ = self.added.wait_for(|end| *end > place) => {}
                            () = sleep_until(until) => {}
                        }
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn step(&mut self) -> Step {
        if self.is_over {
            std::future::pending::<()>().await;
        }
        if self.replay_until.is_some_and(|end| self.place >= end) {
            self.replay_until = None;
            return Step::Said(Next::Message(message::replay_complete()));
        }
        match self.stream.at(self.place) {
            Found::Event(event) if self.stop.is_some_and(|stop| event.at > stop) => {
                match self.replay_until {
                    // What is left of the past is too late: the replay is over.
                    Some(end) => {
                        self.place = end;
                        Step::Passed
                    }
                    None => self.end(),
                }
            }
            Found::Event(event) => {
                let message = self.message(&event).await;
                self.place = Place(event.number + 1);
                match message {
                    Ok(Some(message)) => Step::Said(Next::Message(message)),
                    Ok(None) => Step::Passed,
                    Err(errors) => {
                        tracing::warn!(?errors, "an event cannot be shown to a subscriber");
                        Step::Passed
                    }
                }
            }
            Found::End => self.quiet(),
            Found::Lost { oldest } => self.lost(oldest),
        }
    }

    fn quiet(&mut self) -> Step {
        let left = self.stop.map(|stop| stop.duration_since(SystemTime::now()));
        match left {
            None => Step::Quiet(Instant::now() + LONGEST_WAIT),
            Some(Ok(left)) if !left.is_zero() => {
                Step::Quiet(Instant::now() + left.min(LONGEST_WAIT))
            }
            Some(_) => self.end(),
        }
    }

    fn end(&mut self) -> Step {
        self.is_over = true;
        Step::Said(Next::Last(message::notification_complete()))
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
            events = oldest.0 - self.place.0,
            "a subscription ends: its session reads too slowly"
        );
        self.end()
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
        let whole = Content {
            xml: None,
            tree: None,
        };
        if self.author.recovery {
            return Ok(Some(whole));
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
            return Ok(Some(whole));
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

/// What a user sees of an event: `None` where that is all there is.
struct Content {
    xml: Option<String>,
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
