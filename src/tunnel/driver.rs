//! The task that drives the machine: events in, actions out. It decides nothing.
//!
//! One loop: wait for a command, a reply or the machine's next deadline; tell the machine; do what it orders; publish
//! the status. Whatever takes time runs in tasks of its own ([`line`] for the main connection and the probe, [`service_line`] for
//! each subconnection), which are told by bounded queues without waiting and end when they are dropped.

mod connection_test;
mod discovery;
mod expiry;
mod gate;
mod handle;
mod line;
mod lines;
mod meter;
mod saver;
mod service_line;
mod steps;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::datastore;
use crate::dhcp::findings::Findings;
use crate::model::network::Network;
use crate::model::settings::DnsSettings;
use crate::model::status::{Clocks, CloudStatus};
use crate::tunnel::configuration::Configuration;
use crate::tunnel::machine::event::SubconnectionReply;
use crate::tunnel::machine::{Action, Attempt, Event, Line, Notification, Reply, Start, Tunnel};
use crate::tunnel::net::Surroundings;
use crate::tunnel::record::{Record, TunnelStore};
use crate::tunnel::service::telemetry::{SERVICE as TELEMETRY, Telemetry};
use crate::tunnel::service::{Modules, Order as ServiceOrder, Registration};
use crate::tunnel::state::Traffic;
use crate::tunnel::wire::DeviceMessage;
pub use gate::Answered;
use handle::telemetry;
pub use handle::{Command, Committed, Handle, Reserved, Standing, clocks};
pub use line::Identity;
use line::{Device, Order, Request};
use lines::Lines;
use meter::Meter;
use saver::{Stored, Version};
pub(super) use steps::announced;

/// Commands that wait; a commit that finds no room is refused.
const COMMANDS: usize = 64;
/// Replies that wait; the connection that has one more waits with it.
const REPLIES: usize = 64;
/// Orders that wait for one connection; one that does not take them is lost.
const ORDERS: usize = 16;
/// How long connections have to say goodbye when the agent ends.
const STOP_BOUND: Duration = Duration::from_secs(3);
/// How long the last record has to be stored when the agent ends.
const SAVE_BOUND: Duration = Duration::from_secs(1);

