//! The server behind the sessions: who they are, and their operations handed to the datastore.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use metrics::{counter, histogram};
use tokio::sync::watch;

use super::audit::Request;
use super::clock::WallClock;
use super::evaluator::Evaluator;
use super::operations::{
    Control, EndReason, Opened, Operations, Peer, SessionId, Statistics, Transport,
};
use super::ops::monitoring::{Monitoring, SessionState};
use super::ops::{
    self, capabilities, is_about_subscriptions, is_brief, looks_at_candidate, only_looks, permit,
};
use super::reply::Reply;
use super::rpc::Rpc;
use super::subscription::Registry;
use super::subscription::push::Told;
use crate::datastore::changes::Changes;
use crate::datastore::driver::Handle;
use crate::datastore::events::{Stream, notices};
use crate::datastore::nacm::Nacm;
use crate::datastore::{Author, Datastore, Step, View};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;
use crate::model::settings::Limits;
use crate::model::tree::Tree;

/// The NETCONF server of the agent. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    datastore: Handle,
    schema: Schema,
    limits: watch::Receiver<Arc<Limits>>,
    capabilities: Vec<String>,
    start_time: SystemTime,
    sessions: Mutex<Sessions>,
    evaluator: Evaluator,
    events: Events,
    told: Told,
}

/// What sessions hear of.
#[derive(Clone, Debug)]
pub struct Events {
    /// What happens.
    pub stream: Stream,
    /// Who listens.
    pub subscriptions: Registry,
    /// What changes in the datastores.
    pub changes: Changes,
    /// By which subscriptions to datastores go.
    pub clock: WallClock,
}

#[derive(Default)]
struct Sessions {
    open: BTreeMap<SessionId, Open>,
    last: SessionId,
    opened: u32,
    bad_hellos: u32,
    dropped: u32,
    /// Of those that ended.
    statistics: Statistics,
}

impl Open {
    fn author(&self, session: SessionId) -> Author {
        Author {
            session,
            user: self.peer.user.clone(),
            groups: self.peer.groups.clone(),
            recovery: self.recovery,
            host: self.peer.source.as_deref().and_then(|at| at.parse().ok()),
            transport: Some(self.peer.transport.identity()),
            source: "netconf",
            back_to: None,
            comment: None,
            at: SystemTime::now(),
        }
    }
}

struct Open {
    peer: Peer,
    control: Control,
    login_time: SystemTime,
    /// Whether access control does not apply (RFC 8341, section 3.5.2).
    recovery: bool,
}

impl Server {
    /// A server on a datastore, with the events that its sessions add to and subscribe to.
    pub fn new(
        datastore: Handle,
        schema: Schema,
        limits: watch::Receiver<Arc<Limits>>,
        events: Events,
    ) -> Self {
        Self(Arc::new(Inner {
            datastore,
            schema,
            limits,
            capabilities: capabilities(schema),
            start_time: SystemTime::now(),
            sessions: Mutex::default(),
            evaluator: Evaluator::default(),
            told: Told::new(events.changes.clone()),
            events,
        }))
    }

    /// What all sessions announce.
    pub fn capabilities(&self) -> &[String] {
        &self.0.capabilities
    }

    pub(super) fn schema(&self) -> Schema {
        self.0.schema
    }

    /// The access control rules in force.
    pub(super) fn nacm(&self) -> Arc<Nacm> {
        self.0.datastore.nacm()
    }

