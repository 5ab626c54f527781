//! From the 101 on: list, keepalive, messages and subconnections (steps 7 to 11 of the manual).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::course::Course;
use super::event::{Action, Attempt, CloseCode, Endpoint, Line, Reply, SubconnectionReply};
use super::network::Ground;
use super::primary::WayBack;
use super::{SILENT_INTERVALS, STEP_DEADLINE, State, Tunnel};
use crate::model::settings::Secret;
use crate::model::status::{
    DeviceState, FailureReason, Keepalives, LastDown, LastDownReason, Moment, ProcessState,
    SubconnectionStatus,
};
use crate::tunnel::backoff::Pace;
use crate::tunnel::subconnection::{Context, Dial, Subconnection};
use crate::tunnel::wire::{CloudMessage, DeviceMessage, Listed};

/// The main connection from the 101 on.
#[derive(Debug)]
pub(super) struct Established {
    /// Which way of the target it took.
    pub way: usize,
    server: Endpoint,
    pub ground: Ground,
    token: Secret,
    since: Instant,
    keepalive_at: Instant,
    silent_at: Instant,
    /// Until when a requested list has to be here.
    list_by: Option<Instant>,
    /// The last list.
    list: Option<Vec<Listed>>,
    /// Sequence number of the last keepalive; 0 before the first.
    sequence: u64,
    /// When the last keepalive left, until it is answered.
    unanswered_since: Option<Instant>,
    subconnections: BTreeMap<String, Subconnection>,
    /// Back to the primary, while this is a backup server.
    pub way_back: Option<WayBack>,
}

/// How a tunnel can end that this side did not want to end.
pub(super) enum Loss {
    /// Nothing was heard for three intervals.
    Silence,
    /// The list did not come.
    NoList,
    /// The cloud broke the protocol.
    Violation(CloseCode),
    /// The cloud is about to drain.
    Disconnected { retry_after: Duration },
    /// The cloud closed.
    Closed(CloseCode),
    /// No word at all.
    Lost,
    /// The device's own address or VRF is gone.
    Ground,
}

impl Loss {
    fn reason(&self) -> LastDownReason {
        match self {
            Self::Silence => LastDownReason::KeepaliveExpired,
            Self::NoList | Self::Violation(_) => LastDownReason::Protocol,
            Self::Closed(CloseCode::EVICTED) => LastDownReason::Evicted,
            Self::Disconnected { .. } | Self::Closed(_) => LastDownReason::ClosedByCloud,
            Self::Lost => LastDownReason::ConnectionLost,
            Self::Ground => LastDownReason::NetworkChanged,
        }
    }

    /// The code to close with; none where the connection is gone already.
    fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Silence | Self::Ground => Some(CloseCode::GOING_AWAY),
            Self::NoList => Some(CloseCode::PROTOCOL),
            Self::Violation(code) => Some(*code),
            Self::Disconnected { .. } => Some(CloseCode::NORMAL),
            Self::Closed(_) | Self::Lost => None,
        }
    }
}

