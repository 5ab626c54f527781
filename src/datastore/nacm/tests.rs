use std::sync::LazyLock;

use super::path::RulePath;
use super::*;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(&[]).unwrap());

const DATA: &str = r#"
<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system">
  <contact>ops@example.net</contact><hostname>edge-1</hostname>
  <authentication>
    <user><name>alice</name><password>$1$saltstri$zhFR8rF3ZihnSXABV.NjT.</password></user>
    <user><name>bob</name></user>
  </authentication>
</system>
<cloud-management xmlns="urn:tether:yang:cloud-management">
  <server><domain>cloud.example</domain><password>$1$AAAA</password></server>
  <keepalive-interval>60</keepalive-interval>
</cloud-management>"#;

fn tree(xml: &str) -> Tree {
    Tree::parse_config(*SCHEMA, xml).unwrap()
}

/// Access control with these rules for group `ops`, in which `alice` is.
fn nacm(settings: &str, rules: &str) -> Nacm {
    let list = match rules {
        "" => String::new(),
        _ => format!("<rule-list><name>ops-rules</name><group>ops</group>{rules}</rule-list>"),
    };
    Nacm::read(&tree(&format!(
        r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
          xmlns:cm="urn:tether:yang:cloud-management" xmlns:sys="urn:ietf:params:xml:ns:yang:ietf-system">
          {settings}<groups><group><name>ops</name><user-name>alice</user-name></group></groups>{list}</nacm>"#
    )))
}

fn rule(name: &str, inside: &str, action: &str) -> String {
    format!("<rule><name>{name}</name>{inside}<action>{action}</action></rule>")
}

/// The names and values of the leafs that a user reads of [`DATA`].
fn reads(nacm: &Nacm, user: &str) -> Vec<String> {
    let mut seen = tree(DATA);
    nacm.prune(user, &mut seen);
    let nodes = seen.roots().flat_map(|root| root.descendants());
    nodes.filter_map(|node| node.value()).collect()
}

/// What becomes of a change of [`DATA`].
fn writes(nacm: &Nacm, user: &str, change: impl FnOnce(&mut Tree)) -> Result<(), RpcError> {
    let old = tree(DATA);
    let mut new = old.duplicate();
    change(&mut new);
    nacm.check(user, &old.diff(&new).unwrap())
}

const KEEPALIVE: &str = "/cloud-management:cloud-management/keepalive-interval";
const PASSWORD: &str = "/cloud-management:cloud-management/server/password";

#[test]
fn without_rules_all_but_the_denied_nodes_can_be_read_and_nothing_written() {
    let nacm = nacm("", "");
    for user in ["alice", "stranger"] {
        let seen = reads(&nacm, user);
        assert!(seen.contains(&"cloud.example".to_owned()));
        assert!(!seen.contains(&"$1$AAAA".to_owned()), "{seen:?}");
        let refused = writes(&nacm, user, |tree| tree.set(KEEPALIVE, Some("30")).unwrap());
        let refused = refused.unwrap_err();
        assert_eq!(refused.tag, ErrorTag::AccessDenied);
        assert_eq!(refused.path.as_deref(), Some(KEEPALIVE));
        assert!(refused.message.contains("no rule permits"), "{refused}");
        nacm.may_exec(user, "ietf-netconf", "get").unwrap();
    }
}

#[test]
fn switched_off_it_permits_everything() {
    let nacm = nacm("<enable-nacm>false</enable-nacm>", &rule("no", "", "deny"));
    assert!(reads(&nacm, "alice").iter().any(|value| value == "$1$AAAA"));
    writes(&nacm, "alice", |tree| tree.remove(PASSWORD)).unwrap();
    nacm.may_exec("alice", "ietf-netconf", "kill-session")
        .unwrap();
}

#[test]
fn a_permit_for_everything_opens_the_denied_nodes_too() {
    let nacm = nacm("", &rule("all", "<module-name>*</module-name>", "permit"));
    assert!(reads(&nacm, "alice").contains(&"$1$AAAA".to_owned()));
    assert!(!reads(&nacm, "stranger").contains(&"$1$AAAA".to_owned()));
    writes(&nacm, "alice", |tree| tree.remove(PASSWORD)).unwrap();
    nacm.may_exec("alice", "ietf-netconf", "delete-config")
        .unwrap();
}

