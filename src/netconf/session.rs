//! One NETCONF session on any byte stream, from the hellos to its end.
//!
//! A reader cuts the stream into messages and queues them; a worker takes them one by one, has them carried out and
//! writes the replies, so replies come in the order of the requests and only one is in memory at a time.

mod input;
mod output;
mod owed;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use self::input::{Input, Item};
use self::output::Output;
use self::owed::Debt;
pub use self::owed::Owed;
use self::subscriptions::Subscriptions;
use super::operations::{Control, Counters};
pub use super::operations::{EndReason, Opened, Operations, Peer, SessionId, Transport};
use super::reply::{self, Data, Reply, ReplyHead};
use super::rpc::{self, Incoming, Rpc};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::settings::Limits;
use crate::protocol::framing::{Framing, FramingError};
use crate::protocol::hello::{Hello, HelloError};
use crate::protocol::xml::XmlError;

/// Replies that wait for others do not wait for an operation that takes longer.
const SHORT: Duration = Duration::from_millis(1);
/// Events that are told before a request has its turn.
const EVENTS: usize = 64;
/// Octets of a large reply that are sent at once.
const PART: usize = 32 << 10;

/// Why a session ended against the rules.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server did not let it in.
    #[error("the session is refused: {0}")]
    Refused(RpcError),
    /// The client's hello did not come in time, or ours could not be sent.
    #[error("no hello within {0:?}")]
    HelloTimeout(Duration),
    /// The client's hello is not accepted.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// A hello where an rpc must be.
    #[error("a second hello")]
    SecondHello,
    /// The framing is broken, or a message too big.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The client reads nothing.
    #[error("the client has read nothing for {0:?}")]
    NotReading(Duration),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Stream(#[from] io::Error),
}

impl SessionError {
    /// Whether the client is just gone, as one whose window is closed: that is against no rule.
    pub fn is_departure(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match self {
            Self::Stream(error) => {
                matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
            }
            _ => false,
        }
    }

    /// What is reported about the end of the session.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Hello(_) => EndReason::BadHello,
            // RFC 6470, `termination-reason`: inactivity, waiting for a hello or an rpc.
            Self::HelloTimeout(_) => EndReason::Timeout,
            Self::Refused(_) | Self::SecondHello => EndReason::Other,
            Self::Framing(_) | Self::NotReading(_) | Self::Stream(_) => EndReason::Dropped,
        }
    }
}

/// Tells a session to end; all clones are the same switch.
#[derive(Clone, Debug)]
pub(super) struct EndSwitch(Arc<watch::Sender<Option<EndReason>>>);

impl EndSwitch {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(super) fn end(&self, reason: EndReason) {
        self.0.send_if_modified(|end| {
            let is_first = end.is_none();
            end.get_or_insert(reason);
            is_first
        });
    }

    async fn ended(&self) -> EndReason {
        let mut end = self.0.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(EndReason::Other),
            Err(_) => EndReason::Other,
        }
    }
}

/// Gives the session's place back however it ends, a panic included.
struct Place<O: Operations> {
    operations: O,
    session: SessionId,
    reason: EndReason,
}

impl<O: Operations> Drop for Place<O> {
    fn drop(&mut self) {
        self.operations.close(self.session, self.reason);
    }
}

/// Serves one session to its end.
///
/// # Errors
/// Why it ended, when that was against the rules; [`SessionError::reason`] is what was reported to the server.
pub async fn serve<S, O>(
    stream: S,
    peer: Peer,
    operations: O,
    limits: watch::Receiver<Arc<Limits>>,
) -> Result<EndReason, SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    O: Operations,
{
    let switch = EndSwitch::new();
    let counters = Arc::new(Counters::default());
    let control = Control {
        switch: switch.clone(),
        counters: Arc::clone(&counters),
    };
    let opened = operations
        .open(&peer, control)
        .await
        .map_err(SessionError::Refused)?;
    let mut place = Place {
        operations: operations.clone(),
        session: opened.session,
        reason: EndReason::Dropped,
    };
    let result = tokio::select! {
        biased;
        reason = switch.ended() => Ok(reason),
        result = run(stream, &opened, &operations, &counters, limits, peer.owed.debt()) => result,
    };
    place.reason = match &result {
        Ok(reason) => *reason,
        Err(error) => error.reason(),
    };
    result
}

