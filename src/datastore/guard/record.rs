//! The last rollback of the guard as it is stored: who missed the notification reads in the state why the device is back.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Rollback;
use crate::model::status::{FailureReason, ServerStatus};

/// Where the store keeps the last rollback.
pub const LAST_KEY: &str = "commit-guard-last";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Stored {
    at: SystemTime,
    commit: Option<u64>,
    taken_back: Vec<u64>,
    server: Option<Server>,
    failure: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Server {
    address: Option<IpAddr>,
    domain: String,
    port: u16,
}

impl Rollback {
    /// Writes it; empty if that is impossible, which reads as none.
    pub fn to_bytes(&self) -> Vec<u8> {
        let server = self.server.as_ref().map(|server| Server {
            address: server.address,
            domain: server.domain.clone(),
            port: server.port,
        });
        let stored = Stored {
            at: self.at,
            commit: self.commit,
            taken_back: self.taken_back.clone(),
            server,
            failure: self.failure.map(|failure| failure.as_yang().to_owned()),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads it; nonsense counts as never stored.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let server = stored.server.map(|server| ServerStatus {
            address: server.address,
            domain: server.domain,
            port: server.port,
        });
        let failure = stored.failure.as_deref();
        Some(Self {
            at: stored.at,
            commit: stored.commit,
            taken_back: stored.taken_back,
            server,
            failure: failure.and_then(FailureReason::from_yang),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_nonsense_is_none() {
        let rollback = Rollback {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_548_598_720),
            commit: Some(7),
            taken_back: vec![5, 6],
            server: Some(ServerStatus {
                address: Some([10, 1, 1, 1].into()),
                domain: "cloud.com".into(),
                port: 443,
            }),
            failure: Some(FailureReason::PasswordRefused),
        };
        assert_eq!(Rollback::from_bytes(&rollback.to_bytes()), Some(rollback));
        for nonsense in [&b""[..], b"{}", b"7"] {
            assert_eq!(Rollback::from_bytes(nonsense), None);
        }
    }
}
