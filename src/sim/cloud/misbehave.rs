//! Misbehaviours on request: what a broken, hostile or overloaded cloud does, one step at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::lock::Lock;
use super::tls::Flaw;

/// Where a misbehaviour takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Right after TCP accept, before the first byte.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Steps 1-2, each request to the authentication path.
    Authentication,
    /// Steps 3-4.
    Registration,
    /// Steps 5-6, the upgrade to the main connection.
    Upgrade,
    /// Right after the 101 of the main connection, before anything is read.
    Established,
    /// Steps 7-8, the answer to `subconnections-request`.
    List,
    /// The answer to `keepalive`.
    Keepalive,
    /// The answer to `unbind`.
    Unbind,
    /// The upgrade to a subconnection.
    Subconnection,
    /// Right after the 101 of a subconnection.
    Service,
}

/// What goes wrong. Where a kind makes no sense at a step, the step is done rightly.
#[derive(Clone, Debug, PartialEq)]
pub enum Misbehaviour {
    /// TCP reset. Every step.
    Reset,
    /// Orderly TCP close without an answer (and without a WebSocket close). Every step.
    Close,
    /// Nothing is answered; the connection stays open. On an open WebSocket: that message stays unanswered, and at
    /// [`Step::Established`] and [`Step::Service`] nothing is read or answered any more.
    Silent,
    /// The right answer, later. Every step.
    Delay(Duration),
    /// The right answer, one byte each interval. Every step; at [`Step::Connect`] the bytes of TLS from then on.
    Drip(Duration),
    /// This certificate instead. [`Step::Tls`].
    Certificate(Flaw),
    /// Clear text instead of TLS. [`Step::Tls`].
    NotTls,
    /// A body or message that is not JSON.
    BadJson,
    /// This body or message instead of the right one; at HTTP steps with the right status, or 200 instead of 101.
    Body(String),
    /// 429 or 503, with this `Retry-After`. HTTP steps.
    Busy {
        /// The status.
        status: u16,
        /// The header's value, of any form.
        retry_after: Option<String>,
    },
    /// This status with an empty JSON object. HTTP steps.
    Status(u16),
    /// This status and this JSON body. HTTP steps.
    Answer(u16, String),
    /// 307 to this location. HTTP steps.
    Redirect(String),
    /// So many bytes of body or of one text message. HTTP steps and messages.
    Huge(u64),
    /// The right answer with `Connection: close`. HTTP steps except the upgrades.
    ConnectionClose,
    /// The right answer in chunks of two bytes. HTTP steps.
    Chunked,
    /// 103 Early Hints before the right answer. HTTP steps.
    EarlyHints,
    /// An `rspauth` that does not know the password. [`Step::Authentication`].
    WrongRspauth,
    /// No `rspauth`. [`Step::Authentication`].
    NoRspauth,
    /// Every nonce is stale. [`Step::Authentication`].
    AlwaysStale,
    /// Only algorithm MD5 is offered. [`Step::Authentication`].
    OnlyMd5,
    /// Only Basic is offered. [`Step::Authentication`].
    OnlyBasic,
    /// MD5, Basic and SHA-256 are offered, in this order. [`Step::Authentication`].
    ManyChallenges,
    /// 101 with another subprotocol. [`Step::Upgrade`], [`Step::Subconnection`].
    WrongSubprotocol,
    /// 101 with a wrong `Sec-WebSocket-Accept`. [`Step::Upgrade`], [`Step::Subconnection`].
    WrongAccept,
    /// A sequence number one too high. [`Step::Keepalive`].
    WrongSequence,
    /// The first service twice. [`Step::List`].
    DoubledService,
    /// This text message before the right one. Messages.
    Text(String),
    /// A binary message instead. Messages.
    Binary(Vec<u8>),
    /// A text message that is not UTF-8, instead. Messages.
    InvalidUtf8,
    /// Messages of 32 KiB without end, as fast as they go, and nothing is read. [`Step::Service`].
    Flood,
    /// A close frame of this code instead. Messages, [`Step::Established`], [`Step::Service`].
    CloseFrame(u16),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(_, step)| step == self);
        f.write_str(known.map_or("step", |(name, _)| name))
    }
}

const NAMES: [(&str, Step); 11] = [
    ("connect", Step::Connect),
    ("tls", Step::Tls),
    ("authentication", Step::Authentication),
    ("registration", Step::Registration),
    ("upgrade", Step::Upgrade),
    ("established", Step::Established),
    ("list", Step::List),
    ("keepalive", Step::Keepalive),
    ("unbind", Step::Unbind),
    ("subconnection", Step::Subconnection),
    ("service", Step::Service),
];

/// The words of a misbehaviour that were not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WordsError {
    /// No such step.
    #[error(
        "no step {0:?}; one of connect, tls, authentication, registration, upgrade, established, list, keepalive, unbind, subconnection, service"
    )]
    Step(String),
    /// No such misbehaviour, or its argument is missing or wrong.
    #[error("no misbehaviour {0:?} (see examples/cloud.toml)")]
    Misbehaviour(String),
}

impl std::str::FromStr for Step {
    type Err = WordsError;

