//! What of a stream a subscriber is told: what access control has him see and his filter wants. It is found out once for
//! all subscribers of whom the same holds (`datastore/events/seen.rs`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::message;
use crate::datastore::Author;
use crate::datastore::events::{Content, Event, Reader, Seen, Wanted};
use crate::datastore::retrieval::{Options, Retrieval, Selection, Source};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::tree::Snapshot;
use crate::netconf::server::Server;

/// How long until a filter that could not be evaluated, since others were, is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What becomes of an event.
pub(super) enum Verdict {
    /// He is told this.
    Told(Arc<str>),
    /// It is not for him.
    Excluded,
    /// It is still being found out: see [`Sight::look`].
    Open,
}

/// What one subscriber is told.
pub(super) struct Sight {
    server: Server,
    reader: Reader,
    selection: Arc<Selection>,
    /// An evaluation of the filter that is under way.
    looking: Option<BoxFuture<'static, ()>>,
    /// The event that it is about, by its number, and its outcome.
    looked_at: Option<(u64, Wanted)>,
}

impl Sight {
    pub fn new(server: Server, author: Author, selection: Selection) -> Self {
        let selection = server.registry().share(selection);
        Self {
            reader: Reader::new(author, server.nacm()),
            server,
            selection,
            looking: None,
            looked_at: None,
        }
    }

    /// Who he is.
    pub fn author(&self) -> &Author {
        self.reader.author()
    }

    /// From now on another filter.
    pub fn select(&mut self, selection: Selection) {
        self.selection = self.server.registry().share(selection);
        (self.looking, self.looked_at) = (None, None);
    }

    /// Whether a filter is being evaluated.
    pub fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// Returns when the evaluation is over; then the verdict is there, or it is to be tried again. Safe to cancel.
    pub async fn look(&mut self) {
        if let Some(looking) = &mut self.looking {
            looking.await;
        }
        self.looking = None;
    }

    /// What becomes of an event. One that cannot be shown, which is a defect and logged, is excluded.
    pub fn verdict(&mut self, event: &Arc<Event>) -> Verdict {
        if self.is_looking() {
            return Verdict::Open;
        }
        self.try_verdict(event).unwrap_or_else(|errors| {
            tracing::warn!(?errors, "an event cannot be shown to a subscriber");
            Verdict::Excluded
        })
    }

    fn try_verdict(&mut self, event: &Arc<Event>) -> Result<Verdict, Errors> {
        let schema = self.server.schema();
        if self.reader.set_rules(&self.server.nacm()) {
            self.looked_at = None;
        }
        let Seen::Content(content) = event.seen_by(&self.reader, schema)? else {
            return Ok(Verdict::Excluded);
        };
        let is_wanted = match &*self.selection {
            Selection::All => true,
            Selection::Filter(_) => self.filter(event, &content)?,
            Selection::XPath(_) => match self.evaluated(event, &content)? {
                Some(is_wanted) => is_wanted,
                None => return Ok(Verdict::Open),
            },
        };
        Ok(match is_wanted {
            true => Verdict::Told(content.message(event, |xml| message::write(event.at, xml))),
            false => Verdict::Excluded,
        })
    }

    /// A filter picks events, it does not change them (RFC 5277, section 2.1.1).
    fn filter(&self, event: &Event, content: &Content) -> Result<bool, Errors> {
        let wanted = content.wanted_by(&self.selection);
        if let Some(known) = wanted.get() {
            return Ok(*known);
        }
        let tree = content.tree(event, self.server.schema())?;
        let is_wanted = picks(tree, Selection::clone(&self.selection))?;
        // Somebody else may have been quicker, with the same outcome.
        let _ = wanted.set(is_wanted);
        Ok(is_wanted)
    }

    /// The same for a filter that may take long; none while it does.
    fn evaluated(&mut self, event: &Event, content: &Content) -> Result<Option<bool>, Errors> {
        let wanted = match self.looked_at.take() {
            Some((number, wanted)) if number == event.number => wanted,
            _ => content.wanted_by(&self.selection),
        };
        if let Some(known) = wanted.get() {
            return Ok(Some(*known));
        }
        self.looked_at = Some((event.number, Wanted::clone(&wanted)));
        let tree = content.tree(event, self.server.schema())?;
        let selection = Selection::clone(&self.selection);
        self.looking = Some(Box::pin(evaluate(
            self.server.clone(),
            wanted,
            tree,
            selection,
        )));
        Ok(None)
    }
}

/// Finds out whether a filter wants an event, unless somebody does so already.
async fn evaluate(server: Server, wanted: Wanted, tree: Snapshot, selection: Selection) {
    let look = || async {
        let picked = server.evaluate(move || picks(tree, selection)).await;
        match picked.and_then(|picked| picked) {
            Err(error) if error.tag != ErrorTag::ResourceDenied => {
                tracing::warn!(%error, "a filter does not fit an event");
                Ok(false)
            }
            picked => picked,
        }
    };
    if let Err(error) = wanted.get_or_try_init(look).await {
        tracing::debug!(%error, "an event waits for its filter");
        tokio::time::sleep(AGAIN).await;
    }
}

fn picks(tree: Snapshot, selection: Selection) -> Result<bool, RpcError> {
    let source = Source::new(tree, selection);
    let retrieval = Retrieval::new(vec![source], Options::default(), None);
    let mut pieces = retrieval.begin()?;
    while let Some(piece) = pieces.next_piece() {
        if !piece.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
