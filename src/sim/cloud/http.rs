//! Requests: from hyper to the handler of the step and back, with what is to go wrong in between.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::event::What;
use super::handshake::{self, UpgradeSlot};
use super::misbehave::{Misbehaviour, Step};
use super::shared::Conversation;
use super::{authentication, registration};

/// The largest body the protocol has.
pub(super) const BODY_LIMIT: usize = 64 * 1024;
/// Time for a request's body to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How long a request is left unanswered at most.
const SILENCE: Duration = Duration::from_secs(3600);
/// Bytes of one piece of a huge body.
const PIECE: usize = 64 * 1024;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer before it is dressed for the wire.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: String::new(),
        }
    }

    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        // The bodies are structs of strings and numbers, for which serde_json cannot fail.
        let body = serde_json::to_string(body).unwrap_or_default();
        Self::text(status, body)
    }

    fn text(status: StatusCode, body: String) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            status,
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, json)]),
            body,
        }
    }

    /// With one more header; a value that cannot stand in a header is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }
}

/// Why a request's body was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("body larger than 64 KiB")]
    TooLarge,
    #[error("body did not arrive")]
    Incomplete,
    #[error("body is not the JSON object asked for")]
    Json,
}

impl BodyError {
    pub(super) fn reply(&self) -> Reply {
        Reply::empty(match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::Json => StatusCode::BAD_REQUEST,
        })
    }
}

/// Reads a JSON body within size and time.
pub(super) async fn read_json<T: serde::de::DeserializeOwned>(
    body: Incoming,
) -> Result<T, BodyError> {
    let collected =
        tokio::time::timeout(BODY_DEADLINE, Limited::new(body, BODY_LIMIT).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(BodyError::TooLarge),
        _ => return Err(BodyError::Incomplete),
    };
    serde_json::from_slice(&bytes).map_err(|_| BodyError::Json)
}

/// The bearer token of a request (RFC 6750 section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// `host:port` for URLs handed to this request's sender.
pub(super) fn authority(conversation: &Conversation, headers: &HeaderMap) -> Option<String> {
    let advertised = conversation.shared.advertise.lock().clone();
    advertised.or_else(|| Some(headers.get(header::HOST)?.to_str().ok()?.to_owned()))
}

/// Answers one request.
pub(super) async fn serve(
    conversation: Arc<Conversation>,
    slot: UpgradeSlot,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    conversation.pace.drip(None);
    conversation.count_request();
    let path = request.uri().path().to_owned();
    conversation.note(What::Request {
        method: request.method().to_string(),
        path: path.clone(),
    });
    let misbehaviour = step_of(&path).and_then(|step| conversation.misbehaviour(step));
    if let Some(reply) = instead(&conversation, misbehaviour.as_ref()).await {
        return Ok(dress(&conversation, reply, misbehaviour));
    }
    let wrong = misbehaviour.as_ref();
    let reply = match (request.method(), path.as_str()) {
        (&Method::POST, authentication::PATH) => {
            authentication::answer(&conversation, request, wrong).await
        }
        (&Method::POST, registration::PATH) => registration::answer(&conversation, request).await,
        (&Method::GET, _) if path.starts_with("/cloud/v1/") => {
            handshake::answer(&conversation, &slot, request, wrong)
        }
        (_, authentication::PATH | registration::PATH) => {
            Reply::empty(StatusCode::METHOD_NOT_ALLOWED)
        }
        _ => Reply::empty(StatusCode::NOT_FOUND),
    };
    Ok(dress(&conversation, reply, misbehaviour))
}

fn step_of(path: &str) -> Option<Step> {
    match path {
        authentication::PATH => Some(Step::Authentication),
        registration::PATH => Some(Step::Registration),
        handshake::MAIN_PATH => Some(Step::Upgrade),
        _ if path.starts_with(handshake::SERVICE_PATH) => Some(Step::Subconnection),
        _ => None,
    }
}

