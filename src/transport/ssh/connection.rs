//! The life of one connection: login in time, users that still exist, an orderly end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use russh::Disconnect;
use russh::server::{RunningSession, run_stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info};

use super::admission::Slot;
use super::call::Call;
use super::handler::{Connection, Progress};
use super::line::{Hangup, Line};
use super::tunnelled::Manager;
use super::{ConnectionError, Shared, Source};
use crate::transport::{ByteStream, Owed, stopped};

/// A connection that serves nobody after its login, or any more, ends after this time.
const IDLE: Duration = Duration::from_secs(60);
/// Sessions may take so long to end by themselves at a shutdown.
const SESSIONS_GRACE: Duration = Duration::from_secs(2);
/// The peer may take so long to take leave once it is told.
const LEAVE_GRACE: Duration = Duration::from_millis(500);

/// The other end of a connection may take so long to read what it is owed before the agent takes leave.
const ANSWERED: Duration = Duration::from_secs(1);

/// Why a connection ends.
pub(super) enum End {
    /// The peer or the library ended it.
    Gone(Result<(), ConnectionError>),
    LoginTimeout,
    Idle,
    UserRemoved,
    /// The agent, which has called, wants no more of it.
    Left,
    Shutdown,
}

/// Serves one connection to its end; `call` if the agent has opened it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: impl ByteStream + 'static,
    source: Source,
    (hangup, slot): (Hangup, Slot),
    call: Option<Call>,
) -> End {
    shared.counters.connections.fetch_add(1, Relaxed);
    let (login_timeout, write_timeout) = {
        let limits = shared.limits.borrow();
        (limits.login_timeout, limits.write_timeout)
    };
    let deadline = Instant::now() + login_timeout;
    let (sender, progress) = watch::channel(Progress::default());
    let owed = Owed::default();
    let handler = Connection::new(shared.clone(), source, hangup.clone(), sender, owed.clone());
    let line = Line::new(stream, &hangup, write_timeout);
    // The wait for the client's identification string is the one thing the library does before its own task exists.
    let begun = tokio::select! {
        begun = timeout_at(deadline, run_stream(shared.config.clone(), line, handler)) => begun,
        () = stopped(&shared.shutdown) => return End::Shutdown,
        () = left(call.as_ref()) => return End::Left,
    };
    let end = match begun {
        Err(_) => End::LoginTimeout,
        Ok(Err(error)) => End::Gone(Err(error)),
        Ok(Ok(session)) => {
            let manager = Manager {
                handle: session.handle(),
                owed,
                progress: progress.clone(),
            };
            let is_tunnelled = source == Source::CloudTunnel;
            let _entry = is_tunnelled.then(|| shared.tunnelled.enter(manager.clone()));
            let mut life = Life {
                shared: &shared,
                session,
                manager,
                progress,
                hangup,
                slot,
                call,
            };
            life.run(deadline).await
        }
    };
    report(&shared, source, &end);
    end
}

/// Ends once a connection that the agent has opened was idle for too long.
async fn idle(call: Option<&Call>, owed: &Owed) {
    match call {
        Some(call) => call.idle(owed).await,
        None => std::future::pending().await,
    }
}

/// Ends once the agent wants no more of a connection that it has opened.
async fn left(call: Option<&Call>) {
    match call {
        Some(call) => call.left().await,
        None => std::future::pending().await,
    }
}

fn report(shared: &Shared, source: Source, end: &End) {
    match end {
        End::Gone(Ok(())) | End::Left | End::Shutdown => debug!(%source, "ssh connection ended"),
        // A client that just closes its socket arrives here too: not worth more than a debug line.
        End::Gone(Err(error)) => debug!(%source, %error, "ssh connection ended"),
        End::Idle => info!(%source, "ssh connection ended: it was idle"),
        End::UserRemoved => info!(%source, "ssh connection ended: its user was removed"),
        End::LoginTimeout => {
            shared.counters.login_timeouts.fetch_add(1, Relaxed);
            info!(%source, "ssh connection ended: no login in time");
        }
    }
}

struct Life<'a> {
    shared: &'a Shared,
    session: RunningSession<Connection>,
    manager: Manager,
    progress: watch::Receiver<Progress>,
    hangup: Hangup,
    slot: Slot,
    call: Option<Call>,
}

impl Life<'_> {
    async fn run(&mut self, login_deadline: Instant) -> End {
        let end = self.watch(login_deadline).await;
        match &end {
            End::Gone(_) => return end,
            End::LoginTimeout => {}
            End::Idle => self.take_leave("no session").await,
            End::Left => {
                // A manager that has had its own endpoint removed is told that it is.
                let _ = timeout(ANSWERED, self.manager.clone().answered()).await;
                self.take_leave("the agent has no more use for this connection")
                    .await;
            }
            End::UserRemoved => self.take_leave("the user was removed").await,
            End::Shutdown => {
                let sessions = self.progress.wait_for(|progress| progress.sessions == 0);
                // What has not ended by now is cut off.
                let _ = timeout(SESSIONS_GRACE, sessions).await;
                self.take_leave("shutting down").await;
            }
        }
        self.hangup.hang_up();
        end
    }

    /// Waits for a reason to end.
    async fn watch(&mut self, login_deadline: Instant) -> End {
        let mut users = self.shared.users.clone();
        let mut deadline = Some((login_deadline, End::LoginTimeout));
        loop {
            let overdue = async {
                match &deadline {
                    Some((at, _)) => sleep_until(*at).await,
                    None => std::future::pending().await,
                }
            };
            let has_left = left(self.call.as_ref());
            let has_login = self.progress.borrow().user.is_some();
            let quiet = idle(self.call.as_ref().filter(|_| has_login), &self.manager.owed);
            tokio::select! {
                ended = &mut self.session => return End::Gone(ended),
                () = overdue => return deadline.map_or(End::Idle, |(_, end)| end),
                () = stopped(&self.shared.shutdown) => return End::Shutdown,
                () = has_left => return End::Left,
                () = quiet => return End::Idle,
                Ok(()) = users.changed() => {}
                Ok(()) = self.progress.changed() => {
                    let progress = self.progress.borrow_and_update().clone();
                    if let Some(user) = progress.user {
                        self.slot.logged_in();
                        let idle = progress.sessions == 0 && self.call.is_none();
                        deadline = idle.then(|| (Instant::now() + IDLE, End::Idle));
                        if let Some(call) = &mut self.call {
                            call.logged_in(&user);
                        }
                    }
                }
            }
            let user = self.progress.borrow().user.clone();
            if user.is_some_and(|user| !users.borrow_and_update().contains(&user)) {
                return End::UserRemoved;
            }
        }
    }

    /// Tells the peer, and gives it a moment to take note.
    async fn take_leave(&mut self, reason: &str) {
        let handle = self.session.handle();
        let leave = async {
            let told = handle.disconnect(Disconnect::ByApplication, reason.into(), "en".into());
            if told.await.is_ok() {
                let _ = (&mut self.session).await;
            }
        };
        let _ = timeout(LEAVE_GRACE, leave).await;
    }
}
