//! Service `telemetry`: tells the cloud what happens to its connection.
//!
//! Each notification of cloud-management goes out as one text frame; the state container as a push-update right after
//! the opening and each keepalive interval. What the cloud sends here is ignored. The queue outlives a connection, so
//! the cloud also learns what happened while there was none.

mod frame;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::{Counters, End, Kind, Link, Listener, Order, Service, finish};
use crate::tunnel::machine::event::{CloseCode, SubconnectionReply};
use crate::tunnel::wire::MAX_TELEMETRY_MESSAGE;

/// Name of the service.
pub const SERVICE: &str = "telemetry";

/// Notifications that wait for the cloud; the oldest gives way.
const QUEUE: usize = 256;
/// A cloud that takes nothing for this long is lost.
const WRITE_BOUND: Duration = Duration::from_secs(10);

/// The state container as JSON (RFC 7951) from the root on, if there is one. Must not wait.
pub type StateSource = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The service module. One for the life of the agent.
pub struct Telemetry {
    queue: Mutex<Queue>,
    filled: Notify,
    state: StateSource,
    clock: fn() -> SystemTime,
    counters: Counters,
}

/// Frames in their order, each under a number of its own.
#[derive(Default)]
struct Queue {
    next: u64,
    frames: VecDeque<(u64, String)>,
}

impl Telemetry {
    /// A module that reads the state from here and dates what it sends by this clock.
    pub fn new(state: StateSource, clock: fn() -> SystemTime) -> Self {
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
            state,
            clock,
            counters: Counters::default(),
        }
    }

    /// Queues a notification: `content` is one JSON object, `{"module:notification":{…}}`. Never waits; with the
    /// queue full the oldest is dropped and counted, as is one that is no object or too long for a frame.
    pub fn notify(&self, at: SystemTime, content: &str) {
        let frame = frame::content(content).map(|content| frame::notification(at, content));
        let Some(frame) = frame.filter(|frame| frame.len() <= MAX_TELEMETRY_MESSAGE) else {
            return Counters::add(&self.counters.dropped, 1);
        };
        let mut queue = self.queue();
        if queue.frames.len() == QUEUE {
            queue.frames.pop_front();
            Counters::add(&self.counters.dropped, 1);
        }
        let number = queue.next;
        queue.next += 1;
        queue.frames.push_back((number, frame));
        drop(queue);
        self.filled.notify_one();
    }

    async fn serve_on<S>(&self, link: Link<S>)
    where
        S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
    {
        let Link {
            socket,
            interval,
            mut orders,
            report,
        } = link;
        let (mut sink, mut stream) = socket.split();
        let end = tokio::select! {
            end = self.write(&mut sink, interval, &mut orders) => end,
            end = self.read(&mut stream, &report) => end,
        };
        finish(end, sink, stream, &report).await;
    }

    async fn write<W>(
        &self,
        sink: &mut W,
        mut interval: watch::Receiver<Duration>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> End
    where
        W: Sink<Message, Error = Error> + Unpin,
    {
        let mut pushed = Instant::now();
        let mut message = self.push_update();
        let mut notification = None;
        loop {
            if let Some(message) = message.take()
                && let Err(end) = self.send(sink, message).await
            {
                return end;
            }
            if let Some(number) = notification.take() {
                self.told(number);
            }
            let due = pushed + *interval.borrow_and_update();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Ping) => message = Some(Message::Ping(Bytes::new())),
                    Some(Order::Close(code)) => return End::Close(code),
                    None => return End::Close(CloseCode::GOING_AWAY),
                },
                () = tokio::time::sleep_until(due) => {
                    pushed = Instant::now();
                    message = self.push_update();
                }
                // "A changed interval restarts both clocks at the moment of the change" (cloud-protocol.md).
                Ok(()) = interval.changed() => pushed = Instant::now(),
                (number, frame) = self.next() => {
                    notification = Some(number);
                    message = Some(Message::text(frame));
                }
            }
        }
    }

    async fn send<W>(&self, sink: &mut W, message: Message) -> Result<(), End>
    where
        W: Sink<Message, Error = Error> + Unpin,
    {
        let length = message.len();
        match timeout(WRITE_BOUND, sink.send(message)).await {
            Ok(Ok(())) => {
                Counters::add(&self.counters.sent, length);
                Ok(())
            }
            _ => Err(End::Lost),
        }
    }

    fn push_update(&self) -> Option<Message> {
        let contents = frame::content(&(self.state)()?)?;
        let frame = frame::push_update((self.clock)(), contents);
        if frame.len() > MAX_TELEMETRY_MESSAGE {
            Counters::add(&self.counters.dropped, 1);
            return None;
        }
        Some(Message::text(frame))
    }

    /// The oldest notification, once there is one. It stays in the queue until it is told: a connection that is lost
    /// meanwhile takes none with it.
    async fn next(&self) -> (u64, String) {
        loop {
            let filled = self.filled.notified();
            if let Some(oldest) = self.queue().frames.front() {
                return oldest.clone();
            }
            filled.await;
        }
    }

    /// This one was sent, if the queue has not dropped it for a newer one.
    fn told(&self, number: u64) {
        let mut queue = self.queue();
        if queue
            .frames
            .front()
            .is_some_and(|(front, _)| *front == number)
        {
            queue.frames.pop_front();
        }
    }

    async fn read<S>(&self, stream: &mut S, report: &mpsc::Sender<SubconnectionReply>) -> End
    where
        S: Stream<Item = Result<Message, Error>> + Unpin,
    {
        let mut listener = Listener::new(stream, Kind::Text, report);
        loop {
            match listener.next().await {
                Ok(text) => Counters::add(&self.counters.received, text.len()),
                Err(end) => return end,
            }
        }
    }

    /// A poisoned lock means that another thread died with it; the queue is whole all the same.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Telemetry {
    fn serve(&self, link: Link) -> BoxFuture<'_, ()> {
        Box::pin(self.serve_on(link))
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

#[cfg(test)]
mod tests;
