//! A reconnect storm in virtual time: a fleet of devices, each with the [`Tunnel`] as it is, loses its one cloud at
//! once and comes back (cloud-protocol.md, "Retry").
//!
//! Nothing here waits or does I/O: a queue of what happens when stands for the network and for the clock, so that an
//! hour of a hundred thousand devices passes in less than a minute and comes out the same each time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::model::settings::{CloudSettings, Secret};
use crate::model::status::Unbinding;
use crate::tunnel::machine::event::{AuthenticationOutcome, StepError};
use crate::tunnel::machine::{Action, Attempt, Cause, Event, Reply, Start, Tunnel};
use crate::tunnel::target::{Discovered, origins, target};
use crate::tunnel::wire::{CloudMessage, DeviceMessage, RegistrationAnswer};

/// How long the tunnels have stood when the cloud goes: long enough to count as good ones, and less than the first
/// keepalive.
const STOOD: Duration = Duration::from_secs(100);
/// Devices are between so far and so far away, there and back.
const ROUND_TRIP: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(120);
/// "After the loss of a tunnel that had stood for 60 s the first wait is uniform in [0, 5 s]."
const LONGEST_FIRST_WAIT: Duration = Duration::from_secs(5);
/// A storm that is not over by then is not looked at any longer.
const HORIZON: Duration = Duration::from_secs(4 * 3600);

/// One storm.
#[derive(Clone, Debug)]
pub struct Storm {
    /// How many devices.
    pub devices: usize,
    /// How long the cloud is away: until then connections are refused.
    pub outage: Duration,
    /// What the cloud can do; without it, everything.
    pub capacity: Option<Capacity>,
    /// How devices wait.
    pub waits: Waits,
    /// Of all waits and distances.
    pub seed: u64,
}

/// What a cloud can do.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Authentications that it grants within one second; all others get 503.
    pub each_second: u32,
    /// `Retry-After` of a 503.
    pub retry_after: Duration,
}

/// How devices wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// As the machine draws them.
    Jittered,
    /// Always the longest that it could have drawn: a back-off without jitter.
    Unjittered,
}

/// What came of it, counted from the moment the cloud went away.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Authentications that arrived, by second.
    pub authentications: Vec<u32>,
    /// When each device was back, in order.
    pub back: Vec<Duration>,
}

impl Outcome {
    /// The most authentications in any second.
    pub fn peak(&self) -> u32 {
        self.authentications.iter().copied().max().unwrap_or(0)
    }

    /// When so many in a hundred of all devices were back; `None` when they never were.
    pub fn back_at(&self, percent: usize, devices: usize) -> Option<Duration> {
        let count = (devices * percent).div_ceil(100);
        self.back.get(count.checked_sub(1)?).copied()
    }
}

impl Storm {
    /// Lets it happen.
    pub fn run(&self) -> Outcome {
        let mut world = World::new(self);
        world.connect();
        world.go_on_until(world.cloud.went_at);
        world.lose();
        world.go_on_until(world.cloud.went_at + HORIZON);
        Outcome {
            authentications: world.cloud.authentications,
            back: world.back,
        }
    }
}

/// What is on its way to a device, or from one to the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// Its machine asked to be woken.
    Tick,
    Asked(Attempt, Request),
    Answered(Attempt, Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    Connect,
    Authenticate,
    Register,
    Upgrade,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Resolved,
    ConnectionRefused,
    Tcp,
    Tls,
    Granted,
    Busy(Duration),
    Registered,
    Upgraded,
    List,
    Lost,
}

struct Device {
    tunnel: Tunnel,
    round_trip: Duration,
    /// The number of what was asked last.
    asked: Attempt,
    /// When the machine wants to be woken, and when it is; a tick of another time is out of date.
    wanted: Option<Instant>,
    due: Option<Instant>,
    /// Attempts that failed since the loss.
    failures: u32,
}

struct Cloud {
    went_at: Instant,
    opens_at: Instant,
    capacity: Option<Capacity>,
    authentications: Vec<u32>,
}

struct World {
    waits: Waits,
    now: Instant,
    devices: Vec<Device>,
    cloud: Cloud,
    /// In order of time; the number keeps the order of what comes at one time.
    queue: BinaryHeap<Reverse<(Instant, u64, usize, Happening)>>,
    queued: u64,
    back: Vec<Duration>,
}

impl World {
    fn new(storm: &Storm) -> Self {
        let now = Instant::now();
        let mut random = StdRng::seed_from_u64(storm.seed);
        let devices = (0..storm.devices).map(|_| Device {
            tunnel: Tunnel::new(Start {
                seed: random.random(),
                keepalive_interval: Duration::from_secs(180),
                unbinding: Unbinding::default(),
                last_down: None,
            }),
            round_trip: random.random_range(ROUND_TRIP),
            asked: Attempt::default(),
            wanted: None,
            due: None,
            failures: 0,
        });
        Self {
            waits: storm.waits,
            now,
            devices: devices.collect(),
            cloud: Cloud {
                went_at: now + STOOD,
                opens_at: now + STOOD + storm.outage,
                capacity: storm.capacity,
                authentications: Vec::new(),
            },
            queue: BinaryHeap::new(),
            queued: 0,
            back: Vec::new(),
        }
    }

