//! From the lookup to the 101: steps 1 to 6 of the manual, on one connection as far as the cloud allows.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::established::Established;
use super::event::{Action, AuthenticationOutcome, Endpoint, Reply, StepError};
use super::{STEP_DEADLINE, State, Tunnel};
use crate::model::settings::Secret;
use crate::model::status::{FailureReason, ProcessState, ServerStatus};
use crate::tunnel::wire::{CloudUrl, Host, RegistrationAnswer, UnbindAnswer, UpgradeRefusal};

/// Connections that one attempt may spend on challenges that came with `Connection: close`: one for a fresh nonce, one
/// for a stale one.
const CHALLENGE_CONNECTIONS: u8 = 2;

/// One attempt on one server.
#[derive(Debug)]
pub(super) struct Course {
    /// Which way of the target it takes.
    pub way: usize,
    /// The server of that way.
    pub server: Endpoint,
    /// The request to make next, or under way.
    pub goal: Goal,
    /// Where the connection leads that is being made or stands.
    link: Link,
    /// What may be done once in an attempt and was done.
    spent: Vec<Once>,
    challenges: u8,
}

/// The request that a connection is made for.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// Step 1.
    Authenticate,
    /// Step 1 with the unbinding code of this number, after a 403 `bound-to-another-user`.
    Unbind { id: u64, code: Secret },
    /// Step 3.
    Register { token: Secret },
    /// Step 5.
    Upgrade { token: Secret, url: CloudUrl },
}

#[derive(Debug)]
struct Link {
    host: Host,
    port: u16,
    addresses: Vec<IpAddr>,
}

/// The two steps of `Connect`, each with its own deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    Tcp,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Once {
    TokenAfterRegistration,
    TokenAfterHandshake,
}

impl Course {
    fn new(way: usize, server: Endpoint, goal: Goal) -> Self {
        let link = Link {
            host: server.host.clone(),
            port: server.port,
            addresses: Vec::new(),
        };
        Self {
            way,
            server,
            goal,
            link,
            spent: Vec::new(),
            challenges: 0,
        }
    }

    /// Whom the next request goes to: the server, unless the registration named another place. "A URL on another host
    /// is dialled with the same source address, VRF, static hosts and trust."
    fn destination(&self) -> Endpoint {
        match &self.goal {
            Goal::Upgrade { url, .. } => Endpoint {
                host: url.host().clone(),
                port: url.port(),
                ..self.server.clone()
            },
            Goal::Authenticate | Goal::Unbind { .. } | Goal::Register { .. } => self.server.clone(),
        }
    }

    fn is_linked_to(&self, endpoint: &Endpoint) -> bool {
        self.link.host == endpoint.host && self.link.port == endpoint.port
    }

    /// True the first time only.
    fn first(&mut self, once: Once) -> bool {
        let first = !self.spent.contains(&once);
        if first {
            self.spent.push(once);
        }
        first
    }
}

impl Tunnel {
    /// Begins an attempt on a way of the target.
    pub(super) fn start(&mut self, way: usize, goal: Goal, now: Instant) {
        let Some(server) = self.endpoint(way) else {
            self.state = State::Idle;
            return;
        };
        self.shown.attempts += 1;
        self.shown.server = Some(ServerStatus {
            address: None,
            domain: server.host.to_string(),
            port: server.port,
        });
        self.shown.certificate = None;
        self.look_up(Course::new(way, server, goal), now);
    }

    fn endpoint(&self, way: usize) -> Option<Endpoint> {
        let target = self.target.as_ref()?;
        let way = target.ways.get(way)?;
        Some(Endpoint {
            host: way.host.clone(),
            port: way.port,
            family: way.family,
            path: way.path.clone(),
            trust: target.trust.clone(),
        })
    }

    /// "The name is resolved anew for each attempt."
    pub(super) fn look_up(&mut self, mut course: Course, now: Instant) {
        let endpoint = course.destination();
        course.link = Link {
            host: endpoint.host.clone(),
            port: endpoint.port,
            addresses: Vec::new(),
        };
        self.shown.process = ProcessState::DnsNotParsed;
        self.asked = self.numbers.next();
        if let Host::Address(address) = endpoint.host {
            self.dial(course, vec![address], now);
            return;
        }
        self.out.push(Action::Resolve {
            attempt: self.asked,
            endpoint,
        });
        self.state = State::Resolving {
            course,
            deadline: now + STEP_DEADLINE,
        };
    }

    fn dial(&mut self, mut course: Course, addresses: Vec<IpAddr>, now: Instant) {
        let Some(&first) = addresses.first() else {
            self.fail(course, FailureReason::DnsFailed, None, now);
            return;
        };
        self.show_address(&course, first);
        course.link.addresses.clone_from(&addresses);
        self.shown.process = ProcessState::MessageNotSent;
        self.asked = self.numbers.next();
        self.out.push(Action::Connect {
            attempt: self.asked,
            endpoint: course.destination(),
            addresses,
        });
        self.state = State::Connecting {
            course,
            leg: Leg::Tcp,
            deadline: now + STEP_DEADLINE,
        };
    }