#[test]
fn only_a_leading_permit_for_all_shows_everything() {
    let all = rule("all", "", "permit");
    let rpcs = rule("rpcs", "<rpc-name>*</rpc-name>", "deny");
    let writes = rule(
        "writes",
        "<access-operations>update</access-operations>",
        "deny",
    );
    let module = rule("one", "<module-name>ietf-system</module-name>", "permit");
    let hidden = rule("hidden", "<path>/sys:system/sys:contact</path>", "deny");
    assert!(nacm("", &format!("{rpcs}{writes}{all}")).shows_everything("alice"));
    assert!(nacm("<enable-nacm>false</enable-nacm>", &hidden).shows_everything("alice"));
    for rules in [String::new(), module, format!("{hidden}{all}")] {
        assert!(!nacm("", &rules).shows_everything("alice"));
    }
    assert!(!nacm("", &all).shows_everything("stranger"));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let module = "<module-name>cloud-management</module-name>";
    let read = "<access-operations>read exec</access-operations>";
    let rules = rule("readers", &format!("{module}{read}"), "permit")
        + &rule("keep-out", module, "deny")
        + &rule("all", "", "permit");
    let nacm = nacm("", &rules);
    assert!(reads(&nacm, "alice").contains(&"60".to_owned()));
    let refused = writes(&nacm, "alice", |tree| tree.remove(KEEPALIVE)).unwrap_err();
    assert!(
        refused
            .message
            .contains("rule \"keep-out\" of \"ops-rules\" denies"),
        "{refused}"
    );
    writes(&nacm, "alice", |tree| {
        tree.remove("/ietf-system:system/contact")
    })
    .unwrap();
}

#[test]
fn create_update_and_delete_are_told_apart() {
    for (operation, denied) in [("create", 0), ("update", 1), ("delete", 2)] {
        let rules = rule(
            "one",
            &format!("<access-operations>{operation}</access-operations>"),
            "deny",
        ) + &rule("all", "", "permit");
        let nacm = nacm("", &rules);
        let location = "/ietf-system:system/location";
        let results = [
            writes(&nacm, "alice", |tree| {
                tree.set(location, Some("here")).unwrap()
            }),
            writes(&nacm, "alice", |tree| {
                tree.set(KEEPALIVE, Some("30")).unwrap()
            }),
            writes(&nacm, "alice", |tree| {
                tree.remove("/ietf-system:system/contact")
            }),
        ];
        for (at, result) in results.into_iter().enumerate() {
            assert_eq!(result.is_err(), at == denied, "{operation} {at}");
        }
    }
}

#[test]
fn every_node_of_what_is_created_or_deleted_is_checked() {
    let rules = rule(
        "secret",
        "<path>/cm:cloud-management/cm:server/cm:password</path>",
        "deny",
    ) + &rule("all", "", "permit");
    let nacm = nacm("", &rules);
    let refused = writes(&nacm, "alice", |tree| {
        tree.remove("/cloud-management:cloud-management")
    });
    assert_eq!(refused.unwrap_err().path.as_deref(), Some(PASSWORD));
    writes(&nacm, "alice", |tree| tree.remove("/ietf-system:system")).unwrap();
}

#[test]
fn a_container_without_presence_needs_no_permission_of_its_own() {
    let rules = rule(
        "host",
        "<path>/cm:cloud-management/cm:server/cm:domain</path>",
        "permit",
    );
    let nacm = nacm("", &rules);
    let empty = Tree::new(*SCHEMA);
    let mut new = Tree::new(*SCHEMA);
    new.set(
        "/cloud-management:cloud-management/server/domain",
        Some("x.example"),
    )
    .unwrap();
    nacm.check("alice", &empty.diff(&new).unwrap()).unwrap();
    new.set(KEEPALIVE, Some("30")).unwrap();
    nacm.check("alice", &empty.diff(&new).unwrap()).unwrap_err();
}

#[test]
fn a_path_covers_its_node_and_what_is_below_it() {
    let users = "<path>/sys:system/sys:authentication</path>";
    let nacm = nacm("", &rule("no-users", users, "deny"));
    assert!(!reads(&nacm, "alice").iter().any(|value| value == "bob"));
    assert!(reads(&nacm, "alice").contains(&"edge-1".to_owned()));
    let everything = super::tests::nacm("", &rule("nothing", "<path>/</path>", "deny"));
    assert!(reads(&everything, "alice").is_empty());
    everything.may_exec("alice", "ietf-netconf", "get").unwrap();
}

