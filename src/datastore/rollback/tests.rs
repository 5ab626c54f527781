//! Confirmed commits and the commit guard together, on a whole datastore with a tunnel that a test makes up, and a journal in
//! the place of the store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::datastore::Parts;
use crate::datastore::confirm::{Confirmed, Request};
use crate::datastore::edit::Sealer;
use crate::datastore::subscriber::{Change, ConfigSubscriber, Prepared};
use crate::datastore::tests::line::{PORT, Tunnel};
use crate::model::error::ErrorTag;
use crate::model::schema::Schema;
use crate::model::tree::{Diff, Tree};

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

const KEEPALIVE: &str = "/cloud-management:cloud-management/keepalive-interval";
const TIMEOUT: &str = "/cloud-management:cloud-management/commit-guard/timeout";
const START: [u64; 3] = [443, 180, 0];

/// A datastore, its clock, its tunnel, and what a start would read.
struct Device {
    datastore: Datastore,
    tunnel: Tunnel,
    now: Instant,
    diffs: Vec<String>,
    marks: [Option<u64>; 2],
    told: Arc<Mutex<Vec<String>>>,
}

fn author(session: u32) -> Author {
    Author {
        session,
        ..Author::agent("netconf", SystemTime::UNIX_EPOCH)
    }
}

impl Device {
    fn new() -> Self {
        let tunnel = Tunnel::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let parts = Parts {
            announce: Some(Box::new(move |announced| {
                let told = format!("{} {:?}", announced.by.source, announced.what);
                telling.lock().unwrap().push(told);
            })),
            ..tunnel.parts()
        };
        let running = Tree::new(Schema::load(&[]).unwrap());
        let datastore = Datastore::start(running, 1, Box::new(NoSecrets), parts);
        Self {
            datastore: datastore.unwrap(),
            tunnel,
            now: Instant::now(),
            diffs: Vec::new(),
            marks: [None; 2],
            told,
        }
    }

    /// Stores and completes, as the driver does.
    fn proceed(&mut self, step: Step) {
        let Step::Store(staged) = step else { return };
        if let Some(record) = staged.record() {
            let diff = String::from_utf8_lossy(&record.diff).into_owned();
            self.diffs.push(diff);
            assert_eq!(record.id, self.diffs.len() as u64);
        }
        for (key, value) in &staged.beside {
            let number = |value: &Vec<u8>| String::from_utf8_lossy(value).parse().unwrap();
            match key.as_str() {
                BASE_KEY => self.marks[0] = value.as_ref().map(number),
                GUARD_KEY => self.marks[1] = value.as_ref().map(number),
                other => assert_eq!(other, LAST_KEY),
            }
        }
        self.datastore.complete(*staged, self.now);
    }

    /// Commits port, interval and guard; a guard of 0 s is none.
    fn commit(
        &mut self,
        session: u32,
        [port, interval, guard]: [u64; 3],
        confirmed: Option<u64>,
    ) -> Result<(), Errors> {
        let by = author(session);
        let mut tree = Tree::new(self.datastore.schema());
        tree.set(PORT, Some(&port.to_string()))?;
        tree.set(KEEPALIVE, Some(&interval.to_string()))?;
        if guard > 0 {
            tree.set(TIMEOUT, Some(&guard.to_string()))?;
        }
        self.datastore.set_candidate(tree, &by)?;
        let confirmed = confirmed.map(|seconds| Confirmed {
            timeout: Duration::from_secs(seconds),
            persist: None,
        });
        let request = Request {
            confirmed,
            persist_id: None,
        };
        let step = self.datastore.commit(&by, &request);
        if step.is_err() {
            self.datastore.discard(&by)?;
        }
        self.proceed(step?);
        Ok(())
    }

