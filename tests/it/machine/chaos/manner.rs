//! How clouds and network behave, and what servers there are.

use std::time::Duration;

use tether::tunnel::machine::Reply;
use tether::tunnel::machine::event::{AuthenticationOutcome, Endpoint, StepError};
use tether::tunnel::wire::{CloudMessage, RegistrationAnswer, UpgradeRefusal};

const ELSEWHERE: &str = "front.example";

/// How a part of the world behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Right,
    /// No answer at all.
    Silent,
    /// The connection ends instead of an answer.
    Lost,
    /// The step fails.
    Failed(StepError),
    /// 503, with or without `Retry-After` in seconds.
    Busy(Option<u64>),
    /// A refusal that a person has to lift.
    Refused,
    /// 401 at registration and upgrade, a challenge with `Connection: close` at authentication.
    Again,
}

/// Where a manner shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Dns,
    Path,
    Tls,
    Authentication,
    Registration,
    Upgrade,
    List,
    Keepalive,
    Unbind,
    Service(usize),
}

/// Which servers something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The primary, whatever its name.
    Primary,
    /// All.
    All,
}

/// Backup servers are those whose name says so.
pub fn is_backup(server: &Endpoint) -> bool {
    server.host.to_string().starts_with("backup")
}

/// How long a server asks to be left alone.
pub fn retry_after(reply: &Reply) -> Option<Duration> {
    match reply {
        Reply::Authentication {
            outcome: AuthenticationOutcome::Busy { retry_after },
            ..
        }
        | Reply::Registration {
            answer: RegistrationAnswer::Busy { retry_after },
            ..
        }
        | Reply::UpgradeRefused {
            refusal: UpgradeRefusal::Busy { retry_after },
            ..
        } => *retry_after,
        Reply::Message(CloudMessage::Disconnect { retry_after, .. }) => Some(*retry_after),
        _ => None,
    }
}

/// The answer to a registration.
pub fn register(manner: Manner, server: &Endpoint) -> Reply {
    let answer = match manner {
        Manner::Busy(after) => RegistrationAnswer::Busy {
            retry_after: after.map(Duration::from_secs),
        },
        Manner::Refused => RegistrationAnswer::Failed { status: 400 },
        Manner::Again => RegistrationAnswer::TokenExpired,
        _ => RegistrationAnswer::Success {
            url: format!("wss://{}/connection", front(server))
                .parse()
                .unwrap(),
            session: "session".into(),
        },
    };
    Reply::Registration {
        answer,
        reusable: true,
    }
}

/// Where a server sends those who registered: to itself, or to a place of which the target knows nothing.
fn front(server: &Endpoint) -> String {
    match server.host.to_string().as_str() {
        own @ ("cloud.com" | "backup-1.com" | "backup-2.com") => own.to_owned(),
        _ => ELSEWHERE.to_owned(),
    }
}

/// Whether it is such a place.
pub fn is_elsewhere(server: &Endpoint) -> bool {
    server.host.to_string() == ELSEWHERE
}
