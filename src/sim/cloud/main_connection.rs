//! Steps 7-8, keepalive and unbinding: the main connection of one device.

use std::sync::Arc;

use hyper::upgrade::Upgraded;
use tokio::sync::mpsc;

use super::event::{Channel, What};
use super::message::{CloudMessage, DeviceMessage, UnbindResult};
use super::misbehave::{Misbehaviour, Step};
use super::registry::{Command, Handle};
use super::shared::{Conversation, Presence};
use super::socket::{Heard, Over, Socket};

/// The largest message of a main connection.
const MESSAGE_LIMIT: usize = 256 * 1024;
/// Commands waiting for one WebSocket; a device that lets more pile up is cut off.
pub(super) const COMMANDS: usize = 64;

/// Whose main connection it is.
pub(super) struct Owner {
    pub serial: String,
    pub session: String,
    pub token: String,
    /// `host:port` for the URLs in its list.
    pub authority: String,
}

/// Serves a main connection until it ends.
pub(super) async fn serve(upgraded: Upgraded, conversation: Arc<Conversation>, owner: Owner) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let handle = Handle {
        connection: conversation.number,
        commands,
        control: Arc::clone(&conversation.control),
    };
    let evicted =
        conversation
            .shared
            .registry
            .lock()
            .enter_main(&owner.serial, handle, owner.token.clone());
    let _presence = Presence {
        shared: Arc::clone(&conversation.shared),
        serial: owner.serial.clone(),
        channel: Channel::Main,
        connection: conversation.number,
    };
    if let Some(evicted) = evicted {
        evicted.order(Command::Close {
            code: 4001,
            reason: "evicted".to_owned(),
        });
    }
    let socket = Socket::new(
        upgraded,
        Arc::clone(&conversation),
        Channel::Main,
        MESSAGE_LIMIT,
    )
    .await;
    conversation.note(conversation.main_up());
    let mut main = MainConnection { socket, owner };
    let Over = main.run(inbox).await;
}

struct MainConnection {
    socket: Socket,
    owner: Owner,
}

impl MainConnection {
    async fn run(&mut self, mut inbox: mpsc::Receiver<Command>) -> Over {
        let conversation = Arc::clone(self.socket.conversation());
        let wrong = conversation.misbehaviour(Step::Established);
        if wrong == Some(Misbehaviour::Silent) {
            self.socket.ignore().await;
        }
        if let Err(over) = self.socket.answer(None, wrong).await {
            return over;
        }
        loop {
            let step = tokio::select! {
                heard = self.socket.hear() => match heard {
                    Ok(heard) => self.answer(heard).await,
                    Err(fault) => Err(self.socket.end(fault).await),
                },
                Some(command) = inbox.recv() => self.obey(command).await,
                () = conversation.control.drained() => Err(self.socket.close(1001, "going away").await),
            };
            if let Err(over) = step {
                return over;
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), Over> {
        match command {
            Command::Relist => self.list(None).await,
            other => self.socket.obey(other).await,
        }
    }

    async fn answer(&mut self, heard: Heard) -> Result<(), Over> {
        let Heard::Text(text) = heard else {
            return Err(self.socket.close(1003, "text is expected here").await);
        };
        match DeviceMessage::parse(&text) {
            Ok(DeviceMessage::SubconnectionsRequest { services }) => {
                self.socket.note(What::ListRequested(services));
                let wrong = self.socket.conversation().misbehaviour(Step::List);
                self.list(wrong).await
            }
            Ok(DeviceMessage::Keepalive { sequence }) => self.keepalive(sequence).await,
            Ok(DeviceMessage::Unbind { id, code }) => self.unbind(id, &code).await,
            Ok(DeviceMessage::Unknown(kind)) => {
                self.socket.note(What::UnknownMessage(kind));
                Ok(())
            }
            Err(error) => Err(self.socket.close(1002, &error.to_string()).await),
        }
    }

    async fn list(&mut self, wrong: Option<Misbehaviour>) -> Result<(), Over> {
        let conversation = self.socket.conversation();
        let mut services = conversation.list(&self.owner.authority, &self.owner.session);
        if wrong == Some(Misbehaviour::DoubledService) {
            services.extend(services.first().cloned());
        }
        let right =
            (wrong != Some(Misbehaviour::Silent)).then(|| conversation.list_message(services));
        self.socket.answer(right, wrong).await
    }

    async fn keepalive(&mut self, sequence: u64) -> Result<(), Over> {
        let wrong = self.socket.conversation().misbehaviour(Step::Keepalive);
        self.socket.note(What::Keepalive {
            sequence,
            answered: wrong != Some(Misbehaviour::Silent),
        });
        let replied = match wrong {
            Some(Misbehaviour::WrongSequence) => sequence.wrapping_add(1),
            _ => sequence,
        };
        self.socket
            .answer(
                Some(CloudMessage::KeepaliveReply { sequence: replied }),
                wrong,
            )
            .await
    }

    async fn unbind(&mut self, id: u64, code: &str) -> Result<(), Over> {
        let wrong = self.socket.conversation().misbehaviour(Step::Unbind);
        let accepted = self
            .socket
            .conversation()
            .shared
            .registry
            .lock()
            .unbind(&self.owner.serial, code);
        self.socket.note(What::Unbind { id, accepted });
        let right = CloudMessage::UnbindResult(UnbindResult::new(id, accepted));
        self.socket.answer(Some(right), wrong).await
    }
}
