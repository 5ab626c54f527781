//! In virtual time: the machine has no clock of its own.

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A machine whose base is a number: how many changes were there.
struct Timeline {
    guard: Guard<Version>,
    start: Instant,
    /// Since the start.
    now: Duration,
    /// Running, as the number of changes in it.
    running: Version,
    /// How many changes there were.
    number: Version,
    timeout: Option<Duration>,
}

impl Timeline {
    fn new() -> Self {
        Self {
            guard: Guard::default(),
            start: Instant::now(),
            now: Duration::ZERO,
            running: 0,
            number: 0,
            timeout: Some(MINUTE),
        }
    }

    fn now(&self) -> Instant {
        self.start + self.now
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.work();
    }

    fn work(&mut self) {
        if self.guard.is_due(self.now()) {
            self.running = self.guard.base().unwrap();
            let effect = self.guard.taken_back(Ending::RolledBack);
            self.take_over(effect);
        } else if self.guard.is_met(self.now()) {
            let effect = self.guard.taken_back(Ending::Established);
            self.guard
                .committed(effect, self.now(), self.number + 1, self.running);
        }
    }

    fn take_over(&mut self, effect: Effect) {
        let base = self.running;
        self.number += 1;
        self.guard.committed(effect, self.now(), self.number, base);
    }

    fn commit_with(&mut self, reach: Reach, timeout: Option<Duration>) {
        self.guard.writable().unwrap();
        let effect = self.guard.effect_of(&Proposal {
            timeout,
            timeout_before: self.timeout,
            reach,
        });
        self.timeout = timeout;
        self.take_over(effect);
        self.running = self.number;
    }

    fn commit(&mut self, reach: Reach) {
        self.commit_with(reach, self.timeout);
    }

    fn reached(&mut self, number: Version) {
        self.guard.reached(number);
        self.work();
    }

    fn is_armed(&self) -> bool {
        self.guard.armed().is_some()
    }

    fn until(&self) -> Option<Duration> {
        Some(self.guard.armed()?.until - self.start)
    }
}

#[test]
fn only_a_commit_that_cuts_a_tunnel_arms() {
    let mut line = Timeline::new();
    line.commit(Reach::Kept);
    line.commit(Reach::Moved);
    assert!(!line.is_armed());
    line.commit_with(Reach::Cut, None);
    assert!(!line.is_armed());
    line.commit_with(Reach::Kept, Some(MINUTE));
    assert!(!line.is_armed(), "the guard alone is nothing to guard");
    line.commit(Reach::Cut);
    assert_eq!(line.guard.base(), Some(4));
}

#[test]
fn without_a_tunnel_the_base_is_due_at_the_deadline_and_not_before() {
    let mut line = Timeline::new();
    line.commit(Reach::Cut);
    assert_eq!(line.guard.poll_timeout(), Some(line.start + MINUTE));
    line.wait(MINUTE - Duration::from_nanos(1));
    assert_eq!((line.running, line.is_armed()), (1, true));
    line.wait(Duration::from_nanos(1));
    assert_eq!((line.running, line.is_armed()), (0, false));
    assert!(line.guard.is_idle());
    assert_eq!(line.guard.poll_timeout(), None);
}

#[test]
fn a_tunnel_of_the_target_before_disarms_nothing() {
    let mut line = Timeline::new();
    line.commit(Reach::Kept);
    line.commit(Reach::Cut);
    line.reached(1);
    assert!(line.is_armed());
    line.commit(Reach::Moved);
    // Of the first of the two targets, which came up after all.
    line.reached(2);
    assert!(line.is_armed());
    line.reached(3);
    assert!(line.guard.is_idle());
    line.wait(MINUTE * 100);
    assert_eq!(line.running, 3);
}

#[test]
fn a_tunnel_under_a_later_commit_is_one_of_the_same_target() {
    let mut line = Timeline::new();
    line.commit(Reach::Cut);
    line.commit(Reach::Kept);
    line.reached(2);
    assert!(line.guard.is_idle());
}

