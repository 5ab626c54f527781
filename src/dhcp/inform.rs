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
mod tests;
