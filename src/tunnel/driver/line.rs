//! The task of one main connection: does what it is ordered, one order at a time, and reports.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::SinkExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tracing::debug;

use super::Replies;
use super::expiry::Expiry;
use super::saver::Stored;
use crate::model::settings::Secret;
use crate::model::status::{LastDownReason, ServerCertificate};
use crate::tunnel::machine::event::{Endpoint, StepError};
use crate::tunnel::machine::{Attempt, CloseCode, Reply};
use crate::tunnel::net::{
    Connection, Heard, NetError, Patience, Surroundings, Upgraded, WebSocket, connect, hear, leave,
    tls,
};
use crate::tunnel::wire::{
    AuthenticationRequest, CloudMessage, CloudUrl, DeviceMessage, Nonces, RegistrationRequest,
};

/// A cloud that takes nothing for this long is lost.
const WRITE_BOUND: Duration = Duration::from_secs(10);
/// How long the connection before has to take its leave, until another one takes its place.
const TAKE_OVER_BOUND: Duration = Duration::from_secs(2);
/// Signs of life other than messages are reported no more often.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Who the device is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Serial number, also the user name of Digest.
    pub serial_number: String,
    /// Model name, `unknown` when nothing is known.
    pub model: String,
    /// Name and version of this software.
    pub software: String,
}

impl Identity {
    /// What it says of itself in steps 1 and 2.
    pub(super) fn authentication(&self, unbinding_code: Option<Secret>) -> AuthenticationRequest {
        AuthenticationRequest {
            serial_number: self.serial_number.clone(),
            model: self.model.clone(),
            software: self.software.clone(),
            unbinding_code,
        }
    }
}

/// What every connection needs.
#[derive(Debug)]
pub(super) struct Device {
    pub identity: Identity,
    pub surroundings: Surroundings,
    pub nonces: Mutex<Nonces>,
}

/// What the driver orders of a connection that stands; each is an action of the machine.
#[derive(Debug)]
pub(super) enum Order {
    /// A request of steps 1 to 6, with the number its answer bears.
    Request(Attempt, Request),
    /// The next request waits for this end, though not for long.
    After(oneshot::Receiver<()>),
    Send {
        message: DeviceMessage,
        /// To be waited for before it leaves.
        stored: Option<Stored>,
    },
    Close(CloseCode),
}

#[derive(Debug)]
pub(super) enum Request {
    Authenticate {
        password: Option<Secret>,
        unbinding_code: Option<Secret>,
        /// To be waited for before the code leaves.
        stored: Option<Stored>,
    },
    Register {
        token: Secret,
        services: Vec<String>,
        last_down: Option<LastDownReason>,
    },
    Upgrade {
        url: CloudUrl,
        token: Secret,
    },
}

/// What it takes to dial.
pub(super) struct Dialling {
    pub attempt: Attempt,
    pub endpoint: Endpoint,
    pub addresses: Vec<IpAddr>,
    /// The keepalive interval, live.
    pub interval: watch::Receiver<Duration>,
}

/// What a request came to.
enum Made {
    Answered(Reply),
    Opened(Box<WebSocket>),
}

/// One connection from the dial to its end. Ends when it has reported its end, when it is told to close, or when the
/// driver drops it.
pub(super) async fn run(
    device: Arc<Device>,
    dialling: Dialling,
    mut orders: mpsc::Receiver<Order>,
    replies: Replies,
) {
    let attempt = dialling.attempt;
    let dialled = match dial(&device, &dialling, &replies).await {
        Ok(dialled) => dialled,
        Err(error) => {
            failed(attempt, &error, &replies).await;
            return;
        }
    };
    let opened = request(&device, dialled.connection, &mut orders, &replies).await;
    if let Some((socket, attempt)) = opened {
        let trust = dialling.endpoint.trust;
        let expiry = Expiry::new(dialled.certificate, trust, device.surroundings.clock);
        tokio::select! {
            () = converse(socket, attempt, &mut orders, &replies, expiry) => {}
            () = dialled.patience.follow(dialling.interval) => {}
        }
    }
}

