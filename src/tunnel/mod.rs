//! Layer 2: the cloud connection. Start with [`machine`], the cloud connection without I/O; [`driver`] gives it a
//! network and a clock. This file is its face towards the datastore.
//!
//! A commit reaches the machine so: [`CloudConnection::prepare`] reads the new configuration and reserves room in the
//! driver's queue, which can fail; `apply` fills that room, which cannot; the driver tells the machine
//! [`Event::Target`](machine::Event::Target) and the rest of [`configuration::Configuration::events`].
pub mod backoff;
pub mod configuration;
pub mod driver;
pub mod machine;
pub mod net;
pub mod record;
pub mod service;
pub mod state;
pub mod subconnection;
pub mod target;
pub mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::datastore::guard::News;
use crate::datastore::store::Store;
use crate::datastore::subscriber::{
    ActionHandler, Change, ConfigSubscriber, Prepared, Reach, StateProvider, Telling,
};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::secret::SecretKey;
use crate::model::settings::{CloudSettings, DnsSettings, Secret};
use crate::model::status::{Clocks, CloudStatus, DeviceState};
use crate::model::tree::Tree;
use configuration::Configuration;
use driver::{Announce, Command, Committed, Handle, PrintState, Reserved};
use machine::Event;
use record::TunnelStore;

/// Under which the tunnel's record lies beside the configuration.
pub const RECORD_KEY: &str = "tunnel";

impl TunnelStore for Store {
    fn save(&self, record: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.put_meta(&[(RECORD_KEY.to_owned(), Some(record.to_vec()))])?;
        Ok(())
    }
}

/// The tunnel as a part of the agent: takes changes over, shows state, does actions. Cheap to clone.
#[derive(Clone)]
pub struct CloudConnection {
    handle: Handle,
    schema: Schema,
    key: Arc<SecretKey>,
    /// Resolvers and static hosts, of which there may be many, as running has them.
    names: Arc<Mutex<Arc<DnsSettings>>>,
}

impl CloudConnection {
    /// The face of a driver; `key` opens the secrets of the configuration.
    pub fn new(handle: Handle, schema: Schema, key: Arc<SecretKey>) -> Self {
        Self {
            handle,
            schema,
            key,
            names: Arc::default(),
        }
    }

    /// The state as of now; never waits.
    pub fn status(&self) -> Arc<CloudStatus> {
        self.handle.status()
    }

    /// The handlers of its actions, by schema path.
    pub fn actions(&self) -> [(&'static str, Box<dyn ActionHandler>); 3] {
        [
            (paths::RESET_TUNNEL, Box::new(ResetTunnel(self.clone()))),
            (paths::UNBIND, Box::new(Unbind(self.clone()))),
            (
                paths::TEST_CONNECTION,
                Box::new(TestConnection(self.clone())),
            ),
        ]
    }

    /// A driver's way to tell notifications: in the log, to the telemetry service, and to `others` with the tree of the
    /// notification and the present.
    pub fn announce(
        schema: Schema,
        others: impl Fn(std::time::SystemTime, &Tree) + Send + 'static,
    ) -> Announce {
        Box::new(
            move |told, clocks, telemetry| match state::notification(schema, told, clocks) {
                Ok(tree) => {
                    driver::announced(told);
                    telemetry.notify(clocks.date, &tree.to_json());
                    others(clocks.date, &tree);
                }
                Err(error) => tracing::warn!(%error, "a notification does not fit the model"),
            },
        )
    }

    /// A driver's way to print the state for the telemetry service.
    pub fn print_state(schema: Schema) -> PrintState {
        Box::new(move |status, clocks, traffic| {
            let mut tree = Tree::new(schema);
            write_state(&mut tree, status, clocks, traffic);
            (!tree.is_empty()).then(|| tree.to_json())
        })
    }

    /// Tells the cloud, by the telemetry service, a notification of the module that is not of the tunnel itself. Never waits.
    pub fn notify(&self, at: std::time::SystemTime, notification: &Tree) {
        self.handle.notify(at, &notification.to_json());
    }

    /// What the commit guard is told of the tunnel; never waits.
    pub fn news(&self) -> News {
        // In this order: the server is that of an establishment which is known, or a later one.
        let reached = self.handle.standing().borrow().reached;
        let status = self.status();
        News {
            reached,
            server: status.server.clone(),
            failure: status.failure,
        }
    }

    fn read(&self, tree: &Tree, dns: Arc<DnsSettings>) -> Result<Configuration, RpcError> {
        Ok(Configuration {
            cloud: CloudSettings::read(tree, &self.key)?,
            dns,
        })
    }

    fn names(&self) -> MutexGuard<'_, Arc<DnsSettings>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolvers and static hosts after a change; those of before if it does not touch them.
    fn names_after(&self, change: &Change<'_>) -> Arc<DnsSettings> {
        let before = Arc::clone(&self.names());
        if !change.at_start && !change.diff.touches(paths::DNS_RESOLVER) {
            return before;
        }
        let after = DnsSettings::read(change.new);
        match *before == after {
            true => before,
            false => Arc::new(after),
        }
    }

    fn tell(&self, event: Event) -> Result<Tree, RpcError> {
        self.handle
            .reserve()
            .ok_or_else(busy)?
            .send(Command::Event(event));
        Ok(Tree::new(self.schema))
    }
}

fn busy() -> RpcError {
    RpcError::application(
        ErrorTag::ResourceDenied,
        "the tunnel is not done with the changes before, try again",
    )
}

fn write_state(
    tree: &mut Tree,
    status: &CloudStatus,
    clocks: Clocks,
    traffic: &dyn Fn(&str) -> Option<state::Traffic>,
) {
    if let Err(error) = state::write(tree, status, clocks, traffic) {
        tracing::warn!(%error, "a part of the tunnel's state does not fit the model");
    }
}

/// Where what drives the connection is configured.
const READ: [&str; 2] = [paths::CLOUD, paths::DNS_RESOLVER];

impl ConfigSubscriber for CloudConnection {
    fn reads(&self) -> Option<Vec<&'static str>> {
        Some(READ.to_vec())
    }