#[test]
fn the_newest_timeout_counts_from_the_commit_that_needs_it() {
    let mut line = Timeline::new();
    line.commit(Reach::Cut);
    line.wait(MINUTE / 2);
    line.commit(Reach::Kept);
    assert_eq!(line.until(), Some(MINUTE));
    line.commit_with(Reach::Kept, Some(MINUTE * 2));
    assert_eq!(line.until(), Some(MINUTE * 5 / 2));
    line.commit(Reach::Moved);
    assert_eq!(line.until(), Some(MINUTE * 5 / 2));
    line.wait(MINUTE);
    line.commit(Reach::Moved);
    assert_eq!(line.until(), Some(MINUTE * 7 / 2));
    assert_eq!(line.guard.armed().unwrap().since, line.start);
    line.wait(MINUTE * 2);
    assert_eq!(line.running, 0, "back to before the first of them");
}

#[test]
fn what_fails_after_it_was_asked_changes_nothing() {
    let mut line = Timeline::new();
    let cut = Proposal {
        timeout: Some(MINUTE),
        timeout_before: None,
        reach: Reach::Cut,
    };
    assert_eq!(line.guard.effect_of(&cut), Effect::Arms(MINUTE));
    assert!(line.guard.is_idle());
    line.commit(Reach::Cut);
    assert_eq!(
        line.guard.accepted().unwrap(),
        Effect::Ends(Ending::Accepted)
    );
    assert!(line.is_armed());
}

#[test]
fn nothing_armed_is_nothing_to_accept() {
    let mut line = Timeline::new();
    let refused = line.guard.accepted().unwrap_err();
    assert_eq!(refused.tag, ErrorTag::OperationFailed);
    line.commit(Reach::Cut);
    let accepted = line.guard.accepted().unwrap();
    line.take_over(accepted);
    assert!(line.guard.is_idle());
    assert!(line.guard.accepted().is_err());
}

#[test]
fn a_rollback_that_is_put_off_is_due_again_and_nobody_commits_meanwhile() {
    let mut line = Timeline::new();
    line.commit(Reach::Cut);
    line.now = MINUTE;
    assert!(line.guard.is_due(line.now()));
    line.guard.put_off(line.now());
    assert!(!line.guard.is_due(line.now()));
    assert_eq!(line.guard.writable().unwrap_err().tag, ErrorTag::InUse);
    let again = line.guard.poll_timeout().unwrap();
    assert!(again > line.now());
    line.now = again - line.start;
    line.work();
    assert_eq!((line.running, line.guard.is_idle()), (0, true));
    line.guard.writable().unwrap();
}

#[test]
fn a_tunnel_that_stands_is_not_cut_by_a_rollback_that_came_to_nothing() {
    let mut line = Timeline::new();
    line.commit(Reach::Cut);
    line.now = MINUTE;
    assert!(line.guard.is_due(line.now()));
    line.guard.put_off(line.now());
    line.guard.reached(1);
    assert!(!line.guard.is_due(line.now() + MINUTE));
    line.guard.writable().unwrap();
    line.work();
    assert_eq!((line.running, line.guard.is_idle()), (1, true));
}

#[test]
fn what_the_store_does_not_know_yet_is_tried_again_and_comes_with_the_next_commit() {
    let mut line = Timeline::new();
    line.commit(Reach::Cut);
    line.guard.reached(1);
    assert!(line.guard.is_met(line.now()) && !line.guard.is_idle());
    line.guard.put_off(line.now());
    assert!(!line.guard.is_met(line.now()));
    assert_eq!(line.guard.poll_timeout(), Some(line.now() + AGAIN));
    assert!(line.guard.is_met(line.now() + AGAIN));
    assert!(!line.guard.is_due(line.now() + MINUTE));
    let kept = Proposal {
        timeout: Some(MINUTE),
        timeout_before: Some(MINUTE),
        reach: Reach::Kept,
    };
    let ends = Effect::Ends(Ending::Established);
    assert_eq!(line.guard.effect_of(&kept), ends);
    let reach = Reach::Cut;
    let arms = line.guard.effect_of(&Proposal { reach, ..kept });
    assert_eq!(arms, Effect::Arms(MINUTE));
    line.commit(Reach::Cut);
    assert_eq!(line.guard.base(), Some(1), "what stood is the base now");
}