    fn work(&mut self) {
        while self.datastore.is_due(self.now) {
            let step = self.datastore.on_time(self.now, SystemTime::UNIX_EPOCH);
            self.proceed(step);
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.work();
    }

    fn running(&self) -> [u64; 3] {
        seen(self.datastore.config(Target::Running))
    }

    /// What a start would find, with what it takes back.
    fn after_a_restart(&self) -> [u64; 3] {
        let kept = self.marks.iter().flatten().min();
        let kept = kept.map_or(self.diffs.len(), |kept| usize::try_from(*kept).unwrap());
        let mut tree = Tree::new(self.datastore.schema());
        for diff in &self.diffs[..kept] {
            let diff = Diff::parse(tree.schema(), diff).unwrap();
            tree.apply(&diff).unwrap();
        }
        tree.validate().unwrap();
        seen(&tree)
    }
}

fn seen(tree: &Tree) -> [u64; 3] {
    let number = |path: &str| tree.value(path).and_then(|value| value.parse().ok());
    let [port, interval, timeout] = [PORT, KEEPALIVE, TIMEOUT].map(number);
    [
        port.unwrap_or(START[0]),
        interval.unwrap_or(START[1]),
        timeout.unwrap_or(0),
    ]
}

/// A device whose tunnel stands and whose commits are guarded for a minute.
fn guarded() -> Device {
    let mut device = Device::new();
    device.commit(1, [1, 100, 60], None).unwrap();
    device.tunnel.comes_up();
    device.work();
    device
}

#[test]
fn the_rollback_of_the_guard_is_a_commit_of_its_own_and_told_by_it() {
    let mut device = guarded();
    device.commit(1, [2, 100, 60], None).unwrap();
    assert_eq!(device.marks, [None, Some(1)]);
    device.wait(60);
    assert_eq!((device.running(), device.marks), ([1, 100, 60], [None; 2]));
    assert_eq!(device.diffs.len(), 3);
    assert_eq!(device.tunnel.0.lock().unwrap().rolled_back, 1);
    let told = device.told.lock().unwrap();
    let last = &told[told.len() - 2..];
    assert!(
        last[0].starts_with("commit-guard RunningChanged"),
        "{last:?}"
    );
    assert!(last[1].starts_with("commit-guard RolledBack"), "{last:?}");
    assert!(
        last[1].contains("commit: Some(3), taken_back: [2]"),
        "{last:?}"
    );
}

#[test]
fn a_commit_that_follows_the_establishment_at_once_falls_back_to_what_was_established() {
    let mut device = guarded();
    device.commit(1, [2, 100, 60], None).unwrap();
    // Nobody has looked at it yet when the next commit comes.
    device.tunnel.comes_up();
    device.commit(1, [3, 100, 60], None).unwrap();
    assert_eq!(device.marks, [None, Some(2)]);
    device.wait(60);
    assert_eq!((device.running(), device.marks), ([2, 100, 60], [None; 2]));
}

#[test]
fn a_commit_of_something_else_after_the_establishment_stores_that_nothing_is_guarded() {
    let mut device = guarded();
    device.commit(1, [2, 100, 60], None).unwrap();
    device.tunnel.comes_up();
    device.commit(1, [2, 200, 60], None).unwrap();
    assert_eq!(device.marks, [None; 2]);
    device.wait(60);
    assert_eq!(device.running(), [2, 200, 60]);
}

#[test]
fn a_tunnel_that_cannot_take_the_rollback_has_it_tried_again_and_nobody_commits_meanwhile() {
    struct Full(Arc<Mutex<bool>>);
    impl ConfigSubscriber for Full {
        fn prepare(&mut self, _: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
            let words = "no room";
            match *self.0.lock().unwrap() {
                true => Err(RpcError::application(ErrorTag::ResourceDenied, words)),
                false => Ok(Box::new(|| {})),
            }
        }
    }
    let mut device = guarded();
    let full = Arc::new(Mutex::new(false));
    let part = Box::new(Full(Arc::clone(&full)));
    device.datastore.parts.subscribers.push(part);
    device.commit(1, [2, 100, 60], None).unwrap();
    *full.lock().unwrap() = true;
    device.wait(60);
    assert_eq!((device.running(), device.marks[1]), ([2, 100, 60], Some(1)));
    let refused = device.commit(1, [1, 100, 60], None).unwrap_err();
    assert_eq!(refused[0].tag, ErrorTag::InUse);
    *full.lock().unwrap() = false;
    device.now = device.datastore.poll_timeout().unwrap();
    device.work();
    assert_eq!((device.running(), device.marks), ([1, 100, 60], [None; 2]));
    device.commit(1, [1, 200, 60], None).unwrap();
}

#[test]
fn more_changes_than_are_kept_apart_are_taken_back_to_either_base() {
    for confirms in [false, true] {
        let mut device = guarded();
        for n in 0..50 {
            device.commit(1, [1, 200 + n, 60], Some(600)).unwrap();
        }
        device.commit(1, [2, 300, 60], Some(600)).unwrap();
        for n in 0..100 {
            device.commit(1, [2, 300 + n, 60], Some(600)).unwrap();
        }
        if confirms {
            device.commit(1, [2, 500, 60], None).unwrap();
        }
        assert!(!device.datastore.may_snapshot());
        device.wait(60);
        let base = if confirms { 249 } else { 100 };
        assert_eq!(device.running(), [1, base, 60]);
        assert!(device.datastore.may_snapshot());
    }
}

#[derive(Clone, Debug)]
enum Act {
    Commit(u32, [u64; 3], Option<u64>),
    Cancel(u32),
    End(u32),
    Accept,
    Up,
    Lost,
    Wait(u64),
}

fn an_act() -> impl Strategy<Value = Act> {
    let session = || 1..3_u32;
    let confirmed = prop_oneof![2 => Just(None), 1 => (1..90_u64).prop_map(Some)];
    let guard = prop_oneof![1 => Just(0_u64), 3 => Just(30), 3 => Just(60)];
    let content =
        (1..4_u64, 100..103_u64, guard).prop_map(|(port, interval, guard)| [port, interval, guard]);
    prop_oneof![
        6 => (session(), content, confirmed).prop_map(|(s, c, t)| Act::Commit(s, c, t)),
        1 => session().prop_map(Act::Cancel),
        1 => session().prop_map(Act::End),
        1 => Just(Act::Accept),
        3 => Just(Act::Up),
        1 => Just(Act::Lost),
        4 => (0..40_u64).prop_map(Act::Wait),
    ]
}

/// The design as plainly as it can be written.
struct Plain {
    /// All that was running, oldest first; the last is.
    past: Vec<[u64; 3]>,
    now: u64,
    up: bool,
    /// Place of the base in the past, deadline, session.
    confirm: Option<(usize, u64, u32)>,
    /// Place of the base, deadline.
    guard: Option<(usize, u64)>,
}

impl Plain {
    fn running(&self) -> [u64; 3] {
        self.past[self.past.len() - 1]
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Commit(session, next, confirmed) => {
                if self.confirm.is_none_or(|(.., own)| own == session) {
                    self.commit(session, next, confirmed);
                }
            }
            Act::Cancel(session) => self.back(|(.., own)| own == session),
            Act::End(session) => self.back(|(.., own)| own == session),
            Act::Accept => self.guard = None,
            Act::Up => {
                self.up = true;
                self.guard = None;
            }
            Act::Lost => self.up = false,
            Act::Wait(seconds) => {
                self.now += seconds;
                let now = self.now;
                self.back(|(_, until, _)| until <= now);
                if self.guard.is_some_and(|(_, until)| until <= now) {
                    self.restore();
                }
            }
        }
    }

