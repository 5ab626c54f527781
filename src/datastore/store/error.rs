//! Why something could not be stored, and what a manager is told.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::error::{ErrorTag, RpcError};

/// Why the store refuses.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk, or the quota on it, is full (ENOSPC, EDQUOT).
    #[error("no space left on device")]
    Full,
    /// The file system is read-only (EROFS).
    #[error("the file system is read-only")]
    ReadOnly,
    /// Any other failure of reading, writing or syncing.
    #[error("{0}")]
    Io(io::Error),
    /// A file of the state directory cannot be made, opened or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The state directory cannot be made, or nothing in it.
    #[error("the state directory {} (--state-dir) cannot be used: {source}", directory.display())]
    Unusable {
        /// The state directory.
        directory: PathBuf,
        /// Why.
        source: Box<StoreError>,
    },
    /// Another agent holds the state directory.
    #[error("the state directory {} is in use by another agent{}", directory.display(), process(*holder))]
    InUse {
        /// The state directory.
        directory: PathBuf,
        /// The holder's process id, if it wrote one.
        holder: Option<u32>,
    },
    /// The store was written by a version of the agent with another format.
    #[error(
        "what is stored has format {found}, and this version of tether reads {expected}: {}",
        advice(found, expected)
    )]
    Format {
        /// What the store says.
        found: String,
        /// What this agent writes.
        expected: &'static str,
    },
    /// What was read is not what was ever written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// A commit or snapshot whose number does not follow the last one.
    #[error("number {given} where {expected} was due")]
    OutOfOrder {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        given: u64,
    },
    /// A secret file that others may read.
    #[error("{} is open to other users: chmod 600 it, and replace what it held if they may have read it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
}

/// What is to be done about another format: a number that is greater is of a later version.
fn advice(found: &str, expected: &str) -> &'static str {
    let number = |format: &str| format.parse::<u64>().ok();
    match (number(found), number(expected)) {
        (Some(found), Some(expected)) if found > expected => {
            "a later one has stored it; install that one again, or start with another --state-dir"
        }
        _ => {
            "start the version that has stored it, save its configuration and load it here with --factory-default and another --state-dir"
        }
    }
}

fn process(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl StoreError {
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| match Self::from(source) {
            Self::Io(source) => Self::File { path, source },
            told => told,
        }
    }

    pub(super) fn unusable(directory: &Path) -> impl FnOnce(Self) -> Self {
        |source| Self::Unusable {
            directory: directory.to_owned(),
            source: Box::new(source),
        }
    }

    /// What the manager whose commit is refused reads (RFC 6241, appendix A): `resource-denied` for want of
    /// space, which is a resource that may be there again, else `operation-failed`.
    pub fn to_rpc_error(&self) -> RpcError {
        let tag = match self {
            Self::Full => ErrorTag::ResourceDenied,
            _ => ErrorTag::OperationFailed,
        };
        RpcError::application(
            tag,
            format!("the configuration could not be stored: {self}"),
        )
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io(error),
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Corrupt(error.to_string())
            }
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(what) => Self::Corrupt(what),
            other => Self::Io(io::Error::other(other)),
        }
    }
}
