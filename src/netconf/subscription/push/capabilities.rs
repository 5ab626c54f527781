//! What can be subscribed to, and what cannot (RFC 9196).

use super::establish::SHORTEST_PERIOD;
use super::state::unsettled_paths;
use crate::datastore::View;
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::tree::Tree;

/// The module of the container that it is in.
pub(in crate::netconf) const MODULE: &str = "ietf-system-capabilities";
/// The container in which RFC 9196 has them, everywhere.
const CONTAINER: &str = "ietf-notification-capabilities:subscription-capabilities";

/// Adds it to the state.
pub(in crate::netconf) fn show(view: &View, into: &mut Tree) {
    if let Err(error) = write(view, into) {
        tracing::warn!(%error, "the capabilities do not fit their module");
    }
}

fn write(view: &View, into: &mut Tree) -> Result<(), RpcError> {
    let both = "config-changes state-changes";
    let shortest = SHORTEST_PERIOD.to_string();
    let own = [
        ("periodic-notifications-supported", both),
        ("minimum-update-period", &shortest),
        ("on-change-supported", both),
        ("minimum-dampening-period", "0"),
    ];
    let base = format!("{}/{CONTAINER}", paths::CAPABILITIES);
    for (leaf, value) in own {
        into.set(&format!("{base}/{leaf}"), Some(value))?;
    }
    into.set(
        &format!("{base}/supported-excluded-change-type[.='all']"),
        None,
    )?;
    supports(into, "running", &[("/".to_owned(), true, "config-changes")])?;
    let startup = view.schema().has_startup().then_some("startup");
    for name in ["candidate"].into_iter().chain(startup) {
        supports(into, name, &[("/".to_owned(), true, "")])?;
    }
    let unsettled = unsettled_paths(view).into_iter();
    let unsettled: Vec<_> = unsettled.map(|path| (path, false, "")).collect();
    supports(into, "operational", &unsettled)
}

/// The entry of a datastore: for some nodes, which notifications of changes there are, and whether that goes for periodic
/// ones, too.
fn supports(
    into: &mut Tree,
    datastore: &str,
    nodes: &[(String, bool, &str)],
) -> Result<(), RpcError> {
    let entry = format!(
        "{}/datastore-capabilities[datastore='ietf-datastores:{datastore}']",
        paths::CAPABILITIES
    );
    for (number, (path, is_all, support)) in nodes.iter().enumerate() {
        let node = format!("{entry}/per-node-capabilities[{}]", number + 1);
        into.set(&format!("{node}/node-selector"), Some(path))?;
        if *is_all {
            let periodic = format!("{node}/{CONTAINER}/periodic-notifications-supported");
            into.set(&periodic, Some(support))?;
        }
        let on_change = format!("{node}/{CONTAINER}/on-change-supported");
        into.set(&on_change, Some(support))?;
    }
    Ok(())
}
