//! Who is connected to the door for Prometheus, and who has to go when there are too many.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Connections at the same time.
pub(super) const PLACES: usize = 32;
/// Those of one address.
pub(super) const PLACES_OF_ONE: usize = 8;
/// Whoever has sent a request has so long to take the answer before others go first.
const ANSWER: Duration = Duration::from_secs(5);
/// Whoever comes has so long to ask before he may have to go: without it those who come again and again would have one who
/// asks at once go, too.
const GRACE: Duration = Duration::from_millis(20);

/// What there is for one more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A place.
    Place,
    /// Perhaps a place at this time.
    At(Instant),
    /// None: all are being served.
    None,
}

/// Those who are connected, in the order in which they came.
#[derive(Default)]
pub(super) struct Guests(VecDeque<Guest>);

struct Guest {
    address: IpAddr,
    since: Instant,
    has_asked: HasAsked,
    task: AbortHandle,
}

/// Whether a guest's request is there.
#[derive(Clone, Default)]
pub(super) struct HasAsked(Arc<AtomicBool>);

impl HasAsked {
    /// It is.
    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Guests {
    /// Makes room for one more of this address.
    ///
    /// The oldest goes who has not asked yet, so that one who keeps silent keeps nobody out; of an address that has all its
    /// places, one of its own.
    pub fn make_room(&mut self, address: IpAddr) -> Room {
        self.0.retain(|guest| !guest.task.is_finished());
        let own = self.0.iter().filter(|guest| guest.address == address);
        if own.count() >= PLACES_OF_ONE {
            self.dismiss(|guest| guest.address == address)
        } else if self.0.len() >= PLACES {
            self.dismiss(|_| true)
        } else {
            Room::Place
        }
    }

    /// Has somebody in.
    pub fn enter(&mut self, address: IpAddr, has_asked: HasAsked, task: AbortHandle) {
        self.0.push_back(Guest {
            address,
            since: Instant::now(),
            has_asked,
            task,
        });
    }

    fn dismiss(&mut self, may_go: impl Fn(&Guest) -> bool) -> Room {
        let mut guests = self.0.iter().enumerate();
        let found = guests.find(|(_, guest)| may_go(guest) && !guest.is_served());
        let Some((at, oldest)) = found else {
            return Room::None;
        };
        let ripe = oldest.since + GRACE;
        if Instant::now() < ripe {
            return Room::At(ripe);
        }
        oldest.task.abort();
        self.0.remove(at);
        Room::Place
    }
}

impl Guest {
    fn is_served(&self) -> bool {
        self.has_asked.0.load(Relaxed) && self.since.elapsed() < ANSWER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Who stays for ever.
    fn enter(guests: &mut Guests, address: IpAddr, asks: bool) -> AbortHandle {
        let has_asked = HasAsked::default();
        if asks {
            has_asked.set();
        }
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        guests.enter(address, has_asked, task.clone());
        task
    }

    /// Whether exactly the first of these has gone.
    async fn has_gone(first: &AbortHandle, others: &[AbortHandle]) -> bool {
        tokio::task::yield_now().await;
        first.is_finished() && !others.iter().any(AbortHandle::is_finished)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_has_all_its_places_loses_its_own_oldest_that_has_not_asked() {
        let mut guests = Guests::default();
        let other = enter(&mut guests, address(2), false);
        let asked = enter(&mut guests, address(1), true);
        let silent = enter(&mut guests, address(1), false);
        let mut others = vec![other, asked];
        for _ in 2..PLACES_OF_ONE {
            assert_eq!(guests.make_room(address(1)), Room::Place);
            others.push(enter(&mut guests, address(1), false));
        }
        let soon = Room::At(Instant::now() + GRACE);
        assert_eq!(guests.make_room(address(1)), soon);
        assert!(!has_gone(&silent, &others).await);
        tokio::time::advance(GRACE).await;
        assert_eq!(guests.make_room(address(1)), Room::Place);
        assert!(has_gone(&silent, &others).await);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_places_are_taken_the_oldest_that_has_not_asked_goes_whosever_it_is() {
        let mut guests = Guests::default();
        let mut all: Vec<_> = (0..PLACES)
            .map(|number| enter(&mut guests, address((number / 4) as u8), number == 0))
            .collect();
        tokio::time::advance(GRACE).await;
        assert_eq!(guests.make_room(address(99)), Room::Place);
        let silent = all.remove(1);
        assert!(has_gone(&silent, &all).await);
        assert_eq!(
            guests.make_room(address(99)),
            Room::Place,
            "there is room again"
        );
        assert!(has_gone(&silent, &all).await);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_goes_who_is_served_unless_he_does_not_take_his_answer() {
        let mut guests = Guests::default();
        let all: Vec<_> = (0..PLACES_OF_ONE)
            .map(|_| enter(&mut guests, address(1), true))
            .collect();
        assert_eq!(guests.make_room(address(1)), Room::None);
        assert_eq!(guests.make_room(address(2)), Room::Place);
        tokio::time::advance(ANSWER).await;
        assert_eq!(guests.make_room(address(1)), Room::Place);
        assert!(has_gone(&all[0], &all[1..]).await);
    }
}
