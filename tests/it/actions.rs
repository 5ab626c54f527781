//! "YANG 1.1 actions and rpcs on any data node, validated in and out".

use std::collections::BTreeMap;

use tether::datastore::Parts;
use tether::datastore::subscriber::{ActionHandler, StateProvider};
use tether::model::error::RpcError;
use tether::model::tree::Tree;
use tether::protocol::client::ReportedError;

use crate::support::served::{self, Served};
use crate::support::{example, refused};

/// Answers with these nodes of the output.
struct Answer(Vec<(&'static str, &'static str)>);

impl ActionHandler for Answer {
    fn act(&mut self, input: &Tree) -> Result<Tree, RpcError> {
        let mut output = Tree::new(input.schema());
        for (path, value) in &self.0 {
            output.set_output(path, Some(value))?;
        }
        Ok(output)
    }
}

/// Adds what it is given.
struct Sum;

impl ActionHandler for Sum {
    fn act(&mut self, input: &Tree) -> Result<Tree, RpcError> {
        let number = |leaf: &str| {
            let value = input.value(&format!("/example-all:compute/{leaf}"));
            value.map_or(0, |value| value.parse::<i32>().unwrap())
        };
        let sum = (number("left") + number("right")).to_string();
        let mut output = Tree::new(input.schema());
        output.set_output("/example-all:compute/sum", Some(&sum))?;
        Ok(output)
    }
}

/// Shows the unit 7 of the machine.
struct Unit;

impl StateProvider for Unit {
    fn module(&self) -> &'static str {
        "example-all"
    }

    fn state(&self, into: &mut Tree) {
        into.set("/example-all:machine/state/unit[id='7']", None)
            .unwrap();
    }
}

fn device() -> Served {
    let mut actions: BTreeMap<String, Box<dyn ActionHandler>> = BTreeMap::new();
    let mut does = |path: &str, handler: Box<dyn ActionHandler>| {
        actions.insert(path.to_owned(), handler);
    };
    does("/example-all:compute", Box::new(Sum));
    does("/example-all:nothing", Box::new(Answer(Vec::new())));
    does("/example-all:flag/toggle", Box::new(Answer(Vec::new())));
    does(
        "/example-all:machine/state/unit/blink",
        Box::new(Answer(Vec::new())),
    );
    // Its output lacks what is mandatory.
    does("/example-all:machine/reset", Box::new(Answer(Vec::new())));
    let answered = "/example-all:lists/pair[first='a'][second='1']/inner[id='2']/ping/answered";
    does(
        "/example-all:lists/pair/inner/ping",
        Box::new(Answer(vec![(answered, "3")])),
    );
    let parts = Parts {
        subscribers: Vec::new(),
        providers: vec![Box::new(Unit)],
        actions,
        ..Parts::default()
    };
    let entry = example("all", "<entry><name>known</name></entry>");
    let pair = "<pair><first>a</first><second>1</second><inner><id>2</id></inner></pair>";
    Served::with_example(parts, &[entry, example("lists", pair)].concat())
}

fn action(root: &str, content: &str) -> String {
    let inside = example(root, content);
    format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{inside}</action>"#)
}

fn ping(inner: &str, input: &str) -> String {
    let inner = format!("<inner><id>{inner}</id><ping>{input}</ping></inner>");
    action(
        "lists",
        &format!("<pair><first>a</first><second>1</second>{inner}</pair>"),
    )
}

async fn refusal(session: &mut served::Session, call: &str) -> ReportedError {
    let mut errors = refused(session.rpc(call).await);
    assert_eq!(errors.len(), 1, "{call}: {errors:?}");
    errors.remove(0)
}

#[tokio::test]
async fn an_rpc_has_its_input_with_defaults_and_its_output() {
    let mut session = device().login("admin").await;
    let sum = session
        .rpc(&example("compute", "<left>2</left><right>3</right>"))
        .await;
    assert!(
        sum.unwrap()
            .contains("<sum xmlns=\"urn:example:all\">5</sum>")
    );
    let sum = session.rpc(&example("compute", "<left>2</left>")).await;
    assert!(sum.unwrap().contains(">3</sum>"));
    let known = example("compute", "<left>2</left><of>known</of>");
    assert!(session.rpc(&known).await.is_ok());
    let done = session.rpc(&example("nothing", "")).await.unwrap();
    assert!(done.contains("<ok"), "{done}");
}

