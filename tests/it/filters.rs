//! Filters over the wire: subtree (RFC 6241, section 6) and XPath (section 8.9), on get, get-config and get-data.

use tether::protocol::client::ReportedError;

use crate::support::{Plain, Session, example, refused};

const NMDA: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda";
const DATASTORES: &str = "urn:ietf:params:xml:ns:yang:ietf-datastores";

/// What the tests look for.
const DATA: &str = r#"
    <all xmlns="urn:example:all">
        <entry><name>one</name><value>1</value><note>first</note></entry>
        <entry><name>two</name><value>2</value></entry>
        <entry><name>three</name><value>3</value><note>first</note></entry></all>
    <lists xmlns="urn:example:all">
        <pair><first>a</first><second>1</second><value>x</value><inner><id>7</id><value>deep</value></inner></pair>
        <pair><first>a</first><second>2</second><value>y</value></pair>
        <ordered><name>z</name></ordered><ordered><name>b</name></ordered>
        <words>red</words><words>blue</words></lists>
    <types xmlns="urn:example:all"><identityref xmlns:e="urn:example:all">e:poodle</identityref><leafref>two</leafref>
        <string>it's "quoted"</string></types>"#;

async fn device() -> Plain {
    let mut device = Plain::start().await;
    device.commit(DATA).await;
    device
}

/// How the same data are asked for.
#[derive(Clone, Copy, Debug)]
enum Way {
    Get,
    GetConfig,
    GetData(&'static str),
}

const WAYS: [Way; 4] = [
    Way::Get,
    Way::GetConfig,
    Way::GetData("running"),
    Way::GetData("operational"),
];

impl Way {
    fn subtree(self, filter: &str) -> String {
        match self {
            Self::Get | Self::GetConfig => self.operation(&format!("<filter>{filter}</filter>")),
            Self::GetData(_) => {
                self.operation(&format!("<subtree-filter>{filter}</subtree-filter>"))
            }
        }
    }

    fn xpath(self, expression: &str) -> String {
        let expression = expression.replace('<', "&lt;").replace('"', "&quot;");
        match self {
            Self::Get | Self::GetConfig => self.operation(&format!(
                "<filter type=\"xpath\" xmlns:t=\"urn:example:all\" xmlns:u=\"urn:example:unknown\" select=\"{expression}\"/>"
            )),
            Self::GetData(_) => self.operation(&format!(
                "<xpath-filter xmlns:t=\"urn:example:all\" xmlns:u=\"urn:example:unknown\">{expression}</xpath-filter>"
            )),
        }
    }