    /// Runs an evaluation where it holds nobody up.
    pub(super) async fn evaluate<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        self.0.evaluator.run(work).await
    }

    /// Looks at the datastores and finds something, or a reason to refuse.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        self.0.datastore.view(false, look).await?
    }

    /// The stream of events.
    pub(super) fn stream(&self) -> &Stream {
        &self.0.events.stream
    }

    /// The subscriptions of all sessions.
    pub(super) fn registry(&self) -> &Registry {
        &self.0.events.subscriptions
    }

    /// Who is told of changes.
    pub(super) fn told(&self) -> &Told {
        &self.0.told
    }

    /// The date.
    pub(super) fn date(&self) -> SystemTime {
        self.0.events.clock.now()
    }

    /// Returns when the datastore has done all that it was told before.
    pub(super) async fn await_turn(&self) -> Result<(), RpcError> {
        self.0.datastore.read(|_| ()).await
    }

    /// The limits in force.
    pub(super) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.0.limits.borrow())
    }

    fn publish(&self, notice: Result<Tree, RpcError>) {
        match notice {
            Ok(notice) => self
                .0
                .events
                .stream
                .publish(SystemTime::now(), notice, None),
            Err(error) => tracing::warn!(%error, "an event does not fit its module"),
        }
    }

    /// How many sessions are open, by transport.
    pub fn sessions_by_transport(&self) -> [(&'static str, usize); 2] {
        let sessions = self.sessions();
        let of = |transport: Transport| {
            let open = sessions.open.values();
            let its = open.filter(|open| open.peer.transport == transport);
            (transport.as_str(), its.count())
        };
        [Transport::Ssh, Transport::Local].map(of)
    }

    /// Ends every session: the agent stops.
    pub fn end_all_sessions(&self) {
        for open in self.sessions().open.values() {
            open.control.end(EndReason::Other);
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // What a thread that panicked left is still a list of sessions.
        self.0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Who a session is, for what it asks now.
    fn author(&self, session: SessionId) -> Result<Author, RpcError> {
        let sessions = self.sessions();
        let open = sessions.open.get(&session);
        let open = open
            .ok_or_else(|| RpcError::protocol(ErrorTag::OperationFailed, "the session is over"))?;
        Ok(open.author(session))
    }

    /// Does an operation, which leaves a record if it changes something or is not allowed.
    async fn carry_out(&self, session: SessionId, rpc: Rpc) -> Result<Reply, Errors> {
        let caller = self.author(session)?;
        let request = Request::of(&rpc);
        let (user, source) = (caller.user.clone(), self.source(session));
        let outcome = self.perform(caller, rpc).await;
        if request.is_told(&outcome) {
            request.tell(session, &user, source.as_deref(), &outcome);
        }
        outcome
    }

    /// Where a session comes from, as far as it is known.
    fn source(&self, session: SessionId) -> Option<String> {
        self.sessions().open.get(&session)?.peer.source.clone()
    }

    /// Does an operation.
    async fn perform(&self, caller: Author, rpc: Rpc) -> Result<Reply, Errors> {
        if let Rpc::KillSession { session } = rpc {
            return self.kill(&caller, &rpc, session).await;
        }
        if is_about_subscriptions(&rpc) {
            let nacm = self.nacm();
            permit(self.0.schema, &nacm, &caller, &rpc)?;
            return self.subscribe(&caller, rpc).await;
        }
        if only_looks(&rpc) {
            let server = self.clone();
            let candidate = looks_at_candidate(&rpc);
            let look = move |view: &View| ops::read(view, &caller, rpc, &|| server.monitoring());
            let found = self.0.datastore.view(candidate, look).await??;
            return match found.takes_long() {
                true => Ok(self.0.evaluator.run(|| found.into_reply()).await??),
                false => Ok(found.into_reply()?),
            };
        }
        let datastore = &self.0.datastore;
        let locks = matches!(rpc, Rpc::Lock { .. } | Rpc::Unlock { .. });
        let is_brief = is_brief(&rpc);
        let write = move |datastore: &mut Datastore| ops::write(datastore, &caller, rpc);
        let outcome = match is_brief {
            true => datastore.write_briefly(write).await?,
            false => datastore.write(write).await?,
        };
        if locks {
            self.0.told.sessions.ring();
        }
        outcome
    }

    /// `<kill-session>` (RFC 6241, section 7.9).
    async fn kill(&self, caller: &Author, rpc: &Rpc, session: SessionId) -> Result<Reply, Errors> {
        if !caller.recovery {
            let (caller, name) = (caller.clone(), rpc.name().to_owned());
            let permitted = self.0.datastore.view(false, move |view| {
                view.nacm().may_exec(&caller, "ietf-netconf", &name)
            });
            permitted.await??;
        }
        if session == caller.session {
            let words = "a session does not kill itself; it closes";
            return Err(RpcError::protocol(ErrorTag::InvalidValue, words).into());
        }
        self.end(session, EndReason::Killed { by: caller.session })?;
        // What it held is free when the answer arrives.
        let release = move |datastore: &mut Datastore| {
            datastore.end_session(session);
            Ok((Step::Done, Reply::Ok))
        };
        self.0.datastore.write_briefly(release).await
    }

    /// Tells one session to end.
    fn end(&self, session: SessionId, reason: EndReason) -> Result<(), RpcError> {
        let sessions = self.sessions();
        let open = sessions.open.get(&session).ok_or_else(|| {
            RpcError::protocol(
                ErrorTag::InvalidValue,
                format!("there is no session {session}"),
            )
        })?;
        open.control.end(reason);
        Ok(())
    }

    /// Whether a session that begins now is a recovery session: whoever owns the machine may repair rules that lock
    /// him out, and no others.
    async fn recovers(&self, peer: &Peer) -> Result<bool, RpcError> {
        if !peer.may_recover {
            return Ok(false);
        }
        let user = peer.user.clone();
        let locked_out = self
            .0
            .datastore
            .view(false, move |view| view.nacm().locks_out(user.as_str()));
        locked_out.await
    }

    pub(super) fn monitoring(&self) -> Monitoring {
        let sessions = self.sessions();
        let open = sessions.open.iter().map(|(id, open)| SessionState {
            id: *id,
            peer: open.peer.clone(),
            login_time: open.login_time,
            statistics: open.control.statistics(),
        });
        let open: Vec<_> = open.collect();
        Monitoring {
            start_time: self.0.start_time,
            capabilities: self.0.capabilities.clone(),
            in_bad_hellos: sessions.bad_hellos,
            in_sessions: sessions.opened,
            dropped_sessions: sessions.dropped,
            statistics: open.iter().fold(sessions.statistics, |sum, session| {
                sum.plus(session.statistics)
            }),
            sessions: open,
        }
    }
}

impl Operations for Server {
    async fn open(&self, peer: &Peer, control: Control) -> Result<Opened, RpcError> {
        let limits = Arc::clone(&self.0.limits.borrow());
        let recovery = self.recovers(peer).await?;
        let mut sessions = self.sessions();
        let of_user = sessions
            .open
            .values()
            .filter(|open| open.peer.user == peer.user)
            .count();
        if sessions.open.len() >= limits.sessions || of_user >= limits.sessions_per_user {
            let words = format!(
                "no more than {} sessions, {} of one user",
                limits.sessions, limits.sessions_per_user
            );
            return Err(RpcError::new(
                crate::model::error::ErrorType::Transport,
                ErrorTag::ResourceDenied,
                words,
            ));
        }
        sessions.last += 1;
        sessions.opened = sessions.opened.saturating_add(1);
        let session = sessions.last;
        tracing::info!(
            session,
            user = peer.user,
            source = peer.source,
            recovery,
            "session opened"
        );
        let open = Open {
            peer: peer.clone(),
            control,
            login_time: SystemTime::now(),
            recovery,
        };
        let author = open.author(session);
        sessions.open.insert(session, open);
        drop(sessions);
        self.0.told.sessions.ring();
        self.publish(notices::session_start(self.0.schema, &author));
        Ok(Opened {
            session,
            capabilities: self.0.capabilities.clone(),
        })
    }

    async fn execute(&self, session: SessionId, rpc: Rpc) -> Result<Reply, Errors> {
        let operation = match &rpc {
            // What the client calls it is no label.
            Rpc::Other { .. } => "other".to_owned(),
            known => known.name().to_owned(),
        };
        let begun = Instant::now();
        let done = self.carry_out(session, rpc).await;
        histogram!("tether_netconf_rpc_duration_seconds", "operation" => operation.clone())
            .record(begun.elapsed());
        let outcome = if done.is_ok() { "ok" } else { "error" };
        counter!("tether_netconf_rpcs_total", "operation" => operation, "outcome" => outcome)
            .increment(1);
        done
    }

    fn close(&self, session: SessionId, reason: EndReason) {
        let mut sessions = self.sessions();
        if let Some(open) = sessions.open.remove(&session) {
            tracing::info!(
                session,
                user = open.peer.user,
                reason = reason.as_str(),
                "session ended"
            );
            counter!("tether_netconf_session_ends_total", "reason" => reason.as_str()).increment(1);
            sessions.statistics = sessions.statistics.plus(open.control.statistics());
            let killed_by = match reason {
                EndReason::Killed { by } => Some(by),
                _ => None,
            };
            let who = open.author(session);
            let notice = notices::session_end(self.0.schema, &who, reason.as_str(), killed_by);
            self.publish(notice);
        }
        match reason {
            EndReason::BadHello => sessions.bad_hellos = sessions.bad_hellos.saturating_add(1),
            EndReason::Dropped | EndReason::Timeout => {
                sessions.dropped = sessions.dropped.saturating_add(1);
            }
            EndReason::Closed | EndReason::Killed { .. } | EndReason::Other => {}
        }
        drop(sessions);
        self.0.datastore.end_session(session);
        self.0.told.sessions.ring();
    }

    fn schema(&self) -> Schema {
        self.schema()
    }

    fn namespace(&self, module: &str) -> Option<String> {
        self.0.schema.namespace(module).map(str::to_owned)
    }
}
