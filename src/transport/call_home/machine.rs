//! Which endpoint is called when. Takes events and the time, returns what to do; does no I/O.
//!
//! At most one call is under way or stands. A series of attempts begins with the endpoint that `start-with` says; an
//! endpoint has `max-attempts`, then the next has its turn, the first after the last. A call has succeeded when somebody
//! has logged in on it: a host that accepts connections and is no manager does not hold the others up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::status::{CallHomeStatus, Failure, LastFailure, Phase};
use crate::model::settings::call_home::{CallHomeSettings, ConnectionType, Endpoint, StartWith};
use crate::model::status::Clocks;
use crate::transport::ssh::Terms;
use crate::tunnel::backoff::{Backoff, Jitter, Pace, SETTLED};

/// No wait for a date is longer: the clock of the device may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The number of a call; events of earlier ones come to nothing.
pub type Attempt = u64;

/// What the machine hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This is configured now.
    Settings(Arc<CallHomeSettings>),
    /// Names may have other addresses now.
    NamesChanged,
    /// The manager has accepted the connection.
    Connected {
        /// Of this call.
        attempt: Attempt,
        /// At this address.
        address: IpAddr,
    },
    /// Somebody has logged in.
    LoggedIn {
        /// Of this call.
        attempt: Attempt,
        /// Who.
        user: String,
    },
    /// The call is over, or was never one.
    Ended {
        /// This call.
        attempt: Attempt,
        /// Why, in case nobody has logged in.
        failure: Failure,
    },
    /// The time of [`CallHome::poll_timeout`] has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Call this endpoint.
    Call {
        /// The number to report by.
        attempt: Attempt,
        /// Whom.
        endpoint: Endpoint,
        /// How long it may take until the manager has accepted.
        max_wait: Duration,
        /// The first terms of the connection.
        terms: Terms,
    },
    /// The call that is under way or stands has other terms now.
    Terms(Terms),
}

enum State {
    /// Nobody is to be called.
    Idle,
    Calling(Call),
    Waiting(Wait),
}

struct Call {
    attempt: Attempt,
    endpoint: Endpoint,
    stage: Stage,
    /// The configuration has no use for it any more.
    leaves: bool,
}

enum Stage {
    Connecting,
    LoggingIn {
        address: IpAddr,
    },
    Connected {
        address: IpAddr,
        user: String,
        since: Instant,
    },
}

enum Wait {
    /// For another attempt.
    Retry { until: Instant },
    /// For the next period; the last connection ended then, if there was one.
    Rest {
        until: Instant,
        ended: Option<Clocks>,
        /// The date of the next period, where it has an anchor.
        date: Option<SystemTime>,
        /// When the clock of the device was asked.
        looked: Instant,
    },
}

impl Wait {
    fn until(&self) -> Instant {
        match self {
            Self::Retry { until } | Self::Rest { until, .. } => *until,
        }
    }
}

/// Where a series of attempts is.
#[derive(Default)]
struct Series {
    /// Whose turn it is, as an index of the endpoints.
    turn: usize,
    /// Its attempts that have failed.
    failed: u32,
    /// Endpoints that were not tried yet.
    untried: usize,
}

/// The machine.
pub struct CallHome {
    settings: Arc<CallHomeSettings>,
    state: State,
    series: Series,
    backoff: Backoff,
    jitter: Jitter,
    last_attempt: Attempt,
    attempts: u32,
    last_connected: Option<Endpoint>,
    last_failure: Option<LastFailure>,
}

impl CallHome {
    /// One that knows nobody to call yet. The same seed gives the same waits; `last_connected` is what
    /// [`CallHome::last_connected`] said in an earlier life.
    pub fn new(seed: u64, last_connected: Option<Endpoint>) -> Self {
        Self {
            settings: Arc::default(),
            state: State::Idle,
            series: Series::default(),
            backoff: Backoff::default(),
            jitter: Jitter::new(seed),
            last_attempt: 0,
            attempts: 0,
            last_connected,
            last_failure: None,
        }
    }

    /// The only way to change it.
    #[must_use]
    pub fn handle(&mut self, event: Event, now: Clocks) -> Option<Action> {
        match event {
            Event::Settings(settings) => return self.configure(settings, now),
            Event::NamesChanged => {
                if let State::Waiting(Wait::Retry { .. }) = self.state {
                    return self.call();
                }
            }
            Event::Connected { attempt, address } => {
                if let Some(call) = self.current(attempt) {
                    call.stage = Stage::LoggingIn { address };
                }
            }
            Event::LoggedIn { attempt, user } => self.logged_in(attempt, user, now),
            Event::Ended { attempt, failure } => return self.ended(attempt, failure, now),
            Event::Timeout => return self.look(now),
        }
        None
    }

