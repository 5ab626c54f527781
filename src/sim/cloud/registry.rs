//! What the cloud knows of its devices: passwords, bindings, tokens, sessions, and who is connected.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::config::Device;
use super::message::Notification;
use super::secret;
use super::stream::Control;

/// Tokens and sessions remembered for one device; the oldest is forgotten beyond.
const REMEMBERED: usize = 8;
/// Bytes kept for each binary subconnection; the oldest are dropped beyond.
const RECEIVED: usize = 1024 * 1024;

/// What a control or another connection asks of an open WebSocket.
#[derive(Debug)]
pub(super) enum Command {
    Text(String),
    /// A text message of any bytes, UTF-8 or not.
    RawText(Bytes),
    Binary(Bytes),
    Ping,
    Close {
        code: u16,
        reason: String,
    },
    Disconnect {
        reason: String,
        retry_after: u64,
    },
    /// Send the subconnection list again.
    Relist,
    /// Take leave of the yamux session of `netconf`.
    GoAway,
}

/// An open WebSocket as others see it.
pub(super) struct Handle {
    pub connection: u64,
    pub commands: mpsc::Sender<Command>,
    pub control: Arc<Control>,
}

impl Handle {
    /// Hands a command over; a WebSocket that does not even take commands is cut off.
    pub(super) fn order(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.control.reset();
        }
    }
}

struct Main {
    handle: Handle,
    token: String,
    /// Dropped with the main connection: that is how subconnections learn of its end.
    alive: watch::Sender<()>,
}

#[derive(Default)]
struct Record {
    password: Option<String>,
    bound_to: Option<String>,
    codes: BTreeSet<String>,
    spent_codes: BTreeSet<String>,
    tokens: VecDeque<String>,
    sessions: VecDeque<String>,
    main: Option<Main>,
    services: BTreeMap<String, Handle>,
    telemetry: VecDeque<Notification>,
    received: BTreeMap<String, VecDeque<u8>>,
}

/// Whether a device may go on after its credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Free,
    Bound,
    CodeAccepted,
    CodeInvalid,
}

/// How a new subconnection fares.
pub(super) enum Entry {
    /// It is in; completes when its main connection ends.
    In(watch::Receiver<()>),
    /// No main connection: 1008.
    NoMain,
    /// One too many: 1013.
    Full,
}

#[derive(Default)]
pub(super) struct Registry {
    devices: BTreeMap<String, Record>,
    tokens: HashMap<String, (String, Instant)>,
    sessions: HashMap<String, String>,
}

impl Registry {
    pub(super) fn new(devices: &[Device]) -> Self {
        let mut registry = Self::default();
        for device in devices {
            registry.add(device);
        }
        registry
    }

    /// Adds a device, or replaces password, binding and codes of one that exists.
    pub(super) fn add(&mut self, device: &Device) {
        let record = self
            .devices
            .entry(device.serial_number.clone())
            .or_default();
        record.password.clone_from(&device.password);
        record.bound_to.clone_from(&device.bound_to);
        record.codes.clone_from(&device.unbinding_codes);
        record.spent_codes.clear();
    }

    pub(super) fn remove(&mut self, serial: &str) {
        if let Some(record) = self.devices.remove(serial) {
            record
                .tokens
                .iter()
                .for_each(|token| drop(self.tokens.remove(token)));
            record
                .sessions
                .iter()
                .for_each(|session| drop(self.sessions.remove(session)));
        }
    }

    pub(super) fn serials(&self) -> Vec<String> {
        self.devices.keys().cloned().collect()
    }

    /// The password of a known device, which may have none.
    pub(super) fn password(&self, serial: &str) -> Option<Option<String>> {
        self.devices
            .get(serial)
            .map(|record| record.password.clone())
    }

    pub(super) fn set_password(&mut self, serial: &str, password: Option<&str>) {
        if let Some(record) = self.devices.get_mut(serial) {
            record.password = password.map(str::to_owned);
        }
    }

    pub(super) fn bind(&mut self, serial: &str, user: Option<&str>) {
        if let Some(record) = self.devices.get_mut(serial) {
            record.bound_to = user.map(str::to_owned);
        }
    }

