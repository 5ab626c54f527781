//! ★ The cloud connection as a machine: an event and the time go in, actions come out, and nothing here waits.
//!
//! ```text
//!                 Target                Resolved            Connected           Granted          Registered
//!  Idle ───────────────────► Resolving ─────────► Connecting ────────► Authenticating ──► Registering ──► Handshaking
//!   ▲                          ▲   │ any step: refused, failed, 10 s passed                                    │ 101
//!   │ no target                │   ▼                                                                           ▼
//!   └─────────────────────── Waiting ◄──────────────────────── lost ─────────────────────────────────── Established
//! ```
//!
//! A state carries its own data and its own deadline, so leaving it disarms it. Every action that is answered carries a
//! number which its reply echoes; on each line – the main one, and the probe of the primary beside a tunnel on a backup
//! server – exactly one number is waited for, and `Tunnel::hear` drops all others. The driver executes actions and reports
//! events; it decides nothing.
//!
//! `machine/event.rs` is the interface. `machine/course.rs` walks from the lookup to the 101, `machine/attempt.rs` says
//! what that means for the tunnel, `machine/established.rs` lives from there on, `machine/primary.rs` leads back from a
//! backup server, `machine/network.rs` hears of the device's own network, `machine/retry.rs` decides when and where the
//! next attempt goes, `machine/unbinding.rs` keeps the unbinding code, `machine/announce.rs` says what is told of it all.

mod announce;
mod attempt;
mod course;
mod established;
pub mod event;
mod network;
mod primary;
mod retry;
mod unbinding;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use event::{Action, Attempt, Cause, CloseCode, Event, Failure, Line, Notification, Reply};

use crate::model::network::Network;
use crate::model::status::{
    CloudStatus, ConnectionState, DeviceState, FailureReason, Keepalives, LastDown, LastDownReason,
    ProcessState, ServerCertificate, ServerStatus, Unbinding,
};
use crate::tunnel::target::{Origins, Target};
pub use course::CHALLENGE_CONNECTIONS;
use course::{Course, Progress};
use established::Established;
use primary::WayBack;
use retry::Retry;

/// Each of resolve, TCP, TLS, authentication, registration, handshake and list has this long (cloud-protocol.md).
pub const STEP_DEADLINE: Duration = Duration::from_secs(10);
/// "If the device does not receive a response from the cloud server within three keepalive intervals" (manual).
pub const SILENT_INTERVALS: u32 = 3;

/// Gives out the numbers of the actions.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// One that was never given before.
    pub fn next(&mut self) -> Attempt {
        self.0 += 1;
        Attempt(self.0)
    }
}

/// What a machine starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// Seed of all waits; different on each device and each start.
    pub seed: u64,
    /// Keepalive interval.
    pub keepalive_interval: Duration,
    /// Read back from the store.
    pub unbinding: Unbinding,
    /// Read back from the store.
    pub last_down: Option<LastDown>,
}

#[derive(Debug)]
enum State {
    /// No server is known.
    Idle,
    /// From the lookup to the 101.
    Attempting(Box<Course>),
    Established(Box<Established>),
    Waiting {
        until: Instant,
    },
    /// The agent ends; nothing follows.
    Stopped,
}

impl State {
    /// Index of the way that an attempt or a tunnel has taken.
    fn way_in_use(&mut self) -> Option<&mut usize> {
        match self {
            Self::Attempting(course) => Some(course.way_mut()),
            Self::Established(established) => Some(&mut established.way),
            Self::Idle | Self::Waiting { .. } | Self::Stopped => None,
        }
    }
}

/// The state container beyond what the state itself tells.
#[derive(Debug)]
struct Shown {
    process: ProcessState,
    failure: Option<FailureReason>,
    server: Option<ServerStatus>,
    certificate: Option<ServerCertificate>,
    clock_unset: bool,
    attempts: u64,
    keepalives: Keepalives,
    ignored: u64,
}

/// The cloud connection of the device: at most one main connection, and its subconnections.
#[derive(Debug)]
pub struct Tunnel {
    state: State,
    /// The number of the reply that is waited for.
    asked: Attempt,
    numbers: Numbers,
    target: Option<Target>,
    origins: Origins,
    interval: Duration,
    primary_return: Option<Duration>,
    services: BTreeSet<String>,
    network: Arc<Network>,
    unbinding: Unbinding,
    last_down: Option<LastDown>,
    retry: Retry,
    shown: Shown,
    out: Vec<Action>,
    failures: Vec<Failure>,
}

