//! The same for one service: a subconnection with its own numbers, deadlines, keepalive and back-off.
//!
//! "These subconnections are independent from each other" (manual): nothing in here reaches the main connection or a
//! neighbour.

use std::time::{Duration, Instant};

use crate::model::settings::Secret;
use crate::model::status::{FailureReason, SubconnectionState, SubconnectionStatus};
use crate::tunnel::backoff::{Backoff, Jitter, Pace, SETTLED};
use crate::tunnel::machine::event::{
    Action, Attempt, CloseCode, Endpoint, StepError, SubconnectionReply,
};
use crate::tunnel::machine::{Numbers, SILENT_INTERVALS, STEP_DEADLINE};
use crate::tunnel::wire::{CloudUrl, UpgradeRefusal};

/// What a subconnection needs of the tunnel while it handles something.
pub(crate) struct Context<'a> {
    /// Gives each dial its number.
    pub numbers: &'a mut Numbers,
    /// Spreads the waits.
    pub jitter: &'a mut Jitter,
    /// Takes the orders.
    pub out: &'a mut Vec<Action>,
    /// The keepalive interval.
    pub interval: Duration,
    /// The present.
    pub now: Instant,
}

/// Which dial it is: service, URL and what the main connection gives to it.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    /// Name of the service.
    pub service: String,
    /// From the list.
    pub url: CloudUrl,
    /// Host and port of the URL, path and trust of the main connection.
    pub endpoint: Endpoint,
    /// Bearer token of the main connection.
    pub token: Secret,
}

/// One subconnection.
#[derive(Debug)]
pub(crate) struct Subconnection {
    dial: Dial,
    phase: Phase,
    asked: Attempt,
    backoff: Backoff,
    attempts: u64,
    failure: Option<FailureReason>,
}

#[derive(Debug)]
enum Phase {
    Opening {
        deadline: Instant,
    },
    Standing {
        since: Instant,
        ping_at: Instant,
        silent_at: Instant,
    },
    Waiting {
        until: Instant,
        /// The cloud's `Retry-After`, which no wake-up goes below.
        held_until: Instant,
    },
}

impl Subconnection {
    /// Starts to open one.
    pub fn open(dial: Dial, context: &mut Context<'_>) -> Self {
        let mut subconnection = Self {
            dial,
            phase: Phase::Opening {
                deadline: context.now,
            },
            asked: Attempt::default(),
            backoff: Backoff::default(),
            attempts: 0,
            failure: None,
        };
        subconnection.dial(context);
        subconnection
    }

    /// Whether a reply with this number is for this one.
    pub fn awaits(&self, attempt: Attempt) -> bool {
        self.asked == attempt
    }

    /// Whether the list still says what it was opened with.
    pub fn is_at(&self, url: &CloudUrl) -> bool {
        self.dial.url == *url
    }

    /// The network said something about it.
    pub fn handle(&mut self, reply: SubconnectionReply, context: &mut Context<'_>) {
        match (&mut self.phase, reply) {
            (Phase::Opening { deadline }, SubconnectionReply::Step(_)) => {
                *deadline = context.now + STEP_DEADLINE;
            }
            (Phase::Opening { .. }, SubconnectionReply::Upgraded) => self.establish(context),
            (Phase::Opening { .. }, SubconnectionReply::Refused(refusal)) => {
                self.refused(refusal, context);
            }
            (Phase::Opening { .. }, SubconnectionReply::Failed(error)) => {
                self.failed(error.reason(), context);
            }
            (Phase::Opening { .. }, SubconnectionReply::Lost | SubconnectionReply::Closed(_)) => {
                self.failed(StepError::Connect.reason(), context);
            }
            (Phase::Standing { silent_at, .. }, SubconnectionReply::Alive) => {
                *silent_at = context.now + context.interval * SILENT_INTERVALS;
            }
            (Phase::Standing { .. }, SubconnectionReply::Lost) => self.lost(None, context),
            (Phase::Standing { .. }, SubconnectionReply::Closed(code)) => {
                // 1013 is the cloud's "more than my limit"; 1008 and the rest say nothing about the state.
                let busy = code == CloseCode::TRY_AGAIN_LATER;
                self.lost(busy.then_some(FailureReason::Busy), context);
            }
            (Phase::Standing { .. }, SubconnectionReply::Violation(code)) => {
                self.end(code, context);
                self.lost(Some(FailureReason::Protocol), context);
            }
            // A reply that does not belong to the phase: sent twice or overtaken.
            _ => {}
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, context: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Opening { deadline } if *deadline <= context.now => {
                self.end(CloseCode::GOING_AWAY, context);
                self.failed(FailureReason::Timeout, context);
            }
            Phase::Standing { silent_at, .. } if *silent_at <= context.now => {
                if !self.settled(context.now) {
                    self.backoff.count(Pace::Ordinary);
                }
                self.end(CloseCode::GOING_AWAY, context);
                self.dial(context);
            }
            Phase::Standing { ping_at, .. } if *ping_at <= context.now => {
                *ping_at = context.now + context.interval;
                context.out.push(Action::PingSubconnection(self.asked));
            }
            Phase::Waiting { until, .. } if *until <= context.now => self.dial(context),
            _ => {}
        }
    }

