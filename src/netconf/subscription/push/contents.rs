//! All that a subscription selects, as a push-update holds it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::terms::Terms;
use crate::datastore::changes::Unsettled;
use crate::datastore::events::Place;
use crate::datastore::nacm::Nacm;
use crate::datastore::retrieval::{Options, Pieces, Reader, Retrieval, Selection};
use crate::datastore::{Author, View};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::{SharedDiff, Snapshot, Tree};
use crate::netconf::ops;
use crate::netconf::server::Server;

/// Octets of one update; a larger one is refused, or ends its subscription.
pub(super) const MOST_OCTETS: usize = 16 << 20;
/// Octets of all updates that are made and not yet sent.
const ROOM: usize = 256 << 20;
/// What room is given in.
const UNIT: usize = 1 << 10;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Contents {
    /// None if it would be larger than [`MOST_OCTETS`].
    pub xml: Option<String>,
    /// Which running it is of.
    pub version: u64,
    pub nacm: Arc<Nacm>,
    /// When that was looked at.
    pub at: SystemTime,
    /// The changes before this place are in it.
    pub end: Place,
    /// If it was to be compared.
    pub compared: Option<Compared>,
    /// What it takes of the room of all; for whoever sends it.
    pub room: Option<OwnedSemaphorePermit>,
}

/// What a comparison with what was told last came to.
pub(super) struct Compared {
    pub copy: Snapshot,
    /// None if nothing was told before.
    pub diff: Option<SharedDiff>,
}

/// What is to be gathered.
pub(super) struct Wanted {
    pub terms: Terms,
    /// What is left out.
    pub unsettled: Option<Unsettled>,
    /// Whether it is compared, and with what.
    pub comparison: Option<Option<Snapshot>>,
}

/// Whose turn it is to gather: each needs a processor and a lot of memory, and many are due at the same time.
pub(super) struct Turns(Semaphore);

impl Default for Turns {
    /// Half of the processors: the rest is for those who make things happen.
    fn default() -> Self {
        let abreast = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
        Self(Semaphore::new(abreast.max(1)))
    }
}

impl Turns {
    /// Waits for a turn, which lasts until it is dropped.
    ///
    /// # Errors
    /// `resource-denied` when it does not come in time.
    async fn take(&self) -> Result<SemaphorePermit<'_>, RpcError> {
        let turn = timeout(PATIENCE, self.0.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let words = "too many updates are being gathered, try again";
            RpcError::application(ErrorTag::ResourceDenied, words)
        })
    }
}

/// The room for updates whose sessions have not taken them yet.
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM / UNIT)))
    }
}

impl Room {
    /// Takes room for so many octets, until it is dropped.
    ///
    /// # Errors
    /// `resource-denied` when there is none.
    fn take(&self, octets: usize) -> Result<OwnedSemaphorePermit, RpcError> {
        let units = u32::try_from(octets.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.0).try_acquire_many_owned(units);
        taken.map_err(|_| {
            let words = "too many updates wait to be sent, try again";
            RpcError::application(ErrorTag::ResourceDenied, words)
        })
    }
}

