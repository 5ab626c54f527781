//! One TCP connection from accept to its end: TLS, requests, and what it was upgraded to.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ProtocolVersion;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::event::What;
use super::handshake::{Role, UpgradeSlot};
use super::lock::Lock;
use super::main_connection::{self, Owner};
use super::misbehave::{Misbehaviour, Step};
use super::shared::{Conversation, Shared};
use super::stream::{Control, Io, Pace, Shaped, SharedTcp, relay};
use super::{http, subconnection};

/// Time for the TLS handshake.
const TLS_DEADLINE: Duration = Duration::from_secs(30);
/// Time for a request's head to arrive, idle time before it included.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// Time between a 101 and the stream behind it.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection is held open in silence.
const SILENCE: Duration = Duration::from_secs(3600);

/// Takes an accepted connection in; from here on it can be ended from outside.
pub(super) fn admit(
    shared: &Arc<Shared>,
    tcp: TcpStream,
) -> impl Future<Output = ()> + Send + use<> {
    let tcp = Arc::new(tcp);
    let number = shared.number();
    let control = Arc::new(Control::new(&tcp));
    shared
        .connections
        .lock()
        .insert(number, Arc::clone(&control));
    let conversation = Arc::new(Conversation::new(Arc::clone(shared), number, control));
    if let (Ok(peer), Ok(local)) = (tcp.peer_addr(), tcp.local_addr()) {
        conversation.note(What::Accepted { peer, local });
    }
    serve(conversation, SharedTcp(tcp))
}

/// Serves it until it ends or is ended.
async fn serve(conversation: Arc<Conversation>, tcp: SharedTcp) {
    tokio::select! {
        biased;
        () = conversation.control.ended_now() => {}
        () = carry(&conversation, tcp) => {}
    }
    let number = conversation.number;
    conversation.shared.connections.lock().remove(&number);
    conversation.note(What::Ended);
}

/// The connection below TLS: as it is, or with extra latency.
async fn carry(conversation: &Arc<Conversation>, tcp: SharedTcp) {
    let latency = conversation.shared.config.latency;
    if latency.is_zero() {
        return converse(conversation, Box::new(tcp)).await;
    }
    let (near, mut tasks) = relay(tcp, latency);
    converse(conversation, Box::new(near)).await;
    // The last bytes are still under way.
    let _ = tokio::time::timeout(latency * 2, drained(&mut tasks)).await;
}

async fn drained(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

async fn converse(conversation: &Arc<Conversation>, io: Box<dyn Io>) {
    let below = Pace::new();
    let mut io = Shaped::new(io, below.clone());
    match conversation.misbehaviour(Step::Connect) {
        Some(Misbehaviour::Drip(interval)) => below.drip(Some(interval)),
        wrong => {
            if hold(conversation, &mut io, wrong.as_ref()).await.is_err() {
                return;
            }
        }
    }
    let wrong = conversation.misbehaviour(Step::Tls);
    match &wrong {
        Some(Misbehaviour::NotTls) => return not_tls(io).await,
        Some(Misbehaviour::Drip(interval)) => below.drip(Some(*interval)),
        other => {
            if hold(conversation, &mut io, other.as_ref()).await.is_err() {
                return;
            }
        }
    }
    let Some(tls) = handshake(conversation, io, wrong.as_ref()).await else {
        return;
    };
    if matches!(wrong, Some(Misbehaviour::Drip(_))) {
        below.drip(None);
    }
    requests(conversation, tls).await;
}

/// The connection is not to go on.
struct Held;

/// Misbehaviours that need no more than the bare stream.
async fn hold(
    conversation: &Conversation,
    io: &mut Shaped<Box<dyn Io>>,
    wrong: Option<&Misbehaviour>,
) -> Result<(), Held> {
    match wrong {
        Some(Misbehaviour::Reset) => {
            conversation.control.reset();
            Err(Held)
        }
        Some(Misbehaviour::Close) => Err(Held),
        Some(Misbehaviour::Silent) => {
            let mut ignored = [0; 4096];
            let read_on = async { while matches!(io.read(&mut ignored).await, Ok(1..)) {} };
            let _ = tokio::time::timeout(SILENCE, read_on).await;
            Err(Held)
        }
        Some(Misbehaviour::Delay(delay)) => {
            tokio::time::sleep(*delay).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn not_tls(mut io: Shaped<Box<dyn Io>>) {
    // A device that does not read this is as good as one that does.
    let _ = io
        .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        .await;
    let _ = io.shutdown().await;
    let mut ignored = [0; 4096];
    let read_on = async { while matches!(io.read(&mut ignored).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(TLS_DEADLINE, read_on).await;
}

type Tls = TlsStream<Shaped<Box<dyn Io>>>;

async fn handshake(
    conversation: &Conversation,
    io: Shaped<Box<dyn Io>>,
    wrong: Option<&Misbehaviour>,
) -> Option<Tls> {
    let flaw = match wrong {
        Some(Misbehaviour::Certificate(flaw)) => Some(*flaw),
        _ => None,
    };
    let acceptor = TlsAcceptor::from(conversation.shared.identities.config(flaw));
    let accepted = match tokio::time::timeout(TLS_DEADLINE, acceptor.accept(io)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            conversation.note(What::TlsFailed(error.to_string()));
            return None;
        }
        Err(_) => {
            conversation.note(What::TlsFailed("no handshake in time".to_owned()));
            return None;
        }
    };
    let (_, tls) = accepted.get_ref();
    let version = tls.protocol_version();
    // RFC 8446 section 2: one round trip; RFC 5246 section 7.3: two. TCP's own is the third addend.
    let round_trips = if version == Some(ProtocolVersion::TLSv1_2) {
        2
    } else {
        1
    };
    conversation.set_handshake_round_trips(1 + round_trips);
    let version = version
        .and_then(|version| version.as_str())
        .unwrap_or("unknown version")
        .to_owned();
    conversation.note(What::TlsUp {
        version,
        server_name: tls.server_name().map(str::to_owned),
    });
    Some(accepted)
}

async fn requests(conversation: &Arc<Conversation>, tls: Tls) {
    let slot: UpgradeSlot = Arc::new(Lock::new(None));
    let io = TokioIo::new(Shaped::new(tls, conversation.pace.clone()));
    let service =
        service_fn(|request| http::serve(Arc::clone(conversation), Arc::clone(&slot), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::select! {
        // How the device ended it does not matter: each request has been noted.
        _ = served => {}
        () = conversation.control.ended() => return,
    }
    let Some((upgrade, role)) = slot.lock().take() else {
        return;
    };
    let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE_DEADLINE, upgrade).await else {
        return;
    };
    let conversation = Arc::clone(conversation);
    match role {
        Role::Main {
            serial,
            session,
            token,
            authority,
        } => {
            let owner = Owner {
                serial,
                session,
                token,
                authority,
            };
            main_connection::serve(upgraded, conversation, owner).await;
        }
        Role::Service { serial, service } => {
            subconnection::serve(upgraded, conversation, serial, service).await
        }
    }
}
