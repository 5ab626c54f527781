//! The message layer octet by octet, on a whole server: hellos, framing and every way to spell an rpc (RFC 6241,
//! sections 3, 4 and 8.1; RFC 6242).

use std::time::Duration;

use tether::protocol::xml::Document;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

use crate::support::served::Served;

const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
const END: &str = "]]>]]>";
/// A peer of base:1.0 alone does not know `malformed-message` (RFC 6241, appendix A).
const MALFORMED: &str = "operation-failed";

/// A client that sends what it likes.
struct Raw(DuplexStream);

impl Raw {
    fn dial(device: &Served) -> Self {
        Self(device.dial("admin"))
    }

    /// One whose hello is sent and that of the server read, with end-of-message framing.
    async fn open(device: &Served) -> Self {
        let mut client = Self::dial(device);
        client.send(&hello(&["1.0"])).await;
        assert!(client.message().await.unwrap().contains("<session-id>"));
        client
    }

    async fn send(&mut self, message: &str) {
        self.write(&format!("{message}{END}")).await;
    }

    async fn write(&mut self, octets: &str) {
        // The server may have closed already: that is what is looked for then.
        let _ = self.0.write_all(octets.as_bytes()).await;
    }

    /// The next message; [`None`] at the end of the stream.
    async fn message(&mut self) -> Option<String> {
        self.until(END).await
    }

    /// The next message in chunks.
    async fn chunks(&mut self) -> Option<String> {
        let encoded = self.until("\n##\n").await?;
        let mut rest = encoded.as_str();
        let mut message = String::new();
        while let Some(chunk) = rest.strip_prefix("\n#") {
            let (length, after) = chunk.split_once('\n')?;
            let (content, more) = after.split_at(length.parse().ok()?);
            message.push_str(content);
            rest = more;
        }
        Some(message)
    }

    async fn until(&mut self, end: &str) -> Option<String> {
        let mut octets = Vec::new();
        while !octets.ends_with(end.as_bytes()) {
            let next = timeout(Duration::from_secs(20), self.0.read_u8());
            octets.push(next.await.expect("no answer").ok()?);
        }
        octets.truncate(octets.len() - end.len());
        Some(String::from_utf8(octets).unwrap())
    }

    async fn ask(&mut self, message: &str) -> String {
        self.send(message).await;
        self.message().await.expect("the session has ended")
    }
}

fn hello(versions: &[&str]) -> String {
    let capabilities: String = versions
        .iter()
        .map(|version| format!("<capability>urn:ietf:params:netconf:base:{version}</capability>"))
        .collect();
    format!("<hello xmlns=\"{BASE}\"><capabilities>{capabilities}</capabilities></hello>")
}

fn rpc(content: &str) -> String {
    format!("<rpc xmlns=\"{BASE}\" message-id=\"1\">{content}</rpc>")
}

fn tag(reply: &str) -> &str {
    let after = reply.split("<error-tag>").nth(1).unwrap_or_default();
    after.split('<').next().unwrap_or_default()
}

#[tokio::test]
async fn a_hello_of_any_spelling_begins_a_session_in_the_highest_common_framing() {
    let device = Served::start();
    let prefixed = format!(
        "<nc:hello xmlns:nc='{BASE}'><nc:capabilities><nc:capability> urn:ietf:params:netconf:base:1.1\n</nc:capability></nc:capabilities></nc:hello>"
    );
    let both = hello(&["1.0", "1.1"]);
    let extra = both.replace(
        "</hello>",
        "<extra xmlns='urn:x'/><!-- c --><?p i?></hello>",
    );
    for (greeting, chunked) in [
        (hello(&["1.0"]), false),
        (hello(&["1.1"]), true),
        (both.clone(), true),
        (
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{both}"),
            true,
        ),
        (prefixed, true),
        (extra, true),
        (format!("\n{both}\n"), true),
    ] {
        let mut client = Raw::dial(&device);
        client.send(&greeting).await;
        client.message().await.unwrap();
        let get = rpc("<get-config><source><candidate/></source><filter/></get-config>");
        let reply = match chunked {
            true => {
                client
                    .write(&format!("\n#{}\n{get}\n##\n", get.len()))
                    .await;
                client.chunks().await
            }
            false => {
                client.send(&get).await;
                client.message().await
            }
        };
        let reply = reply.unwrap_or_else(|| panic!("refused: {greeting}"));
        assert!(reply.contains("<data"), "{greeting}: {reply}");
    }
}

