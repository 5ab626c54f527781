//! "Errors: the tag, type, severity, error-path with prefixes declared, app-tag, message and info of RFC 6241 appendix
//! A and RFC 7950 sections 8.3 and 15; several errors of one validation all reported": each constraint once.

use tether::protocol::client::ReportedError;

use crate::support::{Plain, example, refused};

const NETCONF: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0""#;
const YANG: &str = r#"xmlns:y="urn:ietf:params:xml:ns:yang:1" xmlns:e="urn:example:all""#;

/// `tag [app-tag] path |message| name=info`, without the prefix of the module for tests.
fn line(error: &ReportedError) -> String {
    assert_eq!(
        (error.error_type.as_str(), error.severity.as_str()),
        ("application", "error")
    );
    let app_tag = error.app_tag.as_ref().map(|tag| format!(" [{tag}]"));
    let info = error.info.iter();
    let info: String = info
        .map(|(name, value)| format!(" {name}={value}"))
        .collect();
    let path = error.path.as_deref().unwrap_or_default();
    let message = error.message.as_deref().unwrap_or_default();
    let tag = &error.tag;
    let line = format!(
        "{tag}{} {path} |{message}|{info}",
        app_tag.unwrap_or_default()
    );
    line.replace("example-all:", "")
}

/// What an edit of the candidate and its commit are refused with.
async fn refusals(device: &mut Plain, config: &str) -> Vec<String> {
    let answer = match device.session.edit_config("candidate", config).await {
        Ok(()) => device.session.commit().await,
        refused => refused,
    };
    device.session.discard_changes().await.unwrap();
    refused(answer).iter().map(line).collect()
}

/// Each edit with the one error it has; nothing of any of them is left.
async fn check(cases: &[(&str, String, &str)]) {
    let mut device = Plain::start().await;
    let before = device.session.get_config("running", None).await.unwrap();
    for (root, content, expected) in cases {
        let refusals = refusals(&mut device, &example(root, content)).await;
        assert_eq!(refusals, [*expected], "{root}: {content}");
    }
    let after = device.session.get_config("running", None).await.unwrap();
    assert_eq!(before, after);
    device.stop().await;
}

/// A leaf of `types` with a value it does not take.
fn value(leaf: &str, value: &str) -> (&'static str, String, String) {
    (
        "types",
        format!("<{leaf}>{value}</{leaf}>"),
        leaf.to_owned(),
    )
}

async fn check_values(cases: &[(&str, &str, &str)]) {
    let cases: Vec<_> = cases
        .iter()
        .map(|(leaf, given, expected)| {
            let (root, content, leaf) = value(leaf, given);
            let (app_tag, words) = expected.split_once("] ").unwrap_or(("", expected));
            let app_tag = match app_tag {
                "" => String::new(),
                tag => format!(" {tag}]"),
            };
            (
                root,
                content,
                format!("invalid-value{app_tag} /types/{leaf} |{words}|"),
            )
        })
        .collect();
    let cases: Vec<_> = cases
        .iter()
        .map(|(root, content, expected)| (*root, content.clone(), expected.as_str()))
        .collect();
    check(&cases).await;
}