    pub(super) fn bound_to(&self, serial: &str) -> Option<String> {
        self.devices.get(serial)?.bound_to.clone()
    }

    pub(super) fn add_code(&mut self, serial: &str, code: &str) {
        if let Some(record) = self.devices.get_mut(serial) {
            record.codes.insert(code.to_owned());
        }
    }

    /// Judges the binding at authentication, with the unbinding code if there is one.
    pub(super) fn admit(&mut self, serial: &str, user: &str, code: Option<&str>) -> Admission {
        let bound = self.bound_to(serial).is_some_and(|bound| bound != user);
        match (bound, code) {
            (false, _) => Admission::Free,
            (true, None) => Admission::Bound,
            (true, Some(code)) if self.unbind(serial, code) => Admission::CodeAccepted,
            (true, Some(_)) => Admission::CodeInvalid,
        }
    }

    /// Lifts the binding if the code is right. A code that did so before is right again while the device is free:
    /// its first answer may have been lost.
    pub(super) fn unbind(&mut self, serial: &str, code: &str) -> bool {
        let Some(record) = self.devices.get_mut(serial) else {
            return false;
        };
        if record.codes.remove(code) {
            record.spent_codes.insert(code.to_owned());
            record.bound_to = None;
            return true;
        }
        record.bound_to.is_none() && record.spent_codes.contains(code)
    }

    /// A new bearer token.
    pub(super) fn issue_token(&mut self, serial: &str, lifetime: Duration, now: Instant) -> String {
        let token = secret::random();
        self.tokens
            .insert(token.clone(), (serial.to_owned(), now + lifetime));
        if let Some(record) = self.devices.get_mut(serial) {
            record.tokens.push_back(token.clone());
            if record.tokens.len() > REMEMBERED
                && let Some(oldest) = record.tokens.pop_front()
            {
                self.tokens.remove(&oldest);
            }
        }
        token
    }

    /// The device of a token that is not expired.
    pub(super) fn token_owner(&self, token: &str, now: Instant) -> Option<&str> {
        let (serial, expires) = self.tokens.get(token)?;
        (now < *expires).then_some(serial)
    }

    /// Whether the token is that of the device's live main connection; then its age does not matter.
    pub(super) fn is_token_of_main(&self, serial: &str, token: &str) -> bool {
        let main = self
            .devices
            .get(serial)
            .and_then(|record| record.main.as_ref());
        main.is_some_and(|main| main.token == token)
    }

