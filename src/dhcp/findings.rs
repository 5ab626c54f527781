//! What has been found where, and what of it counts.

use std::collections::BTreeMap;
use std::time::Instant;

use super::options::Discovered;

/// What was found, by interface.
pub type Findings = BTreeMap<String, Finding>;

/// What was found on one interface; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The values.
    pub discovered: Discovered,
    /// When they became what they are.
    pub at: Instant,
}

/// The values that count: those of the first listed interface that has one, domain and password each on its own.
pub fn effective(listed: &[String], findings: &Findings) -> Discovered {
    let mut effective = Discovered::default();
    for finding in listed
        .iter()
        .filter_map(|interface| findings.get(interface))
    {
        let Discovered { domain, password } = &finding.discovered;
        effective.domain = effective.domain.or_else(|| domain.clone());
        effective.password = effective.password.or_else(|| password.clone());
    }
    effective
}

/// What one interface has from either source: the answers to DHCPINFORM, and the hook of the DHCP client.
///
/// Of two values the one that is news last counts. A source that has none takes nothing from the other: a server may
/// give an option with a lease alone, or a client may not ask for it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    answered: Option<Finding>,
    handed_over: Option<Finding>,
}

impl Sources {
    /// A server answered; an empty answer means that it no longer has the options.
    pub fn answered(&mut self, discovered: Discovered, at: Instant) {
        replace(&mut self.answered, discovered, at);
    }

    /// The hook said what the client has; nothing means that it has lost it.
    pub fn handed_over(&mut self, discovered: Discovered, at: Instant) {
        replace(&mut self.handed_over, discovered, at);
    }

    /// No interface or no address: everything is lost.
    pub fn lose(&mut self) {
        *self = Self::default();
    }

    /// What counts, if anything.
    pub fn finding(&self) -> Option<Finding> {
        let (first, second) = match (&self.answered, &self.handed_over) {
            (None, None) => return None,
            (Some(one), None) | (None, Some(one)) => return Some(one.clone()),
            (Some(one), Some(other)) if one.at > other.at => (one, other),
            (Some(one), Some(other)) => (other, one),
        };
        let (newer, older) = (&first.discovered, &second.discovered);
        Some(Finding {
            discovered: Discovered {
                domain: newer.domain.clone().or_else(|| older.domain.clone()),
                password: newer.password.clone().or_else(|| older.password.clone()),
            },
            at: first.at,
        })
    }
}

/// The same once more is no news.
fn replace(source: &mut Option<Finding>, discovered: Discovered, at: Instant) {
    let is_news = source
        .as_ref()
        .is_none_or(|known| known.discovered != discovered);
    if is_news {
        *source = (!discovered.is_empty()).then_some(Finding { discovered, at });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::settings::Secret;

    fn discovered(domain: &str, password: &str) -> Discovered {
        Discovered {
            domain: (!domain.is_empty()).then(|| domain.to_owned()),
            password: (!password.is_empty()).then(|| Secret::new(password)),
        }
    }

    fn values(sources: &Sources) -> Discovered {
        sources
            .finding()
            .map_or_else(Discovered::default, |finding| finding.discovered)
    }

    #[test]
    fn the_first_listed_that_has_a_value_wins_for_each_value() {
        let at = Instant::now();
        let finding = |discovered| Finding { discovered, at };
        let findings = Findings::from([
            ("a".to_owned(), finding(discovered("a.example", "of a"))),
            ("b".to_owned(), finding(discovered("", "of b"))),
            ("c".to_owned(), finding(discovered("c.example", "of c"))),
        ]);
        let listed = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let wins = |names: &[&str]| effective(&listed(names), &findings);
        assert_eq!(wins(&["a", "b", "c"]), discovered("a.example", "of a"));
        assert_eq!(wins(&["b", "c", "a"]), discovered("c.example", "of b"));
        assert_eq!(wins(&["missing", "b"]), discovered("", "of b"));
        assert_eq!(wins(&[]), Discovered::default());
    }

    #[test]
    fn the_later_news_wins_and_repeating_is_no_news() {
        let mut at = Instant::now();
        let mut later = || {
            at += Duration::from_secs(1);
            at
        };
        let mut sources = Sources::default();
        sources.handed_over(discovered("hook.example", ""), later());
        sources.answered(discovered("server.example", ""), later());
        assert_eq!(values(&sources), discovered("server.example", ""));
        sources.handed_over(discovered("hook.example", ""), later());
        assert_eq!(values(&sources), discovered("server.example", ""));
        sources.handed_over(discovered("new.example", ""), later());
        assert_eq!(values(&sources), discovered("new.example", ""));
    }

    #[test]
    fn a_source_without_a_value_takes_nothing_from_the_other() {
        let at = Instant::now();
        let mut sources = Sources::default();
        sources.handed_over(discovered("cloud.example", "secret"), at);
        sources.answered(Discovered::default(), at + Duration::from_secs(1));
        assert_eq!(values(&sources), discovered("cloud.example", "secret"));
        sources.answered(discovered("", "another"), at + Duration::from_secs(2));
        assert_eq!(values(&sources), discovered("cloud.example", "another"));
        sources.handed_over(Discovered::default(), at + Duration::from_secs(3));
        assert_eq!(values(&sources), discovered("", "another"));
        sources.answered(Discovered::default(), at + Duration::from_secs(4));
        assert_eq!(sources.finding(), None);
    }

    #[test]
    fn the_time_is_that_of_the_last_news() {
        let at = Instant::now();
        let mut sources = Sources::default();
        sources.answered(discovered("cloud.example", ""), at);
        sources.answered(discovered("cloud.example", ""), at + Duration::from_secs(1));
        assert_eq!(sources.finding().unwrap().at, at);
    }
}
