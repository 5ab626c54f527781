//! The NETCONF server on a real datastore and store, over in-memory streams and without a tunnel: no real time passes in
//! it, so its clock can be a paused one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use tether::datastore::changes::Changes;
use tether::datastore::driver::Handle;
use tether::datastore::edit::Sealer;
use tether::datastore::events::{Announcer, Bounds, Stream};
use tether::datastore::store::Store;
use tether::datastore::{Datastore, Parts};
use tether::model::error::RpcError;
use tether::model::schema::{ExtraModule, Schema};
use tether::model::settings::Limits;
use tether::model::tree::Tree;
use tether::netconf::clock::WallClock;
use tether::netconf::server::{Events, Server};
use tether::netconf::session::{Owed, Peer, Transport, serve};
use tether::netconf::subscription::Registry;
use tether::protocol::client::Client;
use tokio::io::DuplexStream;
use tokio::sync::watch;

use super::example_files;

const ADMIN: &str = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
    <groups><group><name>admin</name><user-name>admin</user-name></group></groups>
    <rule-list><name>admin</name><group>admin</group>
        <rule><name>all</name><module-name>*</module-name><access-operations>*</access-operations><action>permit</action></rule>
    </rule-list></nacm>"#;

/// Leaves every value as it is.
struct NoSecrets;

impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

/// A device without a tunnel; `admin` may do everything, others what access control leaves open.
pub struct Served {
    server: Server,
    /// What happens on it.
    pub stream: Stream,
    /// The limits of its sessions.
    pub limits: watch::Sender<Arc<Limits>>,
    /// The date, which goes with the timers.
    pub clock: WallClock,
    set: Arc<AtomicI64>,
    _stop: watch::Sender<bool>,
    _directory: TempDir,
}

/// A session with it.
pub type Session = Client<DuplexStream>;

impl Served {
    /// A device with access control and nothing else.
    pub fn start() -> Self {
        Self::start_with(Schema::load(&[]).unwrap(), ADMIN, Parts::default())
    }

    /// The same with the module for tests, these parts, and this configuration beside the access control.
    pub fn with_example(parts: Parts, config: &str) -> Self {
        let modules = example_files().into_iter().map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            ExtraModule::parse(text).unwrap()
        });
        let schema = Schema::load(&modules.collect::<Vec<_>>()).unwrap();
        Self::start_with(schema, &[ADMIN, config].concat(), parts)
    }

    /// A device with access control, and with these modules beside its own.
    pub fn with_modules(modules: &[ExtraModule]) -> Self {
        Self::start_with(Schema::load(modules).unwrap(), ADMIN, Parts::default())
    }

    /// A device with this configuration and these parts.
    pub fn start_with(schema: Schema, config: &str, parts: Parts) -> Self {
        let bounds = Bounds {
            events: 100,
            octets: 1 << 20,
        };
        Self::start_with_log(schema, config, parts, bounds)
    }

    /// The same; so much is remembered of what happens.
    pub fn start_with_log(schema: Schema, config: &str, mut parts: Parts, bounds: Bounds) -> Self {
        let directory = TempDir::new().unwrap();
        let (store, _) = Store::open(directory.path()).unwrap();
        let running = Tree::parse_config(schema, config).unwrap();
        let stream = Stream::new(SystemTime::now(), None, bounds, Vec::new());
        let changes = Changes::default();
        let date = SystemTime::now();
        let begin = tokio::time::Instant::now();
        let set = Arc::new(AtomicI64::new(0));
        let own = Arc::clone(&set);
        let clock = WallClock::new(move || {
            let set = TimeDelta::seconds(own.load(Ordering::Relaxed));
            (DateTime::<Utc>::from(date + begin.elapsed()) + set).into()
        });
        let events = Events {
            stream: stream.clone(),
            subscriptions: Registry::default(),
            changes: changes.clone(),
            clock: clock.clone(),
        };
        parts.providers.push(Box::new(events.subscriptions.clone()));
        parts.announce = Some(Announcer::start(schema, stream.clone(), changes).0);
        let datastore = Datastore::start(running, 1, Box::new(NoSecrets), parts).unwrap();
        let (handle, _) = Handle::start(datastore, Arc::new(store));
        let limits = watch::Sender::new(Arc::new(Limits::default()));
        let server = Server::new(handle, schema, limits.subscribe(), events);
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(server.clone().follow_state(stopping));
        Self {
            server,
            stream,
            limits,
            clock,
            set,
            _stop: stop,
            _directory: directory,
        }
    }

    /// Sets the date so many seconds ahead, or back.
    pub fn set_date(&self, seconds: i64) {
        self.set.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A stream on which a session of this user is served.
    pub fn dial(&self, user: &str) -> DuplexStream {
        self.dial_as(peer(user))
    }

    fn dial_as(&self, peer: Peer) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(
            theirs,
            peer,
            self.server.clone(),
            self.limits.subscribe(),
        ));
        ours
    }

    /// A session of this user.
    pub async fn login(&self, user: &str) -> Session {
        self.login_as(peer(user)).await
    }

    /// A session of whom the transport says this.
    pub async fn login_as(&self, peer: Peer) -> Session {
        Client::connect(self.dial_as(peer), Duration::from_secs(20))
            .await
            .unwrap()
    }
}

/// A user of whom the transport says nothing more.
pub fn peer(user: &str) -> Peer {
    Peer {
        user: user.into(),
        transport: Transport::Local,
        source: None,
        groups: Vec::new(),
        may_recover: false,
        owed: Owed::default(),
    }
}
