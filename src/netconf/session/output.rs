//! The sending side of a session: each step must make progress.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use super::SessionError;
use crate::model::settings::Limits;
use crate::protocol::framing::{self, Framing};

/// A message up to this size is written at once, with its framing; beyond that it is not copied for it.
const ONE_WRITE: usize = 64 << 10;
/// For the end of the stream to be said; the session ends anyway.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Output<S> {
    stream: WriteHalf<S>,
    framing: Framing,
    limits: watch::Receiver<Arc<Limits>>,
}

impl<S: AsyncWrite> Output<S> {
    pub(super) fn new(stream: WriteHalf<S>, limits: watch::Receiver<Arc<Limits>>) -> Self {
        Self {
            stream,
            framing: Framing::EndOfMessage,
            limits,
        }
    }

    pub(super) fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Sends one message.
    pub(super) async fn send(&mut self, message: &str) -> Result<(), SessionError> {
        let message = message.as_bytes();
        if message.len() <= ONE_WRITE {
            self.write(&framing::encode(self.framing, message)).await?;
        } else {
            for piece in framing::pieces(self.framing, message) {
                self.write(&piece).await?;
            }
        }
        self.flush().await
    }

    /// Sends a part of a message, which must not be empty; more follows.
    pub(super) async fn send_part(&mut self, part: &str) -> Result<(), SessionError> {
        let part = framing::encode_part(self.framing, part.as_bytes());
        self.write(&part).await
    }

    /// Sends the last part of a message.
    pub(super) async fn send_last_part(&mut self, part: &str) -> Result<(), SessionError> {
        self.write(&framing::encode(self.framing, part.as_bytes()))
            .await?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        let patience = self.patience();
        progress(patience, self.stream.flush()).await
    }

    async fn write(&mut self, mut octets: &[u8]) -> Result<(), SessionError> {
        while !octets.is_empty() {
            let patience = self.patience();
            let written = progress(patience, self.stream.write(octets)).await?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            octets = &octets[written..];
        }
        Ok(())
    }

    /// Says the end of the stream.
    pub(super) async fn close(&mut self) {
        // A peer that is gone or does not read cannot be told; that is no news at the end of a session.
        let _ = timeout(CLOSE_TIMEOUT, self.stream.shutdown()).await;
    }

    fn patience(&self) -> Duration {
        self.limits.borrow().write_timeout
    }
}

async fn progress<T>(
    patience: Duration,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, SessionError> {
    match timeout(patience, step).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(SessionError::NotReading(patience)),
    }
}
