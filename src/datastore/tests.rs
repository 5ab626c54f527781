pub(super) mod coupled;
pub(super) mod line;

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use proptest::prelude::*;

use super::confirm::Request;
use super::edit::{EditOptions, Operation, Sealer};
use super::subscriber::{Change, ConfigSubscriber, Prepared};
use super::*;
use crate::model::xml::{self, Scope};

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

/// What subscribers did, in order.
type Diary = Arc<Mutex<Vec<String>>>;

/// Writes down what it is asked; refuses a keepalive interval of 66 s.
struct Scribe {
    name: &'static str,
    diary: Diary,
}

struct Ready {
    name: &'static str,
    diary: Diary,
    applied: bool,
}

impl ConfigSubscriber for Scribe {
    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        if self.name == "second" && change.new.value(KEEPALIVE).as_deref() == Some("66") {
            return Err(RpcError::application(
                ErrorTag::ResourceDenied,
                "not this one",
            ));
        }
        self.diary
            .lock()
            .unwrap()
            .push(format!("{} prepared", self.name));
        Ok(Box::new(Ready {
            name: self.name,
            diary: Arc::clone(&self.diary),
            applied: false,
        }))
    }
}

impl Prepared for Ready {
    fn apply(mut self: Box<Self>) {
        self.applied = true;
        self.diary
            .lock()
            .unwrap()
            .push(format!("{} applied", self.name));
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if !self.applied {
            self.diary
                .lock()
                .unwrap()
                .push(format!("{} aborted", self.name));
        }
    }
}

const KEEPALIVE: &str = "/cloud-management:cloud-management/keepalive-interval";

fn device() -> (Datastore, Diary) {
    let diary = Diary::default();
    let scribe = |name| -> Box<dyn ConfigSubscriber> {
        Box::new(Scribe {
            name,
            diary: Arc::clone(&diary),
        })
    };
    let parts = Parts {
        subscribers: vec![scribe("first"), scribe("second"), scribe("third")],
        ..Parts::default()
    };
    let running = Tree::new(Schema::load(&[]).unwrap());
    let datastore = Datastore::start(running, 1, Box::new(NoSecrets), parts).unwrap();
    diary.lock().unwrap().clear();
    (datastore, diary)
}

fn author(session: SessionId) -> Author {
    Author {
        session,
        user: "root".to_owned(),
        groups: Vec::new(),
        recovery: true,
        host: None,
        transport: None,
        source: "netconf",
        back_to: None,
        comment: None,
        at: SystemTime::UNIX_EPOCH,
    }
}

fn cloud(inner: &str) -> Vec<Element> {
    let xml = format!(
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">{inner}</cloud-management>"#
    );
    xml::parse(&xml, &Scope::default()).unwrap()
}

const MERGE: EditOptions = EditOptions {
    default: Operation::Merge,
    continue_on_error: false,
};

/// Edits the candidate and commits it up to the store step.
fn commit(datastore: &mut Datastore, inner: &str) -> Result<Step, Errors> {
    let by = author(1);
    let tree = datastore.edited(Target::Candidate, &by, &cloud(inner), MERGE)?;
    datastore.set_candidate(tree, &by)?;
    datastore.commit(&by, &Request::default())
}

#[test]
fn a_commit_prepares_all_and_applies_all_in_order() {
    let (mut datastore, diary) = device();
    let Step::Store(staged) = commit(
        &mut datastore,
        "<keepalive-interval>60</keepalive-interval>",
    )
    .unwrap() else {
        panic!("there is a change to store");
    };
    assert_eq!(
        *diary.lock().unwrap(),
        ["first prepared", "second prepared", "third prepared"]
    );
    assert_ne!(
        datastore
            .config(Target::Running)
            .value(KEEPALIVE)
            .as_deref(),
        Some("60")
    );
    datastore.complete(*staged, Instant::now());
    assert_eq!(
        diary.lock().unwrap()[3..],
        ["first applied", "second applied", "third applied"]
    );
    assert_eq!(
        datastore
            .config(Target::Running)
            .value(KEEPALIVE)
            .as_deref(),
        Some("60")
    );
    assert_eq!(datastore.next_commit(), 2);
}

