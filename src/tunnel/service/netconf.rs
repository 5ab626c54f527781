//! Service `netconf`: managers reach the device's own SSH server through the cloud.
//!
//! The subconnection's byte stream is multiplexed by yamux, the cloud being the client. Each yamux stream is one SSH
//! connection: it goes to whoever the agent made the receiver, and the cloud sees ciphertext only.

mod budget;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, poll_fn};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex, join, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tracing::debug;
use yamux::{Config, Connection, ConnectionError, DEFAULT_CREDIT, Mode};

use self::budget::Budgeted;
use super::stream::{Done, PIPE, carry};
use super::{Counters, Link, Service};
use crate::tunnel::machine::event::CloseCode;

/// Name of the service.
pub const SERVICE: &str = "netconf";

/// "At most 128 streams (an excess stream is reset […])" (cloud-protocol.md).
pub const STREAMS: usize = 128;
/// Streams that the library may know of: those that were reset are among them until it has told the cloud. One more
/// and it takes leave.
const STREAMS_AND_RESETS: usize = STREAMS + 64;

/// The service module.
pub struct Netconf {
    streams: mpsc::Sender<TunnelStream>,
    places: Arc<Semaphore>,
    counters: Counters,
}

/// One connection of a manager, as it comes out of the tunnel.
pub struct TunnelStream {
    stream: Compat<yamux::Stream>,
    _place: OwnedSemaphorePermit,
}

impl Netconf {
    /// A module, and where the connections of managers come out.
    pub fn new() -> (Self, mpsc::Receiver<TunnelStream>) {
        let (streams, received) = mpsc::channel(STREAMS);
        let module = Self {
            streams,
            places: Arc::new(Semaphore::new(STREAMS)),
            counters: Counters::default(),
        };
        (module, received)
    }

    async fn serve_on<S>(&self, link: Link<S>)
    where
        S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
    {
        let (near, far) = duplex(PIPE);
        carry(link, near, &self.counters, self.accept(far)).await;
    }

    /// Hands on each stream that the cloud opens, until it takes leave or breaks the protocol. The streams end with it.
    async fn accept(&self, pipe: DuplexStream) -> Done {
        let (from_cloud, to_cloud) = split(pipe);
        let pipe = join(Budgeted::new(from_cloud), to_cloud);
        let mut connection = Connection::new(pipe.compat(), config(), Mode::Server);
        loop {
            match poll_fn(|cx| connection.poll_next_inbound(cx)).await {
                Some(Ok(stream)) => self.hand_on(stream),
                None | Some(Err(ConnectionError::Closed | ConnectionError::Io(_))) => {
                    return Done::Finished;
                }
                Some(Err(error)) => {
                    debug!(%error, "what the cloud multiplexes makes no sense");
                    return Done::Broken(CloseCode::PROTOCOL);
                }
            }
        }
    }

    /// A stream that finds no place is dropped, which resets it.
    fn hand_on(&self, stream: yamux::Stream) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            debug!("a connection through the tunnel is refused: there are {STREAMS}");
            return;
        };
        let stream = TunnelStream {
            stream: stream.compat(),
            _place: place,
        };
        if self.streams.try_send(stream).is_err() {
            debug!("a connection through the tunnel is refused: the agent ends");
        }
    }
}

impl Service for Netconf {
    fn serve(&self, link: Link) -> BoxFuture<'_, ()> {
        Box::pin(self.serve_on(link))
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// 256 KiB windows that never grow: what a stream can hold of data that nobody reads.
fn config() -> Config {
    let mut config = Config::default();
    config.set_max_num_streams(STREAMS_AND_RESETS);
    config.set_max_connection_receive_window(Some(STREAMS_AND_RESETS * DEFAULT_CREDIT as usize));
    config
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
