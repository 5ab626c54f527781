//! What holds for any sequence of events whatever.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tether::model::status::{ConnectionState, DeviceState, LastDownReason, Unbinding};
use tether::tunnel::machine::{self, Action, Attempt, Event, Reply, STEP_DEADLINE, Start, Tunnel};

use super::script::{Line, parse};

/// One step of a random run.
#[derive(Clone, Debug)]
enum Op {
    /// A line of the scenarios' language; a reply answers the pending action.
    Tell(String),
    /// The same reply, addressed to an action of long ago.
    Stale(String, u64),
    /// Time passes, and nobody looks at the clock meanwhile.
    Sleep(Duration),
    /// The next deadline is met.
    Tick,
}

/// What every run is checked against.
struct Checked {
    tunnel: Tunnel,
    now: Instant,
    asked: Attempt,
    given: BTreeSet<Attempt>,
    subconnections: Vec<(String, Attempt)>,
    /// A connection of each line that was dialled and not ended.
    main: Option<Attempt>,
    probe: Option<Attempt>,
    /// The pending action of the probe.
    probed: Attempt,
    /// Probes that began.
    probes: usize,
    targeted: bool,
    stopped: bool,
}

impl Checked {
    fn new(seed: u64) -> Self {
        let start = Start {
            seed,
            keepalive_interval: Duration::from_secs(10),
            unbinding: Unbinding::default(),
            last_down: None,
        };
        Self {
            tunnel: Tunnel::new(start),
            now: Instant::now(),
            asked: Attempt::default(),
            given: BTreeSet::new(),
            subconnections: Vec::new(),
            main: None,
            probe: None,
            probed: Attempt::default(),
            probes: 0,
            targeted: false,
            stopped: false,
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Tell(line) => self.tell(line),
            Op::Stale(line, back) => self.tell_stale(line, *back),
            Op::Sleep(duration) => self.now += *duration,
            Op::Tick => {
                if let Some(due) = self.tunnel.poll_timeout() {
                    self.now = self.now.max(due);
                }
            }
        }
        self.meet_deadlines();
    }

    fn tell(&mut self, line: &str) {
        let event = match parse(line).1 {
            Line::Event(event) => {
                match &event {
                    Event::Target { target, .. } => self.targeted = target.is_some(),
                    Event::Shutdown => self.stopped = true,
                    _ => {}
                }
                event
            }
            Line::Reply(_, reply) => {
                let up = self.tunnel.status().connection == ConnectionState::Established;
                // Of an established connection the network cannot report a failed step any more.
                if matches!(reply, Reply::Lost | Reply::Closed(_))
                    || matches!(reply, Reply::Failed(_)) && !up
                {
                    self.main = None;
                }
                Event::Reply(self.asked, reply)
            }
            Line::Probe(reply) => {
                if matches!(reply, Reply::Lost | Reply::Closed(_) | Reply::Failed(_)) {
                    self.probe = None;
                }
                Event::Reply(self.probed, reply)
            }
            Line::Subconnection(service, _, reply) => {
                let mut known = self.subconnections.iter();
                let number = known.rfind(|(name, _)| *name == service);
                Event::SubconnectionReply(number.map_or(Attempt(0), |one| one.1), reply)
            }
            Line::Pass => return,
        };
        self.happen(event);
    }

    /// A reply that is not for the pending action must leave no trace.
    fn tell_stale(&mut self, line: &str, back: u64) {
        let stale = Attempt(self.asked.0.saturating_sub(back));
        let event = match parse(line).1 {
            Line::Reply(_, reply) if stale != self.asked && stale != self.probed => {
                Event::Reply(stale, reply)
            }
            _ => return,
        };
        let before = (self.tunnel.status(), self.tunnel.poll_timeout());
        let actions = self.tunnel.handle(event, self.now);
        assert_eq!(actions, []);
        assert_eq!(before, (self.tunnel.status(), self.tunnel.poll_timeout()));
    }

    /// The machine always gets ahead of the clock: it never asks twice to be woken in the past.
    fn meet_deadlines(&mut self) {
        for _ in 0..32 {
            match self.tunnel.poll_timeout() {
                Some(due) if due <= self.now => self.happen(Event::Tick),
                _ => return,
            }
        }
        panic!("no progress: {:?}", self.tunnel);
    }

