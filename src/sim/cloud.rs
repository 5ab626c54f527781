//! A reference cloud: the other end of the tunnel, for tests, the demo and the lab.
//!
//! Written from the protocol's page alone, with nothing of the device's own code, so that the two cannot agree on
//! the same mistake. One [`Cloud`] is a TLS server that keeps a register of devices, performs the eleven steps,
//! notes each of them as an [`Event`], and misbehaves on request, one [`Step`] at a time.
//!
//! In reading order: `connection` (TCP, TLS), `http` (requests), `authentication` with `digest`, `registration`,
//! `handshake` (the upgrades), `main_connection`, `subconnection`, `netconf` (managers on their way to a device); `registry` is what the cloud knows, `event` what
//! it saw.

mod authentication;
mod carry;
mod config;
mod connection;
mod describe;
mod digest;
mod event;
mod handshake;
mod http;
mod listener;
mod lock;
mod main_connection;
mod message;
mod misbehave;
mod netconf;
mod registration;
mod registry;
mod secret;
mod shared;
mod socket;
mod stream;
mod subconnection;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;

pub use config::{CloudConfig, ConfigError, Device, ServiceOffer};
pub use event::{Authentication, Channel, Counters, Event, Sink, WaitError, What};
pub use message::Notification;
pub use misbehave::{Misbehaviour, Step, WordsError};
pub use tls::{Flaw, Pem, TlsError};

use digest::DigestServer;
use event::History;
use listener::Listeners;
use lock::Lock;
use misbehave::Misbehaviours;
use netconf::Doors;
use registry::{Command, Registry};
use shared::Shared;
use tls::Identities;

/// Why a cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The certificates cannot be made or used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A control named a device that is not connected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ControlError {
    /// No main connection of this serial number.
    #[error("{0} has no main connection")]
    NoMain(String),
    /// No subconnection of this service.
    #[error("{serial} has no subconnection {service}")]
    NoService {
        /// The serial number.
        serial: String,
        /// The service.
        service: String,
    },
}

/// A running reference cloud. Dropping it ends it at once; [`Cloud::shutdown`] ends it in order.
pub struct Cloud {
    shared: Arc<Shared>,
    listeners: Listeners,
}

impl Cloud {
    /// Makes certificates unless they are given, and listens.
    ///
    /// # Errors
    /// An address is taken, or the certificates cannot be made or used.
    pub async fn start(config: CloudConfig) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            identities: Identities::new(&config.names, config.certificate.as_ref())?,
            history: History::new(config.sink.clone()),
            misbehaviours: Misbehaviours::new(),
            digest: Lock::new(DigestServer::new(&config.realm, config.nonce_lifetime)),
            registry: Lock::new(Registry::new(&config.devices)),
            services: Lock::new(config.services.clone()),
            advertise: Lock::new(config.advertise.clone()),
            subconnection_limit: Lock::new(config.subconnection_limit),
            connections: Lock::default(),
            last_connection: AtomicU64::new(0),
            doors: Doors::default(),
            config,
        });
        let addresses = shared.config.listen.clone();
        let mut listeners = Listeners::default();
        for address in addresses {
            listeners.open(&shared, address).await?;
        }
        Ok(Self { shared, listeners })
    }

    /// The first address listened on, with the real port; it stays the same while stopped.
    pub fn addr(&self) -> SocketAddr {
        self.addrs()
            .first()
            .copied()
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Every address listened on.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// Listens on one more address; returns it with the real port.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, StartError> {
        self.listeners.open(&self.shared, address).await
    }

    /// What a device must trust, PEM.
    pub fn ca_pem(&self) -> &str {
        self.shared.identities.authority()
    }

    /// Refuses TCP connections and ends those that are open, with 1001 when `in_order`, else with a reset.
    /// [`Cloud::resume`] listens again.
    pub async fn stop(&mut self, in_order: bool) {
        self.listeners.close(&self.shared).await;
        self.end_connections(in_order);
        self.listeners.finished(&self.shared).await;
    }

    /// Listens again on the addresses it had before [`Cloud::stop`]; bindings, codes, tokens and nonces are kept.
    ///
    /// # Errors
    /// Another process has taken a port meanwhile.
    pub async fn resume(&mut self) -> Result<(), StartError> {
        self.listeners.reopen(&self.shared).await
    }

    /// Stops with a reset and resumes, as a crash does: tokens and nonces are forgotten.
    ///
    /// # Errors
    /// As [`Cloud::resume`].
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.stop(false).await;
        self.forget_nonces();
        self.expire_tokens();
        self.resume().await
    }

    /// Ends it in order: WebSockets are closed with 1001, all within a few seconds.
    pub async fn shutdown(mut self) {
        self.stop(true).await;
    }

    /// Resets every TCP connection; goes on listening.
    pub fn kill_connections(&self) {
        self.end_connections(false);
    }

    fn end_connections(&self, in_order: bool) {
        for control in self.shared.connections.lock().values() {
            if in_order {
                control.drain();
            } else {
                control.reset();
            }
        }
    }
}

