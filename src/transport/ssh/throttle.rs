//! Guessing passwords gets slower with every failure, for each source address. Pure: told the time.
//!
//! All who come through the cloud tunnel have one source. They are told apart by the name that they guess at, so that who
//! guesses at one user keeps no other waiting.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::Source;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 3;
/// Delay of the first attempt that is delayed; doubles from there.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// Three such attempts still fit into the login time.
const LONGEST_DELAY: Duration = Duration::from_secs(8);
/// One that has not failed for so long is forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// How many are remembered; beyond, the one that has been quiet longest is forgotten.
const GUESSERS: usize = 4096;

/// Characters of a user's name that count.
const NAME: usize = 64;

/// Who failed to log in, and how often.
#[derive(Default)]
pub(super) struct Throttle {
    guessers: HashMap<Guesser, Failures>,
}

/// Whose failures count together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guesser {
    /// A host, or a network of IPv6.
    Network(IpAddr),
    /// Those who come through the cloud tunnel for this user.
    Tunnelled(String),
}

impl Guesser {
    pub(super) fn new(source: Source, user: &str) -> Self {
        match source {
            Source::Address(address) => Self::Network(network(address)),
            Source::CloudTunnel => Self::Tunnelled(user.chars().take(NAME).collect()),
        }
    }
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// How long the next password of this one has to wait before it is looked at.
    pub(super) fn delay(&self, guesser: &Guesser, now: Instant) -> Duration {
        match self.guessers.get(guesser) {
            Some(failures) if !failures.forgotten(now) => delay_after(failures.count),
            _ => Duration::ZERO,
        }
    }

    /// A password of this one was wrong.
    pub(super) fn failed(&mut self, guesser: Guesser, now: Instant) {
        if !self.guessers.contains_key(&guesser) {
            self.make_room(now);
        }
        let failures = self.guessers.entry(guesser).or_insert(Failures {
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
        if self.guessers.len() < GUESSERS {
            return;
        }
        self.guessers.retain(|_, failures| !failures.forgotten(now));
        if self.guessers.len() < GUESSERS {
            return;
        }
        let quietest = self.guessers.iter().min_by_key(|(_, f)| f.last);
        if let Some(quietest) = quietest.map(|(guesser, _)| guesser.clone()) {
            self.guessers.remove(&quietest);
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

    fn v4(last: u32) -> Guesser {
        from(IpAddr::from((0x0a00_0000 + last).to_be_bytes()))
    }

    fn from(address: impl Into<IpAddr>) -> Guesser {
        Guesser::new(Source::Address(address.into()), "anybody")
    }

    #[test]
    fn the_delay_grows_with_every_failure_up_to_a_bound() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let delays: Vec<u128> = (0..9)
            .map(|_| {
                throttle.failed(v4(1), now);
                throttle.delay(&v4(1), now).as_millis()
            })
            .collect();
        assert_eq!(delays, [0, 0, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }

    #[test]
    fn another_source_is_not_delayed() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..10).for_each(|_| throttle.failed(v4(1), now));
        assert_eq!(throttle.delay(&v4(2), now), Duration::ZERO);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for host in 0..5u16 {
            throttle.failed(from(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host)), now);
        }
        let neighbour = from(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9));
        assert!(throttle.delay(&neighbour, now) > Duration::ZERO);
        let elsewhere = from(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1));
        assert_eq!(throttle.delay(&elsewhere, now), Duration::ZERO);
    }

    #[test]
    fn who_guesses_at_one_user_through_the_tunnel_keeps_no_other_waiting() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let tunnelled = |user| Guesser::new(Source::CloudTunnel, user);
        (0..10).for_each(|_| throttle.failed(tunnelled("admin"), now));
        assert!(throttle.delay(&tunnelled("admin"), now) > Duration::ZERO);
        assert_eq!(throttle.delay(&tunnelled("carol"), now), Duration::ZERO);
        assert_eq!(throttle.delay(&v4(1), now), Duration::ZERO);
    }

    #[test]
    fn a_quiet_source_is_forgotten() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..10).for_each(|_| throttle.failed(v4(1), now));
        assert_eq!(throttle.delay(&v4(1), now + MEMORY), Duration::ZERO);
        throttle.failed(v4(1), now + MEMORY);
        assert_eq!(throttle.delay(&v4(1), now + MEMORY), Duration::ZERO);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quietest() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for source in 0..GUESSERS as u32 + 100 {
            let now = now + Duration::from_millis(source.into());
            (0..5).for_each(|_| throttle.failed(v4(source), now));
        }
        assert_eq!(throttle.guessers.len(), GUESSERS);
        assert_eq!(throttle.delay(&v4(0), now), Duration::ZERO);
        assert!(throttle.delay(&v4(GUESSERS as u32), now) > Duration::ZERO);
    }
}
