//! 1,000 subscriptions and 1,000 commits: whatever becomes of an event, it is accounted for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tether::datastore::Parts;
use tether::datastore::events::Bounds;
use tether::model::schema::Schema;
use tether::protocol::framing::{Framer, Framing, encode};
use tether::protocol::hello::{BASE_1_1, Hello};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;

use super::*;

const COMMITS: usize = 1000;
/// Between two of them everybody who reads catches up, so that only who does not read is too slow for the log.
const BATCH: usize = 100;
const LOG: usize = 400;
const SUBSCRIBED: &str = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications";

/// `ann` and `ben` make the changes; `carol` may not see half of them, `bob` none.
const RIGHTS: &str = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
    <groups><group><name>admin</name><user-name>admin</user-name><user-name>ann</user-name><user-name>ben</user-name></group>
        <group><name>half</name><user-name>carol</user-name></group><group><name>none</name><user-name>bob</user-name></group></groups>
    <rule-list><name>admin</name><group>admin</group>
        <rule><name>all</name><module-name>*</module-name><access-operations>*</access-operations><action>permit</action></rule></rule-list>
    <rule-list><name>half</name><group>half</group>
        <rule><name>filters</name><path xmlns:sn="urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications">/sn:filters</path><action>deny</action></rule></rule-list>
    <rule-list><name>none</name><group>none</group>
        <rule><name>changes</name><module-name>ietf-netconf-notifications</module-name><notification-name>netconf-config-change</notification-name><action>deny</action></rule></rule-list>
    </nacm>"#;

/// Which commits a subscription tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tells {
    All,
    /// Those of `ann`, who makes every fourth.
    Ann,
    Nothing,
}

/// A change of its own for each commit: every other one is of a kind that `carol` may not see.
fn change(n: usize) -> String {
    match is_open(n) {
        true => crate::support::host(&format!("c{n}"), "192.0.2.1"),
        false => format!(
            r#"<filters xmlns="{SUBSCRIBED}"><stream-filter><name>c{n}</name></stream-filter></filters>"#
        ),
    }
}

fn is_open(n: usize) -> bool {
    n.is_multiple_of(2)
}

/// The filter for it, by how many of them there are: none, a subtree, an XPath.
fn filter(tells: Tells, is_xpath: bool) -> String {
    let who = match tells {
        Tells::All => return String::new(),
        Tells::Ann => "ann",
        Tells::Nothing => "zoe",
    };
    match is_xpath {
        true => format!(
            r#"<stream-xpath-filter xmlns:n="{NOTICES}">/n:netconf-config-change[n:changed-by/n:username='{who}']</stream-xpath-filter>"#
        ),
        false => format!(
            r#"<stream-subtree-filter><netconf-config-change xmlns="{NOTICES}"><changed-by><username>{who}</username></changed-by></netconf-config-change></stream-subtree-filter>"#
        ),
    }
}

fn establish(tells: Tells, is_xpath: bool) -> String {
    let filter = filter(tells, is_xpath);
    format!(
        r#"<establish-subscription xmlns="{SUBSCRIBED}"><stream>NETCONF</stream>{filter}</establish-subscription>"#
    )
}

/// The same by create-subscription.
fn created(tells: Tells) -> String {
    let filter = filter(tells, false)
        .replace("<stream-subtree-filter>", r#"<filter type="subtree">"#)
        .replace("</stream-subtree-filter>", "</filter>");
    create(&filter)
}

/// A client that takes messages as they come and leaves them as they are.
struct Line {
    stream: DuplexStream,
    framer: Framer,
}

impl Line {
    async fn open(device: &Served, user: &str) -> Self {
        let mut line = Self {
            stream: device.dial(user),
            framer: Framer::new(1 << 20),
        };
        let hello = Hello {
            capabilities: vec![BASE_1_1.into()],
            session_id: None,
        };
        let hello = encode(Framing::EndOfMessage, hello.write().as_bytes());
        line.stream.write_all(&hello).await.unwrap();
        line.next().await;
        line.framer.set_framing(Framing::Chunked);
        line
    }

    async fn next(&mut self) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.framer.next().unwrap() {
                return String::from_utf8(message.to_vec()).unwrap();
            }
            let octets = self.stream.read(&mut buffer).await.unwrap();
            assert_ne!(octets, 0, "the session is over");
            self.framer.push(&buffer[..octets]);
        }
    }

    async fn send(&mut self, operation: &str) {
        let rpc = format!(
            r#"<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">{operation}</rpc>"#
        );
        let rpc = encode(Framing::Chunked, rpc.as_bytes());
        self.stream.write_all(&rpc).await.unwrap();
    }

    /// Asks; gives what was told meanwhile.
    async fn ask(&mut self, operation: &str) -> Vec<String> {
        self.send(operation).await;
        let mut told = Vec::new();
        loop {
            let message = self.next().await;
            if message.contains("<rpc-reply") {
                assert!(!message.contains("<rpc-error"), "{message}");
                return told;
            }
            told.push(message);
        }
    }
}