#[test]
fn a_refusal_aborts_exactly_those_that_prepared_and_leaves_no_trace() {
    let (mut datastore, diary) = device();
    let before = datastore.config(Target::Running).to_xml();
    let refused = commit(
        &mut datastore,
        "<keepalive-interval>66</keepalive-interval>",
    );
    assert_eq!(refused.err().unwrap()[0].tag, ErrorTag::ResourceDenied);
    assert_eq!(*diary.lock().unwrap(), ["first prepared", "first aborted"]);
    assert_eq!(datastore.config(Target::Running).to_xml(), before);
    assert_eq!(datastore.next_commit(), 1);
    // The candidate is still there, to be mended.
    assert_eq!(
        datastore
            .config(Target::Candidate)
            .value(KEEPALIVE)
            .as_deref(),
        Some("66")
    );
}

#[test]
fn a_store_step_that_fails_aborts_all() {
    let (mut datastore, diary) = device();
    let step = commit(
        &mut datastore,
        "<keepalive-interval>60</keepalive-interval>",
    )
    .unwrap();
    drop(step);
    assert_eq!(
        diary.lock().unwrap()[3..],
        ["first aborted", "second aborted", "third aborted"]
    );
    assert_eq!(datastore.next_commit(), 1);
}

#[test]
fn validation_asks_every_part_and_commits_none() {
    let (mut datastore, diary) = device();
    let mut edited = |inner| {
        datastore
            .edited(Target::Candidate, &author(1), &cloud(inner), MERGE)
            .unwrap()
    };
    let (good, bad) = (
        edited("<keepalive-interval>60</keepalive-interval>"),
        edited("<keepalive-interval>66</keepalive-interval>"),
    );
    assert_eq!(
        datastore.validate(bad).unwrap_err()[0].tag,
        ErrorTag::ResourceDenied
    );
    diary.lock().unwrap().clear();
    datastore.validate(good).unwrap();
    assert_eq!(
        diary.lock().unwrap()[3..],
        ["first aborted", "second aborted", "third aborted"]
    );
}

#[test]
fn a_commit_without_a_change_asks_nobody() {
    let (mut datastore, diary) = device();
    // The default typed in is a change of what is set, and one that the diff shows.
    let step = commit(&mut datastore, "<server/>").unwrap();
    assert!(matches!(step, Step::Done));
    assert!(diary.lock().unwrap().is_empty());
}

#[test]
fn neither_an_edit_nor_a_commit_passes_another_sessions_lock() {
    let (mut datastore, _) = device();
    datastore.lock(Target::Running, &author(2)).unwrap();
    let refused = commit(
        &mut datastore,
        "<keepalive-interval>60</keepalive-interval>",
    );
    assert_eq!(refused.err().unwrap()[0].tag, ErrorTag::InUse);
    let edit = cloud("<keepalive-interval>60</keepalive-interval>");
    let refused = datastore.edited(Target::Running, &author(1), &edit, MERGE);
    assert_eq!(refused.err().unwrap()[0].tag, ErrorTag::InUse);
    datastore.end_session(2);
    assert!(matches!(
        datastore.commit(&author(1), &Request::default()).unwrap(),
        Step::Store(_)
    ));
}

#[test]
fn a_changed_candidate_is_not_locked_and_a_locked_one_goes_with_its_session() {
    let (mut datastore, _) = device();
    let by = author(1);
    let edit = cloud("<keepalive-interval>60</keepalive-interval>");
    let tree = datastore
        .edited(Target::Candidate, &by, &edit, MERGE)
        .unwrap();
    datastore.set_candidate(tree, &by).unwrap();
    assert_eq!(
        datastore.lock(Target::Candidate, &by).unwrap_err().tag,
        ErrorTag::OperationFailed
    );
    datastore.discard(&by).unwrap();
    datastore.lock(Target::Candidate, &by).unwrap();
    let tree = datastore
        .edited(Target::Candidate, &by, &edit, MERGE)
        .unwrap();
    datastore.set_candidate(tree, &by).unwrap();
    assert!(
        datastore
            .edited(Target::Candidate, &author(2), &edit, MERGE)
            .is_err()
    );
    datastore.end_session(1);
    assert_ne!(
        datastore
            .config(Target::Candidate)
            .value(KEEPALIVE)
            .as_deref(),
        Some("60")
    );
}

