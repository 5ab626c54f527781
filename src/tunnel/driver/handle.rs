//! The agent's end of the driver: commands in, status out, neither of which waits.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::PrintState;
use crate::datastore::Version;
use crate::datastore::changes::Wakes;
use crate::datastore::subscriber::{Direction, Reach};
use crate::dhcp::findings::Findings;
use crate::model::status::{Clocks, CloudStatus, ConnectionTest, Moment};
use crate::tunnel::configuration::Configuration;
use crate::tunnel::machine::Event;
use crate::tunnel::service::Modules;
use crate::tunnel::service::telemetry::Telemetry;
use crate::tunnel::state::Traffic;
use crate::tunnel::target::Target;

/// What the agent tells the tunnel.
#[derive(Debug)]
pub enum Command {
    /// The configuration after a commit.
    Configure(Box<Committed>),
    /// What DHCP found or lost, an action, a change of the network.
    Event(Event),
    /// To walk to the servers of the target; what is found goes to the test that has begun.
    TestConnection,
}

/// The configuration that a commit brings.
#[derive(Debug)]
pub struct Committed {
    /// All that the tunnel works by.
    pub configuration: Configuration,
    /// The number of the change of running; 0 at the start.
    pub number: Version,
    /// Whether the change goes on or back.
    pub direction: Direction,
}

/// What the commit guard watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The target of the tunnel that stands, and which of its ways it has taken.
    pub tunnel: Option<Arc<(Target, usize)>>,
    /// The number of the last change of running under which the tunnel was established, which is the effective target
    /// of the configuration after it; 0 before the first.
    pub reached: Version,
}

/// The agent's end of the driver. Cheap to clone; the tunnel is shut down when the last one goes.
#[derive(Clone)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: watch::Receiver<Arc<CloudStatus>>,
    pub(super) test: watch::Sender<Option<Arc<ConnectionTest>>>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) findings: watch::Receiver<Arc<Findings>>,
    pub(super) modules: Modules,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) clock: fn() -> SystemTime,
}

/// Room for one command, so that giving it cannot fail.
pub struct Reserved(mpsc::OwnedPermit<Command>);

impl Reserved {
    /// Gives the command.
    pub fn send(self, command: Command) {
        self.0.send(command);
    }
}

impl Handle {
    /// Makes room for a command; `None` when too many wait already, or the tunnel has ended.
    pub fn reserve(&self) -> Option<Reserved> {
        let permit = self.commands.clone().try_reserve_owned().ok()?;
        Some(Reserved(permit))
    }

    /// The state as of now; never waits.
    pub fn status(&self) -> Arc<CloudStatus> {
        self.status.borrow().clone()
    }

    /// Tells when the state, or that of the last test, is another one.
    pub fn wakes(&self) -> Box<dyn Wakes> {
        let mut status = self.status.clone();
        status.mark_unchanged();
        Box::new((status, self.test.subscribe()))
    }

    /// The last test of the connection; changes of it can be waited for.
    pub fn test(&self) -> watch::Receiver<Option<Arc<ConnectionTest>>> {
        self.test.subscribe()
    }

    /// Begins a test; false while one is under way.
    pub fn begin_test(&self, room: Reserved) -> bool {
        let started = Moment::Run(Instant::now().into_std());
        let has_begun = self.test.send_if_modified(|test| {
            let is_done = test.as_ref().is_none_or(|test| test.ended.is_some());
            if is_done {
                *test = Some(Arc::new(ConnectionTest::new(started)));
            }
            is_done
        });
        if has_begun {
            room.send(Command::TestConnection);
        }
        has_begun
    }

    /// What the commit guard watches, as of now; changes of it can be waited for.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// What a new configuration means for the tunnel that stands now.
    pub fn reach(&self, before: &Configuration, after: &Configuration) -> Reach {
        let tunnel = self.standing.borrow().tunnel.clone();
        after.reach(before, tunnel.as_deref(), &self.findings.borrow())
    }

    /// Waits until the state is one that is asked for; `None` when the tunnel ends before.
    pub async fn wait_for(
        &self,
        wanted: impl FnMut(&Arc<CloudStatus>) -> bool,
    ) -> Option<Arc<CloudStatus>> {
        let mut status = self.status.clone();
        status
            .wait_for(wanted)
            .await
            .ok()
            .map(|status| status.clone())
    }

    /// Queues a notification of the module for the telemetry service: what happened beside the tunnel. Never waits.
    pub fn notify(&self, at: SystemTime, notification: &str) {
        self.telemetry.notify(at, notification);
    }

    /// The counters of a service's subconnection.
    pub fn traffic(&self, service: &str) -> Option<Traffic> {
        self.modules.traffic(service)
    }

    /// Where service modules register.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Both clocks, now.
    pub fn clocks(&self) -> Clocks {
        clocks(self.clock)
    }
}

/// Both clocks at once; `clock` is the device's.
pub fn clocks(clock: fn() -> SystemTime) -> Clocks {
    Clocks {
        instant: Instant::now().into_std(),
        date: clock(),
    }
}

/// The telemetry service prints the state from what the driver published last, with the counters of all modules in it.
pub(super) fn telemetry(
    print_state: PrintState,
    status: watch::Receiver<Arc<CloudStatus>>,
    modules: &Modules,
    clock: fn() -> SystemTime,
) -> Telemetry {
    // It is one of them: it must not keep them alive.
    let modules = modules.downgrade();
    let state = move || {
        let status = status.borrow().clone();
        let modules = modules.upgrade();
        let traffic = |service: &str| modules.as_ref()?.traffic(service);
        print_state(&status, clocks(clock), &traffic)
    };
    Telemetry::new(Box::new(state), clock)
}