#[tokio::test]
async fn any_other_beginning_ends_the_session_without_an_answer() {
    let device = Served::start();
    let both = hello(&["1.0", "1.1"]);
    for first in [
        hello(&[]),
        hello(&["2.0"]),
        both.replace("</hello>", "<session-id>4</session-id></hello>"),
        both.replace("base:1.0\">", "base:9.9\">"),
        both.replace(&format!(" xmlns=\"{BASE}\""), ""),
        format!("<!DOCTYPE hello>{both}"),
        rpc("<get/>"),
        "hello".to_owned(),
        String::new(),
    ] {
        let mut client = Raw::dial(&device);
        client.send(&first).await;
        assert!(client.message().await.unwrap().contains("<hello"));
        assert_eq!(client.message().await, None, "{first}");
    }
    let mut hasty = Raw::dial(&device);
    hasty
        .write(&format!("\n#{}\n{both}\n##\n", both.len()))
        .await;
    hasty.message().await.unwrap();
    assert_eq!(hasty.message().await, None);
}

#[tokio::test]
async fn a_second_hello_ends_the_session() {
    let device = Served::start();
    let mut client = Raw::open(&device).await;
    client.send(&hello(&["1.0"])).await;
    assert_eq!(client.message().await, None);
}

#[tokio::test]
async fn an_rpc_is_read_whatever_its_spelling() {
    let device = Served::start();
    let mut client = Raw::open(&device).await;
    let edit = |target: &str, contact: &str| {
        format!(
            "<edit-config><target><{target}/></target><config><system xmlns=\"urn:ietf:params:xml:ns:yang:ietf-system\"><contact>{contact}</contact></system></config></edit-config>"
        )
    };
    let spellings = [
        ("plain", rpc(&edit("running", "plain"))),
        // A prefix on every element, both quotes, white space in tags.
        (
            "prefixed",
            format!(
                "<a:rpc xmlns:a='{BASE}' message-id = \"1\" ><a:edit-config ><a:target><a:running/></a:target>\
                <a:config><b:system xmlns:b=\"urn:ietf:params:xml:ns:yang:ietf-system\"><b:contact>prefixed</b:contact></b:system></a:config></a:edit-config></a:rpc>"
            ),
        ),
        (
            "R&D <x>\"'",
            rpc(&edit("running", "R&amp;D &lt;x>&quot;&apos;")),
        ),
        ("AB\u{e9}", rpc(&edit("running", "&#65;&#x42;&#233;"))),
        (
            "<raw> & more",
            rpc(&edit("running", "<![CDATA[<raw> & ]]>more")),
        ),
        ("split", rpc(&edit("running", "sp<!-- c -->l<?p i?>it"))),
        ("  kept  ", rpc(&edit("running", "  kept  "))),
        (
            "spaced",
            format!(
                "<?xml version='1.0'?>\n<!-- before --><?p before?>\n{}\n<!-- after -->\n",
                rpc(&edit("running", "spaced")).replace("><", ">\n  <")
            ),
        ),
    ];
    for (contact, spelling) in spellings {
        let reply = client.ask(&spelling).await;
        assert!(reply.contains("<ok/>"), "{spelling}: {reply}");
        let get = "<get-config><source><running/></source><filter><system xmlns=\"urn:ietf:params:xml:ns:yang:ietf-system\"/></filter></get-config>";
        let reply = client.ask(&rpc(get)).await;
        let document = Document::parse(reply.as_bytes(), 64).unwrap();
        let mut element = document.root().children().next().unwrap();
        for _ in 0..2 {
            let child = element.children().next();
            element = child.unwrap();
        }
        assert_eq!(element.leaf_text().as_deref(), Some(contact));
    }
}

