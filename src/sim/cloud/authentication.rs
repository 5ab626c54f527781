//! Steps 1-2: `POST /cloud/v1/authentication`.

use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::digest::{Covered, Verdict, authentication_info};
use super::event::{Authentication, What};
use super::http::{self, Reply};
use super::message::{AuthenticationAnswer, AuthenticationRequest};
use super::misbehave::Misbehaviour;
use super::registry::Admission;
use super::shared::Conversation;

/// Where it is asked for.
pub(super) const PATH: &str = "/cloud/v1/authentication";

/// RFC 7616 section 3.5; hyper has no constant for it.
const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");

/// Answers an authentication request.
pub(super) async fn answer(
    conversation: &Conversation,
    request: Request<Incoming>,
    misbehaviour: Option<&Misbehaviour>,
) -> Reply {
    let (head, body) = request.into_parts();
    let (outcome, reply) = match http::read_json::<AuthenticationRequest>(body).await {
        Err(error) => (Authentication::Malformed(error.to_string()), error.reply()),
        Ok(request) => {
            conversation.identify(&request.serial_number);
            judge(conversation, &head, &request, misbehaviour)
        }
    };
    conversation.note(What::Authentication(outcome));
    reply
}

fn judge(
    conversation: &Conversation,
    head: &hyper::http::request::Parts,
    request: &AuthenticationRequest,
    misbehaviour: Option<&Misbehaviour>,
) -> (Authentication, Reply) {
    let serial = request.serial_number.as_str();
    let Some(password) = conversation.shared.registry.lock().password(serial) else {
        // Before any challenge: an unknown serial number has no password to prove.
        return (
            Authentication::UnknownSerial,
            refusal("serial-number-not-registered"),
        );
    };
    let Some(password) = password else {
        return admit(conversation, request, None);
    };
    let Some(authorization) = head.headers.get(header::AUTHORIZATION) else {
        return (
            Authentication::Challenged,
            challenge(conversation, false, misbehaviour),
        );
    };
    let covered = Covered {
        method: head.method.as_str(),
        uri: head
            .uri
            .path_and_query()
            .map_or(PATH, hyper::http::uri::PathAndQuery::as_str),
        username: serial,
        password: &password,
    };
    let authorization = authorization.to_str().unwrap_or_default();
    let verdict = conversation
        .shared
        .digest
        .lock()
        .verify(authorization, &covered, Instant::now());
    match verdict {
        Verdict::Accepted { .. } if misbehaviour == Some(&Misbehaviour::AlwaysStale) => (
            Authentication::Stale,
            challenge(conversation, true, misbehaviour),
        ),
        Verdict::Accepted {
            rspauth,
            cnonce,
            nc,
        } => {
            let (outcome, reply) = admit(conversation, request, Some(nc));
            let info = info(conversation, &rspauth, &cnonce, nc, misbehaviour);
            (outcome, reply.header(AUTHENTICATION_INFO, &info))
        }
        Verdict::Stale => (
            Authentication::Stale,
            challenge(conversation, true, misbehaviour),
        ),
        Verdict::Replayed => (
            Authentication::Replayed,
            challenge(conversation, true, misbehaviour),
        ),
        Verdict::Refused => (
            Authentication::WrongPassword,
            challenge(conversation, false, misbehaviour),
        ),
    }
}

/// 401 with one challenge, or with those the misbehaviour wants.
fn challenge(
    conversation: &Conversation,
    stale: bool,
    misbehaviour: Option<&Misbehaviour>,
) -> Reply {
    let mut digest = conversation.shared.digest.lock();
    let mut digest = |algorithm| digest.challenge(algorithm, stale, Instant::now());
    let basic = || "Basic realm=\"cloud\", charset=\"UTF-8\"".to_owned();
    let challenges = match misbehaviour {
        Some(Misbehaviour::OnlyMd5) => vec![digest("MD5")],
        Some(Misbehaviour::OnlyBasic) => vec![basic()],
        Some(Misbehaviour::ManyChallenges) => vec![digest("MD5"), basic(), digest("SHA-256")],
        _ => vec![digest("SHA-256")],
    };
    let reply = Reply::empty(StatusCode::UNAUTHORIZED);
    challenges.iter().fold(reply, |reply, value| {
        reply.header(header::WWW_AUTHENTICATE, value)
    })
}

/// The proof that the cloud knows the password too.
fn info(
    conversation: &Conversation,
    rspauth: &str,
    cnonce: &str,
    nc: u32,
    misbehaviour: Option<&Misbehaviour>,
) -> String {
    let next = conversation
        .shared
        .config
        .next_nonce
        .then(|| conversation.shared.digest.lock().issue(Instant::now()));
    let wrong = "0".repeat(rspauth.len());
    let rspauth = match misbehaviour {
        Some(Misbehaviour::WrongRspauth) => Some(wrong.as_str()),
        Some(Misbehaviour::NoRspauth) => None,
        _ => Some(rspauth),
    };
    authentication_info(rspauth, cnonce, nc, next.as_deref())
}

/// Judges the binding once the credentials are right, or none are needed.
fn admit(
    conversation: &Conversation,
    request: &AuthenticationRequest,
    nonce_count: Option<u32>,
) -> (Authentication, Reply) {
    let shared = &conversation.shared;
    let serial = request.serial_number.as_str();
    let mut registry = shared.registry.lock();
    let outcome = match registry.admit(
        serial,
        &shared.config.user,
        request.unbinding_code.as_deref(),
    ) {
        Admission::Free => Authentication::Success { nonce_count },
        Admission::CodeAccepted => Authentication::CodeAccepted,
        Admission::Bound => {
            return (
                Authentication::BoundToAnotherUser,
                refusal("bound-to-another-user"),
            );
        }
        Admission::CodeInvalid => return (Authentication::CodeInvalid, refusal("code-invalid")),
    };
    let lifetime = shared.config.token_lifetime;
    let token = registry.issue_token(serial, lifetime, Instant::now());
    let answer = AuthenticationAnswer::Success {
        token: &token,
        expires_in: lifetime.as_secs(),
    };
    (outcome, Reply::json(StatusCode::OK, &answer))
}

fn refusal(reason: &str) -> Reply {
    Reply::json(
        StatusCode::FORBIDDEN,
        &AuthenticationAnswer::Failure { reason },
    )
}
