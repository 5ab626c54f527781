//! The way back to the primary while a backup server carries the tunnel (cloud-protocol.md, "Retry"; leaf
//! `primary-return`).
//!
//! A probe is an attempt like any other, on a line of its own: lookup, TCP, TLS, authentication and registration, and a
//! connection to where the URL leads. Only once nothing but the upgrade is missing is the backup given up, so that
//! neither two main connections exist nor a primary that cannot register costs the tunnel.

use std::time::{Duration, Instant};

use super::course::{Course, Goal, Means, Outcome};
use super::event::{Action, Attempt, CloseCode, Line, Reply};
use super::{State, Tunnel};
use crate::model::status::{FailureReason, LastDownReason, PrimaryProbe, ServerStatus};
use crate::tunnel::target::Role;

/// What is done about the primary.
#[derive(Debug)]
pub(super) struct WayBack {
    /// When the last probe ended, and why it came to nothing.
    last: Option<(Instant, FailureReason)>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    /// `primary-return` is never.
    Never,
    /// The next probe begins.
    At(Instant),
    Probing(Box<Probe>),
}

/// A probe of the primary's ways, one after the other.
#[derive(Debug)]
struct Probe {
    /// The number of the reply that is waited for.
    asked: Attempt,
    course: Course,
    /// The ways that failed before.
    failed: Vec<(ServerStatus, FailureReason)>,
}

impl WayBack {
    /// When [`Tunnel::keep_returning`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.next {
            Next::Never => None,
            Next::At(at) => Some(*at),
            Next::Probing(probe) => Some(probe.course.deadline()),
        }
    }

    /// Whether a reply with this number is for the probe.
    pub fn awaits(&self, attempt: Attempt) -> bool {
        matches!(&self.next, Next::Probing(probe) if probe.asked == attempt)
    }

    pub fn is_probing(&self) -> bool {
        matches!(self.next, Next::Probing(_))
    }

    pub fn status(&self) -> PrimaryProbe {
        PrimaryProbe {
            at: self.last.map(|(at, _)| at),
            failure: self.last.map(|(_, reason)| reason),
            next_at: match self.next {
                Next::At(at) => Some(at),
                Next::Never | Next::Probing(_) => None,
            },
        }
    }

    fn take_probe(&mut self) -> Option<Box<Probe>> {
        match std::mem::replace(&mut self.next, Next::Never) {
            Next::Probing(probe) => Some(probe),
            other => {
                self.next = other;
                None
            }
        }
    }
}

impl Tunnel {
    /// A new `primary-return`: the clock begins anew. A probe under way goes on unless there is to be none.
    pub(super) fn new_primary_return(&mut self, interval: Option<Duration>, now: Instant) {
        if interval == self.primary_return {
            return;
        }
        self.primary_return = interval;
        let probing = self
            .way_back()
            .is_some_and(|way_back| way_back.is_probing());
        if interval.is_none() || !probing {
            self.end_probe();
            self.plan_return(now);
        }
    }

    /// Sets the clock of the first probe. It comes after half an interval at least and a whole one at most: devices
    /// that lost their primary all at once do not come back all at once.
    pub(super) fn plan_return(&mut self, now: Instant) {
        let interval = self.primary_return;
        let State::Established(established) = &mut self.state else {
            return;
        };
        let target = self.target.as_ref();
        let way = target.and_then(|target| target.ways.get(established.way));
        if way.is_none_or(|way| way.role == Role::Primary) {
            return;
        }
        let next = match interval {
            Some(interval) => Next::At(now + self.retry.jitter.between(interval / 2, interval)),
            None => Next::Never,
        };
        let last = established.way_back.take().and_then(|before| before.last);
        established.way_back = Some(WayBack { last, next });
    }

    /// The target changed under the tunnel: a probe under way is no longer one of it, and is made anew at once.
    pub(super) fn renew_probe(&mut self, now: Instant) {
        if self.end_probe() {
            self.probe_from(0, Vec::new(), now);
        }
    }

    /// Drops a probe under way. Whether there was one.
    fn end_probe(&mut self) -> bool {
        let probe = self.way_back().and_then(WayBack::take_probe);
        if probe.is_some() {
            self.out.push(Action::Abort(Line::Probe));
        }
        probe.is_some()
    }

    pub(super) fn way_back(&mut self) -> Option<&mut WayBack> {
        match &mut self.state {
            State::Established(established) => established.way_back.as_mut(),
            _ => None,
        }
    }