    /// A new keepalive interval: both clocks restart.
    pub fn restart_clocks(&mut self, context: &Context<'_>) {
        if let Phase::Standing {
            ping_at, silent_at, ..
        } = &mut self.phase
        {
            *ping_at = context.now + context.interval;
            *silent_at = context.now + context.interval * SILENT_INTERVALS;
        }
    }

    /// Brings the next attempt forward, though not below what the cloud asked for. Whether it did.
    pub fn wake(&mut self, at: Instant) -> bool {
        match &mut self.phase {
            Phase::Waiting { until, held_until } if at.max(*held_until) < *until => {
                *until = at.max(*held_until);
                true
            }
            _ => false,
        }
    }

    /// Ends it for good.
    pub fn close(mut self, code: CloseCode, context: &mut Context<'_>) {
        if !matches!(self.phase, Phase::Waiting { .. }) {
            self.end(code, context);
        }
    }

    /// When `tick` is to be called.
    pub fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Opening { deadline } => deadline,
            Phase::Standing {
                ping_at, silent_at, ..
            } => ping_at.min(silent_at),
            Phase::Waiting { until, .. } => until,
        }
    }

    /// Its entry in the state container.
    pub fn status(&self) -> SubconnectionStatus {
        let (state, connected_at) = match self.phase {
            Phase::Opening { .. } => (SubconnectionState::Connecting, None),
            Phase::Standing { since, .. } => (SubconnectionState::Established, Some(since)),
            Phase::Waiting { .. } => (SubconnectionState::Waiting, None),
        };
        SubconnectionStatus {
            service: self.dial.service.clone(),
            state,
            url: self.dial.url.as_str().to_owned(),
            connected_at,
            attempts: self.attempts,
            failure: self.failure,
        }
    }

    fn dial(&mut self, context: &mut Context<'_>) {
        self.asked = context.numbers.next();
        self.attempts += 1;
        self.phase = Phase::Opening {
            deadline: context.now + STEP_DEADLINE,
        };
        context.out.push(Action::OpenSubconnection {
            attempt: self.asked,
            service: self.dial.service.clone(),
            url: self.dial.url.clone(),
            endpoint: self.dial.endpoint.clone(),
            token: self.dial.token.clone(),
        });
    }

    fn establish(&mut self, context: &Context<'_>) {
        self.attempts = 0;
        self.failure = None;
        self.phase = Phase::Standing {
            since: context.now,
            ping_at: context.now + context.interval,
            silent_at: context.now + context.interval * SILENT_INTERVALS,
        };
    }

    fn refused(&mut self, refusal: UpgradeRefusal, context: &mut Context<'_>) {
        self.end(CloseCode::GOING_AWAY, context);
        match refusal {
            UpgradeRefusal::Busy { retry_after } => {
                let hold = retry_after.map(|asked| self.backoff.hold(asked, context.jitter));
                self.failed(FailureReason::Busy, context);
                if let Some(hold) = hold {
                    let held_until = context.now + hold;
                    self.phase = Phase::Waiting {
                        until: held_until,
                        held_until,
                    };
                }
            }
            // The main connection lives by the same token, so a 401 is this one's own failure.
            UpgradeRefusal::TokenExpired | UpgradeRefusal::Failed { .. } => {
                self.failed(FailureReason::HandshakeFailed, context);
            }
        }
    }

    fn lost(&mut self, failure: Option<FailureReason>, context: &mut Context<'_>) {
        self.failure = failure;
        let wait = if self.settled(context.now) && failure.is_none() {
            Backoff::first(context.jitter)
        } else {
            self.backoff.failed(Pace::Ordinary, context.jitter)
        };
        self.wait(wait, context);
    }

    /// Whether it stood long enough to forget the failures before it; forgets them.
    fn settled(&mut self, now: Instant) -> bool {
        let Phase::Standing { since, .. } = self.phase else {
            return false;
        };
        let settled = now.saturating_duration_since(since) >= SETTLED;
        if settled {
            self.backoff.settled();
        }
        settled
    }

    fn failed(&mut self, reason: FailureReason, context: &mut Context<'_>) {
        self.failure = Some(reason);
        let wait = self.backoff.failed(Pace::Ordinary, context.jitter);
        self.wait(wait, context);
    }

    fn wait(&mut self, wait: Duration, context: &mut Context<'_>) {
        self.asked = context.numbers.next();
        self.phase = Phase::Waiting {
            until: context.now + wait,
            held_until: context.now,
        };
    }

    fn end(&mut self, code: CloseCode, context: &mut Context<'_>) {
        context
            .out
            .push(Action::CloseSubconnection(self.asked, code));
    }
}
