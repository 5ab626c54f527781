//! One channel: what arrives goes to its inbox, and a session runs on it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tracing::warn;

use super::inbox::{ChannelStream, Inbox};
use crate::transport::{Peer, Serve};

/// How long the orderly end of a channel may take; the connection may be stuck in a write.
const FAREWELL: Duration = Duration::from_secs(5);

/// The code of standard error (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// Moves what the client sends into the inbox, never waiting for anybody, until the channel is over.
pub(super) async fn drain(mut reader: ChannelReadHalf, inbox: Arc<Inbox>) {
    loop {
        let message = tokio::select! {
            message = reader.wait() => message,
            () = inbox.closed() => return,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                if !inbox.push(&data) {
                    return;
                }
            }
            Some(ChannelMsg::Eof) => inbox.end(),
            Some(ChannelMsg::Close) | None => break,
            // Requests are answered by the handler; extended data means nothing on this subsystem.
            Some(_) => {}
        }
    }
    inbox.close();
}

/// Serves a session on a channel, then closes the channel with exit status 0, or 1 if the client overran its window or
/// the session failed.
pub(super) async fn run_session(
    serve: Serve,
    peer: Peer,
    writer: ChannelWriteHalf<Msg>,
    inbox: Arc<Inbox>,
) {
    let (user, source) = (peer.user.clone(), peer.source.clone());
    let stream = ChannelStream::new(inbox.clone(), writer.make_writer());
    // A panic ends this session alone, and its client is told.
    let served = AssertUnwindSafe(serve(Box::new(stream), peer)).catch_unwind();
    let failed = served.await.is_err();
    let overflowed = inbox.has_overflowed();
    if overflowed {
        warn!(
            user,
            source, "ssh channel ended: the client sends without regard to its window"
        );
    }
    farewell(writer, (overflowed || failed).into()).await;
    inbox.close();
}

/// Tells a client why, on its standard error (RFC 4254, section 5.2).
pub(super) async fn complain(writer: &ChannelWriteHalf<Msg>, words: String) {
    // Whoever does not hear it sees the exit status.
    let _ = tokio::time::timeout(FAREWELL, writer.extended_data_bytes(STDERR, words)).await;
}

/// Closes a channel with an exit status.
pub(super) async fn farewell(writer: ChannelWriteHalf<Msg>, status: u32) {
    // Each of the three only fails if the connection is gone, and then there is nobody to tell.
    let farewell = async {
        let _ = writer.exit_status(status).await;
        let _ = writer.eof().await;
        let _ = writer.close().await;
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