    fn happen(&mut self, event: Event) {
        for action in self.tunnel.handle(event, self.now) {
            self.check(&action);
        }
        let status = self.tunnel.status();
        if status.connection == ConnectionState::Established {
            assert!(self.main.is_some(), "established without a connection");
        } else {
            assert!(status.subconnections.is_empty());
            assert_eq!(self.probe, None, "a probe without a tunnel");
            assert_eq!(status.primary_probe, None);
        }
        if status.connection == ConnectionState::Request || self.probe.is_some() {
            let due = self.tunnel.poll_timeout().unwrap();
            assert!(
                due <= self.now + STEP_DEADLINE,
                "a step without its deadline"
            );
        }
        let waits = self.tunnel.poll_timeout().is_some();
        assert_eq!(
            waits,
            self.targeted && !self.stopped,
            "stuck, or awake for nothing"
        );
    }

    fn check(&mut self, action: &Action) {
        match action {
            Action::Connect { attempt, line, .. } => {
                let connection = self.connection(*line);
                assert_eq!(*connection, None, "a second connection on a line");
                *connection = Some(*attempt);
                self.give(*line, *attempt);
            }
            Action::Abort(line) => *self.connection(*line) = None,
            Action::Close(_) => self.main = None,
            Action::Promote => {
                assert_eq!(self.main, None, "two main connections");
                self.main = self.probe.take();
                assert!(self.main.is_some(), "nothing to promote");
            }
            Action::Resolve { attempt, line, .. } => {
                self.probes += usize::from(*line == machine::Line::Probe);
                let connection = *self.connection(*line);
                assert_eq!(connection, None, "a lookup beside a connection");
                self.give(*line, *attempt);
            }
            Action::Authenticate { attempt, line, .. } | Action::Register { attempt, line, .. } => {
                let connection = *self.connection(*line);
                assert!(connection.is_some(), "a request without a connection");
                self.give(*line, *attempt);
            }
            Action::Upgrade { attempt, .. } => {
                assert!(self.main.is_some(), "an upgrade without a connection");
                self.give(machine::Line::Main, *attempt);
            }
            Action::Send(_) => assert!(self.main.is_some(), "a message without a connection"),
            Action::OpenSubconnection {
                attempt, service, ..
            } => {
                assert!(
                    self.main.is_some(),
                    "a subconnection without its main connection"
                );
                assert!(self.given.insert(*attempt), "a number given twice");
                self.subconnections.push((service.clone(), *attempt));
            }
            _ => {}
        }
    }

    fn connection(&mut self, line: machine::Line) -> &mut Option<Attempt> {
        match line {
            machine::Line::Main => &mut self.main,
            machine::Line::Probe => &mut self.probe,
        }
    }

    fn give(&mut self, line: machine::Line, attempt: Attempt) {
        assert!(self.given.insert(attempt), "a number given twice");
        let asked = match line {
            machine::Line::Main => &mut self.asked,
            machine::Line::Probe => &mut self.probed,
        };
        assert!(attempt > *asked);
        *asked = attempt;
    }
}

fn replies() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => Just("0 resolved 10.1.1.1 10.1.1.2"),
        1 => Just("0 resolved"),
        4 => Just("0 tcp 10.1.1.1"),
        4 => Just("0 local 10.0.0.2"),
        16 => Just("0 connected"),
        16 => Just("0 authenticated token"),
        2 => Just("0 authenticated token closing"),
        2 => Just("0 authenticated ask-again closing"),
        2 => Just("0 authenticated bound-to-another-user"),
        1 => Just("0 authenticated code-invalid"),
        1 => Just("0 authenticated password-refused closing"),
        1 => Just("0 authenticated busy 30"),
        16 => Just("0 registered wss://cloud.com/x"),
        4 => Just("0 registered wss://other.com:8443/x"),
        2 => Just("0 registered token-expired"),
        1 => Just("0 registered busy"),
        16 => Just("0 upgraded"),
        2 => Just("0 upgrade-refused token-expired"),
        1 => Just("0 upgrade-refused 404 closing"),
        8 => Just("0 message subconnections netconf=wss://cloud.com/n telemetry=wss://cloud.com/t"),
        4 => Just("0 message subconnections netconf=wss://cloud.com/n2"),
        2 => Just("0 message keepalive-reply 1"),
        2 => Just("0 message unbind-result 1"),
        1 => Just("0 message unbind-result 1 code-invalid"),
        1 => Just("0 message disconnect 30"),
        1 => Just("0 message other"),
        4 => Just("0 alive"),
        1 => Just("0 violation 1002"),
        1 => Just("0 closed 1000"),
        1 => Just("0 closed 4001"),
        1 => Just("0 lost"),
        1 => Just("0 failed connect"),
        1 => Just("0 failed protocol"),
    ]
    .prop_map(str::to_owned)
}