impl Established {
    /// What an attempt has led to.
    pub fn new(course: &Course, token: Secret, interval: Duration, now: Instant) -> Self {
        Self {
            way: course.way(),
            server: course.server().clone(),
            ground: Ground::new(course.local_address(), course.server()),
            token,
            since: now,
            keepalive_at: now + interval,
            silent_at: now + interval * SILENT_INTERVALS,
            list_by: None,
            list: None,
            sequence: 0,
            unanswered_since: None,
            subconnections: BTreeMap::new(),
            way_back: None,
        }
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn device_state(&self) -> DeviceState {
        match self.list {
            None => DeviceState::RequestSubconnections,
            Some(_) => DeviceState::RequestSuccess,
        }
    }

    pub fn deadline(&self) -> Instant {
        let clocks = [Some(self.keepalive_at), Some(self.silent_at), self.list_by];
        let own = clocks.into_iter().flatten();
        let own = own.chain(self.way_back.as_ref().and_then(WayBack::deadline));
        let theirs = self.subconnections.values().map(Subconnection::deadline);
        own.chain(theirs).min().unwrap_or(self.silent_at)
    }

    pub fn subconnections(&self) -> Vec<SubconnectionStatus> {
        self.subconnections
            .values()
            .map(Subconnection::status)
            .collect()
    }

    /// "The interval runs from the last message sent."
    pub fn sends(&mut self, interval: Duration, now: Instant) {
        self.keepalive_at = now + interval;
    }

    fn restart_clocks(&mut self, interval: Duration, now: Instant) {
        self.keepalive_at = now + interval;
        self.silent_at = now + interval * SILENT_INTERVALS;
    }

    /// Opens what the list has and a module here wants, and closes the rest. A service that is unknown or disabled here
    /// is not among the services, so it is ignored; one with the same URL keeps its connection.
    fn follow_list(&mut self, services: &BTreeSet<String>, context: &mut Context<'_>) {
        let Some(list) = &self.list else { return };
        let wanted: BTreeMap<&str, &Listed> = list
            .iter()
            .filter(|listed| services.contains(&listed.service))
            .map(|listed| (listed.service.as_str(), listed))
            .collect();
        let (keep, end) = std::mem::take(&mut self.subconnections)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(service, subconnection)| {
                let listed = wanted.get(service.as_str());
                listed.is_some_and(|listed| subconnection.is_at(&listed.url))
            });
        self.subconnections = keep;
        for subconnection in end.into_values() {
            subconnection.close(CloseCode::NORMAL, context);
        }
        for (service, listed) in wanted {
            if !self.subconnections.contains_key(service) {
                let dial = Dial {
                    service: service.to_owned(),
                    url: listed.url.clone(),
                    endpoint: Endpoint {
                        host: listed.url.host().clone(),
                        port: listed.url.port(),
                        ..self.server.clone()
                    },
                    token: self.token.clone(),
                };
                let subconnection = Subconnection::open(dial, context);
                self.subconnections
                    .insert(service.to_owned(), subconnection);
            }
        }
    }
}

impl Tunnel {
    /// Step 7 goes out first thing; a code that is not answered follows.
    pub(super) fn begin_established(&mut self, established: Established, now: Instant) {
        self.state = State::Established(Box::new(established));
        self.request_list(None, now);
        self.send_code(now);
        self.plan_return(now);
    }

    fn request_list(&mut self, services: Option<Vec<String>>, now: Instant) {
        let State::Established(established) = &mut self.state else {
            return;
        };
        established.sends(self.interval, now);
        let by = now + STEP_DEADLINE;
        established.list_by = Some(established.list_by.map_or(by, |earlier| earlier.min(by)));
        self.shown.process = ProcessState::MessageSent;
        self.out
            .push(Action::Send(DeviceMessage::SubconnectionsRequest {
                services,
            }));
    }

    /// Something came on the main connection.
    pub(super) fn heard(&mut self, reply: Reply, now: Instant) {
        let loss = match reply {
            Reply::Message(message) => {
                self.alive(now);
                self.message(message, now)
            }
            Reply::Alive => {
                self.alive(now);
                None
            }
            Reply::Violation(code) => Some(Loss::Violation(code)),
            Reply::Closed(code) => Some(Loss::Closed(code)),
            Reply::Lost => Some(Loss::Lost),
            // An answer to a step before the 101: sent twice.
            _ => None,
        };
        if let Some(loss) = loss {
            self.lose(&loss, now);
        }
    }

    /// "Any message or ping/pong from the cloud proves life."
    fn alive(&mut self, now: Instant) {
        let silent_at = now + self.interval * SILENT_INTERVALS;
        if let State::Established(established) = &mut self.state {
            established.silent_at = silent_at;
        }
    }

