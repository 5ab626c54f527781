//! The commit guard: a commit that cuts the device off from its server is taken back by the device itself.
//!
//! A machine without a clock, like [`confirm`](super::confirm): [`Guard::effect_of`] is asked what a commit means to it,
//! [`Guard::committed`] is told of one that is stored and in force, so a commit that fails arms, extends and ends nothing.
//! It knows no tunnel: what a change means for the connection is said by whoever prepares it ([`Reach`]), and that the
//! connection is established again by the number of the last change under which it was ([`News::reached`]). That
//! number only grows, and the tunnel gives it once it works by that change: an establishment of the old target, news that
//! come late, and a tunnel that is up and down again before anybody looks are all told apart by it.
//!
//! ```text
//!         a commit cuts an established tunnel            `timeout` has passed
//!  Idle ──────────────────────────────────────► Armed ───────────────────────► Due
//!   ▲                                             │ established again            │ the configuration before is stored
//!   │ stored                                      ▼                              │ and in force
//!   ├──────────────────────────────────────────  Met                             │
//!   └────────────────────────────────────────────────────────────────────────────┘
//! ```
//! The mark that tells the next start of it is in the transaction of the commit that arms, of the one that takes back,
//! and in one of its own when the tunnel is established. `B` is what the owner falls back to; it is not looked at.
//!
//! # The races
//!
//! | what comes in between | what happens |
//! | --- | --- |
//! | the old tunnel still stands, or its end is not known yet | its number is older than that of the commit: nothing is disarmed |
//! | a second commit to another target, while armed | the first base stays, the new `timeout` counts from then, and only a tunnel of the *new* target disarms |
//! | a commit of anything else, while armed | the deadline stays; the commit goes with the rest if the guard takes back |
//! | the first target is committed again by hand | a second commit like any other: disarmed once that tunnel stands |
//! | `timeout` is changed while armed | it counts from that commit on |
//! | `commit-guard` is removed while armed | the guard ends, from that commit on and in favour of it |
//! | `commit-guard` alone is committed | there is nothing to be armed for |
//! | a confirmed commit is pending | the earlier deadline wins, the older of both bases is restored, both are over |
//! | that is confirmed | the guard goes on, with its own base: that somebody still reaches the device does not say that its server does |
//! | that is cancelled, or its session ends | both are over |
//! | the tunnel is established, that is pending | the guard is over; the confirmed commit goes on with its own base |
//! | running or candidate locked by a session | the device takes back nevertheless, a lock keeps sessions out (RFC 6241, section 7.5) |
//! | a candidate with changes | stays what it is, as a whole: what was taken back is in it if it was before; a commit of it is guarded anew |
//! | the tunnel is up and down again before the deadline | it was established: disarmed, for good |
//! | a commit follows the establishment at once | the connection is asked for before the commit is judged: what it was established under is the base |
//! | established while a commit to another target is being stored | armed: the older base stays; else it is not guarded, since nothing stood when it was staged |
//! | established at the deadline | whatever is known when the device begins to take back counts: a tunnel that stands is not cut |
//! | discovery changes the target meanwhile | it is asked whether the device is connected *under the new configuration*: the tunnel that discovery and configuration make together disarms |
//! | discovery that a commit switches on finds something later | no commit changes the target then: not guarded |
//! | `reset-tunnel`, an eviction | the tunnel has other reasons to be made anew; nothing is armed, and nothing disarmed that is |
//! | another process dies, power fails, the agent is stopped | the next start restores the base before anything is dialled, and tells of it |
//! | a crash between the establishment and its transaction | the next start restores the base: it had worked |
//! | the disarming cannot be stored | the guard is over in this run; it is tried again until a start would know it, too |
//! | the rollback cannot be stored, or a part of the agent has no room for it | running stays what it is as a whole, commits are `in-use`; said in the log and tried again every 10 s |
//! | the base is not valid any more | cannot be: it was running under the same schema, and what is valid is so by itself. A start with other modules refuses what it does not understand, as it does with all that is stored |
//! | the clock jumps | deadlines are of the monotonic clock, dates are only shown |
//! | a startup datastore | running is not durable by itself: a start begins with startup, no mark is kept |

use std::time::{Duration, Instant, SystemTime};