/// RFC 6241, section 4.2.
#[tokio::test]
async fn all_attributes_of_the_rpc_come_back_with_their_namespaces() {
    let device = Served::start();
    let mut client = Raw::open(&device).await;
    let ask = format!(
        "<rpc xmlns='{BASE}' message-id='a&lt;\"1' xmlns:ex='http://example.net/1.0' ex:user='fr&#233;d' plain='x' xml:lang='de'><discard-changes/></rpc>"
    );
    for message in [ask.clone(), ask.replace("discard-changes", "bogus")] {
        let reply = client.ask(&message).await;
        let document = Document::parse(reply.as_bytes(), 64).unwrap();
        let mut attributes: Vec<_> = document
            .root()
            .attributes()
            .map(|(namespace, name, value)| format!("{{{namespace}}}{name}={value}"))
            .collect();
        attributes.sort();
        assert_eq!(
            attributes,
            [
                "{http://example.net/1.0}user=fr\u{e9}d",
                "{http://www.w3.org/XML/1998/namespace}lang=de",
                "{}message-id=a<\"1",
                "{}plain=x",
            ]
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_rpc_is_told_and_the_session_goes_on() {
    let device = Served::start();
    let mut client = Raw::open(&device).await;
    let named = |name: &str| format!("<bad-element>{name}</bad-element>");
    for (message, expected, detail) in [
        (
            rpc("<get/>").replace(" message-id=\"1\"", ""),
            "missing-attribute",
            "<bad-attribute>message-id</bad-attribute><bad-element>rpc</bad-element>".to_owned(),
        ),
        (rpc("<bogus/>"), "operation-not-supported", named("bogus")),
        (
            rpc("<bogus xmlns='urn:x'/>"),
            "unknown-namespace",
            "<bad-namespace>urn:x</bad-namespace>".to_owned(),
        ),
        (rpc("<get xmlns=''/>"), "unknown-namespace", named("get")),
        (rpc(""), "missing-element", named("rpcOperation")),
        (rpc("<get/><get/>"), "unknown-element", named("get")),
        (
            rpc("<get><bogus/></get>"),
            "unknown-element",
            named("bogus"),
        ),
        (rpc("<get-config/>"), "missing-element", named("source")),
        (
            rpc("<lock><target/></lock>"),
            "missing-element",
            named("target"),
        ),
        (
            rpc("<lock><target><bogus/></target></lock>"),
            "unknown-element",
            named("bogus"),
        ),
        (
            rpc("<lock><target><running/></target><target><running/></target></lock>"),
            "bad-element",
            named("target"),
        ),
        (
            rpc("<lock><target xmlns='urn:x'><running/></target></lock>"),
            "unknown-namespace",
            named("target"),
        ),
        (
            rpc("<kill-session><session-id>0</session-id></kill-session>"),
            "invalid-value",
            String::new(),
        ),
        (
            rpc("<get/>").replace(BASE, "urn:x"),
            "unknown-namespace",
            named("rpc"),
        ),
        (
            rpc("<get/>").replace("rpc", "rcp"),
            "unknown-element",
            named("rcp"),
        ),
        (
            format!("<!DOCTYPE rpc>{}", rpc("<get/>")),
            MALFORMED,
            String::new(),
        ),
        (rpc("<get>"), MALFORMED, String::new()),
        (rpc("<x:get/>"), MALFORMED, String::new()),
        (rpc("&undefined;"), MALFORMED, String::new()),
        (format!("{0}{0}", rpc("<get/>")), MALFORMED, String::new()),
        ("not XML".to_owned(), MALFORMED, String::new()),
    ] {
        let reply = client.ask(&message).await;
        assert_eq!(tag(&reply), expected, "{message}: {reply}");
        assert!(reply.contains(&detail), "{message}: {reply}");
        assert_eq!(
            reply
                .matches("<error-severity>error</error-severity>")
                .count(),
            1
        );
    }
    assert!(
        client
            .ask(&rpc("<discard-changes/>"))
            .await
            .contains("<ok/>")
    );
}

#[tokio::test]
async fn five_hundred_requests_in_one_write_are_answered_in_their_order() {
    let device = Served::start();
    let client = Raw::open(&device).await;
    let ids: Vec<String> = (0..500)
        .map(|number| format!("message-id=\"n{number}\""))
        .collect();
    let all: String = ids
        .iter()
        .map(|id| rpc("<discard-changes/>").replace("message-id=\"1\"", id) + END)
        .collect();
    // The stream in between holds less than that: what is answered has to be read meanwhile.
    let (reading, writing) = tokio::io::split(client.0);
    let mut writing = writing;
    let sending = tokio::spawn(async move { writing.write_all(all.as_bytes()).await });
    let mut replies = String::new();
    let mut reading = tokio::io::BufReader::new(reading);
    while replies.matches(END).count() < ids.len() {
        let mut block = [0; 4096];
        let count = timeout(Duration::from_secs(20), reading.read(&mut block))
            .await
            .unwrap()
            .unwrap();
        assert!(count > 0, "the session has ended");
        replies.push_str(std::str::from_utf8(&block[..count]).unwrap());
    }
    sending.await.unwrap().unwrap();
    for (reply, id) in replies.split(END).zip(&ids) {
        assert!(
            reply.contains(id) && reply.contains("<ok/>"),
            "{id}: {reply}"
        );
    }
}

#[tokio::test]
async fn sessions_close_are_killed_by_others_and_never_by_themselves() {
    let device = Served::start();
    let mut admin = device.login("admin").await;
    let victim = device.login("admin").await;
    let kill = |id: u32| format!("<kill-session><session-id>{id}</session-id></kill-session>");
    for id in [admin.session_id(), 4_000_000_000] {
        let errors = crate::support::refused(admin.rpc(&kill(id)).await);
        assert_eq!(errors[0].tag, "invalid-value", "{id}");
    }
    let id = victim.session_id();
    admin.rpc(&kill(id)).await.unwrap();
    let errors = crate::support::refused(admin.rpc(&kill(id)).await);
    assert_eq!(errors[0].tag, "invalid-value");
    drop(victim);
    let mut raw = Raw::open(&device).await;
    assert!(raw.ask(&rpc("<close-session/>")).await.contains("<ok/>"));
    assert_eq!(raw.message().await, None);
    admin.close().await.unwrap();
}
