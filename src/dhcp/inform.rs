//! Discovery on one interface, without I/O: when to ask, and what has been found.
//!
//! Asked at once when the interface gets a link and an address or another address, when the hook of the DHCP client
//! reports, and every half hour; found things are lost with the link or the address, when an answer no longer has them,
//! and when three rounds of questions in a row stay unanswered (model.md, "Priority").

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::findings::{Finding, Sources};
use super::message::{Answer, Question};
use super::options::Discovered;

/// From one round of questions to the next.
pub const ROUND: Duration = Duration::from_secs(30 * 60);
/// Rounds without an answer after which what was answered before is lost.
pub const UNANSWERED_ROUNDS: u32 = 3;
/// "If the client receives no DHCPACK within a reasonable period (60 s) or 4 tries" (RFC 2131, section 4.4.3).
pub const TRIES: u32 = 4;
/// "The delay before the first retransmission SHOULD be 4 seconds", then twice as long each (RFC 2131, section 4.1).
const FIRST_DELAY: Duration = Duration::from_secs(4);
/// "Randomized by the value of a uniform random number chosen from the range -1 to +1" second (ibid.).
const SPREAD: Duration = Duration::from_secs(1);
/// Two rounds begin at least so far apart, however often the link flaps or the hook reports.
const SPACING: Duration = Duration::from_secs(5);

/// An interface that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of the interface.
    pub index: u32,
    /// Without one nobody is asked, as on a point-to-point link; the hook counts all the same.
    pub hardware_address: Option<[u8; 6]>,
    /// Its first address.
    pub address: Ipv4Addr,
}

/// What happens to discovery on an interface.
#[derive(Clone, Debug)]
pub enum Event {
    /// What the interface is now; `None` without interface, link or IPv4 address.
    Link(Option<Link>),
    /// A server answered.
    Answer(Answer),
    /// The hook of the DHCP client reports.
    HandedOver(Discovered),
    /// [`Inform::due`] has come.
    Tick,
}

/// A round of questions.
#[derive(Clone, Copy, Debug)]
struct Round {
    question: Question,
    began: Instant,
    tries: u32,
    /// The last try's delay is over.
    due: Instant,
    /// Some server answered, if only without the options: another one may have them.
    is_answered: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nobody can be asked.
    Off,
    Asking(Round),
    Resting {
        until: Instant,
    },
}

/// Discovery on one interface.
#[derive(Clone, Debug)]
pub struct Inform {
    state: State,
    link: Option<Link>,
    sources: Sources,
    unanswered: u32,
    /// When the last round began.
    asked_at: Option<Instant>,
}

impl Default for Inform {
    fn default() -> Self {
        Self {
            state: State::Off,
            link: None,
            sources: Sources::default(),
            unanswered: 0,
            asked_at: None,
        }
    }
}

impl Inform {
    /// What happened, when, and a random number; the question to send now, if any.
    pub fn handle(&mut self, event: Event, now: Instant, random: u64) -> Option<Question> {
        match event {
            Event::Link(link) => self.linked(link, now),
            Event::Answer(answer) => self.answered(answer, now),
            Event::HandedOver(discovered) => {
                self.sources.handed_over(discovered, now);
                // The server has new things to say, or less.
                self.ask_soon(now);
            }
            Event::Tick => {}
        }
        self.tick(now, random)
    }

