//! The bytes of one connection: shared TCP socket, dripping, extra latency, and how a connection is ended.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::lock::Lock;

/// Reads of the latency relay under way in one direction.
const RELAYED_READS: usize = 256;
/// Bytes of one such read at most.
const RELAYED_BYTES: usize = 16 * 1024;

/// Any byte stream, TCP or the near end of the latency relay.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Whether a connection is to end, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It goes on.
    No,
    /// WebSockets say 1001 first.
    Drain,
    /// At once, without another byte.
    Now,
}

/// The handle by which others end a connection.
pub(super) struct Control {
    ending: watch::Sender<Ending>,
    /// Weak, so that the socket is closed as soon as the layers above let go of it.
    tcp: Weak<TcpStream>,
}

impl Control {
    pub(super) fn new(tcp: &Arc<TcpStream>) -> Self {
        Self {
            ending: watch::Sender::new(Ending::No),
            tcp: Arc::downgrade(tcp),
        }
    }

    /// Ends it with a TCP reset.
    pub(super) fn reset(&self) {
        // A linger of zero makes close() discard and send RST; failing that it is an ordinary close.
        if let Some(tcp) = self.tcp.upgrade() {
            let _ = tcp.set_zero_linger();
        }
        self.ending.send_replace(Ending::Now);
    }

    /// Ends it with an orderly TCP close, without a word on the layers above.
    pub(super) fn close(&self) {
        self.ending.send_replace(Ending::Now);
    }

    /// Ends it in order.
    pub(super) fn drain(&self) {
        self.ending.send_if_modified(|ending| {
            let first = *ending == Ending::No;
            if first {
                *ending = Ending::Drain;
            }
            first
        });
    }

    /// Completes when the connection is to end at once.
    pub(super) async fn ended_now(&self) {
        self.reached(|ending| ending == Ending::Now).await;
    }

    /// Completes when the connection is to end in order, with a word; never when that is to be at once.
    pub(super) async fn drained(&self) {
        self.reached(|ending| ending == Ending::Drain).await;
    }

    /// Completes when the connection is to end, in order or at once.
    pub(super) async fn ended(&self) {
        self.reached(|ending| ending != Ending::No).await;
    }

    async fn reached(&self, wanted: impl Fn(Ending) -> bool) {
        let mut receiver = self.ending.subscribe();
        // The sender is a field of self, so this cannot fail while self is borrowed.
        let _ = receiver.wait_for(|ending| wanted(*ending)).await;
    }
}

/// A TCP stream of which [`Control`] keeps a handle.
pub(super) struct SharedTcp(pub(super) Arc<TcpStream>);

impl AsyncRead for SharedTcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(length) => {
                    buf.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SharedTcp {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write))
    }
}

/// What is done to the bytes written through a [`Shaped`] stream.
#[derive(Default)]
struct Shape {
    drip: Option<Duration>,
    inject: BytesMut,
}

/// Sets the shape of a [`Shaped`] stream from outside.
#[derive(Clone)]
pub(super) struct Pace(Arc<Lock<Shape>>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Arc::new(Lock::new(Shape::default())))
    }

    /// From now on writes one byte each interval; `None` for as fast as it goes.
    pub(super) fn drip(&self, interval: Option<Duration>) {
        self.0.lock().drip = interval;
    }

    /// Puts these bytes before the next ones written.
    pub(super) fn inject(&self, bytes: &[u8]) {
        self.0.lock().inject.extend_from_slice(bytes);
    }
}

/// A stream whose writes drip or are preceded by injected bytes, as its [`Pace`] says.
pub(super) struct Shaped<S> {
    inner: S,
    pace: Pace,
    rest: Option<Pin<Box<Sleep>>>,
}

impl<S> Shaped<S> {
    pub(super) fn new(inner: S, pace: Pace) -> Self {
        Self {
            inner,
            pace,
            rest: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shaped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shaped<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(rest) = &mut this.rest {
            ready!(rest.as_mut().poll(cx));
            this.rest = None;
        }
        let mut shape = this.pace.0.lock();
        while !shape.inject.is_empty() {
            let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &shape.inject))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let _ = shape.inject.split_to(written);
        }
        let drip = shape.drip;
        drop(shape);
        let Some(interval) = drip else {
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        };
        let one = buf.get(..1).unwrap_or_default();
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, one))?;
        this.rest = Some(Box::pin(tokio::time::sleep(interval)));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream on which each byte is `latency` later, in both directions, and the tasks that carry the bytes.
pub(super) fn relay(tcp: SharedTcp, latency: Duration) -> (tokio::io::DuplexStream, JoinSet<()>) {
    let (near, far) = tokio::io::duplex(RELAYED_READS * RELAYED_BYTES);
    let (tcp_read, tcp_write) = tokio::io::split(tcp);
    let (far_read, far_write) = tokio::io::split(far);
    let mut tasks = JoinSet::new();
    tasks.spawn(carry(tcp_read, far_write, latency));
    tasks.spawn(carry(far_read, tcp_write, latency));
    (near, tasks)
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    latency: Duration,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(RELAYED_READS);
    let read = async move {
        loop {
            let mut bytes = BytesMut::with_capacity(RELAYED_BYTES);
            let Ok(1..) = from.read_buf(&mut bytes).await else {
                break;
            };
            if sender
                .send((Instant::now() + latency, bytes.freeze()))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The other side may be gone already; then there is nothing to shut down.
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
