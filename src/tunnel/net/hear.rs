//! What comes over a WebSocket, and how one is closed.

use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

use crate::tunnel::machine::event::CloseCode;

/// How long the cloud has to take a close frame and to answer it.
const CLOSE_BOUND: Duration = Duration::from_secs(2);
/// What stands for a close frame without a code (RFC 6455, section 7.1.5).
const NO_STATUS: u16 = 1005;

/// What came from the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping or a pong; pings are answered by the next read or write.
    Alive,
    /// A close frame; [`leave`] answers it.
    Closed(CloseCode),
    /// The cloud broke RFC 6455 or a limit; the code is to be sent back.
    Violation(CloseCode),
    /// The connection ended without a close frame.
    Lost,
}

/// Waits for the next message. Safe to cancel.
pub async fn hear<S>(socket: &mut S) -> Heard
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Heard::Text(text),
        Some(Ok(Message::Binary(bytes))) => Heard::Binary(bytes),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Alive,
        Some(Ok(Message::Close(frame))) => Heard::Closed(CloseCode(
            frame.map_or(NO_STATUS, |frame| frame.code.into()),
        )),
        Some(Err(Error::Capacity(_))) => Heard::Violation(CloseCode::TOO_BIG),
        Some(Err(Error::Utf8(_))) => Heard::Violation(CloseCode::INVALID_DATA),
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Heard::Lost,
        Some(Err(Error::Protocol(_))) => Heard::Violation(CloseCode::PROTOCOL),
        Some(Err(_)) | None => Heard::Lost,
    }
}

/// Ends a WebSocket: with a close frame where there is a code, else by answering the cloud's own. Takes at most two
/// seconds, whatever the cloud does.
pub async fn leave<S>(socket: &mut S, code: Option<CloseCode>)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let ending = async {
        if let Some(CloseCode(code)) = code {
            let frame = CloseFrame {
                code: code.into(),
                reason: Utf8Bytes::default(),
            };
            socket.send(Message::Close(Some(frame))).await?;
        }
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<(), Error>(())
    };
    // A cloud that does not answer, or is gone, is left all the same.
    let _ = tokio::time::timeout(CLOSE_BOUND, ending).await;
}
