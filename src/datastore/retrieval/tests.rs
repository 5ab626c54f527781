use std::sync::LazyLock;

use std::time::SystemTime;

use super::*;
use crate::datastore::filter::Filter;
use crate::datastore::xpath;
use crate::model::schema::Schema;
use crate::model::xml::Scope;

const CONFIG: &str = r#"<cloud-management xmlns="urn:tether:yang:cloud-management">
    <server><domain>a.example</domain><port>443</port></server><service><name>netconf</name></service></cloud-management>
    <hardware xmlns="urn:ietf:params:xml:ns:yang:ietf-hardware"><component><name>fan</name><class
    xmlns:ih="urn:ietf:params:xml:ns:yang:iana-hardware">ih:fan</class><alias>a &lt; b</alias></component></hardware>"#;
const CM: &str = " xmlns=\"urn:tether:yang:cloud-management\"";
const HW: &str = " xmlns=\"urn:ietf:params:xml:ns:yang:ietf-hardware\"";

fn schema() -> Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(&[]).unwrap());
    *SCHEMA
}

fn running() -> Snapshot {
    let mut tree = Tree::parse_config(schema(), CONFIG).unwrap();
    tree.validate().unwrap();
    Snapshot::new(tree)
}

/// Running, and the state of a chassis that nobody configured.
fn operational() -> Vec<Source> {
    let running = running();
    let mut both = Tree::new(running.schema());
    let component = "/ietf-hardware:hardware/component[name='chassis']";
    for (leaf, value) in [("class", "iana-hardware:chassis"), ("serial-num", "7")] {
        both.set(&format!("{component}/{leaf}"), Some(value))
            .unwrap();
    }
    let there: Vec<_> = both.roots().map(|root| root.schema()).collect();
    let shared = running
        .roots()
        .filter(|root| there.contains(&root.schema()));
    shared.for_each(|root| both.graft(root));
    vec![
        Source {
            elsewhere: there,
            ..Source::new(running.clone(), Selection::All)
        },
        Source {
            intended: Some(running),
            ..Source::new(Snapshot::new(both), Selection::All)
        },
    ]
}

fn xml(sources: Vec<Source>, options: Options) -> String {
    let pieces = Retrieval::new(sources, options, None).begin().unwrap();
    pieces.into_xml().replace(CM, "").replace(HW, "")
}

fn of_running(selection: Selection, options: Options) -> String {
    xml(vec![Source::new(running(), selection)], options)
}

fn subtree(filter: &str) -> Selection {
    Selection::Filter(Filter::parse(filter, &Scope::default()).unwrap())
}

fn with_xpath(expression: &str) -> Selection {
    Selection::XPath(xpath::parse(schema(), expression, |_| None).unwrap())
}

fn defaults(with_defaults: WithDefaults) -> Options {
    Options {
        with_defaults,
        ..Options::default()
    }
}

fn depth(max_depth: u16) -> Options {
    Options {
        max_depth: Some(max_depth),
        ..Options::default()
    }
}

#[test]
fn what_was_set_comes_as_libyang_prints_it() {
    let printed = running().to_xml().replace(CM, "").replace(HW, "");
    let own = of_running(Selection::All, Options::default());
    assert_eq!(
        Tree::parse_config(schema(), &running().to_xml())
            .unwrap()
            .to_xml(),
        running().to_xml()
    );
    // The declarations of a value stand in another order, or beside one that is not needed.
    assert_eq!(own.len(), printed.len(), "{own}\n{printed}");
}

#[test]
fn the_four_modes_of_defaults_differ_as_the_rfc_says() {
    // RFC 6243, section 3: the port is set to its default, the interval is not set.
    let server = |mode| {
        let filter =
            "<cloud-management><server><port/></server><keepalive-interval/></cloud-management>";
        of_running(subtree(filter), defaults(mode))
    };
    let wrap = |inside: &str| format!("<cloud-management>{inside}</cloud-management>");
    assert_eq!(
        server(WithDefaults::Explicit),
        wrap("<server><port>443</port></server>")
    );
    assert_eq!(server(WithDefaults::Trim), "");
    assert_eq!(
        server(WithDefaults::ReportAll),
        wrap("<server><port>443</port></server><keepalive-interval>180</keepalive-interval>")
    );
    let tag = " xmlns:wd=\"urn:ietf:params:xml:ns:netconf:default:1.0\" wd:default=\"true\"";
    assert_eq!(
        server(WithDefaults::ReportAllTagged),
        wrap(&format!(
            "<server><port>443</port></server><keepalive-interval{tag}>180</keepalive-interval>"
        ))
    );
}