/// The number of the commit that a message tells of.
fn commit_of(message: &str) -> Option<usize> {
    let (_, name) = message.split_once("='c")?;
    name.split('\'').next()?.parse().ok()
}

/// One session that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    user: &'static str,
    /// By create-subscription, or how many subscriptions there are for everything, for `ann` and for nothing.
    established: Option<[usize; 3]>,
}

impl Kind {
    fn subscriptions(&self) -> Vec<(Tells, String)> {
        let Some(each) = self.established else {
            return vec![(Tells::All, created(Tells::All))];
        };
        let of = |(tells, count): (Tells, usize)| {
            (0..count).map(move |n| (tells, establish(tells, n.is_multiple_of(2))))
        };
        let all = [Tells::All, Tells::Ann, Tells::Nothing]
            .into_iter()
            .zip(each);
        all.flat_map(of).collect()
    }

    /// How often it is told of a commit.
    fn copies(&self, n: usize) -> usize {
        let may = match self.user {
            "carol" => is_open(n),
            "bob" => false,
            _ => true,
        };
        let wants = |tells: Tells| match tells {
            Tells::All => true,
            Tells::Ann => is_anns(n),
            Tells::Nothing => false,
        };
        let subscriptions = self.subscriptions();
        let wanting = subscriptions.iter().filter(|(tells, _)| wants(*tells));
        if may { wanting.count() } else { 0 }
    }

    fn told_of(&self, commits: Range<usize>) -> usize {
        commits.map(|n| self.copies(n)).sum()
    }
}

fn is_anns(n: usize) -> bool {
    n % 8 < 2
}

/// A session that subscribes and reads all it is told of the commits.
struct Reader {
    kind: Kind,
    told: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<(Line, Vec<usize>)>,
}

impl Reader {
    async fn start(mut line: Line, kind: Kind, mut over: watch::Receiver<bool>) -> Self {
        for (_, operation) in kind.subscriptions() {
            line.ask(&operation).await;
        }
        let (progress, told) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut commits = Vec::new();
            loop {
                tokio::select! {
                    message = line.next() => commits.extend(commit_of(&message)),
                    _ = over.wait_for(|over| *over) => return (line, commits),
                }
                progress.send_replace(commits.len());
            }
        });
        Self { kind, told, task }
    }

    /// Returns when it was told of all commits before this one.
    async fn caught_up(&mut self, commits: usize) {
        let expected = self.kind.told_of(0..commits);
        let told = self.told.wait_for(|told| *told >= expected);
        drop(soon(told).await.unwrap());
    }

    /// Every commit as often as it is to be told of, in order, and nothing more.
    async fn check(self) {
        let (mut line, mut commits) = soon(self.task).await.unwrap();
        let more = line.ask("<get><filter/></get>").await;
        let more: Vec<_> = more.iter().filter_map(|told| commit_of(told)).collect();
        assert!(more.is_empty(), "{:?}: {more:?}", self.kind);
        if self.kind.established.is_some() {
            // Which of several subscriptions a message is of it does not say (RFC 8640).
            commits.sort_unstable();
        }
        let copies = |n| std::iter::repeat_n(n, self.kind.copies(n));
        let expected: Vec<_> = (0..COMMITS).flat_map(copies).collect();
        assert!(commits == expected, "{:?}: {commits:?}", self.kind);
    }
}

/// Subscribes, hears of some commits without a gap, and goes in one way or another.
async fn come_and_go(mut line: Line, number: usize, from: usize) {
    let wanted = BATCH / (1 + number % 3);
    let mut commits = Vec::new();
    while commits.len() < wanted {
        commits.extend(commit_of(&line.next().await));
    }
    let expected: Vec<_> = (from..from + wanted).collect();
    assert_eq!(commits, expected);
    if number.is_multiple_of(2) {
        line.ask("<close-session/>").await;
    }
}

/// Reads at last: what came before it was too late, without a gap, and the word that there is no more. Gives the number of
/// events that it was told of.
async fn read_too_late(line: &mut Line) -> u64 {
    let mut told = 0;
    let mut commits = Vec::new();
    loop {
        let message = soon(line.next()).await;
        if message.contains("<notificationComplete ")
            || message.contains("<subscription-terminated ")
        {
            break;
        }
        told += 1;
        commits.extend(commit_of(&message));
    }
    let expected: Vec<_> = (0..commits.len()).collect();
    assert_eq!(commits, expected);
    assert!(commits.len() < COMMITS, "it lost some");
    let more = line.ask("<get><filter/></get>").await;
    assert!(more.is_empty(), "its session is as good as ever: {more:?}");
    told
}

