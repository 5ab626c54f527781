//! Recorded scenarios: `tests/scenarios/NAME/events` goes in, `actions` is what has to come out.
//!
//! `BLESS=1 cargo test --test it machine::scenarios` writes `actions` anew; the difference is then there to be reviewed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tether::model::settings::Secret;
use tether::model::status::{LastDown, LastDownReason, Moment, Unbinding, UnbindingState};
use tether::tunnel::machine::{self, Action, Attempt, Event, Start, Tunnel};

use super::render;
use super::script::{Line, parse};

#[test]
fn every_scenario_gives_the_actions_that_are_recorded() {
    let mut wrong = Vec::new();
    for directory in scenarios() {
        let events = std::fs::read_to_string(directory.join("events")).unwrap();
        let actual = Player::play(&events);
        let file = directory.join("actions");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &actual).unwrap();
        }
        let recorded = std::fs::read_to_string(&file).unwrap_or_default();
        if recorded != actual {
            wrong.push(format!("{}:\n{actual}", directory.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn scenarios() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Plays a scenario in virtual time: due deadlines are met before each event, as the driver would.
struct Player {
    tunnel: Tunnel,
    start: Instant,
    now: Instant,
    asked: Attempt,
    probed: Attempt,
    subconnections: Vec<(String, Attempt)>,
    log: String,
}

impl Player {
    fn play(events: &str) -> String {
        let start = Instant::now();
        let mut player = Self {
            tunnel: Tunnel::new(beginning(events)),
            start,
            now: start,
            asked: Attempt::default(),
            probed: Attempt::default(),
            subconnections: Vec::new(),
            log: String::new(),
        };
        for line in events.lines() {
            if line.starts_with('#') {
                let _ = writeln!(player.log, "{line}");
            } else if !line.trim().is_empty() {
                player.line(line);
            }
        }
        player.log
    }

    fn line(&mut self, line: &str) {
        let (at, parsed) = parse(line);
        self.pass_until(self.start + at);
        let event = match parsed {
            Line::Pass => return,
            Line::Event(event) => event,
            Line::Reply(number, reply) => Event::Reply(number.unwrap_or(self.asked), reply),
            Line::Probe(reply) => Event::Reply(self.probed, reply),
            Line::Subconnection(service, number, reply) => {
                let known = self.subconnections.iter().rev();
                let mut numbers = known.filter(|(name, _)| *name == service);
                let asked = numbers.next().map_or(Attempt::default(), |one| one.1);
                Event::SubconnectionReply(number.unwrap_or(asked), reply)
            }
        };
        let told = line.split_once(' ').map_or(line, |(_, event)| event);
        self.happen(told.trim(), event);
    }

    /// Meets every deadline up to a time.
    fn pass_until(&mut self, until: Instant) {
        let mut idle = 0;
        while let Some(due) = self.tunnel.poll_timeout().filter(|due| *due <= until) {
            idle = if due > self.now { 0 } else { idle + 1 };
            assert!(idle < 10, "no progress:\n{}", self.log);
            self.now = self.now.max(due);
            self.happen("tick", Event::Tick);
        }
        self.now = until;
    }

    fn happen(&mut self, told: &str, event: Event) {
        let actions = self.tunnel.handle(event, self.now);
        let time = render::time(self.start, self.now);
        let _ = writeln!(self.log, "{time} {told}");
        for action in &actions {
            self.note(action);
            let _ = writeln!(self.log, "    → {}", render::action(self.start, action));
        }
        let status = render::status(self.start, &self.tunnel.status());
        let _ = writeln!(self.log, "    = {status}");
    }

    fn note(&mut self, action: &Action) {
        match action {
            Action::Resolve { attempt, line, .. }
            | Action::Connect { attempt, line, .. }
            | Action::Authenticate { attempt, line, .. }
            | Action::Register { attempt, line, .. } => match line {
                machine::Line::Main => self.asked = *attempt,
                machine::Line::Probe => self.probed = *attempt,
            },
            Action::Upgrade { attempt, .. } => self.asked = *attempt,
            Action::OpenSubconnection {
                attempt, service, ..
            } => self.subconnections.push((service.clone(), *attempt)),
            _ => {}
        }
    }
}

/// What the head of a scenario says of the run before: `# restart: …`.
fn beginning(events: &str) -> Start {
    let mut start = Start {
        seed: 7,
        keepalive_interval: Duration::from_secs(180),
        unbinding: Unbinding::default(),
        last_down: None,
    };
    let stored = std::time::SystemTime::UNIX_EPOCH;
    for line in events.lines() {
        match line.strip_prefix("# restart: ") {
            Some("lost by connection-lost") => {
                start.last_down = Some(LastDown {
                    reason: LastDownReason::ConnectionLost,
                    at: Moment::Stored(stored),
                });
            }
            Some("code 4 sent, not answered") => {
                start.unbinding = Unbinding {
                    state: UnbindingState::Sent,
                    reason: None,
                    at: Some(Moment::Stored(stored)),
                    id: 4,
                    code: Some(Secret::new("4711")),
                    configured: Some(Secret::new("4711")),
                };
            }
            Some("code 4 accepted") => {
                start.unbinding = Unbinding {
                    state: UnbindingState::Accepted,
                    reason: None,
                    at: Some(Moment::Stored(stored)),
                    id: 4,
                    code: None,
                    configured: Some(Secret::new("4711")),
                };
            }
            Some(other) => panic!("unknown restart: {other}"),
            None => {}
        }
    }
    start
}
