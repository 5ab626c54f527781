//! Confirmed commits on a whole datastore, with a journal in the place of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::datastore::Parts;
use crate::datastore::confirm::{BASE_KEY, Confirmed};
use crate::datastore::edit::{EditOptions, Operation, Sealer};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;
use crate::model::xml::{self, Scope};

const CM: &str = "urn:tether:yang:cloud-management";
const PREFIXES: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" xmlns:yang="urn:ietf:params:xml:ns:yang:1""#;
const MERGE: EditOptions = EditOptions {
    default: Operation::Merge,
    continue_on_error: false,
};

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

/// Agrees while the switch is on.
struct Moody(Arc<AtomicBool>);

impl ConfigSubscriber for Moody {
    fn prepare(&mut self, _: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        match self.0.load(Ordering::Relaxed) {
            true => Ok(Box::new(|| {})),
            false => Err(RpcError::application(ErrorTag::ResourceDenied, "not now")),
        }
    }
}

/// A datastore, its clock, and what a start would read.
struct Device {
    datastore: Datastore,
    now: Instant,
    diffs: Vec<String>,
    mark: Option<usize>,
    agrees: Arc<AtomicBool>,
}

fn author(session: u32) -> Author {
    Author {
        session,
        ..Author::agent("netconf", SystemTime::UNIX_EPOCH)
    }
}

fn request(confirmed: Option<u64>) -> Request {
    let confirmed = confirmed.map(|seconds| Confirmed {
        timeout: Duration::from_secs(seconds),
        persist: None,
    });
    Request {
        confirmed,
        persist_id: None,
    }
}

impl Device {
    fn new() -> Self {
        let agrees = Arc::new(AtomicBool::new(true));
        let parts = Parts {
            subscribers: vec![Box::new(Moody(Arc::clone(&agrees)))],
            ..Parts::default()
        };
        let running = Tree::new(Schema::load(&[]).unwrap());
        let datastore = Datastore::start(running, 1, Box::new(NoSecrets), parts);
        Self {
            datastore: datastore.unwrap(),
            now: Instant::now(),
            diffs: Vec::new(),
            mark: None,
            agrees,
        }
    }

    /// Stores and completes, as the driver does.
    fn proceed(&mut self, step: Step) {
        let Step::Store(staged) = step else { return };
        if let Some(record) = staged.record() {
            self.diffs
                .push(String::from_utf8(record.diff.clone()).unwrap());
            assert_eq!(record.id, self.diffs.len() as u64);
        }
        for (key, value) in &staged.beside {
            assert_eq!(key, BASE_KEY);
            self.mark = value
                .as_ref()
                .map(|value| String::from_utf8_lossy(value).parse().unwrap());
        }
        self.datastore.complete(*staged, self.now);
    }