#[test]
fn of_many_commits_the_newest_are_named() {
    assert_eq!(Rollback::numbers(3, 3), [0_u64; 0]);
    assert_eq!(Rollback::numbers(3, 5), [4, 5]);
    let many = Rollback::numbers(3, 1000);
    assert_eq!((many.len(), many[0], many[49]), (50, 951, 1000));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Commit(Reach, Option<u64>),
    /// So many changes ago.
    Reached(u64),
    Accept,
    Wait(u64),
}

fn an_act() -> impl Strategy<Value = Act> {
    let reach = prop_oneof![Just(Reach::Kept), Just(Reach::Moved), Just(Reach::Cut)];
    let timeout = prop_oneof![1 => Just(None), 4 => prop_oneof![Just(30), Just(60)].prop_map(Some)];
    prop_oneof![
        4 => (reach, timeout).prop_map(|(reach, timeout)| Act::Commit(reach, timeout)),
        2 => (0..3_u64).prop_map(Act::Reached),
        1 => Just(Act::Accept),
        4 => (0..40_u64).prop_map(Act::Wait),
    ]
}

/// The text of the design, as plainly as it can be written: an armed guard is a tuple.
#[derive(Default)]
struct Plain {
    running: Version,
    number: Version,
    now: u64,
    timeout: Option<u64>,
    /// Base, deadline, and the change under which a tunnel is wanted.
    armed: Option<(Version, u64, Version)>,
}

impl Plain {
    fn act(&mut self, act: Act) {
        match act {
            Act::Commit(reach, timeout) => {
                self.number += 1;
                let deadline = |timeout| self.now + timeout;
                self.armed = match (self.armed, timeout) {
                    (_, None) => None,
                    (None, Some(timeout)) => (reach == Reach::Cut)
                        .then(|| (self.running, deadline(timeout), self.number)),
                    (Some((base, ..)), Some(timeout)) if reach != Reach::Kept => {
                        Some((base, deadline(timeout), self.number))
                    }
                    (Some((base, _, wanted)), Some(new)) if timeout != self.timeout => {
                        Some((base, deadline(new), wanted))
                    }
                    (armed, _) => armed,
                };
                self.timeout = timeout;
                self.running = self.number;
            }
            Act::Reached(ago) => {
                let reached = self.number.saturating_sub(ago);
                self.armed = self.armed.filter(|(.., wanted)| *wanted > reached);
            }
            Act::Accept => {
                if self.armed.take().is_some() {
                    self.number += 1;
                }
            }
            Act::Wait(seconds) => {
                self.now += seconds;
                if let Some((base, deadline, _)) = self.armed
                    && deadline <= self.now
                {
                    self.running = base;
                    self.number += 1;
                    self.armed = None;
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_course_of_events_ends_where_the_design_says(acts in prop::collection::vec(an_act(), 1..60)) {
        let mut line = Timeline::new();
        line.timeout = None;
        let mut plain = Plain::default();
        for act in acts {
            match act {
                Act::Commit(reach, timeout) => {
                    line.commit_with(reach, timeout.map(Duration::from_secs));
                }
                Act::Reached(ago) => line.reached(line.number.saturating_sub(ago)),
                Act::Accept => {
                    if let Ok(effect) = line.guard.accepted() {
                        line.take_over(effect);
                    }
                }
                Act::Wait(seconds) => line.wait(Duration::from_secs(seconds)),
            }
            plain.act(act);
            prop_assert_eq!(line.running, plain.running, "{:?}", act);
            let armed = plain.armed.map(|(base, deadline, _)| (base, deadline));
            let shown = line.until().map(|until| (line.guard.base().unwrap(), until.as_secs()));
            prop_assert_eq!(shown, armed, "{:?}", act);
            prop_assert_eq!(line.guard.is_idle(), armed.is_none());
        }
    }
}
