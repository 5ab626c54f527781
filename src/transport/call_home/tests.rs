//! The machine in a time of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use crate::model::settings::call_home::{CallHomeSettings, ConnectionType, Endpoint, StartWith};
use crate::model::status::Clocks;
use crate::transport::call_home::machine::{Action, Attempt, CallHome, Event};
use crate::transport::call_home::status::{Failure, Phase, Reason};
use crate::transport::ssh::Terms;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A machine and its time.
struct Stage {
    machine: CallHome,
    now: Clocks,
    /// The call under way, by number and name.
    call: Option<(Attempt, String)>,
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        host: format!("{name}.example"),
        port: 4334,
    }
}

fn managers(names: &[&str]) -> CallHomeSettings {
    CallHomeSettings {
        endpoints: names.iter().map(|name| endpoint(name)).collect(),
        ..CallHomeSettings::default()
    }
}

fn periodic(names: &[&str], anchor: Option<SystemTime>) -> CallHomeSettings {
    CallHomeSettings {
        connection_type: ConnectionType::Periodic {
            period: minutes(60),
            anchor,
            idle_timeout: Some(seconds(120)),
        },
        ..managers(names)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn minutes(minutes: u64) -> Duration {
    seconds(60 * minutes)
}

impl Stage {
    fn new() -> Self {
        Self::after(None)
    }

    fn after(last_connected: Option<Endpoint>) -> Self {
        Self {
            machine: CallHome::new(7, last_connected),
            now: Clocks {
                instant: Instant::now(),
                date: SystemTime::UNIX_EPOCH + minutes(1000 * 60 + 20),
            },
            call: None,
        }
    }

    fn with(settings: CallHomeSettings) -> Self {
        let mut stage = Self::new();
        stage.configure(settings);
        stage
    }

    fn tell(&mut self, event: Event) -> Option<Action> {
        let action = self.machine.handle(event, self.now);
        if let Some(Action::Call {
            attempt, endpoint, ..
        }) = &action
        {
            self.call = Some((*attempt, endpoint.name.clone()));
        }
        action
    }

    fn configure(&mut self, settings: CallHomeSettings) -> Option<Action> {
        self.tell(Event::Settings(Arc::new(settings)))
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.date += time;
    }

    /// Lets the wait pass, until there is a call; how long it was.
    fn wait(&mut self) -> Duration {
        self.call = None;
        let mut waited = Duration::ZERO;
        while self.call.is_none() {
            let until = self.machine.poll_timeout().expect("it does not wait");
            let time = until.saturating_duration_since(self.now.instant);
            self.pass(time);
            waited += time;
            self.tell(Event::Timeout);
        }
        waited
    }

    fn called(&self) -> &str {
        &self.call.as_ref().expect("nobody is called").1
    }

    fn attempt(&self) -> Attempt {
        self.call.as_ref().expect("nobody is called").0
    }

    fn fails(&mut self) -> Option<Action> {
        let attempt = self.attempt();
        self.call = None;
        let failure = Failure::new(Reason::ConnectFailed, "refused");
        self.tell(Event::Ended { attempt, failure })
    }

    fn accepts(&mut self) {
        let attempt = self.attempt();
        self.tell(Event::Connected {
            attempt,
            address: ADDRESS,
        });
    }

    fn logs_in(&mut self) {
        self.accepts();
        let attempt = self.attempt();
        self.tell(Event::LoggedIn {
            attempt,
            user: "admin".to_owned(),
        });
        assert_eq!(self.machine.status().phase, Phase::Connected);
    }
}

#[test]
fn nobody_is_called_without_an_endpoint() {
    let mut stage = Stage::with(managers(&[]));
    assert_eq!(stage.machine.status().phase, Phase::Idle);
    assert_eq!(stage.machine.poll_timeout(), None);
    assert_eq!(stage.tell(Event::NamesChanged), None);
}

#[test]
fn an_endpoint_has_its_attempts_and_then_the_next_is_called_at_once() {
    let mut stage = Stage::with(managers(&["a", "b"]));
    let mut waits = Vec::new();
    for _ in 0..2 {
        assert_eq!(stage.called(), "a");
        stage.fails();
        waits.push(stage.wait());
    }
    assert_eq!(stage.called(), "a");
    stage.fails();
    assert_eq!(stage.called(), "b");
    assert!(waits[0] <= seconds(1) && waits[1] > waits[0] && waits[1] <= seconds(2));
}

#[test]
fn after_the_last_endpoint_the_first_follows_without_end() {
    let mut settings = managers(&["a", "b"]);
    settings.max_attempts = 1;
    let mut stage = Stage::with(settings);
    stage.fails();
    for round in 0..20 {
        assert_eq!(stage.called(), if round % 2 == 0 { "b" } else { "a" });
        stage.fails();
        let wait = stage.wait();
        assert!(wait <= seconds(300), "{wait:?}");
        assert!(round < 9 || wait >= seconds(150), "{wait:?}");
    }
}

#[test]
fn a_manager_that_accepts_and_on_whom_nobody_logs_in_is_no_success() {
    let mut stage = Stage::with(managers(&["a"]));
    stage.accepts();
    assert_eq!(stage.machine.status().phase, Phase::LoggingIn);
    stage.fails();
    let status = stage.machine.status();
    assert_eq!((status.phase, status.attempts), (Phase::Waiting, 1));
    let last = status.last_failure.unwrap();
    assert_eq!(
        (last.endpoint.as_str(), last.failure.reason),
        ("a", Reason::ConnectFailed)
    );
}

#[test]
fn a_login_clears_the_attempts_and_the_failure() {
    let mut stage = Stage::with(managers(&["a"]));
    stage.fails();
    stage.wait();
    stage.logs_in();
    let status = stage.machine.status();
    assert_eq!((status.attempts, status.last_failure), (0, None));
    assert_eq!(status.user.as_deref(), Some("admin"));
    assert_eq!(status.address, Some(ADDRESS));
}

#[test]
fn a_lost_connection_that_stood_is_made_again_within_five_seconds() {
    let mut stage = Stage::with(managers(&["a", "b"]));
    for _ in 0..8 {
        stage.fails();
        if stage.call.is_none() {
            stage.wait();
        }
    }
    stage.logs_in();
    stage.pass(minutes(10));
    stage.fails();
    assert!(stage.wait() <= seconds(5));
    assert_eq!(stage.called(), "a");
    stage.fails();
    assert!(stage.wait() <= seconds(1));
}

#[test]
fn a_manager_that_always_leaves_at_once_is_called_less_and_less_often() {
    let mut stage = Stage::with(managers(&["a"]));
    let mut last = Duration::ZERO;
    for _ in 0..9 {
        stage.logs_in();
        stage.fails();
        last = stage.wait();
    }
    assert!(last >= seconds(128), "{last:?}");
}

#[test]
fn start_with_last_connected_survives_a_restart_and_a_new_name() {
    let mut settings = managers(&["a", "b", "c"]);
    settings.start_with = StartWith::LastConnected;
    let mut other_name = endpoint("b");
    other_name.name = "renamed".to_owned();
    let mut stage = Stage::after(Some(other_name));
    stage.configure(settings.clone());
    assert_eq!(stage.called(), "b");
    let mut stage = Stage::after(Some(endpoint("gone")));
    stage.configure(settings);
    assert_eq!(stage.called(), "a");
}

#[test]
fn random_selection_begins_with_any() {
    let mut settings = managers(&["a", "b", "c"]);
    settings.start_with = StartWith::RandomSelection;
    let mut begun = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut stage = Stage::new();
        stage.machine = CallHome::new(seed, None);
        stage.configure(settings.clone());
        begun.insert(stage.called().to_owned());
    }
    assert_eq!(begun.len(), 3);
}

#[test]
fn a_removed_endpoint_loses_its_connection_and_the_next_is_called_when_it_is_over() {
    let mut stage = Stage::with(managers(&["a", "b"]));
    stage.logs_in();
    assert_eq!(
        stage.configure(managers(&["b"])),
        Some(Action::Terms(Terms::Leave))
    );
    // Whatever is configured meanwhile, it has been told to leave.
    assert_eq!(stage.configure(managers(&["c", "a"])), None);
    stage.fails();
    assert_eq!(stage.called(), "c");
}

#[test]
fn a_connection_stays_when_its_endpoint_only_moves_or_gets_another_name() {
    let mut stage = Stage::with(managers(&["a", "b"]));
    stage.logs_in();
    let mut settings = managers(&["b", "a"]);
    settings.endpoints[1].name = "other".to_owned();
    assert_eq!(
        stage.configure(settings),
        Some(Action::Terms(Terms::Stay(None)))
    );
    assert_eq!(stage.machine.status().endpoint.as_deref(), Some("other"));
}

#[test]
fn an_endpoint_with_another_port_is_dialled_anew() {
    let mut stage = Stage::with(managers(&["a"]));
    stage.logs_in();
    let mut settings = managers(&["a"]);
    settings.endpoints[0].port = 5000;
    assert_eq!(stage.configure(settings), Some(Action::Terms(Terms::Leave)));
    let called = stage.fails();
    assert!(matches!(called, Some(Action::Call { endpoint, .. }) if endpoint.port == 5000));
}

#[test]
fn without_endpoints_a_wait_is_over_for_good() {
    let mut stage = Stage::with(managers(&["a"]));
    stage.fails();
    stage.configure(managers(&[]));
    assert_eq!(stage.machine.poll_timeout(), None);
    assert_eq!(stage.machine.status().last_failure, None);
}

#[test]
fn a_change_of_names_ends_the_wait_after_a_failure_only() {
    let mut stage = Stage::with(managers(&["a"]));
    stage.fails();
    assert!(stage.tell(Event::NamesChanged).is_some());
    let mut stage = Stage::with(periodic(&["a"], None));
    stage.logs_in();
    stage.fails();
    assert_eq!(stage.tell(Event::NamesChanged), None);
}

#[test]
fn a_periodic_connection_is_made_at_once_and_again_a_period_after_its_end() {
    let mut stage = Stage::with(periodic(&["a"], None));
    stage.logs_in();
    stage.pass(seconds(30));
    stage.fails();
    assert_eq!(stage.wait(), minutes(60));
    assert_eq!(stage.called(), "a");
}

#[test]
fn a_periodic_call_that_fails_is_made_again_as_any_other() {
    let mut stage = Stage::with(periodic(&["a"], None));
    stage.fails();
    assert!(stage.wait() <= seconds(1));
}

#[test]
fn periodic_connections_start_at_whole_periods_from_their_anchor() {
    // It is 40 minutes before the full hour, and the anchors are at a quarter past one, before and after now.
    for hours in [0, 5000] {
        let anchor = SystemTime::UNIX_EPOCH + minutes(60 * hours + 15);
        let mut stage = Stage::with(periodic(&["a"], Some(anchor)));
        assert_eq!(stage.call, None);
        assert_eq!(stage.wait(), minutes(55), "{hours}");
        stage.logs_in();
        stage.pass(minutes(5));
        stage.fails();
        assert_eq!(stage.wait(), minutes(55));
    }
}

#[test]
fn a_clock_that_is_set_meanwhile_moves_the_next_period() {
    let anchor = SystemTime::UNIX_EPOCH + minutes(15);
    for (set_by, left) in [(30, 24), (-30, 24), (54, 0), (55, 0)] {
        let mut stage = Stage::with(periodic(&["a"], Some(anchor)));
        stage.pass(minutes(1));
        let ahead = minutes(i64::unsigned_abs(set_by));
        match set_by > 0 {
            true => stage.now.date += ahead,
            false => stage.now.date -= ahead,
        }
        assert_eq!(stage.wait(), minutes(left), "{set_by}");
    }
}

#[test]
fn the_period_and_the_idle_time_of_a_connection_change_live() {
    let mut stage = Stage::with(managers(&["a"]));
    stage.logs_in();
    let idle = Terms::Stay(Some(seconds(120)));
    assert_eq!(
        stage.configure(periodic(&["a"], None)),
        Some(Action::Terms(idle))
    );
    stage.fails();
    stage.pass(minutes(50));
    let mut settings = periodic(&["a"], None);
    settings.connection_type = ConnectionType::Periodic {
        period: minutes(51),
        anchor: None,
        idle_timeout: None,
    };
    stage.configure(settings);
    assert_eq!(stage.wait(), minutes(1));
    stage.logs_in();
    stage.fails();
    // A connection that is always to stand is made at once.
    assert!(stage.configure(managers(&["a"])).is_some());
}

#[test]
fn what_is_late_of_an_earlier_call_comes_to_nothing() {
    let mut stage = Stage::with(managers(&["a"]));
    let old = stage.attempt();
    stage.fails();
    stage.wait();
    for event in [
        Event::Connected {
            attempt: old,
            address: ADDRESS,
        },
        Event::LoggedIn {
            attempt: old,
            user: "admin".to_owned(),
        },
        Event::Ended {
            attempt: old,
            failure: Failure::new(Reason::Closed, ""),
        },
        Event::Timeout,
    ] {
        assert_eq!(stage.tell(event), None);
        assert_eq!(stage.machine.status().phase, Phase::Connecting);
    }
}

proptest! {
    /// Whatever happens in whatever order: with an endpoint there is a call or a wait of bounded length, without one
    /// neither; and there is never a second call beside one that has not ended.
    #[test]
    fn it_never_stalls_and_never_calls_twice(seed: u64, steps in proptest::collection::vec((0_u8..8, 0_usize..5), 1..60)) {
        let all = ["a", "b", "c", "d"];
        let mut stage = Stage::new();
        stage.machine = CallHome::new(seed, None);
        let mut count = 0;
        let mut under_way = None;
        for (step, number) in steps {
            let attempt = under_way.unwrap_or(0);
            let event = match step {
                0 | 1 => {
                    count = number;
                    let mut settings = if step == 0 { managers(&all[..number.min(4)]) } else { periodic(&all[4 - number.min(4)..], None) };
                    settings.start_with = [StartWith::FirstListed, StartWith::LastConnected, StartWith::RandomSelection][number % 3];
                    count = count.min(4);
                    Event::Settings(Arc::new(settings))
                }
                2 => Event::NamesChanged,
                3 => Event::Connected { attempt, address: ADDRESS },
                4 => Event::LoggedIn { attempt, user: "u".to_owned() },
                5 => { under_way = None; Event::Ended { attempt, failure: Failure::new(Reason::Closed, "") } }
                6 => { stage.pass(seconds(600)); Event::Timeout }
                _ => Event::Timeout,
            };
            if let Some(Action::Call { attempt, .. }) = stage.machine.handle(event, stage.now) {
                prop_assert_eq!(under_way, None);
                under_way = Some(attempt);
            }
            let wait = stage.machine.poll_timeout();
            prop_assert!(under_way.is_none() || wait.is_none());
            prop_assert_eq!(count > 0 || under_way.is_some(), under_way.is_some() || wait.is_some());
            if let Some(wait) = wait {
                prop_assert!(wait <= stage.now.instant + minutes(60));
            }
        }
    }
}
