//! Whether sessions owe their clients replies or listen for events, for a door that is not to be closed on them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// What the sessions of one connection are about. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Owed(Arc<watch::Sender<Ledger>>);

/// Of all sessions together.
#[derive(Debug, Default)]
struct Ledger {
    /// Those that owe a reply.
    owing: usize,
    /// Those that have a subscription.
    subscribed: usize,
}

impl Owed {
    /// Ends once everything that was asked is answered and written.
    pub async fn settled(&self) {
        // The sender lives in self, so the only way out is the value.
        let _ = self
            .0
            .subscribe()
            .wait_for(|ledger| ledger.owing == 0)
            .await;
    }

    /// Ends once nobody has asked for anything, and nobody has had a subscription, for this long.
    pub async fn quiet(&self, long: Duration) {
        let mut ledger = self.0.subscribe();
        loop {
            let is_quiet = {
                let ledger = ledger.borrow_and_update();
                ledger.owing == 0 && ledger.subscribed == 0
            };
            let passed = async {
                match is_quiet {
                    true => sleep(long).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                // The sender lives in self.
                _ = ledger.changed() => {}
            }
        }
    }

    /// The part of one session, which owes nothing yet.
    pub(super) fn debt(&self) -> Debt {
        Debt {
            owed: self.clone(),
            owes: false,
            subscribed: false,
        }
    }
}

/// The same connection.
impl PartialEq for Owed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Owed {}

/// The part of one session; nothing once it is dropped.
pub(super) struct Debt {
    owed: Owed,
    owes: bool,
    subscribed: bool,
}

impl Debt {
    pub(super) fn set(&mut self, owes: bool) {
        if owes == self.owes {
            return;
        }
        self.owes = owes;
        self.owed.0.send_modify(|ledger| match owes {
            true => ledger.owing += 1,
            false => ledger.owing -= 1,
        });
    }

    /// Whether the session has a subscription.
    pub(super) fn subscribed(&mut self, subscribed: bool) {
        if subscribed == self.subscribed {
            return;
        }
        self.subscribed = subscribed;
        self.owed.0.send_modify(|ledger| match subscribed {
            true => ledger.subscribed += 1,
            false => ledger.subscribed -= 1,
        });
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.set(false);
        self.subscribed(false);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn it_is_settled_once_no_session_owes_anything() {
        let owed = Owed::default();
        let (mut first, mut second) = (owed.debt(), owed.debt());
        assert!(owed.settled().now_or_never().is_some());
        first.set(true);
        second.set(true);
        second.set(true);
        first.set(false);
        assert!(owed.settled().now_or_never().is_none());
        drop(second);
        assert!(owed.settled().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_quiet_a_while_after_the_last_reply_and_the_last_subscription() {
        let owed = Owed::default();
        let mut session = owed.debt();
        session.set(true);
        let begun = Instant::now();
        let waiting = tokio::spawn({
            let owed = owed.clone();
            async move {
                owed.quiet(Duration::from_secs(10)).await;
                Instant::now()
            }
        });
        sleep(Duration::from_secs(60)).await;
        session.set(false);
        sleep(Duration::from_secs(9)).await;
        session.subscribed(true);
        sleep(Duration::from_secs(60)).await;
        drop(session);
        assert_eq!((waiting.await.unwrap() - begun).as_secs(), 139);
    }
}
