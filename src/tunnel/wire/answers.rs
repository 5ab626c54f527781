//! What an HTTP answer of the cloud means: one table for each of the three steps.

use std::time::Duration;

use super::json::Object;
use super::{CloudUrl, MAX_BODY, WireError};
use crate::model::settings::Secret;

/// Answer to the authentication (step 2), as far as status and body tell it; the digest is checked apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationAnswer {
    /// 200: go on with this bearer token.
    Success {
        /// Bearer token for registration, upgrade and subconnections.
        token: Secret,
        /// How long the cloud takes it for a registration.
        expires_in: Duration,
    },
    /// 401: a challenge, or a refusal of the credentials.
    Unauthorized,
    /// 403 `serial-number-not-registered`.
    SerialNumberNotRegistered,
    /// 403 `bound-to-another-user`.
    BoundToAnotherUser,
    /// 403 `code-invalid`, the answer to a request with an unbinding code.
    CodeInvalid,
    /// 403 with any other reason.
    AuthenticationFailed {
        /// The cloud's word, for the log.
        reason: String,
    },
    /// 429 or 503: not earlier than this, if it said so.
    Busy {
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl AuthenticationAnswer {
    /// Reads status and body. Anything that the table of the page does not have is [`WireError::Status`].
    pub fn read(
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Result<Self, WireError> {
        match status {
            200 => {
                let body = Object::parse(body, MAX_BODY)?;
                if body.text("result")? != "success" {
                    return Err(WireError::IllTyped("result"));
                }
                Ok(Self::Success {
                    token: token(body.text("token")?)?,
                    expires_in: Duration::from_secs(body.number("expires-in")?),
                })
            }
            401 => Ok(Self::Unauthorized),
            403 => Self::forbidden(refusal(body)?),
            429 | 503 => Ok(Self::Busy { retry_after }),
            other => Err(WireError::Status(other)),
        }
    }

    fn forbidden(reason: String) -> Result<Self, WireError> {
        Ok(match reason.as_str() {
            "serial-number-not-registered" => Self::SerialNumberNotRegistered,
            "bound-to-another-user" => Self::BoundToAnotherUser,
            "code-invalid" => Self::CodeInvalid,
            _ => Self::AuthenticationFailed { reason },
        })
    }
}

/// Answer to the registration (step 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationAnswer {
    /// 200: where the main connection is to be opened.
    Success {
        /// The URL of the WebSocket.
        url: CloudUrl,
        /// The cloud's name of the session.
        session: String,
    },
    /// 401: the token has expired; authenticate again, once.
    TokenExpired,
    /// 429 or 503: not earlier than this, if it said so.
    Busy {
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Any other 4xx or 5xx: `registration-failed`.
    Failed {
        /// HTTP status, for the log.
        status: u16,
    },
}

impl RegistrationAnswer {
    /// Reads status and body. A redirect or another 2xx is [`WireError::Status`].
    pub fn read(
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Result<Self, WireError> {
        match status {
            200 => {
                let body = Object::parse(body, MAX_BODY)?;
                Ok(Self::Success {
                    url: body.text("url")?.parse()?,
                    session: body.text("session")?.to_owned(),
                })
            }
            401 => Ok(Self::TokenExpired),
            429 | 503 => Ok(Self::Busy { retry_after }),
            400..=599 => Ok(Self::Failed { status }),
            other => Err(WireError::Status(other)),
        }
    }
}

/// Why the cloud did not answer an upgrade with 101 (step 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeRefusal {
    /// 401: the token is no longer taken; step 1 again, once.
    TokenExpired,
    /// 429, 503, or 403 with the reason `busy`.
    Busy {
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Anything else: `handshake-failed`.
    Failed {
        /// HTTP status, for the log.
        status: u16,
    },
}

impl UpgradeRefusal {
    /// Reads an answer that is not 101.
    pub fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        match status {
            401 => Self::TokenExpired,
            429 | 503 => Self::Busy { retry_after },
            403 if refusal(body).is_ok_and(|reason| reason == "busy") => Self::Busy { retry_after },
            _ => Self::Failed { status },
        }
    }
}

/// The reason of `{"result":"failure","reason":"…"}`.
fn refusal(body: &[u8]) -> Result<String, WireError> {
    let body = Object::parse(body, MAX_BODY)?;
    if body.text("result")? != "failure" {
        return Err(WireError::IllTyped("result"));
    }
    Ok(body.text("reason")?.to_owned())
}

/// A token goes into a header line, so it must be a `b64token` (RFC 6750, section 2.1): this also keeps a cloud
/// from smuggling line breaks into the requests of the device.
fn token(text: &str) -> Result<Secret, WireError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if text.is_empty() || !text.bytes().all(allowed) {
        return Err(WireError::IllTyped("token"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<AuthenticationAnswer, WireError> {
        AuthenticationAnswer::read(status, None, body.as_bytes())
    }

    #[test]
    fn success_brings_the_token() {
        let body = r#"{"result":"success","token":"abc","expires-in":3600,"new":[{}]}"#;
        assert_eq!(
            read(200, body),
            Ok(AuthenticationAnswer::Success {
                token: Secret::new("abc"),
                expires_in: Duration::from_secs(3600),
            })
        );
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let refused = |reason: &str| {
            read(
                403,
                &format!(r#"{{"result":"failure","reason":"{reason}"}}"#),
            )
            .unwrap()
        };
        assert_eq!(
            refused("serial-number-not-registered"),
            AuthenticationAnswer::SerialNumberNotRegistered
        );
        assert_eq!(
            refused("bound-to-another-user"),
            AuthenticationAnswer::BoundToAnotherUser
        );
        assert_eq!(refused("code-invalid"), AuthenticationAnswer::CodeInvalid);
        assert_eq!(
            refused("moon"),
            AuthenticationAnswer::AuthenticationFailed {
                reason: "moon".into()
            }
        );
    }

    #[test]
    fn missing_and_ill_typed_members_break_the_protocol() {
        let cases = [
            (
                r#"{"result":"success","expires-in":1}"#,
                WireError::Missing("token"),
            ),
            (
                r#"{"result":"success","token":7,"expires-in":1}"#,
                WireError::IllTyped("token"),
            ),
            (
                r#"{"result":"success","token":"a b","expires-in":1}"#,
                WireError::IllTyped("token"),
            ),
            (
                r#"{"result":"success","token":"a","expires-in":-1}"#,
                WireError::IllTyped("expires-in"),
            ),
            (
                r#"{"result":"failure","token":"a","expires-in":1}"#,
                WireError::IllTyped("result"),
            ),
            ("[1]", WireError::NotAnObject),
            ("", WireError::NotAnObject),
        ];
        for (body, expected) in cases {
            assert_eq!(read(200, body), Err(expected), "{body}");
        }
    }

    #[test]
    fn a_redirect_is_never_followed() {
        for status in [301, 302, 307, 308] {
            assert_eq!(read(status, "{}"), Err(WireError::Status(status)));
            assert_eq!(
                RegistrationAnswer::read(status, None, b"{}"),
                Err(WireError::Status(status))
            );
        }
    }

    #[test]
    fn busy_carries_the_wait() {
        let wait = Some(Duration::from_secs(30));
        for status in [429, 503] {
            assert_eq!(
                AuthenticationAnswer::read(status, wait, b""),
                Ok(AuthenticationAnswer::Busy { retry_after: wait })
            );
            assert_eq!(
                RegistrationAnswer::read(status, wait, b""),
                Ok(RegistrationAnswer::Busy { retry_after: wait })
            );
            assert_eq!(
                UpgradeRefusal::read(status, wait, b""),
                UpgradeRefusal::Busy { retry_after: wait }
            );
        }
    }

    #[test]
    fn other_statuses_mean_what_their_step_says() {
        assert_eq!(read(404, ""), Err(WireError::Status(404)));
        assert_eq!(read(500, ""), Err(WireError::Status(500)));
        assert_eq!(
            RegistrationAnswer::read(404, None, b""),
            Ok(RegistrationAnswer::Failed { status: 404 })
        );
        assert_eq!(
            RegistrationAnswer::read(401, None, b""),
            Ok(RegistrationAnswer::TokenExpired)
        );
        assert_eq!(
            UpgradeRefusal::read(403, None, br#"{"result":"failure","reason":"busy"}"#),
            UpgradeRefusal::Busy { retry_after: None }
        );
        assert_eq!(
            UpgradeRefusal::read(403, None, b"no"),
            UpgradeRefusal::Failed { status: 403 }
        );
        assert_eq!(
            UpgradeRefusal::read(200, None, b""),
            UpgradeRefusal::Failed { status: 200 }
        );
    }

    #[test]
    fn a_registration_must_name_a_url_that_is_dialled() {
        let read = |body: &str| RegistrationAnswer::read(200, None, body.as_bytes());
        assert!(matches!(
            read(r#"{"url":"wss://c.example/x?session=1","session":"1"}"#),
            Ok(RegistrationAnswer::Success { .. })
        ));
        assert!(matches!(
            read(r#"{"url":"ws://c.example/x","session":"1"}"#),
            Err(WireError::Url(_))
        ));
        assert_eq!(
            read(r#"{"url":"wss://c.example/x"}"#),
            Err(WireError::Missing("session"))
        );
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let body = vec![b' '; MAX_BODY + 1];
        assert_eq!(
            AuthenticationAnswer::read(200, None, &body),
            Err(WireError::TooLarge { limit: MAX_BODY })
        );
    }
}
