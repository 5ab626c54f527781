//! The log behind a stream: what happened last, within bounds. It is also everyone's queue, so that an event costs its
//! publisher the same whoever listens: a subscriber has a place in it and reads on from there at his own pace.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::Event;

/// What a log holds at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Events.
    pub events: usize,
    /// Octets of their texts.
    pub octets: usize,
}

/// A place in a log: the number of the event that is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64);

/// What is at a place.
#[derive(Clone, Debug)]
pub enum Found {
    /// This event.
    Event(Arc<Event>),
    /// Nothing yet.
    End,
    /// Nothing any more: it had to make room.
    Lost {
        /// The oldest event that is there.
        oldest: Place,
    },
}

/// The events of a stream, oldest first.
#[derive(Debug)]
pub struct Log {
    events: VecDeque<Arc<Event>>,
    /// The number of the next event.
    next: u64,
    octets: usize,
    bounds: Bounds,
    created: SystemTime,
    aged: Option<SystemTime>,
}

impl Log {
    /// A log begun at a time, with the events of an earlier run, whose numbers rise by one. `aged` is the time of the last
    /// event that was dropped.
    pub fn new(
        created: SystemTime,
        aged: Option<SystemTime>,
        bounds: Bounds,
        events: Vec<Event>,
    ) -> Self {
        let mut log = Self {
            next: events.last().map_or(1, |last| last.number + 1),
            octets: events.iter().map(Event::octets).sum(),
            events: events.into_iter().map(Arc::new).collect(),
            bounds,
            created,
            aged,
        };
        log.trim();
        log
    }

    /// The number that the next event gets.
    pub fn end(&self) -> Place {
        Place(self.next)
    }

    /// The place of the first event that is still there.
    pub fn start(&self) -> Place {
        let held = self.events.len() as u64;
        Place(self.next - held)
    }

    /// The place of the first event at or after a time. The clock may have been set back in between: what stands behind
    /// the first that is late enough comes with it.
    pub fn since(&self, time: SystemTime) -> Place {
        let early = self.events.iter().take_while(|event| event.at < time);
        Place(self.start().0 + early.count() as u64)
    }

    /// Adds an event, which has the number of [`Log::end`]; the oldest make room.
    pub fn push(&mut self, event: Arc<Event>) {
        debug_assert_eq!(event.number, self.next);
        self.next += 1;
        self.octets += event.octets();
        self.events.push_back(event);
        self.trim();
    }

    /// What is at a place.
    pub fn at(&self, place: Place) -> Found {
        let start = self.start();
        let Some(index) = place.0.checked_sub(start.0) else {
            return Found::Lost { oldest: start };
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self.events.get(index) {
            Some(event) => Found::Event(Arc::clone(event)),
            None => Found::End,
        }
    }

    /// Other bounds.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.trim();
    }

    /// When it was begun (RFC 5277, `replayLogCreationTime`).
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// The time of the last event that had to make room (RFC 5277, `replayLogAgedTime`).
    pub fn aged(&self) -> Option<SystemTime> {
        self.aged
    }

    fn trim(&mut self) {
        let is_over =
            |log: &Self| log.events.len() > log.bounds.events || log.octets > log.bounds.octets;
        // The newest is for those who listen, however large it is.
        while self.events.len() > 1 && is_over(self) {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.octets -= oldest.octets();
            self.aged = Some(oldest.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn stored(number: u64, seconds: u64) -> Event {
        Event::stored(number, at(seconds), "<e/>".to_owned(), None)
    }

    fn event(number: u64, seconds: u64) -> Arc<Event> {
        Arc::new(stored(number, seconds))
    }

    fn log(events: usize) -> Log {
        let bounds = Bounds {
            events,
            octets: 1000,
        };
        Log::new(at(0), None, bounds, Vec::new())
    }

    fn number(found: Found) -> Option<u64> {
        match found {
            Found::Event(event) => Some(event.number),
            _ => None,
        }
    }

    #[test]
    fn everyone_reads_on_from_his_own_place() {
        let mut log = log(10);
        let early = log.end();
        log.push(event(1, 10));
        let late = log.end();
        log.push(event(2, 20));
        assert_eq!(number(log.at(early)), Some(1));
        assert_eq!(number(log.at(late)), Some(2));
        assert!(matches!(log.at(log.end()), Found::End));
    }

    #[test]
    fn the_oldest_make_room_and_who_was_there_learns_it() {
        let mut log = log(2);
        let place = log.end();
        for number in 1..=3 {
            log.push(event(number, number));
        }
        assert!(matches!(log.at(place), Found::Lost { oldest } if oldest == Place(2)));
        assert_eq!(log.aged(), Some(at(1)));
        log.set_bounds(Bounds {
            events: 10,
            octets: 4,
        });
        assert_eq!(log.start(), Place(3));
        assert_eq!(log.aged(), Some(at(2)));
        log.set_bounds(Bounds {
            events: 10,
            octets: 1,
        });
        assert_eq!(log.start(), Place(3), "it is still to be heard of");
    }

    #[test]
    fn a_replay_begins_at_the_first_event_that_is_not_too_early() {
        let mut log = log(10);
        for (number, seconds) in [(1, 10), (2, 20), (3, 15), (4, 30)] {
            log.push(event(number, seconds));
        }
        assert_eq!(log.since(at(5)), Place(1));
        assert_eq!(log.since(at(20)), Place(2));
        assert_eq!(log.since(at(21)), Place(4));
        assert_eq!(log.since(at(31)), log.end());
    }

    #[test]
    fn a_log_goes_on_where_an_earlier_run_ended() {
        let bounds = Bounds {
            events: 2,
            octets: 1000,
        };
        let events = vec![stored(7, 1), stored(8, 2), stored(9, 3)];
        let log = Log::new(at(0), None, bounds, events);
        assert_eq!((log.start(), log.end()), (Place(8), Place(10)));
        assert_eq!(log.aged(), Some(at(1)));
    }
}