    fn connect(&mut self) {
        let mut settings = CloudSettings::default();
        settings.ipv4.domain = Some("cloud.example".into());
        settings.password = Some(Secret::new("password"));
        let discovered = Discovered::default();
        for index in 0..self.devices.len() {
            let event = Event::Target {
                target: target(&settings, &discovered),
                origins: origins(&settings, &discovered),
                cause: Cause::Configuration,
            };
            self.tell(index, event, Duration::ZERO);
        }
    }

    /// The cloud is gone, and everybody sees it.
    fn lose(&mut self) {
        self.now = self.cloud.went_at;
        for index in 0..self.devices.len() {
            if let Some(device) = self.devices.get(index) {
                let lost = Happening::Answered(device.asked, Answer::Lost);
                self.happen_in(Duration::ZERO, index, lost);
            }
        }
    }

    fn go_on_until(&mut self, end: Instant) {
        while let Some(Reverse((at, _, index, happening))) = self.queue.peek().copied()
            && at < end
        {
            self.queue.pop();
            self.now = at;
            match happening {
                Happening::Tick => self.tick(index),
                Happening::Asked(attempt, request) => self.ask(index, attempt, request),
                Happening::Answered(attempt, answer) => self.answer(index, attempt, answer),
            }
        }
    }

    fn happen_in(&mut self, wait: Duration, index: usize, happening: Happening) {
        self.queued += 1;
        let entry = (self.now + wait, self.queued, index, happening);
        self.queue.push(Reverse(entry));
    }

    fn tick(&mut self, index: usize) {
        if self
            .devices
            .get(index)
            .is_some_and(|device| device.due == Some(self.now))
        {
            self.tell(index, Event::Tick, Duration::ZERO);
        }
    }

    /// A request is at the cloud; half a round trip later its answer is at the device.
    fn ask(&mut self, index: usize, attempt: Attempt, request: Request) {
        let Some(device) = self.devices.get(index) else {
            return;
        };
        let there_and_back = device.round_trip;
        let answer = match request {
            Request::Connect if self.cloud.is_away(self.now) => Answer::ConnectionRefused,
            Request::Connect => {
                let tls = Happening::Answered(attempt, Answer::Tls);
                self.happen_in(there_and_back * 3 / 2, index, tls);
                Answer::Tcp
            }
            Request::Authenticate => self.cloud.authenticate(self.now),
            Request::Register => Answer::Registered,
            Request::Upgrade => Answer::Upgraded,
            Request::List => Answer::List,
        };
        self.happen_in(
            there_and_back / 2,
            index,
            Happening::Answered(attempt, answer),
        );
    }

    fn answer(&mut self, index: usize, attempt: Attempt, answer: Answer) {
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let longest_wait = device.longest_wait(answer);
        if answer == Answer::Upgraded && self.now >= self.cloud.went_at {
            // What it does from here on is no part of the storm.
            device.due = None;
            self.back.push(self.now - self.cloud.went_at);
            return;
        }
        self.tell(index, Event::Reply(attempt, reply(answer)), longest_wait);
    }

    /// Tells a machine, and puts what it orders on its way.
    fn tell(&mut self, index: usize, event: Event, longest_wait: Duration) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let actions = device.tunnel.handle(event, now);
        let wanted = device.tunnel.poll_timeout();
        if wanted != device.wanted {
            device.wanted = wanted;
            let unjittered = self.waits == Waits::Unjittered;
            device.due = match device.tunnel.status().next_attempt_at {
                Some(until) if unjittered => Some(until.max(now + longest_wait)),
                _ => wanted,
            };
            if let Some(due) = device.due {
                self.happen_in(due - now, index, Happening::Tick);
            }
        }
        for action in actions {
            self.perform(index, &action);
        }
    }

    fn perform(&mut self, index: usize, action: &Action) {
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let there = device.round_trip / 2;
        let (attempt, request) = match action {
            Action::Resolve { attempt, .. } => {
                let resolved = Happening::Answered(*attempt, Answer::Resolved);
                return self.happen_in(Duration::ZERO, index, resolved);
            }
            Action::Connect { attempt, .. } => (*attempt, Request::Connect),
            Action::Authenticate { attempt, .. } => (*attempt, Request::Authenticate),
            Action::Register { attempt, .. } => (*attempt, Request::Register),
            Action::Upgrade { attempt, .. } => (*attempt, Request::Upgrade),
            Action::Send(DeviceMessage::SubconnectionsRequest { .. }) => {
                (device.asked, Request::List)
            }
            _ => return,
        };
        device.asked = attempt;
        self.happen_in(there, index, Happening::Asked(attempt, request));
    }
}