/// What was seen.
impl Cloud {
    /// The last few thousand events.
    pub fn events(&self) -> Vec<Event> {
        self.shared.history.events()
    }

    /// The number of the newest event, for [`Cloud::wait_after`].
    pub fn mark(&self) -> u64 {
        self.shared.history.newest()
    }

    /// How often each thing happened.
    pub fn counters(&self) -> Counters {
        self.shared.history.counters()
    }

    /// The first event of the history, past ones included, for which `matches` holds.
    ///
    /// # Errors
    /// There is none within `deadline`.
    pub async fn wait_for(
        &self,
        matches: impl FnMut(&Event) -> bool,
        deadline: Duration,
    ) -> Result<Event, WaitError> {
        self.shared.history.wait(0, matches, deadline).await
    }

    /// The first event after `mark` for which `matches` holds.
    ///
    /// # Errors
    /// There is none within `deadline`.
    pub async fn wait_after(
        &self,
        mark: u64,
        matches: impl FnMut(&Event) -> bool,
        deadline: Duration,
    ) -> Result<Event, WaitError> {
        self.shared.history.wait(mark, matches, deadline).await
    }

    /// The last telemetry notifications of a device, oldest first.
    pub fn telemetry(&self, serial: &str) -> Vec<Notification> {
        self.shared.registry.lock().telemetry(serial)
    }

    /// The last bytes received on a binary subconnection, at most 1 MiB.
    pub fn received(&self, serial: &str, service: &str) -> Vec<u8> {
        self.shared.registry.lock().received(serial, service)
    }

    /// Whether the device has a main connection.
    pub fn is_connected(&self, serial: &str) -> bool {
        self.shared.registry.lock().main(serial).is_some()
    }

    /// The services of the device's open subconnections.
    pub fn open_services(&self, serial: &str) -> Vec<String> {
        self.shared.registry.lock().open_services(serial)
    }

    /// Where managers reach the SSH server of a device; absent until its `netconf` came up for the first time.
    pub fn netconf_address(&self, serial: &str) -> Option<SocketAddr> {
        self.shared.doors.address(serial)
    }

    /// The user a device is bound to.
    pub fn bound_to(&self, serial: &str) -> Option<String> {
        self.shared.registry.lock().bound_to(serial)
    }

    /// The serial numbers known.
    pub fn serials(&self) -> Vec<String> {
        self.shared.registry.lock().serials()
    }
}

/// The register.
impl Cloud {
    /// Adds a device, or replaces one.
    pub fn add_serial(&self, device: &Device) {
        self.shared.registry.lock().add(device);
    }

    /// Forgets a device; an open connection of it stays.
    pub fn remove_serial(&self, serial: &str) {
        self.shared.registry.lock().remove(serial);
    }

    /// Changes a device's password; `None` lets it in unchallenged.
    pub fn set_password(&self, serial: &str, password: Option<&str>) {
        self.shared.registry.lock().set_password(serial, password);
    }

    /// Binds a device to a user, or to nobody.
    pub fn bind(&self, serial: &str, user: Option<&str>) {
        self.shared.registry.lock().bind(serial, user);
    }

    /// Adds a code that lifts the binding once.
    pub fn add_unbinding_code(&self, serial: &str, code: &str) {
        self.shared.registry.lock().add_code(serial, code);
    }

    /// Makes all nonces stale.
    pub fn forget_nonces(&self) {
        self.shared.digest.lock().forget();
    }

    /// Makes all tokens expire; those of live main connections still open subconnections.
    pub fn expire_tokens(&self) {
        self.shared.registry.lock().expire_tokens();
    }

    /// `host:port` for the URLs handed out from now on; `None` for the request's own.
    pub fn set_advertised(&self, authority: Option<&str>) {
        *self.shared.advertise.lock() = authority.map(str::to_owned);
    }

    /// Changes how many subconnections a device may have; those that stand stay.
    pub fn set_subconnection_limit(&self, limit: usize) {
        *self.shared.subconnection_limit.lock() = limit;
    }

    /// Replaces the list of services and sends it on every main connection.
    pub fn set_services(&self, services: impl IntoIterator<Item = ServiceOffer>) {
        *self.shared.services.lock() = services.into_iter().collect();
        for main in self.shared.registry.lock().mains() {
            main.order(Command::Relist);
        }
    }
}

