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
    /// Whole messages that are not written yet.
    pending: Vec<u8>,
}

impl<S: AsyncWrite> Output<S> {
    pub(super) fn new(stream: WriteHalf<S>, limits: watch::Receiver<Arc<Limits>>) -> Self {
        Self {
            stream,
            framing: Framing::EndOfMessage,
            limits,
            pending: Vec::new(),
        }
    }

    pub(super) fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Sends one message. A small one may wait for others, until [`Output::flush`].
    pub(super) async fn send(&mut self, message: &str) -> Result<(), SessionError> {
        let message = message.as_bytes();
        if message.len() > ONE_WRITE {
            self.write_pending().await?;
            for piece in framing::pieces(self.framing, message) {
                self.write(&piece).await?;
            }
            return self.flush().await;
        }
        let framed = framing::encode(self.framing, message);
        if self.pending.is_empty() {
            self.pending = framed;
        } else {
            self.pending.extend_from_slice(&framed);
        }
        match self.pending.len() {
            0..ONE_WRITE => Ok(()),
            _ => self.flush().await,
        }
    }

    /// Sends a part of a message, which must not be empty; more follows.
    pub(super) async fn send_part(&mut self, part: &str) -> Result<(), SessionError> {
        self.write_pending().await?;
        let part = framing::encode_part(self.framing, part.as_bytes());
        self.write(&part).await
    }

    /// Sends the last part of a message.
    pub(super) async fn send_last_part(&mut self, part: &str) -> Result<(), SessionError> {
        self.write(&framing::encode(self.framing, part.as_bytes()))
            .await?;
        self.flush().await
    }

    /// Whether a message waits.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Has everything on its way.
    pub(super) async fn flush(&mut self) -> Result<(), SessionError> {
        self.write_pending().await?;
        let patience = self.patience();
        progress(patience, self.stream.flush()).await
    }

    async fn write_pending(&mut self) -> Result<(), SessionError> {
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending).await
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

    /// Says the end of the stream, after what is pending.
    pub(super) async fn close(&mut self) {
        let farewell = async {
            self.write_pending().await?;
            Ok::<_, SessionError>(self.stream.shutdown().await?)
        };
        // A peer that is gone or does not read cannot be told; that is no news at the end of a session.
        let _ = timeout(CLOSE_TIMEOUT, farewell).await;
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