#[test]
fn keys_in_a_path_choose_among_entries() {
    let bob = "<path>/sys:system/sys:authentication/sys:user[sys:name='bob']</path>";
    let nacm = nacm("", &rule("no-bob", bob, "deny"));
    let seen = reads(&nacm, "alice");
    assert!(seen.contains(&"alice".to_owned()) && !seen.contains(&"bob".to_owned()));
    let own = "<path>/sys:system/sys:authentication/sys:user[sys:name=$USER]</path>";
    let rules = rule("own", own, "permit")
        + &rule(
            "others",
            "<module-name>ietf-system</module-name><access-operations>create update delete</access-operations>",
            "deny",
        );
    let nacm = super::tests::nacm("", &rules);
    let of =
        |name: &str| format!("/ietf-system:system/authentication/user[name='{name}']/password");
    let hash = Some("$1$saltstri$zhFR8rF3ZihnSXABV.NjT/");
    writes(&nacm, "alice", |tree| tree.set(&of("alice"), hash).unwrap()).unwrap();
    writes(&nacm, "alice", |tree| tree.set(&of("bob"), hash).unwrap()).unwrap_err();
}

#[test]
fn an_entry_whose_key_is_hidden_is_hidden() {
    let name = "<path>/sys:system/sys:authentication/sys:user/sys:name</path>";
    let nacm = nacm("", &rule("no-names", name, "deny"));
    let mut seen = tree(DATA);
    nacm.prune("alice", &mut seen);
    assert!(
        seen.find("/ietf-system:system/authentication/user[name='bob']")
            .is_none()
    );
    assert!(seen.find("/ietf-system:system/hostname").is_some());
}

#[test]
fn rpcs_are_permitted_by_name_module_and_default() {
    let named =
        |rpc: &str| format!("<module-name>ietf-netconf</module-name><rpc-name>{rpc}</rpc-name>");
    let nacm = nacm(
        "<exec-default>deny</exec-default>",
        &(rule("lock", &named("lock"), "permit") + &rule("edit", &named("edit-config"), "deny")),
    );
    nacm.may_exec("alice", "ietf-netconf", "lock").unwrap();
    nacm.may_exec("bob", "ietf-netconf", "lock").unwrap_err();
    nacm.may_exec("alice", "other", "lock").unwrap_err();
    let refused = nacm
        .may_exec("alice", "ietf-netconf", "edit-config")
        .unwrap_err();
    assert_eq!(refused.tag, ErrorTag::AccessDenied);
    assert!(refused.message.contains("rule \"edit\""), "{refused}");
    nacm.may_exec("bob", "ietf-netconf", "close-session")
        .unwrap();
}

#[test]
fn dangerous_rpcs_need_a_rule() {
    let nacm = nacm(
        "",
        &rule("kill", "<rpc-name>kill-session</rpc-name>", "permit"),
    );
    nacm.may_exec("alice", "ietf-netconf", "kill-session")
        .unwrap();
    nacm.may_exec("stranger", "ietf-netconf", "kill-session")
        .unwrap_err();
    for (module, name) in [
        ("ietf-netconf", "delete-config"),
        ("ietf-system", "system-restart"),
    ] {
        nacm.may_exec("alice", module, name).unwrap_err();
    }
}

#[test]
fn a_rule_for_rpcs_says_nothing_of_data() {
    let rules = rule("rpcs", "<rpc-name>*</rpc-name>", "deny")
        + &rule(
            "notices",
            "<notification-name>*</notification-name>",
            "deny",
        );
    let nacm = nacm("", &rules);
    assert!(reads(&nacm, "alice").contains(&"edge-1".to_owned()));
    assert!(nacm.may_exec("alice", "ietf-netconf", "get").is_err());
    assert!(!nacm.may_receive("alice", "cloud-management", "connection-state-changed"));
    assert!(nacm.may_receive("bob", "cloud-management", "connection-state-changed"));
}

