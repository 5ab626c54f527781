//! Whose turn it is to read a stream. An event wakes not all who listen but the first of them; who is done wakes the
//! next, and when they have been at it for a while there is a pause as long. So a thousand listeners are not in the way of
//! those who have other things to do, such as to commit: they come one after the other, and each reads all that has come
//! meanwhile, which costs the less the more it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::task::yield_now;
use tokio::time::{Duration, Instant, sleep_until};

use super::Place;

/// Turns that take so long together are followed by a pause.
const SPELL: Duration = Duration::from_millis(5);

/// Those who read a stream. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<Line>>);

#[derive(Debug)]
struct Line {
    /// The end of the stream.
    end: Place,
    seats: HashMap<u64, Seat>,
    last: u64,
    /// Those who have read everything, by when they came.
    idle: BTreeMap<u64, u64>,
    /// Those for whom there is something.
    hungry: BTreeMap<u64, u64>,
    arrivals: u64,
    /// Turns under way, and how many there may be.
    taken: usize,
    most: usize,
    pace: Pace,
}

/// Has turns take half of the time, where there is more to do than that.
#[derive(Debug)]
struct Pace {
    /// How long they took since the last pause, and when the last one ended.
    spent: Duration,
    last: Instant,
    /// No turn before this.
    resume: Instant,
}

/// One who listens.
#[derive(Debug, Default)]
struct Seat {
    /// Its key in `idle` or `hungry`.
    arrival: Option<u64>,
    has_turn: bool,
    begun: Option<Instant>,
    waker: Option<Waker>,
}

/// A place among those who read a stream, given back when it is dropped.
#[derive(Debug)]
pub struct Listener {
    turns: Turns,
    seat: u64,
}

impl Turns {
    /// Turns on half of the processors: the rest is for those who make things happen.
    pub fn for_half(end: Place) -> Self {
        let abreast = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
        Self::new(end, abreast.max(1))
    }

    /// So many turns at a time.
    pub fn new(end: Place, most: usize) -> Self {
        Self(Arc::new(Mutex::new(Line {
            end,
            seats: HashMap::new(),
            last: 0,
            idle: BTreeMap::new(),
            hungry: BTreeMap::new(),
            arrivals: 0,
            taken: 0,
            most,
            pace: Pace::new(Instant::now()),
        })))
    }

    /// There is more in the stream.
    pub fn added(&self, end: Place) {
        let mut line = self.line();
        line.end = end;
        match line.hungry.is_empty() {
            true => line.hungry = std::mem::take(&mut line.idle),
            false => {
                let mut idle = std::mem::take(&mut line.idle);
                line.hungry.append(&mut idle);
            }
        }
        line.grant();
    }

    /// One more who listens.
    pub fn listen(&self) -> Listener {
        let mut line = self.line();
        line.last += 1;
        let seat = line.last;
        line.seats.insert(seat, Seat::default());
        Listener {
            turns: self.clone(),
            seat,
        }
    }

    /// What a thread that panicked left is still a line.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            spent: Duration::ZERO,
            last: now,
            resume: now,
        }
    }

    /// A turn is over.
    fn took(&mut self, begun: Instant, now: Instant) {
        if begun.duration_since(self.last) > SPELL {
            self.spent = Duration::ZERO;
        }
        self.last = now;
        self.spent += now.duration_since(begun);
        if self.spent >= SPELL {
            self.resume = now + std::mem::take(&mut self.spent);
        }
    }
}

impl Line {
    /// Gives turns as long as there are any.
    fn grant(&mut self) {
        while self.taken < self.most
            && let Some((_, first)) = self.hungry.pop_first()
        {
            let Some(seat) = self.seats.get_mut(&first) else {
                continue;
            };
            seat.arrival = None;
            seat.has_turn = true;
            self.taken += 1;
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
        }
    }

    fn line_up(&mut self, place: Place, number: u64) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        match place < self.end {
            true => self.hungry.insert(arrival, number),
            false => self.idle.insert(arrival, number),
        };
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.arrival = Some(arrival);
        }
        self.grant();
    }

    fn leave(&mut self, number: u64) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        seat.waker = None;
        if let Some(arrival) = seat.arrival.take() {
            self.idle.remove(&arrival);
            self.hungry.remove(&arrival);
        }
        let begun = seat.begun.take();
        if std::mem::take(&mut seat.has_turn) {
            if let Some(begun) = begun {
                self.pace.took(begun, Instant::now());
            }
            self.taken -= 1;
            self.grant();
        }
    }
}

