//! One attempt on one server, from the lookup to the 101: steps 1 to 6 of the manual, on one connection as far as the
//! cloud allows. Replies go in, orders and an [`Outcome`] come out; what follows from that is the tunnel's affair, which
//! walks its attempts and the probes of the primary by the same code.

mod answers;
mod terms;

use std::net::IpAddr;
use std::time::Instant;

use super::event::{Action, Endpoint, Line, Reply};
use crate::model::settings::Secret;
use crate::model::status::{DeviceState, FailureReason, ProcessState, ServerStatus};
use crate::tunnel::wire::Host;
use answers::broken;
pub(super) use terms::{Goal, Means, Outcome, Plan, Progress, Turn};

/// Connections that one attempt may spend on challenges that came with `Connection: close`: one for a fresh nonce, one
/// for a stale one.
pub const CHALLENGE_CONNECTIONS: u8 = 2;

/// One attempt on one server.
#[derive(Debug)]
pub(super) struct Course {
    plan: Plan,
    /// The request to make next, or under way.
    goal: Goal,
    phase: Phase,
    /// Where the connection leads that is being made or stands.
    link: Link,
    /// What may be done once in an attempt and was done.
    spent: Vec<Once>,
    challenges: u8,
    progress: Progress,
}

/// What is waited for; each has its own deadline.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Resolving {
        deadline: Instant,
    },
    Tcp {
        deadline: Instant,
    },
    Tls {
        deadline: Instant,
    },
    /// The answer to the request that is the goal.
    Asking {
        deadline: Instant,
    },
}

#[derive(Debug)]
struct Link {
    host: Host,
    port: u16,
    addresses: Vec<IpAddr>,
    /// The device's own end of it.
    local: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Once {
    TokenAfterRegistration,
    TokenAfterHandshake,
}

impl Course {
    /// Begins an attempt.
    pub fn start(plan: Plan, goal: Goal, means: &mut Means<'_>) -> Self {
        let server = ServerStatus {
            address: None,
            domain: plan.server.host.to_string(),
            port: plan.server.port,
        };
        let mut course = Self {
            link: Link::to(&plan.server),
            plan,
            goal,
            phase: Phase::Resolving {
                deadline: means.deadline(),
            },
            spent: Vec::new(),
            challenges: 0,
            progress: Progress {
                process: ProcessState::DnsNotParsed,
                server,
                certificate: None,
                clock_unset: None,
            },
        };
        course.look_up(means);
        course
    }

    /// Which way of the target it takes.
    pub fn way(&self) -> usize {
        self.plan.way
    }

    /// The same; another target has the way in another place.
    pub fn way_mut(&mut self) -> &mut usize {
        &mut self.plan.way
    }

    /// The way to try next if it fails.
    pub fn next_way(&self) -> usize {
        match (self.plan.turn, self.plan.way) {
            (Turn::InOrder, way) => way + 1,
            // The head of the cycle has just been tried.
            (Turn::First, 0) => 1,
            (Turn::First, _) => 0,
        }
    }

    /// The server that it began with.
    pub fn server(&self) -> &Endpoint {
        &self.plan.server
    }

    /// The device's own end of the connection that is made or stands.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.link.local
    }

