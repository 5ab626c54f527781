//! Authentication, registration and upgrade as requests on one kept-alive HTTP/1.1 connection.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::{NetError, Surroundings, bounded};
use crate::model::settings::Secret;
use crate::tunnel::machine::event::{AuthenticationOutcome, Endpoint};
use crate::tunnel::wire::{
    AUTHENTICATION_PATH, Authentication, AuthenticationAnswer, AuthenticationRequest, Credentials,
    DigestError, Host, MAX_BODY, Nonces, REGISTRATION_PATH, RegistrationAnswer,
    RegistrationRequest, WireError, retry_after,
};

/// Bytes of one answer's head, and of what is read ahead.
const MAX_HEAD: usize = 64 << 10;

const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");

/// A connection on which one request after the other is sent. Dropping it closes the connection, unless the upgrade
/// has taken it over.
#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
    host: Host,
    port: u16,
    clock: fn() -> SystemTime,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) reusable: bool,
    pub(super) retry_after: Option<std::time::Duration>,
}

impl Connection {
    /// Speaks HTTP/1.1 on a stream that [`tls`](super::tls) has opened.
    pub async fn open<S>(
        surroundings: &Surroundings,
        endpoint: &Endpoint,
        stream: S,
    ) -> Result<Self, NetError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await?;
        let task = tokio::spawn(async move {
            // Its error also reaches the request that waits for the answer.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self {
            sender,
            task,
            host: endpoint.host.clone(),
            port: endpoint.port,
            clock: surroundings.clock,
        })
    }

    /// Steps 1 and 2. Answers a challenge on the same connection; `true` when another request may follow on it.
    ///
    /// The nonce is taken out of `nonces` for the time of the call: a call that is dropped costs the next one a round
    /// trip, never a count used twice.
    pub async fn authenticate(
        &mut self,
        nonces: &Mutex<Nonces>,
        request: &AuthenticationRequest,
        password: Option<&Secret>,
    ) -> Result<(AuthenticationOutcome, bool), NetError> {
        let mut digest = password.map(|password| {
            lock(nonces).begin(Credentials {
                host: self.host.clone(),
                port: self.port,
                user: request.serial_number.clone(),
                password: password.clone(),
            })
        });
        let done = bounded(self.authenticate_with(digest.as_mut(), request)).await;
        if let Some(digest) = digest {
            lock(nonces).keep(digest);
        }
        done
    }

    async fn authenticate_with(
        &mut self,
        mut digest: Option<&mut Authentication>,
        request: &AuthenticationRequest,
    ) -> Result<(AuthenticationOutcome, bool), NetError> {
        let body = request.to_json();
        // Ends: a second challenge that is not an error cannot be followed by a third (`DigestError::StaleTwice`).
        loop {
            let authorization = match &mut digest {
                Some(digest) => digest.authorization(AUTHENTICATION_PATH, &cnonce())?,
                None => None,
            };
            let answer = self
                .post(AUTHENTICATION_PATH, authorization.as_deref(), &body)
                .await?;
            let read = AuthenticationAnswer::read(answer.status, answer.retry_after, &answer.body)?;
            let outcome = match (read, &mut digest) {
                (AuthenticationAnswer::Unauthorized, None) => {
                    AuthenticationOutcome::PasswordRefused
                }
                (AuthenticationAnswer::Unauthorized, Some(digest)) => {
                    match digest.challenged(texts(&answer.headers, WWW_AUTHENTICATE)) {
                        Ok(()) if answer.reusable => continue,
                        Ok(()) => AuthenticationOutcome::AskAgain,
                        Err(DigestError::Refused) => AuthenticationOutcome::PasswordRefused,
                        Err(error) => return Err(error.into()),
                    }
                }
                (AuthenticationAnswer::Success { token, .. }, Some(digest)) => {
                    match digest.confirmed(text(&answer.headers, AUTHENTICATION_INFO)) {
                        Ok(()) => AuthenticationOutcome::Granted { token },
                        Err(_) => AuthenticationOutcome::CloudNotAuthentic,
                    }
                }
                (read, digest) => {
                    if let Some(digest) = digest {
                        digest.refused(text(&answer.headers, AUTHENTICATION_INFO));
                    }
                    outcome(read)
                }
            };
            return Ok((outcome, answer.reusable));
        }
    }

    /// Steps 3 and 4; `true` when another request may follow on this connection.
    pub async fn register(
        &mut self,
        token: &Secret,
        request: &RegistrationRequest,
    ) -> Result<(RegistrationAnswer, bool), NetError> {
        bounded(async {
            let authorization = bearer(token);
            let answer = self
                .post(REGISTRATION_PATH, Some(&authorization), &request.to_json())
                .await?;
            let read = RegistrationAnswer::read(answer.status, answer.retry_after, &answer.body)?;
            Ok((read, answer.reusable))
        })
        .await
    }

    async fn post(
        &mut self,
        path: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Result<Answer, NetError> {
        let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, sensitive(authorization)?);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body)))?;
        let response = self.send(request).await?;
        self.read(response).await
    }

    /// Sends a request once the answer before is through; the head of its answer.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, NetError> {
        let host = host_header(&self.host, self.port);
        let host = HeaderValue::try_from(host).map_err(hyper::http::Error::from)?;
        request.headers_mut().insert(HOST, host);
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Reads an answer to its end, or to the limit of a body; beyond, nothing more is read from this cloud.
    pub(super) async fn read(&mut self, response: Response<Incoming>) -> Result<Answer, NetError> {
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                self.task.abort();
                return Err(body_error(error));
            }
        };
        let closes = texts(&head.headers, CONNECTION)
            .flat_map(|line| line.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case("close"));
        Ok(Answer {
            status: head.status.as_u16(),
            reusable: head.version == Version::HTTP_11 && !closes,
            retry_after: self.retry_after(&head.headers),
            headers: head.headers,
            body,
        })
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<std::time::Duration> {
        let sent = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        let now = sent.unwrap_or_else(self.clock);
        retry_after(text(headers, RETRY_AFTER)?, now)
    }
}

