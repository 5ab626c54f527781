//! Layer 3: the doors. Each one finds out who the peer is and hands the session a stream and that name.
//!
//! No door knows what is spoken on the stream: the agent injects it as [`Serve`].

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::model::tree::heap;
pub use crate::netconf::session::{Owed, Peer, Transport};

pub mod call_home;
pub mod control;
pub mod local;
pub mod metrics;
pub mod socket;
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

/// Connections that have left a door since the heap was tidied up after them.
#[derive(Default)]
struct Leavers(u32);

impl Leavers {
    /// So many may leave before that, if nobody is left, or if somebody is: it costs as much as half a login.
    const FEW: u32 = 8;
    const MANY: u32 = 256;

    /// One has left, and all that was its.
    fn left(&mut self, nobody_is_left: bool) {
        self.0 += 1;
        let bearable = if nobody_is_left {
            Self::FEW
        } else {
            Self::MANY
        };
        if self.0 >= bearable {
            self.0 = 0;
            heap::give_back();
        }
    }
}