    /// Edits the candidate, and commits it or throws it away.
    fn commit(&mut self, session: u32, edit: &str, confirmed: Option<u64>) -> Result<(), Errors> {
        let by = author(session);
        let edit =
            format!(r#"<cloud-management xmlns="{CM}" {PREFIXES}>{edit}</cloud-management>"#);
        let elements = xml::parse(&edit, &Scope::default())?;
        let draft = self
            .datastore
            .edited(Target::Candidate, &by, &elements, MERGE)?;
        self.datastore.set_candidate(draft, &by)?;
        let step = self.datastore.commit(&by, &request(confirmed));
        if step.is_err() {
            self.datastore.discard(&by)?;
        }
        self.proceed(step?);
        Ok(())
    }

    fn work(&mut self) {
        let step = self.datastore.on_time(self.now, SystemTime::UNIX_EPOCH);
        self.proceed(step);
    }

    fn running(&self) -> Seen {
        seen(self.datastore.config(Target::Running))
    }

    /// What the first so many differences make.
    fn replayed(&self, count: usize) -> Seen {
        let mut tree = Tree::new(self.datastore.schema());
        for diff in &self.diffs[..count] {
            tree.apply(&Diff::parse(tree.schema(), diff).unwrap())
                .unwrap();
        }
        tree.validate().unwrap();
        seen(&tree)
    }
}

/// Every node of a configuration: where it is, its value, and whether it is a default.
type Seen = Vec<(String, Option<String>, bool)>;

fn seen(tree: &Tree) -> Seen {
    let nodes = tree.roots().flat_map(|root| root.descendants());
    nodes
        .map(|node| (node.path(), node.value(), node.is_default()))
        .collect()
}

fn interval(seconds: u16) -> String {
    format!("<keepalive-interval>{seconds}</keepalive-interval>")
}

#[test]
fn a_rollback_that_a_part_refuses_is_tried_again_until_it_agrees() {
    let mut device = Device::new();
    let before = device.running();
    device.commit(1, &interval(60), Some(1)).unwrap();
    let during = device.running();
    assert_ne!(during, before);
    device.agrees.store(false, Ordering::Relaxed);
    for _ in 0..3 {
        device.now = device.datastore.poll_timeout().unwrap();
        device.work();
        assert_eq!(device.running(), during);
        assert!(device.datastore.poll_timeout().unwrap() > device.now);
    }
    device.agrees.store(true, Ordering::Relaxed);
    device.now = device.datastore.poll_timeout().unwrap();
    device.work();
    assert_eq!(device.running(), before);
    assert_eq!((device.mark, device.datastore.poll_timeout()), (None, None));
}

#[test]
fn more_changes_than_are_kept_apart_are_taken_back_all_the_same() {
    let mut device = Device::new();
    device.commit(1, &interval(60), None).unwrap();
    let before = device.running();
    for n in 0..200 {
        device.commit(1, &interval(100 + n), Some(10)).unwrap();
        let service = format!("<service><name>s{}</name></service>", n % 7);
        device.commit(1, &service, Some(10)).unwrap();
    }
    device.datastore.end_session(1);
    device.work();
    assert_eq!(device.running(), before);
}

#[derive(Clone, Debug)]
enum Act {
    Commit(u32, String, Option<u64>),
    Cancel(u32),
    End(u32),
    Wait(u64),
    Snapshot,
}

/// An edit that is valid by itself: values, entries in any and in the user's order, a container with presence.
fn an_edit() -> impl Strategy<Value = String> {
    let operation = || prop_oneof![Just("merge"), Just("replace"), Just("remove")];
    let place = prop_oneof![
        Just(""),
        Just(r#"yang:insert="first""#),
        Just(r#"yang:insert="last""#)
    ];
    prop_oneof![
        (10..14_u16).prop_map(interval),
        Just(r#"<keepalive-interval nc:operation="remove"/>"#.to_owned()),
        (1..4_u16).prop_map(|n| format!("<server><port>{n}</port></server>")),
        Just(r#"<server nc:operation="remove"/>"#.to_owned()),
        operation().prop_map(|op| format!(r#"<commit-guard nc:operation="{op}"/>"#)),
        ("[ab]", any::<bool>(), operation()).prop_map(|(name, enabled, op)| format!(
            r#"<service nc:operation="{op}"><name>{name}</name><enabled>{enabled}</enabled></service>"#
        )),
        ("[a-d]", place, operation()).prop_map(|(name, place, op)| format!(
            r#"<backup-server nc:operation="{op}" {place}><address-family>ipv4</address-family><domain>{name}.example</domain></backup-server>"#
        )),
    ]
}

fn an_act() -> impl Strategy<Value = Act> {
    let session = || 1..3_u32;
    let confirmed = prop_oneof![Just(None), (1..50_u64).prop_map(Some)];
    prop_oneof![
        4 => (session(), an_edit(), confirmed).prop_map(|(s, e, c)| Act::Commit(s, e, c)),
        1 => session().prop_map(Act::Cancel),
        1 => session().prop_map(Act::End),
        2 => (0..40_u64).prop_map(Act::Wait),
        1 => Just(Act::Snapshot),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A power cut at any moment: what a start reads makes running, or what the pending commit falls back to.
    #[test]
    fn what_is_stored_always_makes_what_a_start_must_find(acts in prop::collection::vec(an_act(), 1..60)) {
        let mut device = Device::new();
        // What was running when nothing was pending.
        let mut settled = device.running();
        for act in acts {
            match &act {
                // A refusal changes nothing, which shows below.
                Act::Commit(session, edit, confirmed) => drop(device.commit(*session, edit, *confirmed)),
                Act::Cancel(session) => {
                    if let Ok(step) = device.datastore.cancel_commit(&author(*session), None) {
                        device.proceed(step);
                    }
                }
                Act::End(session) => device.datastore.end_session(*session),
                Act::Wait(seconds) => device.now += Duration::from_secs(*seconds),
                Act::Snapshot => prop_assert_eq!(device.datastore.may_snapshot(), device.mark.is_none()),
            }
            device.work();
            prop_assert_eq!(device.replayed(device.diffs.len()), device.running(), "{:?}", act);
            match device.mark {
                None => settled = device.running(),
                Some(kept) => prop_assert_eq!(&device.replayed(kept), &settled, "{:?}", act),
            }
            prop_assert_eq!(device.mark.is_some(), device.datastore.poll_timeout().is_some());
        }
    }
}