/// Called with each notification; must not wait.
pub type Announce = Box<dyn Fn(&Notification, Clocks, &Telemetry) + Send>;
/// Prints the state container as JSON; must not wait.
pub type PrintState =
    Box<dyn Fn(&CloudStatus, Clocks, &TrafficOf<'_>) -> Option<String> + Send + Sync>;
/// The counters of a service's subconnection.
pub type TrafficOf<'a> = dyn Fn(&str) -> Option<Traffic> + 'a;

/// What a driver starts from.
pub struct Setup {
    /// Seed and interval of the machine; its memory is that of `record`.
    pub seed: u64,
    /// Who the device is.
    pub identity: Identity,
    /// Clock, hosts file, build date.
    pub surroundings: Surroundings,
    /// What DHCP has found.
    pub findings: watch::Receiver<Arc<Findings>>,
    /// What the device's network is like; each change of it may be what a retry waits for.
    pub network: watch::Receiver<Arc<Network>>,
    /// What was stored.
    pub record: Record,
    /// Where it is stored.
    pub store: Arc<dyn TunnelStore>,
    /// Takes notifications.
    pub announce: Announce,
    /// For the telemetry service.
    pub print_state: PrintState,
    /// The service modules that there are from the start on; telemetry joins them.
    pub modules: Modules,
    /// What a command that may take the tunnel down waits for, a second at most.
    pub answered: Answered,
}

/// Starts the tunnel, which has no target until it is configured. The task ends once `stop` says so or every handle is
/// gone, after it has closed its connections, in [`STOP_BOUND`] at most.
pub fn start(setup: Setup, stop: watch::Receiver<bool>) -> (Handle, JoinHandle<()>) {
    let (commands, commanded) = mpsc::channel(COMMANDS);
    let defaults = Configuration::default();
    let tunnel = Tunnel::new(Start {
        seed: setup.seed,
        keepalive_interval: defaults.cloud.keepalive_interval,
        unbinding: setup.record.unbinding.clone(),
        last_down: setup.record.last_down,
    });
    let (status, watched) = watch::channel(Arc::new(tunnel.status()));
    let test = watch::Sender::default();
    let clock = setup.surroundings.clock;
    let modules = setup.modules;
    let telemetry = Arc::new(telemetry(
        setup.print_state,
        watched.clone(),
        &modules,
        clock,
    ));
    // Whoever has taken its name goes first.
    let _ = modules
        .register(TELEMETRY, telemetry.clone())
        .map(Registration::for_good);
    let (replies, replied) = mpsc::channel(REPLIES);
    let (records, to_save) = watch::channel(Version {
        number: 0,
        record: setup.record,
    });
    let (saved, stored) = watch::channel(0);
    let saver = tokio::spawn(saver::save(to_save, saved, setup.store));
    let (standing, stands) = watch::channel(Standing::default());
    let findings = setup.findings.clone();
    let driver = Driver {
        tunnel,
        device: Arc::new(Device {
            identity: setup.identity,
            surroundings: setup.surroundings,
            nonces: Mutex::default(),
        }),
        interval: watch::Sender::new(defaults.cloud.keepalive_interval),
        dns: Arc::clone(&defaults.dns),
        configuration: defaults,
        findings: setup.findings,
        network: setup.network,
        modules: modules.clone(),
        test: test.clone(),
        testing: None,
        lines: Lines::default(),
        subconnections: HashMap::new(),
        tasks: JoinSet::new(),
        replies: Replies(replies),
        status,
        standing,
        number: 0,
        records,
        stored,
        telemetry: Arc::clone(&telemetry),
        announce: setup.announce,
        meter: Meter::new(Instant::now().into_std()),
    };
    let handle = Handle {
        commands,
        status: watched,
        test,
        standing: stands,
        findings,
        modules,
        telemetry,
        clock,
    };
    let (passed, admitted) = mpsc::channel(1);
    tokio::spawn(gate::pass(commanded, passed, setup.answered));
    let task = tokio::spawn(async move {
        driver.run(admitted, replied, stop).await;
        // The last record is on its way; a disk that hangs does not keep the agent from ending.
        if tokio::time::timeout(SAVE_BOUND, saver).await.is_err() {
            warn!("the disk took too long to store what the tunnel remembers");
        }
    });
    (handle, task)
}

/// Where the tasks report.
#[derive(Clone)]
struct Replies(mpsc::Sender<Event>);

impl Replies {
    async fn main(&self, attempt: Attempt, reply: Reply) {
        self.tell(Event::Reply(attempt, reply)).await;
    }

    async fn subconnection(&self, attempt: Attempt, reply: SubconnectionReply) {
        self.tell(Event::SubconnectionReply(attempt, reply)).await;
    }

    async fn tell(&self, event: Event) {
        // The driver is gone only when the agent ends, and then nobody needs to know.
        let _ = self.0.send(event).await;
    }
}

/// A task with a connection, and how it is told.
struct Running<O> {
    abort: AbortHandle,
    orders: mpsc::Sender<O>,
}

struct Driver {
    tunnel: Tunnel,
    device: Arc<Device>,
    configuration: Configuration,
    findings: watch::Receiver<Arc<Findings>>,
    network: watch::Receiver<Arc<Network>>,
    dns: Arc<DnsSettings>,
    interval: watch::Sender<Duration>,
    modules: Modules,
    test: connection_test::Shown,
    testing: Option<AbortHandle>,
    lines: Lines,
    subconnections: HashMap<Attempt, Running<ServiceOrder>>,
    tasks: JoinSet<()>,
    replies: Replies,
    status: watch::Sender<Arc<CloudStatus>>,
    standing: watch::Sender<Standing>,
    /// That of the last change of running which the machine works by.
    number: datastore::Version,
    records: watch::Sender<Version>,
    /// The number of the last record on the disk.
    stored: watch::Receiver<u64>,
    telemetry: Arc<Telemetry>,
    announce: Announce,
    meter: Meter,
}

impl Driver {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut replies: mpsc::Receiver<Event>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut changes = self.modules.changes();
        loop {
            let due = self.tunnel.poll_timeout().map(Instant::from_std);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some(event) = replies.recv() => self.tell(event),
                () = changes.next() => self.modules_changed(),
                () = until(due) => self.tell(Event::Tick),
                Ok(()) = self.findings.changed() => self.discover(),
                Ok(()) = self.network.changed() => {
                    let network = self.network.borrow_and_update().clone();
                    self.tell(Event::NetworkChanged(network));
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        warn!(%error, "a connection to the cloud ended badly");
                    }
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // Whoever still has something to report must not wait for us to read it.
        drop(replies);
        self.tell(Event::Shutdown);
        self.wait_for_goodbyes().await;
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Configure(committed) => self.configure(*committed),
            Command::Event(event) => self.tell(event),
            Command::TestConnection => self.test_connection(),
        }
    }

    fn configure(&mut self, committed: Committed) {
        let before = std::mem::replace(&mut self.configuration, committed.configuration);
        self.dns = Arc::clone(&self.configuration.dns);
        let interval = self.configuration.cloud.keepalive_interval;
        self.interval.send_if_modified(|known| {
            let changed = *known != interval;
            *known = interval;
            changed
        });
        let discovered = self.discovered();
        let modules = self.modules.names();
        let events = self
            .configuration
            .events(&before, &modules, &discovered, committed.direction);
        for event in events {
            self.tell(event);
        }
        // Not before the machine knows it all: until then the tunnel may be one of the target before.
        self.number = committed.number;
        self.publish_standing();
    }

    fn modules_changed(&mut self) {
        let services = self.configuration.services(&self.modules.names());
        self.tell(Event::Services(services));
    }

    /// Tells the machine, does what it orders, publishes what has become of it.
    fn tell(&mut self, event: Event) {
        let actions = self.tunnel.handle(event, Instant::now().into_std());
        for failure in self.tunnel.failures() {
            steps::failed(failure);
            meter::failed(failure);
        }
        // Those who are told of a change look at the status, so it comes first.
        self.publish();
        for action in actions {
            self.perform(action);
        }
    }

    fn publish(&mut self) {
        let mut status = self.tunnel.status();
        status.discovered = self.discovered_status();
        let now = Instant::now().into_std();
        self.meter.observe(&self.status.borrow(), &status, now);
        self.status.send_if_modified(|published| {
            let changed = **published != status;
            if changed {
                steps::tell(published, &status);
                *published = Arc::new(status);
            }
            changed
        });
        self.publish_standing();
    }

    fn publish_standing(&self) {
        let standing = self.tunnel.standing();
        self.standing.send_if_modified(|published| {
            let known = published.tunnel.as_deref();
            let is_news = known.map(|(target, way)| (target, *way)) != standing;
            if is_news {
                published.tunnel = standing.map(|(target, way)| Arc::new((target.clone(), way)));
            }
            let reaches = standing.is_some() && published.reached != self.number;
            if reaches {
                published.reached = self.number;
            }
            is_news || reaches
        });
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Resolve {
                attempt,
                line,
                endpoint,
            } => self.look_up(line, attempt, endpoint),
            Action::Connect {
                attempt,
                line,
                endpoint,
                addresses,
            } => self.connect(line, attempt, endpoint, addresses),
            Action::Authenticate {
                attempt,
                line,
                password,
                unbinding_code,
            } => {
                let stored = unbinding_code.is_some().then(|| self.last_stored());
                let request = Request::Authenticate {
                    password,
                    unbinding_code,
                    stored,
                };
                self.request(line, attempt, request);
            }
            Action::Register {
                attempt,
                line,
                token,
                services,
                last_down,
            } => {
                let request = Request::Register {
                    token,
                    services,
                    last_down,
                };
                self.request(line, attempt, request);
            }
            Action::Upgrade {
                attempt,
                url,
                token,
            } => self.request(Line::Main, attempt, Request::Upgrade { url, token }),
            Action::Send(message) => {
                let is_code = matches!(message, DeviceMessage::Unbind { .. });
                let stored = is_code.then(|| self.last_stored());
                self.order(Line::Main, Order::Send { message, stored });
            }
            Action::Close(code) => self.close(code),
            Action::Promote => self.promote(),
            Action::Abort(line) => self.abort(line),
            other => self.perform_beside(other),
        }
    }

    /// What is not about the main connection.
    fn perform_beside(&mut self, action: Action) {
        match action {
            Action::OpenSubconnection {
                attempt,
                service,
                url,
                endpoint,
                token,
            } => self.open(service_line::Opening {
                attempt,
                service,
                url,
                endpoint,
                token,
                dns: self.dns.clone(),
                interval: self.interval.subscribe(),
            }),
            Action::PingSubconnection(attempt) => {
                if let Some(running) = self.subconnections.get(&attempt) {
                    // One that takes no orders is stuck; the machine's clock of silence ends it.
                    let _ = running.orders.try_send(ServiceOrder::Ping);
                }
            }
            Action::CloseSubconnection(attempt, code) => {
                if let Some(running) = self.subconnections.remove(&attempt)
                    && running.orders.try_send(ServiceOrder::Close(code)).is_err()
                {
                    running.abort.abort();
                }
            }
            Action::SaveUnbinding(unbinding) => {
                self.remember(|record| record.unbinding = unbinding);
            }
            Action::SaveLastDown(last_down) => {
                self.remember(|record| record.last_down = Some(last_down));
            }
            Action::Notify(told) => {
                let clocks = clocks(self.device.surroundings.clock);
                (self.announce)(&told, clocks, &self.telemetry);
            }
            main => debug!(?main, "an action of the main connection came here"),
        }
    }

    fn open(&mut self, opening: service_line::Opening) {
        self.subconnections
            .retain(|_, running| !running.abort.is_finished());
        let attempt = opening.attempt;
        let Some(module) = self.modules.get(&opening.service) else {
            // It has just gone, which the machine is told next; told from a task, since the queue may be full.
            let replies = self.replies.clone();
            self.tasks.spawn(async move {
                replies
                    .subconnection(attempt, SubconnectionReply::Lost)
                    .await;
            });
            return;
        };
        let (orders, ordered) = mpsc::channel(ORDERS);
        let task = service_line::run(
            self.device.clone(),
            module,
            opening,
            ordered,
            self.replies.clone(),
        );
        let abort = self.tasks.spawn(task);
        self.subconnections
            .insert(attempt, Running { abort, orders });
    }

    fn remember(&self, change: impl FnOnce(&mut Record)) {
        let clocks = clocks(self.device.surroundings.clock);
        self.records.send_modify(|version| {
            version.number += 1;
            change(&mut version.record);
            version.record = std::mem::take(&mut version.record).dated(clocks);
        });
    }

    /// For a code, which leaves only once the record with it is stored: else it would have another number, or none, after
    /// a crash (cloud-protocol.md, "Unbinding").
    fn last_stored(&self) -> Stored {
        Stored::new(self.records.borrow().number, self.stored.clone())
    }

    async fn wait_for_goodbyes(&mut self) {
        if let Some(testing) = &self.testing {
            testing.abort();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_BOUND, all).await.is_err() {
            debug!("the cloud took too long to say goodbye");
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