fn other_events() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just("0 target cloud.com"),
        2 => Just("0 target 10.1.1.1 ipv6=cloud.com password=x"),
        4 => Just("0 target cloud.com backup=b1.com backup=b2.com"),
        2 => Just("0 target cloud.com backup=b2.com backup=10.1.1.9"),
        1 => Just("0 target cloud.com backup=b2.com found=Cloud.com by=discovery"),
        1 => Just("0 target cloud.com backup=b2.com found=other.com by=discovery"),
        2 => Just("0 primary-return 1"),
        1 => Just("0 primary-return 0"),
        1 => Just("0 target"),
        3 => Just("0 services netconf telemetry"),
        1 => Just("0 services telemetry"),
        1 => Just("0 interval 10"),
        1 => Just("0 interval 600"),
        1 => Just("0 configured-code 4711"),
        1 => Just("0 configured-code"),
        1 => Just("0 restored-code 4711"),
        1 => Just("0 restored-code"),
        1 => Just("0 unbind 4712"),
        1 => Just("0 reset"),
        1 => Just("0 hosts-changed"),
        2 => Just("0 network-changed"),
        1 => Just("0 network-changed eth0#1=10.0.0.2"),
        4 => Just("0 @netconf upgraded"),
        2 => Just("0 @netconf tls"),
        2 => Just("0 @netconf alive"),
        1 => Just("0 @netconf failed dns"),
        1 => Just("0 @netconf upgrade-refused busy 100"),
        1 => Just("0 @netconf closed 1013"),
        1 => Just("0 @telemetry upgraded"),
        1 => Just("0 @telemetry lost"),
        1 => Just("0 @telemetry violation 1003"),
    ]
    .prop_map(str::to_owned)
}

/// Towards a promotion, mostly.
fn probe_replies() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("0 probe resolved 10.1.1.1"),
        4 => Just("0 probe connected"),
        4 => Just("0 probe authenticated token"),
        4 => Just("0 probe registered wss://cloud.com/x"),
        1 => Just("0 probe registered wss://other.com/x"),
        1 => Just("0 probe authenticated bound-to-another-user"),
        1 => Just("0 probe registered busy 100"),
        1 => Just("0 probe registered token-expired closing"),
        1 => Just("0 probe failed connect"),
        1 => Just("0 probe lost"),
        1 => Just("0 probe upgraded"),
    ]
    .prop_map(str::to_owned)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => replies().prop_map(Op::Tell),
        4 => other_events().prop_map(Op::Tell),
        6 => probe_replies().prop_map(Op::Tell),
        3 => (replies(), 1_u64..20).prop_map(|(line, back)| Op::Stale(line, back)),
        2 => (0_u64..100_000).prop_map(|ms| Op::Sleep(Duration::from_millis(ms))),
        3 => Just(Op::Tick),
    ]
}

/// Walks a fresh machine to the 101 and the first list.
fn establish(run: &mut Checked) {
    for line in [
        "0 target 10.1.1.1",
        "0 connected",
        "0 authenticated token",
        "0 registered wss://10.1.1.1/x",
        "0 upgraded",
        "0 message subconnections",
    ] {
        run.tell(line);
    }
}

/// The way of a probe to its upgrade.
const PROBE: [&str; 4] = [
    "0 probe resolved 10.1.1.1",
    "0 probe connected",
    "0 probe authenticated token",
    "0 probe registered wss://cloud.com/x",
];

