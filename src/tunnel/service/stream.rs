//! A byte stream over the binary messages of a subconnection: what a service writes into its end of a pipe goes to the
//! cloud, and the other way round. Where a message ends means nothing.
//!
//! Both directions hold what the other side does not take: a service that does not read leaves the cloud unread, a cloud
//! that does not read leaves the pipe full. Neither holds the other direction, so pings are answered meanwhile.

use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::{Counters, End, Kind, Link, Listener, Order, finish};
use crate::tunnel::machine::event::{CloseCode, SubconnectionReply};

/// Octets in the pipe between a service and its subconnection, in each direction.
pub(super) const PIPE: usize = 64 << 10;
/// Octets of one message: small enough for a ping to find its turn soon.
const CHUNK: usize = 16 << 10;
/// A cloud that does not take a chunk for so long is lost.
const WRITE_BOUND: Duration = Duration::from_secs(60);

/// Why a service ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It has nothing more to say: 1000, and the subconnection is opened again.
    Finished,
    /// What came makes no sense.
    Broken(CloseCode),
}

/// Carries bytes between `link` and the pipe whose other end `work` holds, until either is done.
pub(super) async fn carry<S>(
    link: Link<S>,
    pipe: DuplexStream,
    counters: &Counters,
    work: impl Future<Output = Done>,
) where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let (mut sink, mut stream) = link.socket.split();
    let (mut from_service, to_service) = tokio::io::split(pipe);
    let (mut orders, report) = (link.orders, link.report);
    let mut done = None;
    // Work drops its end of the pipe when it is done; the writer ends once that is drained.
    let working = async {
        done = Some(work.await);
        std::future::pending().await
    };
    let end = tokio::select! {
        end = write(&mut sink, &mut from_service, &mut orders, counters) => end,
        end = read(&mut stream, to_service, &report, counters) => end,
        end = working => end,
    };
    let end = match (end, done) {
        (None, Some(Done::Broken(code))) => {
            let told = report.send(SubconnectionReply::Violation(code)).await;
            told.map_or(End::Close(CloseCode::GOING_AWAY), |()| End::Close(code))
        }
        // The machine hears of it as of a close by the cloud: no fault of either side.
        (None, _) => {
            let closed = SubconnectionReply::Closed(CloseCode::NORMAL);
            // Nobody listens any more when the agent ends.
            let _ = report.send(closed).await;
            End::Close(CloseCode::NORMAL)
        }
        (Some(end), _) => end,
    };
    finish(end, sink, stream, &report).await;
}

/// Sends what the service says, orders first. `None` once the service has said all.
async fn write<W>(
    sink: &mut W,
    from_service: &mut ReadHalf<DuplexStream>,
    orders: &mut mpsc::Receiver<Order>,
    counters: &Counters,
) -> Option<End>
where
    W: Sink<Message, Error = Error> + Unpin,
{
    let mut chunk = vec![0; CHUNK];
    loop {
        let message = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Ping) => Message::Ping(Bytes::new()),
                Some(Order::Close(code)) => return Some(End::Close(code)),
                None => return Some(End::Close(CloseCode::GOING_AWAY)),
            },
            read = from_service.read(&mut chunk) => match read {
                Ok(length @ 1..) => Message::Binary(Bytes::copy_from_slice(&chunk[..length])),
                _ => return None,
            },
        };
        let length = message.len();
        if !matches!(timeout(WRITE_BOUND, sink.send(message)).await, Ok(Ok(()))) {
            return Some(End::Lost);
        }
        Counters::add(&counters.sent, length);
    }
}

/// Hands what the cloud says to the service.
async fn read<S>(
    stream: &mut S,
    mut to_service: WriteHalf<DuplexStream>,
    report: &mpsc::Sender<SubconnectionReply>,
    counters: &Counters,
) -> Option<End>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let mut listener = Listener::new(stream, Kind::Binary, report);
    loop {
        let bytes = match listener.next().await {
            Ok(bytes) => bytes,
            Err(end) => return Some(end),
        };
        Counters::add(&counters.received, bytes.len());
        // A service that is done takes nothing any more; the writer tells.
        let _ = to_service.write_all(&bytes).await;
    }
}
