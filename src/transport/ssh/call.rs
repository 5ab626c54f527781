//! What is different about a connection that the agent itself has opened (call home, RFC 8071): it stays for as long as
//! the agent wants it, and whoever opened it hears of the login.

use std::future::pending;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::transport::Owed;

/// What the agent wants with a connection at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// It stays, but not without a request or a subscription for this long; `None`: for as long as the manager likes.
    Stay(Option<Duration>),
    /// It ends once the manager has the replies to what it has asked, within a second.
    Leave,
}

/// A connection that the agent has opened.
#[derive(Debug)]
pub struct Call {
    terms: watch::Receiver<Terms>,
    logged_in: Option<oneshot::Sender<String>>,
}

/// How such a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// The agent has as many connections as it may have.
    Refused,
    /// Nobody logged in in time.
    LoginTimeout,
    /// It is over; with the reason, if that is worth telling.
    Over(Option<String>),
}

impl Call {
    /// With what hears who has logged in.
    pub fn new(terms: watch::Receiver<Terms>) -> (Self, oneshot::Receiver<String>) {
        let (logged_in, login) = oneshot::channel();
        let call = Self {
            terms,
            logged_in: Some(logged_in),
        };
        (call, login)
    }

    pub(super) fn logged_in(&mut self, user: &str) {
        if let Some(logged_in) = self.logged_in.take() {
            // Whoever does not listen does not want to know.
            let _ = logged_in.send(user.to_owned());
        }
    }

    /// Ends once the connection is not wanted any more.
    pub(super) async fn left(&self) {
        let mut terms = self.terms.clone();
        // Who could say so may be gone.
        let _ = terms.wait_for(|terms| *terms == Terms::Leave).await;
    }

    /// Ends once the connection has been idle for longer than it may.
    pub(super) async fn idle(&self, owed: &Owed) {
        let mut terms = self.terms.clone();
        loop {
            let most = match *terms.borrow_and_update() {
                Terms::Stay(most) => most,
                Terms::Leave => None,
            };
            let quiet = async {
                match most {
                    Some(most) => owed.quiet(most).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = quiet => return,
                changed = terms.changed() => if changed.is_err() {
                    return pending().await;
                }
            }
        }
    }
}