/// A connection that stands.
struct Dialled {
    connection: Connection,
    certificate: Option<ServerCertificate>,
    patience: Patience,
}

async fn dial(
    device: &Device,
    dialling: &Dialling,
    replies: &Replies,
) -> Result<Dialled, NetError> {
    let (attempt, endpoint) = (dialling.attempt, &dialling.endpoint);
    let (tcp, address) = connect(endpoint, &dialling.addresses).await?;
    if let Ok(local) = tcp.local_addr() {
        let local = Reply::LocalAddress(local.ip().to_canonical());
        replies.main(attempt, local).await;
    }
    replies.main(attempt, Reply::TcpConnected(address)).await;
    let patience = Patience::of(&tcp)?;
    let tls = match tls(&device.surroundings, endpoint, tcp).await {
        Ok(tls) => tls,
        Err(error) => {
            show(attempt, error.certificate(), replies).await;
            return Err(error);
        }
    };
    show(attempt, tls.certificate.as_ref(), replies).await;
    let connection = Connection::open(&device.surroundings, endpoint, tls.stream).await?;
    let clock_unset = tls.clock_unset;
    replies
        .main(attempt, Reply::Connected { clock_unset })
        .await;
    Ok(Dialled {
        connection,
        certificate: tls.certificate,
        patience,
    })
}

async fn show(attempt: Attempt, certificate: Option<&ServerCertificate>, replies: &Replies) {
    if let Some(certificate) = certificate.cloned() {
        replies.main(attempt, Reply::Certificate(certificate)).await;
    }
}

/// Makes the requests of steps 1 to 6, until one opens the WebSocket or fails.
async fn request(
    device: &Device,
    mut connection: Connection,
    orders: &mut mpsc::Receiver<Order>,
    replies: &Replies,
) -> Option<(WebSocket, Attempt)> {
    loop {
        let (attempt, request) = next_request(orders).await?;
        match make(device, &mut connection, request).await {
            Ok(Made::Answered(reply)) => replies.main(attempt, reply).await,
            Ok(Made::Opened(socket)) => {
                replies.main(attempt, Reply::Upgraded).await;
                return Some((*socket, attempt));
            }
            Err(error) => {
                failed(attempt, &error, replies).await;
                return None;
            }
        }
    }
}

/// Waits for the next request; `None` when there is to be no other.
async fn next_request(orders: &mut mpsc::Receiver<Order>) -> Option<(Attempt, Request)> {
    loop {
        match orders.recv().await? {
            Order::Request(attempt, request) => return Some((attempt, request)),
            Order::After(end) => {
                // A connection that takes longer to end is none of which the cloud knows any more.
                let _ = timeout(TAKE_OVER_BOUND, end).await;
            }
            Order::Close(_) => return None,
            // There is nothing yet to send it on.
            Order::Send { .. } => {}
        }
    }
}

async fn make(
    device: &Device,
    connection: &mut Connection,
    request: Request,
) -> Result<Made, NetError> {
    let identity = &device.identity;
    let reply = match request {
        Request::Authenticate {
            password,
            unbinding_code,
            stored,
        } => {
            if let Some(stored) = stored {
                stored.reached().await;
            }
            let request = identity.authentication(unbinding_code);
            let (outcome, reusable) = connection
                .authenticate(&device.nonces, &request, password.as_ref())
                .await?;
            Reply::Authentication { outcome, reusable }
        }
        Request::Register {
            token,
            services,
            last_down,
        } => {
            let request = RegistrationRequest {
                serial_number: identity.serial_number.clone(),
                services,
                last_down_reason: last_down.map(|reason| reason.as_yang().to_owned()),
            };
            let (answer, reusable) = connection.register(&token, &request).await?;
            Reply::Registration { answer, reusable }
        }
        Request::Upgrade { url, token } => match connection.upgrade(&url, &token).await? {
            Upgraded::Open(socket) => return Ok(Made::Opened(socket)),
            Upgraded::Refused { refusal, reusable } => Reply::UpgradeRefused { refusal, reusable },
        },
    };
    Ok(Made::Answered(reply))
}

