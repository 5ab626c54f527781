//! Carries out what the machine wants and tells it what came of it; decides nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::machine::{Action, Attempt, CallHome, Event};
use super::status::{CallHomeStatus, Failure, Phase, Reason};
use crate::model::settings::DnsSettings;
use crate::model::settings::call_home::{CallHomeSettings, Endpoint};
use crate::transport::ssh::{Call, CallEnd, SshServer, Terms};
use crate::transport::{BoxedStream, stopped};
use crate::tunnel::driver::clocks;

/// Finds a manager and connects to it.
pub type Dial = Arc<dyn Fn(Endpoint) -> BoxFuture<'static, Result<Dialled, Failure>> + Send + Sync>;

/// A connection that a manager has accepted.
pub struct Dialled {
    /// What goes over it.
    pub stream: BoxedStream,
    /// Where he is.
    pub address: IpAddr,
}

/// What call home is made of.
pub struct Setup {
    /// Whom to call, as last committed.
    pub settings: watch::Receiver<Arc<CallHomeSettings>>,
    /// How names are resolved; a change has a failed attempt made again.
    pub names: watch::Receiver<Arc<DnsSettings>>,
    /// How to get there.
    pub dial: Dial,
    /// Who serves the manager then.
    pub ssh: SshServer,
    /// Where the status is told.
    pub status: watch::Sender<Arc<CallHomeStatus>>,
    /// Of all waits.
    pub seed: u64,
    /// The endpoint that was connected last before the agent started.
    pub last_connected: Option<Endpoint>,
    /// Keeps which endpoint was connected last; must not wait.
    pub remember: Box<dyn Fn(&Endpoint) + Send>,
    /// True when the agent stops.
    pub shutdown: watch::Receiver<bool>,
}

/// Calls the managers until the agent stops; then ends once the connection has.
pub async fn run(setup: Setup) {
    let (told, hears) = mpsc::channel(4);
    let driver = Driver {
        machine: CallHome::new(setup.seed, setup.last_connected.clone()),
        setup,
        calls: JoinSet::new(),
        terms: None,
        attempt: 0,
        told,
        hears,
    };
    driver.run().await;
}

struct Driver {
    setup: Setup,
    machine: CallHome,
    /// The call that there is, if any.
    calls: JoinSet<Failure>,
    terms: Option<watch::Sender<Terms>>,
    attempt: Attempt,
    told: mpsc::Sender<Event>,
    hears: mpsc::Receiver<Event>,
}

impl Driver {
    async fn run(mut self) {
        let settings = Arc::clone(&self.setup.settings.borrow_and_update());
        self.handle(Event::Settings(settings));
        let shutdown = self.setup.shutdown.clone();
        loop {
            let wake = self.machine.poll_timeout().map(Instant::from_std);
            let event = tokio::select! {
                // What a call says of itself comes before its end.
                biased;
                () = stopped(&shutdown) => break,
                Ok(()) = self.setup.settings.changed() => {
                    Event::Settings(Arc::clone(&self.setup.settings.borrow_and_update()))
                }
                Some(event) = self.hears.recv() => event,
                Some(ended) = self.calls.join_next() => Event::Ended {
                    attempt: self.attempt,
                    failure: ended.unwrap_or_else(|_| Failure::new(Reason::Closed, "the agent failed")),
                },
                () = at(wake) => Event::Timeout,
                Ok(()) = self.setup.names.changed() => Event::NamesChanged,
            };
            self.handle(event);
        }
        drop(self.hears);
        while self.calls.join_next().await.is_some() {}
    }

    fn handle(&mut self, event: Event) {
        let action = self.machine.handle(event, clocks(SystemTime::now));
        match action {
            Some(Action::Call {
                attempt,
                endpoint,
                max_wait,
                terms,
            }) => {
                let (sender, terms) = watch::channel(terms);
                self.terms = Some(sender);
                self.attempt = attempt;
                let call = OneCall {
                    attempt,
                    told: self.told.clone(),
                    dial: Arc::clone(&self.setup.dial),
                    ssh: self.setup.ssh.clone(),
                    shutdown: self.setup.shutdown.clone(),
                };
                self.calls.spawn(call.run(endpoint, max_wait, terms));
            }
            // The call may be over, which the machine is about to hear.
            Some(Action::Terms(terms)) => self.terms.iter().for_each(|sender| {
                sender.send_replace(terms);
            }),
            None => {}
        }
        self.publish();
    }

    fn publish(&self) {
        let status = self.machine.status();
        let before = self.setup.status.send_replace(Arc::new(status.clone()));
        if status.phase == Phase::Connected && before.phase != Phase::Connected {
            info!(
                endpoint = status.endpoint,
                user = status.user,
                "call home: a manager has come"
            );
            self.machine
                .last_connected()
                .into_iter()
                .for_each(&self.setup.remember);
        }
        match &status.last_failure {
            Some(last) if before.last_failure.as_ref() != Some(last) => warn!(
                endpoint = last.endpoint,
                reason = last.failure.reason.as_yang(),
                error = last.failure.message,
                attempts = status.attempts,
                "call home: no manager"
            ),
            _ => {}
        }
    }
}

async fn at(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// One call from the lookup of the name to its end.
struct OneCall {
    attempt: Attempt,
    told: mpsc::Sender<Event>,
    dial: Dial,
    ssh: SshServer,
    shutdown: watch::Receiver<bool>,
}

impl OneCall {
    /// Why nobody has logged in, in case nobody has.
    async fn run(
        self,
        endpoint: Endpoint,
        max_wait: Duration,
        mut terms: watch::Receiver<Terms>,
    ) -> Failure {
        let late = || {
            let words = format!("no connection within {} s", max_wait.as_secs());
            Failure::new(Reason::Timeout, words)
        };
        let left = || Failure::new(Reason::Closed, "the agent has no more use for it");
        let dialled = tokio::select! {
            dialled = timeout(max_wait, (self.dial)(endpoint)) => dialled,
            () = stopped(&self.shutdown) => return left(),
            _ = terms.wait_for(|terms| *terms == Terms::Leave) => return left(),
        };
        match dialled {
            Ok(Ok(dialled)) => self.serve(dialled, terms).await,
            Ok(Err(failure)) => failure,
            Err(_) => late(),
        }
    }

    async fn serve(self, dialled: Dialled, terms: watch::Receiver<Terms>) -> Failure {
        let (attempt, address) = (self.attempt, dialled.address);
        self.tell(Event::Connected { attempt, address }).await;
        let (call, mut login) = Call::new(terms);
        let serving = self.ssh.serve_call(dialled.stream, address, call);
        tokio::pin!(serving);
        let end = tokio::select! {
            end = &mut serving => {
                if let Ok(user) = login.try_recv() {
                    self.tell(Event::LoggedIn { attempt, user }).await;
                }
                end
            }
            Ok(user) = &mut login => {
                self.tell(Event::LoggedIn { attempt, user }).await;
                serving.await
            }
        };
        match end {
            CallEnd::Refused => {
                Failure::new(Reason::ResourceDenied, "the agent has too many connections")
            }
            CallEnd::LoginTimeout => {
                Failure::new(Reason::LoginTimeout, "nobody has logged in in time")
            }
            CallEnd::Over(Some(error)) => Failure::new(Reason::Closed, error),
            CallEnd::Over(None) => {
                Failure::new(Reason::Closed, "the manager has closed the connection")
            }
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more when the agent stops.
        let _ = self.told.send(event).await;
    }
}
