//! Whether sessions owe their clients replies, for a door that is not to be closed on them.

use std::sync::Arc;

use tokio::sync::watch;

/// How many sessions of one connection owe a reply. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Owed(Arc<watch::Sender<usize>>);

impl Owed {
    /// Ends once everything that was asked is answered and written.
    pub async fn settled(&self) {
        // The sender lives in self, so the only way out is the value.
        let _ = self.0.subscribe().wait_for(|owing| *owing == 0).await;
    }

    /// The part of one session, which owes nothing yet.
    pub(super) fn debt(&self) -> Debt {
        Debt {
            owed: self.clone(),
            owes: false,
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

/// What one session owes; nothing once it is dropped.
pub(super) struct Debt {
    owed: Owed,
    owes: bool,
}

impl Debt {
    pub(super) fn set(&mut self, owes: bool) {
        if owes == self.owes {
            return;
        }
        self.owes = owes;
        self.owed.0.send_modify(|owing| match owes {
            true => *owing += 1,
            false => *owing -= 1,
        });
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

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
}