/// Stores every secret as the same ciphertext, as it does with one whose clear text is stored already.
struct OneSecret;
impl Sealer for OneSecret {
    fn seal(
        &mut self,
        typedef: &str,
        _: &str,
        _: Option<&str>,
    ) -> Result<Option<String>, RpcError> {
        Ok((typedef == "secret").then(|| "$1$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()))
    }
}

#[test]
fn whoever_may_not_write_a_secret_cannot_find_it_out_by_guessing() {
    let running = Tree::new(Schema::load(&[]).unwrap());
    let mut datastore =
        Datastore::start(running, 1, Box::new(OneSecret), Parts::default()).unwrap();
    let password = "<server><password>$0$guess</password></server>";
    let Step::Store(staged) = commit(&mut datastore, password).unwrap() else {
        panic!("there is a change to store");
    };
    datastore.complete(*staged, Instant::now());
    let mallory = Author {
        user: "mallory".to_owned(),
        groups: Vec::new(),
        recovery: false,
        ..author(2)
    };
    let refused = datastore.edited(Target::Running, &mallory, &cloud(password), MERGE);
    assert_eq!(refused.err().unwrap()[0].tag, ErrorTag::AccessDenied);
}

#[test]
fn whoever_sees_nothing_of_a_value_cannot_find_it_out_by_guessing() {
    let (mut datastore, _) = device();
    let code = |code: &str| format!("<unbinding-code>{code}</unbinding-code>");
    let Step::Store(staged) = commit(&mut datastore, &code("0815")).unwrap() else {
        panic!("there is a change to store");
    };
    datastore.complete(*staged, Instant::now());
    let mallory = Author {
        user: "mallory".to_owned(),
        groups: Vec::new(),
        recovery: false,
        ..author(2)
    };
    let created = r#"<unbinding-code nc:operation="create">1</unbinding-code>"#.to_owned();
    let answers = [code("0815"), code("4711"), created].map(|guess| {
        let edit = cloud(&guess);
        let refused = datastore.edited(Target::Candidate, &mallory, &edit, MERGE);
        refused.err().unwrap().swap_remove(0)
    });
    assert_eq!(answers[0].tag, ErrorTag::AccessDenied);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

/// One random edit of the cloud connection's configuration, always valid by itself.
fn an_edit() -> impl Strategy<Value = String> {
    let operation = prop_oneof![Just("merge"), Just("replace"), Just("remove")];
    let leaf = prop_oneof![
        (10..=600u16).prop_map(|n| format!("<keepalive-interval>{n}</keepalive-interval>")),
        (1..=65535u16).prop_map(|n| format!("<server><port>{n}</port></server>")),
        "[a-z]{1,8}".prop_map(|name| format!("<server><domain>{name}.example</domain></server>")),
        Just("<commit-guard/>".to_owned()),
    ];
    let service = ("[ab]", any::<bool>(), operation.clone()).prop_map(|(name, enabled, operation)| {
        format!(r#"<service nc:operation="{operation}"><name>{name}</name><enabled>{enabled}</enabled></service>"#)
    });
    let backup = (
        "[a-d]",
        operation,
        prop_oneof![Just(""), Just("first"), Just("last")],
    );
    let backup = backup.prop_map(|(name, operation, insert)| {
        let insert = match insert {
            "" => String::new(),
            place => format!(r#"xmlns:yang="urn:ietf:params:xml:ns:yang:1" yang:insert="{place}""#),
        };
        format!(
            r#"<backup-server nc:operation="{operation}" {insert}><address-family>ipv4</address-family><domain>{name}.example</domain></backup-server>"#
        )
    });
    prop_oneof![leaf, service, backup]
}

/// Applies edits to a tree and validates it.
fn edited(base: &Tree, edits: &[String]) -> Tree {
    let mut tree = base.duplicate();
    let stored = Tree::new(base.schema());
    for inner in edits {
        let secrets = edit::Secrets {
            sealer: &mut NoSecrets,
            stored: &stored,
            given: &mut Vec::new(),
        };
        edit::apply(&mut tree, &cloud(inner), MERGE, secrets).unwrap();
    }
    tree.validate().unwrap();
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_and_its_reverse_leave_what_was(
        before in prop::collection::vec(an_edit(), 0..8),
        edits in prop::collection::vec(an_edit(), 1..8),
    ) {
        let base = edited(&Tree::new(Schema::load(&[]).unwrap()), &before);
        let mut tree = edited(&base, &edits);
        let diff = base.diff(&tree).unwrap();
        let there = tree.to_xml();
        tree.apply(&tree.diff(&base).unwrap()).unwrap();
        tree.validate().unwrap();
        prop_assert_eq!(tree.to_xml(), base.to_xml());
        // And forth again, from the text that the store keeps.
        let again = crate::model::tree::Diff::parse(base.schema(), &diff.to_text()).unwrap();
        tree.apply(&again).unwrap();
        tree.validate().unwrap();
        prop_assert_eq!(tree.to_xml(), there);
    }
}

/// Rule lists of access control, which the user orders, with these names.
fn rule_lists(schema: Schema, names: &[&str]) -> Tree {
    let lists: String = names
        .iter()
        .map(|name| {
            let name = quick_xml::escape::escape(*name);
            format!("<rule-list><name>{name}</name><group>*</group></rule-list>")
        })
        .collect();
    let xml =
        format!(r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">{lists}</nacm>"#);
    let config = xml::parse(&xml, &Scope::default()).unwrap();
    let mut tree = Tree::new(schema);
    let stored = Tree::new(tree.schema());
    let secrets = edit::Secrets {
        sealer: &mut NoSecrets,
        stored: &stored,
        given: &mut Vec::new(),
    };
    edit::apply(&mut tree, &config, MERGE, secrets).unwrap();
    tree.validate().unwrap();
    tree
}

#[test]
fn whatever_the_keys_are_a_difference_is_read_again() {
    let names = [
        "a",
        "it's",
        "say \"so\"",
        "bo'th\"",
        "a\nb",
        "a\tb",
        "a]b[",
        "<&>",
        "ü",
        "a\\b",
        " x ",
    ];
    let schema = Schema::load(&[]).unwrap();
    for odd in names {
        let [without, last, first, moved] = [
            rule_lists(schema, &["p", "q"]),
            rule_lists(schema, &["p", "q", odd, "r"]),
            rule_lists(schema, &[odd, "p", "q", "r"]),
            rule_lists(schema, &["r", odd, "q", "p"]),
        ];
        for (from, to) in [
            (&without, &last),
            (&last, &first),
            (&first, &moved),
            (&moved, &without),
            (&without, &first),
            (&first, &without),
        ] {
            let text = match from.diff(to) {
                Ok(diff) => diff.to_text(),
                // Both kinds of quotes; then it is refused, and nothing is taken for no change.
                Err(_) if odd == names[3] => continue,
                Err(error) => panic!("{odd:?}: {error}"),
            };
            let diff = crate::model::tree::Diff::parse(from.schema(), &text)
                .unwrap_or_else(|errors| panic!("{odd:?}: {errors:?}\n{text}"));
            let mut tree = from.duplicate();
            tree.apply(&diff)
                .unwrap_or_else(|error| panic!("{odd:?}: {error}\n{text}"));
            assert_eq!(tree.to_xml(), to.to_xml(), "{odd:?} {text}");
        }
        let again = Tree::parse_config(last.schema(), &last.to_xml()).unwrap();
        assert_eq!(again.to_xml(), last.to_xml());
    }
}

pub(super) fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = status.split(' ').nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4096
}

#[test]
#[ignore = "to be run alone: it measures the memory of the whole process"]
fn edits_commits_refusals_and_reads_leave_no_memory_behind() {
    let (mut datastore, diary) = device();
    let cycle = |datastore: &mut Datastore, n: usize| {
        let good = format!(
            "<keepalive-interval>{}</keepalive-interval><service><name>s{}</name></service>",
            100 + n % 400,
            n % 7
        );
        if let Step::Store(staged) = commit(datastore, &good).unwrap() {
            datastore.complete(*staged, Instant::now());
        }
        commit(datastore, "<keepalive-interval>66</keepalive-interval>").err();
        let invalid = "<keepalive-interval>9</keepalive-interval>";
        let by = author(1);
        datastore
            .edited(Target::Candidate, &by, &cloud(invalid), MERGE)
            .err();
        datastore.discard(&by).unwrap();
        let filter = "<cloud-management><service/></cloud-management>";
        let filter = filter::Filter::parse(filter, &Scope::default()).unwrap();
        let selection = retrieval::Selection::Filter(filter);
        let source = retrieval::Source::new(datastore.snapshot(Target::Running), selection);
        let reply = retrieval::Retrieval::new(vec![source], Default::default(), None);
        drop(reply.begin().unwrap().into_xml());
        assert!(
            datastore
                .config(Target::Running)
                .find("/none:such")
                .is_none()
        );
        diary.lock().unwrap().clear();
    };
    (0..2_000).for_each(|n| cycle(&mut datastore, n));
    let before = resident();
    (0..20_000).for_each(|n| cycle(&mut datastore, n));
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} octets more");
}