async fn run<S, O>(
    stream: S,
    opened: &Opened,
    operations: &O,
    counters: &Counters,
    limits: watch::Receiver<Arc<Limits>>,
    debt: Debt,
) -> Result<EndReason, SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    O: Operations,
{
    let (read_half, write_half) = tokio::io::split(stream);
    let mut input = Input::new(read_half, limits.clone());
    let mut output = Output::new(write_half, limits.clone());
    let hello_timeout = limits.borrow().hello_timeout;
    let hellos = exchange_hellos(&mut input, &mut output, opened);
    let framing = timeout(hello_timeout, hellos)
        .await
        .map_err(|_| SessionError::HelloTimeout(hello_timeout))??;
    input.set_framing(framing);
    output.set_framing(framing);

    let waiting = limits.borrow().pipelined_requests.max(1);
    let (queue, requests) = mpsc::channel(waiting);
    let mut worker = Worker {
        session: opened.session,
        operations,
        counters,
        limits,
        requests,
        output,
        framing,
        debt,
        subscriptions: Subscriptions::default(),
    };
    let reading = async {
        input.read_all(queue).await;
        // The requests that came before the end of the stream are still to be answered.
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = worker.work() => result,
        () = reading => Ok(EndReason::Dropped),
    };
    worker.output.close().await;
    result
}

/// Both sides send theirs at once, without waiting for the other's (RFC 6241, section 8.1).
async fn exchange_hellos<S>(
    input: &mut Input<S>,
    output: &mut Output<S>,
    opened: &Opened,
) -> Result<Framing, SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ours = Hello {
        capabilities: opened.capabilities.clone(),
        session_id: Some(opened.session),
    };
    let message = ours.write();
    let greeting = async {
        output.send(&message).await?;
        output.flush().await
    };
    let ((), theirs) = tokio::try_join!(greeting, input.read_hello())?;
    Ok(ours.agree(&theirs)?)
}

/// Carries out the requests of one session.
struct Worker<'a, S, O> {
    session: SessionId,
    operations: &'a O,
    counters: &'a Counters,
    limits: watch::Receiver<Arc<Limits>>,
    requests: mpsc::Receiver<Item>,
    output: Output<S>,
    framing: Framing,
    debt: Debt,
    subscriptions: Subscriptions,
}

/// What a session does next.
enum Turn {
    /// Answer this.
    Request(Item),
    /// Send this message of a subscription.
    Event(Arc<str>),
    /// End: it was idle for too long.
    Expired,
}

