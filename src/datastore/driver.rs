//! The one task that owns the [`Datastore`].
//!
//! Jobs come over a bounded queue, in order. A job that changes running ends in a store step, which runs on a thread
//! that may block; until it is done, writes wait their turn. Reads do not come here at all: the owner publishes a view
//! of the datastores, and takes it back only while they change.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::RuntimeFlavor;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::model::error::{ErrorTag, Errors, RpcError};

use super::nacm::{InForce, Nacm};
use super::store::{Store, StoreError};
use super::{Datastore, SessionId, Staged, Step, View};

/// How long until what a broken disk left is taken out again.
const SETTLE_AGAIN: Duration = Duration::from_secs(10);
/// Jobs that wait; whoever submits one more waits with it.
const QUEUE: usize = 1024;

type Read = Box<dyn FnOnce(&Datastore) + Send>;
type Answer = oneshot::Sender<Result<(), Errors>>;
type Write = Box<dyn FnOnce(&mut Datastore) -> Result<Step, Errors> + Send>;

enum Job {
    Read(Read),
    /// Whether it may take long goes with it.
    Write(Write, Answer, Length),
    /// A session is over.
    End(SessionId),
}

/// The view that the owner keeps up to date. Whoever reads it holds the lock for no longer than it takes to find out
/// what is asked for: the trees are shared and read later.
type Published = Arc<RwLock<Option<View>>>;

/// Access to the datastore. Cheap to clone; the datastore lives as long as one is held.
#[derive(Clone)]
pub struct Handle {
    /// What readers see; none while it is about to change.
    published: Published,
    nacm: InForce,
    jobs: mpsc::Sender<Job>,
    /// Sessions that ended while the queue was full; unbounded only in name, since each session ends once and
    /// sessions are limited.
    ends: mpsc::UnboundedSender<SessionId>,
}

fn stopped() -> RpcError {
    RpcError::application(ErrorTag::OperationFailed, "the agent is shutting down")
}

/// What a defect of the agent looks like from outside; its words stand in the log.
fn broken_off() -> RpcError {
    RpcError::application(ErrorTag::OperationFailed, "the operation was broken off")
}

impl Handle {
    /// Starts the task. It ends when the last handle is dropped, with its jobs done.
    pub fn start(datastore: Datastore, store: Arc<Store>) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (ends, ended) = mpsc::unbounded_channel();
        let published = Published::default();
        let nacm = datastore.nacm_in_force();
        let owner = Owner {
            datastore,
            published: Arc::clone(&published),
            unsettled: store.is_unsettled(),
            store,
            waiting: VecDeque::new(),
        };
        let handle = Self {
            published,
            nacm,
            jobs,
            ends,
        };
        (handle, tokio::spawn(owner.run(queue, ended)))
    }

    /// The access control rules in force; waits for nobody.
    pub fn nacm(&self) -> Arc<Nacm> {
        self.nacm.get()
    }

    /// Looks at the datastores as they are: after all that the caller was answered, and without waiting for anybody
    /// unless they are changing at this moment. `candidate` says whether the candidate is looked at.
    ///
    /// # Errors
    /// `operation-failed` while the agent shuts down.
    pub async fn view<T: Send + 'static>(
        &self,
        candidate: bool,
        look: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        let look = match self.published.try_read() {
            Ok(published) => match &*published {
                Some(view) if view.is_whole() || !candidate => {
                    return contained(|| look(view)).ok_or_else(broken_off);
                }
                _ => look,
            },
            Err(_) => look,
        };
        self.read(move |datastore| match candidate {
            true => look(&datastore.whole_view()),
            false => look(&datastore.view()),
        })
        .await
    }

    /// Looks at the datastore; does not wait for a store step.
    ///
    /// # Errors
    /// `operation-failed` while the agent shuts down.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Datastore) -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Read(Box::new(move |datastore| {
            // Whoever asked may be gone.
            let _ = answer.send(look(datastore));
        }));
        self.jobs.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| broken_off())
    }

    /// Changes the datastore; returns when the change is durable and in force.
    ///
    /// # Errors
    /// What the job refuses, or what the disk says of the store step: then nothing has changed.
    pub async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Datastore) -> Result<(Step, T), Errors> + Send + 'static,
    ) -> Result<T, Errors> {
        self.write_for(Length::Long, change).await
    }

    /// The same for a change that takes next to no time, such as a lock.
    ///
    /// # Errors
    /// As [`Handle::write`].
    pub async fn write_briefly<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Datastore) -> Result<(Step, T), Errors> + Send + 'static,
    ) -> Result<T, Errors> {
        self.write_for(Length::Brief, change).await
    }

    async fn write_for<T: Send + 'static>(
        &self,
        length: Length,
        change: impl FnOnce(&mut Datastore) -> Result<(Step, T), Errors> + Send + 'static,
    ) -> Result<T, Errors> {
        let (answer, answered) = oneshot::channel();
        let (give, given) = oneshot::channel();
        let change = move |datastore: &mut Datastore| {
            let (step, outcome) = change(datastore)?;
            // Whoever asked may be gone; what was asked for is done all the same.
            let _ = give.send(outcome);
            Ok(step)
        };
        let job = Job::Write(Box::new(change), answer, length);
        self.jobs.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())??;
        given.await.map_err(|_| stopped().into())
    }

    /// Releases what a session held, and what it asked for before; never waits.
    pub fn end_session(&self, session: SessionId) {
        // In its place in the queue: a lock that the session asked for last is not taken after its end, and is free
        // before anybody's next request.
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::End(session)) {
            // Only a stopped datastore does not hear it, and it has no sessions.
            let _ = self.ends.send(session);
        }
    }
}

