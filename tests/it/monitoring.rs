//! The state of the server (RFC 6022) and its modules (RFC 8525), and that both agree with the hello and with what
//! `get-schema` gives.

use std::collections::BTreeSet;

use tether::model::schema::{ExtraModule, Schema};
use tether::protocol::client::{ClientError, ReportedError};
use tether::protocol::xml::{Document, Element};
use tokio::io::AsyncWriteExt as _;

use crate::support::refused;
use crate::support::served::{Served, Session};

const MONITORING: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring";
const LIBRARY: &str = "urn:ietf:params:xml:ns:yang:ietf-yang-library";

/// The texts of the elements at a path of names below the top-level element of a reply, in order.
fn texts(xml: &str, path: &[&str]) -> Vec<String> {
    fn walk(element: &Element<'_>, path: &[&str], found: &mut Vec<String>) {
        match path {
            [] => found.push(element.leaf_text().unwrap_or_default()),
            [name, rest @ ..] => {
                let children = element.children().filter(|child| child.name() == *name);
                children.for_each(|child| walk(&child, rest, found));
            }
        }
    }
    let mut found = Vec::new();
    let document = Document::parse(xml.as_bytes(), 256).unwrap();
    walk(document.root(), path, &mut found);
    found
}

/// For each element at a path, the texts of some of its children.
fn rows(xml: &str, path: &[&str], leaves: &[&str]) -> Vec<Vec<Option<String>>> {
    fn walk(
        element: &Element<'_>,
        path: &[&str],
        leaves: &[&str],
        rows: &mut Vec<Vec<Option<String>>>,
    ) {
        let Some((name, rest)) = path.split_first() else {
            let leaf = |name: &&str| {
                let child = element.children().find(|child| child.name() == *name)?;
                child.leaf_text()
            };
            return rows.push(leaves.iter().map(leaf).collect());
        };
        let children = element.children().filter(|child| child.name() == *name);
        children.for_each(|child| walk(&child, rest, leaves, rows));
    }
    let mut found = Vec::new();
    let document = Document::parse(xml.as_bytes(), 256).unwrap();
    walk(document.root(), path, leaves, &mut found);
    found
}

