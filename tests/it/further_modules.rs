//! `--yang`: modules that the agent does not bring are held, validated and served like its own.

use tempfile::TempDir;
use tether::agent::options::Options;

use crate::support::{Plain, example, example_files, options, refused, start_agent};

const NETCONF: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0""#;
const YANG: &str = r#"xmlns:y="urn:ietf:params:xml:ns:yang:1" xmlns:e="urn:example:all""#;

/// Commits each step, and finds what it leaves of its root in running before and after a restart.
async fn check(steps: &[(&str, String, &str)]) {
    let mut device = Plain::start().await;
    for (root, content, expected) in steps {
        device.commit(&example(root, content)).await;
        assert_eq!(device.running(root).await, example(root, expected));
    }
    let mut before = Vec::new();
    for (root, ..) in steps {
        before.push(device.running(root).await);
    }
    let mut device = device.restart().await;
    for ((root, ..), before) in steps.iter().zip(before) {
        assert_eq!(device.running(root).await, before);
    }
    device.stop().await;
}

#[tokio::test]
async fn data_of_a_further_module_and_its_submodule_outlive_a_restart() {
    let mut device = Plain::start().await;
    let config = [
        example("all", "<entry><name>a</name><value>1</value></entry>"),
        example("sub", "<value>3</value>"),
        example("included", "<in-submodule>x</in-submodule>"),
        example("featured", "<value>on</value>"),
    ]
    .concat();
    device.commit(&config).await;
    let before = device.session.get_config("running", None).await.unwrap();
    let mut device = device.restart().await;
    let after = device.open().await.get_config("running", None).await;
    assert_eq!(before, after.unwrap());
    for root in ["all", "sub", "included", "featured"] {
        let shown = device.running(root).await;
        assert!(
            config.contains(&shown) && !shown.is_empty(),
            "{root}: {shown}"
        );
    }
    device.stop().await;
}

#[tokio::test]
async fn values_of_every_type_come_back_in_their_canonical_form() {
    let given = "<int8>-128</int8><int16>+7</int16><int32>1</int32><int64>-9223372036854775808</int64>\
        <uint8> 255 </uint8><uint16>30</uint16><uint64>18446744073709551615</uint64><decimal64>1.5</decimal64>\
        <string> a b </string><boolean>true</boolean><enumeration>red</enumeration><bits>write read</bits>\
        <binary>AQI=</binary><empty/><union>unlimited</union><loose-leafref>nobody</loose-leafref>";
    let stored = "<int8>-128</int8><int16>7</int16><int32>1</int32><int64>-9223372036854775808</int64>\
        <uint8>255</uint8><uint16>30</uint16><uint64>18446744073709551615</uint64><decimal64>1.5</decimal64>\
        <string> a b </string><boolean>true</boolean><enumeration>red</enumeration><bits>read write</bits>\
        <binary>AQI=</binary><empty/><loose-leafref>nobody</loose-leafref><union>unlimited</union>";
    check(&[("types", given.into(), stored)]).await;
}

