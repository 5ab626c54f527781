//! The confirmed commit (RFC 6241, section 8.4): what is taken back unless somebody confirms it in time.
//!
//! A machine without a clock: [`Confirm::admit`] is asked before a commit and may refuse; [`Confirm::committed`] is
//! told of a commit that is stored and in force, and cannot fail. So a commit that fails arms, extends and ends
//! nothing. `B` is whatever the owner falls back to; it is kept here and not looked at.

use std::time::{Duration, Instant};

use super::SessionId;
use super::events::notices::ConfirmEvent;
use super::lock;
use crate::model::error::{ErrorTag, RpcError};

/// Where the store keeps the number of the last commit that stays if the pending one does not.
pub const BASE_KEY: &str = "confirmed-commit";
/// How long until a rollback that could not be done is tried again.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// The parameters of `<commit>` (RFC 6241, section 8.4.5.1); none of them is an ordinary commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Present for a confirmed commit.
    pub confirmed: Option<Confirmed>,
    /// The token of the commit that is confirmed or followed up.
    pub persist_id: Option<String>,
}

/// What makes a commit a confirmed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Until the commit is taken back, from the moment at which it is in force.
    pub timeout: Duration,
    /// The token with which any session may confirm.
    pub persist: Option<String>,
}

/// What an admitted commit does to the pending one.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Nothing is pending, before and after.
    None,
    /// Something is pending from then on, for another while.
    Pends {
        /// The session that may confirm without a token.
        session: SessionId,
        /// How long, and with which token.
        confirmed: Confirmed,
    },
    /// Nothing is pending any more.
    Ends(Ending),
}

/// How a pending commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was confirmed.
    Confirmed,
    /// It is taken back: somebody asked for that, or its session is over.
    Cancelled,
    /// It is taken back: its time is over.
    TimedOut,
}

/// Whether a confirmed commit is pending.
#[derive(Debug)]
pub struct Confirm<B> {
    state: State<B>,
}

#[derive(Debug)]
enum State<B> {
    Idle,
    Pending {
        base: B,
        /// The session that issued the last confirmed commit; none once it is over, which a token survives.
        session: Option<SessionId>,
        persist: Option<String>,
        until: Instant,
    },
    /// It was not confirmed: whatever comes now comes too late.
    Expired {
        base: B,
        how: Ending,
        /// When the rollback is to be tried; at once before the first try.
        not_before: Option<Instant>,
    },
}

impl<B> Default for Confirm<B> {
    fn default() -> Self {
        Self { state: State::Idle }
    }
}

impl<B> Confirm<B> {
    /// What the pending commit falls back to.
    pub fn base(&self) -> Option<&B> {
        match &self.state {
            State::Idle => None,
            State::Pending { base, .. } | State::Expired { base, .. } => Some(base),
        }
    }

    /// Whether a session may commit so.
    ///
    /// # Errors
    /// `invalid-value` for a persist-id that is not the token of a pending commit; `in-use` when the pending commit is
    /// another session's, or has a token that is not given (RFC 6241, section 8.4.1).
    pub fn admit(&self, session: SessionId, request: &Request) -> Result<Effect, RpcError> {
        self.may_touch(session, request.persist_id.as_deref())?;
        Ok(match (&request.confirmed, &self.state) {
            (Some(confirmed), _) => Effect::Pends {
                session,
                confirmed: confirmed.clone(),
            },
            (None, State::Idle) => Effect::None,
            (None, _) => Effect::Ends(Ending::Confirmed),
        })
    }

    /// Whether a session may take the pending commit back (RFC 6241, section 8.4.4.1).
    ///
    /// # Errors
    /// `invalid-value` for a wrong persist-id; `operation-failed` when nothing is pending, or when it is another
    /// session's or has a token that is not given.
    pub fn admit_cancel(
        &self,
        session: SessionId,
        persist_id: Option<&str>,
    ) -> Result<Effect, RpcError> {
        let refused = |words: &str| RpcError::protocol(ErrorTag::OperationFailed, words);
        if persist_id.is_none() && self.base().is_none() {
            return Err(refused("no confirmed commit is pending"));
        }
        match self.may_touch(session, persist_id) {
            Ok(()) => Ok(Effect::Ends(Ending::Cancelled)),
            Err(error) if error.tag == ErrorTag::InUse => Err(refused(&error.message)),
            Err(error) => Err(error),
        }
    }

    fn may_touch(&self, session: SessionId, persist_id: Option<&str>) -> Result<(), RpcError> {
        let wrong = || {
            let words = "the persist-id is not that of a pending confirmed commit";
            Err(RpcError::protocol(ErrorTag::InvalidValue, words))
        };
        match (&self.state, persist_id) {
            (State::Idle, None) => Ok(()),
            (State::Idle, Some(_)) => wrong(),
            (State::Expired { .. }, _) => Err(in_use("a confirmed commit is being taken back")),
            (State::Pending { persist, .. }, Some(given)) => match persist {
                Some(token) if token == given => Ok(()),
                _ => wrong(),
            },
            (
                State::Pending {
                    persist: Some(_), ..
                },
                None,
            ) => Err(in_use(
                "a confirmed commit is pending that needs its persist-id",
            )),
            (State::Pending { .. }, None) => self.writable_by(session),
        }
    }

