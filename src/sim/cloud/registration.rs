//! Steps 3-4: `POST /cloud/v1/registration`.

use hyper::body::Incoming;
use hyper::header;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::event::What;
use super::handshake;
use super::http::{self, BodyError, Reply};
use super::message::{AuthenticationAnswer, RegistrationAnswer, RegistrationRequest};
use super::shared::Conversation;

/// Where it is asked for.
pub(super) const PATH: &str = "/cloud/v1/registration";

/// Why a registration is not answered with 200.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("token unknown or expired")]
    Token,
    #[error("token of another device")]
    TokenOfAnother,
    #[error("no Host")]
    Host,
}

impl Refusal {
    fn reply(&self) -> Reply {
        match self {
            Self::Body(error) => error.reply(),
            Self::Token => unauthorized(),
            Self::TokenOfAnother => {
                let reason = "token-of-another-device";
                Reply::json(
                    StatusCode::FORBIDDEN,
                    &AuthenticationAnswer::Failure { reason },
                )
            }
            Self::Host => Reply::empty(StatusCode::BAD_REQUEST),
        }
    }
}

/// Answers a registration request.
pub(super) async fn answer(conversation: &Conversation, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let read = http::read_json::<RegistrationRequest>(body).await;
    let judged = read
        .map_err(Refusal::from)
        .and_then(|request| judge(conversation, &head, request));
    judged.unwrap_or_else(|refusal| {
        let reply = refusal.reply();
        conversation.note(What::RegistrationRefused {
            status: reply.status.as_u16(),
            why: refusal.to_string(),
        });
        reply
    })
}

fn judge(
    conversation: &Conversation,
    head: &Parts,
    request: RegistrationRequest,
) -> Result<Reply, Refusal> {
    let RegistrationRequest {
        serial_number: serial,
        services,
        last_down_reason,
    } = request;
    conversation.identify(&serial);
    let mut registry = conversation.shared.registry.lock();
    let token = http::bearer(&head.headers).unwrap_or_default();
    let owner = registry
        .token_owner(token, Instant::now())
        .ok_or(Refusal::Token)?;
    if owner != serial {
        return Err(Refusal::TokenOfAnother);
    }
    let authority = http::authority(conversation, &head.headers).ok_or(Refusal::Host)?;
    let session = registry.open_session(&serial);
    drop(registry);
    let url = format!(
        "wss://{authority}{}?session={session}",
        handshake::MAIN_PATH
    );
    let reply = Reply::json(
        StatusCode::OK,
        &RegistrationAnswer {
            url: &url,
            session: &session,
        },
    );
    conversation.note(What::Registered {
        session,
        services,
        last_down_reason,
    });
    Ok(reply)
}

/// 401 for a token that is not valid (RFC 6750 section 3).
pub(super) fn unauthorized() -> Reply {
    let challenge = "Bearer realm=\"cloud\", error=\"invalid_token\"";
    Reply::empty(StatusCode::UNAUTHORIZED).header(header::WWW_AUTHENTICATE, challenge)
}
