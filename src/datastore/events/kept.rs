//! The events that are being read: of them is kept what it takes time to find out, for those who read them next. Readers
//! who are behind are so together, so it is the events that were read last, which need not be the newest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Event;

/// Events of which it is kept.
const EVENTS: usize = 256;
/// Octets of their texts; what is kept is a few times that.
const OCTETS: usize = 2 << 20;

/// See above.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    octets: usize,
}

impl Kept {
    /// This one is being read.
    pub fn add(&self, event: &Arc<Event>) {
        if event.is_kept() {
            return;
        }
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if event.set_kept(true) {
            return;
        }
        ring.octets += event.octets();
        ring.events.push_back(Arc::clone(event));
        // One is kept in any case: its readers come now.
        while ring.events.len() > EVENTS || (ring.octets > OCTETS && ring.events.len() > 1) {
            let Some(oldest) = ring.events.pop_front() else {
                return;
            };
            ring.octets -= oldest.octets();
            oldest.set_kept(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn event(octets: usize) -> Arc<Event> {
        let text = "x".repeat(octets);
        Arc::new(Event::stored(1, SystemTime::UNIX_EPOCH, text, None))
    }

    #[test]
    fn those_read_last_are_kept_within_bounds() {
        let kept = Kept::default();
        let events: Vec<_> = (0..=EVENTS).map(|_| event(10)).collect();
        for event in events.iter().chain([&events[EVENTS]]) {
            kept.add(event);
        }
        let are_kept: Vec<_> = events.iter().map(|event| event.is_kept()).collect();
        assert!(!are_kept[0] && are_kept[1..].iter().all(|is| *is));
        let large = event(OCTETS + 1);
        kept.add(&large);
        assert!(large.is_kept());
        assert!(events.iter().all(|event| !event.is_kept()));
        kept.add(&events[0]);
        assert!(events[0].is_kept() && !large.is_kept());
    }
}