#[tokio::test]
async fn an_action_of_a_list_entry_has_its_input_and_output() {
    let mut session = device().login("admin").await;
    let answer = session.rpc(&ping("2", "<count>3</count>")).await.unwrap();
    assert!(
        answer.contains("<answered xmlns=\"urn:example:all\">3</answered>"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_wrong_input_is_refused_with_its_place() {
    let device = device();
    let mut session = device.login("admin").await;
    for (call, tag, path, info) in [
        (
            example("compute", "<left>x</left>"),
            "invalid-value",
            "/example-all:compute/example-all:left",
            None,
        ),
        (
            example("compute", ""),
            "missing-element",
            "/example-all:compute/example-all:left",
            Some(("bad-element", "left")),
        ),
        (
            example("compute", "<left>1</left><of>nobody</of>"),
            "data-missing",
            "/example-all:compute/example-all:of",
            None,
        ),
        (
            example("compute", "<left>1</left><bogus/>"),
            "unknown-element",
            "/example-all:compute",
            Some(("bad-element", "bogus")),
        ),
        (
            example("compute", "<left>1</left><sum>1</sum>"),
            "unknown-element",
            "/example-all:compute",
            Some(("bad-element", "sum")),
        ),
        (
            example("compute", "<left>1</left><left>2</left>"),
            "bad-element",
            "/example-all:compute/example-all:left",
            Some(("bad-element", "left")),
        ),
        (
            ping("2", "<count>11</count>"),
            "invalid-value",
            "/example-all:lists/example-all:pair[example-all:first='a'][example-all:second='1']/example-all:inner[example-all:id='2']/example-all:ping/example-all:count",
            None,
        ),
        (
            action("machine", "<reset><force>true</force></reset>"),
            "missing-element",
            "/example-all:machine/example-all:reset/example-all:after",
            Some(("bad-element", "after")),
        ),
    ] {
        let error = refusal(&mut session, &call).await;
        assert_eq!(
            (error.tag.as_str(), error.path.as_deref()),
            (tag, Some(path)),
            "{call}: {error:?}"
        );
        let expected: Vec<_> = info
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(error.info, expected, "{call}");
    }
}

#[tokio::test]
async fn an_action_is_there_with_its_node() {
    let device = device();
    let mut session = device.login("admin").await;
    let toggle = action("flag", "<toggle/>");
    let error = refusal(&mut session, &toggle).await;
    assert_eq!(
        (error.tag.as_str(), error.path.as_deref()),
        ("data-missing", Some("/example-all:flag"))
    );
    session
        .edit_config("running", &example("flag", ""))
        .await
        .unwrap();
    session.rpc(&toggle).await.unwrap();
    let error = refusal(&mut session, &ping("9", "<count>1</count>")).await;
    assert_eq!(error.tag, "data-missing");
    assert!(
        error
            .path
            .unwrap()
            .ends_with("example-all:inner[example-all:id='9']")
    );
    // An entry of state has its action as well.
    let blink = |id: &str| {
        action(
            "machine",
            &format!("<state><unit><id>{id}</id><blink/></unit></state>"),
        )
    };
    session.rpc(&blink("7")).await.unwrap();
    assert_eq!(refusal(&mut session, &blink("8")).await.tag, "data-missing");
}

#[tokio::test]
async fn an_output_that_is_not_that_of_the_module_is_never_sent() {
    let device = device();
    let mut session = device.login("admin").await;
    let reset = action("machine", "<reset><after>1</after></reset>");
    let error = refusal(&mut session, &reset).await;
    assert_eq!((error.tag.as_str(), error.path), ("operation-failed", None));
}

#[tokio::test]
async fn what_is_no_action_is_refused() {
    let device = device();
    let mut session = device.login("admin").await;
    let cases = [
        (action("machine", ""), "missing-element", "action"),
        (action("machine", "<bogus/>"), "unknown-element", "bogus"),
        (
            action("machine", "<name>x</name>"),
            "missing-element",
            "action",
        ),
        (action("bogus", ""), "unknown-element", "bogus"),
        (
            r#"<action xmlns="urn:ietf:params:xml:ns:yang:1"/>"#.to_owned(),
            "missing-element",
            "action",
        ),
        (
            r#"<action xmlns="urn:ietf:params:xml:ns:yang:1"><x xmlns="urn:x"/></action>"#
                .to_owned(),
            "unknown-namespace",
            "x",
        ),
        (
            action(
                "machine",
                "<reset><after>1</after></reset><reset><after>1</after></reset>",
            ),
            "bad-element",
            "reset",
        ),
        (
            example("machine", "<reset><after>1</after></reset>"),
            "operation-not-supported",
            "machine",
        ),
        (example("bogus", ""), "operation-not-supported", "bogus"),
        (
            r#"<compute xmlns="urn:x"/>"#.to_owned(),
            "unknown-namespace",
            "compute",
        ),
    ];
    for (call, tag, element) in cases {
        let error = refusal(&mut session, &call).await;
        assert_eq!(error.tag, tag, "{call}: {error:?}");
        assert_eq!(
            error.info[0],
            ("bad-element".to_owned(), element.to_owned()),
            "{call}"
        );
    }
}