#[tokio::test]
async fn a_value_outside_its_type_is_told_what_the_type_takes() {
    check_values(&[
        ("int8", "128", "int8 takes a whole number in -128..127; \"128\" was given"),
        ("int8", "x", "int8 takes a whole number in -128..127; \"x\" was given"),
        ("int8", "", "int8 takes a whole number in -128..127; nothing was given"),
        ("uint16", "21", "uint16 takes a whole number in 10..20 | 30; \"21\" was given"),
        ("uint64", "-1", "uint64 takes a whole number in 0..18446744073709551615; \"-1\" was given"),
        (
            "decimal64",
            "1.001",
            "decimal64 takes a number with at most 2 digits after the point in -10.00..10.00; \"1.001\" was given",
        ),
        ("length", "123456789", "length takes a text of 1..8 characters; \"123456789\" was given"),
        ("digits", "x", "digits takes a text that matches [0-9]+; \"x\" was given"),
        ("not-xml", "xmlish", "not-xml takes a text that does not match [xX][mM][lL].*; \"xmlish\" was given"),
        ("boolean", "yes", "boolean takes true or false; \"yes\" was given"),
        ("enumeration", "blue", "enumeration takes one of red, green; \"blue\" was given"),
        ("bits", "read fly", "bits takes each at most once of read, write; \"read fly\" was given"),
        ("binary", "*", "binary takes Base64 of 1..16 octets; \"*\" was given"),
        ("empty", "x", "empty takes no value; \"x\" was given"),
        (
            "identityref",
            "stone",
            "identityref takes an identity derived from animal; \"stone\" was given",
        ),
        (
            "instance-identifier",
            "/x",
            "instance-identifier takes an instance-identifier; \"/x\" was given",
        ),
        ("union", "256", "union takes a whole number in 0..255, or one of unlimited; \"256\" was given"),
    ])
    .await;
}

#[tokio::test]
async fn a_restriction_with_words_of_its_own_says_them() {
    check_values(&[
        (
            "percent",
            "101",
            "[not-a-percentage] a percentage is between 0 and 100",
        ),
        // Outside the range, and outside the bits of its type as well.
        (
            "percent",
            "256",
            "[not-a-percentage] a percentage is between 0 and 100",
        ),
        (
            "short",
            "a",
            "[wrong-length] two to four characters, please",
        ),
        ("word", "ABC", "[not-a-word] a word has small letters only"),
    ])
    .await;
}

#[tokio::test]
async fn unknown_and_repeated_elements_are_named() {
    check(&[
        (
            "types",
            "<bogus/>".into(),
            "unknown-element /types |types has no configuration named bogus| bad-element=bogus",
        ),
        (
            "bogus",
            String::new(),
            "unknown-element / |module example-all has no configuration named bogus| bad-element=bogus",
        ),
        (
            "types",
            "<int8 xmlns='urn:none'>1</int8>".into(),
            "unknown-namespace /types |no module here has the namespace urn:none| bad-element=int8 bad-namespace=urn:none",
        ),
        (
            "types",
            "<int8>1<x/></int8>".into(),
            "unknown-element /types/int8 |int8 is a value and holds no element x| bad-element=x",
        ),
        (
            "types",
            "<int8>1</int8><int8>2</int8>".into(),
            "bad-element /types/int8 |int8 is given twice| bad-element=int8",
        ),
        (
            "lists",
            "text".into(),
            "bad-element /lists |lists holds elements, not text| bad-element=lists",
        ),
        (
            "any",
            "<data>text</data>".into(),
            "bad-element /any/data |data holds elements, not text| bad-element=data",
        ),
        (
            "machine",
            "<state><temperature>1</temperature></state>".into(),
            "unknown-element /machine |state is state data and cannot be edited| bad-element=state",
        ),
        (
            "machine",
            "<reset/>".into(),
            "unknown-element /machine |machine has no configuration named reset| bad-element=reset",
        ),
    ])
    .await;
}

#[tokio::test]
async fn attributes_that_have_no_place_are_named() {
    check(&[
        (
            "types",
            "<int8 x='1'>1</int8>".into(),
            "unknown-attribute /types/int8 |the attribute x is not known here| bad-attribute=x bad-element=int8",
        ),
        (
            "types",
            format!("<int8 {NETCONF} nc:operation='destroy'/>"),
            "bad-attribute /types/int8 |\"destroy\" is no operation of edit-config| bad-attribute=operation bad-element=int8",
        ),
        (
            "lists",
            format!("<words {YANG} y:insert='first'>n</words>"),
            "unknown-attribute /lists/words |words: its entries are not ordered by the user| bad-attribute=insert bad-element=words",
        ),
    ])
    .await;
}

