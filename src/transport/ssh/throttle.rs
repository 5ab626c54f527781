//! Guessing passwords gets slower with every failure, for each source address. Pure: told the time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failures that cost nothing: people mistype.
const FREE: u32 = 3;
/// Delay of the first attempt that is delayed; doubles from there.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// Three such attempts still fit into the login time.
const LONGEST_DELAY: Duration = Duration::from_secs(8);
/// A source that has not failed for so long is forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// Sources remembered; beyond, the one that has been quiet longest is forgotten.
const SOURCES: usize = 4096;

/// Which sources failed to log in, and how often.
#[derive(Default)]
pub(super) struct Throttle {
    sources: HashMap<IpAddr, Failures>,
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// How long the next password of this source has to wait before it is looked at.
    pub(super) fn delay(&self, source: IpAddr, now: Instant) -> Duration {
        match self.sources.get(&network(source)) {
            Some(failures) if !failures.forgotten(now) => delay_after(failures.count),
            _ => Duration::ZERO,
        }
    }

    /// A password of this source was wrong.
    pub(super) fn failed(&mut self, source: IpAddr, now: Instant) {
        let source = network(source);
        if !self.sources.contains_key(&source) {
            self.make_room(now);
        }
        let failures = self.sources.entry(source).or_insert(Failures {
            count: 0,
            last: now,
        });
        if failures.forgotten(now) {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    fn make_room(&mut self, now: Instant) {
        if self.sources.len() < SOURCES {
            return;
        }
        self.sources.retain(|_, failures| !failures.forgotten(now));
        if self.sources.len() < SOURCES {
            return;
        }
        let quietest = self.sources.iter().min_by_key(|(_, f)| f.last);
        if let Some(quietest) = quietest.map(|(source, _)| *source) {
            self.sources.remove(&quietest);
        }
    }
}

impl Failures {
    fn forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= MEMORY
    }
}

fn delay_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(beyond) => (FIRST_DELAY * (1 << beyond.min(8))).min(LONGEST_DELAY),
    }
}

/// An IPv6 host can use any address of its /64, so the network counts.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + last).to_be_bytes())
    }

    #[test]
    fn the_delay_grows_with_every_failure_up_to_a_bound() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let delays: Vec<u128> = (0..9)
            .map(|_| {
                throttle.failed(v4(1), now);
                throttle.delay(v4(1), now).as_millis()
            })
            .collect();
        assert_eq!(delays, [0, 0, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }

    #[test]
    fn another_source_is_not_delayed() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..10).for_each(|_| throttle.failed(v4(1), now));
        assert_eq!(throttle.delay(v4(2), now), Duration::ZERO);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for host in 0..5u16 {
            throttle.failed(
                Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into(),
                now,
            );
        }
        let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9).into();
        assert!(throttle.delay(neighbour, now) > Duration::ZERO);
        let elsewhere = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1).into();
        assert_eq!(throttle.delay(elsewhere, now), Duration::ZERO);
    }

    #[test]
    fn a_quiet_source_is_forgotten() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..10).for_each(|_| throttle.failed(v4(1), now));
        assert_eq!(throttle.delay(v4(1), now + MEMORY), Duration::ZERO);
        throttle.failed(v4(1), now + MEMORY);
        assert_eq!(throttle.delay(v4(1), now + MEMORY), Duration::ZERO);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quietest() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for source in 0..SOURCES as u32 + 100 {
            let now = now + Duration::from_millis(source.into());
            (0..5).for_each(|_| throttle.failed(v4(source), now));
        }
        assert_eq!(throttle.sources.len(), SOURCES);
        assert_eq!(throttle.delay(v4(0), now), Duration::ZERO);
        assert!(throttle.delay(v4(SOURCES as u32), now) > Duration::ZERO);
    }
}
