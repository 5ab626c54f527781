//! When and where the next attempt goes (cloud-protocol.md, "Retry").

use std::time::{Duration, Instant};

use super::event::{Action, Notification};
use super::{State, Tunnel};
use crate::model::status::{FailureReason, ServerStatus};
use crate::tunnel::backoff::{Backoff, Jitter, Pace, SETTLED};

/// Network changes wake a waiting retry at most this often: a flapping link is not to become a flood of attempts.
const WAKE_SPACING: Duration = Duration::from_secs(5);

/// What is remembered between attempts.
#[derive(Debug)]
pub(super) struct Retry {
    pub backoff: Backoff,
    pub jitter: Jitter,
    /// Until when each way of the target is left alone, since its server sent `Retry-After`.
    holds: Vec<Option<Instant>>,
    /// Those that failed in this cycle, in order.
    failed: Vec<(ServerStatus, FailureReason)>,
    outage: Outage,
    /// When a network change last caused a wake-up.
    woken_at: Option<Instant>,
}

/// Whether `all-servers-failed` was sent: once for each outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    Untold,
    Told,
}

impl Retry {
    pub fn new(seed: u64) -> Self {
        Self {
            backoff: Backoff::default(),
            jitter: Jitter::new(seed),
            holds: Vec::new(),
            failed: Vec::new(),
            outage: Outage::Untold,
            woken_at: None,
        }
    }

    /// Another target: what was asked of the old one does not bind the new one.
    pub fn new_target(&mut self, ways: usize) {
        self.holds = vec![None; ways];
        self.failed.clear();
        self.outage = Outage::Untold;
    }

    /// Other backup servers, or the same in another order: `places` says for each way which it was before. What the
    /// cloud asked of a way that stays still binds.
    pub fn rearrange(&mut self, places: impl Iterator<Item = Option<usize>>) {
        let before = std::mem::take(&mut self.holds);
        let hold = |place: Option<usize>| before.get(place?).copied().flatten();
        self.holds = places.map(hold).collect();
        self.outage = Outage::Untold;
    }

    /// A cycle that has begun with these failures.
    pub fn continue_cycle(&mut self, failed: Vec<(ServerStatus, FailureReason)>) {
        self.failed = failed;
    }

    /// Until when none of the first ways may be asked; `None` while one may.
    pub fn held_until(&self, ways: usize, now: Instant) -> Option<Instant> {
        if (0..ways).any(|way| !self.is_held(way, now)) {
            return None;
        }
        self.holds.iter().take(ways).flatten().min().copied()
    }

    /// `reset-tunnel`: the only other thing that lifts a `Retry-After`.
    pub fn lift_holds(&mut self) {
        self.holds.fill(None);
    }

    /// The tunnel is up.
    pub fn established(&mut self) {
        self.failed.clear();
        self.outage = Outage::Untold;
    }

    /// A server asked to be left alone.
    pub fn hold(&mut self, way: usize, retry_after: Duration, now: Instant) {
        let until = now + self.backoff.hold(retry_after, &mut self.jitter);
        if let Some(hold) = self.holds.get_mut(way) {
            *hold = Some(until);
        }
    }

    /// A server failed in this cycle.
    pub fn failed(&mut self, server: ServerStatus, reason: FailureReason) {
        self.failed.push((server, reason));
    }

    /// Whether a server failed for this reason in the cycle that the wait follows.
    pub fn failed_for(&self, reason: FailureReason) -> bool {
        self.failed.iter().any(|(_, failure)| *failure == reason)
    }

    pub fn is_held(&self, way: usize, now: Instant) -> bool {
        let hold = self.holds.get(way).copied().flatten();
        hold.is_some_and(|until| until > now)
    }

    /// Until when no server may be asked; `None` while one may.
    pub fn all_held_until(&self, now: Instant) -> Option<Instant> {
        self.held_until(self.holds.len(), now)
    }

