//! The datastores beside plain trees: whatever is edited, committed and read in parts is what it would be as a whole.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use proptest::prelude::*;

use crate::datastore::confirm::Request;
use crate::datastore::edit;
use crate::datastore::subscriber::{Change, ConfigSubscriber, Prepared};
use crate::datastore::tests::coupled::{
    MERGE, NoSecrets, an_edit, apply, dump, elements, schema, top,
};
use crate::datastore::tests::resident;
use crate::datastore::{Author, Datastore, Draft, Parts, Step, Target};
use crate::model::error::{Errors, RpcError};
use crate::model::tree::{Snapshot, Tree};

/// What it reads of a change to it.
const READ: &str = "/coupled:top/conditional-box";
/// What it reads then, too.
const BESIDE: &str = "/coupled:top/way-box";

/// Keeps what it read last.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Option<String>>>);

impl ConfigSubscriber for Reader {
    fn reads(&self) -> Option<Vec<&'static str>> {
        Some(vec![READ, BESIDE])
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        if change.diff.touches(READ) || change.diff.touches(BESIDE) {
            *self.0.lock().unwrap() = Some(read(change.new));
        }
        Ok(Box::new(|| {}))
    }
}

/// The same, but it keeps what it read of the second.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<(String, String)>>);

impl ConfigSubscriber for Keeper {
    fn reads(&self) -> Option<Vec<&'static str>> {
        Some(vec![READ, BESIDE])
    }

    fn keeps(&self) -> &'static [&'static str] {
        &[BESIDE]
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        let touches = |path| change.at_start || change.diff.touches(path);
        let mut kept = self.0.lock().unwrap().clone();
        if touches(READ) || touches(BESIDE) {
            kept.0 = read_one(change.new, READ);
        }
        if touches(BESIDE) {
            kept.1 = read_one(change.new, BESIDE);
        }
        let place = Arc::clone(&self.0);
        Ok(Box::new(move || *place.lock().unwrap() = kept))
    }
}

fn read(tree: &Tree) -> String {
    [READ, BESIDE].map(|path| read_one(tree, path)).concat()
}

fn read_one(tree: &Tree, path: &str) -> String {
    let found = tree.find(path).map(|node| node.to_tree(tree));
    found.map(|tree| dump(&tree)).unwrap_or_default()
}

