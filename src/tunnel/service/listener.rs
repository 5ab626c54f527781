//! The hearing half of a module: messages are its own, all else is reported.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, Stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::tunnel::machine::event::{CloseCode, SubconnectionReply};
use crate::tunnel::net::{Heard, hear, leave};

/// Signs of life are reported no more often.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// What ended a module's work on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is to be closed with this code.
    Close(CloseCode),
    /// The cloud sent a close frame.
    Closed,
    /// There is nobody left to talk to.
    Lost,
}

/// The kind of message that a service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
}

/// Reads one connection.
pub(super) struct Listener<'a, S> {
    stream: &'a mut S,
    kind: Kind,
    report: &'a mpsc::Sender<SubconnectionReply>,
    alive_at: Option<Instant>,
}

impl<'a, S> Listener<'a, S>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    pub(super) fn new(
        stream: &'a mut S,
        kind: Kind,
        report: &'a mpsc::Sender<SubconnectionReply>,
    ) -> Self {
        Self {
            stream,
            kind,
            report,
            alive_at: None,
        }
    }

    /// The next message of the right kind. Never ends after the cloud has broken the protocol: the order to close
    /// follows.
    pub(super) async fn next(&mut self) -> Result<Bytes, End> {
        loop {
            let message = match (hear(self.stream).await, self.kind) {
                (Heard::Text(text), Kind::Text) => Some(text.into()),
                (Heard::Binary(bytes), Kind::Binary) => Some(bytes),
                (Heard::Text(_) | Heard::Binary(_), _) => {
                    return Err(self.violation(CloseCode::UNSUPPORTED).await);
                }
                (Heard::Alive, _) => None,
                (Heard::Lost, _) => return Err(End::Lost),
                (Heard::Closed(code), _) => {
                    self.tell(SubconnectionReply::Closed(code)).await?;
                    return Err(End::Closed);
                }
                (Heard::Violation(code), _) => return Err(self.violation(code).await),
            };
            self.alive().await?;
            if let Some(message) = message {
                return Ok(message);
            }
        }
    }

    /// The cloud broke the rules of the service. Nothing more is read from it; ends only if nobody listens any more.
    async fn violation(&mut self, code: CloseCode) -> End {
        match self.tell(SubconnectionReply::Violation(code)).await {
            Ok(()) => std::future::pending().await,
            Err(end) => end,
        }
    }

    async fn alive(&mut self) -> Result<(), End> {
        if self.alive_at.is_some_and(|at| at.elapsed() < ALIVE_EVERY) {
            return Ok(());
        }
        self.alive_at = Some(Instant::now());
        self.tell(SubconnectionReply::Alive).await
    }

    async fn tell(&self, reply: SubconnectionReply) -> Result<(), End> {
        let told = self.report.send(reply).await;
        told.map_err(|_| End::Close(CloseCode::GOING_AWAY))
    }
}

/// Takes leave of a connection as its end demands.
pub(super) async fn finish<S>(
    end: End,
    sink: SplitSink<S, Message>,
    stream: SplitStream<S>,
    report: &mpsc::Sender<SubconnectionReply>,
) where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let code = match end {
        // Nobody listens any more when the agent ends.
        End::Lost => return drop(report.send(SubconnectionReply::Lost).await),
        End::Close(code) => Some(code),
        End::Closed => None,
    };
    if let Ok(mut socket) = sink.reunite(stream) {
        leave(&mut socket, code).await;
    }
}