    /// When [`Event::Tick`] is to come.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Off => None,
            State::Asking(round) => Some(round.due),
            State::Resting { until } => Some(until),
        }
    }

    /// The question that waits for an answer, and the interface's number.
    pub fn open_question(&self) -> Option<(u32, Question)> {
        match self.state {
            State::Asking(round) => Some((self.link?.index, round.question)),
            State::Off | State::Resting { .. } => None,
        }
    }

    /// What has been found.
    pub fn finding(&self) -> Option<Finding> {
        self.sources.finding()
    }

    fn linked(&mut self, link: Option<Link>, now: Instant) {
        if link == self.link {
            return;
        }
        let was_there = self.link.is_some();
        self.link = link;
        match link {
            Some(_) => {
                self.state = State::Resting { until: now + ROUND };
                self.ask_soon(now);
            }
            // The client may report an address before the kernel's notice of it is read, so what it handed over is lost
            // with an address that was there, not with one that is not there yet.
            None => {
                if was_there {
                    self.sources.lose();
                }
                self.unanswered = 0;
                self.state = State::Off;
            }
        }
    }

    /// A new round at once, or when the spacing allows it.
    fn ask_soon(&mut self, now: Instant) {
        let earliest = self.asked_at.map_or(now, |asked| now.max(asked + SPACING));
        if let State::Resting { until } = &mut self.state {
            *until = earliest.min(*until);
        }
    }

    fn answered(&mut self, answer: Answer, now: Instant) {
        let State::Asking(round) = &mut self.state else {
            return;
        };
        if answer.xid != round.question.xid {
            return;
        }
        self.unanswered = 0;
        round.is_answered = true;
        // An empty answer leaves other servers the time until the next try was due.
        if !answer.discovered.is_empty() {
            self.sources.answered(answer.discovered, now);
            self.state = State::Resting { until: now + ROUND };
        }
    }

    fn tick(&mut self, now: Instant, random: u64) -> Option<Question> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        match self.state {
            State::Off => None,
            State::Resting { .. } => self.begin(now, random),
            State::Asking(round) if round.is_answered => {
                self.sources.answered(Discovered::default(), now);
                self.state = State::Resting { until: now + ROUND };
                None
            }
            State::Asking(round) if round.tries == TRIES => {
                self.unanswered += 1;
                if self.unanswered >= UNANSWERED_ROUNDS {
                    self.sources.answered(Discovered::default(), now);
                }
                self.state = State::Resting { until: now + ROUND };
                None
            }
            State::Asking(round) => Some(self.try_once(round, now, random)),
        }
    }

    fn begin(&mut self, now: Instant, random: u64) -> Option<Question> {
        let Some((link, hardware_address)) = self
            .link
            .and_then(|link| Some((link, link.hardware_address?)))
        else {
            self.state = State::Off;
            return None;
        };
        self.asked_at = Some(now);
        let [a, b, c, d, ..] = random.to_le_bytes();
        let question = Question {
            xid: u32::from_le_bytes([a, b, c, d]),
            hardware_address,
            address: link.address,
            seconds: 0,
        };
        let round = Round {
            question,
            began: now,
            tries: 0,
            due: now,
            is_answered: false,
        };
        Some(self.try_once(round, now, random))
    }

    fn try_once(&mut self, mut round: Round, now: Instant, random: u64) -> Question {
        let waited = now.saturating_duration_since(round.began).as_secs();
        round.question.seconds = u16::try_from(waited).unwrap_or(u16::MAX);
        // Milliseconds from -1 to +1 s, from the half of the number that is not in the transaction.
        let spread = Duration::from_millis((random >> 32) % 2001);
        round.due = now + FIRST_DELAY * 2_u32.pow(round.tries) + spread - SPREAD;
        round.tries += 1;
        self.state = State::Asking(round);
        round.question
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drives one interface; each number is another one.
    struct Bench {
        inform: Inform,
        now: Instant,
        start: Instant,
        random: u64,
        asked: Vec<(u64, Question)>,
    }

    fn link(last: u8) -> Option<Link> {
        Some(Link {
            index: 3,
            hardware_address: Some([2, 0, 0, 0, 0, 7]),
            address: Ipv4Addr::new(192, 0, 2, last),
        })
    }

    fn discovered(domain: &str) -> Discovered {
        Discovered {
            domain: (!domain.is_empty()).then(|| domain.to_owned()),
            password: None,
        }
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                inform: Inform::default(),
                now,
                start: now,
                random: 0,
                asked: Vec::new(),
            }
        }

        fn up() -> Self {
            let mut bench = Self::new();
            bench.tell(Event::Link(link(7)));
            bench
        }

        fn tell(&mut self, event: Event) -> Option<Question> {
            // The delays are exact: one second of spread less one.
            self.random += 1;
            let random = self.random | 1000 << 32;
            let question = self.inform.handle(event, self.now, random);
            let at = self.now.duration_since(self.start).as_secs();
            self.asked.extend(question.map(|question| (at, question)));
            question
        }

        /// Lets this much time pass, with every tick.
        fn pass(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(due) = self.inform.due().filter(|due| *due <= end) {
                self.now = self.now.max(due);
                self.tell(Event::Tick);
            }
            self.now = end;
        }

        fn answer(&mut self, domain: &str) {
            let (_, question) = self.inform.open_question().expect("nobody is asked");
            self.tell(Event::Answer(answer(question.xid, domain)));
        }

        fn domain(&self) -> Option<String> {
            self.inform.finding()?.discovered.domain
        }

        fn times(&self) -> Vec<u64> {
            self.asked.iter().map(|(at, _)| *at).collect()
        }
    }

    fn answer(xid: u32, domain: &str) -> Answer {
        Answer {
            xid,
            server: Ipv4Addr::new(192, 0, 2, 1),
            discovered: discovered(domain),
            refused: Vec::new(),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_asked_at_link_up_and_an_answer_is_found() {
        let mut bench = Bench::new();
        assert_eq!(bench.tell(Event::Link(None)), None);
        assert_eq!(bench.inform.due(), None);
        let question = bench.tell(Event::Link(link(7))).unwrap();
        assert_eq!(question.address, Ipv4Addr::new(192, 0, 2, 7));
        bench.answer("cloud.example");
        assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
        assert_eq!(bench.inform.open_question(), None);
        bench.pass(ROUND);
        assert_eq!(bench.times(), [0, 30 * 60]);
        assert_ne!(bench.asked[0].1.xid, bench.asked[1].1.xid);
    }

    #[test]
    fn tries_are_4_8_and_16_seconds_apart_and_belong_to_one_transaction() {
        let mut bench = Bench::up();
        bench.pass(2 * 60 * SECOND);
        assert_eq!(bench.times(), [0, 4, 12, 28]);
        let question = |at: usize| bench.asked[at].1;
        assert_eq!(question(3).xid, question(0).xid);
        assert_eq!(question(3).seconds, 28);
        assert_eq!(bench.inform.open_question(), None);
    }

    #[test]
    fn the_delay_is_spread_by_a_second_either_way() {
        for (random, expected) in [(0, 3000), (2000_u64 << 32, 5000)] {
            let mut inform = Inform::default();
            let now = Instant::now();
            inform.handle(Event::Link(link(7)), now, random);
            let delay = inform.due().unwrap().duration_since(now);
            assert_eq!(delay, Duration::from_millis(expected));
        }
    }

    #[test]
    fn three_unanswered_rounds_lose_it_and_two_do_not() {
        let mut bench = Bench::up();
        bench.answer("cloud.example");
        bench.pass(3 * ROUND);
        assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
        bench.pass(ROUND);
        assert_eq!(bench.domain(), None);
    }

    #[test]
    fn an_answer_in_between_starts_the_count_anew() {
        let mut bench = Bench::up();
        bench.answer("cloud.example");
        // Half a minute into the third round.
        bench.pass(3 * ROUND + 150 * SECOND);
        bench.answer("cloud.example");
        bench.pass(3 * ROUND);
        assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
    }

    #[test]
    fn an_answer_without_the_option_loses_it_once_no_other_server_has_it() {
        let mut bench = Bench::up();
        bench.answer("cloud.example");
        bench.pass(ROUND);
        bench.answer("");
        assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
        bench.pass(4 * SECOND);
        assert_eq!(bench.domain(), None);
        assert_eq!(bench.asked.len(), 2);
    }

    #[test]
    fn a_server_that_has_the_option_comes_before_one_that_does_not() {
        let mut bench = Bench::up();
        bench.answer("");
        bench.pass(SECOND);
        bench.answer("cloud.example");
        assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
        assert_eq!(bench.inform.open_question(), None);
    }

    #[test]
    fn an_answer_to_another_transaction_or_to_none_is_dropped() {
        let mut bench = Bench::up();
        let xid = bench.asked[0].1.xid;
        bench.tell(Event::Answer(answer(xid + 1, "evil.example")));
        assert_eq!(bench.domain(), None);
        bench.answer("cloud.example");
        bench.tell(Event::Answer(answer(xid, "evil.example")));
        assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
    }

    #[test]
    fn everything_is_lost_with_the_link_or_the_address() {
        let mut bench = Bench::up();
        bench.answer("cloud.example");
        bench.tell(Event::HandedOver(discovered("hook.example")));
        bench.tell(Event::Link(None));
        assert_eq!(bench.inform.finding(), None);
        assert_eq!(bench.inform.due(), None);
    }

    #[test]
    fn another_address_asks_again_and_keeps_what_there_is_meanwhile() {
        let mut bench = Bench::up();
        bench.answer("cloud.example");
        bench.pass(60 * SECOND);
        let question = bench.tell(Event::Link(link(8))).unwrap();
        assert_eq!(question.address, Ipv4Addr::new(192, 0, 2, 8));
        assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
    }

    #[test]
    fn an_address_that_changes_while_it_is_asked_is_asked_for_anew() {
        let mut bench = Bench::up();
        bench.tell(Event::Link(link(8)));
        bench.pass(10 * SECOND);
        assert_eq!(
            bench.asked.last().unwrap().1.address,
            Ipv4Addr::new(192, 0, 2, 8)
        );
    }

    #[test]
    fn a_flapping_link_does_not_flood_the_servers() {
        let mut bench = Bench::new();
        for _ in 0..100 {
            bench.tell(Event::Link(link(7)));
            bench.pass(SECOND / 2);
            bench.tell(Event::Link(None));
            bench.pass(SECOND / 2);
        }
        assert!(bench.asked.len() <= 20, "{:?}", bench.times());
    }

    #[test]
    fn a_hook_counts_at_once_and_has_the_server_asked_again() {
        let mut bench = Bench::up();
        bench.answer("");
        bench.pass(60 * SECOND);
        bench.tell(Event::HandedOver(discovered("hook.example")));
        assert_eq!(bench.domain().as_deref(), Some("hook.example"));
        assert_eq!(bench.times(), [0, 60]);
        bench.tell(Event::HandedOver(Discovered::default()));
        assert_eq!(bench.domain(), None);
    }

    #[test]
    fn a_hook_that_reports_before_the_address_is_seen_counts() {
        let mut bench = Bench::new();
        bench.tell(Event::Link(None));
        bench.tell(Event::HandedOver(discovered("hook.example")));
        bench.tell(Event::Link(link(7)));
        assert_eq!(bench.domain().as_deref(), Some("hook.example"));
    }

    #[test]
    fn on_a_link_without_hardware_address_nobody_is_asked() {
        let mut bench = Bench::new();
        let link = link(7).map(|link| Link {
            hardware_address: None,
            ..link
        });
        bench.tell(Event::Link(link));
        bench.tell(Event::HandedOver(discovered("hook.example")));
        bench.pass(ROUND);
        assert!(bench.asked.is_empty());
        assert_eq!(bench.domain().as_deref(), Some("hook.example"));
    }
}
