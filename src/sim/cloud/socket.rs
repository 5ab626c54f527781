//! One open WebSocket: reading, sending with a deadline, closing with the right code, and answering wrongly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::event::{Channel, What};
use super::message::CloudMessage;
use super::misbehave::Misbehaviour;
use super::registry::Command;
use super::shared::Conversation;

/// Time for a message to leave.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Time for the device to answer a close frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of one frame of a huge message.
const PIECE: usize = 64 * 1024;

/// The WebSocket is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over;

/// What the device sent.
#[derive(Debug)]
pub(super) enum Heard {
    Text(Utf8Bytes),
    Binary(Bytes),
}

/// Why there is no next message.
#[derive(Debug)]
pub(super) enum Fault {
    /// The device closed it.
    Closed(Option<CloseFrame>),
    /// Nothing came for too long.
    Silent,
    /// The stream ended without a close frame.
    Gone,
    /// A violation or a failed read.
    Failed(Error),
}

/// One open WebSocket.
pub(super) struct Socket {
    web: WebSocketStream<TokioIo<Upgraded>>,
    conversation: Arc<Conversation>,
    channel: Channel,
}

impl Socket {
    /// With this limit for a message, in bytes.
    pub(super) async fn new(
        upgraded: Upgraded,
        conversation: Arc<Conversation>,
        channel: Channel,
        limit: usize,
    ) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let web =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config))
                .await;
        Self {
            web,
            conversation,
            channel,
        }
    }

    /// The next message; pings are noted and answered. May be dropped and called again without loss.
    pub(super) async fn hear(&mut self) -> Result<Heard, Fault> {
        let idle = self.conversation.shared.config.idle_limit;
        loop {
            let Ok(next) = tokio::time::timeout(idle, self.web.next()).await else {
                return Err(Fault::Silent);
            };
            match next {
                Some(Ok(Message::Text(text))) => return Ok(Heard::Text(text)),
                Some(Ok(Message::Binary(bytes))) => return Ok(Heard::Binary(bytes)),
                Some(Ok(Message::Ping(_))) => self.note(What::Ping(self.channel.clone())),
                Some(Ok(Message::Pong(_))) => self.note(What::Pong(self.channel.clone())),
                Some(Ok(Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => return Err(Fault::Closed(frame)),
                Some(Err(error)) => return Err(Fault::Failed(error)),
                None => return Err(Fault::Gone),
            }
        }
    }

    /// Ends it as the fault demands.
    pub(super) async fn end(&mut self, fault: Fault) -> Over {
        match fault {
            Fault::Closed(frame) => self.closed_by_peer(frame).await,
            Fault::Silent => self.close(1001, "silent for too long").await,
            Fault::Gone => self.lost("end of stream".to_owned()),
            Fault::Failed(Error::Capacity(_)) => self.close(1009, "message too large").await,
            Fault::Failed(Error::Utf8(_)) => self.close(1007, "not UTF-8").await,
            Fault::Failed(Error::Protocol(error)) if is_violation(&error) => {
                self.close(1002, "protocol error").await
            }
            Fault::Failed(error) => self.lost(error.to_string()),
        }
    }

    /// Deaf and dumb until the device gives up or the cloud ends: reading would answer its pings.
    pub(super) async fn ignore(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(self.conversation.shared.config.idle_limit) => {}
            () = self.conversation.control.ended() => {}
        }
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Over> {
        match tokio::time::timeout(SEND_DEADLINE, self.web.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(error.to_string())),
            Err(_) => {
                self.conversation.control.reset();
                Err(self.lost("the device reads nothing".to_owned()))
            }
        }
    }

    /// Does what a control or another connection asked for, except what only the main connection can do.
    pub(super) async fn obey(&mut self, command: Command) -> Result<(), Over> {
        match command {
            Command::Text(text) => self.send(Message::text(text)).await,
            Command::RawText(bytes) => self.send(raw_text(bytes, true)).await,
            Command::Binary(bytes) => self.send(Message::Binary(bytes)).await,
            Command::Ping => self.send(Message::Ping(Bytes::from_static(b"cloud"))).await,
            Command::Close { code, reason } => Err(self.close(code, &reason).await),
            Command::Disconnect {
                reason,
                retry_after,
            } => {
                self.note(What::DisconnectSent {
                    reason: reason.clone(),
                    retry_after,
                });
                self.say(&CloudMessage::Disconnect {
                    reason,
                    retry_after,
                })
                .await
            }
            // These are for a connection of another kind.
            Command::Relist | Command::GoAway => Ok(()),
        }
    }

    /// Sends a message of the protocol.
    pub(super) async fn say(&mut self, message: &CloudMessage) -> Result<(), Over> {
        // Strings and numbers only: serde_json cannot fail on them.
        let text = serde_json::to_string(message).unwrap_or_default();
        self.send(Message::text(text)).await
    }

    /// Says `right`, or does what is to go wrong instead or around it.
    pub(super) async fn answer(
        &mut self,
        right: Option<CloudMessage>,
        wrong: Option<Misbehaviour>,
    ) -> Result<(), Over> {
        self.conversation.pace.drip(None);
        match wrong {
            Some(Misbehaviour::Silent) => return Ok(()),
            Some(Misbehaviour::Reset) => return Err(self.cut(true).await),
            Some(Misbehaviour::Close) => return Err(self.cut(false).await),
            Some(Misbehaviour::CloseFrame(code)) => {
                return Err(self.close(code, "misbehaving").await);
            }
            Some(Misbehaviour::BadJson) => return self.send(Message::text("{\"type\":")).await,
            Some(Misbehaviour::Body(text)) => return self.send(Message::text(text)).await,
            Some(Misbehaviour::Binary(bytes)) => return self.send(Message::binary(bytes)).await,
            Some(Misbehaviour::InvalidUtf8) => {
                return self
                    .send(raw_text(
                        Bytes::from_static(b"{\"type\":\"\xff\xfe\"}"),
                        true,
                    ))
                    .await;
            }
            Some(Misbehaviour::Huge(bytes)) => return self.huge(bytes).await,
            Some(Misbehaviour::Flood) => return self.flood().await,
            Some(Misbehaviour::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Misbehaviour::Drip(interval)) => self.conversation.pace.drip(Some(interval)),
            Some(Misbehaviour::Text(text)) => self.send(Message::text(text)).await?,
            _ => {}
        }
        match right {
            Some(right) => self.say(&right).await,
            None => Ok(()),
        }
    }

    /// Closes with this code and waits, not for long, for the device to do so too.
    pub(super) async fn close(&mut self, code: u16, reason: &str) -> Over {
        self.note(What::Closing {
            channel: self.channel.clone(),
            code,
            reason: reason.to_owned(),
        });
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        let farewell = async {
            self.web.send(Message::Close(Some(frame))).await?;
            while let Some(Ok(_)) = self.web.next().await {}
            self.web.get_mut().shutdown().await?;
            Ok::<(), Error>(())
        };
        // Whatever becomes of it, the connection ends here.
        let _ = tokio::time::timeout(CLOSE_DEADLINE, farewell).await;
        Over
    }

    pub(super) fn note(&self, what: What) {
        self.conversation.note(what);
    }

    pub(super) fn conversation(&self) -> &Arc<Conversation> {
        &self.conversation
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Both directions apart.
    pub(super) fn split(
        &mut self,
    ) -> (
        impl Sink<Message, Error = Error> + Unpin,
        impl Stream<Item = Result<Message, Error>> + Unpin,
    ) {
        (&mut self.web).split()
    }

    /// Ends the TCP connection; the connection's task drops this future.
    async fn cut(&mut self, reset: bool) -> Over {
        if reset {
            self.conversation.control.reset();
        } else {
            self.conversation.control.close();
        }
        Over
    }

    /// One text message of so many bytes, in frames without end in between.
    async fn huge(&mut self, bytes: u64) -> Result<(), Over> {
        let piece = Bytes::from(vec![b' '; PIECE]);
        let count = bytes.div_ceil(PIECE as u64);
        self.send(raw_text(piece.clone(), false)).await?;
        for _ in 1..count {
            let frame = Frame::message(piece.clone(), OpCode::Data(Data::Continue), false);
            self.send(Message::Frame(frame)).await?;
        }
        self.send(Message::Frame(Frame::message(
            Bytes::new(),
            OpCode::Data(Data::Continue),
            true,
        )))
        .await
    }

    /// Messages of the right kind, until the cloud ends.
    async fn flood(&mut self) -> Result<(), Over> {
        let message = match &self.channel {
            Channel::Service(service) if service != "telemetry" => {
                Message::Binary(Bytes::from(vec![0; PIECE / 2]))
            }
            _ => Message::text(" ".repeat(PIECE / 2)),
        };
        let conversation = Arc::clone(&self.conversation);
        loop {
            tokio::select! {
                sent = self.send(message.clone()) => sent?,
                () = conversation.control.ended() => return Err(Over),
            }
        }
    }

    async fn closed_by_peer(&mut self, frame: Option<CloseFrame>) -> Over {
        let (code, reason) = frame.map_or((1005, String::new()), |f| {
            (f.code.into(), f.reason.to_string())
        });
        self.note(What::PeerClosed {
            channel: self.channel.clone(),
            code,
            reason,
        });
        let farewell = async {
            // tungstenite has queued the answer; reading on sends it.
            while let Some(Ok(_)) = self.web.next().await {}
            self.web.get_mut().shutdown().await
        };
        let _ = tokio::time::timeout(CLOSE_DEADLINE, farewell).await;
        Over
    }

    fn lost(&self, error: String) -> Over {
        self.note(What::Lost {
            channel: self.channel.clone(),
            error,
        });
        Over
    }
}

/// A reset shows as a protocol error in tungstenite, but there is nobody left to be told 1002.
fn is_violation(error: &tokio_tungstenite::tungstenite::error::ProtocolError) -> bool {
    !matches!(
        error,
        tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
    )
}

/// A text frame of any bytes, first of several unless final.
fn raw_text(bytes: Bytes, last: bool) -> Message {
    Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), last))
}
