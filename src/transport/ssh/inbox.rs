//! What a client has sent on one channel and its session has not read yet.
//!
//! The SSH library delivers a channel's data with a send that blocks its whole loop, the one that must also take the
//! window adjustments our own writing waits for. So whoever receives must never wait: everything goes in here, and the
//! client is slowed down by its window instead (see [`super::handler`]).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Above this many unread octets the client's window is no longer opened.
pub(super) const CONGESTED: usize = 512 << 10;
/// A client that keeps to its window stays far below this; one that does not loses its session.
pub(super) const CAPACITY: usize = 4 << 20;
/// Memory that an empty inbox may keep for the next burst.
const SPARE: usize = 64 << 10;

/// The unread octets of one channel, and how far the channel has ended.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    relieved: Notify,
    over: Notify,
}

#[derive(Default)]
struct State {
    unread: BytesMut,
    /// The client sends no more.
    ended: bool,
    /// Nothing reaches the client any more either.
    closed: bool,
    overflowed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the client sent. False: it was too much, and the channel is over.
    pub(super) fn push(&self, data: &[u8]) -> bool {
        let mut state = self.state();
        if state.unread.len() + data.len() > CAPACITY {
            state.overflowed = true;
            state.unread = BytesMut::new();
            drop(state);
            self.close();
            return false;
        }
        state.unread.extend_from_slice(data);
        wake(&mut state.reader);
        true
    }

    /// The client has sent its last octet.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        wake(&mut state.reader);
    }

    /// The channel is over in both directions.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.ended = true;
        state.closed = true;
        wake(&mut state.reader);
        wake(&mut state.writer);
        drop(state);
        self.relieved.notify_waiters();
        self.over.notify_waiters();
    }

    /// Whether the channel is over.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Whether the client sent more than it may.
    pub(super) fn has_overflowed(&self) -> bool {
        self.state().overflowed
    }

    /// Whether so much is unread that the client should wait.
    pub(super) fn is_congested(&self) -> bool {
        let state = self.state();
        !state.closed && state.unread.len() > CONGESTED
    }

    /// Ends once the inbox is no longer congested.
    pub(super) async fn relieved(&self) {
        loop {
            let relieved = self.relieved.notified();
            tokio::pin!(relieved);
            relieved.as_mut().enable();
            if !self.is_congested() {
                return;
            }
            relieved.await;
        }
    }

    fn poll_take(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.overflowed {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        if state.unread.is_empty() {
            if state.ended {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = state.unread.len();
        let taken = before.min(buf.remaining());
        buf.put_slice(&state.unread[..taken]);
        state.unread.advance(taken);
        if state.unread.is_empty() && state.unread.capacity() > SPARE {
            state.unread = BytesMut::new();
        }
        if before > CONGESTED && before - taken <= CONGESTED {
            drop(state);
            self.relieved.notify_waiters();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends once the channel is over.
    pub(super) async fn closed(&self) {
        loop {
            let ended = self.over.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.is_closed() {
                return;
            }
            ended.await;
        }
    }

    fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.closed {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// One channel as the session sees it.
///
/// Reading ends with the client's EOF; writing fails once the channel is closed, even while it waits for window.
pub(super) struct ChannelStream<W> {
    inbox: Arc<Inbox>,
    writer: Pin<Box<W>>,
}

impl<W: AsyncWrite> ChannelStream<W> {
    pub(super) fn new(inbox: Arc<Inbox>, writer: W) -> Self {
        Self {
            inbox,
            writer: Box::pin(writer),
        }
    }
}

impl<W> AsyncRead for ChannelStream<W> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inbox.poll_take(cx, buf)
    }
}

impl<W: AsyncWrite> AsyncWrite for ChannelStream<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.inbox.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            // The library's writer refuses an empty write; AsyncWrite does not.
            return Poll::Ready(Ok(0));
        }
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    /// EOF follows by itself when the session is over, after the exit status.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn channel() -> (Arc<Inbox>, ChannelStream<tokio::io::DuplexStream>) {
        let inbox = Arc::new(Inbox::default());
        // One octet of room: the second one waits, as for a window.
        let (_far, near) = duplex(1);
        std::mem::forget(_far);
        (inbox.clone(), ChannelStream::new(inbox, near))
    }

    #[tokio::test]
    async fn what_was_sent_before_the_end_is_still_read() {
        let (inbox, mut stream) = channel();
        assert!(inbox.push(b"hello"));
        inbox.end();
        let mut read = String::new();
        stream.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "hello");
    }

    #[tokio::test]
    async fn a_write_that_waits_for_window_ends_when_the_channel_closes() {
        let (inbox, mut stream) = channel();
        let writing = tokio::spawn(async move { stream.write_all(b"two").await });
        inbox.close();
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn more_than_the_capacity_ends_the_channel() {
        let (inbox, mut stream) = channel();
        assert!(inbox.push(&vec![0; CAPACITY]));
        assert!(!inbox.push(b"x"));
        assert!(inbox.has_overflowed() && inbox.is_closed());
        stream.read_u8().await.unwrap_err();
    }

    #[tokio::test]
    async fn reading_below_the_mark_relieves_a_congested_inbox() {
        let (inbox, mut stream) = channel();
        inbox.push(&vec![0; CONGESTED + 10]);
        assert!(inbox.is_congested());
        let waiting = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.relieved().await }
        });
        stream.read_exact(&mut [0; 10]).await.unwrap();
        waiting.await.unwrap();
        assert!(!inbox.is_congested());
    }
}