use super::confirm::{AGAIN, in_use};
use super::past::Version;
use super::subscriber::Reach;
use crate::model::error::{ErrorTag, RpcError};
use crate::model::status::{FailureReason, ServerStatus};

pub mod record;

/// Where the store keeps the number of the last commit that stays if the guard takes back.
pub const GUARD_KEY: &str = "commit-guard";

/// What the agent knows of the guarded connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The number of the last change of running under which the connection was established; 0 before the first.
    pub reached: Version,
    /// The server of the connection, or the one that was tried last.
    pub server: Option<ServerStatus>,
    /// Why the last attempt failed.
    pub failure: Option<FailureReason>,
}

/// Says what is known of the guarded connection now; never waits.
pub type Ask = Box<dyn Fn() -> News + Send>;

/// What a commit means to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// `commit-guard/timeout` after the commit; none without `commit-guard`.
    pub timeout: Option<Duration>,
    /// The same before it.
    pub timeout_before: Option<Duration>,
    /// What it does to the connection.
    pub reach: Reach,
}

/// What becomes of the guard by a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// It is what it was.
    None,
    /// Armed from then on, for so long; what was armed before keeps its base.
    Arms(Duration),
    /// Armed as before, for so long from then on.
    Lasts(Duration),
    /// Nothing is guarded any more.
    Ends(Ending),
}

/// How a guard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The connection is established again.
    Established,
    /// `accept-guarded-commit`.
    Accepted,
    /// `commit-guard` is not configured any more.
    Removed,
    /// The guard restores what was before.
    RolledBack,
    /// A confirmed commit is taken back, and the guarded one with it.
    TakenBack,
}

/// An armed guard, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed<B> {
    /// What is restored.
    pub base: B,
    /// Since when.
    pub since: Instant,
    /// Until when the connection has to be established.
    pub until: Instant,
}

/// Whether a commit is guarded.
#[derive(Debug)]
pub struct Guard<B> {
    state: State<B>,
}

#[derive(Debug)]
enum State<B> {
    Idle,
    Armed {
        armed: Armed<B>,
        /// The change under which the connection has to be established.
        wanted: Version,
    },
    /// The time is over: the base is to be restored.
    Due {
        armed: Armed<B>,
        wanted: Version,
        /// When that is to be tried; at once before the first try.
        not_before: Option<Instant>,
    },
    /// Established again, and the store is still to be told so.
    Met {
        not_before: Option<Instant>,
    },
}

impl<B> Default for Guard<B> {
    fn default() -> Self {
        Self { state: State::Idle }
    }
}

impl<B: Copy> Guard<B> {
    /// What is armed.
    pub fn armed(&self) -> Option<&Armed<B>> {
        match &self.state {
            State::Armed { armed, .. } | State::Due { armed, .. } => Some(armed),
            State::Idle | State::Met { .. } => None,
        }
    }

    /// What is restored if the connection does not come back.
    pub fn base(&self) -> Option<B> {
        self.armed().map(|armed| armed.base)
    }

    /// Whether the store, too, knows that nothing is guarded.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether anybody may change running: not between the deadline and the rollback.
    ///
    /// # Errors
    /// `in-use`.
    pub fn writable(&self) -> Result<(), RpcError> {
        match &self.state {
            State::Due { .. } => Err(in_use("the commit guard is taking a commit back")),
            _ => Ok(()),
        }
    }

    /// What a commit of a session means.
    pub fn effect_of(&self, commit: &Proposal) -> Effect {
        let Some(timeout) = commit.timeout else {
            return match &self.state {
                State::Idle => Effect::None,
                State::Met { .. } => Effect::Ends(Ending::Established),
                State::Armed { .. } | State::Due { .. } => Effect::Ends(Ending::Removed),
            };
        };
        match (&self.state, commit.reach) {
            (State::Idle | State::Met { .. }, Reach::Cut) => Effect::Arms(timeout),
            (State::Idle, _) => Effect::None,
            (State::Met { .. }, _) => Effect::Ends(Ending::Established),
            (_, Reach::Moved | Reach::Cut) => Effect::Arms(timeout),
            (_, Reach::Kept) if commit.timeout != commit.timeout_before => Effect::Lasts(timeout),
            (_, Reach::Kept) => Effect::None,
        }
    }