    /// "Slow only when all failed slowly."
    fn pace(&self) -> Pace {
        if self.failed.iter().all(|(_, reason)| reason.is_slow()) {
            Pace::Slow
        } else {
            Pace::Ordinary
        }
    }

    /// When a network change of now may wake: at once, or when the spacing is over.
    pub fn next_wake(&self, now: Instant) -> Instant {
        self.woken_at
            .map_or(now, |last| now.max(last + WAKE_SPACING))
    }

    /// A network change wakes at this time.
    pub fn wakes_at(&mut self, at: Instant) {
        self.woken_at = Some(at);
    }
}

impl Tunnel {
    /// A new cycle: "the next cycle starts at the primary".
    pub(super) fn begin(&mut self, now: Instant) {
        self.retry.failed.clear();
        self.attempt_from(0, now);
    }

    /// "Servers are tried in order without a wait between them; a server inside its Retry-After is skipped."
    pub(super) fn attempt_from(&mut self, first: usize, now: Instant) {
        let Some(target) = &self.target else {
            self.idle();
            return;
        };
        let mut ways = first..target.ways.len();
        match ways.find(|&way| !self.retry.is_held(way, now)) {
            Some(way) => self.start(way, now),
            None => self.rest(now),
        }
    }

    fn idle(&mut self) {
        self.state = State::Idle;
        self.shown.server = None;
        self.shown.certificate = None;
        self.shown.process = crate::model::status::ProcessState::DnsNotParsed;
    }

    /// "The wait follows the whole cycle."
    fn rest(&mut self, now: Instant) {
        let wait = if self.retry.failed.is_empty() {
            Duration::ZERO // every server is held
        } else {
            let pace = self.retry.pace();
            self.retry.backoff.failed(pace, &mut self.retry.jitter)
        };
        self.wait(wait, now);
        let State::Waiting { until } = self.state else {
            return;
        };
        if !self.retry.failed.is_empty() && self.retry.outage == Outage::Untold {
            self.retry.outage = Outage::Told;
            self.out
                .push(Action::Notify(Notification::AllServersFailed {
                    attempts: self.shown.attempts,
                    next_attempt_at: until,
                    servers: self.retry.failed.clone(),
                }));
        }
    }

    /// Waits this long, or for as long as the only servers there are have asked for.
    pub(super) fn wait(&mut self, wait: Duration, now: Instant) {
        let until = self.retry.all_held_until(now).unwrap_or(now + wait);
        self.asked = self.numbers.next();
        self.state = State::Waiting { until };
    }

    /// The wait after a tunnel of this age was lost without a reason that says more.
    pub(super) fn wait_after_loss(&mut self, settled: bool, now: Instant) {
        let wait = if settled {
            Backoff::first(&mut self.retry.jitter)
        } else {
            let jitter = &mut self.retry.jitter;
            self.retry.backoff.failed(Pace::Ordinary, jitter)
        };
        self.wait(wait, now);
    }

    /// Whether a tunnel that began then counts as a good one; if so the failures before it are forgotten.
    pub(super) fn settle(&mut self, since: Instant, now: Instant) -> bool {
        let settled = now.saturating_duration_since(since) >= SETTLED;
        if settled {
            self.retry.backoff.settled();
        }
        settled
    }

    /// Static hosts or resolvers changed: what waits tries at once, a lookup under way begins again with what is known
    /// now (the manual's own example configures the host after the server).
    pub(super) fn hosts_changed(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Attempting(mut course) => {
                course.hosts_changed(&mut self.means(now));
                self.go_on(*course);
            }
            state => {
                self.state = state;
                self.wake(now);
            }
        }
    }

    /// A reason to try at once, though not before a `Retry-After` is over.
    pub(super) fn wake(&mut self, now: Instant) {
        match self.state {
            State::Waiting { .. } => self.begin(now),
            State::Established(_) => {
                self.wake_subconnections(now, now);
            }
            _ => {}
        }
    }
}
