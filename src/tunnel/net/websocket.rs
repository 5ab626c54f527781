//! The WebSocket handshake (RFC 6455, section 4.1) on an open connection.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::http::{Connection, bearer, sensitive, texts};
use super::{NetError, bounded};
use crate::model::settings::Secret;
use crate::tunnel::wire::{
    CloudUrl, MAIN_SUBPROTOCOL, MAX_MAIN_MESSAGE, MAX_STREAM_MESSAGE, MAX_TELEMETRY_MESSAGE,
    UpgradeRefusal, service_subprotocol,
};

/// An open WebSocket to the cloud: a stream and a sink of messages.
pub type WebSocket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Bytes of one message from the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageLimit {
    /// The main connection: 256 KiB.
    Main,
    /// `telemetry`: 64 KiB.
    Telemetry,
    /// A byte stream (`netconf`, external services): 1 MiB.
    Stream,
}

impl MessageLimit {
    /// The limit of a service's subconnection.
    pub fn of_service(service: &str) -> Self {
        match service {
            "telemetry" => Self::Telemetry,
            _ => Self::Stream,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Main => MAX_MAIN_MESSAGE,
            Self::Telemetry => MAX_TELEMETRY_MESSAGE,
            Self::Stream => MAX_STREAM_MESSAGE,
        }
    }
}

/// What became of the handshake.
#[derive(Debug)]
pub enum Upgraded {
    /// 101, and everything in it is right.
    Open(Box<WebSocket>),
    /// Anything else.
    Refused {
        /// What the cloud said.
        refusal: UpgradeRefusal,
        /// Another request may follow on this connection.
        reusable: bool,
    },
}

impl Connection {
    /// Steps 5 and 6: the main connection.
    pub async fn upgrade(&mut self, url: &CloudUrl, token: &Secret) -> Result<Upgraded, NetError> {
        let limit = MessageLimit::Main;
        bounded(self.handshake(url, token, MAIN_SUBPROTOCOL, limit)).await
    }

    /// Step 11: a service's own connection.
    pub async fn upgrade_service(
        &mut self,
        url: &CloudUrl,
        token: &Secret,
        service: &str,
    ) -> Result<Upgraded, NetError> {
        let subprotocol = service_subprotocol(service);
        let limit = MessageLimit::of_service(service);
        bounded(self.handshake(url, token, &subprotocol, limit)).await
    }

    async fn handshake(
        &mut self,
        url: &CloudUrl,
        token: &Secret,
        subprotocol: &str,
        limit: MessageLimit,
    ) -> Result<Upgraded, NetError> {
        let key = generate_key();
        let request = Request::get(url.target())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(SEC_WEBSOCKET_PROTOCOL, subprotocol)
            .header(AUTHORIZATION, sensitive(&bearer(token))?)
            .body(Full::new(Bytes::new()))?;
        let mut response = self.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = self.read(response).await?;
            let refusal = UpgradeRefusal::read(answer.status, answer.retry_after, &answer.body);
            return Ok(Upgraded::Refused {
                refusal,
                reusable: answer.reusable,
            });
        }
        if !is_right(response.headers(), &key, subprotocol) {
            return Ok(Upgraded::Refused {
                refusal: UpgradeRefusal::Failed { status: 101 },
                reusable: false,
            });
        }
        let stream = TokioIo::new(hyper::upgrade::on(&mut response).await?);
        let config = Some(configuration(limit));
        let websocket = WebSocketStream::from_raw_socket(stream, Role::Client, config).await;
        Ok(Upgraded::Open(Box::new(websocket)))
    }
}

/// RFC 6455, section 4.1: what the client must check in a 101. No extension was offered, so none may be used.
fn is_right(headers: &HeaderMap, key: &str, subprotocol: &str) -> bool {
    let has = |name: HeaderName, word: &str| {
        let mut words = texts(headers, name).flat_map(|line| line.split(','));
        words.any(|other| other.trim().eq_ignore_ascii_case(word))
    };
    let only = |name: HeaderName, value: &str| texts(headers, name).map(str::trim).eq([value]);
    has(UPGRADE, "websocket")
        && has(CONNECTION, "upgrade")
        && only(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes()))
        && only(SEC_WEBSOCKET_PROTOCOL, subprotocol)
        && !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS)
}

fn configuration(limit: MessageLimit) -> WebSocketConfig {
    let bytes = Some(limit.bytes());
    WebSocketConfig::default()
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .read_buffer_size(16 << 10)
        .write_buffer_size(16 << 10)
        // What waits for a cloud that does not read; a message beyond is refused, not buffered.
        .max_write_buffer_size(2 * MAX_STREAM_MESSAGE)
}
