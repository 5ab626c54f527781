//! The receiving side of a session: from octets to a bounded queue of messages.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::SessionError;
use crate::model::settings::Limits;
use crate::netconf::reply::ReplyHead;
use crate::protocol::framing::{Framer, Framing, FramingError};
use crate::protocol::hello::Hello;

/// Octets taken from the stream at a time.
const READ_SIZE: usize = 16 << 10;

/// What the worker finds in the queue. All but messages are the last of it.
pub(super) enum Item {
    /// A message.
    Message {
        /// Its octets.
        message: Bytes,
        /// Its share of the octets that may wait; given back with it.
        _room: OwnedSemaphorePermit,
    },
    /// The framing is broken, or a message too big.
    Broken {
        /// How.
        error: FramingError,
        /// The request it happened in, as far as it is known.
        head: ReplyHead,
    },
    /// The stream failed.
    Failed(io::Error),
    /// The stream ended.
    End,
}

pub(super) struct Input<S> {
    stream: ReadHalf<S>,
    framer: Framer,
    limits: watch::Receiver<Arc<Limits>>,
}

impl<S: AsyncRead> Input<S> {
    pub(super) fn new(stream: ReadHalf<S>, limits: watch::Receiver<Arc<Limits>>) -> Self {
        let framer = Framer::new(limits.borrow().message_size);
        Self {
            stream,
            framer,
            limits,
        }
    }

    pub(super) fn set_framing(&mut self, framing: Framing) {
        self.framer.set_framing(framing);
    }

    /// The first message, which must be a hello.
    pub(super) async fn read_hello(&mut self) -> Result<Hello, SessionError> {
        loop {
            if let Some(message) = self.framer.next()? {
                let depth = self.limits.borrow().message_depth;
                return Ok(Hello::from_client(&message, depth)?);
            }
            if !self.fill().await? {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Queues messages until the stream ends. When the queue is full, the stream is not read.
    pub(super) async fn read_all(&mut self, queue: mpsc::Sender<Item>) {
        let octets = self
            .limits
            .borrow()
            .pipelined_octets
            .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let room = Arc::new(Semaphore::new(octets));
        loop {
            let item = match self.next().await {
                // A message beyond all of the room waits until it is the only one.
                Ok(Some(message)) => match Arc::clone(&room)
                    .acquire_many_owned(share(&message, octets))
                    .await
                {
                    Ok(room) => Item::Message {
                        message,
                        _room: room,
                    },
                    Err(_) => return,
                },
                Ok(None) => Item::End,
                Err(item) => item,
            };
            let is_last = !matches!(item, Item::Message { .. });
            if queue.send(item).await.is_err() || is_last {
                return;
            }
        }
    }

    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Bytes>, Item> {
        loop {
            match self.framer.next() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) => {
                    return Err(Item::Broken {
                        error,
                        head: ReplyHead::recover(self.framer.partial()),
                    });
                }
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => return Err(Item::Failed(error)),
            }
        }
    }

    /// Takes in what has arrived; false at the end of the stream.
    async fn fill(&mut self) -> io::Result<bool> {
        let (stream, framer) = (&mut self.stream, &mut self.framer);
        let limits = &self.limits;
        // Read into the stack: a session that waits, as most do, holds no buffer.
        let octets = poll_fn(|cx| {
            let mut space = [MaybeUninit::uninit(); READ_SIZE];
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            framer.set_limit(limits.borrow().message_size);
            framer.push(read.filled());
            Poll::Ready(Ok::<_, io::Error>(read.filled().len()))
        })
        .await?;
        Ok(octets > 0)
    }
}

/// The octets that a message takes of those that may wait.
fn share(message: &Bytes, octets: usize) -> u32 {
    u32::try_from(message.len().min(octets)).unwrap_or(u32::MAX)
}
