//! What all connections of one cloud share, and what one connection carries through its layers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::config::{CloudConfig, ServiceOffer};
use super::digest::DigestServer;
use super::event::{Channel, History, What};
use super::lock::Lock;
use super::message::{CloudMessage, ListedService};
use super::misbehave::{Misbehaviour, Misbehaviours, Step};
use super::netconf::Doors;
use super::registry::Registry;
use super::stream::{Control, Pace};
use super::tls::Identities;

/// One cloud, as its connections see it.
pub(super) struct Shared {
    pub config: CloudConfig,
    pub identities: Identities,
    pub history: History,
    pub misbehaviours: Misbehaviours,
    pub digest: Lock<DigestServer>,
    pub registry: Lock<Registry>,
    pub services: Lock<Vec<ServiceOffer>>,
    pub advertise: Lock<Option<String>>,
    pub subconnection_limit: Lock<usize>,
    pub connections: Lock<BTreeMap<u64, Arc<Control>>>,
    pub last_connection: AtomicU64,
    pub doors: Doors,
}

impl Shared {
    /// The next connection's number, from 1.
    pub(super) fn number(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One TCP connection on its way through TLS, HTTP and WebSocket.
pub(super) struct Conversation {
    pub shared: Arc<Shared>,
    pub number: u64,
    pub control: Arc<Control>,
    /// Shapes the bytes above TLS.
    pub pace: Pace,
    serial: Lock<Option<String>>,
    requests: AtomicU32,
    handshake_round_trips: AtomicU32,
}

impl Conversation {
    pub(super) fn new(shared: Arc<Shared>, number: u64, control: Arc<Control>) -> Self {
        Self {
            shared,
            number,
            control,
            pace: Pace::new(),
            serial: Lock::new(None),
            requests: AtomicU32::new(0),
            handshake_round_trips: AtomicU32::new(0),
        }
    }

    /// Adds an event of this connection to the history.
    pub(super) fn note(&self, what: What) {
        let serial = self.serial.lock().clone();
        self.shared.history.add(self.number, serial, what);
    }

    /// The device is now known to be this one.
    pub(super) fn identify(&self, serial: &str) {
        *self.serial.lock() = Some(serial.to_owned());
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_handshake_round_trips(&self, round_trips: u32) {
        self.handshake_round_trips
            .store(round_trips, Ordering::Relaxed);
    }

    /// The event that the main connection is up, with what it took.
    pub(super) fn main_up(&self) -> What {
        let requests = self.requests.load(Ordering::Relaxed);
        let round_trips = self.handshake_round_trips.load(Ordering::Relaxed) + requests;
        What::MainUp {
            requests,
            round_trips,
        }
    }

    /// What is to go wrong at this step, if anything; noted.
    pub(super) fn misbehaviour(&self, step: Step) -> Option<Misbehaviour> {
        let taken = self.shared.misbehaviours.take(step)?;
        let what = abbreviated(&taken);
        self.note(What::Misbehaved {
            step: step.to_string(),
            what,
        });
        Some(taken)
    }

    /// The list for a device that came by this `host:port` with this session.
    pub(super) fn list(&self, authority: &str, session: &str) -> Vec<ListedService> {
        let offers = self.shared.services.lock();
        let listed = offers.iter().map(|offer| {
            let own = || {
                let revision = if offer.revision == 0 {
                    String::new()
                } else {
                    format!("&revision={}", offer.revision)
                };
                format!(
                    "wss://{authority}/cloud/v1/service/{}?session={session}{revision}",
                    offer.name
                )
            };
            ListedService {
                service: offer.name.clone(),
                url: offer.url.clone().unwrap_or_else(own),
            }
        });
        listed.collect()
    }

    /// Notes a list about to be sent and makes the message of it.
    pub(super) fn list_message(&self, services: Vec<ListedService>) -> CloudMessage {
        self.note(What::ListSent(
            services.iter().map(|s| s.service.clone()).collect(),
        ));
        CloudMessage::Subconnections { services }
    }
}

/// A misbehaviour for the log, without the megabyte of text it may carry.
fn abbreviated(misbehaviour: &Misbehaviour) -> String {
    let mut text = format!("{misbehaviour:?}");
    if let Some((end, _)) = text.char_indices().nth(80) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The entry of an open WebSocket in the register; dropping it takes the entry out, however the connection ended.
pub(super) struct Presence {
    pub shared: Arc<Shared>,
    pub serial: String,
    pub channel: Channel,
    /// The connection's number.
    pub connection: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut registry = self.shared.registry.lock();
        match &self.channel {
            Channel::Main => registry.leave_main(&self.serial, self.connection),
            Channel::Service(service) => {
                registry.leave_service(&self.serial, service, self.connection)
            }
        }
    }
}
