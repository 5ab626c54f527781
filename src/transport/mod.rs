//! Layer 3: the doors. Each one finds out who the peer is and hands the session a stream and that name.
//!
//! No door knows what is spoken on the stream: the agent injects it as [`Serve`].

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

pub use crate::netconf::session::{Peer, Transport};

pub mod local;
pub mod ssh;

/// What a session is served on.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A stream whose kind does not matter any more.
pub type BoxedStream = Box<dyn ByteStream>;

/// Serves one session to its end. It must end soon after its stream does.
pub type Serve = Arc<dyn Fn(BoxedStream, Peer) -> BoxFuture<'static, ()> + Send + Sync>;

/// Ends when the agent stops, or when whoever would say so is gone.
async fn stopped(shutdown: &watch::Receiver<bool>) {
    let _ = shutdown.clone().wait_for(|shutdown| *shutdown).await;
}