    fn message(&mut self, message: CloudMessage, now: Instant) -> Option<Loss> {
        match message {
            CloudMessage::Subconnections(list) => self.new_list(list, now),
            CloudMessage::KeepaliveReply { sequence } => self.keepalive_answered(sequence, now),
            CloudMessage::UnbindResult { id, answer } => {
                if !self.code_answered(id, answer, now) {
                    self.shown.ignored += 1;
                }
            }
            CloudMessage::Disconnect { retry_after, .. } => {
                return Some(Loss::Disconnected { retry_after });
            }
            CloudMessage::Unknown => self.shown.ignored += 1,
        }
        None
    }

    /// "The cloud may send a new list at any time; it replaces the old one."
    fn new_list(&mut self, list: Vec<Listed>, now: Instant) {
        self.shown.process = ProcessState::MessageReceived;
        if let State::Established(established) = &mut self.state {
            established.list_by = None;
            established.list = Some(list);
        }
        self.follow_list(now);
    }

    fn follow_list(&mut self, now: Instant) {
        let services = self.services.clone();
        if let Some((established, mut context)) = self.parts(now) {
            established.follow_list(&services, &mut context);
        }
    }

    /// "A reply with a wrong sequence proves life but counts as not answered."
    fn keepalive_answered(&mut self, sequence: u64, now: Instant) {
        let State::Established(established) = &mut self.state else {
            return;
        };
        let sent = if sequence == established.sequence {
            established.unanswered_since.take()
        } else {
            None
        };
        match sent {
            Some(sent) => {
                self.shown.keepalives.answered += 1;
                self.shown.keepalives.round_trip_time = Some(now.saturating_duration_since(sent));
            }
            None => self.shown.ignored += 1,
        }
    }

    /// Does what is due on the established connection.
    pub(super) fn keep(&mut self, now: Instant) {
        let State::Established(established) = &self.state else {
            return;
        };
        if established.silent_at <= now {
            self.lose(&Loss::Silence, now);
            return;
        }
        if established.list_by.is_some_and(|by| by <= now) {
            self.shown.process = ProcessState::MessageNotReceived;
            self.lose(&Loss::NoList, now);
            return;
        }
        if established.keepalive_at <= now {
            self.keepalive(now);
        }
        if let Some((established, mut context)) = self.parts(now) {
            for subconnection in established.subconnections.values_mut() {
                subconnection.tick(&mut context);
            }
        }
        self.keep_returning(now);
    }

    fn keepalive(&mut self, now: Instant) {
        let State::Established(established) = &mut self.state else {
            return;
        };
        if established.unanswered_since.is_some() {
            self.shown.keepalives.missed += 1;
        }
        established.sequence += 1;
        established.unanswered_since = Some(now);
        established.sends(self.interval, now);
        self.shown.keepalives.sent += 1;
        self.out.push(Action::Send(DeviceMessage::Keepalive {
            sequence: established.sequence,
        }));
    }

    /// The tunnel ended without our doing; what follows depends on how, and on how long it had stood.
    pub(super) fn lose(&mut self, loss: &Loss, now: Instant) {
        let State::Established(established) = std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        let (way, token) = (established.way, established.token.clone());
        let settled = self.settle(established.since, now);
        self.end_established(*established, loss.reason(), loss.code(), now);
        match loss {
            // "The device sends a registration request to re-establish the cloud connection" (manual): at once, with
            // the token it has, on a new connection to the same server.
            Loss::Silence => {
                if !settled {
                    self.retry.backoff.count(Pace::Ordinary);
                }
                self.register_again(way, token, now);
            }
            Loss::NoList => {
                self.came_to_nothing(FailureReason::Timeout);
                self.wait_after_loss(false, now);
            }
            Loss::Violation(_) => {
                self.came_to_nothing(FailureReason::Protocol);
                self.wait_after_loss(false, now);
            }
            Loss::Closed(CloseCode::EVICTED) => {
                let jitter = &mut self.retry.jitter;
                let wait = self.retry.backoff.failed(Pace::Slow, jitter);
                self.wait(wait, now);
            }
            Loss::Disconnected { retry_after } => {
                self.retry.hold(way, *retry_after, now);
                self.wait_after_loss(settled, now);
            }
            Loss::Closed(_) | Loss::Lost | Loss::Ground => self.wait_after_loss(settled, now),
        }
    }

