//! When a periodic update is due.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The clock that timers run by.
    pub instant: Instant,
    /// The date, which somebody may set meanwhile.
    pub date: SystemTime,
}

/// The updates of a periodic subscription. Rounds that were missed are not made up for.
#[derive(Debug)]
pub(super) enum Schedule {
    /// From its beginning on, whatever becomes of the date.
    Plain {
        begin: Instant,
        next: Instant,
        period: Duration,
    },
    /// At multiples of the period from a date on, before it as well.
    Anchored {
        anchor: SystemTime,
        due: SystemTime,
        period: Duration,
    },
}

impl Schedule {
    /// With an anchor the first update is at the next multiple, without one at once.
    pub fn new(period: Duration, anchor: Option<SystemTime>, now: Now) -> Self {
        match anchor {
            None => Self::Plain {
                begin: now.instant,
                next: now.instant,
                period,
            },
            Some(anchor) => Self::Anchored {
                anchor,
                due: following(anchor, period, now.date),
                period,
            },
        }
    }

    /// Goes on with another period; without an anchor from the same beginning on.
    pub fn change(&mut self, period: Duration, anchor: Option<SystemTime>, now: Now) {
        let begin = match self {
            Self::Plain { begin, .. } => *begin,
            Self::Anchored { .. } => now.instant,
        };
        *self = match anchor {
            Some(_) => Self::new(period, anchor, now),
            None => Self::Plain {
                begin,
                next: after(begin, period, now.instant),
                period,
            },
        };
    }

    /// How long until the next update; none if it is due. The date may have been set back: then the next multiple is an
    /// earlier one.
    pub fn wait(&mut self, now: Now) -> Option<Duration> {
        let wait = match self {
            Self::Plain { next, .. } => next.saturating_duration_since(now.instant),
            Self::Anchored {
                anchor,
                due,
                period,
            } => {
                *due = (*due).min(following(*anchor, *period, now.date));
                due.duration_since(now.date).unwrap_or_default()
            }
        };
        Some(wait).filter(|wait| !wait.is_zero())
    }

    /// An update begins now.
    pub fn begun(&mut self, now: Now) {
        match self {
            Self::Plain {
                begin,
                next,
                period,
            } => *next = after(*begin, *period, now.instant),
            Self::Anchored {
                anchor,
                due,
                period,
            } => *due = following(*anchor, *period, now.date.max(*due)),
        }
    }
}

/// The first multiple of a period from a date on that is later than now.
fn following(anchor: SystemTime, period: Duration, now: SystemTime) -> SystemTime {
    let nanoseconds = period.as_nanos().max(1);
    let into_round = match now.duration_since(anchor) {
        Ok(since) => since.as_nanos() % nanoseconds,
        Err(ahead) => (nanoseconds - ahead.duration().as_nanos() % nanoseconds) % nanoseconds,
    };
    now + nanos(nanoseconds - into_round)
}

fn after(begin: Instant, period: Duration, now: Instant) -> Instant {
    let since = now.saturating_duration_since(begin).as_nanos();
    let nanoseconds = period.as_nanos().max(1);
    now + nanos(nanoseconds - since % nanoseconds)
}

fn nanos(number: u128) -> Duration {
    Duration::from_nanos(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn date(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn at(start: Instant, seconds: u64) -> Now {
        Now {
            instant: start + Duration::from_secs(seconds),
            date: date(1_000_000 + seconds),
        }
    }

    #[test]
    fn updates_fall_on_multiples_of_the_period_on_both_sides_of_the_anchor() {
        assert_eq!(following(date(0), MINUTE, date(61)), date(120));
        assert_eq!(following(date(0), MINUTE, date(120)), date(180));
        assert_eq!(following(date(600), MINUTE, date(61)), date(120));
        assert_eq!(following(date(630), MINUTE, date(61)), date(90));
        assert_eq!(following(date(600), MINUTE, date(120)), date(180));
    }

    #[test]
    fn without_an_anchor_the_first_is_at_once_and_the_others_follow_it() {
        let start = Instant::now();
        let mut schedule = Schedule::new(MINUTE, None, at(start, 0));
        assert_eq!(schedule.wait(at(start, 0)), None);
        schedule.begun(at(start, 0));
        assert_eq!(schedule.wait(at(start, 20)), Some(Duration::from_secs(40)));
        assert_eq!(schedule.wait(at(start, 60)), None);
    }

    #[test]
    fn rounds_that_were_missed_are_skipped_and_the_cadence_stays() {
        let start = Instant::now();
        for anchor in [None, Some(date(1_000_000))] {
            let mut schedule = Schedule::new(MINUTE, anchor, at(start, 0));
            schedule.begun(at(start, 0));
            assert_eq!(schedule.wait(at(start, 310)), None);
            schedule.begun(at(start, 310));
            assert_eq!(schedule.wait(at(start, 310)), Some(Duration::from_secs(50)));
        }
    }

    #[test]
    fn a_date_that_is_set_moves_the_anchored_and_not_the_others() {
        let start = Instant::now();
        let anchor = date(1_000_000);
        let mut plain = Schedule::new(MINUTE, None, at(start, 0));
        let mut anchored = Schedule::new(MINUTE, Some(anchor), at(start, 10));
        plain.begun(at(start, 0));
        let back = Now {
            instant: start + Duration::from_secs(20),
            date: date(990_015),
        };
        assert_eq!(plain.wait(back), Some(Duration::from_secs(40)));
        // 990,015 lies 10,005 s before 1,000,000 – no multiple is further away than a minute.
        let wait = anchored.wait(back).unwrap();
        assert!(wait <= MINUTE, "{wait:?}");
        let ahead = Now {
            instant: start + Duration::from_secs(30),
            date: date(1_009_999),
        };
        assert_eq!(anchored.wait(ahead), None);
        anchored.begun(ahead);
        assert_eq!(anchored.wait(ahead), Some(Duration::from_secs(21)));
    }

    #[test]
    fn another_period_goes_on_from_the_same_beginning() {
        let start = Instant::now();
        let mut schedule = Schedule::new(MINUTE, None, at(start, 0));
        schedule.begun(at(start, 0));
        schedule.change(Duration::from_secs(7), None, at(start, 10));
        assert_eq!(schedule.wait(at(start, 10)), Some(Duration::from_secs(4)));
    }
}
