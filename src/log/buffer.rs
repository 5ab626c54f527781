//! The newest of the log: what operators read who have no shell on the device, and what the sink has still to take.
//!
//! Whoever logs puts an entry in and goes on; the thread of the sink follows at its own pace. A sink that stalls, such as a
//! terminal that is stopped or a disk that hangs, loses the oldest and holds nobody up.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::entry::Entry;

/// Entries that are kept.
pub const ENTRIES: usize = 1000;
/// Octets of their texts that are kept; the newest is there whatever it takes.
pub const OCTETS: usize = 256 << 10;
/// Entries that may wait for the sink.
const WAITING_ENTRIES: usize = 16 << 10;
/// Octets of their texts.
const WAITING_OCTETS: usize = 4 << 20;

/// The newest entries. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Buffer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ring: Mutex<Ring>,
    /// Something is new for the sink.
    news: Condvar,
    /// The sink has taken something over.
    taken: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    octets: usize,
    last: u64,
    sink: Option<Reading>,
}

/// How far the sink is.
#[derive(Debug, Default)]
struct Reading {
    /// The number of the last entry that it was given.
    given: u64,
    /// And of the last that it has done with.
    done: u64,
    /// Nothing comes any more.
    is_over: bool,
    /// Its file may have been moved.
    is_moved: bool,
}

/// What the sink is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    /// To write these; so many before them are gone.
    Write(Vec<Arc<Entry>>, u64),
    /// To open its file again.
    Reopen,
    /// To end.
    End,
}

impl Ring {
    fn push(&mut self, mut entry: Entry) {
        self.last += 1;
        entry.number = self.last;
        self.octets += entry.octets();
        self.entries.push_back(Arc::new(entry));
        while self.is_too_much() {
            let oldest = self.entries.pop_front();
            self.octets -= oldest.map_or(0, |oldest| oldest.octets());
        }
    }

    fn is_too_much(&self) -> bool {
        let more_than = |entries, octets| {
            self.entries.len() > entries || self.octets > octets && self.entries.len() > 1
        };
        let Some(oldest) = self.entries.front() else {
            return false;
        };
        let sink = self.sink.as_ref();
        match sink.is_some_and(|sink| sink.given < oldest.number) {
            true => more_than(WAITING_ENTRIES, WAITING_OCTETS),
            false => more_than(ENTRIES, OCTETS),
        }
    }

    /// What the sink is to do now.
    fn due(&mut self) -> Option<Due> {
        let sink = self.sink.as_mut()?;
        sink.done = sink.given;
        if std::mem::take(&mut sink.is_moved) {
            return Some(Due::Reopen);
        }
        if sink.given == self.last {
            return sink.is_over.then_some(Due::End);
        }
        let new = usize::try_from(self.last - sink.given).unwrap_or(usize::MAX);
        let old = self.entries.len().saturating_sub(new);
        let new: Vec<_> = self.entries.range(old..).cloned().collect();
        let lost = self.last - sink.given - new.len() as u64;
        sink.given = self.last;
        Some(Due::Write(new, lost))
    }
}

