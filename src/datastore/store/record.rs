//! What a commit leaves behind.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

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
    /// What made it, such as `netconf`, `cli`, `commit-guard`.
    pub source: String,
    /// The user's remark.
    pub comment: Option<String>,
    /// The difference to the configuration before, in whatever form the caller reads again.
    #[serde(skip)]
    pub diff: Vec<u8>,
}

/// Everything a start needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The last snapshot of running; none when there was never one.
    pub snapshot: Option<Vec<u8>>,
    /// The differences since the snapshot, oldest first.
    pub diffs: Vec<Vec<u8>>,
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
