//! A connection's stream, made so that it can always be taken away from the SSH library.
//!
//! The library's own `disconnect` only queues a message, which never leaves while the peer does not read. Here every
//! read and write fails once the connection is hung up, when a write makes no progress for too long, and a while after
//! the library has shut its side down, so its task ends whatever the peer does.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// How long a peer may take to close its side after ours is shut.
const LINGER: Duration = Duration::from_secs(5);
/// Octets taken from the socket at a time.
const READ_AHEAD: usize = 16 << 10;

type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The switch that ends one connection; clones act on the same connection.
#[derive(Clone)]
pub(super) struct Hangup(Arc<watch::Sender<bool>>);

impl Hangup {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Makes every read and write of the [`Line`] fail from now on.
    pub(super) fn hang_up(&self) {
        self.0.send_replace(true);
    }

    /// Ends once the connection is hung up.
    pub(super) async fn gone(&self) {
        // The sender lives in self, so the only way out is the value.
        let _ = self.0.subscribe().wait_for(|gone| *gone).await;
    }

    fn boxed(&self) -> Gone {
        let this = self.clone();
        Box::pin(async move { this.gone().await })
    }
}

/// A stream that a [`Hangup`] ends.
pub(super) struct Line<S> {
    stream: S,
    /// What was read and not asked for yet: the library takes each packet in two bites, and they come in dozens.
    ahead: Bytes,
    /// One for each direction: reader and writer may be woken apart. `None` after it came true.
    gone_reading: Option<Gone>,
    gone_writing: Option<Gone>,
    progress: Progress,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Line<S> {
    /// `write_timeout`: how long a write may wait without the peer taking a single octet.
    pub(super) fn new(stream: S, hangup: &Hangup, write_timeout: Duration) -> Self {
        Self {
            stream,
            ahead: Bytes::new(),
            gone_reading: Some(hangup.boxed()),
            gone_writing: Some(hangup.boxed()),
            progress: Progress::new(write_timeout),
            linger: None,
        }
    }
}

/// What becomes of a write that waits: it has so much time and not more.
struct Progress {
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Progress {
    fn new(write_timeout: Duration) -> Self {
        Self {
            write_timeout,
            stalled: None,
        }
    }

    fn within_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn is_gone(gone: &mut Option<Gone>, cx: &mut Context<'_>) -> bool {
    if let Some(waiting) = gone
        && waiting.as_mut().poll(cx).is_ready()
    {
        *gone = None;
    }
    gone.is_none()
}

fn aborted<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if is_gone(&mut self.gone_reading, cx) {
            return aborted();
        }
        if let Some(linger) = &mut self.linger
            && linger.as_mut().poll(cx).is_ready()
        {
            return aborted();
        }
        if self.ahead.is_empty() {
            let mut space = [MaybeUninit::uninit(); READ_AHEAD];
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let (now, later) = read
                .filled()
                .split_at(read.filled().len().min(buf.remaining()));
            buf.put_slice(now);
            self.ahead = Bytes::copy_from_slice(later);
        } else {
            let now = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(now));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if is_gone(&mut self.gone_writing, cx) {
            return aborted();
        }
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress.within_timeout(cx, write)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if is_gone(&mut self.gone_writing, cx) {
            return aborted();
        }
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        self.progress.within_timeout(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if is_gone(&mut self.gone_writing, cx) {
            return aborted();
        }
        self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.progress.within_timeout(cx, shutdown)
    }
}

/// A writer whose writes fail once nobody has taken a single octet for too long.
pub(super) struct Patient<W> {
    writer: Pin<Box<W>>,
    progress: Progress,
}

impl<W> Patient<W> {
    pub(super) fn new(writer: W, write_timeout: Duration) -> Self {
        Self {
            writer: Box::pin(writer),
            progress: Progress::new(write_timeout),
        }
    }
}

impl<W: AsyncWrite> AsyncWrite for Patient<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = self.writer.as_mut().poll_write(cx, buf);
        self.progress.within_timeout(cx, write)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = self.writer.as_mut().poll_flush(cx);
        self.progress.within_timeout(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = self.writer.as_mut().poll_shutdown(cx);
        self.progress.within_timeout(cx, shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const TIMEOUT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_hung_up_line_ends_a_read_that_waits() {
        let (_peer, stream) = duplex(16);
        let hangup = Hangup::new();
        let mut line = Line::new(stream, &hangup, TIMEOUT);
        let reading = tokio::spawn(async move { line.read_u8().await });
        hangup.hang_up();
        let error = reading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn octets_read_ahead_come_in_their_order_and_before_the_end() {
        let (mut peer, stream) = duplex(64 << 10);
        let mut line = Line::new(stream, &Hangup::new(), TIMEOUT);
        let sent: Vec<u8> = (0..40_000u32).map(|number| number as u8).collect();
        peer.write_all(&sent).await.unwrap();
        drop(peer);
        let mut head = [0; 4];
        line.read_exact(&mut head).await.unwrap();
        let mut rest = Vec::new();
        line.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&head[..], &rest].concat(), sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_fails_after_the_write_timeout() {
        let (_peer, stream) = duplex(16);
        let mut line = Line::new(stream, &Hangup::new(), TIMEOUT);
        let begun = tokio::time::Instant::now();
        let error = line.write_all(&[0; 32]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn every_octet_taken_starts_the_write_timeout_again() {
        let (mut peer, stream) = duplex(16);
        let mut line = Line::new(stream, &Hangup::new(), TIMEOUT);
        let writing = tokio::spawn(async move { line.write_all(&[0; 20]).await });
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(59)).await;
            peer.read_u8().await.unwrap();
        }
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_patient_writer_fails_at_the_same_time() {
        let (mut peer, stream) = duplex(16);
        let mut writer = Patient::new(stream, TIMEOUT);
        let begun = tokio::time::Instant::now();
        let reading = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(59)).await;
            peer.read_u8().await.unwrap();
            peer
        });
        let error = writer.write_all(&[0; 32]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 59 + 60);
        reading.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_closes_is_left_after_the_linger_time() {
        let (_peer, stream) = duplex(16);
        let mut line = Line::new(stream, &Hangup::new(), TIMEOUT);
        line.shutdown().await.unwrap();
        let error = line.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}