    fn came_to_nothing(&mut self, reason: FailureReason) {
        self.shown.failure = Some(reason);
        if let Some(server) = self.shown.server.clone() {
            self.failed(Line::Main, server, reason);
        }
    }

    /// Takes an established connection down. "They end when the main connection ends, however it ended (close 1001)."
    pub(super) fn end_established(
        &mut self,
        mut established: Established,
        reason: LastDownReason,
        code: Option<CloseCode>,
        now: Instant,
    ) {
        if established
            .way_back
            .is_some_and(|way_back| way_back.is_probing())
        {
            self.out.push(Action::Abort(Line::Probe));
        }
        self.settle(established.since, now);
        self.shown.keepalives = Keepalives::default();
        let mut context = Context {
            numbers: &mut self.numbers,
            jitter: &mut self.retry.jitter,
            out: &mut self.out,
            interval: self.interval,
            now,
        };
        for subconnection in std::mem::take(&mut established.subconnections).into_values() {
            subconnection.close(CloseCode::GOING_AWAY, &mut context);
        }
        self.out.extend(code.map(Action::Close));
        self.went_down(reason, now);
    }

    pub(super) fn went_down(&mut self, reason: LastDownReason, now: Instant) {
        let at = Moment::Run(now);
        let last_down = LastDown { reason, at };
        if self.last_down.replace(last_down) != Some(last_down) {
            self.out.push(Action::SaveLastDown(last_down));
        }
    }

    /// A changed interval "restarts both clocks at the moment of the change", and the tunnel stays.
    pub(super) fn new_interval(&mut self, interval: Duration, now: Instant) {
        if interval == self.interval {
            return;
        }
        self.interval = interval;
        if let Some((established, context)) = self.parts(now) {
            established.restart_clocks(interval, now);
            for subconnection in established.subconnections.values_mut() {
                subconnection.restart_clocks(&context);
            }
        }
    }

    /// "A module that registers later than the handshake gets its URL from the last list at once; the device sends
    /// `subconnections-request` again, now with `services`."
    pub(super) fn new_services(&mut self, services: BTreeSet<String>, now: Instant) {
        let more = !services.is_subset(&self.services);
        self.services = services;
        self.follow_list(now);
        if more {
            self.request_list(Some(self.services.iter().cloned().collect()), now);
        }
    }

    /// A subconnection's network part said something.
    pub(super) fn subconnection_replied(
        &mut self,
        attempt: Attempt,
        reply: SubconnectionReply,
        now: Instant,
    ) {
        if let Some((established, mut context)) = self.parts(now) {
            let mut all = established.subconnections.values_mut();
            if let Some(one) = all.find(|one| one.awaits(attempt)) {
                one.handle(reply, &mut context);
            }
        }
    }

    /// Brings forward what waits. Whether anything did.
    pub(super) fn wake_subconnections(&mut self, at: Instant, now: Instant) -> bool {
        let mut woke = false;
        if let Some((established, mut context)) = self.parts(now) {
            for subconnection in established.subconnections.values_mut() {
                woke |= subconnection.wake(at);
                subconnection.tick(&mut context);
            }
        }
        woke
    }

    /// The established connection beside what its subconnections need of the tunnel.
    fn parts(&mut self, now: Instant) -> Option<(&mut Established, Context<'_>)> {
        let State::Established(established) = &mut self.state else {
            return None;
        };
        let context = Context {
            numbers: &mut self.numbers,
            jitter: &mut self.retry.jitter,
            out: &mut self.out,
            interval: self.interval,
            now,
        };
        Some((established, context))
    }
}
