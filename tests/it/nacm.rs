//! Access control over NETCONF (RFC 8341): every kind of rule, what it guards by default, its side effects, who is asked.

use std::collections::BTreeMap;

use tether::datastore::Parts;
use tether::datastore::subscriber::{ActionHandler, StateProvider};
use tether::model::error::RpcError;
use tether::model::tree::Tree;
use tether::netconf::session::Peer;
use tether::protocol::client::{ClientError, ReportedError};

use crate::support::served::{Served, Session, peer};
use crate::support::{example, refused};

const NETCONF: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0""#;
const NACM: &str =
    r#"xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm" xmlns:e="urn:example:all""#;

/// Does what it is told, which is nothing.
struct Nothing;

impl ActionHandler for Nothing {
    fn act(&mut self, input: &Tree) -> Result<Tree, RpcError> {
        let mut output = Tree::new(input.schema());
        if input.find("/example-all:machine/reset").is_some() {
            output.set_output("/example-all:machine/reset/done-at", Some("1"))?;
        }
        Ok(output)
    }
}

/// The temperature of the machine.
struct Temperature;

impl StateProvider for Temperature {
    fn module(&self) -> &'static str {
        "example-all"
    }

    fn state(&self, into: &mut Tree) {
        into.set("/example-all:machine/state/temperature", Some("40"))
            .unwrap();
    }
}

const CONFIG: &str = r#"
    <all xmlns="urn:example:all"><entry><name>a</name><value>1</value></entry><entry><name>b</name><value>2</value></entry></all>
    <choices xmlns="urn:example:all"><tcp-port>1</tcp-port></choices>
    <constraints xmlns="urn:example:all"><kind>special</kind><detail>d</detail></constraints>
    <guarded xmlns="urn:example:all"><open>o</open><read-only>r</read-only><hidden>h</hidden></guarded>
    <machine xmlns="urn:example:all"><name>m</name></machine>"#;

fn rule(inside: &str, action: &str) -> String {
    format!("<rule><name>{action}-it</name>{inside}<action>{action}</action></rule>")
}

fn path(path: &str, operations: &str) -> String {
    format!("<path>{path}</path><access-operations>{operations}</access-operations>")
}