#[test]
fn defaults_that_a_tree_lacks_are_added_if_wanted() {
    let bare = || Snapshot::new(Tree::parse_config(schema(), CONFIG).unwrap());
    let interval = "<cloud-management><keepalive-interval/></cloud-management>";
    let source = |lacks_defaults| Source {
        lacks_defaults,
        ..Source::new(bare(), subtree(interval))
    };
    assert_eq!(
        xml(vec![source(false)], defaults(WithDefaults::ReportAll)),
        ""
    );
    assert!(xml(vec![source(true)], defaults(WithDefaults::ReportAll)).contains("180"));
    assert_eq!(xml(vec![source(true)], Options::default()), "");
}

#[test]
fn levels_are_counted_from_the_selected_node() {
    // RFC 8526, section 3.1.1: 1 is the node itself; keys are part of their entry.
    assert_eq!(
        of_running(Selection::All, depth(1)),
        "<cloud-management/><hardware/>"
    );
    let server = "<cloud-management><server/></cloud-management>";
    assert_eq!(
        of_running(subtree(server), depth(1)),
        "<cloud-management><server/></cloud-management>"
    );
    assert_eq!(
        of_running(subtree(server), depth(2)),
        "<cloud-management><server><domain>a.example</domain><port>443</port></server></cloud-management>"
    );
    assert_eq!(
        of_running(with_xpath("/cloud-management/service"), depth(1)),
        "<cloud-management><service><name>netconf</name></service></cloud-management>"
    );
    let empty = "<cloud-management><trust/></cloud-management>";
    assert_eq!(of_running(subtree(empty), depth(1)), "");
}

#[test]
fn configuration_and_state_can_be_told_apart() {
    let only = |config| {
        let options = Options {
            config: Some(config),
            ..Options::default()
        };
        let selection = || subtree("<hardware/>");
        let mut sources = operational();
        sources[0].selection = selection();
        sources[1].selection = selection();
        xml(sources, options)
    };
    let configured = only(true);
    assert!(
        configured.contains("<alias>a &lt; b</alias>"),
        "{configured}"
    );
    assert!(configured.contains("<name>chassis</name>") && !configured.contains("serial-num"));
    // An entry that leads to state comes with its key; one that does not stays away.
    assert_eq!(
        only(false),
        "<hardware><component><name>chassis</name><serial-num>7</serial-num></component></hardware>"
    );
}

#[test]
fn origins_are_told_where_they_change() {
    let options = Options {
        with_origin: true,
        with_defaults: WithDefaults::ReportAll,
        ..Options::default()
    };
    let or = |origin: &str| {
        format!(" xmlns:or=\"urn:ietf:params:xml:ns:yang:ietf-origin\" or:origin=\"or:{origin}\"")
    };
    let told = xml(operational(), options);
    let expected = [
        format!(
            "<cloud-management{}><server><domain>a.example</domain><port>443</port>",
            or("intended")
        ),
        format!(
            "<keepalive-interval{}>180</keepalive-interval>",
            or("default")
        ),
        format!("<hardware{}>", or("intended")),
        format!("<component{}><name>chassis</name>", or("system")),
        "<component><name>fan</name>".to_owned(),
        "<serial-num>7</serial-num>".to_owned(),
    ];
    for part in expected {
        assert!(told.contains(&part), "{part} is not in\n{told}");
    }
}

#[test]
fn origins_are_a_filter() {
    let wanted = |origin, negated| {
        let filter = OriginFilter {
            origins: vec![origin],
            negated,
        };
        let options = Options {
            origin: Some(filter),
            config: Some(true),
            with_defaults: WithDefaults::ReportAll,
            ..Options::default()
        };
        xml(operational(), options)
    };
    let system = wanted(Origin::System, false);
    assert!(system.contains("chassis") && !system.contains("fan") && !system.contains("domain"));
    let others = wanted(Origin::System, true);
    assert!(!others.contains("chassis") && others.contains("fan") && others.contains("180"));
    let defaults = wanted(Origin::Default, false);
    assert!(
        defaults.contains("180") && !defaults.contains("a.example"),
        "{defaults}"
    );
    assert_eq!(wanted(Origin::Any, true), "");
}

#[test]
fn an_xpath_filter_selects_each_node_with_all_below_it() {
    let found = |expression: &str| of_running(with_xpath(expression), Options::default());
    assert_eq!(
        found("/cloud-management/server/domain | /cloud-management/service"),
        "<cloud-management><server><domain>a.example</domain></server><service><name>netconf</name></service></cloud-management>"
    );
    assert_eq!(
        found("/cloud-management/server | /cloud-management/server/domain"),
        "<cloud-management><server><domain>a.example</domain><port>443</port></server></cloud-management>"
    );
    assert_eq!(found("/cloud-management/server[port=1]"), "");
    assert!(found("//component[name='fan']").contains("<alias>"));
}