    /// Whether a session may edit running by itself: while a commit is pending, only the one that issued it.
    ///
    /// # Errors
    /// `in-use`.
    pub fn writable_by(&self, session: SessionId) -> Result<(), RpcError> {
        match &self.state {
            State::Idle => Ok(()),
            State::Pending {
                session: Some(own), ..
            } if *own == session => Ok(()),
            State::Pending {
                session: Some(other),
                ..
            } => {
                let words = format!("a confirmed commit of session {other} is pending");
                Err(in_use(&words))
            }
            _ => Err(in_use("a confirmed commit is pending")),
        }
    }

    /// Whether a session may lock running: "a lock MUST NOT be granted if … another NETCONF session has an ongoing
    /// confirmed commit" (RFC 6241, section 7.5).
    ///
    /// # Errors
    /// `lock-denied` with the session that issued it, 0 when that is over.
    pub fn lockable_by(&self, session: SessionId) -> Result<(), RpcError> {
        self.writable_by(session).map_err(|reason| RpcError {
            message: reason.message,
            ..lock::denied(self.session().unwrap_or(0))
        })
    }

    fn session(&self) -> Option<SessionId> {
        match &self.state {
            State::Pending { session, .. } => *session,
            _ => None,
        }
    }

    /// What an effect is in the course of a confirmed commit; none if it is no part of one.
    pub fn step_of(&self, effect: &Effect) -> Option<ConfirmEvent> {
        match (effect, &self.state) {
            (Effect::None, _) => None,
            (Effect::Pends { confirmed, .. }, State::Idle) => {
                Some(ConfirmEvent::Start(confirmed.timeout))
            }
            (Effect::Pends { confirmed, .. }, _) => Some(ConfirmEvent::Extend(confirmed.timeout)),
            (Effect::Ends(Ending::Confirmed), _) => Some(ConfirmEvent::Complete),
            (Effect::Ends(Ending::Cancelled), _) => Some(ConfirmEvent::Cancel),
            (Effect::Ends(Ending::TimedOut), _) => Some(ConfirmEvent::Timeout),
        }
    }

    /// A commit is in force from now on. `base` gives what was before it, and is asked when that is what to fall back to.
    pub fn committed(&mut self, effect: Effect, now: Instant, base: impl FnOnce() -> B) {
        let (session, confirmed) = match effect {
            Effect::None => return,
            Effect::Ends(_) => {
                self.state = State::Idle;
                return;
            }
            Effect::Pends { session, confirmed } => (session, confirmed),
        };
        let (base, token) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => (base(), None),
            // The first base of a row of confirmed commits; a token stays until another is given.
            State::Pending { base, persist, .. } => (base, persist),
            State::Expired { base, .. } => (base, None),
        };
        self.state = State::Pending {
            base,
            session: Some(session),
            persist: confirmed.persist.or(token),
            until: now + confirmed.timeout,
        };
    }

    /// A session is over: its pending commit is over too, unless that has a token (RFC 6241, section 8.4.1).
    pub fn end_session(&mut self, ended: SessionId) {
        match &mut self.state {
            State::Pending {
                session, persist, ..
            } if *session == Some(ended) => {
                *session = None;
                if persist.is_none() {
                    self.expire(Ending::Cancelled);
                }
            }
            _ => {}
        }
    }

    fn expire(&mut self, how: Ending) {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Pending { base, .. } => State::Expired {
                base,
                how,
                not_before: None,
            },
            other => other,
        };
    }

    /// When [`Confirm::is_due`] will be true if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Pending { until, .. } => Some(*until),
            State::Expired { not_before, .. } => *not_before,
        }
    }

    /// Whether the base is to be restored now. From the deadline on nobody can confirm.
    pub fn is_due(&mut self, now: Instant) -> bool {
        if matches!(&self.state, State::Pending { until, .. } if *until <= now) {
            self.expire(Ending::TimedOut);
        }
        match &self.state {
            State::Expired { not_before, .. } => not_before.is_none_or(|time| time <= now),
            _ => false,
        }
    }

    /// What restoring the base means for what is pending.
    pub fn taken_back(&self) -> Effect {
        match &self.state {
            State::Expired { how, .. } => Effect::Ends(*how),
            State::Pending { .. } => Effect::Ends(Ending::Cancelled),
            State::Idle => Effect::None,
        }
    }

    /// The base could not be restored: it is tried again after a while.
    pub fn put_off(&mut self, now: Instant) {
        if let State::Expired { not_before, .. } = &mut self.state {
            *not_before = Some(now + AGAIN);
        }
    }
}

pub(super) fn in_use(words: &str) -> RpcError {
    RpcError::protocol(ErrorTag::InUse, words)
}

#[cfg(test)]
mod tests;