#[test]
fn an_action_has_to_be_executable_and_its_parents_readable() {
    let message = r#"<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">
        <action xmlns="urn:ietf:params:xml:ns:yang:1"><cloud-management xmlns="urn:tether:yang:cloud-management">
        <reset-tunnel/></cloud-management></action></rpc>"#;
    let action = &Operation::parse(*SCHEMA, message).unwrap();
    nacm("", "").may_act("alice", action).unwrap();
    let path = "<path>/cm:cloud-management/cm:reset-tunnel</path>";
    let refused = nacm("", &rule("no-reset", path, "deny"))
        .may_act("alice", action)
        .unwrap_err();
    assert_eq!(
        refused.path.as_deref(),
        Some("/cloud-management:cloud-management/reset-tunnel")
    );
    let exec = "<access-operations>exec</access-operations>";
    nacm("", &rule("no-exec", exec, "deny"))
        .may_act("alice", action)
        .unwrap_err();
    nacm("<exec-default>deny</exec-default>", "")
        .may_act("alice", action)
        .unwrap_err();
    nacm("<read-default>deny</read-default>", "")
        .may_act("alice", action)
        .unwrap_err();
}

#[test]
fn rule_lists_for_all_groups_go_for_members_of_any() {
    let nacm = Nacm::read(&tree(
        r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
        <groups><group><name>g</name><user-name>alice</user-name><user-name>bob</user-name></group>
        <group><name>h</name><user-name>bob</user-name></group></groups>
        <rule-list><name>l</name><group>*</group><rule><name>r</name><action>permit</action></rule></rule-list></nacm>"#,
    ));
    assert_eq!(nacm.rules.groups_of("bob".into()), ["g", "h"]);
    assert!(nacm.rules.groups_of("stranger".into()).is_empty());
    writes(&nacm, "alice", |tree| tree.remove(KEEPALIVE)).unwrap();
    writes(&nacm, "stranger", |tree| tree.remove(KEEPALIVE)).unwrap_err();
}

#[test]
fn refusals_are_counted_across_configurations() {
    let old = nacm("", "");
    writes(&old, "alice", |tree| tree.remove(KEEPALIVE)).unwrap_err();
    old.may_exec("alice", "ietf-netconf", "kill-session")
        .unwrap_err();
    let new = old.reread(&Tree::new(*SCHEMA));
    writes(&new, "alice", |tree| tree.remove(KEEPALIVE)).unwrap_err();
    let mut state = Tree::new(*SCHEMA);
    new.state(&mut state).unwrap();
    for (name, count) in [
        ("operations", "1"),
        ("data-writes", "2"),
        ("notifications", "0"),
    ] {
        let path = format!("/ietf-netconf-acm:nacm/denied-{name}");
        assert_eq!(state.value(&path).as_deref(), Some(count), "{name}");
    }
}

#[test]
fn a_path_that_no_module_has_is_refused_when_it_is_edited() {
    for path in [
        "/cm:cloud-management/cm:bogus",
        "cm:cloud-management",
        "/cm:cloud-management[",
    ] {
        let xml = format!(
            r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm" xmlns:cm="urn:tether:yang:cloud-management">
            <rule-list><name>l</name><rule><name>r</name><path>{path}</path><action>deny</action></rule></rule-list></nacm>"#
        );
        assert!(Tree::parse_config(*SCHEMA, &xml).is_err(), "{path}");
    }
}

#[test]
fn any_path_at_all_is_read() {
    for path in [
        "",
        "/",
        "//",
        "x",
        "/x",
        "/a:b",
        "/cloud-management:cloud-management/",
        "/[",
        "/'",
        "/ietf-system:system[1",
    ] {
        let parsed = RulePath::parse(path, *SCHEMA);
        let data = tree(DATA);
        let covers = data.roots().any(|root| parsed.covers(root, "u", false));
        assert_eq!(covers, path == "/", "{path}");
    }
}

#[test]
fn in_doubt_a_rule_denies() {
    let parsed = RulePath::parse("/ietf-system:system/authentication/user[2]", *SCHEMA);
    let data = tree(DATA);
    let user = data
        .find("/ietf-system:system/authentication/user[name='bob']")
        .unwrap();
    assert!(parsed.covers(user, "u", true));
    assert!(!parsed.covers(user, "u", false));
}