impl Tunnel {
    /// A tunnel without a target.
    pub fn new(start: Start) -> Self {
        Self {
            state: State::Idle,
            asked: Attempt::default(),
            numbers: Numbers::default(),
            target: None,
            origins: Origins::default(),
            interval: start.keepalive_interval,
            primary_return: None,
            services: BTreeSet::new(),
            network: Arc::default(),
            unbinding: start.unbinding,
            last_down: start.last_down,
            retry: Retry::new(start.seed),
            shown: Shown {
                process: ProcessState::DnsNotParsed,
                failure: None,
                server: None,
                certificate: None,
                clock_unset: false,
                attempts: 0,
                keepalives: Keepalives::default(),
                ignored: 0,
            },
            out: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// The only mutator: what happened, and when. The actions are to be done in their order.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        if matches!(self.state, State::Stopped) {
            return Vec::new();
        }
        self.failures.clear();
        let before = self.milestones();
        match event {
            Event::Reply(attempt, reply) => self.hear(attempt, reply, now),
            Event::SubconnectionReply(attempt, reply) => {
                self.subconnection_replied(attempt, reply, now);
            }
            Event::Target {
                target,
                origins,
                cause,
            } => {
                self.origins = origins;
                self.new_target(target, cause, now);
            }
            Event::KeepaliveInterval(interval) => self.new_interval(interval, now),
            Event::PrimaryReturn(interval) => self.new_primary_return(interval, now),
            Event::Services(services) => self.new_services(services, now),
            Event::ConfiguredCode(code) => self.configured_code(code, now),
            Event::RestoredCode(code) => self.restored_code(code),
            Event::Unbind(code) => self.new_code(code, now),
            Event::Reset => self.reset(now),
            Event::HostsChanged => self.hosts_changed(now),
            Event::NetworkChanged(network) => self.network_changed(network, now),
            Event::Tick => self.tick(now),
            Event::Shutdown => self.stop(now),
        }
        self.announce(&before);
        std::mem::take(&mut self.out)
    }

