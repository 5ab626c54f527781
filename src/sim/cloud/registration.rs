//! Steps 3-4: `POST /cloud/v1/registration`.

use hyper::body::Incoming;
use hyper::header;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::event::What;
use super::handshake;
use super::http::{self, Reply};
use super::message::{AuthenticationAnswer, RegistrationAnswer, RegistrationRequest};
use super::shared::Conversation;

/// Where it is asked for.
pub(super) const PATH: &str = "/cloud/v1/registration";

/// Answers a registration request.
pub(super) async fn answer(conversation: &Conversation, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let judged = match http::read_json::<RegistrationRequest>(body).await {
        Err(error) => Err((error.reply(), error.to_string())),
        Ok(request) => judge(conversation, &head, request),
    };
    judged.unwrap_or_else(|(reply, why)| {
        conversation.note(What::RegistrationRefused {
            status: reply.status.as_u16(),
            why,
        });
        reply
    })
}

fn judge(
    conversation: &Conversation,
    head: &Parts,
    request: RegistrationRequest,
) -> Result<Reply, (Reply, String)> {
    let serial = request.serial_number;
    conversation.identify(&serial);
    let mut registry = conversation.shared.registry.lock();
    let token = http::bearer(&head.headers).unwrap_or_default();
    match registry.token_owner(token, Instant::now()) {
        None => return Err((unauthorized(), "token unknown or expired".to_owned())),
        Some(owner) if owner != serial => {
            let answer = AuthenticationAnswer::Failure {
                reason: "token-of-another-device",
            };
            return Err((
                Reply::json(StatusCode::FORBIDDEN, &answer),
                "token of another device".to_owned(),
            ));
        }
        Some(_) => {}
    }
    let Some(authority) = http::authority(conversation, &head.headers) else {
        return Err((Reply::empty(StatusCode::BAD_REQUEST), "no Host".to_owned()));
    };
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
    let RegistrationRequest {
        services,
        last_down_reason,
        ..
    } = request;
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
