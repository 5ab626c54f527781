//! Steps 5-6 and 9-11: the upgrade to a WebSocket (RFC 6455 section 4.2), main connection or subconnection.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::event::What;
use super::http::{self, Reply};
use super::lock::Lock;
use super::misbehave::Misbehaviour;
use super::registration::unauthorized;
use super::shared::Conversation;

/// Where the main connection is upgraded.
pub(super) const MAIN_PATH: &str = "/cloud/v1/connection";
/// Where subconnections are upgraded, followed by the service's name.
pub(super) const SERVICE_PATH: &str = "/cloud/v1/service/";

/// What a connection becomes after its 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The main connection of this device.
    Main {
        serial: String,
        session: String,
        token: String,
        /// `host:port` for the URLs in its subconnection list.
        authority: String,
    },
    /// A subconnection of this device.
    Service { serial: String, service: String },
}

/// The upgrade that a 101 promised, for the connection's task to take up.
pub(super) type UpgradeSlot = Arc<Lock<Option<(OnUpgrade, Role)>>>;

/// Answers the `GET` of an upgrade.
pub(super) fn answer(
    conversation: &Conversation,
    slot: &UpgradeSlot,
    mut request: Request<Incoming>,
    misbehaviour: Option<&Misbehaviour>,
) -> Reply {
    let judged = role(conversation, &request)
        .and_then(|role| Ok((switch(request.headers(), &role, misbehaviour)?, role)));
    match judged {
        Ok((reply, role)) => {
            *slot.lock() = Some((hyper::upgrade::on(&mut request), role));
            reply
        }
        Err(refusal) => {
            let reply = refusal.reply();
            conversation.note(What::UpgradeRefused {
                status: reply.status.as_u16(),
                why: refusal.to_string(),
            });
            reply
        }
    }
}

/// Why there is no 101.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no such path")]
    Path,
    #[error("no such session")]
    Session,
    #[error("token unknown or expired")]
    Token,
    #[error("no Host")]
    Host,
    #[error("no upgrade to websocket")]
    Upgrade,
    #[error("not version 13")]
    Version,
    #[error("no Sec-WebSocket-Key")]
    Key,
    #[error("subprotocol not offered")]
    Subprotocol,
}

impl Refusal {
    fn reply(&self) -> Reply {
        match self {
            Self::Path | Self::Session => Reply::empty(StatusCode::NOT_FOUND),
            Self::Token => unauthorized(),
            Self::Host | Self::Key | Self::Subprotocol => Reply::empty(StatusCode::BAD_REQUEST),
            Self::Upgrade => Reply::empty(StatusCode::UPGRADE_REQUIRED),
            Self::Version => Reply::empty(StatusCode::UPGRADE_REQUIRED)
                .header(header::SEC_WEBSOCKET_VERSION, "13"),
        }
    }
}

/// Who asks for what: session in the URL, bearer token, path.
fn role(conversation: &Conversation, request: &Request<Incoming>) -> Result<Role, Refusal> {
    let path = request.uri().path();
    let service = path.strip_prefix(SERVICE_PATH);
    if service.is_none_or(str::is_empty) && path != MAIN_PATH {
        return Err(Refusal::Path);
    }
    let registry = conversation.shared.registry.lock();
    let session = parameter(request.uri().query(), "session").unwrap_or_default();
    let Some(serial) = registry.session_owner(session).map(str::to_owned) else {
        return Err(Refusal::Session);
    };
    conversation.identify(&serial);
    let token = http::bearer(request.headers()).unwrap_or_default();
    let owned = registry.token_owner(token, Instant::now()) == Some(serial.as_str());
    // The token of a live main connection is honoured whatever its age.
    let honoured = owned || (service.is_some() && registry.is_token_of_main(&serial, token));
    if !honoured {
        return Err(Refusal::Token);
    }
    if let Some(service) = service {
        return Ok(Role::Service {
            serial,
            service: service.to_owned(),
        });
    }
    let Some(authority) = http::authority(conversation, request.headers()) else {
        return Err(Refusal::Host);
    };
    Ok(Role::Main {
        serial,
        session: session.to_owned(),
        token: token.to_owned(),
        authority,
    })
}

/// The value of a query parameter; session ids need no percent-decoding.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .into_iter()
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value)
}

/// The 101, if the request is the one of RFC 6455 section 4.2.1 and asks for the right subprotocol.
pub(super) fn switch(
    headers: &HeaderMap,
    role: &Role,
    misbehaviour: Option<&Misbehaviour>,
) -> Result<Reply, Refusal> {
    if !lists(headers, &header::UPGRADE, "websocket")
        || !lists(headers, &header::CONNECTION, "upgrade")
    {
        return Err(Refusal::Upgrade);
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refusal::Version);
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .map(header::HeaderValue::as_bytes)
        .unwrap_or_default();
    if STANDARD.decode(key).map(|nonce| nonce.len()) != Ok(16) {
        return Err(Refusal::Key);
    }
    let subprotocol = match role {
        Role::Main { .. } => "cloud-connection.v1".to_owned(),
        Role::Service { service, .. } => format!("cloud-service.{service}.v1"),
    };
    if !lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, &subprotocol) {
        return Err(Refusal::Subprotocol);
    }
    let subprotocol = match misbehaviour {
        Some(Misbehaviour::WrongSubprotocol) => "chat".to_owned(),
        _ => subprotocol,
    };
    let accept = match misbehaviour {
        Some(Misbehaviour::WrongAccept) => derive_accept_key(b"another key"),
        _ => derive_accept_key(key),
    };
    Ok(Reply::empty(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, &accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, &subprotocol))
}

/// Whether a comma-separated header has this element, in any case.
fn lists(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|element| element.trim().eq_ignore_ascii_case(wanted))
}