/// Gathers it.
///
/// # Errors
/// What shows only when the filter is evaluated; `resource-denied` if too many gather or too much waits to be sent; that
/// the agent stops.
pub(super) async fn gather(
    server: Server,
    author: Author,
    wanted: Wanted,
) -> Result<Contents, RpcError> {
    // How long an expression is evaluated nobody knows, and there are turns for that too: nobody waits for it here.
    let is_long = matches!(wanted.terms.selection, Selection::XPath(_));
    let turns = &server.told().turns;
    let turn = match is_long {
        true => None,
        false => Some(turns.take().await?),
    };
    let end = server.told().changes.end();
    let at = server.date();
    let Wanted {
        terms,
        unsettled,
        comparison,
    } = wanted;
    let (retrieval, version, nacm) = begin(&server, author, terms, unsettled).await?;
    let pieces = match retrieval.takes_long() {
        true => server.evaluate(move || retrieval.begin()).await??,
        false => retrieval.begin()?,
    };
    let _turn = match turn {
        Some(turn) => turn,
        None => turns.take().await?,
    };
    let mut xml = text(pieces).await;
    let room = { &server.told().room }.take(xml.as_ref().map_or(0, String::len))?;
    let mut compared = None;
    if let (Some(text), Some(before)) = (&mut xml, comparison) {
        let (schema, new) = (server.schema(), std::mem::take(text));
        let work = move || compare(schema, before.as_ref(), &new).map(|done| (done, new));
        // It is as long as an update is large, and not for a thread that others wait for.
        let done = tokio::task::spawn_blocking(work).await;
        let (done, new) = done.map_err(|_| cannot_compare("it was broken off"))??;
        (compared, *text) = (Some(done), new);
    }
    Ok(Contents {
        xml,
        version,
        nacm,
        at,
        end,
        compared,
        room: Some(room),
    })
}

/// Looks at what is there.
async fn begin(
    server: &Server,
    author: Author,
    terms: Terms,
    unsettled: Option<Unsettled>,
) -> Result<(Retrieval, u64, Arc<Nacm>), RpcError> {
    let own = server.clone();
    let look = move |view: &View| {
        let options = Options {
            unsettled,
            ..Options::default()
        };
        let reader = (!author.recovery).then(|| Reader {
            nacm: Arc::clone(view.nacm()),
            author,
        });
        let wanted = (terms.selection, &options);
        let monitoring = || own.monitoring();
        let sources = ops::sources(view, terms.datastore, wanted, &monitoring, reader.as_ref())?;
        let retrieval = Retrieval::new(sources, options, reader);
        Ok((retrieval, view.version(), Arc::clone(view.nacm())))
    };
    server.look(look).await
}

/// All pieces; none if they are too much.
async fn text(mut pieces: Pieces) -> Option<String> {
    let mut xml = String::new();
    while let Some(piece) = pieces.next_piece() {
        xml.push_str(&piece);
        if xml.len() > MOST_OCTETS {
            return None;
        }
        tokio::task::yield_now().await;
    }
    Some(xml)
}

fn compare(schema: Schema, before: Option<&Snapshot>, xml: &str) -> Result<Compared, RpcError> {
    let first = |errors: Errors| errors.into_iter().next().map(|error| error.to_string());
    let new = Tree::parse_data(schema, xml)
        .map_err(|errors| cannot_compare(first(errors).unwrap_or_default()))?;
    let diff = match before {
        Some(before) => Some(before.diff(&new)?.share()),
        None => None,
    };
    let copy = Snapshot::new(new);
    Ok(Compared { copy, diff })
}

fn cannot_compare(why: impl std::fmt::Display) -> RpcError {
    let words = format!("a selection cannot be compared: {why}");
    RpcError::application(ErrorTag::OperationFailed, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_get_a_turn_in_time_is_denied_and_a_turn_that_ends_is_for_the_next() {
        let turns = Turns(Semaphore::new(1));
        let first = turns.take().await.unwrap();
        let error = turns.take().await.err().unwrap();
        assert_eq!(error.tag, ErrorTag::ResourceDenied);
        let (second, ()) = tokio::join!(turns.take(), async { drop(first) });
        assert!(second.is_ok());
    }

    #[test]
    fn updates_that_nobody_takes_have_a_bound_in_octets_together() {
        let room = Room::default();
        let taken: Vec<_> = (0..ROOM / MOST_OCTETS)
            .map(|_| room.take(MOST_OCTETS).unwrap())
            .collect();
        let error = room.take(1).unwrap_err();
        assert_eq!(error.tag, ErrorTag::ResourceDenied);
        drop(taken);
        assert!(room.take(1).is_ok());
    }
}
