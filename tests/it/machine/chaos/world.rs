//! The network and the clouds of a run, in virtual time: what comes back for each action, and when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use tether::model::settings::Secret;
use tether::tunnel::machine::event::{
    AuthenticationOutcome, Endpoint, Line, Step, StepError, SubconnectionReply,
};
use tether::tunnel::machine::{Action, Attempt, CloseCode, Event, Reply};
use tether::tunnel::wire::{CloudMessage, DeviceMessage, Listed, UnbindAnswer, UpgradeRefusal};

use super::deeds::LOCAL_ADDRESS;
use super::manner::{Manner, Place, Whom, is_backup, is_elsewhere, register, retry_after};

/// The services that a list may have.
pub const SERVICES: [&str; 3] = ["netconf", "telemetry", "x-log"];

/// A connection that the device has, as the cloud sees it.
struct Connection {
    /// Whom it was dialled for.
    server: Endpoint,
    /// The number of what the device asked last on it.
    asked: Attempt,
    upgraded: bool,
    /// The cloud has ended it, and the device may not know.
    dead: bool,
}

pub struct World {
    pub now: Instant,
    manners: BTreeMap<(Whom, Place), Manner>,
    /// Until when a server asked to be left alone.
    held: Vec<(Endpoint, Instant)>,
    delay: Duration,
    main: Option<Connection>,
    probe: Option<Connection>,
    services: BTreeMap<Attempt, usize>,
    pub list: Vec<(usize, u32)>,
    pub is_bound: bool,
    coming: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    numbers: u64,
    /// When the last word on the connection arrives: none overtakes another.
    latest: Instant,
}