impl Listener {
    /// Returns when there is something at `place` or behind it and it is its turn, which it has until [`Listener::rest`].
    /// Whoever stops waiting has to rest too: nobody else has his turn else.
    pub async fn turn(&self, place: Place) {
        std::future::poll_fn(|context| self.poll(place, context)).await;
        let resume = self.turns.line().pace.resume;
        match resume > Instant::now() {
            true => sleep_until(resume).await,
            // The runtime looks at its sockets before, as it would else only after dozens of turns.
            false => yield_now().await,
        }
        if let Some(seat) = self.turns.line().seats.get_mut(&self.seat) {
            seat.begun.get_or_insert_with(Instant::now);
        }
    }

    fn poll(&self, place: Place, context: &Context<'_>) -> Poll<()> {
        let mut line = self.turns.line();
        let stands = |line: &Line| {
            let seat = line.seats.get(&self.seat);
            seat.is_none_or(|seat| seat.has_turn || seat.arrival.is_some())
        };
        if !stands(&line) {
            line.line_up(place, self.seat);
        }
        match line.seats.get_mut(&self.seat) {
            Some(seat) if !seat.has_turn => {
                seat.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// It is others' turn; what it has not read it gets at its next one.
    pub fn rest(&self) {
        self.turns.line().leave(self.seat);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut line = self.turns.line();
        line.leave(self.seat);
        line.seats.remove(&self.seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Whether it has its turn; if not, it is told.
    fn asks(listener: &Listener, place: u64, told: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(told));
        let context = Context::from_waker(&waker);
        listener.poll(Place(place), &context).is_ready()
    }

    #[test]
    fn an_event_wakes_the_first_alone_and_each_wakes_the_next() {
        let turns = Turns::new(Place(1), 1);
        let told: Vec<_> = (0..3).map(|_| Arc::<Woken>::default()).collect();
        let all: Vec<_> = (0..3).map(|_| turns.listen()).collect();
        for (listener, told) in all.iter().zip(&told) {
            assert!(!asks(listener, 1, told), "there is nothing yet");
        }
        turns.added(Place(2));
        let woken = || told.iter().map(|one| one.times()).collect::<Vec<_>>();
        assert_eq!(woken(), [1, 0, 0]);
        assert!(asks(&all[0], 1, &told[0]));
        assert!(!asks(&all[1], 1, &told[1]), "it is the first one's turn");
        all[0].rest();
        assert_eq!(woken(), [1, 1, 0]);
        all[1].rest();
        assert_eq!(woken(), [1, 1, 1]);
    }

    #[test]
    fn who_has_read_everything_waits_for_more_and_who_has_not_comes_again() {
        let turns = Turns::new(Place(1), 1);
        let told = Arc::<Woken>::default();
        let listener = turns.listen();
        turns.added(Place(9));
        assert!(asks(&listener, 1, &told));
        listener.rest();
        assert!(asks(&listener, 5, &told), "there is more");
        listener.rest();
        assert!(!asks(&listener, 9, &told));
        turns.added(Place(10));
        assert_eq!(told.times(), 1);
        assert!(asks(&listener, 9, &told));
    }

    #[test]
    fn whoever_goes_with_his_turn_gives_it_back() {
        let turns = Turns::new(Place(2), 1);
        let told = Arc::<Woken>::default();
        let (first, second, third) = (turns.listen(), turns.listen(), turns.listen());
        assert!(asks(&first, 1, &told));
        assert!(!asks(&second, 1, &told));
        assert!(!asks(&third, 1, &told));
        // It stops waiting: the turn goes past it.
        second.rest();
        drop(first);
        assert!(asks(&third, 1, &told));
        assert!(!asks(&second, 1, &told));
        third.rest();
        assert!(asks(&second, 1, &told));
    }

    #[test]
    fn as_many_have_their_turn_at_a_time_as_may() {
        let turns = Turns::new(Place(2), 2);
        let told = Arc::<Woken>::default();
        let all: Vec<_> = (0..3).map(|_| turns.listen()).collect();
        let have: Vec<_> = all.iter().map(|one| asks(one, 1, &told)).collect();
        assert_eq!(have, [true, true, false]);
    }

    #[test]
    fn long_turns_are_followed_by_a_pause_as_long_and_a_single_one_is_not() {
        let now = Instant::now();
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        let mut pace = Pace::new(now);
        pace.took(after(10), after(14));
        assert!(pace.resume <= after(14));
        pace.took(after(14), after(17));
        assert_eq!(pace.resume, after(24), "seven of them");
        pace.took(after(24), after(26));
        pace.took(after(40), after(44));
        assert_eq!(pace.resume, after(24), "there was a pause anyway");
    }

    #[test]
    fn nothing_is_left_of_those_who_come_and_go() {
        let turns = Turns::new(Place(2), 1);
        let told = Arc::<Woken>::default();
        let listener = turns.listen();
        for place in 0..1000 {
            asks(&listener, place % 3, &told);
            listener.rest();
        }
        drop(listener);
        let line = turns.line();
        assert!(line.seats.is_empty() && line.idle.is_empty() && line.hungry.is_empty());
        assert_eq!(line.taken, 0);
    }
}
