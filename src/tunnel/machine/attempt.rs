//! The attempt on the main line: where a [`Course`] begins, and what its outcome means for the tunnel.

use std::time::{Duration, Instant};

use super::course::{Course, Goal, Means, Outcome, Plan, Turn};
use super::established::Established;
use super::event::{Action, AuthenticationOutcome, Endpoint, Line, Reply};
use super::{State, Tunnel};
use crate::model::settings::Secret;
use crate::model::status::FailureReason;
use crate::tunnel::wire::UnbindAnswer;

impl Tunnel {
    /// Begins an attempt on a way of the target.
    pub(super) fn start(&mut self, way: usize, now: Instant) {
        let plan = self.plan(Line::Main, way);
        self.attempt(plan, Goal::Authenticate, now);
    }

    /// "The device sends a registration request to re-establish the cloud connection" (manual): at once, with the token
    /// it has, on a new connection to the same server.
    pub(super) fn register_again(&mut self, way: usize, token: Secret, now: Instant) {
        let plan = self.plan(Line::Main, way).map(|plan| Plan {
            turn: Turn::First,
            ..plan
        });
        self.attempt(plan, Goal::Register { token }, now);
    }

    fn attempt(&mut self, plan: Option<Plan>, goal: Goal, now: Instant) {
        let Some(plan) = plan else {
            self.state = State::Idle;
            return;
        };
        self.shown.attempts += 1;
        let course = Course::start(plan, goal, &mut self.means(now));
        self.go_on(course);
    }

    pub(super) fn plan(&self, line: Line, way: usize) -> Option<Plan> {
        let target = self.target.as_ref()?;
        let taken = target.ways.get(way)?;
        Some(Plan {
            line,
            way,
            turn: Turn::InOrder,
            server: Endpoint::of(target, taken),
            password: target.password.clone(),
        })
    }

    pub(super) fn means(&mut self, now: Instant) -> Means<'_> {
        Means {
            code: self.unanswered_code(),
            numbers: &mut self.numbers,
            asked: &mut self.asked,
            out: &mut self.out,
            services: &self.services,
            last_down: self.last_down.map(|last_down| last_down.reason),
            now,
        }
    }

    pub(super) fn go_on(&mut self, course: Course) {
        self.shown.follow(course.progress());
        self.state = State::Attempting(Box::new(course));
    }

    /// The network answered.
    pub(super) fn walk(&mut self, mut course: Course, reply: Reply, now: Instant) {
        self.note_code(&course, &reply, now);
        let outcome = course.handle(reply, &mut self.means(now));
        self.follow(course, outcome, now);
    }

    /// What an answer to step 1 says about the unbinding code, before the course goes on by it.
    fn note_code(&mut self, course: &Course, reply: &Reply, now: Instant) {
        use AuthenticationOutcome as Answer;
        let Reply::Authentication { outcome, .. } = reply else {
            return;
        };
        let refused = |reason: &str| UnbindAnswer::Refused {
            reason: reason.to_owned(),
        };
        let answer = match outcome {
            Answer::Granted { .. } => UnbindAnswer::Accepted,
            Answer::CodeInvalid => refused("code-invalid"),
            Answer::BoundToAnotherUser => refused("bound-to-another-user"),
            _ => return,
        };
        let judged = course.code_sent();
        if let Some(id) = judged {
            self.code_answered(id, answer, now);
        }
        let asks_for_one = match outcome {
            Answer::CodeInvalid => judged.is_some(),
            outcome => *outcome == Answer::BoundToAnotherUser,
        };
        if asks_for_one && self.unanswered_code().is_some() {
            self.code_sent(now);
        }
    }

    /// What an attempt came to.
    pub(super) fn follow(&mut self, mut course: Course, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Underway => self.go_on(course),
            Outcome::Ready => {
                course.upgrade(&mut self.means(now));
                self.go_on(course);
            }
            Outcome::Upgraded { token } => self.establish(&course, token, now),
            Outcome::Failed {
                reason,
                retry_after,
            } => self.fail(&course, reason, retry_after, now),
        }
    }

    fn establish(&mut self, course: &Course, token: Secret, now: Instant) {
        self.shown.follow(course.progress());
        self.retry.established();
        self.shown.failure = None;
        self.shown.attempts = 0;
        let established = Established::new(course, token, self.interval, now);
        self.begin_established(established, now);
    }

    /// The attempt is over; the next server of the cycle follows at once.
    fn fail(
        &mut self,
        course: &Course,
        reason: FailureReason,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.shown.follow(course.progress());
        self.out.push(Action::Abort(Line::Main));
        self.asked = self.numbers.next();
        self.shown.failure = Some(reason);
        if let Some(retry_after) = retry_after {
            self.retry.hold(course.way(), retry_after, now);
        }
        let server = course.progress().server.clone();
        self.failed(Line::Main, server.clone(), reason);
        self.retry.failed(server, reason);
        match course.next_way() {
            0 => self.begin(now),
            next => self.attempt_from(next, now),
        }
    }
}