impl Device {
    /// The longest wait that may follow an answer; counts what fails.
    fn longest_wait(&mut self, answer: Answer) -> Duration {
        let base = Duration::from_secs((1 << self.failures.min(9)).min(300));
        match answer {
            Answer::Lost => return LONGEST_FIRST_WAIT,
            Answer::ConnectionRefused | Answer::Busy(_) => self.failures += 1,
            _ => {}
        }
        match answer {
            Answer::Busy(retry_after) => retry_after + base.max(retry_after / 2),
            _ => base,
        }
    }
}

impl Cloud {
    fn is_away(&self, now: Instant) -> bool {
        (self.went_at..self.opens_at).contains(&now)
    }

    fn authenticate(&mut self, now: Instant) -> Answer {
        let Some(since) = now.checked_duration_since(self.went_at) else {
            return Answer::Granted;
        };
        let second = usize::try_from(since.as_secs()).unwrap_or(usize::MAX);
        if self.authentications.len() <= second {
            self.authentications.resize(second + 1, 0);
        }
        let Some(count) = self.authentications.get_mut(second) else {
            return Answer::Granted;
        };
        *count += 1;
        match self.capacity {
            Some(capacity) if *count > capacity.each_second => Answer::Busy(capacity.retry_after),
            _ => Answer::Granted,
        }
    }
}

fn reply(answer: Answer) -> Reply {
    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let reusable = true;
    match answer {
        Answer::Resolved => Reply::Resolved(vec![ADDRESS]),
        Answer::ConnectionRefused => Reply::Failed(StepError::Connect),
        Answer::Tcp => Reply::TcpConnected(ADDRESS),
        Answer::Tls => Reply::Connected { clock_unset: false },
        Answer::Granted => Reply::Authentication {
            outcome: AuthenticationOutcome::Granted {
                token: Secret::new("token"),
            },
            reusable,
        },
        Answer::Busy(retry_after) => Reply::Authentication {
            outcome: AuthenticationOutcome::Busy {
                retry_after: Some(retry_after),
            },
            reusable,
        },
        Answer::Registered => match "wss://cloud.example/cloud/v1/connection".parse() {
            Ok(url) => Reply::Registration {
                answer: RegistrationAnswer::Success {
                    url,
                    session: String::new(),
                },
                reusable,
            },
            Err(_) => Reply::Failed(StepError::Protocol),
        },
        Answer::Upgraded => Reply::Upgraded,
        Answer::List => Reply::Message(CloudMessage::Subconnections(Vec::new())),
        Answer::Lost => Reply::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: usize = 5_000;

    fn storm(waits: Waits, outage: u64) -> Storm {
        Storm {
            devices: DEVICES,
            outage: Duration::from_secs(outage),
            capacity: None,
            waits,
            seed: 1,
        }
    }

    fn back_at(outcome: &Outcome, percent: usize) -> Duration {
        outcome.back_at(percent, DEVICES).expect("not all are back")
    }

    #[test]
    fn a_short_outage_is_met_within_the_first_wait_and_spread_over_it() {
        let jittered = storm(Waits::Jittered, 0).run();
        let unjittered = storm(Waits::Unjittered, 0).run();
        // A fifth in each of five seconds, give or take.
        assert!(jittered.peak() < 1_200, "{}", jittered.peak());
        assert!(unjittered.peak() > 4_900, "{}", unjittered.peak());
        assert!(back_at(&jittered, 100) < Duration::from_secs(6));
    }

    #[test]
    fn the_longer_the_outage_the_wider_is_the_return_spread() {
        let mut before = u32::MAX;
        for outage in [10, 60, 300] {
            let jittered = storm(Waits::Jittered, outage).run();
            let unjittered = storm(Waits::Unjittered, outage).run();
            assert!(jittered.peak() < before, "{outage} s: {}", jittered.peak());
            assert!(jittered.peak() * 4 < unjittered.peak(), "{outage} s");
            before = jittered.peak();
            let latest = Duration::from_secs(outage + 300);
            assert!(back_at(&jittered, 100) < latest);
        }
    }

    #[test]
    fn a_cloud_with_little_capacity_serves_all_the_sooner_for_the_jitter() {
        let with = |waits| Storm {
            capacity: Some(Capacity {
                each_second: 500,
                retry_after: Duration::from_secs(30),
            }),
            ..storm(waits, 0)
        };
        let jittered = with(Waits::Jittered).run();
        let unjittered = with(Waits::Unjittered).run();
        assert!(back_at(&jittered, 99) * 3 < back_at(&unjittered, 99));
        assert_eq!(jittered.back.len(), DEVICES);
    }

    #[test]
    fn the_same_storm_comes_out_the_same() {
        let (first, second) = (
            storm(Waits::Jittered, 10).run(),
            storm(Waits::Jittered, 10).run(),
        );
        assert_eq!(first.authentications, second.authentications);
        assert_eq!(first.back, second.back);
    }
}
