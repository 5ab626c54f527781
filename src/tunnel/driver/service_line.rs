//! The task of one subconnection: dials, then hands the WebSocket to the service module.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::line::Device;
use super::{ORDERS, Replies};
use crate::model::settings::{DnsSettings, Secret};
use crate::tunnel::machine::Attempt;
use crate::tunnel::machine::event::{Endpoint, Step, SubconnectionReply};
use crate::tunnel::net::{
    Connection, NetError, Patience, Upgraded, WebSocket, connect, resolve, tls,
};
use crate::tunnel::service::{Link, Order, Service};
use crate::tunnel::wire::CloudUrl;

/// Reports of a service that wait for the driver.
const REPORTS: usize = 8;
/// How long a service has to close its connection once it is told to; longer than a close takes.
const FAREWELL: Duration = Duration::from_secs(3);

/// What it takes to open one.
pub(super) struct Opening {
    pub attempt: Attempt,
    pub service: String,
    pub url: CloudUrl,
    pub endpoint: Endpoint,
    pub token: Secret,
    pub dns: Arc<DnsSettings>,
    /// The keepalive interval, live.
    pub interval: watch::Receiver<Duration>,
}

/// One subconnection from the lookup to its end.
pub(super) async fn run(
    device: Arc<Device>,
    module: Arc<dyn Service>,
    opening: Opening,
    mut orders: mpsc::Receiver<Order>,
    replies: Replies,
) {
    let attempt = opening.attempt;
    let opened = tokio::select! {
        opened = open(&device, &opening, &replies) => opened,
        // Before the handshake is answered there is nothing to order but the end.
        _ = orders.recv() => return,
    };
    let (socket, patience) = match opened {
        Ok((Upgraded::Open(socket), patience)) => (socket, patience),
        Ok((Upgraded::Refused { refusal, .. }, _)) => {
            replies
                .subconnection(attempt, SubconnectionReply::Refused(refusal))
                .await;
            return;
        }
        Err(error) => {
            debug!(service = opening.service, %error, "a subconnection failed");
            replies
                .subconnection(attempt, SubconnectionReply::Failed(error.step()))
                .await;
            return;
        }
    };
    replies
        .subconnection(attempt, SubconnectionReply::Upgraded)
        .await;
    let interval = opening.interval.clone();
    tokio::select! {
        () = serve(&*module, *socket, opening, orders, &replies) => {}
        () = patience.follow(interval) => {}
    }
}

async fn open(
    device: &Device,
    opening: &Opening,
    replies: &Replies,
) -> Result<(Upgraded, Patience), NetError> {
    let endpoint = &opening.endpoint;
    let begins = |step| replies.subconnection(opening.attempt, SubconnectionReply::Step(step));
    begins(Step::Resolve).await;
    let addresses = resolve(&device.surroundings, &opening.dns, endpoint).await?;
    begins(Step::Tcp).await;
    let (tcp, _) = connect(endpoint, &addresses).await?;
    let patience = Patience::of(&tcp)?;
    begins(Step::Tls).await;
    let tls = tls(&device.surroundings, endpoint, tcp).await?;
    let mut connection = Connection::open(&device.surroundings, endpoint, tls.stream).await?;
    begins(Step::Upgrade).await;
    let upgraded = connection
        .upgrade_service(&opening.url, &opening.token, &opening.service)
        .await?;
    Ok((upgraded, patience))
}

/// The service has it from here on; what it reports gets the number of its connection. A service that panics, or ends
/// without a word, has lost its connection.
async fn serve(
    module: &dyn Service,
    socket: WebSocket,
    opening: Opening,
    orders: mpsc::Receiver<Order>,
    replies: &Replies,
) {
    let (report, mut reports) = mpsc::channel(REPORTS);
    let (forward, forwarded) = mpsc::channel(ORDERS);
    let link = Link {
        socket,
        interval: opening.interval,
        orders: forwarded,
        report,
    };
    let served = AssertUnwindSafe(module.serve(link)).catch_unwind();
    let reported = async {
        while let Some(reply) = reports.recv().await {
            replies.subconnection(opening.attempt, reply).await;
        }
    };
    tokio::select! {
        (served, ()) = async { tokio::join!(served, reported) } => {
            if served.is_err() {
                warn!(service = opening.service, "a service module panicked");
            }
            // Of no effect where the end was ordered or reported.
            replies.subconnection(opening.attempt, SubconnectionReply::Lost).await;
        }
        () = overdue(orders, forward) => {
            debug!(service = opening.service, "a service module did not take leave in time");
        }
    }
}

/// Passes orders on to a service; ends some time after the order to close.
async fn overdue(mut orders: mpsc::Receiver<Order>, forward: mpsc::Sender<Order>) {
    while let Some(order) = orders.recv().await {
        // One that takes no orders is stuck; the machine's clock of silence ends it.
        let _ = forward.try_send(order);
        if let Order::Close(_) = order {
            break;
        }
    }
    drop(forward);
    tokio::time::sleep(FAREWELL).await;
}