    /// What the last event has shown to have failed, in order.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    fn failed(&mut self, line: Line, server: ServerStatus, reason: FailureReason) {
        self.failures.push(Failure {
            line,
            server,
            reason,
        });
    }

    /// When `Event::Tick` is due; `None` while only an event can bring anything about.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle | State::Stopped => None,
            State::Attempting(course) => Some(course.deadline()),
            State::Established(established) => Some(established.deadline()),
            State::Waiting { until } => Some(*until),
        }
    }

    /// The state container as it is now.
    pub fn status(&self) -> CloudStatus {
        let (connection, device) = self.phase();
        let established = self.established();
        CloudStatus {
            connection,
            device,
            process: self.shown.process,
            failure: self.shown.failure,
            server: self.shown.server.clone(),
            domain_origin: self.origins.domain,
            password_origin: self.origins.password,
            connected_at: established.map(Established::since),
            certificate: self.shown.certificate.clone(),
            clock_unset: self.shown.clock_unset,
            last_down: self.last_down,
            attempts: self.shown.attempts,
            next_attempt_at: match self.state {
                State::Waiting { until } => Some(until),
                _ => None,
            },
            primary_probe: established
                .and_then(|established| established.way_back.as_ref())
                .map(WayBack::status),
            keepalives: self.shown.keepalives,
            unbinding: self.unbinding.clone(),
            discovered: Vec::new(),
            subconnections: established.map_or_else(Vec::new, Established::subconnections),
            ignored_messages: self.shown.ignored,
        }
    }

    /// The target of the tunnel that stands, and which of its ways it has taken.
    pub fn standing(&self) -> Option<(&Target, usize)> {
        Some((self.target.as_ref()?, self.established()?.way))
    }

    fn phase(&self) -> (ConnectionState, DeviceState) {
        use ConnectionState::{Established, Request, Unconnected};
        match &self.state {
            State::Idle | State::Stopped => (Unconnected, DeviceState::Idle),
            State::Attempting(course) => (Request, course.device_state()),
            State::Established(established) => (Established, established.device_state()),
            State::Waiting { .. } => (Unconnected, DeviceState::Waiting),
        }
    }

    fn established(&self) -> Option<&Established> {
        match &self.state {
            State::Established(established) => Some(established),
            _ => None,
        }
    }

    /// An equal target is the same connection; of another one that only what it does not depend on is other.
    fn new_target(&mut self, target: Option<Target>, cause: Cause, now: Instant) {
        let target = target.filter(|target| !target.ways.is_empty());
        if target == self.target || self.retain_under(&target, cause, now) {
            return;
        }
        self.leave(cause.into(), CloseCode::NORMAL, now);
        if cause == Cause::RolledBack {
            // Whether or not anything stood: this is why the next registration comes from where it does.
            self.went_down(cause.into(), now);
        }
        self.retry
            .new_target(target.as_ref().map_or(0, |target| target.ways.len()));
        self.target = target;
        self.shown.failure = None;
        self.begin(now);
    }

    /// Whether what stands, is made or waits goes on under the new target, which is then taken over: primary, password
    /// and trust are the same, and so is the way in use. "The tunnel stays unless its own server was removed" (of the
    /// backup servers), and "if the automatically obtained and manually configured domain names are identical, the
    /// device retains the cloud connection" (manual).
    fn retain_under(&mut self, target: &Option<Target>, cause: Cause, now: Instant) -> bool {
        let (Some(old), Some(new)) = (&self.target, target) else {
            return false;
        };
        if !old.agrees_with(new, cause == Cause::Discovery) {
            return false;
        }
        if let Some(used) = self.state.way_in_use() {
            let Some(place) = old.keeps(*used, new, cause == Cause::Discovery) else {
                return false;
            };
            *used = place;
        }
        self.retry
            .rearrange((0..new.ways.len()).map(|way| new.place_in(way, old)));
        self.target = Some(new.clone());
        match self.state {
            State::Waiting { .. } => self.begin(now),
            _ => self.renew_probe(now),
        }
        true
    }

    fn reset(&mut self, now: Instant) {
        self.leave(LastDownReason::ResetByOperator, CloseCode::NORMAL, now);
        self.retry.lift_holds();
        self.begin(now);
    }

    fn stop(&mut self, now: Instant) {
        self.leave(LastDownReason::Shutdown, CloseCode::GOING_AWAY, now);
        self.shown.server = None;
        self.shown.certificate = None;
        self.state = State::Stopped;
    }

    /// Ends whatever is going on, from this side. Replies to it are stale from here on.
    fn leave(&mut self, reason: LastDownReason, code: CloseCode, now: Instant) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Established(established) => {
                self.end_established(*established, reason, Some(code), now);
            }
            State::Idle | State::Waiting { .. } | State::Stopped => {}
            State::Attempting(_) => self.out.push(Action::Abort(Line::Main)),
        }
        self.asked = self.numbers.next();
    }

    /// A reply to what is not waited for – late, repeated, overtaken – is for nobody.
    fn hear(&mut self, attempt: Attempt, reply: Reply, now: Instant) {
        if attempt == self.asked {
            self.replied(reply, now);
        } else if self
            .way_back()
            .is_some_and(|way_back| way_back.awaits(attempt))
        {
            self.probed(reply, now);
        }
    }

    fn replied(&mut self, reply: Reply, now: Instant) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Attempting(course) => self.walk(*course, reply, now),
            State::Established(established) => {
                self.state = State::Established(established);
                self.heard(reply, now);
            }
            quiet @ (State::Idle | State::Waiting { .. } | State::Stopped) => self.state = quiet,
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Attempting(mut course) => {
                let outcome = course.overdue();
                self.follow(*course, outcome, now);
            }
            State::Waiting { .. } => self.begin(now),
            State::Established(established) => {
                self.state = State::Established(established);
                self.keep(now);
            }
            quiet @ (State::Idle | State::Stopped) => self.state = quiet,
        }
    }
}

impl Shown {
    /// What there is to see of an attempt.
    fn follow(&mut self, progress: &Progress) {
        self.process = progress.process;
        self.server = Some(progress.server.clone());
        self.certificate.clone_from(&progress.certificate);
        if let Some(clock_unset) = progress.clock_unset {
            self.clock_unset = clock_unset;
        }
    }
}