/// How long a write may take before its store step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// No longer than a look.
    Brief,
    /// As long as what it changes is large.
    Long,
}

struct Owner {
    datastore: Datastore,
    published: Published,
    store: Arc<Store>,
    /// Writes that came during a store step.
    waiting: VecDeque<Job>,
    /// A refused commit may still be in the file (see [`Store::settle`]).
    unsettled: bool,
}

/// A store step under way.
struct Storing {
    /// True: a snapshot should follow.
    task: JoinHandle<Result<bool, StoreError>>,
    /// The commit it makes durable; none when the store is only tidied up.
    commit: Option<Waiting>,
}

/// A commit, and who waits for it: nobody when the agent itself takes a confirmed commit back.
type Waiting = (Box<Staged>, Option<Answer>);

impl Owner {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Job>,
        mut ended: mpsc::UnboundedReceiver<SessionId>,
    ) {
        let mut storing: Option<Storing> = None;
        loop {
            if storing.is_none() {
                storing = self.on_time();
            }
            if storing.is_none()
                && let Some(job) = self.waiting.pop_front()
            {
                storing = self.work(job);
                continue;
            }
            self.publish();
            let due = self.datastore.poll_timeout();
            tokio::select! {
                biased;
                done = finished(&mut storing), if storing.is_some() => {
                    let commit = storing.take().and_then(|storing| storing.commit);
                    storing = self.stored(commit, done);
                }
                Some(session) = ended.recv() => {
                    // The queue was full when it ended: what it still asked for is in there.
                    while let Ok(job) = queue.try_recv() {
                        match job {
                            Job::Read(_) => drop(self.work(job)),
                            job => self.waiting.push_back(job),
                        }
                    }
                    self.waiting.push_back(Job::End(session));
                }
                () = reached(due), if storing.is_none() => {}
                () = tokio::time::sleep(SETTLE_AGAIN), if self.unsettled && storing.is_none() => {
                    storing = Some(self.settle());
                }
                // A full line of waiting writes holds the queue back, and so everyone who submits.
                job = queue.recv(), if self.waiting.len() < QUEUE => match job {
                    Some(job @ (Job::Write(..) | Job::End(_))) if storing.is_some() => {
                        self.waiting.push_back(job);
                    }
                    Some(job) => {
                        let started = self.work(job);
                        storing = started.or(storing);
                    }
                    None if storing.is_none() => return,
                    None => {
                        let done = finished(&mut storing).await;
                        let commit = storing.take().and_then(|storing| storing.commit);
                        storing = self.stored(commit, done);
                    }
                },
            }
        }
    }

    /// Has readers see the datastores as they are.
    fn publish(&self) {
        let mut published = self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if published.is_none() {
            *published = Some(self.datastore.view());
        }
    }

    /// Has readers wait: something is going to change, for which nobody else should hold it.
    fn retract(&self) {
        *self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Does a job; returns the store step that it leads to.
    fn work(&mut self, job: Job) -> Option<Storing> {
        if !matches!(job, Job::Read(_)) {
            self.retract();
        }
        match job {
            Job::Read(look) => drop(contained(|| look(&self.datastore))),
            Job::End(session) => self.datastore.end_session(session),
            Job::Write(change, answer, length) => {
                let begun = Instant::now();
                let change = || change(&mut self.datastore);
                let done = contained(|| match length {
                    Length::Brief => change(),
                    Length::Long => aside(change),
                });
                match done {
                    Some(Ok(step)) => {
                        if let Step::Store(_) = step {
                            took("prepare", begun);
                        }
                        return self.proceed(step, Some(answer));
                    }
                    Some(Err(errors)) => drop(answer.send(Err(errors))),
                    None => drop(answer.send(Err(broken_off().into()))),
                }
            }
        }
        None
    }

    /// Takes a confirmed commit back when its time is over.
    fn on_time(&mut self) -> Option<Storing> {
        if !self.datastore.is_due(now()) {
            return None;
        }
        self.retract();
        let step = contained(|| aside(|| self.datastore.on_time(now(), SystemTime::now())))?;
        self.proceed(step, None)
    }

    fn proceed(&mut self, step: Step, answer: Option<Answer>) -> Option<Storing> {
        match step {
            Step::Done => reply(answer, Ok(())),
            Step::Store(staged) if staged.needs_disk() => {
                return Some(self.store_step(staged, answer));
            }
            Step::Store(staged) => {
                self.complete(*staged);
                reply(answer, Ok(()));
            }
        }
        None
    }

    fn store_step(&self, staged: Box<Staged>, answer: Option<Answer>) -> Storing {
        let record = staged.record.clone();
        let beside = staged.beside.clone();
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            match record {
                Some(record) => store.commit(&record, &beside)?,
                None => store.put_meta(&beside)?,
            }
            took("store", begun);
            // Asked here, since it waits for whoever writes at the moment.
            Ok(store.is_snapshot_due())
        });
        Storing {
            task,
            commit: Some((staged, answer)),
        }
    }

    /// A store step is over; returns the snapshot that should follow.
    fn stored(&mut self, commit: Option<Waiting>, done: Result<bool, RpcError>) -> Option<Storing> {
        self.retract();
        self.unsettled = done.is_err();
        let Some((staged, answer)) = commit else {
            if let Err(error) = done {
                // The differences are all there: a later snapshot makes up for this one.
                tracing::warn!(%error, "the store could not be tidied up");
            }
            return None;
        };
        let is_snapshot_due = match done {
            Ok(is_snapshot_due) => is_snapshot_due,
            Err(error) => {
                tracing::error!(%error, user = staged.by.user, "a commit was refused by the store");
                drop(staged);
                if answer.is_none() {
                    self.datastore.put_rollback_off(now());
                }
                reply(answer, Err(error.into()));
                return None;
            }
        };
        let by = &staged.by;
        tracing::info!(
            commit = staged.record().map(|record| record.id),
            user = by.user,
            session = by.session,
            by = by.source,
            "committed"
        );
        self.complete(*staged);
        reply(answer, Ok(()));
        (is_snapshot_due && self.datastore.may_snapshot()).then(|| self.snapshot())
    }

    fn complete(&mut self, staged: Staged) {
        let begun = Instant::now();
        self.datastore.complete(staged, now());
        took("apply", begun);
    }

    fn settle(&self) -> Storing {
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || store.settle().map(|()| false));
        Storing { task, commit: None }
    }

    fn snapshot(&self) -> Storing {
        let id = self.datastore.next_commit() - 1;
        let kept = self.datastore.snapshot(super::Target::Startup);
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || {
            // Printed here: a large store takes a while, in which others read.
            store.snapshot(id, kept.to_xml().as_bytes())?;
            Ok(false)
        });
        Storing { task, commit: None }
    }
}