#[tokio::test]
async fn keys_identify_an_entry() {
    check(&[
        (
            "all",
            "<entry><value>1</value></entry>".into(),
            "missing-element /all/entry |the key name of entry is missing| bad-element=name",
        ),
        (
            "lists",
            "<pair><first>a</first></pair>".into(),
            "missing-element /lists/pair |the key second of pair is missing| bad-element=second",
        ),
        (
            "all",
            "<entry><name>a</name><name>b</name></entry>".into(),
            "bad-element /all/entry[name='a']/name |name is given twice| bad-element=name",
        ),
        (
            "lists",
            "<pair><first>a</first><second>x</second></pair>".into(),
            "invalid-value /lists/pair[first='a'][second='x']/second |second takes a whole number in 0..65535; \"x\" was given|",
        ),
        (
            "all",
            format!("<entry><name>a</name></entry><entry {NETCONF} nc:operation='create'><name>a</name></entry>"),
            "data-exists /all/entry[name='a'] |entry: it exists already|",
        ),
        (
            "all",
            format!("<entry {NETCONF} nc:operation='delete'><name>a</name></entry>"),
            "data-missing /all/entry[name='a'] |entry: there is nothing to delete|",
        ),
    ])
    .await;
}

/// RFC 7950, sections 7.7.9, 7.8.6 and 15.7.
#[tokio::test]
async fn an_entry_is_put_beside_one_that_exists() {
    let ordered =
        |attributes: &str| format!("<ordered {YANG} {attributes}><name>n</name></ordered>");
    check(&[
        (
            "lists",
            ordered("y:insert='before' y:key=\"[e:name='q']\""),
            "bad-attribute [missing-instance] /lists/ordered[name='n'] |ordered: the entry it is to stand beside does not exist| bad-attribute=key bad-element=ordered",
        ),
        (
            "lists",
            format!("<steps {YANG} y:insert='after' y:value='q'>n</steps>"),
            "bad-attribute [missing-instance] /lists/steps[.='n'] |steps: the entry it is to stand beside does not exist| bad-attribute=value bad-element=steps",
        ),
        (
            "lists",
            ordered("y:insert='before'"),
            "missing-attribute /lists/ordered |ordered: the other entry is not named| bad-attribute=key bad-element=ordered",
        ),
        (
            "lists",
            ordered("y:insert='before' y:key='garbage'"),
            "bad-attribute /lists/ordered |ordered: it names no entry of the list| bad-attribute=key bad-element=ordered",
        ),
        (
            "lists",
            format!("<numbers {YANG} y:insert='after' y:value='many'>1</numbers>"),
            "bad-attribute /lists/numbers[.='1'] |numbers takes a whole number in 0..255; \"many\" was given| bad-attribute=value bad-element=numbers",
        ),
        (
            "lists",
            ordered("y:insert='middle'"),
            "bad-attribute /lists/ordered |ordered: it is first, last, before or after| bad-attribute=insert bad-element=ordered",
        ),
    ])
    .await;
}

/// RFC 7950, sections 8.3.1 and 15.6.
#[tokio::test]
async fn a_choice_has_one_case_and_a_mandatory_one_has_one() {
    check(&[
        (
            "choices",
            "<tcp-port>1</tcp-port><udp-port>2</udp-port>".into(),
            "bad-element /choices/udp-port |udp-port is of another case of the choice transport than what is given before it| bad-element=udp-port",
        ),
        (
            "choices",
            "<serial>a</serial><pipe/>".into(),
            "bad-element /choices/pipe |pipe is of another case of the choice kind than what is given before it| bad-element=pipe",
        ),
        (
            "strict",
            "<required>r</required><few><name>a</name></few><many>1</many><many>2</many>".into(),
            "data-missing [missing-choice] /strict |one of the cases of selection has to be given| missing-choice=selection",
        ),
    ])
    .await;
}

