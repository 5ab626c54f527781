//! The task of one subconnection: dials, then hands the WebSocket to the service module.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::Replies;
use super::line::Device;
use crate::model::settings::{DnsSettings, Secret};
use crate::tunnel::machine::Attempt;
use crate::tunnel::machine::event::{Endpoint, Step, SubconnectionReply};
use crate::tunnel::net::{Connection, NetError, Upgraded, WebSocket, connect, resolve, tls};
use crate::tunnel::service::Order;
use crate::tunnel::service::telemetry::Telemetry;
use crate::tunnel::wire::CloudUrl;

/// Reports of a service that wait for the driver.
const REPORTS: usize = 8;

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
    telemetry: Arc<Telemetry>,
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
    let socket = match opened {
        Ok(Upgraded::Open(socket)) => socket,
        Ok(Upgraded::Refused { refusal, .. }) => {
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
    serve(&telemetry, *socket, opening, orders, &replies).await;
}

async fn open(device: &Device, opening: &Opening, replies: &Replies) -> Result<Upgraded, NetError> {
    let endpoint = &opening.endpoint;
    let begins = |step| replies.subconnection(opening.attempt, SubconnectionReply::Step(step));
    begins(Step::Resolve).await;
    let addresses = resolve(&device.surroundings, &opening.dns, endpoint).await?;
    begins(Step::Tcp).await;
    let (tcp, _) = connect(endpoint, &addresses).await?;
    begins(Step::Tls).await;
    let tls = tls(&device.surroundings, endpoint, tcp).await?;
    let mut connection = Connection::open(&device.surroundings, endpoint, tls.stream).await?;
    begins(Step::Upgrade).await;
    connection
        .upgrade_service(&opening.url, &opening.token, &opening.service)
        .await
}

/// The service has it from here on; what it reports gets the number of its connection.
async fn serve(
    telemetry: &Telemetry,
    socket: WebSocket,
    opening: Opening,
    orders: mpsc::Receiver<Order>,
    replies: &Replies,
) {
    let (report, mut reports) = mpsc::channel(REPORTS);
    let forward = async {
        while let Some(reply) = reports.recv().await {
            replies.subconnection(opening.attempt, reply).await;
        }
    };
    let serve = telemetry.serve(socket, opening.interval, orders, report);
    tokio::join!(serve, forward);
}