/// Of each subscription that there is, the events that it has sent or left out.
async fn counted(session: &mut Session) -> BTreeMap<u32, u64> {
    let filter = format!(r#"<subscriptions xmlns="{SUBSCRIBED}"/>"#);
    let state = session.get(Some(&filter)).await.unwrap();
    let number = |text: &str, before: &str| -> u64 {
        let (_, after) = text.split_once(before).unwrap();
        let digits = after.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    };
    let all = state.split("<subscription>").skip(1).map(|one| {
        let id = u32::try_from(number(one, "<id>")).unwrap();
        let sent = number(one, "<sent-event-records>");
        let excluded = number(one, "<excluded-event-records>");
        (id, sent + excluded)
    });
    all.collect()
}

/// How many sessions of each kind read; with those that do not and those that come and go, 1,000 subscriptions.
const READERS: [(Kind, usize); 6] = [
    (kind("admin", None), 60),
    (kind("carol", None), 20),
    (kind("bob", None), 20),
    (kind("admin", Some([1, 10, 39])), 8),
    (kind("carol", Some([1, 10, 39])), 4),
    (kind("bob", Some([5, 5, 40])), 2),
];
const IDLERS: [(Kind, usize); 2] = [
    (kind("admin", None), 50),
    (kind("admin", Some([1, 0, 0])), 50),
];
const PASSERS_BY: usize = 10;

const fn kind(user: &'static str, established: Option<[usize; 3]>) -> Kind {
    Kind { user, established }
}

fn device() -> Served {
    let bounds = Bounds {
        events: LOG,
        octets: 16 << 20,
    };
    Served::start_with_log(Schema::load(&[]).unwrap(), RIGHTS, Parts::default(), bounds)
}

async fn lines(device: &Served, kinds: &[(Kind, usize)]) -> Vec<(Kind, Line)> {
    let mut lines = Vec::new();
    for (kind, count) in kinds {
        for _ in 0..*count {
            lines.push((*kind, Line::open(device, kind.user).await));
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_a_thousand_commits_is_accounted_for_in_a_thousand_subscriptions() {
    let device = Arc::new(device());
    let (mut ann, mut ben) = (device.login("ann").await, device.login("ben").await);
    let mut watcher = device.login("admin").await;
    let reading = lines(&device, &READERS).await;
    let mut idle = lines(&device, &IDLERS).await;
    let begin = device.stream.end();
    let over = watch::Sender::new(false);
    let mut readers = Vec::new();
    for (kind, line) in reading {
        readers.push(Reader::start(line, kind, over.subscribe()).await);
    }
    let of_readers: Vec<u32> = counted(&mut watcher).await.into_keys().collect();
    for (kind, line) in &mut idle {
        for (_, operation) in kind.subscriptions() {
            line.ask(&operation).await;
        }
    }

    for from in (0..COMMITS).step_by(BATCH) {
        let mut passing = Vec::new();
        for number in 0..PASSERS_BY {
            let mut line = Line::open(&device, "admin").await;
            line.ask(&establish(Tells::All, false)).await;
            passing.push(tokio::spawn(come_and_go(line, number, from)));
        }
        for n in from..from + BATCH {
            let by = if is_anns(n) { &mut ann } else { &mut ben };
            by.edit_config("running", &change(n)).await.unwrap();
        }
        for reader in &mut readers {
            reader.caught_up(from + BATCH).await;
        }
        for passer in passing {
            soon(passer).await.unwrap();
        }
    }

    // Each of those who came and went is an event when it comes and one when it goes.
    let happened = (COMMITS + 2 * PASSERS_BY * COMMITS / BATCH) as u64;
    let all_counted = async {
        loop {
            let counted = counted(&mut watcher).await;
            let is_all = |id: &u32| counted.get(id) == Some(&happened);
            if of_readers.iter().all(is_all) {
                return;
            }
        }
    };
    soon(all_counted).await;
    assert_eq!(device.stream.end().0 - begin.0, happened);

    let mut told = 0;
    let idlers = idle.len() as u64;
    for (_, line) in &mut idle {
        told += read_too_late(line).await;
    }
    let losses = device.stream.losses();
    assert_eq!(losses.subscriptions, idlers);
    assert_eq!(losses.events, idlers * happened - told);
    over.send_replace(true);
    for reader in readers {
        reader.check().await;
    }
}