/// Measures a phase of a commit.
fn took(phase: &'static str, begun: Instant) {
    metrics::histogram!("tether_commit_duration_seconds", "phase" => phase).record(begun.elapsed());
}

/// Keeps a panic to the one request that met it: the datastore goes on for all others. A change takes effect by its
/// last step alone, so one that is broken off has changed nothing.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    done.inspect_err(|_| tracing::error!("a request was broken off by a defect of the agent"))
        .ok()
}

/// Lets the runtime's other tasks go on elsewhere meanwhile: an edit of many megabytes takes seconds, and a keepalive
/// must not wait for it on a device of one processor.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    let flavor = tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

async fn finished(storing: &mut Option<Storing>) -> Result<bool, RpcError> {
    let Some(storing) = storing else {
        return Ok(false);
    };
    match (&mut storing.task).await {
        Ok(result) => result.map_err(|error| error.to_rpc_error()),
        Err(_) => Err(RpcError::application(
            ErrorTag::OperationFailed,
            "the store step was broken off",
        )),
    }
}

/// The time by the clock that timers run by.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Whoever asked may be gone; what was asked for is done all the same.
fn reply(answer: Option<Answer>, done: Result<(), Errors>) {
    if let Some(answer) = answer {
        drop(answer.send(done));
    }
}

#[cfg(test)]
mod tests;
