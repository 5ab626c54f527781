//! How long the kernel tries to deliver what the peer does not acknowledge (TCP_USER_TIMEOUT; RFC 5482).

use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use super::NetError;
use crate::tunnel::machine::{SILENT_INTERVALS, STEP_DEADLINE};

/// The kernel's patience with one connection, however deep in TLS and HTTP its socket lies.
///
/// While steps are made the machine's own deadlines are shorter than any sense of this. From the 101 on it ends links
/// that are open in one direction alone: what comes from the cloud then still proves life, while nothing reaches it.
#[derive(Debug)]
pub struct Patience(Socket);

impl Patience {
    /// Of this connection. The socket is open until the stream and this have both been dropped.
    ///
    /// # Errors
    /// What the system says, for instance that too many files are open.
    pub fn of(stream: &TcpStream) -> Result<Self, NetError> {
        let socket = SockRef::from(stream).try_clone();
        Ok(Self(socket.map_err(NetError::Connect)?))
    }

    /// Keeps it a little longer than the silence that the machine bears, so that it is the machine that ends a link that
    /// is dead in both directions. Never ends.
    pub async fn follow(&self, mut interval: watch::Receiver<Duration>) {
        loop {
            let silence = *interval.borrow_and_update() * SILENT_INTERVALS;
            let set = self.0.set_tcp_user_timeout(Some(silence + STEP_DEADLINE));
            if let Err(error) = set {
                debug!(%error, "the patience of a connection was not set");
            }
            if interval.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
