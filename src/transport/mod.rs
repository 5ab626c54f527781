//! Layer 3: the doors. Each one finds out who the peer is and hands the session a stream and that name.
//!
//! No door knows what is spoken on the stream: the agent injects it as [`Serve`].

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

pub mod local;
pub mod ssh;

/// What a session is served on.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A stream whose kind does not matter any more.
pub type BoxedStream = Box<dyn ByteStream>;

/// By which door a peer came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// NETCONF over SSH (RFC 6242).
    Ssh,
    /// The Unix socket of this machine.
    Local,
}

/// Who is at the other end of a session; the door has proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Login name.
    pub user: String,
    /// The door.
    pub transport: Transport,
    /// IP address the session comes from, absent for a local one.
    pub source: Option<String>,
}

/// Serves one session to its end. It must end soon after its stream does.
pub type Serve = Arc<dyn Fn(BoxedStream, Peer) -> BoxFuture<'static, ()> + Send + Sync>;

/// Ends when the agent stops, or when whoever would say so is gone.
async fn stopped(shutdown: &watch::Receiver<bool>) {
    let _ = shutdown.clone().wait_for(|shutdown| *shutdown).await;
}