    /// `server-address` is that of the server, not of another place that a registration may name.
    fn show_address(&mut self, course: &Course, address: IpAddr) {
        if course.is_linked_to(&course.server)
            && let Some(server) = &mut self.shown.server
        {
            server.address = Some(address);
        }
    }

    /// Makes the request that is the goal: on the connection that stands where that is possible, else on a new one.
    fn proceed(&mut self, course: Course, reusable: bool, now: Instant) {
        let destination = course.destination();
        if !course.is_linked_to(&destination) {
            self.out.push(Action::Abort);
            self.look_up(course, now);
        } else if reusable {
            self.ask(course, now);
        } else {
            self.out.push(Action::Abort);
            let addresses = course.link.addresses.clone();
            self.dial(course, addresses, now);
        }
    }

    fn ask(&mut self, course: Course, now: Instant) {
        let attempt = self.numbers.next();
        let deadline = now + STEP_DEADLINE;
        self.asked = attempt;
        self.shown.process = ProcessState::MessageSent;
        let (action, state) = match &course.goal {
            Goal::Authenticate | Goal::Unbind { .. } => {
                let unbinding_code = match &course.goal {
                    Goal::Unbind { code, .. } => Some(code.clone()),
                    _ => None,
                };
                let password = self
                    .target
                    .as_ref()
                    .and_then(|target| target.password.clone());
                let action = Action::Authenticate {
                    attempt,
                    password,
                    unbinding_code,
                };
                (action, State::Authenticating { course, deadline })
            }
            Goal::Register { token } => {
                let action = Action::Register {
                    attempt,
                    token: token.clone(),
                    services: self.services.iter().cloned().collect(),
                    last_down: self.last_down.map(|last_down| last_down.reason),
                };
                (action, State::Registering { course, deadline })
            }
            Goal::Upgrade { token, url } => {
                let action = Action::Upgrade {
                    attempt,
                    url: url.clone(),
                    token: token.clone(),
                };
                (action, State::Handshaking { course, deadline })
            }
        };
        self.out.push(action);
        self.state = state;
    }

    /// One step further, or not.
    pub(super) fn walk(&mut self, state: State, reply: Reply, now: Instant) {
        match (state, reply) {
            (State::Resolving { course, .. }, Reply::Resolved(addresses)) => {
                self.dial(course, addresses, now);
            }
            (
                State::Connecting {
                    course,
                    leg: Leg::Tcp,
                    ..
                },
                Reply::TcpConnected(address),
            ) => {
                self.show_address(&course, address);
                self.state = State::Connecting {
                    course,
                    leg: Leg::Tls,
                    deadline: now + STEP_DEADLINE,
                };
            }
            (state @ State::Connecting { .. }, Reply::Certificate(certificate)) => {
                self.shown.certificate = Some(certificate);
                self.state = state;
            }
            (State::Connecting { course, .. }, Reply::Connected { clock_unset }) => {
                self.shown.clock_unset = clock_unset;
                self.ask(course, now);
            }
            (State::Authenticating { course, .. }, Reply::Authentication { outcome, reusable }) => {
                self.shown.process = ProcessState::MessageReceived;
                self.authenticated(course, outcome, reusable, now);
            }
            (State::Registering { course, .. }, Reply::Registration { answer, reusable }) => {
                self.shown.process = ProcessState::MessageReceived;
                self.registered(course, answer, reusable, now);
            }
            (State::Handshaking { course, .. }, Reply::Upgraded) => {
                self.shown.process = ProcessState::MessageReceived;
                self.establish(course, now);
            }
            (State::Handshaking { course, .. }, Reply::UpgradeRefused { refusal, reusable }) => {
                self.shown.process = ProcessState::MessageReceived;
                self.upgrade_refused(course, refusal, reusable, now);
            }
            (state, Reply::Failed(error)) => self.step_failed(state, error, now),
            (state, Reply::Lost | Reply::Closed(_)) => {
                self.step_failed(state, StepError::Connect, now)
            }
            // A reply that does not belong to the state: sent twice or overtaken.
            (state, _) => self.state = state,
        }
    }

    fn step_failed(&mut self, state: State, error: StepError, now: Instant) {
        match state {
            State::Resolving { course, .. }
            | State::Connecting { course, .. }
            | State::Authenticating { course, .. }
            | State::Registering { course, .. }
            | State::Handshaking { course, .. } => self.fail(course, error.reason(), None, now),
            state => self.state = state,
        }
    }