/// Performs what comes before or instead of the right answer.
async fn instead(
    conversation: &Conversation,
    misbehaviour: Option<&Misbehaviour>,
) -> Option<Reply> {
    match misbehaviour? {
        Misbehaviour::Reset => conversation.control.reset(),
        Misbehaviour::Close => conversation.control.close(),
        Misbehaviour::Silent => {}
        Misbehaviour::Delay(delay) => {
            tokio::time::sleep(*delay).await;
            return None;
        }
        Misbehaviour::Busy {
            status,
            retry_after,
        } => {
            let reply = Reply::text(
                status_of(*status),
                "{\"result\":\"failure\",\"reason\":\"busy\"}".to_owned(),
            );
            return Some(match retry_after {
                Some(after) => reply.header(header::RETRY_AFTER, after),
                None => reply,
            });
        }
        Misbehaviour::Status(status) => {
            return Some(Reply::text(status_of(*status), "{}".to_owned()));
        }
        Misbehaviour::Answer(status, body) => {
            return Some(Reply::text(status_of(*status), body.clone()));
        }
        Misbehaviour::Redirect(location) => {
            return Some(
                Reply::empty(StatusCode::TEMPORARY_REDIRECT).header(header::LOCATION, location),
            );
        }
        _ => return None,
    }
    // Reset and Close drop this future together with the connection; Silent ends with the device's patience.
    tokio::time::sleep(SILENCE).await;
    Some(Reply::empty(StatusCode::SERVICE_UNAVAILABLE))
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status)
        .ok()
        .filter(|s| !s.is_informational())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Puts the reply into the form it takes on the wire.
fn dress(
    conversation: &Conversation,
    reply: Reply,
    misbehaviour: Option<Misbehaviour>,
) -> Response<Body> {
    let Reply {
        mut status,
        mut headers,
        body,
    } = reply;
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    if switching && takes_the_place(misbehaviour.as_ref()) {
        // A 101 has no body: such an answer is an ordinary one.
        status = StatusCode::OK;
        headers.clear();
    }
    let body = match misbehaviour {
        Some(Misbehaviour::BadJson) => whole("{\"result\":\"succ".to_owned()),
        Some(Misbehaviour::Body(other)) => whole(other),
        Some(Misbehaviour::Huge(bytes)) => huge(bytes),
        Some(Misbehaviour::Chunked) if !switching => chunked(body),
        Some(Misbehaviour::ConnectionClose) if !switching => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            whole(body)
        }
        Some(Misbehaviour::EarlyHints) => {
            conversation
                .pace
                .inject(b"HTTP/1.1 103 Early Hints\r\nLink: </hint>; rel=preload\r\n\r\n");
            whole(body)
        }
        Some(Misbehaviour::Drip(interval)) => {
            conversation.pace.drip(Some(interval));
            whole(body)
        }
        _ => whole(body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Whether this is a body of its own, whatever the right answer is.
fn takes_the_place(misbehaviour: Option<&Misbehaviour>) -> bool {
    use Misbehaviour::{BadJson, Body, Huge};
    matches!(misbehaviour, Some(BadJson | Body(_) | Huge(_)))
}

fn whole(body: String) -> Body {
    Full::new(Bytes::from(body)).boxed_unsync()
}

/// Without a length, so that hyper sends it in chunks: two bytes each.
fn chunked(body: String) -> Body {
    let body = Bytes::from(body);
    let pieces = (0..body.len())
        .step_by(2)
        .map(move |at| body.slice(at..body.len().min(at + 2)));
    StreamBody::new(futures_util::stream::iter(
        pieces.map(|piece| Ok(Frame::data(piece))),
    ))
    .boxed_unsync()
}

/// So many spaces, made as they are sent.
fn huge(bytes: u64) -> Body {
    let piece = Bytes::from(vec![b' '; PIECE]);
    let count = bytes.div_ceil(PIECE as u64);
    let pieces = (0..count).map(move |_| Ok(Frame::data(piece.clone())));
    StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync()
}