async fn failed(attempt: Attempt, error: &NetError, replies: &Replies) {
    debug!(%error, "a step towards the cloud failed");
    let step: StepError = error.step();
    replies.main(attempt, Reply::Failed(step)).await;
}

/// From the 101 on: messages in both directions.
async fn converse(
    mut socket: WebSocket,
    attempt: Attempt,
    orders: &mut mpsc::Receiver<Order>,
    replies: &Replies,
    mut expiry: Expiry,
) {
    let mut alive_at: Option<Instant> = None;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Send { message, stored }) => {
                    if let Some(stored) = stored {
                        stored.reached().await;
                    }
                    let message = Message::text(message.to_json().as_str());
                    if !matches!(timeout(WRITE_BOUND, socket.send(message)).await, Ok(Ok(()))) {
                        replies.main(attempt, Reply::Lost).await;
                        return;
                    }
                }
                Some(Order::Close(code)) => return leave(&mut socket, Some(code)).await,
                // Requests belong before the 101.
                Some(_) => {}
                None => return,
            },
            () = expiry.watch() => {}
            heard = hear(&mut socket) => {
                let reply = understand(heard);
                if reply == Reply::Alive {
                    if alive_at.is_some_and(|at| at.elapsed() < ALIVE_EVERY) {
                        continue;
                    }
                    alive_at = Some(Instant::now());
                }
                replies.main(attempt, reply.clone()).await;
                match reply {
                    Reply::Closed(_) => return leave(&mut socket, None).await,
                    Reply::Violation(_) => return obey_close(&mut socket, orders).await,
                    Reply::Lost => return,
                    _ => {}
                }
            }
        }
    }
}

/// Messages are text frames of one JSON object; whatever else comes breaks the protocol.
fn understand(heard: Heard) -> Reply {
    match heard {
        Heard::Text(text) => match CloudMessage::parse(&text) {
            Ok(message) => Reply::Message(message),
            Err(error) => {
                debug!(%error, "a message of the cloud makes no sense");
                Reply::Violation(CloseCode::PROTOCOL)
            }
        },
        Heard::Binary(_) => Reply::Violation(CloseCode::UNSUPPORTED),
        Heard::Alive => Reply::Alive,
        Heard::Closed(code) => Reply::Closed(code),
        Heard::Violation(code) => Reply::Violation(code),
        Heard::Lost => Reply::Lost,
    }
}

/// Nothing more is read from a cloud that breaks the protocol; the order to close follows.
async fn obey_close(socket: &mut WebSocket, orders: &mut mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        if let Order::Close(code) = order {
            return leave(socket, Some(code)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_request_waits_until_the_connection_before_has_ended() {
        let (give, mut orders) = mpsc::channel(2);
        let (ending, end) = oneshot::channel();
        let register = Request::Register {
            token: Secret::new("token"),
            services: Vec::new(),
            last_down: None,
        };
        give.send(Order::After(end)).await.unwrap();
        give.send(Order::Request(Attempt(1), register))
            .await
            .unwrap();
        let mut next = std::pin::pin!(next_request(&mut orders));
        assert!(next.as_mut().now_or_never().is_none());
        drop(ending);
        let (attempt, _) = next.await.unwrap();
        assert_eq!(attempt, Attempt(1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_wait_for_ever() {
        let (give, mut orders) = mpsc::channel(2);
        let (_never, end) = oneshot::channel();
        give.send(Order::After(end)).await.unwrap();
        give.send(Order::Close(CloseCode::NORMAL)).await.unwrap();
        assert!(next_request(&mut orders).await.is_none());
    }
}