/// Walks a fresh machine to a tunnel on a backup server, whose primary is probed each minute.
fn establish_on_a_backup(run: &mut Checked) {
    for line in [
        "0 interval 600",
        "0 primary-return 1",
        "0 target cloud.com backup=10.1.1.9",
        "0 failed dns",
        "0 connected",
        "0 authenticated token",
        "0 registered wss://10.1.1.9/x",
        "0 upgraded",
        "0 message subconnections",
    ] {
        run.tell(line);
    }
}

fn op_on_a_backup() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => prop::sample::select(&PROBE[..]).prop_map(|line| Op::Tell(line.to_owned())),
        2 => probe_replies().prop_map(Op::Tell),
        1 => other_events().prop_map(Op::Tell),
        1 => replies().prop_map(Op::Tell),
        1 => (replies(), 1_u64..20).prop_map(|(line, back)| Op::Stale(line, back)),
        4 => Just(Op::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_events_panics_or_makes_two_main_connections(
        seed: u64,
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut run = Checked::new(seed);
        run.tell("0 target cloud.com");
        for op in &ops {
            run.run(op);
        }
        run.tell("0 shutdown");
        prop_assert_eq!(run.main, None);
        prop_assert_eq!(run.tunnel.poll_timeout(), None);
    }

    #[test]
    fn beside_a_tunnel_on_a_backup_no_probe_makes_two_main_connections(
        seed: u64,
        ops in prop::collection::vec(op_on_a_backup(), 1..100),
    ) {
        let mut run = Checked::new(seed);
        establish_on_a_backup(&mut run);
        for op in &ops {
            run.run(op);
        }
        run.tell("0 shutdown");
        prop_assert_eq!((run.main, run.probe), (None, None));
    }

    #[test]
    fn a_primary_that_registers_is_taken_again_by_the_next_probe(
        seed: u64,
        failures in 0_usize..2,
        step in 0_usize..4,
    ) {
        let mut run = Checked::new(seed);
        establish_on_a_backup(&mut run);
        let start = run.now;
        for probe in 0..=failures {
            while run.probes <= probe {
                run.run(&Op::Tick);
            }
            let upto = if probe < failures { step } else { 4 };
            for line in PROBE.iter().take(upto) {
                run.tell(line);
            }
            if probe < failures {
                run.tell("0 probe failed connect");
            }
        }
        let status = run.tunnel.status();
        prop_assert_eq!(status.device, DeviceState::Handshaking);
        prop_assert_eq!(status.last_down.unwrap().reason, LastDownReason::PrimaryReturn);
        prop_assert!(run.now - start <= Duration::from_secs(60 * (1 + failures as u64)));
    }

    #[test]
    fn the_tunnel_ends_three_intervals_after_the_last_thing_heard(
        seed: u64,
        interval in 10_u64..=600,
        heard in prop::collection::vec(0.0_f64..2.9, 0..10),
    ) {
        let mut run = Checked::new(seed);
        run.tell(&format!("0 interval {interval}"));
        establish(&mut run);
        let mut last_heard = run.now;
        for share in heard {
            let at = last_heard + Duration::from_secs(interval).mul_f64(share);
            while let Some(due) = run.tunnel.poll_timeout().filter(|due| *due <= at) {
                run.now = due;
                run.happen(Event::Tick);
            }
            run.now = at;
            run.tell("0 alive");
            last_heard = at;
        }
        let end = last_heard + Duration::from_secs(3 * interval);
        loop {
            let due = run.tunnel.poll_timeout().unwrap();
            prop_assert!(due <= end);
            run.now = due;
            run.happen(Event::Tick);
            let up = run.tunnel.status().connection == ConnectionState::Established;
            prop_assert_eq!(up, due < end);
            if !up {
                break;
            }
        }
    }

    #[test]
    fn the_same_events_and_seed_give_the_same_actions(
        seed: u64,
        ops in prop::collection::vec(replies(), 1..50),
    ) {
        let mut runs = [Checked::new(seed), Checked::new(seed)];
        let now = runs[0].now;
        for run in &mut runs {
            run.now = now;
            run.tell("0 target cloud.com");
            for op in &ops {
                run.tell(op);
            }
        }
        prop_assert_eq!(runs[0].tunnel.status(), runs[1].tunnel.status());
    }
}
