//! NMDA over the wire (RFC 8342, RFC 8526): get-data, the operational datastore and its origins.

use crate::support::{Plain, Session, example, refused};

const NMDA: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda";
const OPERATIONAL: &str = "operational";

async fn device() -> Plain {
    let mut device = Plain::start().await;
    let config = [
        example("all", "<entry><name>one</name><value>1</value></entry>"),
        example("defaults", ""),
        example(
            "lists",
            "<pair><first>a</first><second>1</second><inner><id>7</id></inner></pair>",
        ),
    ];
    device.commit(&config.concat()).await;
    device
}

/// The operation; prefixes `ds` and `or` are those of the standard modules.
fn get_data(datastore: &str, parameters: &str) -> String {
    format!(
        "<get-data xmlns=\"{NMDA}\" xmlns:ds=\"urn:ietf:params:xml:ns:yang:ietf-datastores\" \
         xmlns:or=\"urn:ietf:params:xml:ns:yang:ietf-origin\"><datastore>ds:{datastore}</datastore>{parameters}</get-data>"
    )
}

fn subtree(content: &str) -> String {
    format!("<subtree-filter>{content}</subtree-filter>")
}

async fn data(session: &mut Session, operation: &str) -> String {
    let reply = session.rpc(operation).await.unwrap();
    let start = format!("<data xmlns=\"{NMDA}\"");
    assert!(reply.starts_with(&start), "{reply}");
    let inside = reply
        .split_once('>')
        .and_then(|(_, rest)| rest.strip_suffix("</data>"));
    inside
        .unwrap_or_else(|| panic!("{reply}"))
        .replace(" xmlns=\"urn:example:all\"", "")
}