    /// Makes every token handed out so far expire.
    pub(super) fn expire_tokens(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn open_session(&mut self, serial: &str) -> String {
        let session = secret::random();
        self.sessions.insert(session.clone(), serial.to_owned());
        if let Some(record) = self.devices.get_mut(serial) {
            record.sessions.push_back(session.clone());
            if record.sessions.len() > REMEMBERED
                && let Some(oldest) = record.sessions.pop_front()
            {
                self.sessions.remove(&oldest);
            }
        }
        session
    }

    pub(super) fn session_owner(&self, session: &str) -> Option<&str> {
        self.sessions.get(session).map(String::as_str)
    }

    /// Enters a main connection; the one it evicts is returned.
    pub(super) fn enter_main(
        &mut self,
        serial: &str,
        handle: Handle,
        token: String,
    ) -> Option<Handle> {
        let record = self.devices.get_mut(serial)?;
        let main = Main {
            handle,
            token,
            alive: watch::Sender::new(()),
        };
        record.main.replace(main).map(|evicted| evicted.handle)
    }

    pub(super) fn leave_main(&mut self, serial: &str, connection: u64) {
        if let Some(record) = self.devices.get_mut(serial) {
            record
                .main
                .take_if(|main| main.handle.connection == connection);
        }
    }

    pub(super) fn main(&self, serial: &str) -> Option<&Handle> {
        self.devices
            .get(serial)?
            .main
            .as_ref()
            .map(|main| &main.handle)
    }

    pub(super) fn mains(&self) -> impl Iterator<Item = &Handle> {
        self.devices
            .values()
            .filter_map(|record| record.main.as_ref())
            .map(|main| &main.handle)
    }

    /// Enters a subconnection. An older one of the same service is closed: the device has given it up.
    pub(super) fn enter_service(
        &mut self,
        serial: &str,
        service: &str,
        handle: Handle,
        limit: usize,
    ) -> Entry {
        let Some((record, alive)) = self.devices.get_mut(serial).and_then(|record| {
            let alive = record.main.as_ref()?.alive.subscribe();
            Some((record, alive))
        }) else {
            return Entry::NoMain;
        };
        if !record.services.contains_key(service) && record.services.len() >= limit {
            return Entry::Full;
        }
        if let Some(older) = record.services.insert(service.to_owned(), handle) {
            older.order(Command::Close {
                code: 1001,
                reason: "replaced".to_owned(),
            });
        }
        Entry::In(alive)
    }

    pub(super) fn leave_service(&mut self, serial: &str, service: &str, connection: u64) {
        if let Some(record) = self.devices.get_mut(serial)
            && record
                .services
                .get(service)
                .is_some_and(|handle| handle.connection == connection)
        {
            record.services.remove(service);
        }
    }

    pub(super) fn service(&self, serial: &str, service: &str) -> Option<&Handle> {
        self.devices.get(serial)?.services.get(service)
    }

    /// Names of the open subconnections.
    pub(super) fn open_services(&self, serial: &str) -> Vec<String> {
        self.devices
            .get(serial)
            .map(|record| record.services.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn keep_telemetry(&mut self, serial: &str, notification: Notification, kept: usize) {
        if let Some(record) = self.devices.get_mut(serial) {
            record.telemetry.push_back(notification);
            let surplus = record.telemetry.len().saturating_sub(kept);
            record.telemetry.drain(..surplus);
        }
    }

    pub(super) fn telemetry(&self, serial: &str) -> Vec<Notification> {
        self.devices
            .get(serial)
            .map(|record| record.telemetry.iter().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn keep_bytes(&mut self, serial: &str, service: &str, bytes: &[u8]) {
        if let Some(record) = self.devices.get_mut(serial) {
            let kept = record.received.entry(service.to_owned()).or_default();
            kept.extend(bytes);
            let surplus = kept.len().saturating_sub(RECEIVED);
            kept.drain(..surplus);
        }
    }

    pub(super) fn received(&self, serial: &str, service: &str) -> Vec<u8> {
        let kept = self
            .devices
            .get(serial)
            .and_then(|record| record.received.get(service));
        kept.map(|bytes| bytes.iter().copied().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Registry {
        Registry::new(&[Device::new("S").bound_to("other").unbinding_code("c")])
    }

    #[test]
    fn only_the_right_code_lifts_a_binding_and_only_once() {
        let mut registry = bound();
        assert_eq!(registry.admit("S", "me", None), Admission::Bound);
        assert_eq!(registry.admit("S", "me", Some("x")), Admission::CodeInvalid);
        assert_eq!(
            registry.admit("S", "me", Some("c")),
            Admission::CodeAccepted
        );
        assert_eq!(registry.admit("S", "me", None), Admission::Free);
        assert!(
            registry.unbind("S", "c"),
            "its first answer may have been lost"
        );
        registry.bind("S", Some("third"));
        assert_eq!(registry.admit("S", "me", Some("c")), Admission::CodeInvalid);
    }

    #[test]
    fn a_device_bound_to_this_clouds_user_is_free() {
        let mut registry = Registry::new(&[Device::new("S").bound_to("me")]);
        assert_eq!(registry.admit("S", "me", None), Admission::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_expire_and_are_bounded() {
        let mut registry = bound();
        let now = Instant::now();
        let first = registry.issue_token("S", Duration::from_secs(10), now);
        assert_eq!(registry.token_owner(&first, now), Some("S"));
        assert_eq!(
            registry.token_owner(&first, now + Duration::from_secs(10)),
            None
        );
        for _ in 0..REMEMBERED {
            registry.issue_token("S", Duration::from_secs(10), now);
        }
        assert_eq!(registry.token_owner(&first, now), None);
        assert_eq!(registry.tokens.len(), REMEMBERED);
    }
}