impl Buffer {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, entry: Entry) {
        self.ring().push(entry);
        self.0.news.notify_one();
    }

    /// The newest `most` entries that are wanted, oldest first.
    pub fn newest(&self, most: usize, wanted: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let ring = self.ring();
        let wanted = ring.entries.iter().rev().filter(|entry| wanted(entry));
        let mut found: Vec<_> = wanted.take(most).cloned().collect();
        found.reverse();
        found
    }

    /// From now on there is a sink, which asks [`Buffer::due`].
    pub(super) fn attach(&self) {
        self.ring().sink = Some(Reading::default());
    }

    /// What the sink is to do; waits until there is something, and takes it that all before is done.
    pub(super) fn due(&self) -> Due {
        let mut ring = self.ring();
        loop {
            let due = ring.due();
            self.0.taken.notify_all();
            match due {
                Some(due) => return due,
                None => {
                    ring = self
                        .0
                        .news
                        .wait(ring)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }

    /// The sink's file may have been moved.
    pub(super) fn moved(&self) {
        self.tell_sink(|sink| sink.is_moved = true);
    }

    /// Nothing comes any more: the sink ends once it has written what there is.
    pub(super) fn end(&self) {
        self.tell_sink(|sink| sink.is_over = true);
    }

    fn tell_sink(&self, tell: impl FnOnce(&mut Reading)) {
        if let Some(sink) = &mut self.ring().sink {
            tell(sink);
        }
        self.0.news.notify_one();
    }

    /// Waits until the sink has written all there is now, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let ring = self.ring();
        let last = ring.last;
        let is_behind = |ring: &mut Ring| ring.sink.as_ref().is_some_and(|sink| sink.done < last);
        // Whether it has or the time is over, nothing is left to do.
        drop(self.0.taken.wait_timeout_while(ring, patience, is_behind));
    }
}

/// Puts every event into a buffer; its sink ends with it.
pub(super) struct Recorder(Buffer);

impl Recorder {
    pub(super) fn new(buffer: Buffer) -> Self {
        Self(buffer)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.push(Entry::of(event));
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::super::tests::told;
    use super::*;

    fn entry(level: Level, message: String) -> Entry {
        Entry {
            number: 0,
            at: std::time::SystemTime::UNIX_EPOCH,
            level,
            module: "x".into(),
            message,
            fields: Vec::new(),
        }
    }

    fn fill(buffer: &Buffer, entries: usize) {
        for _ in 0..entries {
            buffer.push(entry(Level::INFO, "short".to_owned()));
        }
    }

    fn written(due: Due) -> (usize, u64) {
        match due {
            Due::Write(entries, lost) => (entries.len(), lost),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_bounded_in_entries_and_in_octets() {
        let buffer = Buffer::default();
        fill(&buffer, ENTRIES + 5);
        let all = buffer.newest(usize::MAX, |_| true);
        assert_eq!((all.len(), all[0].number), (ENTRIES, 6));
        buffer.push(entry(Level::INFO, "x".repeat(OCTETS)));
        assert_eq!(buffer.newest(usize::MAX, |_| true).len(), 1);
        assert_eq!(buffer.ring().octets, OCTETS);
    }

    #[test]
    fn the_newest_that_are_wanted_come_oldest_first() {
        let entries = told(|| {
            tracing::info!("1");
            tracing::warn!("2");
            tracing::info!("3");
            tracing::warn!("4");
            tracing::warn!("5");
        });
        let buffer = Buffer::default();
        for entry in entries {
            buffer.push(entry.as_ref().clone());
        }
        let warnings = buffer.newest(2, |entry| entry.level == Level::WARN);
        let numbers: Vec<_> = warnings.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [4, 5]);
    }

    #[test]
    fn a_sink_gets_each_entry_once() {
        let buffer = Buffer::default();
        buffer.attach();
        fill(&buffer, 3);
        assert_eq!(written(buffer.due()), (3, 0));
        fill(&buffer, 2);
        assert_eq!(written(buffer.due()), (2, 0));
        buffer.moved();
        fill(&buffer, 1);
        buffer.end();
        assert_eq!(buffer.due(), Due::Reopen);
        assert_eq!(written(buffer.due()), (1, 0));
        assert_eq!(buffer.due(), Due::End);
    }

    #[test]
    fn what_waits_for_a_sink_is_kept_beyond_what_operators_read_and_bounded() {
        let buffer = Buffer::default();
        buffer.attach();
        fill(&buffer, WAITING_ENTRIES + 7);
        assert_eq!(written(buffer.due()), (WAITING_ENTRIES, 7));
        // It was taken over: the next has no more company than anybody reads.
        fill(&buffer, 1);
        assert_eq!(buffer.newest(usize::MAX, |_| true).len(), ENTRIES);
        for _ in 0..5 {
            buffer.push(entry(Level::INFO, "x".repeat(WAITING_OCTETS / 4)));
        }
        assert!(buffer.ring().octets <= WAITING_OCTETS);
        assert_eq!(written(buffer.due()), (4, 2));
    }

    #[test]
    fn a_flush_waits_for_the_sink_and_not_for_ever() {
        let buffer = Buffer::default();
        // Without a sink there is nothing to wait for.
        fill(&buffer, 1);
        buffer.flush(Duration::from_secs(3600));
        buffer.attach();
        fill(&buffer, 1);
        buffer.flush(Duration::from_millis(1));
        let sink = {
            let buffer = buffer.clone();
            std::thread::spawn(move || {
                assert_eq!(written(buffer.due()).0, 2);
                assert_eq!(buffer.due(), Due::End);
            })
        };
        buffer.flush(Duration::from_secs(3600));
        buffer.end();
        sink.join().unwrap();
    }
}
