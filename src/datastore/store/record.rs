//! What a commit leaves behind.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::datastore::Author;
use crate::model::tree::Diff;

/// One commit: who changed what, when (`/device-management/commit`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Its number; each follows the one before it, the first is 1.
    pub id: u64,
    /// When it was made, by the device's clock.
    pub at: SystemTime,
    /// Who made it; empty for what the agent does by itself.
    pub user: String,
    /// The NETCONF session it came from; none for what the agent does by itself.
    pub session: Option<u32>,
    /// What brought it about, see [`Author::source`].
    pub source: String,
    /// The commit that this one goes back to, if it was made for that.
    #[serde(default)]
    pub rolled_back_to: Option<u64>,
    /// How the author came in, see [`Author::transport`].
    #[serde(default)]
    pub transport: Option<String>,
    /// The address that he came from.
    #[serde(default)]
    pub host: Option<IpAddr>,
    /// The user's remark.
    pub comment: Option<String>,
    /// The difference to the configuration before, in whatever form the caller reads again.
    #[serde(skip)]
    pub diff: Vec<u8>,
}

impl CommitRecord {
    /// Of a commit that an author makes now.
    pub fn new(id: u64, by: &Author, diff: &Diff) -> Self {
        Self {
            id,
            at: by.at,
            user: by.user.clone(),
            session: Some(by.session).filter(|session| *session != 0),
            source: by.source.to_owned(),
            rolled_back_to: by.back_to,
            transport: by.transport.map(str::to_owned),
            host: by.host,
            comment: by.comment.clone(),
            diff: diff.to_text().into_bytes(),
        }
    }

    /// All of it but the difference.
    pub(in crate::datastore) fn without_diff(&self) -> Self {
        Self {
            id: self.id,
            at: self.at,
            user: self.user.clone(),
            session: self.session,
            source: self.source.clone(),
            rolled_back_to: self.rolled_back_to,
            transport: self.transport.clone(),
            host: self.host,
            comment: self.comment.clone(),
            diff: Vec::new(),
        }
    }
}

/// Everything a start needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The last snapshot of running; none when there was never one.
    pub snapshot: Option<Vec<u8>>,
    /// The differences since the snapshot, oldest first.
    pub diffs: Vec<Vec<u8>>,
    /// The last commits, oldest first.
    pub history: Vec<CommitRecord>,
    /// The number the next commit must bear.
    pub next_commit: u64,
    /// Whatever was put beside the configuration, by key.
    pub meta: BTreeMap<String, Vec<u8>>,
}

impl Loaded {
    /// Whether nothing was ever stored: the first start.
    pub fn is_first_start(&self) -> bool {
        self.snapshot.is_none() && self.diffs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_is_read_without_what_that_one_did_not_know() {
        let stored = r#"{"id":7,"at":{"secs_since_epoch":1,"nanos_since_epoch":0},"user":"admin","session":3,
            "source":"netconf","comment":null}"#;
        let record: CommitRecord = serde_json::from_str(stored).unwrap();
        assert_eq!((record.id, record.session), (7, Some(3)));
        assert_eq!((record.transport, record.host), (None, None));
        assert_eq!(record.rolled_back_to, None);
    }
}