    /// Calls if it is time to. The clock of the device may have been set while it waits for a date.
    fn look(&mut self, now: Clocks) -> Option<Action> {
        let State::Waiting(wait) = &self.state else {
            return None;
        };
        match *wait {
            Wait::Rest {
                date: Some(date), ..
            } if date <= now.date => self.call(),
            Wait::Rest {
                ended,
                date: Some(_),
                ..
            } => self.rest(ended, now),
            _ if wait.until() <= now.instant => self.call(),
            _ => None,
        }
    }

    /// When it wants to hear [`Event::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(Wait::Rest {
                until,
                date: Some(_),
                looked,
                ..
            }) => Some((*looked + LOOK_AGAIN).min(*until)),
            State::Waiting(wait) => Some(wait.until()),
            State::Idle | State::Calling(_) => None,
        }
    }

    /// The endpoint that was connected last.
    pub fn last_connected(&self) -> Option<&Endpoint> {
        self.last_connected.as_ref()
    }

    /// As it is shown.
    pub fn status(&self) -> CallHomeStatus {
        let turn = self.settings.endpoints.get(self.series.turn);
        let mut status = CallHomeStatus {
            phase: Phase::Idle,
            endpoint: turn.map(|endpoint| endpoint.name.clone()),
            attempts: self.attempts,
            last_failure: self.last_failure.clone(),
            ..CallHomeStatus::default()
        };
        match &self.state {
            State::Idle => {}
            State::Waiting(wait) => {
                status.phase = Phase::Waiting;
                status.next_attempt_at = Some(wait.until());
            }
            State::Calling(call) => call.show(&mut status),
        }
        status
    }

    /// The call that an event is about, unless it is an earlier one.
    fn current(&mut self, attempt: Attempt) -> Option<&mut Call> {
        match &mut self.state {
            State::Calling(call) if call.attempt == attempt => Some(call),
            _ => None,
        }
    }

    fn configure(&mut self, settings: Arc<CallHomeSettings>, now: Clocks) -> Option<Action> {
        let before = std::mem::replace(&mut self.settings, settings);
        let (old, new) = (&before.endpoints, &self.settings.endpoints);
        let same_places = old.len() == new.len()
            && old
                .iter()
                .zip(new)
                .all(|(old, new)| old.is_at_same_place(new));
        if !same_places {
            self.backoff = Backoff::default();
        }
        match &mut self.state {
            State::Calling(call) if call.leaves => None,
            State::Calling(call) => {
                let stays = new
                    .iter()
                    .position(|new| new.is_at_same_place(&call.endpoint));
                let terms = match stays {
                    Some(turn) => {
                        call.endpoint.clone_from(&new[turn]);
                        if !same_places {
                            let untried = new.len() - 1;
                            self.series = Series {
                                turn,
                                untried,
                                ..Series::default()
                            };
                        }
                        Terms::Stay(self.settings.connection_type.idle_timeout())
                    }
                    None => {
                        call.leaves = true;
                        Terms::Leave
                    }
                };
                Some(Action::Terms(terms))
            }
            State::Waiting(Wait::Rest {
                ended: Some(ended), ..
            }) if same_places => {
                let ended = *ended;
                self.rest(Some(ended), now)
            }
            State::Idle | State::Waiting(_) => self.begin(now),
        }
    }

    fn logged_in(&mut self, attempt: Attempt, user: String, now: Clocks) {
        let Some(call) = self.current(attempt) else {
            return;
        };
        if let Stage::LoggingIn { address } = call.stage {
            call.stage = Stage::Connected {
                address,
                user,
                since: now.instant,
            };
            self.last_connected = Some(call.endpoint.clone());
            self.last_failure = None;
            self.attempts = 0;
        }
    }

    fn ended(&mut self, attempt: Attempt, failure: Failure, now: Clocks) -> Option<Action> {
        let call = match std::mem::replace(&mut self.state, State::Idle) {
            State::Calling(call) if call.attempt == attempt => call,
            other => {
                self.state = other;
                return None;
            }
        };
        if call.leaves {
            return self.begin(now);
        }
        let Stage::Connected { since, .. } = call.stage else {
            return self.failed(call.endpoint.name, failure, now);
        };
        self.begin_series();
        let has_settled = now.instant.saturating_duration_since(since) >= SETTLED;
        let is_periodic = self.settings.connection_type != ConnectionType::Persistent;
        if has_settled || is_periodic {
            self.backoff.settled();
        }
        match (is_periodic, has_settled) {
            (true, _) => self.rest(Some(now), now),
            (false, true) => {
                let wait = Backoff::first(&mut self.jitter);
                self.wait(wait, now)
            }
            (false, false) => self.back_off(now),
        }
    }

    /// A call on which nobody has logged in.
    fn failed(&mut self, endpoint: String, failure: Failure, now: Clocks) -> Option<Action> {
        self.last_failure = Some(LastFailure {
            endpoint,
            failure,
            at: now.instant,
        });
        self.series.failed += 1;
        if self.series.failed < self.settings.max_attempts {
            return self.back_off(now);
        }
        self.series.failed = 0;
        self.series.turn = (self.series.turn + 1) % self.settings.endpoints.len().max(1);
        if self.series.untried > 0 {
            self.series.untried -= 1;
            return self.call();
        }
        self.back_off(now)
    }

    /// Begins anew, as at the start of the agent.
    fn begin(&mut self, now: Clocks) -> Option<Action> {
        self.attempts = 0;
        self.begin_series();
        match &self.settings.connection_type {
            _ if self.settings.endpoints.is_empty() => {
                self.state = State::Idle;
                self.last_failure = None;
                None
            }
            ConnectionType::Periodic {
                anchor: Some(_), ..
            } => self.rest(None, now),
            _ => self.call(),
        }
    }

    fn begin_series(&mut self) {
        let endpoints = &self.settings.endpoints;
        let turn = match self.settings.start_with {
            StartWith::FirstListed => None,
            StartWith::LastConnected => self.last_connected.as_ref().and_then(|last| {
                endpoints
                    .iter()
                    .position(|endpoint| endpoint.is_at_same_place(last))
            }),
            StartWith::RandomSelection => Some(self.jitter.one_of(endpoints.len())),
        };
        self.series = Series {
            turn: turn.unwrap_or(0),
            failed: 0,
            untried: endpoints.len().saturating_sub(1),
        };
    }

    fn call(&mut self) -> Option<Action> {
        let Some(endpoint) = self.settings.endpoints.get(self.series.turn).cloned() else {
            self.state = State::Idle;
            return None;
        };
        self.last_attempt += 1;
        self.attempts = self.attempts.saturating_add(1);
        self.state = State::Calling(Call {
            attempt: self.last_attempt,
            endpoint: endpoint.clone(),
            stage: Stage::Connecting,
            leaves: false,
        });
        Some(Action::Call {
            attempt: self.last_attempt,
            endpoint,
            max_wait: self.settings.max_wait,
            terms: Terms::Stay(self.settings.connection_type.idle_timeout()),
        })
    }

    fn back_off(&mut self, now: Clocks) -> Option<Action> {
        let wait = self.backoff.failed(Pace::Ordinary, &mut self.jitter);
        self.wait(wait, now)
    }

    fn wait(&mut self, wait: Duration, now: Clocks) -> Option<Action> {
        let until = now.instant + wait;
        self.state = State::Waiting(Wait::Retry { until });
        None
    }

    /// Until the next period; without periods there is nothing to wait for.
    fn rest(&mut self, ended: Option<Clocks>, now: Clocks) -> Option<Action> {
        let ConnectionType::Periodic { period, anchor, .. } = self.settings.connection_type else {
            return self.call();
        };
        let left = anchor.map(|anchor| until_whole_period(anchor, period, now.date));
        let until = match (left, ended) {
            (Some(left), _) => now.instant + left,
            (None, Some(ended)) => ended.instant + period,
            (None, None) => now.instant,
        };
        self.state = State::Waiting(Wait::Rest {
            until,
            ended,
            date: left.and_then(|left| now.date.checked_add(left)),
            looked: now.instant,
        });
        None
    }
}

impl Call {
    fn show(&self, status: &mut CallHomeStatus) {
        status.endpoint = Some(self.endpoint.name.clone());
        match &self.stage {
            Stage::Connecting => status.phase = Phase::Connecting,
            Stage::LoggingIn { address } => {
                status.phase = Phase::LoggingIn;
                status.address = Some(*address);
            }
            Stage::Connected {
                address,
                user,
                since,
            } => {
                status.phase = Phase::Connected;
                status.address = Some(*address);
                status.user = Some(user.clone());
                status.connected_at = Some(*since);
            }
        }
    }
}

/// From `now` to the first moment after it that is whole periods from the anchor.
fn until_whole_period(anchor: SystemTime, period: Duration, now: SystemTime) -> Duration {
    let period = period.as_nanos().max(1);
    let left = match now.duration_since(anchor) {
        Ok(passed) => period - passed.as_nanos() % period,
        Err(ahead) => match ahead.duration().as_nanos() % period {
            0 => period,
            left => left,
        },
    };
    Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
}
