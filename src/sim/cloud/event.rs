//! What happened at the cloud: events, their bounded history, counters, and waiting for an event.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::lock::Lock;

/// Events kept; the oldest is dropped beyond.
const HISTORY: usize = 8192;
/// Lines of the history that a failed wait quotes.
const QUOTED: usize = 40;

/// Which WebSocket of a device an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The main connection (subprotocol `cloud-connection.v1`).
    Main,
    /// The subconnection of this service (`cloud-service.<service>.v1`).
    Service(String),
}

/// How an authentication request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// 403 `serial-number-not-registered`.
    UnknownSerial,
    /// 401 with a challenge, because the request had no credentials.
    Challenged,
    /// 401 with `stale=true`: right password, but a nonce that is unknown or too old.
    Stale,
    /// 401 with `stale=true`: the nonce count did not rise.
    Replayed,
    /// 401 after wrong credentials.
    WrongPassword,
    /// 400 or 413: not the request that the protocol asks for.
    Malformed(String),
    /// 403 `bound-to-another-user`.
    BoundToAnotherUser,
    /// 200: the unbinding code in the request lifted the binding.
    CodeAccepted,
    /// 403 `code-invalid`.
    CodeInvalid,
    /// 200, with a token.
    Success {
        /// The nonce count of the credentials; absent without a password.
        nonce_count: Option<u32>,
    },
}

/// One step seen or done by the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The cloud listens here.
    Listening(SocketAddr),
    /// The cloud no longer listens here.
    Stopped(SocketAddr),
    /// A TCP connection was accepted.
    Accepted {
        /// The device's address and port.
        peer: SocketAddr,
        /// The address it dialled.
        local: SocketAddr,
    },
    /// A TCP connection beyond the limit was dropped.
    Refused(SocketAddr),
    /// The TLS handshake is complete.
    TlsUp {
        /// For example `TLSv1_3`.
        version: String,
        /// The name the device asked for (SNI), if any.
        server_name: Option<String>,
    },
    /// The TLS handshake failed, often because the device refused the certificate.
    TlsFailed(String),
    /// An HTTP request arrived.
    Request {
        /// Its method.
        method: String,
        /// Its path without the query.
        path: String,
    },
    /// Steps 1-2.
    Authentication(Authentication),
    /// Steps 3-4: 200.
    Registered {
        /// The session in the URL handed out.
        session: String,
        /// The services the device offers.
        services: Vec<String>,
        /// Why the last tunnel went down, as the device says.
        last_down_reason: Option<String>,
    },
    /// Steps 3-4: not 200.
    RegistrationRefused {
        /// The HTTP status.
        status: u16,
        /// Why.
        why: String,
    },
    /// Steps 5-6: the main connection is up.
    MainUp {
        /// HTTP requests on this TCP connection so far, the upgrade included.
        requests: u32,
        /// Round trips since the SYN: 1 (TCP), 1 or 2 (TLS) and one a request.
        round_trips: u32,
    },
    /// A subconnection is up.
    ServiceUp(String),
    /// An upgrade was not answered with 101.
    UpgradeRefused {
        /// The HTTP status.
        status: u16,
        /// Why.
        why: String,
    },
    /// Steps 7-8: the device asked for the list.
    ListRequested(Option<Vec<String>>),
    /// Steps 7-8: the list went out, asked for or not.
    ListSent(Vec<String>),
    /// A keepalive arrived.
    Keepalive {
        /// Its sequence number.
        sequence: u64,
        /// Whether it was answered.
        answered: bool,
    },
    /// An unbinding request was answered.
    Unbind {
        /// Its id.
        id: u64,
        /// Whether the code was right.
        accepted: bool,
    },
    /// A message of a type this cloud does not know; ignored.
    UnknownMessage(String),
    /// A WebSocket ping arrived (and was answered).
    Ping(Channel),
    /// A WebSocket pong arrived.
    Pong(Channel),
    /// A notification on the telemetry subconnection.
    Telemetry {
        /// The member beside `eventTime`, for example `cloud-management:connection-state-changed`.
        notification: String,
    },
    /// Managers reach the device here.
    NetconfDoor(SocketAddr),
    /// Bytes arrived on a binary subconnection.
    Bytes {
        /// The service.
        service: String,
        /// How many.
        length: usize,
    },
    /// `disconnect` was sent.
    DisconnectSent {
        /// Its reason.
        reason: String,
        /// Its `retry-after`, seconds.
        retry_after: u64,
    },
    /// The cloud closes a WebSocket.
    Closing {
        /// Which.
        channel: Channel,
        /// RFC 6455 section 7.4 code.
        code: u16,
        /// Its text.
        reason: String,
    },
    /// The device closed a WebSocket.
    PeerClosed {
        /// Which.
        channel: Channel,
        /// RFC 6455 section 7.4 code; 1005 when it sent none.
        code: u16,
        /// Its text.
        reason: String,
    },
    /// A WebSocket ended without a close frame.
    Lost {
        /// Which.
        channel: Channel,
        /// What was seen.
        error: String,
    },
    /// A misbehaviour was performed.
    Misbehaved {
        /// At which step, by name.
        step: String,
        /// Which one.
        what: String,
    },
    /// The TCP connection is over.
    Ended,
}

/// One line of the cloud's history.
#[derive(Clone, Debug)]
pub struct Event {
    /// Rises by one with each event, from 1.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// The TCP connection, counted from 1; 0 for the cloud itself.
    pub connection: u64,
    /// The serial number, once known on that connection.
    pub serial: Option<String>,
    /// What happened.
    pub what: What,
}