    fn operation(self, filter: &str) -> String {
        match self {
            Self::Get => format!("<get>{filter}</get>"),
            Self::GetConfig => {
                format!("<get-config><source><running/></source>{filter}</get-config>")
            }
            Self::GetData(datastore) => format!(
                "<get-data xmlns=\"{NMDA}\"><datastore xmlns:ds=\"{DATASTORES}\">ds:{datastore}</datastore>{filter}</get-data>"
            ),
        }
    }
}

/// What comes back inside of `<data>`, without the declaration of the module's namespace.
async fn ask(session: &mut Session, operation: &str) -> String {
    let reply = session.rpc(operation).await.unwrap();
    let inside = reply
        .trim()
        .strip_suffix("</data>")
        .and_then(|rest| Some(rest.split_once('>')?.1))
        .unwrap_or_else(|| panic!("{reply}"));
    inside.replace(" xmlns=\"urn:example:all\"", "")
}

/// All ways give the same.
async fn subtree(device: &mut Plain, filter: &str) -> String {
    let mut answers = Vec::new();
    for way in WAYS {
        answers.push(ask(&mut device.session, &way.subtree(filter)).await);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{filter}: {answers:#?}");
    answers.remove(0)
}

async fn xpath(device: &mut Plain, expression: &str) -> String {
    let mut answers = Vec::new();
    for way in WAYS {
        answers.push(ask(&mut device.session, &way.xpath(expression)).await);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{expression}: {answers:#?}");
    answers.remove(0)
}

async fn xpath_refused(device: &mut Plain, expression: &str) -> ReportedError {
    let mut errors = Vec::new();
    for way in WAYS {
        let error = refused(device.session.rpc(&way.xpath(expression)).await);
        assert_eq!(error.len(), 1, "{expression}: {error:?}");
        errors.extend(error);
    }
    errors.dedup();
    assert_eq!(errors.len(), 1, "{expression}: {errors:#?}");
    errors.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subtree_filter_contains_selects_and_matches() {
    let mut device = device().await;
    // (filter, what comes back)
    let cases = [
        // Section 6.2.3 and 6.2.4: containment, selection.
        (
            "<lists xmlns='urn:example:all'><words/></lists>",
            "<lists><words>blue</words><words>red</words></lists>",
        ),
        // Section 6.2.5: a key, all of the entry.
        (
            "<all xmlns='urn:example:all'><entry><name>two</name></entry></all>",
            "<all><entry><name>two</name><value>2</value></entry></all>",
        ),
        // A key and a selection: the key and that.
        (
            "<all xmlns='urn:example:all'><entry><name>one</name><note/></entry></all>",
            "<all><entry><name>one</name><note>first</note></entry></all>",
        ),
        // A leaf that is no key.
        (
            "<all xmlns='urn:example:all'><entry><note>first</note><value/></entry></all>",
            "<all><entry><name>one</name><value>1</value><note>first</note></entry>\
             <entry><name>three</name><value>3</value><note>first</note></entry></all>",
        ),
        // Two keys, and a list in the list.
        (
            "<lists xmlns='urn:example:all'><pair><first>a</first><second>1</second><inner><id>7</id></inner></pair></lists>",
            "<lists><pair><first>a</first><second>1</second><inner><id>7</id><value>deep</value></inner></pair></lists>",
        ),
        // One key of two.
        (
            "<lists xmlns='urn:example:all'><pair><first>a</first><value/></pair></lists>",
            "<lists><pair><first>a</first><second>1</second><value>x</value></pair>\
             <pair><first>a</first><second>2</second><value>y</value></pair></lists>",
        ),
        // The order of the user is that of the reply.
        (
            "<lists xmlns='urn:example:all'><ordered><name>b</name></ordered><ordered><name>z</name></ordered></lists>",
            "<lists><ordered><name>z</name></ordered><ordered><name>b</name></ordered></lists>",
        ),
        // Several siblings about one list.
        (
            "<all xmlns='urn:example:all'><entry><name>one</name><value/></entry><entry><name>two</name></entry></all>",
            "<all><entry><name>one</name><value>1</value></entry><entry><name>two</name><value>2</value></entry></all>",
        ),
        // An identity under another prefix than the one it was given with.
        (
            "<types xmlns='urn:example:all' xmlns:p='urn:example:all'><identityref>p:poodle</identityref><leafref/></types>",
            "<types><identityref>poodle</identityref><leafref>two</leafref></types>",
        ),
        // Nothing matches, nothing is there, nothing has attributes (section 6.2.2), nothing is asked for (6.4.2).
        (
            "<all xmlns='urn:example:all'><entry><name>four</name></entry></all>",
            "",
        ),
        (
            "<all xmlns='urn:example:all'><entry><value>1</value><note>second</note></entry></all>",
            "",
        ),
        ("<nothing xmlns='urn:example:all'/>", ""),
        ("<all xmlns='urn:example:unknown'/>", ""),
        (
            "<all xmlns='urn:example:all' xmlns:p='urn:p' p:attribute='x'/>",
            "",
        ),
        ("", ""),
    ];
    for (filter, expected) in cases {
        let found = subtree(&mut device, filter).await;
        assert_eq!(found, expected, "{filter}");
    }
    // Without a namespace, and in that of the message around it.
    for filter in [
        "<all xmlns=''><entry><name>two</name></entry></all>",
        "<all><entry><name>two</name></entry></all>",
    ] {
        let found = subtree(&mut device, filter).await;
        assert_eq!(
            found,
            "<all><entry><name>two</name><value>2</value></entry></all>"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_roots_are_selected_together() {
    let mut device = device().await;
    let filter = "<types xmlns='urn:example:all'><leafref/></types><all xmlns='urn:example:all'><entry><name>one</name><value/></entry></all>";
    let found = subtree(&mut device, filter).await;
    assert!(
        found.contains("<types><leafref>two</leafref></types>"),
        "{found}"
    );
    assert!(
        found.contains("<all><entry><name>one</name><value>1</value></entry></all>"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_xpath_filter_selects_nodes_with_all_below_them() {
    let mut device = device().await;
    let two = "<all><entry><name>two</name><value>2</value></entry></all>";
    let values = "<all><entry><name>one</name><value>1</value></entry><entry><name>two</name><value>2</value></entry></all>";
    let cases = [
        ("/t:all/t:entry[t:name='two']", two),
        (
            "t:all/t:entry[2]/t:value",
            "<all><entry><name>three</name><value>3</value></entry></all>",
        ),
        ("/t:all/t:entry[t:value < 3]/t:value", values),
        (
            "/t:all/t:entry[t:name='one' or t:name=\"two\"]/t:value",
            values,
        ),
        (
            "/t:all/t:entry[t:name='one']/t:value | /t:all/t:entry[t:name='two']/t:value",
            values,
        ),
        ("//t:entry[not(t:note)]", two),
        ("/t:all/t:entry[t:name = /t:types/t:leafref]", two),
        (
            "/t:all/t:entry[count(../t:entry) = 3 and t:name='two']",
            two,
        ),
        (
            "/t:all/t:entry[deref(/t:types/t:leafref)/../t:name = t:name]",
            two,
        ),
        ("/t:all/t:entry[contains(t:name, 'w')]", two),
        ("/t:all/*[t:name='two']", two),
        ("/t:all/child::t:entry[starts-with(t:name, 'tw')]", two),
        // Names without a prefix have the namespace of what they are in.
        ("/all/entry[name='two']", two),
        // Identities compare by what they are, whatever their prefix.
        (
            "/t:types[derived-from(t:identityref, 't:animal')]/t:leafref",
            "<types><leafref>two</leafref></types>",
        ),
        (
            "/t:types[t:identityref = 't:poodle']/t:leafref",
            "<types><leafref>two</leafref></types>",
        ),
        // Nothing there, and a namespace of no module.
        ("/t:all/t:entry[t:name='four']", ""),
        ("/u:all/u:*", ""),
        ("/t:all/u:entry[u:x = 1]", ""),
        ("/t:nothing", ""),
    ];
    for (expression, expected) in cases {
        assert_eq!(
            xpath(&mut device, expression).await,
            expected,
            "{expression}"
        );
    }
    for way in [Way::GetConfig, Way::Get] {
        let everything = ask(&mut device.session, &way.xpath("/")).await;
        assert!(
            everything.contains("<words>red</words>") && everything.contains("<nacm"),
            "{everything}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_may_speak_of_state_and_configuration() {
    let mut device = device().await;
    let own = "/*[local-name()='netconf-state']/*[local-name()='sessions']/*[local-name()='session'][*[local-name()='username']='admin']";
    let found = ask(&mut device.session, &Way::Get.xpath(own)).await;
    assert!(found.contains("<username>admin</username>"), "{found}");
    let both = "/t:all/t:entry[t:name='two'][//*[local-name()='os-name']]";
    assert!(
        ask(&mut device.session, &Way::Get.xpath(both))
            .await
            .contains("two")
    );
    // In running there is no state.
    assert_eq!(
        ask(&mut device.session, &Way::GetConfig.xpath(both)).await,
        ""
    );
    let filter = "<system-state xmlns='urn:ietf:params:xml:ns:yang:ietf-system'/>";
    assert_eq!(
        ask(
            &mut device.session,
            &Way::GetData("running").subtree(filter)
        )
        .await,
        ""
    );
    assert!(
        ask(&mut device.session, &Way::Get.subtree(filter))
            .await
            .contains("os-name")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_expression_is_refused_with_its_reason() {
    let mut device = device().await;
    for expression in [
        "/t:all[",
        "/t:all/",
        "/x:all",
        "no-such-function()",
        "/t:all/$var",
        "",
    ] {
        let error = xpath_refused(&mut device, expression).await;
        assert_eq!(
            (error.error_type.as_str(), error.tag.as_str()),
            ("protocol", "invalid-value"),
            "{expression}"
        );
        assert!(
            error
                .message
                .as_deref()
                .is_some_and(|words| words.len() > 20),
            "{error:?}"
        );
    }
    for value in [
        "count(/t:all)",
        "1 = 1",
        "'text'",
        "string(/t:all/t:entry[1]/t:name)",
    ] {
        let error = xpath_refused(&mut device, value).await;
        assert_eq!(error.tag, "invalid-value", "{value}");
        assert!(
            error
                .message
                .as_deref()
                .is_some_and(|words| words.contains("no nodes")),
            "{error:?}"
        );
        assert!(
            !error.message.clone().unwrap_or_default().contains("one"),
            "the value is told: {error:?}"
        );
    }
    let missing = "<get><filter type='xpath'/></get>";
    let error = refused(device.session.rpc(missing).await).remove(0);
    assert_eq!(error.tag, "missing-attribute");
    let other = "<get><filter type='regex' select='.*'/></get>";
    assert_eq!(
        refused(device.session.rpc(other).await)[0].tag,
        "bad-attribute"
    );
    let long = format!("/t:all[t:entry = '{}']", "x".repeat(20_000));
    assert_eq!(xpath_refused(&mut device, &long).await.tag, "too-big");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_the_candidate_sees_what_is_not_committed() {
    let mut device = device().await;
    let edit = example("all", "<entry><name>new</name></entry>");
    device
        .session
        .edit_config("candidate", &edit)
        .await
        .unwrap();
    let entry = "<entry><name>new</name></entry>";
    let filter = example("all", entry);
    let found = device
        .session
        .get_config("candidate", Some(&filter))
        .await
        .unwrap();
    assert!(found.contains(entry), "{found}");
    assert_eq!(
        device
            .session
            .get_config("running", Some(&filter))
            .await
            .unwrap(),
        ""
    );
    let found = ask(
        &mut device.session,
        &Way::GetData("candidate").xpath("/t:all/t:entry[t:name='new']"),
    )
    .await;
    assert_eq!(found, format!("<all>{entry}</all>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_takes_long_keeps_nobody_waiting() {
    let mut device = Plain::start().await;
    let entries: String = (0..80)
        .map(|n| format!("<entry><name>e{n}</name><value>{n}</value></entry>"))
        .collect();
    device.commit(&example("all", &entries)).await;
    // Every node of the module is counted for every node, for every entry.
    let long =
        Way::GetConfig.xpath("/t:all/t:entry[count(/t:all//*[count(/t:all//*) > 5]) > 5]/t:name");
    let mut evaluating = Vec::new();
    for _ in 0..4 {
        let mut session = device.open().await;
        let long = long.clone();
        evaluating.push(tokio::spawn(async move { session.rpc(&long).await }));
    }
    // Meanwhile others read and commit.
    let one = Way::GetConfig.subtree(&example("all", "<entry><name>e7</name></entry>"));
    let mut served = 0;
    while !evaluating.iter().all(tokio::task::JoinHandle::is_finished) {
        assert!(ask(&mut device.session, &one).await.contains("e7"));
        device
            .commit(&example(
                "all",
                &format!("<entry><name>e7</name><note>{served}</note></entry>"),
            ))
            .await;
        served += 1;
    }
    for evaluating in evaluating {
        assert!(
            evaluating
                .await
                .unwrap()
                .unwrap()
                .contains("<name>e79</name>")
        );
    }
    assert!(served > 10, "{served}");
}
