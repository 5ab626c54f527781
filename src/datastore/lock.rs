//! Locks of whole datastores (RFC 6241, section 7.5).

use std::time::SystemTime;

use super::{SessionId, Target};
use crate::model::error::{ErrorTag, RpcError};

/// Who holds one datastore's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    held: Option<(SessionId, SystemTime)>,
}

/// The locks of all datastores.
#[derive(Clone, Copy, Debug, Default)]
pub struct Locks {
    running: Lock,
    candidate: Lock,
    startup: Lock,
}

impl Locks {
    /// That of one datastore.
    pub fn of(&self, target: Target) -> &Lock {
        match target {
            Target::Running => &self.running,
            Target::Candidate => &self.candidate,
            Target::Startup => &self.startup,
        }
    }

    /// The same, to take or to release it.
    pub(super) fn of_mut(&mut self, target: Target) -> &mut Lock {
        match target {
            Target::Running => &mut self.running,
            Target::Candidate => &mut self.candidate,
            Target::Startup => &mut self.startup,
        }
    }
}

impl Lock {
    /// The session that holds it.
    pub fn holder(&self) -> Option<SessionId> {
        self.held.map(|(holder, _)| holder)
    }

    /// Who holds it, and since when.
    pub fn held(&self) -> Option<(SessionId, SystemTime)> {
        self.held
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// `lock-denied` with the holder's session-id, also when that is the session itself.
    pub fn take(&mut self, session: SessionId, at: SystemTime) -> Result<(), RpcError> {
        match self.holder() {
            Some(holder) => Err(denied(holder)),
            None => {
                self.held = Some((session, at));
                Ok(())
            }
        }
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// `operation-failed` when the session does not hold it (RFC 6241, section 7.6).
    pub fn release(&mut self, session: SessionId) -> Result<(), RpcError> {
        if self.holder() == Some(session) {
            self.held = None;
            return Ok(());
        }
        let words = match self.holder() {
            Some(holder) => format!("the lock is held by session {holder}"),
            None => "the lock is not held".to_owned(),
        };
        Err(RpcError::protocol(ErrorTag::OperationFailed, words))
    }

    /// Lets go of whatever a session that ends still holds; says whether it held the lock.
    pub fn end(&mut self, session: SessionId) -> bool {
        let held = self.holder() == Some(session);
        if held {
            self.held = None;
        }
        held
    }

    /// Whether a session may write.
    ///
    /// # Errors
    /// `in-use` when another session holds the lock.
    pub fn writable_by(&self, session: SessionId) -> Result<(), RpcError> {
        match self.holder() {
            Some(holder) if holder != session => {
                let words = format!("the datastore is locked by session {holder}");
                Err(RpcError::protocol(ErrorTag::InUse, words))
            }
            _ => Ok(()),
        }
    }
}

/// RFC 6241, appendix A: the session-id in error-info, 0 for a holder that is no NETCONF session.
pub fn denied(holder: SessionId) -> RpcError {
    RpcError::protocol(
        ErrorTag::LockDenied,
        format!("the lock is held by session {holder}"),
    )
    .info("session-id", holder.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_names_it() {
        let mut lock = Lock::default();
        lock.take(1, SystemTime::UNIX_EPOCH).unwrap();
        let error = lock.take(2, SystemTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            (error.tag, error.info[0].value.as_str()),
            (ErrorTag::LockDenied, "1")
        );
        assert_eq!(
            lock.take(1, SystemTime::UNIX_EPOCH).unwrap_err().tag,
            ErrorTag::LockDenied
        );
        assert_eq!(lock.writable_by(2).unwrap_err().tag, ErrorTag::InUse);
        assert_eq!(lock.release(2).unwrap_err().tag, ErrorTag::OperationFailed);
        lock.release(1).unwrap();
        assert!(lock.release(1).is_err());
    }

    #[test]
    fn the_end_of_its_session_frees_a_lock() {
        let mut lock = Lock::default();
        lock.take(7, SystemTime::UNIX_EPOCH).unwrap();
        assert!(!lock.end(8));
        assert!(lock.end(7));
        lock.take(8, SystemTime::UNIX_EPOCH).unwrap();
    }
}
