//! Ten thousand random schedules of faults, commits and discoveries, in virtual time: whatever happens, there is one
//! main connection at most, the tunnel is back within the back-off's bound once everything is right again, nothing
//! grows, and nothing turns in circles.
//!
//! `CHAOS_SEED=n` runs the schedule of one seed and prints what happens.

mod deeds;
mod manner;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use tether::model::status::{
    ConnectionState, FailureReason, LastDown, LastDownReason, SubconnectionState, Unbinding,
};
use tether::tunnel::machine::{Action, Event, Notification, Start, Tunnel};
use tether::tunnel::target::Target;
use tether::tunnel::wire::CloudMessage;

use deeds::{Deed, schedule};
use manner::Manner;
use world::{SERVICES, World};

const SCHEDULES: u64 = 10_000;
const HOUR: Duration = Duration::from_secs(3600);
/// Of one event: less than what it takes to end a tunnel with all its subconnections and to tell of it.
const MOST_ACTIONS: usize = 16;
/// Ticks in an hour: a keepalive and a ping of each subconnection every ten seconds, and as much again for attempts.
const MOST_TICKS: usize = 2 * 4 * 360;
/// Characters of the machine's `Debug` form, in which all that it keeps has its place.
const MOST_STATE: usize = 8_000;

/// The longest waits of the two paces.
const ORDINARY: Duration = Duration::from_secs(300);
const SLOW: Duration = Duration::from_secs(1800);
/// What may be left of the steps of an attempt, on each of two ways: lookup, TCP, TLS and four requests at most.
const STEPS: Duration = Duration::from_secs(2 * 7 * 10);
/// An attempt in a world in which everything is right.
const MOMENT: Duration = Duration::from_secs(2);

/// The longest wait after a `Retry-After`.
fn held(retry_after: Duration) -> Duration {
    retry_after + ORDINARY.max(retry_after / 2)
}

struct Run {
    seed: u64,
    tunnel: Tunnel,
    world: World,
    start: Instant,
    interval: Duration,
    primary_return: Option<Duration>,
    enabled: BTreeSet<String>,
    target: Option<Target>,
    /// When ticks fell due, in the last hour.
    ticks: Vec<Instant>,
    answered: BTreeMap<u64, usize>,
    /// The longest wait that anything so far gave cause for.
    longest_wait: Duration,
    is_told: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was CHAOS_SEED={}", self.seed);
        }
    }
}

impl Run {
    fn new(seed: u64, is_told: bool) -> Self {
        let start = Instant::now();
        let interval = Duration::from_secs(180);
        Self {
            seed,
            tunnel: Tunnel::new(Start {
                seed,
                keepalive_interval: interval,
                unbinding: Unbinding::default(),
                last_down: None,
            }),
            world: World::new(start),
            start,
            interval,
            primary_return: None,
            enabled: BTreeSet::new(),
            target: None,
            ticks: Vec::new(),
            answered: BTreeMap::new(),
            longest_wait: ORDINARY,
            is_told,
        }
    }

    fn run(&mut self) {
        for (wait, deed) in schedule(self.seed) {
            self.pass(wait);
            self.tell_of(&format!("{deed:?}"));
            self.do_it(deed);
        }
        self.world.heal();
        self.comes_back();
        self.returns_to_the_primary();
        let kept = format!("{:?}", self.tunnel).len();
        assert!(kept < MOST_STATE, "seed {}: it keeps {kept}", self.seed);
        self.tell(Event::Shutdown);
        assert!(
            !self.world.has_main() && !self.world.has_probe(),
            "seed {}: a connection is left",
            self.seed
        );
        assert_eq!(self.tunnel.poll_timeout(), None);
    }

    fn tell_of(&self, what: &str) {
        if self.is_told {
            eprintln!("{:?} {what}", self.world.now - self.start);
        }
    }

    fn do_it(&mut self, deed: Deed) {
        match deed {
            Deed::Tell(event) => {
                match &event {
                    Event::KeepaliveInterval(interval) => self.interval = *interval,
                    Event::PrimaryReturn(every) => self.primary_return = *every,
                    Event::Services(services) => self.enabled.clone_from(services),
                    Event::Target { target, .. } if *target != self.target => {
                        self.target.clone_from(target);
                        self.world.lift_holds();
                    }
                    Event::Reset => self.world.lift_holds(),
                    _ => {}
                }
                self.tell(event);
            }
            Deed::Behave(whom, place, manner) => {
                if let Manner::Busy(Some(seconds)) = manner {
                    self.may_wait(held(Duration::from_secs(seconds)));
                }
                self.world.set(whom, place, manner);
            }
            Deed::Delay(delay) => self.world.set_delay(delay),
            Deed::Bind => self.world.is_bound = true,
            Deed::Kill(reply) => self.world.kill(&reply),
            Deed::EndService(service, reply) => self.world.end_service(service, &reply),
            Deed::Say(message) => {
                if let CloudMessage::Disconnect { retry_after, .. } = &message {
                    self.may_wait(held(*retry_after));
                }
                self.world.say(message);
            }
            Deed::List(list) => {
                self.world.list = list;
                self.world.say(self.world.list_message());
            }
        }
    }