    /// What it means that the base, or an older one, is restored.
    pub fn taken_back(&self, how: Ending) -> Effect {
        match &self.state {
            State::Idle => Effect::None,
            State::Met { .. } => Effect::Ends(Ending::Established),
            State::Armed { .. } | State::Due { .. } => Effect::Ends(how),
        }
    }

    /// What `accept-guarded-commit` means.
    ///
    /// # Errors
    /// `operation-failed` when no guard is armed.
    pub fn accepted(&self) -> Result<Effect, RpcError> {
        match self.armed() {
            Some(_) => Ok(Effect::Ends(Ending::Accepted)),
            None => {
                let words = "no commit guard is armed";
                Err(RpcError::application(ErrorTag::OperationFailed, words))
            }
        }
    }

    /// A commit is in force from now on; `number` is that of its change, `base` what was before it.
    pub fn committed(&mut self, effect: Effect, now: Instant, number: Version, base: B) {
        match effect {
            Effect::None => {}
            Effect::Ends(_) => self.state = State::Idle,
            Effect::Arms(timeout) => {
                let before = self.armed().copied();
                self.state = State::Armed {
                    armed: Armed {
                        base: before.map_or(base, |before| before.base),
                        since: before.map_or(now, |before| before.since),
                        until: now + timeout,
                    },
                    wanted: number,
                };
            }
            Effect::Lasts(timeout) => {
                if let State::Armed { armed, .. } = &mut self.state {
                    armed.until = now + timeout;
                }
            }
        }
    }

    /// The connection was established under the change with this number.
    pub fn reached(&mut self, number: Version) {
        match &self.state {
            State::Armed { wanted, .. } | State::Due { wanted, .. } if *wanted <= number => {
                self.state = State::Met { not_before: None };
            }
            _ => {}
        }
    }

    /// When [`Guard::is_due`] or [`Guard::is_met`] will be true if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Armed { armed, .. } => Some(armed.until),
            State::Due { not_before, .. } | State::Met { not_before } => *not_before,
        }
    }

    /// Whether the base is to be restored now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        if let State::Armed { armed, wanted } = self.state
            && armed.until <= now
        {
            self.state = State::Due {
                armed,
                wanted,
                not_before: None,
            };
        }
        match &self.state {
            State::Due { not_before, .. } => not_before.is_none_or(|time| time <= now),
            _ => false,
        }
    }

    /// Whether the store is to be told now that nothing is guarded any more.
    pub fn is_met(&self, now: Instant) -> bool {
        match &self.state {
            State::Met { not_before } => not_before.is_none_or(|time| time <= now),
            _ => false,
        }
    }

    /// What was due could not be done: it is tried again after a while.
    pub fn put_off(&mut self, now: Instant) {
        if let State::Due { not_before, .. } | State::Met { not_before } = &mut self.state {
            *not_before = Some(now + AGAIN);
        }
    }
}

/// What the guard has taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// When, by the device's clock.
    pub at: SystemTime,
    /// The commit that restored the configuration; none where commits of running are not kept.
    pub commit: Option<u64>,
    /// The commits that were taken back, oldest first; of many the newest.
    pub taken_back: Vec<u64>,
    /// The server that was not reached; unknown after a restart.
    pub server: Option<ServerStatus>,
    /// Why the last attempt on it failed.
    pub failure: Option<FailureReason>,
}

impl Rollback {
    /// As many commits are named at the most as the history keeps.
    pub const MOST: u64 = 50;

    /// The numbers of the commits after `base`, up to `last`.
    pub fn numbers(base: u64, last: u64) -> Vec<u64> {
        let first = (base + 1).max((last + 1).saturating_sub(Self::MOST));
        (first..=last).collect()
    }
}

/// What there is to see of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// While it is armed; the base is the number of the last commit that would stay.
    pub armed: Option<Armed<Option<u64>>>,
    /// What it has taken back last.
    pub last: Option<Rollback>,
}

/// Is told what there is to see whenever it is something else; must not wait.
pub type Show = Box<dyn FnMut(&Status) + Send>;

#[cfg(test)]
mod tests;