    fn authenticated(
        &mut self,
        mut course: Course,
        outcome: AuthenticationOutcome,
        reusable: bool,
        now: Instant,
    ) {
        use AuthenticationOutcome as Outcome;
        let code = match course.goal {
            Goal::Unbind { id, .. } => Some(id),
            _ => None,
        };
        match (outcome, code) {
            (Outcome::Granted { token }, code) => {
                if let Some(id) = code {
                    self.code_answered(id, UnbindAnswer::Accepted, now);
                }
                course.goal = Goal::Register { token };
                self.proceed(course, reusable, now);
            }
            (Outcome::AskAgain, _) if course.challenges < CHALLENGE_CONNECTIONS => {
                course.challenges += 1;
                self.proceed(course, false, now);
            }
            (refused @ (Outcome::BoundToAnotherUser | Outcome::CodeInvalid), Some(id)) => {
                let reason = match refused {
                    Outcome::CodeInvalid => "code-invalid",
                    _ => "bound-to-another-user",
                };
                let answer = UnbindAnswer::Refused {
                    reason: reason.to_owned(),
                };
                self.code_answered(id, answer, now);
                self.bound(course, reusable, now);
            }
            (Outcome::BoundToAnotherUser, None) => self.bound(course, reusable, now),
            (Outcome::Busy { retry_after }, _) => {
                self.fail(course, FailureReason::Busy, retry_after, now);
            }
            (refused, _) => self.fail(course, refusal(&refused), None, now),
        }
    }

    /// "After 403 `bound-to-another-user` with an unanswered code the device at once sends one more authentication on
    /// the same connection"; the code may be one that came while another was being judged.
    fn bound(&mut self, mut course: Course, reusable: bool, now: Instant) {
        let Some((id, code)) = self.unanswered_code() else {
            self.fail(course, FailureReason::BoundToAnotherUser, None, now);
            return;
        };
        self.code_sent(now);
        course.goal = Goal::Unbind { id, code };
        self.proceed(course, reusable, now);
    }

    fn registered(
        &mut self,
        mut course: Course,
        answer: RegistrationAnswer,
        reusable: bool,
        now: Instant,
    ) {
        match (answer, course.goal.clone()) {
            (RegistrationAnswer::Success { url, .. }, Goal::Register { token }) => {
                course.goal = Goal::Upgrade { token, url };
                self.proceed(course, reusable, now);
            }
            (RegistrationAnswer::TokenExpired, _) if course.first(Once::TokenAfterRegistration) => {
                course.goal = Goal::Authenticate;
                self.proceed(course, reusable, now);
            }
            (RegistrationAnswer::Busy { retry_after }, _) => {
                self.fail(course, FailureReason::Busy, retry_after, now);
            }
            _ => self.fail(course, FailureReason::RegistrationFailed, None, now),
        }
    }

    fn upgrade_refused(
        &mut self,
        mut course: Course,
        refusal: UpgradeRefusal,
        reusable: bool,
        now: Instant,
    ) {
        match refusal {
            UpgradeRefusal::TokenExpired if course.first(Once::TokenAfterHandshake) => {
                course.goal = Goal::Authenticate;
                self.proceed(course, reusable, now);
            }
            UpgradeRefusal::Busy { retry_after } => {
                self.fail(course, FailureReason::Busy, retry_after, now);
            }
            UpgradeRefusal::TokenExpired | UpgradeRefusal::Failed { .. } => {
                self.fail(course, FailureReason::HandshakeFailed, None, now);
            }
        }
    }

    fn establish(&mut self, course: Course, now: Instant) {
        let Goal::Upgrade { token, .. } = course.goal else {
            self.fail(course, FailureReason::Protocol, None, now);
            return;
        };
        self.retry.established();
        self.shown.failure = None;
        self.shown.attempts = 0;
        let established = Established::new(course.way, course.server, token, self.interval, now);
        self.begin_established(established, now);
    }

    /// The attempt is over; the next server of the cycle follows at once.
    pub(super) fn fail(
        &mut self,
        course: Course,
        reason: FailureReason,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.out.push(Action::Abort);
        self.asked = self.numbers.next();
        self.shown.failure = Some(reason);
        if let Some(retry_after) = retry_after {
            self.retry.hold(course.way, retry_after, now);
        }
        let server = self.shown.server.clone();
        self.retry.failed(server, reason);
        self.attempt_from(course.way + 1, now);
    }
}

fn refusal(outcome: &AuthenticationOutcome) -> FailureReason {
    use AuthenticationOutcome as Outcome;
    match outcome {
        Outcome::PasswordRefused => FailureReason::PasswordRefused,
        Outcome::CloudNotAuthentic => FailureReason::CloudNotAuthentic,
        Outcome::SerialNumberNotRegistered => FailureReason::SerialNumberNotRegistered,
        Outcome::BoundToAnotherUser => FailureReason::BoundToAnotherUser,
        Outcome::Busy { .. } => FailureReason::Busy,
        Outcome::Granted { .. } | Outcome::AskAgain => FailureReason::Protocol,
        // "403 with any other reason": `code-invalid` too, when no code was sent.
        Outcome::CodeInvalid | Outcome::Refused => FailureReason::AuthenticationFailed,
    }
}
