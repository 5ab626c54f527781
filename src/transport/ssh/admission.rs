//! How many connections there may be, and which one gives way.
//!
//! Whoever has logged in stays. When all places are taken, the connection that has been trying to log in longest is
//! ended for the new one: an honest login takes a second, so silent connections cannot keep the others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::line::Hangup;

/// The places for connections.
#[derive(Clone, Default)]
pub(super) struct Admission(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    next: u64,
    /// By age. `None` has logged in.
    taken: BTreeMap<u64, Option<Hangup>>,
}

/// One connection's place; free again when dropped.
pub(super) struct Slot {
    admission: Admission,
    number: u64,
}

/// What happened to a new connection.
pub(super) enum Admitted {
    /// There was room.
    Yes(Slot),
    /// There is room because another one was ended.
    InsteadOf(Slot),
    /// All others have logged in.
    No,
}

impl Admission {
    /// Finds a place among `limit` for a connection that `hangup` ends.
    pub(super) fn admit(&self, limit: usize, hangup: &Hangup) -> Admitted {
        let mut places = self.places();
        let full = places.taken.len() >= limit;
        if full && !places.evict_oldest_login() {
            return Admitted::No;
        }
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, Some(hangup.clone()));
        let slot = Slot {
            admission: self.clone(),
            number,
        };
        if full {
            Admitted::InsteadOf(slot)
        } else {
            Admitted::Yes(slot)
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn evict_oldest_login(&mut self) -> bool {
        let oldest = self.taken.iter().find(|(_, hangup)| hangup.is_some());
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(Some(hangup)) = self.taken.remove(&number) {
            hangup.hang_up();
        }
        true
    }
}

impl Slot {
    /// From now on nobody takes this place.
    pub(super) fn logged_in(&self) {
        if let Some(place) = self.admission.places().taken.get_mut(&self.number) {
            *place = None;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.places().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(admission: &Admission, limit: usize) -> (Admitted, Hangup) {
        let hangup = Hangup::new();
        (admission.admit(limit, &hangup), hangup)
    }

    #[tokio::test]
    async fn a_full_server_ends_the_oldest_connection_without_login() {
        let admission = Admission::default();
        let (Admitted::Yes(user), _) = admit(&admission, 3) else {
            panic!()
        };
        user.logged_in();
        let (_first, first_hangup) = admit(&admission, 3);
        let (_second, _) = admit(&admission, 3);
        let (third, _) = admit(&admission, 3);
        assert!(matches!(third, Admitted::InsteadOf(_)));
        first_hangup.gone().await;
    }

    #[test]
    fn connections_with_login_never_give_way() {
        let admission = Admission::default();
        let (Admitted::Yes(user), _) = admit(&admission, 1) else {
            panic!()
        };
        user.logged_in();
        assert!(matches!(admit(&admission, 1).0, Admitted::No));
        drop(user);
        assert!(matches!(admit(&admission, 1).0, Admitted::Yes(_)));
    }
}