fn reader(rule: &str) -> Reader {
    let nacm = format!(
        r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>g</name><user-name>eve</user-name></group></groups>
        <rule-list><name>l</name><group>g</group><rule><name>r</name>{rule}<action>deny</action></rule></rule-list></nacm>"#
    );
    let tree = Tree::parse_config(schema(), &nacm).unwrap();
    Reader {
        nacm: Arc::new(Nacm::read(&tree)),
        author: Author {
            user: "eve".to_owned(),
            ..Author::agent("netconf", SystemTime::UNIX_EPOCH)
        },
    }
}

#[test]
fn no_expression_reveals_what_access_control_hides() {
    let rule = "<path xmlns:c=\"urn:tether:yang:cloud-management\">/c:cloud-management/c:server/c:domain</path>";
    let seen = |expression: &str| {
        let source = Source::new(running(), with_xpath(expression));
        let retrieval = Retrieval::new(vec![source], Options::default(), Some(reader(rule)));
        retrieval.begin().unwrap().into_xml().replace(CM, "")
    };
    assert_eq!(seen("/cloud-management/server/domain"), "");
    assert!(seen("/cloud-management/server").contains("port"));
    assert!(!seen("/cloud-management/server").contains("domain"));
    let port = "<cloud-management><server><port>443</port></server></cloud-management>";
    for hidden in [
        "domain",
        "domain='a.example'",
        "starts-with(domain,'a')",
        "count(../*/domain) > 0",
        "count(domain) = 1",
        "string-length(string(domain)) > 0",
        "../server/domain = 'a.example'",
        "//domain",
        "count(*) > 3",
        "*[4]",
        ".//text() = 'a.example'",
        "boolean(child::*[local-name()='domain'])",
        "re-match(domain, 'a.*')",
        "sum(//domain) > 0",
    ] {
        let expression = format!("/cloud-management/server[{hidden}]/port");
        assert_eq!(seen(&expression), "", "{hidden}");
        assert_eq!(
            seen(&format!("/cloud-management/server[not({hidden})]/port")),
            port,
            "{hidden}"
        );
    }
}

#[test]
fn a_long_reply_comes_in_pieces_and_is_the_same_in_them() {
    let entries: String = (0..5_000)
        .map(|n| format!("<service><name>service-{n:05}</name><enabled>false</enabled></service>"))
        .collect();
    let config = format!("<cloud-management{CM}>{entries}</cloud-management>");
    let tree = Snapshot::new(Tree::parse_config(schema(), &config).unwrap());
    for selection in [
        Selection::All,
        subtree("<cloud-management><service><enabled>false</enabled></service></cloud-management>"),
        with_xpath("//service"),
    ] {
        let source = Source::new(tree.clone(), selection);
        let mut pieces = Retrieval::new(vec![source], Options::default(), None)
            .begin()
            .unwrap();
        let mut all = Vec::new();
        while let Some(piece) = pieces.next_piece() {
            assert!(piece.len() < PIECE + 100, "{}", piece.len());
            all.push(piece);
        }
        assert!(all.len() > 5);
        assert_eq!(all.concat(), config);
    }
}

#[test]
fn looking_for_what_is_not_there_ends_a_piece_too() {
    let entries: String = (0..20_000)
        .map(|n| format!("<service><name>service-{n:05}</name></service>"))
        .collect();
    let config = format!("<cloud-management{CM}>{entries}</cloud-management>");
    let tree = Snapshot::new(Tree::parse_config(schema(), &config).unwrap());
    let nothing = "<cloud-management><service><enabled>true</enabled></service></cloud-management>";
    let source = Source::new(tree, subtree(nothing));
    let mut pieces = Retrieval::new(vec![source], Options::default(), None)
        .begin()
        .unwrap();
    let empty = std::iter::from_fn(|| pieces.next_piece()).inspect(|piece| assert_eq!(piece, ""));
    assert!(empty.count() > 3);
}

#[test]
fn a_carriage_return_survives_its_reader() {
    let config = format!(
        "<hardware{HW}><component><name>a&#13;b</name><class xmlns:ih=\"urn:ietf:params:xml:ns:yang:iana-hardware\">ih:fan</class></component></hardware>"
    );
    let tree = Snapshot::new(Tree::parse_config(schema(), &config).unwrap());
    let text = xml(
        vec![Source::new(tree.clone(), subtree("<hardware/>"))],
        Options::default(),
    );
    assert!(text.contains("<name>a&#13;b</name>"), "{text}");
}