fn author() -> Author {
    Author {
        session: 1,
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

#[derive(Clone, Debug)]
enum Action {
    EditCandidate(String),
    EditRunning(String),
    Commit,
    Discard,
    Validate,
    /// Reads a datastore and keeps on to it.
    Hold(bool),
    LetGo,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => an_edit().prop_map(Action::EditCandidate),
        4 => an_edit().prop_map(Action::EditRunning),
        4 => Just(Action::Commit),
        1 => Just(Action::Discard),
        1 => Just(Action::Validate),
        1 => any::<bool>().prop_map(Action::Hold),
        1 => Just(Action::LetGo),
    ]
}

/// The datastores in parts, and as plain trees.
struct Both {
    datastore: Datastore,
    reader: Reader,
    keeper: Keeper,
    /// What that should have.
    kept: (String, String),
    running: Tree,
    candidate: Option<Tree>,
    /// What readers hold, and how it looked then.
    held: Vec<(Snapshot, String)>,
}

impl Both {
    fn new() -> Self {
        let mut running = Tree::new(schema());
        running.validate().unwrap();
        let (reader, keeper) = (Reader::default(), Keeper::default());
        let parts = Parts {
            subscribers: vec![Box::new(reader.clone()), Box::new(keeper.clone())],
            ..Parts::default()
        };
        let start = running.duplicate();
        let datastore = Datastore::start(start, 1, Box::new(NoSecrets), parts).unwrap();
        Self {
            datastore,
            reader,
            keeper,
            kept: (read_one(&running, READ), read_one(&running, BESIDE)),
            running,
            candidate: None,
            held: Vec::new(),
        }
    }

    fn complete(&mut self, step: Step) {
        if let Step::Store(staged) = step {
            self.datastore.complete(*staged, Instant::now());
        }
    }

    fn edited(&mut self, target: Target, edit: &str) -> Result<Draft, Errors> {
        let config = elements(edit);
        self.datastore.edited(target, &author(), &config, MERGE)
    }

    /// The candidate of the plain trees.
    fn plain(&self) -> Tree {
        self.candidate.as_ref().unwrap_or(&self.running).duplicate()
    }

    /// Running becomes a tree, if it is valid and another one.
    fn become_running(&mut self, mut tree: Tree) -> Result<(), Errors> {
        tree.validate()?;
        let diff = self.running.diff(&tree)?;
        if !diff.is_empty() {
            self.running = tree;
        }
        if diff.touches(READ) || diff.touches(BESIDE) {
            self.kept.0 = read_one(&self.running, READ);
            if diff.touches(BESIDE) {
                self.kept.1 = read_one(&self.running, BESIDE);
            }
            assert_eq!(
                self.reader.0.lock().unwrap().take(),
                Some(read(&self.running))
            );
        }
        Ok(())
    }

    fn run(&mut self, action: &Action) {
        match action {
            Action::EditCandidate(edit) => {
                let mut plain = self.plain();
                let expected = apply(&mut plain, &elements(edit));
                let edited = self.edited(Target::Candidate, edit);
                assert_eq!(edited.as_ref().err(), expected.as_ref().err());
                if let Ok(draft) = edited {
                    self.datastore.set_candidate(draft, &author()).unwrap();
                    self.candidate = Some(plain);
                }
            }
            Action::EditRunning(edit) => {
                let mut plain = self.running.duplicate();
                let expected = apply(&mut plain, &elements(edit));
                let edited = self.edited(Target::Running, edit);
                assert_eq!(edited.as_ref().err(), expected.as_ref().err());
                if let Ok(draft) = edited {
                    let step = self.datastore.replace_running(draft, &author());
                    let expected = self.become_running(plain);
                    assert_eq!(step.as_ref().err(), expected.as_ref().err());
                    step.into_iter().for_each(|step| self.complete(step));
                }
            }
            Action::Commit => {
                let step = self.datastore.commit(&author(), &Request::default());
                let expected = self.become_running(self.plain());
                assert_eq!(step.as_ref().err(), expected.as_ref().err());
                if let Ok(step) = step {
                    self.candidate = None;
                    self.complete(step);
                }
            }
            Action::Discard => {
                self.datastore.discard(&author()).unwrap();
                self.candidate = None;
            }
            Action::Validate => {
                let draft = self.datastore.draft(Target::Candidate).unwrap();
                let copy = self.datastore.copy(&draft).unwrap();
                let expected = self.plain().validate();
                assert_eq!(self.datastore.validate(copy), expected);
                self.reader.0.lock().unwrap().take();
            }
            Action::Hold(candidate) => {
                let target = if *candidate {
                    Target::Candidate
                } else {
                    Target::Running
                };
                let snapshot = self.datastore.snapshot(target);
                let text = dump(&snapshot);
                self.held.push((snapshot, text));
            }
            Action::LetGo => self.held.clear(),
        }
    }

    fn compare(&mut self) {
        assert_eq!(
            dump(self.datastore.config(Target::Running)),
            dump(&self.running)
        );
        assert_eq!(*self.keeper.0.lock().unwrap(), self.kept);
        for (snapshot, text) in &self.held {
            assert_eq!(dump(snapshot), *text);
        }
        let locked = self.datastore.lock(Target::Candidate, &author()).is_ok();
        let diff = self.running.diff(&self.plain()).unwrap();
        assert_eq!(locked, diff.is_empty());
        if locked {
            self.datastore.unlock(Target::Candidate, 1).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn datastores_kept_in_parts_are_what_they_are_as_plain_trees(
        actions in prop::collection::vec(action(), 1..48),
    ) {
        let mut both = Both::new();
        for action in &actions {
            both.run(action);
            both.compare();
        }
        let candidate = both.datastore.config(Target::Candidate);
        assert_eq!(dump(candidate), dump(&both.plain()));
    }
}

#[test]
fn a_candidate_stays_as_it_is_when_running_is_edited() {
    let mut both = Both::new();
    let free = |name: &str, value: u8| {
        format!(
            "<free xmlns='urn:example:coupled'><name>{name}</name><value>{value}</value></free>"
        )
    };
    let edit = |inside: &str| format!(r#"<top xmlns="urn:example:coupled">{inside}</top>"#);
    both.run(&Action::EditRunning(edit(&free("a", 1))));
    both.run(&Action::EditCandidate(edit(&free("b", 1))));
    both.run(&Action::EditRunning(edit(&free("a", 3))));
    let value = "/coupled:top/free[name='a']/value";
    let of = |target| both.datastore.config(target).value(value);
    assert_eq!(of(Target::Running).as_deref(), Some("3"));
    assert_eq!(of(Target::Candidate).as_deref(), Some("1"));
}

#[test]
fn a_commit_changes_running_in_place_unless_somebody_reads_it() {
    let mut both = Both::new();
    let edit = top("<free><name>a</name><value>1</value></free>");
    let commit = |both: &mut Both, config: &[_]| {
        let draft = both
            .datastore
            .edited(Target::Running, &author(), config, MERGE);
        let step = both.datastore.replace_running(draft.unwrap(), &author());
        both.complete(step.unwrap());
    };
    let place = |both: &Both| std::ptr::from_ref(both.datastore.config(Target::Running)).addr();
    let before = place(&both);
    commit(&mut both, &edit);
    assert_eq!(place(&both), before);
    let held = both.datastore.snapshot(Target::Running);
    commit(
        &mut both,
        &top("<free><name>a</name><value>9</value></free>"),
    );
    assert_ne!(place(&both), before);
    let value = held.value("/coupled:top/free[name='a']/value");
    assert_eq!(value.as_deref(), Some("1"));
}

#[test]
fn an_edit_of_everything_is_one_of_the_whole() {
    let replace = edit::EditOptions {
        default: edit::Operation::Replace,
        ..MERGE
    };
    let mut both = Both::new();
    both.run(&Action::EditRunning(
        r#"<top xmlns="urn:example:coupled"><free><name>a</name></free></top>"#.to_owned(),
    ));
    let config = top("<free><name>b</name></free>");
    let draft = both
        .datastore
        .edited(Target::Candidate, &author(), &config, replace);
    both.datastore
        .set_candidate(draft.unwrap(), &author())
        .unwrap();
    let xml = both.datastore.config(Target::Candidate).to_xml();
    assert!(
        xml.contains("<name>b</name>") && !xml.contains("<name>a</name>"),
        "{xml}"
    );
}

#[test]
#[ignore = "to be run alone: it measures the memory of the whole process"]
fn edits_of_parts_leave_no_memory_behind() {
    let datastore = &mut Both::new().datastore;
    let by = author();
    let complete = |datastore: &mut Datastore, step: Result<Step, Errors>| {
        if let Ok(Step::Store(staged)) = step {
            datastore.complete(*staged, Instant::now());
        }
    };
    let cycle = |datastore: &mut Datastore, n: usize| {
        let (name, value) = (n % 7, 3 + n % 50);
        let entry = format!("<free><name>{name}</name><value>{value}</value></free>");
        let gone = format!(r#"<free nc:operation="remove"><name>{name}</name></free>"#);
        let refused = "<few><name>1</name></few><chosen>nobody</chosen>";
        for (target, edit) in [
            (Target::Candidate, entry.as_str()),
            (Target::Running, "<ordered><name>x</name></ordered>"),
            (Target::Candidate, refused),
            (Target::Running, gone.as_str()),
        ] {
            let draft = datastore.edited(target, &by, &top(edit), MERGE).unwrap();
            let step = match target {
                Target::Running => datastore.replace_running(draft, &by),
                _ => {
                    datastore.set_candidate(draft, &by).unwrap();
                    drop(datastore.snapshot(target));
                    datastore.commit(&by, &Request::default())
                }
            };
            complete(datastore, step);
        }
        datastore.discard(&by).unwrap();
    };
    (0..1_000).for_each(|n| cycle(datastore, n));
    let before = resident();
    (0..5_000).for_each(|n| cycle(datastore, n));
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} octets more");
}
