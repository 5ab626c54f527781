//! A byte stream over the binary messages of a WebSocket, both ways at once.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::event::What;
use super::registry::Command;
use super::socket::{Fault, Socket};

/// Bytes of one message.
const PIECE: usize = 32 * 1024;
/// Time for a message to leave.
const SEND_DEADLINE: Duration = Duration::from_secs(60);

/// What ended it, and what is to be done about it.
pub(super) enum Carried {
    Close(u16, &'static str),
    Fault(Fault),
}

/// Carries bytes between the WebSocket and the pipe until one of them ends; does what a control asks for. `go_away` is
/// told when that is what is asked.
pub(super) async fn carry(
    socket: &mut Socket,
    pipe: DuplexStream,
    inbox: &mut mpsc::Receiver<Command>,
    go_away: &Notify,
) -> Carried {
    let idle = socket.conversation().shared.config.idle_limit;
    let conversation = std::sync::Arc::clone(socket.conversation());
    let channel = socket.channel().clone();
    let pinged = || conversation.note(What::Ping(channel.clone()));
    let (sink, stream) = socket.split();
    let (from_pipe, to_pipe) = tokio::io::split(pipe);
    tokio::select! {
        carried = read(stream, to_pipe, idle, pinged) => carried,
        carried = write(sink, from_pipe, inbox, go_away) => carried,
    }
}

async fn read(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    mut to_pipe: WriteHalf<DuplexStream>,
    idle: Duration,
    pinged: impl Fn(),
) -> Carried {
    loop {
        let Ok(next) = tokio::time::timeout(idle, stream.next()).await else {
            return Carried::Fault(Fault::Silent);
        };
        match next {
            Some(Ok(Message::Binary(bytes))) => {
                // Whoever no longer reads the pipe says by itself why.
                let _ = to_pipe.write_all(&bytes).await;
            }
            Some(Ok(Message::Text(_))) => return Carried::Close(1003, "binary is expected here"),
            Some(Ok(Message::Ping(_))) => pinged(),
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => return Carried::Fault(Fault::Closed(frame)),
            Some(Err(error)) => return Carried::Fault(Fault::Failed(error)),
            None => return Carried::Fault(Fault::Gone),
        }
    }
}

async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut from_pipe: ReadHalf<DuplexStream>,
    inbox: &mut mpsc::Receiver<Command>,
    go_away: &Notify,
) -> Carried {
    let mut piece = BytesMut::with_capacity(PIECE);
    loop {
        piece.reserve(PIECE);
        let message = tokio::select! {
            Some(command) = inbox.recv() => match command {
                Command::Text(text) => Message::text(text),
                Command::Binary(bytes) => Message::Binary(bytes),
                Command::Ping => Message::Ping(Bytes::from_static(b"cloud")),
                Command::Close { code, .. } => return Carried::Close(code, "closed by the operator"),
                Command::GoAway => {
                    go_away.notify_one();
                    continue;
                }
                // These are for a main connection.
                Command::RawText(_) | Command::Disconnect { .. } | Command::Relist => continue,
            },
            read = from_pipe.read_buf(&mut piece) => match read {
                Ok(1..) => Message::Binary(piece.split().freeze()),
                _ => return Carried::Close(1000, "nothing more to say"),
            },
        };
        match tokio::time::timeout(SEND_DEADLINE, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Carried::Fault(Fault::Failed(error)),
            Err(_) => return Carried::Fault(Fault::Gone),
        }
    }
}
