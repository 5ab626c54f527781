//! The JSON bodies and messages of the cloud protocol, as the cloud reads and writes them.

use serde::{Deserialize, Serialize};

/// `POST /cloud/v1/authentication`, steps 1-2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AuthenticationRequest {
    pub serial_number: String,
    /// Required by the protocol, of no use to this cloud beyond its presence.
    #[serde(rename = "model")]
    _model: String,
    #[serde(rename = "software")]
    _software: String,
    pub unbinding_code: Option<String>,
}

/// The body of 200 and 403 in steps 1-2, and of 403 `busy` in steps 5-6.
#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(super) enum AuthenticationAnswer<'a> {
    #[serde(rename_all = "kebab-case")]
    Success {
        token: &'a str,
        expires_in: u64,
    },
    Failure {
        reason: &'a str,
    },
}

/// `POST /cloud/v1/registration`, steps 3-4.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RegistrationRequest {
    pub serial_number: String,
    pub services: Vec<String>,
    pub last_down_reason: Option<String>,
}

/// The body of 200 in steps 3-4.
#[derive(Debug, Serialize)]
pub(super) struct RegistrationAnswer<'a> {
    pub url: &'a str,
    pub session: &'a str,
}

/// What the device says on the main connection.
#[derive(Debug)]
pub(super) enum DeviceMessage {
    SubconnectionsRequest {
        services: Option<Vec<String>>,
    },
    Keepalive {
        sequence: u64,
    },
    Unbind {
        id: u64,
        code: String,
    },
    /// A type this page does not have: ignored and counted.
    Unknown(String),
}

/// A message that is not what the protocol asks for; closes with 1002.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("not a JSON object with a type")]
    NotTyped,
    #[error("ill-formed {kind}")]
    IllFormed { kind: &'static str },
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct SubconnectionsRequest {
    services: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Keepalive {
    sequence: u64,
}

#[derive(Deserialize)]
struct Unbind {
    id: u64,
    code: String,
}

impl DeviceMessage {
    /// Reads one text frame of the main connection.
    ///
    /// # Errors
    /// Not a JSON object with a string member `type`, or a known type whose members are missing or ill-typed.
    pub(super) fn parse(text: &str) -> Result<Self, MessageError> {
        let Typed { kind } = serde_json::from_str(text).map_err(|_| MessageError::NotTyped)?;
        match kind.as_str() {
            "subconnections-request" => {
                let SubconnectionsRequest { services } = body(text, "subconnections-request")?;
                Ok(Self::SubconnectionsRequest { services })
            }
            "keepalive" => {
                let Keepalive { sequence } = body(text, "keepalive")?;
                Ok(Self::Keepalive { sequence })
            }
            "unbind" => {
                let Unbind { id, code } = body(text, "unbind")?;
                Ok(Self::Unbind { id, code })
            }
            _ => Ok(Self::Unknown(kind)),
        }
    }
}

fn body<'a, T: Deserialize<'a>>(text: &'a str, kind: &'static str) -> Result<T, MessageError> {
    serde_json::from_str(text).map_err(|_| MessageError::IllFormed { kind })
}

/// What the cloud says on the main connection.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum CloudMessage {
    Subconnections {
        services: Vec<ListedService>,
    },
    KeepaliveReply {
        sequence: u64,
    },
    UnbindResult(UnbindResult),
    #[serde(rename_all = "kebab-case")]
    Disconnect {
        reason: String,
        retry_after: u64,
    },
}

/// One entry of the subconnection list.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ListedService {
    pub service: String,
    pub url: String,
}

/// The answer to `unbind`.
#[derive(Debug, Serialize)]
pub(super) struct UnbindResult {
    id: u64,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl UnbindResult {
    pub(super) fn new(id: u64, accepted: bool) -> Self {
        if accepted {
            Self {
                id,
                result: "success",
                reason: None,
            }
        } else {
            Self {
                id,
                result: "failure",
                reason: Some("code-invalid"),
            }
        }
    }
}

/// One notification from the telemetry subconnection.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// `eventTime`, RFC 3339.
    pub event_time: String,
    /// The other member's name, for example `ietf-yang-push:push-update`.
    pub name: String,
    /// The other member's value.
    pub content: serde_json::Value,
}

/// Why a telemetry frame is not an RFC 8040 section 6.4 notification.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotificationError {
    #[error("not JSON")]
    NotJson,
    #[error("not an ietf-restconf:notification alone")]
    NotANotification,
    #[error("eventTime is missing or no date-and-time")]
    EventTime,
    #[error("not exactly one member beside eventTime")]
    Content,
}

impl Notification {
    /// Reads one text frame of the telemetry subconnection.
    pub(super) fn parse(text: &str) -> Result<Self, NotificationError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|_| NotificationError::NotJson)?;
        let serde_json::Value::Object(mut outer) = value else {
            return Err(NotificationError::NotANotification);
        };
        let inner = outer.remove("ietf-restconf:notification");
        let (Some(serde_json::Value::Object(mut members)), true) = (inner, outer.is_empty()) else {
            return Err(NotificationError::NotANotification);
        };
        let Some(serde_json::Value::String(event_time)) = members.remove("eventTime") else {
            return Err(NotificationError::EventTime);
        };
        chrono::DateTime::parse_from_rfc3339(&event_time)
            .map_err(|_| NotificationError::EventTime)?;
        let mut rest = members.into_iter();
        match (rest.next(), rest.next()) {
            (Some((name, content)), None) => Ok(Self {
                event_time,
                name,
                content,
            }),
            _ => Err(NotificationError::Content),
        }
    }
}
