//! What a course starts from, walks with and comes to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::model::settings::Secret;
use crate::model::status::{
    FailureReason, LastDownReason, ProcessState, ServerCertificate, ServerStatus,
};
use crate::tunnel::machine::event::{Action, Attempt, Endpoint, Line};
use crate::tunnel::machine::{Numbers, STEP_DEADLINE};
use crate::tunnel::wire::CloudUrl;

/// What an attempt starts from.
#[derive(Clone, Debug)]
pub(in crate::tunnel::machine) struct Plan {
    /// On which line.
    pub line: Line,
    /// Which way of the target it takes.
    pub way: usize,
    /// Which one follows if it fails.
    pub turn: Turn,
    /// The server of that way.
    pub server: Endpoint,
    /// Password of the target.
    pub password: Option<Secret>,
}

/// Where an attempt stands among the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tunnel::machine) enum Turn {
    /// In its place: the next one follows.
    InOrder,
    /// Before all others, since the tunnel was there: what follows is the cycle.
    First,
}

/// The request that a connection is made for.
#[derive(Clone, Debug)]
pub(in crate::tunnel::machine) enum Goal {
    /// Step 1.
    Authenticate,
    /// Step 1 with the unbinding code of this number, after a 403 `bound-to-another-user`.
    Unbind { id: u64, code: Secret },
    /// Step 3.
    Register { token: Secret },
    /// Step 5.
    Upgrade { token: Secret, url: CloudUrl },
}

/// What the state container shows of an attempt.
#[derive(Clone, Debug)]
pub(in crate::tunnel::machine) struct Progress {
    pub process: ProcessState,
    pub server: ServerStatus,
    /// As the server showed it last.
    pub certificate: Option<ServerCertificate>,
    /// Known once TLS stands.
    pub clock_unset: Option<bool>,
}

/// What a course needs of the tunnel while it walks.
pub(in crate::tunnel::machine) struct Means<'a> {
    /// Gives each action its number.
    pub numbers: &'a mut Numbers,
    /// The number of the reply that is waited for.
    pub asked: &'a mut Attempt,
    /// Takes the orders.
    pub out: &'a mut Vec<Action>,
    /// What registers.
    pub services: &'a BTreeSet<String>,
    /// Of the last tunnel.
    pub last_down: Option<LastDownReason>,
    /// The unbinding code to answer a 403 `bound-to-another-user` with.
    pub code: Option<(u64, Secret)>,
    /// The present.
    pub now: Instant,
}

impl Means<'_> {
    pub(super) fn number(&mut self) -> Attempt {
        *self.asked = self.numbers.next();
        *self.asked
    }

    pub(super) fn deadline(&self) -> Instant {
        self.now + STEP_DEADLINE
    }
}

/// How far an attempt has come.
#[derive(Debug)]
pub(in crate::tunnel::machine) enum Outcome {
    /// It goes on.
    Underway,
    /// Registered, and connected to where the URL leads: nothing is missing but [`Course::upgrade`](super::Course::upgrade).
    Ready,
    /// 101.
    Upgraded { token: Secret },
    /// It is over; its connection, if there is one, is of no use.
    Failed {
        reason: FailureReason,
        retry_after: Option<Duration>,
    },
}

impl Outcome {
    pub(super) fn failed(reason: FailureReason) -> Self {
        Self::Failed {
            reason,
            retry_after: None,
        }
    }

    pub(super) fn busy(retry_after: Option<Duration>) -> Self {
        Self::Failed {
            reason: FailureReason::Busy,
            retry_after,
        }
    }
}
