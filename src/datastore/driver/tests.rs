use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;
use crate::datastore::Author;
use crate::datastore::edit::Sealer;
use crate::datastore::subscriber::{Change, ConfigSubscriber, Prepared};
use crate::datastore::{Parts, Target};
use crate::model::schema::Schema;
use crate::model::tree::Tree;

const KEEPALIVE: &str = "/cloud-management:cloud-management/keepalive-interval";

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

fn start(parts: Parts) -> (Handle, TempDir) {
    let directory = TempDir::new().unwrap();
    let (store, loaded) = Store::open(directory.path()).unwrap();
    let running = Tree::new(Schema::load(&[]).unwrap());
    let datastore =
        Datastore::start(running, loaded.next_commit, Box::new(NoSecrets), parts).unwrap();
    (Handle::start(datastore, Arc::new(store)).0, directory)
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

fn lock(datastore: &mut Datastore, session: SessionId) -> Result<(Step, ()), Errors> {
    datastore.lock(Target::Candidate, &author(session))?;
    Ok((Step::Done, ()))
}

async fn set_keepalive(handle: &Handle, value: &'static str) -> Result<(), Errors> {
    handle
        .write(move |datastore| {
            let mut tree = datastore.config(Target::Running).duplicate();
            tree.set(KEEPALIVE, Some(value))?;
            Ok((datastore.replace_running(tree, &author(1))?, ()))
        })
        .await
}

/// Polls once: the job stands in the queue, and nobody waits for it any more.
fn ask_and_go(asking: impl Future) {
    let asking = std::pin::pin!(asking);
    let _ = asking.poll(&mut Context::from_waker(Waker::noop()));
}

#[tokio::test]
async fn a_lock_that_a_session_asked_for_last_goes_with_it() {
    let (handle, _directory) = start(Parts::default());
    ask_and_go(handle.write(|datastore| lock(datastore, 7)));
    handle.end_session(7);
    handle.write(|datastore| lock(datastore, 8)).await.unwrap();
}

#[tokio::test]
async fn so_it_does_when_the_queue_is_full() {
    let (handle, _directory) = start(Parts::default());
    ask_and_go(handle.write(|datastore| lock(datastore, 7)));
    for _ in 1..QUEUE {
        ask_and_go(handle.read(|_| ()));
    }
    handle.end_session(7);
    handle.write(|datastore| lock(datastore, 8)).await.unwrap();
}

#[tokio::test]
async fn a_defect_met_by_one_request_is_not_met_by_the_next() {
    let (handle, _directory) = start(Parts::default());
    let read = handle.read(|_| -> () { panic!("a defect") }).await;
    assert_eq!(read.unwrap_err().message, "the operation was broken off");
    let write = handle.write(|_| -> Result<(Step, ()), Errors> { panic!("another") });
    assert_eq!(
        write.await.unwrap_err()[0].message,
        "the operation was broken off"
    );
    set_keepalive(&handle, "60").await.unwrap();
}

/// Breaks down where it takes a change over; the second one notes that it did.
struct Part(&'static str, Arc<AtomicBool>);

impl ConfigSubscriber for Part {
    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        if change.at_start {
            return Ok(Box::new(|| {}));
        }
        let (name, applied) = (self.0, Arc::clone(&self.1));
        Ok(Box::new(move || {
            assert_ne!(name, "broken");
            applied.store(true, Ordering::Relaxed);
        }))
    }
}

#[tokio::test]
async fn a_part_that_breaks_down_keeps_no_other_from_a_commit() {
    let applied = Arc::new(AtomicBool::new(false));
    let part = |name| -> Box<dyn ConfigSubscriber> { Box::new(Part(name, Arc::clone(&applied))) };
    let (handle, _directory) = start(Parts {
        subscribers: vec![part("broken"), part("sound")],
        ..Parts::default()
    });
    set_keepalive(&handle, "60").await.unwrap();
    assert!(applied.load(Ordering::Relaxed));
    let value = handle.read(|datastore| datastore.config(Target::Running).value(KEEPALIVE));
    assert_eq!(value.await.unwrap().as_deref(), Some("60"));
    set_keepalive(&handle, "70").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_long_edit_does_not_hold_the_only_worker() {
    let (handle, _directory) = start(Parts::default());
    let (begun, beginning) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel();
    let releasing = tokio::spawn(async move {
        beginning.await.unwrap();
        release.send(()).unwrap();
    });
    let long = handle.write(move |_| {
        begun.send(()).unwrap();
        // Only another task, on the same worker, lets it go on.
        released.recv_timeout(Duration::from_secs(20)).unwrap();
        Ok((Step::Done, ()))
    });
    long.await.unwrap();
    releasing.await.unwrap();
}

fn keepalive(view: &View, target: Target) -> Option<String> {
    view.snapshot(target).value(KEEPALIVE)
}

#[tokio::test]
async fn a_reader_sees_all_that_was_answered_before() {
    let (handle, _directory) = start(Parts::default());
    for value in ["60", "70", "80"] {
        set_keepalive(&handle, value).await.unwrap();
        let seen = handle.view(false, |view| keepalive(view, Target::Running));
        assert_eq!(seen.await.unwrap().as_deref(), Some(value));
        let edit = handle.write(|datastore| {
            let mut tree = Tree::new(datastore.schema());
            tree.set(KEEPALIVE, Some("99"))?;
            datastore.set_candidate(tree, &author(1))?;
            Ok((Step::Done, ()))
        });
        edit.await.unwrap();
        let seen = handle.view(true, |view| keepalive(view, Target::Candidate));
        assert_eq!(seen.await.unwrap().as_deref(), Some("99"));
        let lock = handle.write(|datastore| lock(datastore, 1)).await;
        // The candidate holds changes.
        assert!(lock.is_err());
        let discard = handle.write(|datastore| {
            datastore.discard(&author(1))?;
            Ok((Step::Done, ()))
        });
        discard.await.unwrap();
    }
    handle.write(|datastore| lock(datastore, 8)).await.unwrap();
    let held = handle.view(false, |view| view.lock_of(Target::Candidate).holder());
    assert_eq!(held.await.unwrap(), Some(8));
}

#[tokio::test]
async fn what_a_reader_keeps_is_as_it_was() {
    let (handle, _directory) = start(Parts::default());
    set_keepalive(&handle, "60").await.unwrap();
    let kept = handle
        .view(false, |view| view.snapshot(Target::Running))
        .await
        .unwrap();
    set_keepalive(&handle, "70").await.unwrap();
    assert_eq!(kept.value(KEEPALIVE).as_deref(), Some("60"));
}