    fn may_wait(&mut self, wait: Duration) {
        self.longest_wait = self.longest_wait.max(wait);
    }

    /// Lets time pass: what comes and what is due, each in its turn.
    fn pass(&mut self, time: Duration) {
        let until = self.world.now + time;
        while self.step(until) {}
        self.world.now = until;
    }

    /// The next thing up to a time, if there is one.
    fn step(&mut self, until: Instant) -> bool {
        let comes = self.world.next().filter(|at| *at <= until);
        let due = self.tunnel.poll_timeout().filter(|at| *at <= until);
        match (comes, due) {
            (None, None) => return false,
            (Some(comes), due) if due.is_none_or(|due| comes <= due) => {
                self.world.now = self.world.now.max(comes);
                if let Some(event) = self.world.take() {
                    self.tell(event);
                }
            }
            (_, due) => {
                self.world.now = self.world.now.max(due.unwrap_or(until));
                self.tick();
            }
        }
        true
    }

    fn tick(&mut self) {
        let now = self.world.now;
        self.tell(Event::Tick);
        let next = self.tunnel.poll_timeout();
        assert!(
            next.is_none_or(|next| next > now),
            "seed {}: due again",
            self.seed
        );
        self.ticks.retain(|at| now - *at < HOUR);
        self.ticks.push(now);
        assert!(
            self.ticks.len() < MOST_TICKS,
            "seed {}: a busy loop",
            self.seed
        );
    }

    fn tell(&mut self, event: Event) {
        self.tell_of(&format!("    {event:?}"));
        let actions = self.tunnel.handle(event, self.world.now);
        assert!(
            actions.len() <= MOST_ACTIONS,
            "seed {}: {} actions",
            self.seed,
            actions.len()
        );
        for action in actions {
            self.tell_of(&format!("        {action:?}"));
            if let Action::Notify(Notification::UnbindingAnswered { id, .. }) = &action {
                let times = self.answered.entry(*id).or_default();
                *times += 1;
                assert_eq!(*times, 1, "seed {}: code {id} is answered twice", self.seed);
            }
            self.world.perform(action);
        }
        let status = self.tunnel.status();
        let up = status.connection == ConnectionState::Established;
        assert!(!up || self.world.has_main(), "seed {}", self.seed);
        let evicted = |down: LastDown| down.reason == LastDownReason::Evicted;
        if status.failure.is_some_and(FailureReason::is_slow)
            || status.last_down.is_some_and(evicted)
        {
            self.may_wait(SLOW);
        }
    }

    /// Established, and every subconnection that is listed and enabled with it.
    fn is_up(&self) -> bool {
        let status = self.tunnel.status();
        let stands = |service: &str| {
            let mut all = status.subconnections.iter();
            all.any(|one| one.service == service && one.state == SubconnectionState::Established)
        };
        let listed = self
            .world
            .list
            .iter()
            .map(|(service, _)| SERVICES[*service]);
        let mut wanted = listed.filter(|service| self.enabled.contains(*service));
        status.connection == ConnectionState::Established && wanted.all(stands)
    }

    /// The last fault is over. One step or one silence may still have to run out, and one wait may follow it.
    fn comes_back(&mut self) {
        let silence = 3 * self.interval;
        let bound = self.world.now + silence.max(STEPS) + self.longest_wait + MOMENT;
        while !self.is_up() {
            assert!(
                self.step(bound),
                "seed {}: not back in time: {:?}",
                self.seed,
                self.tunnel.status()
            );
        }
    }

    /// Nothing is wrong with the primary any more, so that the first probe is enough once nothing holds it back.
    fn returns_to_the_primary(&mut self) {
        let Some(every) = self.primary_return else {
            return;
        };
        let bound = self.world.now + self.longest_wait + every + MOMENT;
        while !self.world.is_on_primary() || !self.is_up() {
            assert!(self.step(bound), "not back on the primary");
        }
    }
}

fn run(seeds: Range<u64>) {
    for seed in seeds {
        Run::new(seed, false).run();
    }
}

#[test]
fn whatever_happens_the_tunnel_comes_back_and_nothing_grows() {
    if let Some(seed) = std::env::var("CHAOS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return Run::new(seed, true).run();
    }
    let half = SCHEDULES / 2;
    std::thread::scope(|scope| {
        scope.spawn(|| run(0..half));
        run(half..SCHEDULES);
    });
}