async fn tags(session: &mut Session, operation: &str) -> Vec<String> {
    let errors = refused(session.rpc(operation).await);
    errors.into_iter().map(|error| error.tag).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operational_holds_configuration_and_state() {
    let mut device = device().await;
    let all = data(&mut device.session, &get_data(OPERATIONAL, "")).await;
    for part in [
        "<name>one</name>",
        "<os-name>",
        "<serial-num>",
        "<netconf-state",
        "<denied-operations>",
        "<yang-library",
    ] {
        assert!(all.contains(part), "{part} is missing");
    }
    let running = data(&mut device.session, &get_data("running", "")).await;
    assert!(
        running.contains("<name>one</name>") && !running.contains("<os-name>"),
        "{running}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn depth_counts_from_the_selected_nodes() {
    let mut device = device().await;
    let pair = subtree("<lists xmlns=\"urn:example:all\"><pair/></lists>");
    let keys = "<first>a</first><second>1</second>";
    for (depth, expected) in [
        ("1", format!("<lists><pair>{keys}</pair></lists>")),
        (
            "2",
            format!("<lists><pair>{keys}<inner><id>7</id></inner></pair></lists>"),
        ),
        (
            "unbounded",
            format!("<lists><pair>{keys}<inner><id>7</id></inner></pair></lists>"),
        ),
    ] {
        let operation = get_data("running", &format!("{pair}<max-depth>{depth}</max-depth>"));
        assert_eq!(
            data(&mut device.session, &operation).await,
            expected,
            "{depth}"
        );
    }
    for wrong in ["0", "65536", "-1", "deep", ""] {
        let operation = get_data("running", &format!("<max-depth>{wrong}</max-depth>"));
        assert_eq!(
            tags(&mut device.session, &operation).await,
            ["invalid-value"],
            "{wrong}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_filter_takes_one_kind_of_nodes() {
    let mut device = device().await;
    let hardware = subtree("<hardware xmlns=\"urn:ietf:params:xml:ns:yang:ietf-hardware\"/>");
    let ask = |value: &str| {
        get_data(
            OPERATIONAL,
            &format!("{hardware}<config-filter>{value}</config-filter>"),
        )
    };
    let config = data(&mut device.session, &ask("true")).await;
    assert!(
        config.contains("<class") && !config.contains("serial-num"),
        "{config}"
    );
    let state = data(&mut device.session, &ask("false")).await;
    assert!(
        state.contains("<name>chassis</name><serial-num>") && !state.contains("<class"),
        "{state}"
    );
    assert_eq!(
        tags(&mut device.session, &ask("maybe")).await,
        ["invalid-value"]
    );
    let nothing = get_data("running", "<config-filter>false</config-filter>");
    assert_eq!(data(&mut device.session, &nothing).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_are_told_and_filtered() {
    let mut device = device().await;
    let filter = subtree(
        "<all xmlns=\"urn:example:all\"/><defaults xmlns=\"urn:example:all\"/>\
         <hardware xmlns=\"urn:ietf:params:xml:ns:yang:ietf-hardware\"><component><name/><class/></component></hardware>",
    );
    let or = |origin: &str| {
        format!(" xmlns:or=\"urn:ietf:params:xml:ns:yang:ietf-origin\" or:origin=\"or:{origin}\"")
    };
    let all = data(
        &mut device.session,
        &get_data(OPERATIONAL, &format!("{filter}<with-origin/>")),
    )
    .await;
    for part in [
        format!(
            "<all{}><entry><name>one</name><value>1</value></entry></all>",
            or("intended")
        ),
        format!("<number{}>7</number>", or("default")),
        format!("<component{}><name>chassis</name>", or("system")),
    ] {
        assert!(all.contains(&part), "{part} is not in\n{all}");
    }
    let mut only = Vec::new();
    for parameters in [
        "<origin-filter>or:intended</origin-filter>",
        "<origin-filter>or:default</origin-filter><origin-filter>or:system</origin-filter>",
        "<negated-origin-filter>or:intended</negated-origin-filter>",
        "<negated-origin-filter>or:origin</negated-origin-filter>",
    ] {
        let operation = get_data(OPERATIONAL, &format!("{filter}{parameters}"));
        only.push(data(&mut device.session, &operation).await);
    }
    assert_eq!(
        only[0],
        "<all><entry><name>one</name><value>1</value></entry></all>"
    );
    assert!(
        only[1].contains("<number>7</number>")
            && only[1].contains("chassis")
            && !only[1].contains("<name>one")
    );
    assert_eq!(only[1], only[2]);
    assert_eq!(only[3], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_fit_are_refused() {
    let mut device = device().await;
    let session = &mut device.session;
    for (operation, tag) in [
        (get_data("running", "<with-origin/>"), "invalid-value"),
        (
            get_data("running", "<origin-filter>or:system</origin-filter>"),
            "unknown-element",
        ),
        (
            get_data(OPERATIONAL, "<origin-filter>or:nowhere</origin-filter>"),
            "invalid-value",
        ),
        (
            get_data(OPERATIONAL, "<origin-filter>ds:running</origin-filter>"),
            "invalid-value",
        ),
        (
            get_data(
                OPERATIONAL,
                "<origin-filter>or:system</origin-filter><negated-origin-filter>or:system</negated-origin-filter>",
            ),
            "unknown-element",
        ),
        (
            get_data("running", "<subtree-filter/><xpath-filter>/</xpath-filter>"),
            "unknown-element",
        ),
        (
            get_data(
                "running",
                "<max-depth>1</max-depth><max-depth>2</max-depth>",
            ),
            "bad-element",
        ),
        (get_data("running", "<anything/>"), "unknown-element"),
        (get_data("dynamic", ""), "invalid-value"),
        (get_data("intended", ""), "invalid-value"),
        (
            get_data("running", "").replace("ds:running", "running"),
            "invalid-value",
        ),
        (
            get_data("running", "").replace("ds:running", "or:running"),
            "invalid-value",
        ),
        (format!("<get-data xmlns=\"{NMDA}\"/>"), "missing-element"),
    ] {
        assert_eq!(tags(session, &operation).await, [tag], "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_validation_take_datastores_of_nmda() {
    // RFC 8526, section 3.2.
    let mut device = device().await;
    let named = |operation: &str, parameter: &str, datastore: &str| {
        format!(
            "<{operation}><{parameter}><datastore xmlns=\"{NMDA}\" xmlns:ds=\"urn:ietf:params:xml:ns:yang:ietf-datastores\">ds:{datastore}</datastore></{parameter}></{operation}>"
        )
    };
    let mut other = device.open().await;
    let session = &mut device.session;
    session
        .rpc(&named("lock", "target", "candidate"))
        .await
        .unwrap();
    assert_eq!(
        tags(&mut other, "<lock><target><candidate/></target></lock>").await,
        ["lock-denied"]
    );
    session
        .rpc(&named("unlock", "target", "candidate"))
        .await
        .unwrap();
    other.lock("candidate").await.unwrap();
    session
        .rpc(&named("validate", "source", "candidate"))
        .await
        .unwrap();
    for operation in [
        named("lock", "target", OPERATIONAL),
        named("validate", "source", OPERATIONAL),
    ] {
        assert_eq!(
            tags(session, &operation).await,
            ["invalid-value"],
            "{operation}"
        );
    }
    // Other operations do not have it.
    let copy = named("get-config", "source", "running");
    assert_eq!(tags(session, &copy).await, ["unknown-namespace"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_of_asking_reveals_what_access_control_hides() {
    let mut device = device().await;
    let rule = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><exec-default>permit</exec-default>
        <groups><group><name>readers</name><user-name>eve</user-name></group></groups>
        <rule-list><name>readers</name><group>readers</group>
            <rule><name>no-value</name><path xmlns:e="urn:example:all">/e:all/e:entry/e:value</path><action>deny</action></rule>
        </rule-list></nacm>"#;
    let user = r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication><user><name>eve</name>
        <password>$0$eve's own</password></user></authentication></system>"#;
    device.commit(&format!("{rule}{user}")).await;
    let mut eve = device.ssh("eve", "eve's own").await;
    let xpath = |expression: &str| {
        let filter =
            format!("<filter type=\"xpath\" xmlns:t=\"urn:example:all\" select=\"{expression}\"/>");
        [
            format!("<get>{filter}</get>"),
            format!("<get-config><source><running/></source>{filter}</get-config>"),
            get_data(
                OPERATIONAL,
                &format!("<xpath-filter xmlns:t=\"urn:example:all\">{expression}</xpath-filter>"),
            ),
        ]
    };
    let visible = eve.session.rpc(&xpath("/t:all")[0]).await.unwrap();
    assert!(
        visible.contains("<name>one</name>") && !visible.contains("value"),
        "{visible}"
    );
    let guesses = [
        "/t:all/t:entry[t:value='1']",
        "/t:all/t:entry[t:value]",
        "/t:all/t:entry[count(t:value) = 1]",
        "/t:all/t:entry[sum(//t:value) = 1]",
        "/t:all[t:entry/t:value &lt; 2]",
        "/t:all/t:entry[string(t:value) != '']",
        "//t:value",
        "//*[. = '1' and local-name() = 'value']",
    ];
    for guess in guesses {
        for operation in xpath(guess) {
            let reply = eve.session.rpc(&operation).await.unwrap();
            assert!(!reply.contains("one"), "{operation}: {reply}");
        }
    }
    let subtrees = [
        "<all xmlns=\"urn:example:all\"><entry><value>1</value></entry></all>",
        "<all xmlns=\"urn:example:all\"><entry><value/></entry></all>",
    ];
    for filter in subtrees {
        for operation in [
            format!("<get><filter>{filter}</filter></get>"),
            get_data(OPERATIONAL, &subtree(filter)),
        ] {
            let reply = eve.session.rpc(&operation).await.unwrap();
            assert!(
                !reply.contains("one") && !reply.contains("<value>"),
                "{operation}: {reply}"
            );
        }
    }
}