    fn keeps(&self) -> &'static [&'static str] {
        &[paths::DNS_RESOLVER]
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        if !change.at_start && !READ.iter().any(|path| change.diff.touches(path)) {
            return Ok(Box::new(|| {}));
        }
        let new = self.read(change.new, self.names_after(change))?;
        let mut reach = Reach::Kept;
        if !change.at_start
            && let Ok(old) = self.read(change.old, Arc::clone(&self.names()))
        {
            if old == new {
                return Ok(Box::new(|| {}));
            }
            reach = self.handle.reach(&old, &new);
        }
        Ok(Box::new(Reconfiguration {
            room: self.handle.reserve().ok_or_else(busy)?,
            names: Arc::clone(&self.names),
            committed: Box::new(Committed {
                configuration: new,
                number: change.number,
                direction: change.direction,
            }),
            reach,
        }))
    }
}

/// A configuration that the driver has room for.
struct Reconfiguration {
    room: Reserved,
    /// Where the names are kept.
    names: Arc<Mutex<Arc<DnsSettings>>>,
    committed: Box<Committed>,
    reach: Reach,
}

impl Prepared for Reconfiguration {
    fn apply(self: Box<Self>) {
        let names = Arc::clone(&self.committed.configuration.dns);
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        self.room.send(Command::Configure(self.committed));
    }

    fn reach(&self) -> Reach {
        self.reach
    }
}

impl StateProvider for CloudConnection {
    fn module(&self) -> &'static str {
        "cloud-management"
    }

    fn state(&self, into: &mut Tree) {
        let status = self.handle.status();
        let clocks = self.handle.clocks();
        write_state(into, &status, clocks, &|service| {
            self.handle.traffic(service)
        });
        let test = self.handle.test().borrow().clone();
        if let Some(test) = test
            && let Err(error) = state::write_test(into, &test, clocks)
        {
            tracing::warn!(%error, "a test of the connection does not fit the model");
        }
    }

    fn telling(&self) -> Option<Telling> {
        Telling::by(self.handle.wakes(), &paths::CLOUD_UNSETTLED)
    }
}

/// `reset-tunnel`
struct ResetTunnel(CloudConnection);

impl ActionHandler for ResetTunnel {
    fn act(&mut self, _: &Tree) -> Result<Tree, RpcError> {
        self.0.tell(Event::Reset)
    }
}

/// `unbind`: "with the tunnel down the code stays pending".
struct Unbind(CloudConnection);

impl ActionHandler for Unbind {
    fn act(&mut self, input: &Tree) -> Result<Tree, RpcError> {
        let path = format!("{}/code", paths::UNBIND);
        let code = input.value(&path).ok_or_else(|| {
            RpcError::application(ErrorTag::MissingElement, "the unbinding code is missing")
                .at(path.clone())
                .info("bad-element", "code")
        })?;
        self.0.tell(Event::Unbind(Secret::new(code)))
    }
}

/// `test-connection`
struct TestConnection(CloudConnection);

impl ActionHandler for TestConnection {
    fn act(&mut self, _: &Tree) -> Result<Tree, RpcError> {
        let refused = |tag, words: &str| Err(RpcError::application(tag, words));
        if self.0.status().device == DeviceState::Idle {
            let words = "there is no server to walk to: none is configured or discovered";
            return refused(ErrorTag::OperationFailed, words);
        }
        let room = self.0.handle.reserve().ok_or_else(busy)?;
        match self.0.handle.begin_test(room) {
            true => Ok(Tree::new(self.0.schema)),
            false => refused(ErrorTag::InUse, "a test is under way"),
        }
    }
}
