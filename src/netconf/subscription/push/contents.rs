//! All that a subscription selects, as a push-update holds it.

use std::sync::Arc;

use super::terms::Terms;
use crate::datastore::changes::Unsettled;
use crate::datastore::nacm::Nacm;
use crate::datastore::retrieval::{Options, Reader, Retrieval};
use crate::datastore::{Author, View};
use crate::model::error::RpcError;
use crate::netconf::ops;
use crate::netconf::server::Server;

/// Octets of one update; a larger one is refused, or ends its subscription.
pub(super) const MOST_OCTETS: usize = 16 << 20;

/// See the module.
pub(super) struct Contents {
    /// None if it would be larger than [`MOST_OCTETS`].
    pub xml: Option<String>,
    /// Which running it is of.
    pub version: u64,
    pub nacm: Arc<Nacm>,
}

/// Gathers it; what `unsettled` names is left out.
///
/// # Errors
/// What shows only when the filter is evaluated; that the agent stops.
pub(super) async fn gather(
    server: Server,
    author: Author,
    terms: Terms,
    unsettled: Option<Unsettled>,
) -> Result<Contents, RpcError> {
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
    let (retrieval, version, nacm) = server.look(look).await?;
    let mut pieces = match retrieval.takes_long() {
        true => server.evaluate(move || retrieval.begin()).await??,
        false => retrieval.begin()?,
    };
    let mut xml = Some(String::new());
    while let Some(text) = &mut xml
        && let Some(piece) = pieces.next_piece()
    {
        text.push_str(&piece);
        if text.len() > MOST_OCTETS {
            xml = None;
        }
        tokio::task::yield_now().await;
    }
    Ok(Contents { xml, version, nacm })
}