fn outcome(answer: AuthenticationAnswer) -> AuthenticationOutcome {
    match answer {
        AuthenticationAnswer::Success { token, .. } => AuthenticationOutcome::Granted { token },
        AuthenticationAnswer::Unauthorized => AuthenticationOutcome::PasswordRefused,
        AuthenticationAnswer::SerialNumberNotRegistered => {
            AuthenticationOutcome::SerialNumberNotRegistered
        }
        AuthenticationAnswer::BoundToAnotherUser => AuthenticationOutcome::BoundToAnotherUser,
        AuthenticationAnswer::CodeInvalid => AuthenticationOutcome::CodeInvalid,
        AuthenticationAnswer::AuthenticationFailed { .. } => AuthenticationOutcome::Refused,
        AuthenticationAnswer::Busy { retry_after } => AuthenticationOutcome::Busy { retry_after },
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> NetError {
    if error.is::<LengthLimitError>() {
        return NetError::Wire(WireError::TooLarge { limit: MAX_BODY });
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => NetError::Http(*error),
        Err(error) => NetError::Connect(std::io::Error::other(error)),
    }
}

/// A poisoned lock means that a call died between two lines that cannot panic; the nonces are whole all the same.
fn lock(nonces: &Mutex<Nonces>) -> std::sync::MutexGuard<'_, Nonces> {
    nonces
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The first line of a header, if it is text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// All lines of a header that are text.
pub(super) fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter();
    lines.filter_map(|line| line.to_str().ok())
}

pub(super) fn bearer(token: &Secret) -> String {
    format!("Bearer {}", token.reveal())
}

/// A header value that no log shows. A serial number may hold letters beyond ASCII, hence the bytes.
pub(super) fn sensitive(value: &str) -> Result<HeaderValue, NetError> {
    let value = HeaderValue::from_bytes(value.as_bytes());
    let mut value = value.map_err(hyper::http::Error::from)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Host` (RFC 9110, section 7.2), without the port that is the default.
fn host_header(host: &Host, port: u16) -> String {
    let host = match host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        other => other.to_string(),
    };
    match port {
        443 => host,
        port => format!("{host}:{port}"),
    }
}

/// 144 random bits (RFC 7616, section 3.4: the client's nonce guards against chosen plaintext).
fn cnonce() -> String {
    BASE64_STANDARD_NO_PAD.encode(rand::random::<[u8; 18]>())
}