async fn state(session: &mut Session, part: &str) -> String {
    let filter = format!(r#"<netconf-state xmlns="{MONITORING}"><{part}/></netconf-state>"#);
    session.get(Some(&filter)).await.unwrap()
}

async fn library(session: &mut Session) -> String {
    let filter = format!(r#"<yang-library xmlns="{LIBRARY}"/>"#);
    session.get(Some(&filter)).await.unwrap()
}

async fn get_schema(session: &mut Session, parameters: &str) -> Result<String, ClientError> {
    let call = format!(r#"<get-schema xmlns="{MONITORING}">{parameters}</get-schema>"#);
    let reply = session.rpc(&call).await?;
    let wrapped = format!("<reply>{reply}</reply>");
    Ok(texts(&wrapped, &["data"]).remove(0))
}

fn refusal(answer: Result<String, ClientError>) -> ReportedError {
    refused(answer).remove(0)
}

fn example() -> Served {
    Served::with_example(Default::default(), "")
}

#[tokio::test]
async fn the_capabilities_are_those_of_the_hello() {
    let device = example();
    let mut session = device.login("admin").await;
    let announced: BTreeSet<_> = session.server().capabilities.iter().cloned().collect();
    let shown = texts(
        &state(&mut session, "capabilities").await,
        &["capabilities", "capability"],
    );
    assert_eq!(shown.iter().cloned().collect::<BTreeSet<_>>(), announced);
    assert_eq!(shown.len(), announced.len());
}

#[tokio::test]
async fn each_datastore_shows_who_has_locked_it() {
    let device = example();
    let mut session = device.login("admin").await;
    let mut other = device.login("admin").await;
    other.lock("candidate").await.unwrap();
    let shown = state(&mut session, "datastores").await;
    let names = texts(&shown, &["datastores", "datastore", "name"]);
    assert_eq!(names, ["running", "candidate"]);
    let lock = [
        "datastores",
        "datastore",
        "locks",
        "global-lock",
        "locked-by-session",
    ];
    assert_eq!(texts(&shown, &lock), [other.session_id().to_string()]);
    other.unlock("candidate").await.unwrap();
    assert!(texts(&state(&mut session, "datastores").await, &lock).is_empty());
}

#[tokio::test]
async fn the_startup_datastore_is_listed_where_there_is_one() {
    let schema = Schema::load_with_startup(&[]).unwrap();
    let nacm = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><enable-nacm>false</enable-nacm></nacm>"#;
    let device = Served::start_with(schema, nacm, Default::default());
    let mut session = device.login("admin").await;
    let shown = state(&mut session, "datastores").await;
    let names = texts(&shown, &["datastores", "datastore", "name"]);
    assert_eq!(names, ["running", "candidate", "startup"]);
    let datastores = texts(&library(&mut session).await, &["datastore", "name"]);
    let names = datastores
        .iter()
        .map(|name| name.rsplit(':').next().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["running", "candidate", "operational", "startup"]
    );
}

#[tokio::test]
async fn sessions_are_listed_and_their_counters_move() {
    let device = example();
    let mut session = device.login("admin").await;
    let other = device.login("bob").await;
    let shown = state(&mut session, "sessions").await;
    let listed = rows(
        &shown,
        &["sessions", "session"],
        &["session-id", "username", "in-rpcs"],
    );
    let row = |id: u32, user: &str, rpcs: u32| {
        [id.to_string(), user.to_owned(), rpcs.to_string()]
            .map(Some)
            .to_vec()
    };
    assert_eq!(
        listed,
        [
            row(session.session_id(), "admin", 1),
            row(other.session_id(), "bob", 0)
        ]
    );
    let counters = |shown: &str| -> Vec<u32> {
        let leaves = [
            "in-sessions",
            "in-rpcs",
            "in-bad-rpcs",
            "out-rpc-errors",
            "in-bad-hellos",
            "dropped-sessions",
        ];
        let row = rows(shown, &["statistics"], &leaves).remove(0);
        row.into_iter()
            .map(|count| count.unwrap().parse().unwrap())
            .collect()
    };
    assert_eq!(
        counters(&state(&mut session, "statistics").await),
        [2, 2, 0, 0, 0, 0]
    );

    refused(session.rpc("<bogus xmlns='urn:x'/>").await);
    // One who sends no hello, and one who goes without a word.
    let mut stranger = device.dial("bob");
    stranger.write_all(b"<rpc/>]]>]]>").await.unwrap();
    drop(other);
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut asked = 3;
    loop {
        asked += 1;
        let counted = counters(&state(&mut session, "statistics").await);
        if counted == [3, asked, 0, 1, 1, 1] {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{counted:?}");
        tokio::task::yield_now().await;
    }
}

/// RFC 6022, section 2.1.3 and 3.1: every listed schema is to be had, and is the one that is listed.
#[tokio::test]
async fn every_listed_schema_is_given_in_its_format() {
    let device = example();
    let mut session = device.login("admin").await;
    let shown = state(&mut session, "schemas").await;
    let leaves = ["identifier", "version", "format", "namespace", "location"];
    let listed = rows(&shown, &["schemas", "schema"], &leaves);
    assert!(listed.len() > 40, "{}", listed.len());
    for row in &listed {
        let [identifier, version, format, namespace, location] =
            [0, 1, 2, 3, 4].map(|column| row[column].clone().unwrap_or_default());
        assert_eq!(location, "NETCONF");
        let parameters = format!(
            "<identifier>{identifier}</identifier><version>{version}</version><format>{format}</format>"
        );
        let text = get_schema(&mut session, &parameters).await.unwrap();
        if format.ends_with("yin") {
            let document = Document::parse(text.as_bytes(), 256).unwrap();
            let root = document.root();
            assert!(
                root.is("urn:ietf:params:xml:ns:yang:yin:1", root.name()),
                "{identifier}"
            );
            let named = root
                .attributes()
                .any(|(_, name, value)| name == "name" && value == identifier);
            assert!(named, "{identifier}");
            assert!(matches!(root.name(), "module" | "submodule"));
        } else {
            let module = ExtraModule::parse(text.clone()).unwrap();
            assert_eq!(module.name(), identifier);
            assert_eq!(
                module.revision().unwrap_or_default(),
                version,
                "{identifier}"
            );
            let is_whole = module.belongs_to().is_none();
            assert!(
                !is_whole || text.contains(&format!("namespace \"{namespace}\"")),
                "{identifier}"
            );
        }
    }
    let of_example: Vec<_> = listed
        .iter()
        .filter(|row| row[3].as_deref() == Some("urn:example:all"))
        .map(|row| row[0].clone().unwrap())
        .collect();
    assert_eq!(
        of_example,
        [
            "example-all",
            "example-all",
            "example-all-sub",
            "example-all-sub"
        ]
    );
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_an_invalid_value() {
    let device = example();
    let mut session = device.login("admin").await;
    for parameters in [
        "<identifier>bogus</identifier>",
        "<identifier>ietf-system</identifier><version>1999-01-01</version>",
        "<identifier>ietf-system</identifier><version/>",
        "<identifier>ietf-system</identifier><format>xsd</format>",
    ] {
        let error = refusal(get_schema(&mut session, parameters).await);
        assert_eq!(
            (error.tag.as_str(), error.app_tag),
            ("invalid-value", None),
            "{parameters}"
        );
    }
    let error = refusal(get_schema(&mut session, "").await);
    assert_eq!(error.tag, "missing-element");
    assert_eq!(
        error.info,
        [("bad-element".to_owned(), "identifier".to_owned())]
    );
}

/// RFC 6022, section 3.1.
#[tokio::test]
async fn a_schema_of_which_there_are_two_versions_needs_its_version() {
    let bread = |revision: &str| {
        let text = format!(
            "module bread {{ namespace 'urn:bread'; prefix b; revision {revision}; typedef slice {{ type string; }} }}"
        );
        ExtraModule::parse(text).unwrap().for_others()
    };
    let user = |name: &str, revision: &str| {
        let text = format!(
            "module {name} {{ namespace 'urn:{name}'; prefix p; import bread {{ prefix b; revision-date {revision}; }} leaf {name} {{ type b:slice; }} }}"
        );
        ExtraModule::parse(text).unwrap()
    };
    let modules = [
        bread("2024-01-01"),
        bread("2025-01-01"),
        user("old", "2024-01-01"),
        user("new", "2025-01-01"),
    ];
    let device = Served::with_modules(&modules);
    let mut session = device.login("admin").await;
    let error = refusal(get_schema(&mut session, "<identifier>bread</identifier>").await);
    assert_eq!(
        (error.tag.as_str(), error.app_tag.as_deref()),
        ("operation-failed", Some("data-not-unique"))
    );
    for revision in ["2024-01-01", "2025-01-01"] {
        let parameters = format!("<identifier>bread</identifier><version>{revision}</version>");
        let text = get_schema(&mut session, &parameters).await.unwrap();
        assert!(text.contains(&format!("revision {revision}")), "{text}");
    }
}

/// Name, revision, namespace and features of the modules of yang-library, and the names of all submodules.
async fn modules(session: &mut Session) -> (Vec<Vec<Option<String>>>, Vec<String>) {
    let shown = library(session).await;
    let leaves = ["name", "revision", "namespace", "feature"];
    let mut all = rows(&shown, &["module-set", "module"], &leaves);
    all.extend(rows(&shown, &["module-set", "import-only-module"], &leaves));
    let submodules = texts(&shown, &["module-set", "module", "submodule", "name"]);
    (all, submodules)
}

#[tokio::test]
async fn the_library_agrees_with_the_hello_the_schemas_and_its_older_form() {
    let device = example();
    let mut session = device.login("admin").await;
    let (modules, submodules) = modules(&mut session).await;
    assert_eq!(submodules, ["example-all-sub"]);

    // All that the hello announces is there, with its revision.
    let hello = session.server().capabilities.clone();
    let announced = hello.iter().filter_map(|uri| uri.split_once("?module="));
    for (namespace, rest) in announced {
        let mut parts = rest.split('&');
        let name = parts.next().map(str::to_owned);
        let revision = parts
            .find_map(|part| part.strip_prefix("revision="))
            .map(str::to_owned);
        let is_it = |row: &&Vec<Option<String>>| row[0] == name;
        let row = modules.iter().find(is_it).unwrap();
        assert_eq!(
            (&row[1], row[2].as_deref()),
            (&revision, Some(namespace)),
            "{name:?}"
        );
    }
    // The schemas are the modules and submodules, each in two formats.
    let schemas = texts(
        &state(&mut session, "schemas").await,
        &["schemas", "schema", "identifier"],
    );
    let named: BTreeSet<_> = modules
        .iter()
        .filter_map(|row| row[0].clone())
        .chain(submodules)
        .collect();
    assert_eq!(schemas.iter().cloned().collect::<BTreeSet<_>>(), named);
    assert_eq!(schemas.len(), 2 * named.len());
    // The older form lists the same.
    let filter = format!(r#"<modules-state xmlns="{LIBRARY}"/>"#);
    let older = session.get(Some(&filter)).await.unwrap();
    let older_names: BTreeSet<_> = texts(&older, &["module", "name"]).into_iter().collect();
    let names: BTreeSet<_> = modules.iter().filter_map(|row| row[0].clone()).collect();
    assert_eq!(older_names, names);
    // One content-id everywhere.
    let id = texts(&library(&mut session).await, &["content-id"]).remove(0);
    assert_eq!(texts(&older, &["module-set-id"]), std::slice::from_ref(&id));
    let expected = format!(
        "urn:ietf:params:netconf:capability:yang-library:1.1?revision=2019-01-04&content-id={id}"
    );
    assert!(hello.contains(&expected), "{hello:?}");
}

#[tokio::test]
async fn every_datastore_has_the_one_schema() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    let shown = library(&mut session).await;
    let datastores = rows(&shown, &["datastore"], &["name", "schema"]);
    let names: Vec<_> = datastores
        .iter()
        .map(|row| row[0].as_deref().unwrap().rsplit(':').next().unwrap())
        .collect();
    assert_eq!(names, ["running", "candidate", "operational"]);
    let schema = texts(&shown, &["schema", "name"]);
    assert!(
        datastores
            .iter()
            .all(|row| row[1].as_ref() == schema.first())
    );
}

#[test]
fn the_content_id_changes_with_modules_revisions_features_and_texts() {
    let toaster = |inside: &str| {
        let text = format!("module toaster {{ namespace 'urn:t'; prefix t; {inside} }}");
        ExtraModule::parse(text).unwrap()
    };
    let id = |modules: &[ExtraModule]| Schema::load(modules).unwrap().content_id().to_owned();
    let ids = [
        id(&[]),
        Schema::load_with_startup(&[])
            .unwrap()
            .content_id()
            .to_owned(),
        id(&[toaster("")]),
        id(&[toaster("revision 2026-01-01;")]),
        id(&[toaster("feature dark;")]),
        id(&[toaster("container c;")]),
    ];
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "{ids:?}"
    );
    assert_eq!(id(&[toaster("feature dark;")]), ids[4]);
}

#[tokio::test]
async fn deviations_are_told() {
    let modules = [
        "module plain { yang-version 1; namespace 'urn:plain'; prefix p; revision 2026-01-01; leaf a { type string; } leaf b { type string; } }",
        "module deviant { namespace 'urn:deviant'; prefix d; import plain { prefix p; } revision 2026-01-01; deviation /p:b { deviate not-supported; } }",
    ];
    let modules = modules.map(|text| ExtraModule::parse(text.to_owned()).unwrap());
    let device = Served::with_modules(&modules);
    let mut session = device.login("admin").await;
    let told = "urn:plain?module=plain&revision=2026-01-01&deviations=deviant";
    assert!(session.server().capabilities.iter().any(|uri| uri == told));
    let shown = library(&mut session).await;
    assert_eq!(
        texts(&shown, &["module-set", "module", "deviation"]),
        ["deviant"]
    );
    let error = refused(
        session
            .edit_config("running", "<b xmlns='urn:plain'>x</b>")
            .await,
    )
    .remove(0);
    assert_eq!(error.tag, "unknown-element");
    session
        .edit_config("running", "<a xmlns='urn:plain'>x</a>")
        .await
        .unwrap();
}