/// A device on which `bob` is in group `ops`, for which these rules go.
async fn device(rules: &str) -> Served {
    let handler = || Box::new(Nothing) as Box<dyn ActionHandler>;
    let actions = [
        "/example-all:nothing",
        "/example-all:guarded-rpc",
        "/example-all:machine/reset",
    ];
    let parts = Parts {
        subscribers: Vec::new(),
        providers: vec![Box::new(Temperature)],
        actions: actions
            .map(|path| (path.to_owned(), handler()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        ..Parts::default()
    };
    let device = Served::with_example(parts, CONFIG);
    let list = match rules {
        "" => String::new(),
        _ => format!("<rule-list><name>ops-rules</name><group>ops</group>{rules}</rule-list>"),
    };
    let nacm = format!(
        "<nacm {NACM}><groups><group><name>ops</name><user-name>bob</user-name></group></groups>{list}</nacm>"
    );
    let mut admin = device.login("admin").await;
    admin.edit_config("running", &nacm).await.unwrap();
    device
}

fn denied<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ReportedError {
    let mut errors = refused(answer);
    assert_eq!(
        (errors.len(), errors[0].tag.as_str()),
        (1, "access-denied"),
        "{errors:?}"
    );
    errors.remove(0)
}

/// What a user sees of the module for tests in `get`.
async fn seen(session: &mut Session, root: &str) -> String {
    session.get(Some(&example(root, ""))).await.unwrap()
}

fn entry(name: &str, value: u32) -> String {
    example(
        "all",
        &format!("<entry><name>{name}</name><value>{value}</value></entry>"),
    )
}

fn removal(name: &str) -> String {
    example(
        "all",
        &format!("<entry {NETCONF} nc:operation='delete'><name>{name}</name></entry>"),
    )
}

#[tokio::test]
async fn what_may_not_be_read_is_left_out_silently() {
    let rules = [
        rule(&path("/e:all/e:entry[e:name='a']", "read"), "deny"),
        rule(&path("/e:machine/e:state", "read"), "deny"),
    ]
    .concat()
    .replacen("deny-it", "first", 1);
    let device = device(&rules).await;
    let mut bob = device.login("bob").await;
    assert_eq!(seen(&mut bob, "all").await, entry("b", 2));
    assert_eq!(
        seen(&mut bob, "machine").await,
        example("machine", "<name>m</name>")
    );
    let hidden = example("all", "<entry><name>a</name></entry>");
    assert_eq!(bob.get(Some(&hidden)).await.unwrap(), "");
    let mut admin = device.login("admin").await;
    assert!(
        seen(&mut admin, "machine")
            .await
            .contains("<temperature>40</temperature>")
    );
}

#[tokio::test]
async fn create_update_and_delete_are_denied_apart_with_path_and_rule() {
    let place = "/example-all:all/example-all:entry";
    for (operation, edit, denied_at) in [
        (
            "create",
            entry("c", 3),
            format!("{place}[example-all:name='c']"),
        ),
        (
            "update",
            entry("a", 9),
            format!("{place}[example-all:name='a']/example-all:value"),
        ),
        (
            "delete",
            removal("b"),
            format!("{place}[example-all:name='b']"),
        ),
    ] {
        let rules = [
            rule(&path("/e:all", operation), "deny"),
            rule(&path("/e:all", "*"), "permit"),
        ]
        .concat();
        let device = device(&rules).await;
        let mut bob = device.login("bob").await;
        let error = denied(bob.edit_config("running", &edit).await);
        assert_eq!(error.path.as_deref(), Some(denied_at.as_str()));
        let words = error.message.unwrap();
        assert!(
            words.contains("rule \"deny-it\" of \"ops-rules\" denies it"),
            "{words}"
        );
        for other in [entry("c", 3), entry("a", 9), removal("b")] {
            if other != edit {
                bob.edit_config("running", &other).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_rule_may_be_for_a_module_or_an_entry() {
    let own = [
        rule(&path("/e:all/e:entry[e:name=$USER]", "*"), "permit"),
        rule(
            "<module-name>example-all</module-name><access-operations>read</access-operations>",
            "permit",
        )
        .replace("permit-it", "reading"),
    ]
    .concat();
    let device = device(&own).await;
    let mut bob = device.login("bob").await;
    bob.edit_config("running", &entry("bob", 1)).await.unwrap();
    let error = denied(bob.edit_config("running", &entry("alice", 1)).await);
    assert!(error.message.unwrap().contains("no rule permits it"));
    let name = example("machine", "<name>x</name>");
    denied(bob.edit_config("running", &name).await);
}

#[tokio::test]
async fn without_a_rule_guarded_nodes_are_not_written_or_not_even_read() {
    let device = device("").await;
    let mut bob = device.login("bob").await;
    let shown = seen(&mut bob, "guarded").await;
    assert_eq!(
        shown,
        example("guarded", "<open>o</open><read-only>r</read-only>")
    );
    denied(bob.rpc(&example("guarded-rpc", "")).await);
    bob.rpc(&example("nothing", "")).await.unwrap();

    // With write-default permit, what is guarded stays so.
    let open = format!("<nacm {NACM}><write-default>permit</write-default></nacm>");
    let mut admin = device.login("admin").await;
    admin.edit_config("running", &open).await.unwrap();
    let write = |leaf: &str| example("guarded", &format!("<{leaf}>new</{leaf}>"));
    bob.edit_config("running", &write("open")).await.unwrap();
    for leaf in ["read-only", "hidden"] {
        let error = denied(bob.edit_config("running", &write(leaf)).await);
        let expected = format!("/example-all:guarded/example-all:{leaf}");
        assert_eq!(error.path, Some(expected));
    }
}

#[tokio::test]
async fn a_rule_opens_what_is_guarded_by_default() {
    let rules = [
        rule(&path("/e:guarded", "*"), "permit"),
        rule(
            "<module-name>example-all</module-name><rpc-name>guarded-rpc</rpc-name>",
            "permit",
        )
        .replace("permit-it", "rpc"),
    ]
    .concat();
    let device = device(&rules).await;
    let mut bob = device.login("bob").await;
    assert!(
        seen(&mut bob, "guarded")
            .await
            .contains("<hidden>h</hidden>")
    );
    let write = example("guarded", "<hidden>new</hidden>");
    bob.edit_config("running", &write).await.unwrap();
    bob.rpc(&example("guarded-rpc", "")).await.unwrap();
}

/// RFC 8341, section 3.4.5: what goes with a change is deleted by whoever makes it.
#[tokio::test]
async fn a_case_that_another_takes_the_place_of_has_to_be_deletable() {
    let rules = [
        rule(&path("/e:choices/e:tcp-port", "delete"), "deny"),
        rule(&path("/e:choices", "*"), "permit"),
    ]
    .concat();
    let device = device(&rules).await;
    let mut bob = device.login("bob").await;
    let error = denied(
        bob.edit_config("running", &example("choices", "<udp-port>2</udp-port>"))
            .await,
    );
    assert_eq!(
        error.path.as_deref(),
        Some("/example-all:choices/example-all:tcp-port")
    );
}

#[tokio::test]
async fn a_node_that_goes_with_its_condition_has_to_be_deletable() {
    let rules = [
        rule(&path("/e:constraints/e:detail", "delete"), "deny"),
        rule(&path("/e:constraints", "*"), "permit"),
    ]
    .concat();
    let device = device(&rules).await;
    let mut bob = device.login("bob").await;
    let error = denied(
        bob.edit_config("running", &example("constraints", "<kind>plain</kind>"))
            .await,
    );
    assert_eq!(
        error.path.as_deref(),
        Some("/example-all:constraints/example-all:detail")
    );
    let other = example("constraints", "<minimum>1</minimum>");
    bob.edit_config("running", &other).await.unwrap();
}

#[tokio::test]
async fn an_action_needs_to_be_executable_and_its_node_readable() {
    let reset = format!(
        r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{}</action>"#,
        example("machine", "<reset><after>1</after></reset>")
    );
    device("")
        .await
        .login("bob")
        .await
        .rpc(&reset)
        .await
        .unwrap();
    for rules in [
        rule(&path("/e:machine/e:reset", "exec"), "deny"),
        rule(&path("/e:machine", "read"), "deny"),
    ] {
        let device = device(&rules).await;
        let error = denied(device.login("bob").await.rpc(&reset).await);
        assert_eq!(
            error.path.as_deref(),
            Some("/example-all:machine/example-all:reset")
        );
    }
}

/// A call of each operation, with its module and name.
fn calls() -> Vec<(&'static str, &'static str, String)> {
    const MONITORING: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring";
    const NMDA: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda";
    let datastore = |name: &str| {
        format!(
            r#"<datastore xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores">ds:{name}</datastore>"#
        )
    };
    let running = "<running/>";
    vec![
        ("ietf-netconf", "get", "<get/>".to_owned()),
        (
            "ietf-netconf",
            "get-config",
            format!("<get-config><source>{running}</source></get-config>"),
        ),
        (
            "ietf-netconf",
            "edit-config",
            format!("<edit-config><target>{running}</target><config/></edit-config>"),
        ),
        (
            "ietf-netconf",
            "copy-config",
            "<copy-config><target><candidate/></target><source><running/></source></copy-config>"
                .to_owned(),
        ),
        (
            "ietf-netconf",
            "lock",
            format!("<lock><target>{running}</target></lock>"),
        ),
        (
            "ietf-netconf",
            "unlock",
            format!("<unlock><target>{running}</target></unlock>"),
        ),
        ("ietf-netconf", "commit", "<commit/>".to_owned()),
        (
            "ietf-netconf",
            "cancel-commit",
            "<cancel-commit/>".to_owned(),
        ),
        (
            "ietf-netconf",
            "discard-changes",
            "<discard-changes/>".to_owned(),
        ),
        (
            "ietf-netconf",
            "validate",
            format!("<validate><source>{running}</source></validate>"),
        ),
        (
            "ietf-netconf-monitoring",
            "get-schema",
            format!(
                r#"<get-schema xmlns="{MONITORING}"><identifier>ietf-system</identifier></get-schema>"#
            ),
        ),
        (
            "ietf-netconf-nmda",
            "get-data",
            format!(
                r#"<get-data xmlns="{NMDA}">{}</get-data>"#,
                datastore("running")
            ),
        ),
        (
            "ietf-netconf-nmda",
            "edit-data",
            format!(
                r#"<edit-data xmlns="{NMDA}">{}<config/></edit-data>"#,
                datastore("candidate")
            ),
        ),
        ("example-all", "nothing", example("nothing", "")),
    ]
}

#[tokio::test]
async fn every_operation_can_be_denied_by_its_module_and_name() {
    for (module, name, call) in calls() {
        let named = |name: &str, operations: &str| {
            rule(
                &format!(
                    "<module-name>{module}</module-name><rpc-name>{name}</rpc-name><access-operations>{operations}</access-operations>"
                ),
                "deny",
            )
        };
        let device = device(&named(name, "exec")).await;
        let error = denied(device.login("bob").await.rpc(&call).await);
        assert_eq!(
            (error.error_type.as_str(), error.path),
            ("protocol", None),
            "{name}"
        );
        assert!(
            error.message.unwrap().contains("rule \"deny-it\""),
            "{name}"
        );
        // Those of other names or of others stay open.
        let device = self::device(&named("another", "exec")).await;
        if let Err(ClientError::Refused(errors)) = device.login("bob").await.rpc(&call).await {
            let is_denied = |error: &ReportedError| {
                (error.error_type.as_str(), error.tag.as_str()) == ("protocol", "access-denied")
            };
            assert!(!errors.iter().any(is_denied), "{name}: {errors:?}");
        }
    }
}

#[tokio::test]
async fn a_session_may_always_be_closed() {
    let device = device(&rule("<rpc-name>*</rpc-name>", "deny")).await;
    device.login("bob").await.close().await.unwrap();
}

/// RFC 8341, section 3.4.4, step 10.
#[tokio::test]
async fn killing_sessions_and_deleting_datastores_needs_a_rule() {
    let device = device("").await;
    let victim = device.login("admin").await;
    let kill = format!(
        "<kill-session><session-id>{}</session-id></kill-session>",
        victim.session_id()
    );
    let mut bob = device.login("bob").await;
    denied(bob.rpc(&kill).await);
    denied(
        bob.rpc("<delete-config><target><candidate/></target></delete-config>")
            .await,
    );
    let rules = rule(
        "<module-name>ietf-netconf</module-name><rpc-name>kill-session</rpc-name>",
        "permit",
    );
    let device = self::device(&rules).await;
    let victim = device.login("admin").await;
    let kill = format!(
        "<kill-session><session-id>{}</session-id></kill-session>",
        victim.session_id()
    );
    device.login("bob").await.rpc(&kill).await.unwrap();
}

/// RFC 8341, section 3.2.5: what may not be read is not copied, what may not be written is not overwritten.
#[tokio::test]
async fn a_copy_holds_what_its_maker_may_read_and_changes_what_he_may_write() {
    let rules = [
        rule(&path("/e:all/e:entry[e:name='a']", "read"), "deny"),
        rule("<module-name>*</module-name>", "permit"),
    ]
    .concat();
    let device = device(&rules).await;
    let mut bob = device.login("bob").await;
    let mut admin = device.login("admin").await;
    admin
        .edit_config(
            "candidate",
            &example(
                "all",
                &format!("<entry {NETCONF} nc:operation='delete'><name>a</name></entry>"),
            ),
        )
        .await
        .unwrap();
    bob.rpc("<copy-config><target><candidate/></target><source><running/></source></copy-config>")
        .await
        .unwrap();
    let candidate = admin
        .get_config("candidate", Some(&example("all", "")))
        .await
        .unwrap();
    assert_eq!(candidate, entry("b", 2));
    // Onto what holds more than he sees, the copy would delete it.
    let rules = [
        rule(&path("/e:all/e:entry[e:name='a']", "read delete"), "deny"),
        rule("<module-name>*</module-name>", "permit"),
    ]
    .concat();
    let device = self::device(&rules).await;
    let mut bob = device.login("bob").await;
    let copy =
        "<copy-config><target><candidate/></target><source><running/></source></copy-config>";
    let error = denied(bob.rpc(copy).await);
    assert!(
        error
            .path
            .unwrap()
            .contains("example-all:entry[example-all:name='a']")
    );
}

/// RFC 8341, section 3.2.8: a commit changes what differs, whoever edited it; section 3.2.9: to discard takes nothing more.
#[tokio::test]
async fn a_commit_needs_access_to_what_it_changes_and_a_discard_to_nothing() {
    let device = device(&rule(&path("/e:all/e:entry[e:name='a']", "*"), "permit")).await;
    let mut admin = device.login("admin").await;
    let mut bob = device.login("bob").await;
    admin
        .edit_config("candidate", &entry("a", 5))
        .await
        .unwrap();
    bob.commit().await.unwrap();
    admin
        .edit_config("candidate", &entry("b", 5))
        .await
        .unwrap();
    let error = denied(bob.commit().await);
    assert!(
        error
            .path
            .unwrap()
            .contains("example-all:entry[example-all:name='b']/example-all:value")
    );
    bob.discard_changes().await.unwrap();
    bob.commit().await.unwrap();
    assert!(
        seen(&mut admin, "all")
            .await
            .contains("<name>b</name><value>2</value>")
    );
}

#[tokio::test]
async fn groups_that_the_transport_reports_count_unless_they_are_not_to() {
    let rules = rule(&path("/e:all", "*"), "permit");
    let device = device(&rules).await;
    let member = || Peer {
        groups: vec!["users".to_owned(), "ops".to_owned()],
        ..peer("eve")
    };
    let mut eve = device.login_as(member()).await;
    eve.edit_config("running", &entry("c", 3)).await.unwrap();
    denied(
        device
            .login("eve")
            .await
            .edit_config("running", &entry("d", 4))
            .await,
    );
    let off = format!("<nacm {NACM}><enable-external-groups>false</enable-external-groups></nacm>");
    let mut admin = device.login("admin").await;
    admin.edit_config("running", &off).await.unwrap();
    denied(eve.edit_config("running", &entry("d", 4)).await);
}

/// RFC 8341, section 3.5.2.
#[tokio::test]
async fn whoever_owns_the_machine_repairs_rules_that_lock_him_out_and_obeys_all_others() {
    let device = device("").await;
    let owner = || Peer {
        may_recover: true,
        ..peer("admin")
    };
    let nacm = |content: &str| format!("<nacm {NACM}>{content}</nacm>");
    let deny = |inside: &str| {
        nacm(&format!(
            "<rule-list xmlns:y='urn:ietf:params:xml:ns:yang:1' y:insert='first'><name>first</name><group>admin</group>{}</rule-list>",
            rule(inside, "deny")
        ))
    };
    // A rule that leaves him the rules themselves goes for him.
    let mut admin = device.login("admin").await;
    admin
        .edit_config("running", &deny(&path("/e:all", "*")))
        .await
        .unwrap();
    denied(
        device
            .login_as(owner())
            .await
            .edit_config("running", &entry("a", 7))
            .await,
    );
    // One that does not is repaired by him, and by nobody else.
    admin
        .edit_config(
            "running",
            &deny(&path("/", "create update delete")).replace("deny-it", "all"),
        )
        .await
        .unwrap();
    let repair = nacm(&format!(
        "<rule-list {NETCONF} nc:operation='delete'><name>first</name></rule-list>"
    ));
    denied(admin.edit_config("running", &repair).await);
    denied(
        device
            .login("admin")
            .await
            .edit_config("running", &repair)
            .await,
    );
    let mut recovery = device.login_as(owner()).await;
    recovery.edit_config("running", &repair).await.unwrap();
    admin.edit_config("running", &entry("a", 7)).await.unwrap();
}

#[tokio::test]
async fn denials_are_counted() {
    let device = device("").await;
    let mut bob = device.login("bob").await;
    let mut admin = device.login("admin").await;
    denied(bob.edit_config("running", &entry("a", 7)).await);
    denied(bob.rpc(&example("guarded-rpc", "")).await);
    denied(bob.rpc(&example("guarded-rpc", "")).await);
    let filter = format!(
        "<nacm {NACM}><denied-operations/><denied-data-writes/><denied-notifications/></nacm>"
    );
    let counters = admin.get(Some(&filter)).await.unwrap();
    for part in [
        "<denied-operations>2</denied-operations>",
        "<denied-data-writes>1</denied-data-writes>",
        "<denied-notifications>0</denied-notifications>",
    ] {
        assert!(counters.contains(part), "{counters}");
    }
    // They are state of a node that is hidden without a rule.
    assert_eq!(bob.get(Some(&filter)).await.unwrap(), "");
}
