//! Watches links, addresses, routes and rules.
//!
//! The kernel's notices say that something changed; what it is now is read anew, a moment later, so one that is lost or
//! late does no harm.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStream, TryStreamExt as _};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::Connection;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::read::{Notices, network};
use crate::model::network::Network;

/// What comes within this after a notice is looked at together with it.
const PAUSE: Duration = Duration::from_millis(200);
/// The kernel has answered within this.
const DEADLINE: Duration = Duration::from_secs(10);
/// From one failure to the next try.
const RETRY: Duration = Duration::from_secs(5);

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Why the network cannot be watched.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("no netlink socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("the kernel does not tell of its network: {0}")]
    Kernel(#[from] rtnetlink::Error),
    #[error("the kernel did not answer in time")]
    Slow,
    #[error("the netlink socket was closed")]
    Closed,
}

/// Starts to watch, until `stop` says so. Without permission the network stays unknown, which is told once.
pub fn start(mut stop: watch::Receiver<bool>) -> (watch::Receiver<Arc<Network>>, JoinHandle<()>) {
    let (network, watched) = watch::channel(Arc::default());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = watch_always(&network) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    (watched, task)
}

async fn watch_always(network: &watch::Sender<Arc<Network>>) {
    let mut has_told = false;
    loop {
        let Err(error) = watch_once(network).await;
        if std::mem::replace(&mut has_told, true) {
            debug!(%error, "the network cannot be watched");
        } else {
            warn!(%error, "the network cannot be watched: its changes wake no retry, and DHCP options are not asked for");
        }
        sleep(RETRY).await;
    }
}

async fn watch_once(
    network: &watch::Sender<Arc<Network>>,
) -> Result<std::convert::Infallible, WatchError> {
    let (connection, handle, mut notices) = rtnetlink::new_multicast_connection(&GROUPS)?;
    let (counting, mut counted) = watch::channel(Notices::default());
    // Both end with this function. Notices come in a queue without bound, so it is emptied whatever else is going on.
    let mut tasks = JoinSet::new();
    tasks.spawn(run(connection));
    tasks.spawn(async move {
        while let Some((notice, _)) = notices.next().await {
            counting.send_modify(|notices| notices.count(&notice.payload));
        }
    });
    let mut seen = Notices::default();
    let mut routes_before = network.borrow().route_changes;
    network.send_replace(Arc::new(look(&handle, routes_before).await?));
    loop {
        counted.changed().await.map_err(|_| WatchError::Closed)?;
        sleep(PAUSE).await;
        let now = *counted.borrow_and_update();
        routes_before += now.routes - seen.routes;
        let current = match now.interfaces == seen.interfaces {
            true => Network {
                route_changes: routes_before,
                ..network.borrow().as_ref().clone()
            },
            false => look(&handle, routes_before).await?,
        };
        seen = now;
        network.send_if_modified(|known| {
            let is_news = **known != current;
            *known = Arc::new(current);
            is_news
        });
    }
}

async fn run(connection: Connection<RouteNetlinkMessage>) {
    connection.await;
}

async fn look(handle: &rtnetlink::Handle, route_changes: u64) -> Result<Network, WatchError> {
    let links = all(handle.link().get().execute()).await?;
    let addresses = all(handle.address().get().execute()).await?;
    Ok(network(&links, &addresses, route_changes))
}

async fn all<T>(
    answers: impl TryStream<Ok = T, Error = rtnetlink::Error>,
) -> Result<Vec<T>, WatchError> {
    let all = answers.try_collect();
    Ok(timeout(DEADLINE, all)
        .await
        .map_err(|_| WatchError::Slow)??)
}