    fn commit(&mut self, session: u32, next: [u64; 3], confirmed: Option<u64>) {
        let (before, base) = (self.running(), self.past.len() - 1);
        self.confirm = confirmed.map(|seconds| {
            let base = self.confirm.map_or(base, |(base, ..)| base);
            (base, self.now + seconds, session)
        });
        let moves = before[0] != next[0];
        let until = self.now + next[2];
        if next != before {
            self.guard = match self.guard {
                _ if next[2] == 0 => None,
                None => (moves && self.up).then_some((base, until)),
                Some((base, _)) if moves || next[2] != before[2] => Some((base, until)),
                armed => armed,
            };
        }
        if moves {
            self.up = false;
        }
        self.past.push(next);
    }

    fn back(&mut self, if_: impl Fn((usize, u64, u32)) -> bool) {
        if self.confirm.is_some_and(if_) {
            self.restore();
        }
    }

    /// The older base of both, by whichever ends first.
    fn restore(&mut self) {
        let bases = [
            self.confirm.map(|(base, ..)| base),
            self.guard.map(|(base, _)| base),
        ];
        if let Some(base) = bases.into_iter().flatten().min() {
            let before = self.past[base];
            if before[0] != self.running()[0] {
                self.up = false;
            }
            self.past.push(before);
        }
        self.confirm = None;
        self.guard = None;
    }

    fn after_a_restart(&self) -> [u64; 3] {
        let bases = [
            self.confirm.map(|(base, ..)| base),
            self.guard.map(|(base, _)| base),
        ];
        let base = bases.into_iter().flatten().min();
        self.past[base.unwrap_or(self.past.len() - 1)]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// At each moment running is what the design says, and so is what a start would make of the journal.
    #[test]
    fn any_course_of_commits_ends_where_the_design_says(acts in prop::collection::vec(an_act(), 1..50)) {
        let mut device = Device::new();
        let mut plain = Plain { past: vec![START], now: 0, up: false, confirm: None, guard: None };
        for act in acts {
            match &act {
                // A refusal changes nothing, which shows below.
                Act::Commit(session, content, confirmed) => drop(device.commit(*session, *content, *confirmed)),
                Act::Cancel(session) => {
                    if let Ok(step) = device.datastore.cancel_commit(&author(*session), None) {
                        device.proceed(step);
                    }
                }
                Act::End(session) => device.datastore.end_session(*session),
                Act::Accept => {
                    if let Ok(step) = device.datastore.accept_guarded_commit(&author(1)) {
                        device.proceed(step);
                    }
                }
                Act::Up => device.tunnel.comes_up(),
                Act::Lost => device.tunnel.is_lost(),
                Act::Wait(seconds) => device.wait(*seconds),
            }
            device.work();
            plain.act(&act);
            prop_assert_eq!(device.running(), plain.running(), "{:?}", act);
            prop_assert_eq!(device.after_a_restart(), plain.after_a_restart(), "{:?}", act);
            let pending = [plain.confirm.is_some(), plain.guard.is_some()];
            prop_assert_eq!(device.marks.map(|mark| mark.is_some()), pending, "{:?}", act);
            prop_assert_eq!(device.datastore.may_snapshot(), pending == [false; 2]);
        }
    }
}