#[tokio::test]
async fn references_to_identities_and_instances_are_read_with_the_prefixes_of_the_request() {
    let mut device = Plain::start().await;
    let entry = example("all", "<entry><name>a</name></entry>");
    let types = example(
        "types",
        "<identityref xmlns:q='urn:example:all'>q:poodle</identityref>\
        <existing-instance xmlns:q='urn:example:all'>/q:all/q:entry[q:name='a']</existing-instance><leafref>a</leafref>",
    );
    device.commit(&[entry, types].concat()).await;
    let mut device = device.restart().await;
    let shown = device.running("types").await;
    for part in [
        ">poodle</identityref>",
        ":name='a']</existing-instance>",
        "<leafref>a</leafref>",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // What is referred to cannot go alone.
    let gone = example(
        "all",
        &format!("<entry {NETCONF} nc:operation='delete'><name>a</name></entry>"),
    );
    device
        .session
        .edit_config("candidate", &gone)
        .await
        .unwrap();
    let tags = refused(device.session.commit().await);
    let tags: Vec<_> = tags.iter().map(|error| error.app_tag.as_deref()).collect();
    assert_eq!(tags, [Some("instance-required"); 2]);
    device.stop().await;
}

#[tokio::test]
async fn entries_that_the_user_orders_stay_where_they_are_put() {
    let entry = |attributes: &str, name: &str| {
        format!("<ordered {YANG} {attributes}><name>{name}</name></ordered>")
    };
    let listed = |names: &str| -> String {
        names
            .chars()
            .map(|name| format!("<ordered><name>{name}</name></ordered>"))
            .collect()
    };
    let (ba, cba, cbda, dcba) = (listed("ba"), listed("cba"), listed("cbda"), listed("dcba"));
    check(&[
        (
            "lists",
            [entry("", "a"), entry("y:insert='first'", "b")].concat(),
            &ba,
        ),
        (
            "lists",
            entry("y:insert='before' y:key=\"[e:name='b']\"", "c"),
            &cba,
        ),
        (
            "lists",
            entry("y:insert='after' y:key=\"[e:name='b']\"", "d"),
            &cbda,
        ),
        ("lists", entry("y:insert='first'", "d"), &dcba),
        ("lists", entry("y:insert='last'", "d"), &listed("cbad")),
        ("lists", entry("", "a"), &listed("cbad")),
    ])
    .await;
}

#[tokio::test]
async fn entries_with_two_keys_and_leaf_lists_are_put_in_order_too() {
    let pair = |first: &str, second: &str| {
        format!("<ordered-pair><first>{first}</first><second>{second}</second></ordered-pair>")
    };
    let put = format!(
        "<ordered-pair {YANG} y:insert='before' y:key=\"[e:first='1'][e:second='2']\"><first>3</first><second>4</second></ordered-pair>"
    );
    let steps = "<steps>a</steps><steps>b</steps>";
    let step = format!("<steps {YANG} y:insert='after' y:value='a'>c</steps>");
    let pairs = [pair("3", "4"), pair("1", "2")].concat();
    let pet = |name: &str| format!("<pets xmlns=\"urn:example:all\">{name}</pets>");
    let pets = [pet("dog"), pet("poodle")].concat();
    let first = format!("<pets {YANG} y:insert='before' y:value='e:dog'>e:poodle</pets>");
    let ordered = format!("{pairs}<steps>a</steps><steps>c</steps><steps>b</steps>");
    let with_pets = format!("{ordered}{pets}");
    let swapped = [ordered.clone(), pet("poodle"), pet("dog")].concat();
    check(&[
        ("lists", pair("1", "2"), &pair("1", "2")),
        ("lists", put, &pairs),
        ("lists", steps.into(), &format!("{pairs}{steps}")),
        ("lists", step, &ordered),
        ("lists", pets, &with_pets),
        ("lists", first, &swapped),
    ])
    .await;
}

#[tokio::test]
async fn a_case_takes_the_place_of_the_other_ones() {
    check(&[
        (
            "choices",
            "<tcp-port>1</tcp-port><tcp-window>2</tcp-window>".into(),
            "<tcp-port>1</tcp-port><tcp-window>2</tcp-window>",
        ),
        (
            "choices",
            "<udp-port>3</udp-port>".into(),
            "<udp-port>3</udp-port>",
        ),
        ("choices", "<serial>s</serial>".into(), "<serial>s</serial>"),
        (
            "choices",
            "<pipe><name>p</name></pipe>".into(),
            "<pipe><name>p</name></pipe>",
        ),
        (
            "choices",
            "<tcp-port>1</tcp-port>".into(),
            "<tcp-port>1</tcp-port>",
        ),
    ])
    .await;
}

/// RFC 7950, section 8.2: what a `when` no longer allows goes with the change that disallows it.
#[tokio::test]
async fn a_node_goes_with_its_condition() {
    check(&[
        (
            "constraints",
            "<kind>special</kind><detail>d</detail>".into(),
            "<kind>special</kind><detail>d</detail>",
        ),
        (
            "constraints",
            "<kind>plain</kind>".into(),
            "<kind>plain</kind>",
        ),
    ])
    .await;
}

#[tokio::test]
async fn data_that_no_module_describes_are_held() {
    check(&[(
        "any",
        "<data><a xmlns='urn:a'><b>1</b></a></data><xml><p xmlns='urn:p'>text</p></xml>".into(),
        "<data xmlns=\"urn:example:all\"><a xmlns=\"urn:a\"><b>1</b></a></data>\
         <xml xmlns=\"urn:example:all\"><p xmlns=\"urn:p\">text</p></xml>",
    )])
    .await;
}

#[tokio::test]
async fn a_presence_container_and_nested_entries_are_held() {
    let pair =
        "<pair><first>a</first><second>1</second><inner><id>1</id><value>v</value></inner></pair>";
    check(&[
        ("flag", "<level>1</level>".into(), "<level>1</level>"),
        ("lists", pair.into(), pair),
    ])
    .await;
}

#[tokio::test]
async fn an_rpc_or_action_that_nothing_does_is_not_supported() {
    let mut device = Plain::start().await;
    device.commit(&example("machine", "<name>m</name>")).await;
    let action = |content: &str| {
        let machine = example("machine", content);
        format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{machine}</action>"#)
    };
    for call in [
        example("compute", "<left>1</left>"),
        example("sub-rpc", ""),
        action("<reset><after>1</after></reset>"),
    ] {
        let errors = refused(device.session.rpc(&call).await);
        assert_eq!(
            errors[0].tag, "operation-not-supported",
            "{call}: {errors:?}"
        );
    }
    // Its input is checked all the same.
    for (call, tag) in [
        (example("compute", "<left>x</left>"), "invalid-value"),
        (example("compute", ""), "missing-element"),
        (action("<reset><after>61</after></reset>"), "invalid-value"),
    ] {
        assert_eq!(
            refused(device.session.rpc(&call).await)[0].tag,
            tag,
            "{call}"
        );
    }
    device.stop().await;
}

async fn refusal(options: Options) -> String {
    let error = start_agent(options).await.err().expect("it starts");
    let error = error.to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[tokio::test]
async fn a_start_without_the_module_of_stored_data_is_refused() {
    let mut device = Plain::start().await;
    device.commit(&example("flag", "")).await;
    let directory = device.stop().await;
    let error = refusal(options(directory.path())).await;
    assert_eq!(
        error,
        "the stored configuration is refused: there are data of the namespace urn:example:all, and no module for them: \
         start with the --yang FILE that was there when they were stored"
    );
    // Nothing was lost by it.
    let again = Options {
        yang: example_files(),
        ..options(directory.path())
    };
    let mut device = Plain::start_in(directory, again).await.unwrap();
    assert_eq!(
        device.running("flag").await,
        "<flag xmlns=\"urn:example:all\"/>"
    );
    device.stop().await;
}

#[tokio::test]
async fn a_module_that_cannot_be_used_is_told_in_one_line() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("toaster.yang");
    std::fs::write(
        &file,
        "module toaster { namespace 'urn:t'; prefix t; import bread { prefix b; } }",
    )
    .unwrap();
    let with = |yang| Options {
        yang,
        ..options(directory.path())
    };
    let error = refusal(with(vec![file.clone()])).await;
    let expected = format!(
        "the YANG module toaster ({}) is refused: it imports bread, or a revision of it, that is not there: give its file, too",
        file.display()
    );
    assert_eq!(error, expected);
    let [all, sub] = [0, 1].map(|index| example_files()[index].clone());
    let error = refusal(with(vec![all.clone(), sub, all])).await;
    assert!(
        error.contains("example-all.yang) is given twice"),
        "{error}"
    );
}

#[tokio::test]
async fn a_module_that_asks_for_what_the_configuration_lacks_keeps_the_agent_from_starting() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("toaster.yang");
    for (node, expected) in [
        (
            "leaf slots { type uint8; mandatory true; }",
            "data-missing: slots is mandatory and is missing (at /toaster:slots);",
        ),
        (
            "leaf-list slots { type uint8; min-elements 2; }",
            "operation-failed: there are too few entries of slots (at /toaster:slots);",
        ),
    ] {
        let text = format!("module toaster {{ namespace 'urn:t'; prefix t; {node} }}");
        std::fs::write(&file, text).unwrap();
        let options = Options {
            yang: vec![file.clone()],
            ..options(directory.path())
        };
        let error = refusal(options).await;
        let expected = format!("the configuration to start with is refused: {expected}");
        assert!(error.starts_with(&expected), "{error}");
    }
}
