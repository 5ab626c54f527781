//! Steps 9-11: the subconnection of one service.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use tokio::sync::{mpsc, watch};

use super::event::{Channel, What};
use super::main_connection::COMMANDS;
use super::message::Notification;
use super::misbehave::{Misbehaviour, Step};
use super::netconf;
use super::registry::{Command, Entry, Handle};
use super::shared::{Conversation, Presence};
use super::socket::{Heard, Over, Socket};

/// The largest message of subconnection `telemetry`.
const TELEMETRY_LIMIT: usize = 64 * 1024;
/// The largest message of `netconf`, and of the external services, of which the protocol says nothing else.
const BYTES_LIMIT: usize = 1024 * 1024;
/// Time for the device to close a subconnection itself after its main connection ended.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// Serves a subconnection until it ends.
pub(super) async fn serve(
    upgraded: Upgraded,
    conversation: Arc<Conversation>,
    serial: String,
    service: String,
) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let handle = Handle {
        connection: conversation.number,
        commands,
        control: Arc::clone(&conversation.control),
    };
    let limit = *conversation.shared.subconnection_limit.lock();
    let entry = conversation
        .shared
        .registry
        .lock()
        .enter_service(&serial, &service, handle, limit);
    let channel = Channel::Service(service.clone());
    let bytes = if service == "telemetry" {
        TELEMETRY_LIMIT
    } else {
        BYTES_LIMIT
    };
    let mut socket = Socket::new(upgraded, Arc::clone(&conversation), channel, bytes).await;
    let Over = match entry {
        Entry::NoMain => socket.close(1008, "no main connection").await,
        Entry::Full => socket.close(1013, "too many subconnections").await,
        Entry::In(alive) => {
            let _presence = Presence {
                shared: Arc::clone(&conversation.shared),
                serial: serial.clone(),
                channel: Channel::Service(service.clone()),
                connection: conversation.number,
            };
            conversation.note(What::ServiceUp(service.clone()));
            let mut subconnection = Subconnection {
                socket,
                serial,
                service,
            };
            subconnection.run(inbox, alive).await
        }
    };
}

struct Subconnection {
    socket: Socket,
    serial: String,
    service: String,
}

impl Subconnection {
    async fn run(
        &mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut alive: watch::Receiver<()>,
    ) -> Over {
        let conversation = Arc::clone(self.socket.conversation());
        let wrong = conversation.misbehaviour(Step::Service);
        if wrong == Some(Misbehaviour::Silent) {
            self.socket.ignore().await;
        }
        if let Err(over) = self.socket.answer(None, wrong).await {
            return over;
        }
        let orphaned = async {
            // Nothing is ever sent on this channel: an error says that the main connection is gone.
            while alive.changed().await.is_ok() {}
            tokio::time::sleep(ORPHAN_GRACE).await;
        };
        tokio::pin!(orphaned);
        if let Some(address) = conversation.shared.config.netconf_listen
            && self.service == netconf::SERVICE
        {
            return netconf::serve(&mut self.socket, &self.serial, address, inbox, orphaned).await;
        }
        loop {
            let step = tokio::select! {
                heard = self.socket.hear() => match heard {
                    Ok(heard) => self.take(heard).await,
                    Err(fault) => Err(self.socket.end(fault).await),
                },
                Some(command) = inbox.recv() => self.socket.obey(command).await,
                () = &mut orphaned => Err(self.socket.close(1008, "no main connection").await),
                () = conversation.control.drained() => Err(self.socket.close(1001, "going away").await),
            };
            if let Err(over) = step {
                return over;
            }
        }
    }

    async fn take(&mut self, heard: Heard) -> Result<(), Over> {
        match (heard, self.service == "telemetry") {
            (Heard::Text(text), true) => self.notification(&text).await,
            (Heard::Binary(bytes), false) => {
                self.socket.note(What::Bytes {
                    service: self.service.clone(),
                    length: bytes.len(),
                });
                let mut registry = self.socket.conversation().shared.registry.lock();
                registry.keep_bytes(&self.serial, &self.service, &bytes);
                Ok(())
            }
            (Heard::Binary(_), true) => Err(self.socket.close(1003, "text is expected here").await),
            (Heard::Text(_), false) => {
                Err(self.socket.close(1003, "binary is expected here").await)
            }
        }
    }

    async fn notification(&mut self, text: &str) -> Result<(), Over> {
        match Notification::parse(text) {
            Ok(notification) => {
                let name = notification.name.clone();
                let shared = Arc::clone(&self.socket.conversation().shared);
                shared.registry.lock().keep_telemetry(
                    &self.serial,
                    notification,
                    shared.config.telemetry_kept,
                );
                self.socket.note(What::Telemetry { notification: name });
                Ok(())
            }
            Err(error) => Err(self.socket.close(1002, &error.to_string()).await),
        }
    }
}