impl<S, O> Worker<'_, S, O>
where
    S: AsyncRead + AsyncWrite + Unpin,
    O: Operations,
{
    async fn work(&mut self) -> Result<EndReason, SessionError> {
        loop {
            // While more requests wait, small replies share a write.
            if self.requests.is_empty() {
                self.output.flush().await?;
                self.debt.set(false);
            }
            let item = match self.next().await {
                Turn::Request(item) => {
                    self.subscriptions.rest();
                    item
                }
                Turn::Event(event) => {
                    self.tell(event).await?;
                    continue;
                }
                Turn::Expired => return Ok(EndReason::Timeout),
            };
            match item {
                Item::Message { message, .. } => {
                    self.debt.set(true);
                    if let Some(reason) = self.handle(&message).await? {
                        return Ok(reason);
                    }
                }
                Item::Broken { error, head } => {
                    self.refuse_broken(&error, &head).await?;
                    return Err(error.into());
                }
                Item::Failed(error) => return Err(error.into()),
                Item::End => return Ok(EndReason::Dropped),
            }
        }
    }

    /// Sends an event, with those that follow at once.
    async fn tell(&mut self, event: Arc<str>) -> Result<(), SessionError> {
        let mut octets = event.len();
        let mut events = vec![event];
        while events.len() < EVENTS
            && octets < PART
            && let Some(next) = self.subscriptions.next_now()
        {
            octets += next.len();
            events.push(next);
        }
        let (output, counters) = (&mut self.output, self.counters);
        let telling = async move {
            for event in events {
                counters.count_notification();
                output.send(&event).await?;
            }
            output.flush().await
        };
        tokio::pin!(telling);
        let told = futures_util::poll!(&mut telling);
        // Whatever time it takes this client to read, the others go on.
        self.subscriptions.rest();
        match told {
            Poll::Ready(told) => told,
            Poll::Pending => telling.await,
        }
    }

    /// The next request or event. A session with a subscription is never idle.
    async fn next(&mut self) -> Turn {
        let since = Instant::now();
        loop {
            let idle = self.limits.borrow_and_update().idle_timeout;
            let is_live = !self.subscriptions.is_empty();
            self.debt.subscribed(is_live);
            let deadline = since
                .checked_add(idle)
                .filter(|_| !idle.is_zero() && !is_live);

            let expired = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                item = self.requests.recv() => return Turn::Request(item.unwrap_or(Item::End)),
                event = self.subscriptions.next() => return Turn::Event(event),
                () = expired => return Turn::Expired,
                // The time since the last request counts under a changed limit too.
                Ok(()) = self.limits.changed() => {}
            }
        }
    }

    /// Answers one message; the reason if the session ends with it.
    async fn handle(&mut self, message: &[u8]) -> Result<Option<EndReason>, SessionError> {
        let depth = self.limits.borrow().message_depth;
        let (head, result) = match rpc::read(self.operations.schema(), message, depth) {
            Incoming::Hello => return Err(SessionError::SecondHello),
            Incoming::Malformed { head, error } => {
                self.counters.count_bad_rpc();
                (head, Err(self.malformed(&error).into()))
            }
            Incoming::NotRpc { head, error } => {
                self.counters.count_bad_rpc();
                (head, Err(error.into()))
            }
            Incoming::Rpc { head, rpc } => {
                self.counters.count_rpc();
                match rpc {
                    Ok(Rpc::CloseSession) => {
                        self.reply(&head, Ok(Reply::Ok)).await?;
                        return Ok(Some(EndReason::Closed));
                    }
                    Ok(rpc) => match self.subscriptions.admit(&rpc) {
                        Ok(()) => (head, self.execute(rpc).await?),
                        Err(error) => (head, Err(error.into())),
                    },
                    Err(errors) => (head, Err(errors)),
                }
            }
        };
        self.reply(&head, result).await?;
        Ok(None)
    }

    /// Carries out one operation; replies to those before it do not wait for a long one.
    async fn execute(&mut self, rpc: Rpc) -> Result<Result<Reply, Errors>, SessionError> {
        let executing = self.operations.execute(self.session, rpc);
        if !self.output.is_pending() {
            return Ok(executing.await);
        }
        tokio::pin!(executing);
        match timeout(SHORT, &mut executing).await {
            Ok(result) => Ok(result),
            Err(_) => {
                self.output.flush().await?;
                Ok(executing.await)
            }
        }
    }

    /// RFC 6241, appendix A: `malformed-message` must not be sent to a peer that has base:1.0 alone.
    fn malformed(&self, error: &XmlError) -> RpcError {
        let tag = match self.framing {
            Framing::Chunked => ErrorTag::MalformedMessage,
            Framing::EndOfMessage => ErrorTag::OperationFailed,
        };
        RpcError::rpc(tag, error.to_string())
    }

    /// Broken framing has no reply (RFC 6242, section 4.2). A message that is too big has one if the request can be
    /// named.
    async fn refuse_broken(
        &mut self,
        error: &FramingError,
        head: &ReplyHead,
    ) -> Result<(), SessionError> {
        self.counters.count_bad_rpc();
        if matches!(error, FramingError::TooBig { .. }) && head.message_id().is_some() {
            let refusal = RpcError::rpc(ErrorTag::TooBig, error.to_string());
            self.reply(head, Err(refusal.into())).await?;
        }
        Ok(())
    }

    async fn reply(
        &mut self,
        head: &ReplyHead,
        result: Result<Reply, Errors>,
    ) -> Result<(), SessionError> {
        let message = match result {
            Ok(Reply::Data(data)) => return self.send_data(head, data).await,
            Ok(Reply::Ok) => reply::write(head, ""),
            Ok(Reply::Output(output)) => reply::write(head, &output),
            Ok(Reply::Subscribed(subscription, output)) => {
                self.subscriptions.add(*subscription);
                reply::write(head, &output)
            }
            Err(errors) => {
                self.counters.count_error();
                reply::write_errors(head, &errors, |module| self.operations.namespace(module))
            }
        };
        self.output.send(&message).await
    }

    /// A reply that is made as it is sent, and no faster than the client reads.
    async fn send_data(&mut self, head: &ReplyHead, mut data: Data) -> Result<(), SessionError> {
        let mut message = data.start(head);
        let mut is_begun = false;
        let mut next = data.next_piece();
        while let Some(piece) = next {
            message.push_str(&piece);
            if message.len() >= PART {
                self.output.send_part(&message).await?;
                message.clear();
                is_begun = true;
            }
            next = data.next_piece();
            if next.is_some() {
                // A client that reads as fast as this is made would else keep the other sessions of this thread waiting.
                tokio::task::yield_now().await;
            }
        }
        message.push_str(Data::end());
        match is_begun {
            false => self.output.send(&message).await,
            true => self.output.send_last_part(&message).await,
        }
    }
}
