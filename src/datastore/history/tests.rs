use std::time::{Instant, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::datastore::Parts;
use crate::datastore::nacm::Nacm;
use crate::datastore::tests::coupled::{MERGE, NoSecrets, an_edit, dump, elements, schema};

fn author() -> Author {
    Author {
        session: 7,
        user: "root".to_owned(),
        ..Author::agent("netconf", SystemTime::UNIX_EPOCH)
    }
}

fn device() -> Datastore {
    let running = Tree::new(schema());
    Datastore::start(running, 1, Box::new(NoSecrets), Parts::default()).unwrap()
}

fn complete(datastore: &mut Datastore, step: Step) {
    if let Step::Store(staged) = step {
        datastore.complete(*staged, Instant::now());
    }
}

/// Edits running, if that is allowed.
fn edit(datastore: &mut Datastore, edit: &str) {
    let draft = datastore.edited(Target::Running, &author(), &elements(edit), MERGE);
    let step = draft.and_then(|draft| datastore.replace_running(draft, &author()));
    if let Ok(step) = step {
        complete(datastore, step);
    }
}

fn keepalive(seconds: u16) -> String {
    format!(
        "<cloud-management xmlns='urn:tether:yang:cloud-management'><keepalive-interval>{seconds}</keepalive-interval></cloud-management>"
    )
}

/// A record whose difference takes so much.
fn record(id: u64, octets: usize) -> CommitRecord {
    let nothing = Tree::new(schema());
    let diff = nothing.diff(&nothing).unwrap();
    CommitRecord {
        diff: vec![b'x'; octets],
        ..CommitRecord::new(id, &author(), &diff)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_edited_every_commit_of_the_list_leads_back_to_what_it_made(
        edits in prop::collection::vec(an_edit(), 1..12),
        back in any::<prop::sample::Index>(),
    ) {
        let mut datastore = device();
        let mut made = Vec::new();
        for text in &edits {
            edit(&mut datastore, text);
            if made.len() + 1 < datastore.next_commit() as usize {
                made.push(dump(datastore.config(Target::Running)));
            }
        }
        if made.is_empty() {
            return Ok(());
        }
        let back = back.index(made.len());
        let step = datastore.roll_back_to(back as u64 + 1, &author()).unwrap();
        complete(&mut datastore, step);
        prop_assert_eq!(dump(datastore.config(Target::Running)), made[back].as_str());
    }
}

#[test]
fn going_back_is_a_commit_that_says_so_and_can_be_gone_back_from() {
    let mut datastore = device();
    for seconds in [60, 70] {
        edit(&mut datastore, &keepalive(seconds));
    }
    let by = Author {
        comment: Some("as before".to_owned()),
        ..author()
    };
    let step = datastore.roll_back_to(1, &by).unwrap();
    complete(&mut datastore, step);
    let last = datastore
        .view()
        .history()
        .records()
        .last()
        .cloned()
        .unwrap();
    assert_eq!((last.id, last.source.as_str()), (3, ROLLBACK_TO));
    assert_eq!(last.rolled_back_to, Some(1));
    assert_eq!(last.comment.as_deref(), Some("as before"));
    let step = datastore.roll_back_to(2, &by).unwrap();
    complete(&mut datastore, step);
    let interval = "/cloud-management:cloud-management/keepalive-interval";
    let running = datastore.config(Target::Running);
    assert_eq!(running.value(interval).as_deref(), Some("70"));
}

#[test]
fn going_back_to_what_is_there_is_no_commit() {
    let mut datastore = device();
    edit(&mut datastore, &keepalive(60));
    assert!(matches!(
        datastore.roll_back_to(1, &author()),
        Ok(Step::Done)
    ));
    assert_eq!(datastore.next_commit(), 2);
}

#[test]
fn a_commit_that_is_not_in_the_list_is_refused_with_what_is() {
    let mut datastore = device();
    let refused = |datastore: &mut Datastore, id| {
        let error = datastore.roll_back_to(id, &author()).err().unwrap();
        assert_eq!(error[0].tag, ErrorTag::InvalidValue);
        assert!(error[0].path.as_ref().unwrap().ends_with("commit-id"));
        error[0].message.clone()
    };
    assert_eq!(refused(&mut datastore, 1), "there was no commit yet");
    for count in 0..COMMITS as u16 + 3 {
        edit(&mut datastore, &keepalive(60 + count));
    }
    for id in [0, 3, 54, u64::MAX] {
        let words = format!("there is no commit {id} in the list, which has 4 to 53");
        assert_eq!(refused(&mut datastore, id), words);
    }
    assert_eq!(datastore.view().history().records().count(), COMMITS);
    let step = datastore.roll_back_to(4, &author()).unwrap();
    complete(&mut datastore, step);
    let interval = "/cloud-management:cloud-management/keepalive-interval";
    let running = datastore.config(Target::Running);
    assert_eq!(running.value(interval).as_deref(), Some("63"));
}

#[test]
fn large_differences_make_room_but_for_the_newest_and_the_way_back_ends_there() {
    let history: History = [
        record(1, OCTETS / 2),
        record(2, OCTETS / 2),
        record(3, OCTETS),
    ]
    .into_iter()
    .collect();
    let kept: Vec<_> = history.records().map(|record| record.diff.len()).collect();
    assert_eq!(kept, [0, 0, OCTETS]);
    assert!(history.after(2).is_ok());
    let words = history.after(1).unwrap_err().message;
    assert_eq!(
        words,
        "commit 1 is too old: what commit 2 changed is no longer kept"
    );
    let alone: History = [record(1, OCTETS + 1)].into_iter().collect();
    assert!(!alone.commits[0].is_forgotten);
}

#[test]
fn a_reader_is_shown_of_a_difference_what_he_may_read_of_the_data() {
    let mut datastore = device();
    edit(
        &mut datastore,
        "<cloud-management xmlns='urn:tether:yang:cloud-management'><server><domain>cloud.com</domain></server>\
         <unbinding-code>4711</unbinding-code></cloud-management>",
    );
    edit(
        &mut datastore,
        "<cloud-management xmlns='urn:tether:yang:cloud-management'><unbinding-code>4712</unbinding-code></cloud-management>",
    );
    let schema = datastore.schema();
    let all = datastore
        .history
        .state(schema, None, true)
        .unwrap()
        .to_xml();
    assert!(all.contains("4711") && all.contains("4712"), "{all}");
    let reader = Reader {
        nacm: Arc::new(Nacm::read(datastore.config(Target::Running))),
        author: author(),
    };
    let seen = datastore.history.state(schema, Some(&reader), true);
    let seen = seen.unwrap().to_xml();
    assert!(seen.contains("cloud.com"), "{seen}");
    assert!(!seen.contains("unbinding-code"), "{seen}");
    assert_eq!(seen.matches("<diff>").count(), 1, "{seen}");
    let bare = datastore.history.state(schema, None, false).unwrap();
    assert!(!bare.to_xml().contains("<diff>"));
}