/// How often each thing happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// TCP connections accepted.
    pub connections: u64,
    /// TCP connections that are over.
    pub ended: u64,
    /// TLS handshakes completed.
    pub tls: u64,
    /// TLS handshakes failed.
    pub tls_failed: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Authentication requests, whatever the answer.
    pub authentications: u64,
    /// Challenges sent, stale ones included.
    pub challenges: u64,
    /// Tokens handed out.
    pub authenticated: u64,
    /// Registrations answered with 200.
    pub registrations: u64,
    /// Main connections that came up.
    pub mains: u64,
    /// Subconnections that came up.
    pub services: u64,
    /// Lists sent.
    pub lists: u64,
    /// Keepalives received.
    pub keepalives: u64,
    /// Telemetry notifications received.
    pub telemetry: u64,
    /// Messages of an unknown type.
    pub unknown_messages: u64,
    /// Misbehaviours performed.
    pub misbehaviours: u64,
}

impl Counters {
    fn count(&mut self, what: &What) {
        let counter = match what {
            What::Accepted { .. } => &mut self.connections,
            What::Ended => &mut self.ended,
            What::TlsUp { .. } => &mut self.tls,
            What::TlsFailed(_) => &mut self.tls_failed,
            What::Request { .. } => &mut self.requests,
            What::Authentication(outcome) => {
                self.authentications += 1;
                match outcome {
                    Authentication::Challenged
                    | Authentication::Stale
                    | Authentication::Replayed => &mut self.challenges,
                    Authentication::Success { .. } | Authentication::CodeAccepted => {
                        &mut self.authenticated
                    }
                    _ => return,
                }
            }
            What::Registered { .. } => &mut self.registrations,
            What::MainUp { .. } => &mut self.mains,
            What::ServiceUp(_) => &mut self.services,
            What::ListSent(_) => &mut self.lists,
            What::Keepalive { .. } => &mut self.keepalives,
            What::Telemetry { .. } => &mut self.telemetry,
            What::UnknownMessage(_) => &mut self.unknown_messages,
            What::Misbehaved { .. } => &mut self.misbehaviours,
            _ => return,
        };
        *counter += 1;
    }
}

/// The awaited event did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("no such event within {waited:?}; the last ones were:\n{recent}")]
pub struct WaitError {
    /// How long was waited.
    pub waited: Duration,
    /// The last lines of the history.
    pub recent: String,
}

/// Called with each event, in order; must not block.
pub type Sink = Arc<dyn Fn(&Event) + Send + Sync>;

struct Record {
    events: VecDeque<Event>,
    number: u64,
    counters: Counters,
}

/// The bounded history of a cloud.
pub(super) struct History {
    record: Lock<Record>,
    newest: watch::Sender<u64>,
    sink: Option<Sink>,
}

impl History {
    pub(super) fn new(sink: Option<Sink>) -> Self {
        Self {
            record: Lock::new(Record {
                events: VecDeque::new(),
                number: 0,
                counters: Counters::default(),
            }),
            newest: watch::Sender::new(0),
            sink,
        }
    }

    pub(super) fn add(&self, connection: u64, serial: Option<String>, what: What) {
        let mut record = self.record.lock();
        record.counters.count(&what);
        record.number += 1;
        let event = Event {
            number: record.number,
            at: SystemTime::now(),
            connection,
            serial,
            what,
        };
        tracing::debug!(target: "cloud", "{event}");
        if record.events.len() == HISTORY {
            record.events.pop_front();
        }
        record.events.push_back(event.clone());
        // The sink is called under the lock so that it sees the events in their order.
        if let Some(sink) = &self.sink {
            sink(&event);
        }
        let number = record.number;
        drop(record);
        self.newest.send_replace(number);
    }

    pub(super) fn newest(&self) -> u64 {
        self.record.lock().number
    }

    pub(super) fn counters(&self) -> Counters {
        self.record.lock().counters
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.record.lock().events.iter().cloned().collect()
    }

    /// The first event numbered above `after` for which `matches` holds.
    pub(super) async fn wait(
        &self,
        mut after: u64,
        mut matches: impl FnMut(&Event) -> bool,
        deadline: Duration,
    ) -> Result<Event, WaitError> {
        let mut newest = self.newest.subscribe();
        let search = async {
            loop {
                newest.borrow_and_update();
                if let Some(event) = self.first_after(&mut after, &mut matches) {
                    return event;
                }
                if newest.changed().await.is_err() {
                    // The sender is a field of self, so this is never reached; waiting keeps the deadline.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(deadline, search)
            .await
            .map_err(|_| WaitError {
                waited: deadline,
                recent: self.recent(),
            })
    }

    fn first_after(
        &self,
        after: &mut u64,
        matches: &mut impl FnMut(&Event) -> bool,
    ) -> Option<Event> {
        let record = self.record.lock();
        let found = record
            .events
            .iter()
            .filter(|e| e.number > *after)
            .find(|e| matches(e))
            .cloned();
        *after = record.number;
        found
    }

    fn recent(&self) -> String {
        let record = self.record.lock();
        let skipped = record.events.len().saturating_sub(QUOTED);
        let lines: Vec<String> = record
            .events
            .iter()
            .skip(skipped)
            .map(Event::to_string)
            .collect();
        lines.join("\n")
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main connection"),
            Self::Service(name) => write!(f, "subconnection {name}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.connection != 0 {
            write!(f, "#{} ", self.connection)?;
        }
        if let Some(serial) = &self.serial {
            write!(f, "{serial} ")?;
        }
        write!(f, "{}", self.what)
    }
}