/// RFC 7950, sections 7.21.5, 15.4 and 15.5.
#[tokio::test]
async fn what_depends_on_other_nodes_is_refused_with_what_it_needs() {
    check(&[
        (
            "types",
            "<leafref>x</leafref>".into(),
            "data-missing [instance-required] /types/leafref |nothing at /ex:all/ex:entry/ex:name has the value \"x\", to which this refers|",
        ),
        (
            "types",
            "<existing-instance xmlns:e='urn:example:all'>/e:all/e:entry[e:name='q']</existing-instance>".into(),
            "data-missing [instance-required] /types/existing-instance |there is no /all/entry[name='q'], to which this refers|",
        ),
        (
            "constraints",
            "<kind>plain</kind><detail>d</detail>".into(),
            "unknown-element /constraints/detail |it can be there only if ../kind = 'special'| bad-element=detail",
        ),
        (
            "constraints",
            "<minimum>5</minimum><maximum>4</maximum>".into(),
            "operation-failed [maximum-below-minimum] /constraints/maximum |the maximum is below the minimum|",
        ),
        (
            "constraints",
            "<even>3</even>".into(),
            "operation-failed [must-violation] /constraints/even |the condition . mod 2 = 0 does not hold|",
        ),
    ])
    .await;
}

/// RFC 7950, section 15.1: one `non-unique` for each leaf.
#[tokio::test]
async fn entries_that_must_differ_are_pointed_to_leaf_by_leaf() {
    let mut device = Plain::start().await;
    let entry = |name: &str| {
        format!("<unique><name>{name}</name><address>x</address><port>1</port></unique>")
    };
    let config = example("constraints", &[entry("a"), entry("b")].concat());
    let expected = "operation-failed [data-not-unique] /constraints/unique |two entries hold the same address and port|\
        \u{20}non-unique=/constraints/unique[name='a']/address non-unique=/constraints/unique[name='a']/port\
        \u{20}non-unique=/constraints/unique[name='b']/address non-unique=/constraints/unique[name='b']/port";
    assert_eq!(refusals(&mut device, &config).await, [expected]);
    device.stop().await;
}

/// RFC 7950, sections 15.2 and 15.3: the path is that of the list.
#[tokio::test]
async fn all_errors_of_one_validation_are_reported() {
    let mut device = Plain::start().await;
    let missing = refusals(&mut device, &example("strict", "")).await;
    assert_eq!(
        missing,
        [
            "data-missing [missing-choice] /strict |one of the cases of selection has to be given| missing-choice=selection",
            "data-missing /strict/required |required is mandatory and is missing|",
            "operation-failed [too-few-elements] /strict/few |there are too few entries of few|",
            "operation-failed [too-few-elements] /strict/many |there are too few entries of many|",
        ]
    );
    let few: String = (1..=5)
        .map(|n| format!("<few><name>{n}</name></few>"))
        .collect();
    let many: String = (1..=6).map(|n| format!("<many>{n}</many>")).collect();
    let config = format!("<required>r</required><one>1</one>{few}{many}");
    let too_many = refusals(&mut device, &example("strict", &config)).await;
    assert_eq!(
        too_many,
        [
            "operation-failed [too-many-elements] /strict/few |there are too many entries of few|",
            "operation-failed [too-many-elements] /strict/many |there are too many entries of many|",
        ]
    );
    device.stop().await;
}

#[tokio::test]
async fn every_error_of_an_edit_is_reported_if_it_goes_on() {
    let mut device = Plain::start().await;
    let config = example(
        "types",
        "<int8>x</int8><bogus/><empty/><boolean>1</boolean>",
    );
    let edit = format!(
        "<edit-config><target><candidate/></target><error-option>continue-on-error</error-option><config>{config}</config></edit-config>"
    );
    let tags: Vec<_> = refused(device.session.rpc(&edit).await)
        .iter()
        .map(|error| (error.tag.clone(), error.path.clone().unwrap_or_default()))
        .collect();
    let at = |tag: &str, path: &str| (tag.to_owned(), path.to_owned());
    assert_eq!(
        tags,
        [
            at("invalid-value", "/example-all:types/example-all:int8"),
            at("unknown-element", "/example-all:types"),
            at("invalid-value", "/example-all:types/example-all:boolean"),
        ]
    );
    device.stop().await;
}