    fn from_str(word: &str) -> Result<Self, WordsError> {
        let known = NAMES.iter().find(|(name, _)| *name == word);
        known
            .map(|(_, step)| *step)
            .ok_or_else(|| WordsError::Step(word.to_owned()))
    }
}

impl std::str::FromStr for Misbehaviour {
    type Err = WordsError;

    /// Reads words such as `silent`, `delay 500`, `busy 503 30`; times are milliseconds.
    fn from_str(words: &str) -> Result<Self, WordsError> {
        let (kind, rest) = words.trim().split_once(' ').unwrap_or((words.trim(), ""));
        let rest = rest.trim();
        let parsed = if rest.is_empty() {
            plain(kind)
        } else {
            with_argument(kind, rest)
        };
        parsed.ok_or_else(|| WordsError::Misbehaviour(words.to_owned()))
    }
}

fn plain(kind: &str) -> Option<Misbehaviour> {
    Some(match kind {
        "reset" => Misbehaviour::Reset,
        "close" => Misbehaviour::Close,
        "silent" => Misbehaviour::Silent,
        "other-name" => Misbehaviour::Certificate(Flaw::OtherName),
        "expired" => Misbehaviour::Certificate(Flaw::Expired),
        "not-yet-valid" => Misbehaviour::Certificate(Flaw::NotYetValid),
        "unknown-authority" => Misbehaviour::Certificate(Flaw::UnknownAuthority),
        "not-tls" => Misbehaviour::NotTls,
        "bad-json" => Misbehaviour::BadJson,
        "busy" => Misbehaviour::Busy {
            status: 503,
            retry_after: None,
        },
        "connection-close" => Misbehaviour::ConnectionClose,
        "chunked" => Misbehaviour::Chunked,
        "early-hints" => Misbehaviour::EarlyHints,
        "wrong-rspauth" => Misbehaviour::WrongRspauth,
        "no-rspauth" => Misbehaviour::NoRspauth,
        "always-stale" => Misbehaviour::AlwaysStale,
        "only-md5" => Misbehaviour::OnlyMd5,
        "only-basic" => Misbehaviour::OnlyBasic,
        "many-challenges" => Misbehaviour::ManyChallenges,
        "wrong-subprotocol" => Misbehaviour::WrongSubprotocol,
        "wrong-accept" => Misbehaviour::WrongAccept,
        "wrong-sequence" => Misbehaviour::WrongSequence,
        "doubled-service" => Misbehaviour::DoubledService,
        "binary" => Misbehaviour::Binary(vec![0; 16]),
        "invalid-utf8" => Misbehaviour::InvalidUtf8,
        "flood" => Misbehaviour::Flood,
        _ => return None,
    })
}

fn with_argument(kind: &str, argument: &str) -> Option<Misbehaviour> {
    let milliseconds = || argument.parse().ok().map(Duration::from_millis);
    Some(match kind {
        "delay" => Misbehaviour::Delay(milliseconds()?),
        "drip" => Misbehaviour::Drip(milliseconds()?),
        "busy" => {
            let (status, after) = argument.split_once(' ').unwrap_or((argument, ""));
            let retry_after = (!after.is_empty()).then(|| after.to_owned());
            Misbehaviour::Busy {
                status: http_status(status)?,
                retry_after,
            }
        }
        "status" => Misbehaviour::Status(http_status(argument)?),
        "redirect" => Misbehaviour::Redirect(argument.to_owned()),
        "huge" => Misbehaviour::Huge(argument.parse().ok()?),
        "body" => Misbehaviour::Body(argument.to_owned()),
        "text" => Misbehaviour::Text(argument.to_owned()),
        "close-frame" => {
            Misbehaviour::CloseFrame(argument.parse().ok().filter(|c| (1000..5000).contains(c))?)
        }
        _ => return None,
    })
}

fn http_status(word: &str) -> Option<u16> {
    // 1xx would be an interim answer and hyper refuses to send it as the last one.
    word.parse()
        .ok()
        .filter(|status| (200..1000).contains(status))
}

/// The misbehaviours set, and for how many more times.
pub(super) struct Misbehaviours(Lock<BTreeMap<Step, (Misbehaviour, u64)>>);

impl Misbehaviours {
    pub(super) fn new() -> Self {
        Self(Lock::new(BTreeMap::new()))
    }

    pub(super) fn set(&self, step: Step, misbehaviour: Misbehaviour, times: u64) {
        self.0.lock().insert(step, (misbehaviour, times));
    }

    pub(super) fn clear(&self, step: Option<Step>) {
        match step {
            Some(step) => drop(self.0.lock().remove(&step)),
            None => self.0.lock().clear(),
        }
    }

    /// What to do wrong at this step now; counts it as done.
    pub(super) fn take(&self, step: Step) -> Option<Misbehaviour> {
        let mut set = self.0.lock();
        let (misbehaviour, times) = set.get_mut(&step)?;
        *times = times.checked_sub(1)?;
        let taken = misbehaviour.clone();
        if *times == 0 {
            set.remove(&step);
        }
        Some(taken)
    }
}
