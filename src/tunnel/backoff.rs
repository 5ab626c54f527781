//! How long to wait before the next attempt (cloud-protocol.md, "Retry"). All randomness comes from a seed.

use std::time::Duration;

/// A connection that stood this long was a good one: the counts fall back to zero.
pub const SETTLED: Duration = Duration::from_secs(60);
/// A cloud that restarts is met again within this long, spread out.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// A small generator (SplitMix64): the waits need to differ between devices, not to be unguessable.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The same seed gives the same waits.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform between two durations, both included.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_nanos();
        // 64 random bits against spans below 2^47 ns: the bias of the remainder is far below a nanosecond.
        let offset = u128::from(self.next()) % (span + 1);
        low + Duration::from_nanos(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    /// One of so many, at least one, counted from zero.
    pub fn one_of(&mut self, many: usize) -> usize {
        let many = u64::try_from(many).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % many).unwrap_or_default()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Which of the two counts a failure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Time may help: 1 s, 2 s, … 300 s.
    Ordinary,
    /// A person has to do something first: 60 s, 120 s, … 1800 s.
    Slow,
}

/// The failures since the last connection that settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    ordinary: u32,
    slow: u32,
}

impl Backoff {
    /// One more failure: the wait that follows it.
    pub fn failed(&mut self, pace: Pace, jitter: &mut Jitter) -> Duration {
        let base = self.base(pace);
        self.count(pace);
        jitter.between(base / 2, base)
    }

    /// One more failure that is not followed by a wait.
    pub fn count(&mut self, pace: Pace) {
        let count = match pace {
            Pace::Ordinary => &mut self.ordinary,
            Pace::Slow => &mut self.slow,
        };
        *count = count.saturating_add(1);
    }

    /// The wait after the loss of a connection that had settled.
    pub fn first(jitter: &mut Jitter) -> Duration {
        jitter.between(Duration::ZERO, FIRST_WAIT)
    }

    /// How long a server that sent `Retry-After` is left alone: never shorter than it asked for.
    pub fn hold(&self, retry_after: Duration, jitter: &mut Jitter) -> Duration {
        let asked = retry_after.min(LONGEST_RETRY_AFTER);
        let spread = self.base(Pace::Ordinary).max(asked / 2);
        asked + jitter.between(Duration::ZERO, spread)
    }

    /// A connection stood for [`SETTLED`].
    pub fn settled(&mut self) {
        *self = Self::default();
    }

    fn base(&self, pace: Pace) -> Duration {
        let (first, count, cap) = match pace {
            Pace::Ordinary => (1, self.ordinary, 300),
            Pace::Slow => (60, self.slow, 1800),
        };
        // 2^16 seconds is over either cap, so the shift cannot overflow.
        Duration::from_secs((first << count.min(16)).min(cap))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn the_waits_double_up_to_their_cap() {
        let mut jitter = Jitter::new(1);
        let mut backoff = Backoff::default();
        for base in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let wait = backoff.failed(Pace::Ordinary, &mut jitter);
            assert!(
                wait >= seconds(base) / 2 && wait <= seconds(base),
                "{wait:?}"
            );
        }
        for base in [60, 120, 240, 480, 960, 1800, 1800] {
            let wait = backoff.failed(Pace::Slow, &mut jitter);
            assert!(
                wait >= seconds(base) / 2 && wait <= seconds(base),
                "{wait:?}"
            );
        }
        backoff.settled();
        assert!(backoff.failed(Pace::Ordinary, &mut jitter) <= seconds(1));
    }

    #[test]
    fn devices_with_different_seeds_wait_differently() {
        let wait = |seed| Backoff::first(&mut Jitter::new(seed));
        assert_ne!(wait(1), wait(2));
        assert_eq!(wait(1), wait(1));
    }

    proptest! {
        #[test]
        fn retry_after_is_a_lower_bound_and_capped(seed: u64, asked in 0_u64..1_000_000, failures in 0_u32..40) {
            let mut jitter = Jitter::new(seed);
            let backoff = Backoff { ordinary: failures, slow: 0 };
            let hold = backoff.hold(seconds(asked), &mut jitter);
            let asked = seconds(asked.min(86_400));
            prop_assert!(hold >= asked);
            prop_assert!(hold <= asked + seconds(300).max(asked / 2));
        }

        #[test]
        fn jitter_stays_between_its_bounds(seed: u64, low in 0_u64..1000, span in 0_u64..1000) {
            let drawn = Jitter::new(seed).between(seconds(low), seconds(low + span));
            prop_assert!(drawn >= seconds(low) && drawn <= seconds(low + span));
        }
    }
}