    /// Does what is due about the primary.
    pub(super) fn keep_returning(&mut self, now: Instant) {
        let Some(way_back) = self.way_back() else {
            return;
        };
        if way_back.deadline().is_none_or(|due| now < due) {
            return;
        }
        match way_back.take_probe() {
            None => self.probe_from(0, Vec::new(), now),
            Some(mut probe) => {
                let outcome = probe.course.overdue();
                self.follow_probe(probe, outcome, now);
            }
        }
    }

    /// The network answered the probe.
    pub(super) fn probed(&mut self, reply: Reply, now: Instant) {
        let Some(mut probe) = self.way_back().and_then(WayBack::take_probe) else {
            return;
        };
        let mut means = self.means_of_probe(&mut probe.asked, now);
        let outcome = probe.course.handle(reply, &mut means);
        self.follow_probe(probe, outcome, now);
    }

    /// Without the unbinding code: that is sent on the tunnel that stands.
    fn means_of_probe<'a>(&'a mut self, asked: &'a mut Attempt, now: Instant) -> Means<'a> {
        Means {
            asked,
            code: None,
            ..self.means(now)
        }
    }

    fn primary_ways(&self) -> usize {
        self.target
            .as_ref()
            .map_or(0, |target| target.primary().count())
    }

    /// Probes the next of the primary's ways; one inside its Retry-After is skipped.
    fn probe_from(
        &mut self,
        first: usize,
        failed: Vec<(ServerStatus, FailureReason)>,
        now: Instant,
    ) {
        let way = (first..self.primary_ways()).find(|&way| !self.retry.is_held(way, now));
        let Some(plan) = way.and_then(|way| self.plan(Line::Probe, way)) else {
            self.rest_from_probing(&failed, now);
            return;
        };
        let mut asked = Attempt::default();
        let mut means = self.means_of_probe(&mut asked, now);
        let course = Course::start(plan, Goal::Authenticate, &mut means);
        self.probe_on(Box::new(Probe {
            asked,
            course,
            failed,
        }));
    }

    fn probe_on(&mut self, probe: Box<Probe>) {
        if let Some(way_back) = self.way_back() {
            way_back.next = Next::Probing(probe);
        }
    }

    fn follow_probe(&mut self, probe: Box<Probe>, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Underway => self.probe_on(probe),
            Outcome::Ready => self.return_to_primary(*probe, now),
            // It was never asked to upgrade.
            Outcome::Upgraded { .. } => self.drop_probe(*probe, FailureReason::Protocol, None, now),
            Outcome::Failed {
                reason,
                retry_after,
            } => self.drop_probe(*probe, reason, retry_after, now),
        }
    }

    /// This way came to nothing; the primary's next one follows.
    fn drop_probe(
        &mut self,
        mut probe: Probe,
        reason: FailureReason,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.out.push(Action::Abort(Line::Probe));
        let way = probe.course.way();
        if let Some(retry_after) = retry_after {
            self.retry.hold(way, retry_after, now);
        }
        let server = probe.course.progress().server.clone();
        self.failed(Line::Probe, server.clone(), reason);
        probe.failed.push((server, reason));
        self.probe_from(way + 1, probe.failed, now);
    }

    /// No way to the primary is left: until the next time, or for as long as it has asked to be left alone.
    fn rest_from_probing(&mut self, failed: &[(ServerStatus, FailureReason)], now: Instant) {
        let interval = self.primary_return;
        let held_until = self.retry.held_until(self.primary_ways(), now);
        let Some(way_back) = self.way_back() else {
            return;
        };
        if let Some((_, reason)) = failed.last() {
            way_back.last = Some((now, *reason));
        }
        way_back.next = match (interval, held_until) {
            (None, _) => Next::Never,
            (Some(interval), None) => Next::At(now + interval),
            // Not before it may be asked again; at once then, if that is all that held this probe up.
            (Some(_), Some(until)) if failed.is_empty() => Next::At(until),
            (Some(interval), Some(until)) => Next::At(until.max(now + interval)),
        };
    }

    /// "Then the backup is closed (1000) and the primary upgraded": on the probe's own connection.
    fn return_to_primary(&mut self, probe: Probe, now: Instant) {
        let State::Established(established) = std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        let code = Some(CloseCode::NORMAL);
        self.end_established(*established, LastDownReason::PrimaryReturn, code, now);
        self.out.push(Action::Promote);
        // The probe was the beginning of a cycle, which goes on with the backup servers if the upgrade fails.
        self.retry.continue_cycle(probe.failed);
        self.shown.attempts = 1;
        self.follow(probe.course, Outcome::Ready, now);
    }
}