impl World {
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            manners: BTreeMap::new(),
            held: Vec::new(),
            delay: Duration::from_millis(20),
            main: None,
            probe: None,
            services: BTreeMap::new(),
            list: vec![(0, 0), (1, 0)],
            is_bound: false,
            coming: BinaryHeap::new(),
            events: BTreeMap::new(),
            numbers: 0,
            latest: now,
        }
    }

    pub fn set(&mut self, whom: Whom, place: Place, manner: Manner) {
        self.manners.insert((whom, place), manner);
    }

    /// What lifts a `Retry-After`: `reset-tunnel`, another target.
    pub fn lift_holds(&mut self) {
        self.held.clear();
    }

    pub fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// Everything is right again; a list that was on its way when the path was cut arrives.
    pub fn heal(&mut self) {
        self.manners.clear();
        self.delay = Duration::from_millis(20);
        self.is_bound = false;
        self.say(self.list_message());
    }

    pub fn has_main(&self) -> bool {
        self.main.is_some()
    }

    pub fn is_on_primary(&self) -> bool {
        self.main
            .as_ref()
            .is_some_and(|main| !is_backup(&main.server))
    }

    pub fn has_probe(&self) -> bool {
        self.probe.is_some()
    }

    fn on(&mut self, line: Line) -> &mut Option<Connection> {
        match line {
            Line::Main => &mut self.main,
            Line::Probe => &mut self.probe,
        }
    }

    /// When the next thing comes.
    pub fn next(&self) -> Option<Instant> {
        self.coming.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes what comes now.
    pub fn take(&mut self) -> Option<Event> {
        let Reverse((at, number)) = *self.coming.peek()?;
        if at > self.now {
            return None;
        }
        self.coming.pop();
        let event = self.events.remove(&number)?;
        if let Event::Reply(attempt, reply) = &event {
            self.hold(*attempt, reply);
        }
        // After such a word the network has no connection any more, and reports nothing more of it.
        if let Event::Reply(attempt, Reply::Lost | Reply::Closed(_) | Reply::Failed(_)) = &event {
            for line in [&mut self.main, &mut self.probe] {
                line.take_if(|connection| connection.asked == *attempt);
            }
        }
        Some(event)
    }

    /// A server asks to be left alone, and the device still listens.
    fn hold(&mut self, attempt: Attempt, reply: &Reply) {
        let Some(wait) = retry_after(reply) else {
            return;
        };
        let lines = [&self.main, &self.probe].into_iter().flatten();
        // What is asked for elsewhere holds the server that sent the device there, not that place.
        let held = lines.filter(|one| one.asked == attempt && !is_elsewhere(&one.server));
        let until = self.now + wait;
        let held: Vec<_> = held.map(|one| (one.server.clone(), until)).collect();
        self.held.extend(held);
    }

    fn come(&mut self, after: Duration, event: Event) {
        self.numbers += 1;
        self.coming.push(Reverse((self.now + after, self.numbers)));
        self.events.insert(self.numbers, event);
    }

    fn main_says(&mut self, attempt: Attempt, reply: Reply) {
        self.main_says_in(self.delay, attempt, reply);
    }

    fn main_says_in(&mut self, delay: Duration, attempt: Attempt, reply: Reply) {
        self.latest = self.latest.max(self.now + delay);
        self.come(self.latest - self.now, Event::Reply(attempt, reply));
    }

    fn service_says(&mut self, attempt: Attempt, reply: SubconnectionReply) {
        self.come(self.delay, Event::SubconnectionReply(attempt, reply));
    }

    /// How a place is to those who come for a server.
    fn manner_to(&self, server: &Endpoint, place: Place) -> Manner {
        let own = match is_backup(server) {
            true => None,
            false => self.manners.get(&(Whom::Primary, place)),
        };
        let all = self.manners.get(&(Whom::All, place));
        own.or(all).copied().unwrap_or(Manner::Right)
    }

    /// How a place is on the main connection.
    fn manner(&self, place: Place) -> Manner {
        let server = self.main.as_ref().map(|main| &main.server);
        server.map_or(Manner::Right, |server| self.manner_to(server, place))
    }

    /// Whether nothing of the main connection gets through.
    fn is_cut(&self) -> bool {
        self.manner(Place::Path) == Manner::Silent
    }

    /// The cloud ends every connection; a device that is cut off does not hear of it.
    pub fn kill(&mut self, reply: &Reply) {
        let services_hear = !self.is_cut();
        for line in [Line::Main, Line::Probe] {
            let Some(connection) = self.on(line) else {
                continue;
            };
            connection.dead = true;
            let (attempt, upgraded) = (connection.asked, connection.upgraded);
            let server = connection.server.clone();
            if self.manner_to(&server, Place::Path) != Manner::Silent {
                let reply = if upgraded { reply.clone() } else { Reply::Lost };
                self.main_says(attempt, reply);
            }
        }
        for attempt in self.services.keys().copied().collect::<Vec<_>>() {
            if services_hear {
                self.service_says(attempt, SubconnectionReply::Lost);
            }
        }
        self.services.clear();
    }

    /// Ends the subconnections of a service.
    pub fn end_service(&mut self, service: usize, reply: &SubconnectionReply) {
        let of_it = self.services.iter().filter(|(_, one)| **one == service);
        for attempt in of_it.map(|(attempt, _)| *attempt).collect::<Vec<_>>() {
            self.services.remove(&attempt);
            self.service_says(attempt, reply.clone());
        }
    }

    /// Says something unasked on an established connection.
    pub fn say(&mut self, message: CloudMessage) {
        let established = self
            .main
            .as_ref()
            .filter(|main| main.upgraded && !main.dead);
        if let Some(attempt) = established.map(|main| main.asked)
            && !self.is_cut()
        {
            self.main_says(attempt, Reply::Message(message));
        }
    }

    pub fn list_message(&self) -> CloudMessage {
        let listed = self.list.iter().map(|(service, revision)| Listed {
            service: SERVICES[*service].to_owned(),
            url: format!("wss://cloud.com/{service}/{revision}")
                .parse()
                .unwrap(),
        });
        CloudMessage::Subconnections(listed.collect())
    }

    /// Does what the machine orders. Panics when the order has no sense in this world.
    pub fn perform(&mut self, action: Action) {
        match action {
            Action::Resolve {
                attempt, endpoint, ..
            } => match self.manner_to(&endpoint, Place::Dns) {
                Manner::Silent => {}
                Manner::Right => {
                    let address = vec!["10.1.1.1".parse().unwrap()];
                    self.main_says(attempt, Reply::Resolved(address));
                }
                _ => self.main_says(attempt, Reply::Failed(StepError::Dns)),
            },
            Action::Connect {
                attempt,
                line,
                endpoint,
                ..
            } => self.connect(attempt, line, endpoint),
            Action::Authenticate {
                attempt,
                line,
                unbinding_code,
                ..
            } => self.asked(attempt, line, Place::Authentication, |world, manner| {
                world.authenticate(manner, unbinding_code)
            }),
            Action::Register { attempt, line, .. } => {
                let server = self.on(line).as_ref().map(|one| one.server.clone());
                self.asked(attempt, line, Place::Registration, |_, manner| {
                    register(manner, &server.unwrap())
                });
            }
            Action::Upgrade { attempt, .. } => {
                self.asked(attempt, Line::Main, Place::Upgrade, Self::upgrade);
            }
            Action::Send(message) => self.hear(&message),
            Action::Promote => {
                assert!(self.main.is_none(), "a second main connection");
                self.main = self.probe.take();
            }
            Action::Close(_) => self.main = None,
            Action::Abort(line) => *self.on(line) = None,
            Action::OpenSubconnection {
                attempt, service, ..
            } => self.open(attempt, &service),
            Action::PingSubconnection(attempt) => self.ping(attempt),
            Action::CloseSubconnection(attempt, _) => drop(self.services.remove(&attempt)),
            _ => {}
        }
    }

    fn connect(&mut self, attempt: Attempt, line: Line, server: Endpoint) {
        assert!(self.on(line).is_none(), "a second connection: {line:?}");
        let now = self.now;
        let held = |(other, until): &(Endpoint, Instant)| *other == server && now < *until;
        assert!(!self.held.iter().any(held), "{server:?} is not left alone");
        let (path, tls) = (
            self.manner_to(&server, Place::Path),
            self.manner_to(&server, Place::Tls),
        );
        self.latest = self.now;
        *self.on(line) = Some(Connection {
            server,
            asked: attempt,
            upgraded: false,
            dead: false,
        });
        match (path, tls) {
            (Manner::Silent, _) => {}
            (Manner::Right, tls) => {
                let address = "10.1.1.1".parse().unwrap();
                self.main_says(attempt, Reply::LocalAddress(LOCAL_ADDRESS));
                self.main_says(attempt, Reply::TcpConnected(address));
                match tls {
                    Manner::Silent => {}
                    Manner::Right => {
                        let connected = Reply::Connected { clock_unset: false };
                        self.main_says_in(self.delay * 2, attempt, connected);
                    }
                    _ => self.main_says(attempt, Reply::Failed(StepError::Tls)),
                }
            }
            (Manner::Failed(error), _) => self.main_says(attempt, Reply::Failed(error)),
            _ => self.main_says(attempt, Reply::Failed(StepError::Connect)),
        }
    }

    /// A request on a line; what is right is for `answer` to say.
    fn asked(
        &mut self,
        attempt: Attempt,
        line: Line,
        place: Place,
        answer: impl FnOnce(&mut Self, Manner) -> Reply,
    ) {
        let connection = self.on(line).as_mut();
        let connection = connection.expect("a request without a connection");
        connection.asked = attempt;
        let (dead, server) = (connection.dead, connection.server.clone());
        if self.manner_to(&server, Place::Path) == Manner::Silent {
            return;
        }
        let reply = match self.manner_to(&server, place) {
            _ if dead => Reply::Lost,
            Manner::Silent => return,
            Manner::Lost => Reply::Lost,
            Manner::Failed(error) => Reply::Failed(error),
            manner => answer(self, manner),
        };
        self.main_says(attempt, reply);
    }

    fn authenticate(&mut self, manner: Manner, code: Option<Secret>) -> Reply {
        use AuthenticationOutcome as Outcome;
        let right = code.is_some_and(|code| code.reveal() == "right");
        self.is_bound &= !right;
        let outcome = match manner {
            Manner::Busy(after) => Outcome::Busy {
                retry_after: after.map(Duration::from_secs),
            },
            Manner::Refused => Outcome::PasswordRefused,
            Manner::Again => Outcome::AskAgain,
            _ if self.is_bound => Outcome::BoundToAnotherUser,
            _ => Outcome::Granted {
                token: Secret::new("token"),
            },
        };
        let reusable = outcome != Outcome::AskAgain;
        Reply::Authentication { outcome, reusable }
    }

    fn upgrade(&mut self, manner: Manner) -> Reply {
        let refusal = match manner {
            Manner::Busy(after) => UpgradeRefusal::Busy {
                retry_after: after.map(Duration::from_secs),
            },
            Manner::Refused => UpgradeRefusal::Failed { status: 404 },
            Manner::Again => UpgradeRefusal::TokenExpired,
            _ => {
                if let Some(main) = &mut self.main {
                    main.upgraded = true;
                }
                return Reply::Upgraded;
            }
        };
        Reply::UpgradeRefused {
            refusal,
            reusable: true,
        }
    }

    fn hear(&mut self, message: &DeviceMessage) {
        let main = self.main.as_ref().expect("a message without a connection");
        assert!(main.upgraded, "a message before the 101");
        let (attempt, dead) = (main.asked, main.dead);
        if self.is_cut() {
            return;
        }
        if dead {
            return self.main_says(attempt, Reply::Lost);
        }
        let (place, right) = match message {
            DeviceMessage::SubconnectionsRequest { .. } => (Place::List, self.list_message()),
            DeviceMessage::Keepalive { sequence } => {
                let sequence = *sequence;
                (Place::Keepalive, CloudMessage::KeepaliveReply { sequence })
            }
            DeviceMessage::Unbind { code, id } => {
                let answer = match code.reveal() {
                    "right" => UnbindAnswer::Accepted,
                    _ => UnbindAnswer::Refused {
                        reason: "code-invalid".into(),
                    },
                };
                (
                    Place::Unbind,
                    CloudMessage::UnbindResult { id: *id, answer },
                )
            }
        };
        let reply = match self.manner(place) {
            Manner::Right => Reply::Message(right),
            Manner::Silent => return,
            Manner::Lost => Reply::Lost,
            Manner::Busy(_) => Reply::Message(CloudMessage::Unknown),
            _ => Reply::Violation(CloseCode::PROTOCOL),
        };
        self.main_says(attempt, reply);
    }

    fn open(&mut self, attempt: Attempt, service: &str) {
        assert!(
            self.main.is_some(),
            "a subconnection without its main connection"
        );
        let service = SERVICES.iter().position(|one| *one == service).unwrap();
        for step in [Step::Resolve, Step::Tcp] {
            self.service_says(attempt, SubconnectionReply::Step(step));
        }
        if self.is_cut() {
            return;
        }
        let reply = match self.manner(Place::Service(service)) {
            Manner::Right => {
                self.services.insert(attempt, service);
                SubconnectionReply::Upgraded
            }
            Manner::Silent => return,
            Manner::Lost => SubconnectionReply::Lost,
            Manner::Failed(error) => SubconnectionReply::Failed(error),
            Manner::Busy(after) => SubconnectionReply::Refused(UpgradeRefusal::Busy {
                retry_after: after.map(Duration::from_secs),
            }),
            Manner::Refused => SubconnectionReply::Refused(UpgradeRefusal::Failed { status: 404 }),
            Manner::Again => SubconnectionReply::Refused(UpgradeRefusal::TokenExpired),
        };
        self.service_says(attempt, reply);
    }

    fn ping(&mut self, attempt: Attempt) {
        if let Some(service) = self.services.get(&attempt)
            && self.manner(Place::Service(*service)) == Manner::Right
            && !self.is_cut()
        {
            self.service_says(attempt, SubconnectionReply::Alive);
        }
    }
}