    /// What the state container shows of it.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// When [`Course::overdue`] is to be called.
    pub fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Resolving { deadline }
            | Phase::Tcp { deadline }
            | Phase::Tls { deadline }
            | Phase::Asking { deadline } => deadline,
        }
    }

    /// The step that it is at.
    pub fn device_state(&self) -> DeviceState {
        match (self.phase, &self.goal) {
            (Phase::Resolving { .. }, _) => DeviceState::Resolving,
            (Phase::Tcp { .. } | Phase::Tls { .. }, _) => DeviceState::Connecting,
            (Phase::Asking { .. }, Goal::Authenticate | Goal::Unbind { .. }) => {
                DeviceState::Authenticating
            }
            (Phase::Asking { .. }, Goal::Register { .. }) => DeviceState::Registering,
            (Phase::Asking { .. }, Goal::Upgrade { .. }) => DeviceState::Handshaking,
        }
    }

    /// The number of the unbinding code that the authentication under way bears.
    pub fn code_sent(&self) -> Option<u64> {
        match (self.phase, &self.goal) {
            (Phase::Asking { .. }, Goal::Unbind { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// The deadline of the step has passed.
    pub fn overdue(&mut self) -> Outcome {
        if matches!(self.phase, Phase::Asking { .. }) {
            self.progress.process = ProcessState::MessageNotReceived;
        }
        Outcome::failed(FailureReason::Timeout)
    }

    /// Hosts or resolvers changed: a lookup under way begins again with what is known now.
    pub fn hosts_changed(&mut self, means: &mut Means<'_>) {
        if matches!(self.phase, Phase::Resolving { .. }) {
            means.out.push(Action::Abort(self.plan.line));
            self.look_up(means);
        }
    }

    /// One step further, or not.
    pub fn handle(&mut self, reply: Reply, means: &mut Means<'_>) -> Outcome {
        match (self.phase, reply) {
            (Phase::Resolving { .. }, Reply::Resolved(addresses)) => self.dial(addresses, means),
            (Phase::Tcp { .. }, Reply::LocalAddress(address)) => {
                self.link.local = Some(address);
                Outcome::Underway
            }
            (Phase::Tcp { .. }, Reply::TcpConnected(address)) => {
                self.show_address(address);
                self.progress.process = ProcessState::MessageNotSent;
                self.phase = Phase::Tls {
                    deadline: means.deadline(),
                };
                Outcome::Underway
            }
            (Phase::Tcp { .. } | Phase::Tls { .. }, Reply::Certificate(certificate)) => {
                self.progress.certificate = Some(certificate);
                Outcome::Underway
            }
            (Phase::Tcp { .. } | Phase::Tls { .. }, Reply::Connected { clock_unset }) => {
                self.progress.clock_unset = Some(clock_unset);
                self.ask(means)
            }
            (Phase::Asking { .. }, reply) => self.answered(reply, means),
            (_, reply) => broken(&reply),
        }
    }

    /// Whom the next request goes to: the server, unless the registration named another place. "A URL on another host
    /// is dialled with the same source address, VRF, static hosts and trust."
    fn destination(&self) -> Endpoint {
        match &self.goal {
            Goal::Upgrade { url, .. } => Endpoint {
                host: url.host().clone(),
                port: url.port(),
                ..self.plan.server.clone()
            },
            Goal::Authenticate | Goal::Unbind { .. } | Goal::Register { .. } => {
                self.plan.server.clone()
            }
        }
    }

    /// "The name is resolved anew for each attempt."
    fn look_up(&mut self, means: &mut Means<'_>) {
        let endpoint = self.destination();
        self.link = Link::to(&endpoint);
        self.progress.process = ProcessState::DnsNotParsed;
        let attempt = means.number();
        if let Host::Address(address) = endpoint.host {
            self.connect(vec![address], means);
            return;
        }
        self.phase = Phase::Resolving {
            deadline: means.deadline(),
        };
        means.out.push(Action::Resolve {
            attempt,
            line: self.plan.line,
            endpoint,
        });
    }

    fn dial(&mut self, addresses: Vec<IpAddr>, means: &mut Means<'_>) -> Outcome {
        if addresses.is_empty() {
            return Outcome::failed(FailureReason::DnsFailed);
        }
        self.connect(addresses, means);
        Outcome::Underway
    }

    fn connect(&mut self, addresses: Vec<IpAddr>, means: &mut Means<'_>) {
        if let Some(&first) = addresses.first() {
            self.show_address(first);
        }
        self.link.addresses.clone_from(&addresses);
        self.progress.process = ProcessState::DnsParsed;
        self.phase = Phase::Tcp {
            deadline: means.deadline(),
        };
        let attempt = means.number();
        means.out.push(Action::Connect {
            attempt,
            line: self.plan.line,
            endpoint: self.destination(),
            addresses,
        });
    }

    /// `server-address` is that of the server, not of another place that a registration may name.
    fn show_address(&mut self, address: IpAddr) {
        if self.link.leads_to(&self.plan.server) {
            self.progress.server.address = Some(address);
        }
    }

    /// Makes the request that is the goal: on the connection that stands where that is possible, else on a new one.
    fn proceed(&mut self, reusable: bool, means: &mut Means<'_>) -> Outcome {
        let linked = self.link.leads_to(&self.destination());
        if linked && reusable {
            return self.ask(means);
        }
        means.out.push(Action::Abort(self.plan.line));
        if linked {
            self.connect(self.link.addresses.clone(), means);
        } else {
            self.look_up(means);
        }
        Outcome::Underway
    }

    /// Makes the request that is the goal; with the upgrade it waits for the word of the tunnel.
    fn ask(&mut self, means: &mut Means<'_>) -> Outcome {
        let action = match &self.goal {
            Goal::Authenticate => self.authenticate(None, means),
            Goal::Unbind { code, .. } => self.authenticate(Some(code.clone()), means),
            Goal::Register { token } => Action::Register {
                attempt: means.number(),
                line: self.plan.line,
                token: token.clone(),
                services: means.services.iter().cloned().collect(),
                last_down: means.last_down,
            },
            Goal::Upgrade { .. } => return Outcome::Ready,
        };
        self.send(action, means);
        Outcome::Underway
    }

    fn authenticate(&self, unbinding_code: Option<Secret>, means: &mut Means<'_>) -> Action {
        Action::Authenticate {
            attempt: means.number(),
            line: self.plan.line,
            password: self.plan.password.clone(),
            unbinding_code,
        }
    }

    /// Step 5, once [`Outcome::Ready`] is reached; from then on it is the main connection.
    pub fn upgrade(&mut self, means: &mut Means<'_>) {
        self.plan.line = Line::Main;
        if let Goal::Upgrade { token, url } = self.goal.clone() {
            let attempt = means.number();
            self.send(
                Action::Upgrade {
                    attempt,
                    url,
                    token,
                },
                means,
            );
        }
    }

    fn send(&mut self, request: Action, means: &mut Means<'_>) {
        self.progress.process = ProcessState::MessageSent;
        self.phase = Phase::Asking {
            deadline: means.deadline(),
        };
        means.out.push(request);
    }
}

impl Link {
    fn to(endpoint: &Endpoint) -> Self {
        Self {
            host: endpoint.host.clone(),
            port: endpoint.port,
            addresses: Vec::new(),
            local: None,
        }
    }

    fn leads_to(&self, endpoint: &Endpoint) -> bool {
        self.host == endpoint.host && self.port == endpoint.port
    }
}
