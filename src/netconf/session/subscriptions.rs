//! The subscriptions of one session: which may be beside one another, and whose turn it is.

use std::sync::Arc;

use futures_util::future::select_all;

use crate::model::error::{ErrorTag, RpcError};
use crate::netconf::rpc::Rpc;
use crate::netconf::subscription::{Next, Subscribed};

#[derive(Default)]
pub(super) struct Subscriptions(Vec<Subscribed>);

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, subscription: Subscribed) {
        self.0.push(subscription);
    }

    /// Whether the session may do this with the subscriptions that it has. A session has one by create-subscription (RFC
    /// 5277, section 2.1.1), or others (RFC 8640, section 4).
    ///
    /// # Errors
    /// `operation-failed` for a second create-subscription, `operation-not-supported` for one beside the other.
    pub(super) fn admit(&self, rpc: &Rpc) -> Result<(), RpcError> {
        let is_created = self.0.iter().any(|one| one.is_created());
        let beside = |words: &str| Err(RpcError::protocol(ErrorTag::OperationNotSupported, words));
        match rpc {
            Rpc::CreateSubscription(_) if is_created => {
                let words = "the session has a subscription already";
                Err(RpcError::protocol(ErrorTag::OperationFailed, words))
            }
            Rpc::CreateSubscription(_) if !self.is_empty() => {
                beside("the session has subscriptions by establish-subscription")
            }
            Rpc::EstablishSubscription(_) | Rpc::EstablishPush(_) if is_created => {
                beside("the session has a subscription by create-subscription")
            }
            _ => Ok(()),
        }
    }

    /// The next message of any of them, each in its turn. Safe to cancel; [`Subscriptions::rest`] follows, whatever came of
    /// it.
    pub(super) async fn next(&mut self) -> Arc<str> {
        loop {
            if self.is_empty() {
                std::future::pending::<()>().await;
            }
            let all = self.0.iter_mut().map(|one| Box::pin(one.next()));
            let (next, index, _) = select_all(all).await;
            if let Some(message) = self.take(next, index) {
                return message;
            }
        }
    }

    /// The next message if there is one already.
    pub(super) fn next_now(&mut self) -> Option<Arc<str>> {
        let mut index = 0;
        while let Some(one) = self.0.get_mut(index) {
            match one.next_now() {
                Some(next) => {
                    if let Some(message) = self.take(next, index) {
                        return Some(message);
                    }
                }
                None => index += 1,
            }
        }
        None
    }

    /// Other sessions have their turn; of this one the next subscription.
    pub(super) fn rest(&mut self) {
        self.0.iter().for_each(Subscribed::rest);
        if !self.is_empty() {
            self.0.rotate_left(1);
        }
    }

    /// The message of one of them, which comes first now: what it has to say goes together.
    fn take(&mut self, next: Next, index: usize) -> Option<Arc<str>> {
        match next {
            Next::Message(message) => {
                self.0.rotate_left(index);
                Some(message)
            }
            Next::Last(message) => {
                drop(self.0.remove(index));
                message
            }
        }
    }
}