/// What goes wrong, and orders to open connections.
impl Cloud {
    /// From now on does this wrong at this step, until cleared.
    pub fn set_misbehaviour(&self, step: Step, misbehaviour: Misbehaviour) {
        self.shared.misbehaviours.set(step, misbehaviour, u64::MAX);
    }

    /// Does this wrong at this step, the next `times` times.
    pub fn set_misbehaviour_times(&self, step: Step, misbehaviour: Misbehaviour, times: u64) {
        self.shared.misbehaviours.set(step, misbehaviour, times);
    }

    /// Does this step rightly again; all steps when `None`.
    pub fn clear_misbehaviour(&self, step: Option<Step>) {
        self.shared.misbehaviours.clear(step);
    }

    /// Sends a text message on the main connection.
    ///
    /// # Errors
    /// The device has no main connection.
    pub fn send_to(&self, serial: &str, text: impl Into<String>) -> Result<(), ControlError> {
        self.order(serial, Command::Text(text.into()))
    }

    /// Sends a text frame of any bytes on the main connection, UTF-8 or not.
    ///
    /// # Errors
    /// The device has no main connection.
    pub fn send_raw_text(&self, serial: &str, bytes: impl Into<Bytes>) -> Result<(), ControlError> {
        self.order(serial, Command::RawText(bytes.into()))
    }

    /// Sends a binary message on the main connection, where it has no place.
    ///
    /// # Errors
    /// The device has no main connection.
    pub fn send_binary(&self, serial: &str, bytes: impl Into<Bytes>) -> Result<(), ControlError> {
        self.order(serial, Command::Binary(bytes.into()))
    }

    /// Sends a WebSocket ping on the main connection.
    ///
    /// # Errors
    /// The device has no main connection.
    pub fn ping(&self, serial: &str) -> Result<(), ControlError> {
        self.order(serial, Command::Ping)
    }

    /// Closes the main connection with this code (RFC 6455 section 7.4).
    ///
    /// # Errors
    /// The device has no main connection.
    pub fn close(&self, serial: &str, code: u16) -> Result<(), ControlError> {
        self.order(
            serial,
            Command::Close {
                code,
                reason: "closed by the operator".to_owned(),
            },
        )
    }

    /// Sends `disconnect`; the device then closes by itself. `retry_after` is in whole seconds on the wire.
    ///
    /// # Errors
    /// The device has no main connection.
    pub fn disconnect(
        &self,
        serial: &str,
        reason: &str,
        retry_after: Duration,
    ) -> Result<(), ControlError> {
        self.order(
            serial,
            Command::Disconnect {
                reason: reason.to_owned(),
                retry_after: retry_after.as_secs(),
            },
        )
    }

    /// Sends a text message on a subconnection.
    ///
    /// # Errors
    /// The device has no such subconnection.
    pub fn send_text_to_service(
        &self,
        serial: &str,
        service: &str,
        text: impl Into<String>,
    ) -> Result<(), ControlError> {
        self.order_service(serial, service, Command::Text(text.into()))
    }

    /// Sends a binary message on a subconnection.
    ///
    /// # Errors
    /// The device has no such subconnection.
    pub fn send_to_service(
        &self,
        serial: &str,
        service: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<(), ControlError> {
        self.order_service(serial, service, Command::Binary(bytes.into()))
    }

    /// Closes a subconnection with this code (RFC 6455 section 7.4).
    ///
    /// # Errors
    /// The device has no such subconnection.
    pub fn close_service(
        &self,
        serial: &str,
        service: &str,
        code: u16,
    ) -> Result<(), ControlError> {
        let reason = "closed by the operator".to_owned();
        self.order_service(serial, service, Command::Close { code, reason })
    }

    /// Takes leave of the yamux session of `netconf` (go-away).
    ///
    /// # Errors
    /// The device has no such subconnection.
    pub fn go_away(&self, serial: &str) -> Result<(), ControlError> {
        self.order_service(serial, netconf::SERVICE, Command::GoAway)
    }

    fn order(&self, serial: &str, command: Command) -> Result<(), ControlError> {
        let registry = self.shared.registry.lock();
        let main = registry
            .main(serial)
            .ok_or_else(|| ControlError::NoMain(serial.to_owned()))?;
        main.order(command);
        Ok(())
    }

    fn order_service(
        &self,
        serial: &str,
        service: &str,
        command: Command,
    ) -> Result<(), ControlError> {
        let registry = self.shared.registry.lock();
        let handle = registry
            .service(serial, service)
            .ok_or_else(|| ControlError::NoService {
                serial: serial.to_owned(),
                service: service.to_owned(),
            })?;
        handle.order(command);
        Ok(())
    }
}
