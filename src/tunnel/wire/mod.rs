//! What crosses the wire to the cloud (`cloud-connection.v1`), as types.
//!
//! Nothing here waits or looks at a clock: bytes, headers and `now` come in as arguments, types come out. Of what
//! a cloud says, an unknown member or message is ignored and a missing or ill-typed member is a [`WireError`].

mod answers;
mod bodies;
mod digest;
mod frames;
mod json;
mod quoted;
mod retry_after;
mod url;

pub use answers::{AuthenticationAnswer, RegistrationAnswer, UpgradeRefusal};
pub use bodies::{AuthenticationRequest, RegistrationRequest};
pub use digest::{Authentication, Challenge, Credentials, DigestError, NONCES_KEPT, Nonces};
pub use frames::{CloudMessage, DeviceMessage, Listed, UnbindAnswer};
pub use retry_after::{MAX_RETRY_AFTER, retry_after};
pub use url::{CloudUrl, Host, UrlError};

/// Bytes of one HTTP body, in either direction.
pub const MAX_BODY: usize = 64 << 10;
/// Bytes of one message on the main connection.
pub const MAX_MAIN_MESSAGE: usize = 256 << 10;
/// Bytes of one message on the subconnection of `telemetry`.
pub const MAX_TELEMETRY_MESSAGE: usize = 64 << 10;
/// Bytes of one message on a subconnection that carries a byte stream (`netconf`, external services).
pub const MAX_STREAM_MESSAGE: usize = 1 << 20;

/// Request target of the authentication (steps 1 and 2).
pub const AUTHENTICATION_PATH: &str = "/cloud/v1/authentication";
/// Request target of the registration (steps 3 and 4).
pub const REGISTRATION_PATH: &str = "/cloud/v1/registration";
/// WebSocket subprotocol of the main connection.
pub const MAIN_SUBPROTOCOL: &str = "cloud-connection.v1";

/// WebSocket subprotocol of a service's own connection.
pub fn service_subprotocol(service: &str) -> String {
    format!("cloud-service.{service}.v1")
}

/// A cloud broke the protocol: failure reason `protocol`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The text is not one JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member that the page requires is absent.
    #[error("member {0} is missing")]
    Missing(&'static str),
    /// A member has another type or range than the page gives it.
    #[error("member {0} is ill-typed")]
    IllTyped(&'static str),
    /// A body or message is longer than the page allows.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A URL that the device does not dial.
    #[error("URL refused: {0}")]
    Url(#[from] UrlError),
    /// A list that names one service twice.
    #[error("service {0} is listed twice")]
    ListedTwice(String),
    /// An HTTP status that the step does not know.
    #[error("unexpected HTTP status {0}")]
    Status(u16),
}
