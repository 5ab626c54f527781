//! On change, on running.

use super::*;

fn running(more: &str) -> String {
    datastore("running") + &system_filter() + &on_change(more)
}

fn dampened(seconds: u32) -> String {
    running(&format!("<dampening-period>{seconds}00</dampening-period>"))
}

fn location(value: &str) -> String {
    system(&format!("<location>{value}</location>"))
}

/// A leaf of ietf-system with an operation.
fn operate(operation: &str, leaf: &str) -> String {
    system(&format!(
        r#"<{leaf} xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="{operation}"/>"#
    ))
}

const LOCATION: &str = "/ietf-system:system/location";
const CONTACT: &str = "/ietf-system:system/contact";

#[tokio::test(start_paused = true)]
async fn all_there_is_comes_first_and_then_what_changes() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    change(&mut manager, &location("attic")).await;
    let mut listener = device.login("admin").await;
    let id = establish(&mut listener, &running("")).await;
    let first = told(&mut listener).await;
    assert!(first.contains("<location>attic</location>"), "{first}");
    assert!(first.contains(&format!("<id>{id}</id>")), "{first}");
    change(
        &mut manager,
        &system("<location>cellar</location><contact>me</contact>"),
    )
    .await;
    let second = told(&mut listener).await;
    let edits = edits(&second);
    assert!(second.contains("<patch-id>0</patch-id>"), "{second}");
    assert_eq!(edits.len(), 2, "{second}");
    let replaced = edits
        .iter()
        .find(|edit| edit.operation == "replace")
        .unwrap();
    assert_eq!(replaced.target, LOCATION);
    let value = r#"<location xmlns="urn:ietf:params:xml:ns:yang:ietf-system">cellar</location>"#;
    assert_eq!(replaced.value.as_deref(), Some(value));
    let created = edits
        .iter()
        .find(|edit| edit.operation == "create")
        .unwrap();
    assert_eq!(created.target, CONTACT);
    change(&mut manager, &operate("delete", "location")).await;
    let third = told(&mut listener).await;
    assert!(third.contains("<patch-id>1</patch-id>"), "{third}");
    assert!(third.contains("<operation>delete</operation>"), "{third}");
    assert!(!third.contains("<value>"), "{third}");
}

#[tokio::test(start_paused = true)]
async fn changes_beside_the_selection_are_not_told() {
    let (_device, mut listener, mut manager) = both_of(&running("")).await;
    update(&mut listener).await;
    edit(&mut manager, 60).await;
    change(&mut manager, &location("attic")).await;
    assert_eq!(changes(&mut listener).await, pairs(&[("create", LOCATION)]));
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_a_list_comes_as_a_whole_and_its_keys_are_encoded_in_targets() {
    let (_device, mut listener, mut manager) = both_of(&running("")).await;
    update(&mut listener).await;
    let user = |inside: &str| {
        let user = format!("<user><name>a b/c</name>{inside}</user>");
        system(&format!("<authentication>{user}</authentication>"))
    };
    let key = "<authorized-key><name>k</name><algorithm>ssh-ed25519</algorithm><key-data>AAAA</key-data></authorized-key>";
    change(&mut manager, &user(key)).await;
    let first = told(&mut listener).await;
    let edits = edits(&first);
    assert_eq!(edits.len(), 1, "{first}");
    assert_eq!(edits[0].operation, "create");
    let target = "/ietf-system:system/authentication/user=a%20b%2Fc";
    assert_eq!(edits[0].target, target);
    let value = format!(
        r#"<user xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><name>a b/c</name>{key}</user>"#
    );
    assert_eq!(edits[0].value, Some(value));
    let other = key.replace("AAAA", "AAAB");
    change(&mut manager, &user(&other)).await;
    let expected = format!("{target}/authorized-key=k/key-data");
    assert_eq!(
        changes(&mut listener).await,
        pairs(&[("replace", &expected)])
    );
}

#[tokio::test(start_paused = true)]
async fn without_sync_on_start_there_are_changes_and_nothing_else() {
    let parameters = running("<sync-on-start>false</sync-on-start>");
    let (_device, mut listener, mut manager) = both_of(&parameters).await;
    change(&mut manager, &location("attic")).await;
    assert_eq!(changes(&mut listener).await, pairs(&[("create", LOCATION)]));
}

#[tokio::test(start_paused = true)]
async fn excluded_types_of_change_are_left_out() {
    let excluded =
        "<excluded-change>create</excluded-change><excluded-change>delete</excluded-change>";
    let (_device, mut listener, mut manager) = both_of(&running(excluded)).await;
    update(&mut listener).await;
    change(&mut manager, &location("attic")).await;
    change(&mut manager, &location("cellar")).await;
    change(&mut manager, &operate("delete", "location")).await;
    change(&mut manager, &location("hall")).await;
    change(&mut manager, &location("yard")).await;
    for _ in 0..2 {
        assert_eq!(
            changes(&mut listener).await,
            pairs(&[("replace", LOCATION)])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_within_a_dampening_period_comes_at_its_end() {
    let (_device, mut listener, mut manager) = both_of(&dampened(10)).await;
    update(&mut listener).await;
    let begin = tokio::time::Instant::now();
    change(&mut manager, &location("attic")).await;
    change(&mut manager, &location("cellar")).await;
    change(&mut manager, &system("<contact>me</contact>")).await;
    let told = told(&mut listener).await;
    assert!(begin.elapsed().as_secs() >= 9, "{:?}", begin.elapsed());
    let edits = edits(&told);
    assert_eq!(edits.len(), 2, "one change a node: {told}");
    assert_eq!(
        (edits[0].operation.as_str(), edits[0].target.as_str()),
        ("create", LOCATION)
    );
    assert!(
        edits[0].value.as_ref().unwrap().contains("cellar"),
        "{told}"
    );
    // The period is over for long: the next change comes at once.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let begin = tokio::time::Instant::now();
    change(&mut manager, &location("hall")).await;
    assert_eq!(
        changes(&mut listener).await,
        pairs(&[("replace", LOCATION)])
    );
    assert!(begin.elapsed().as_secs() < 2);
}

#[tokio::test(start_paused = true)]
async fn what_cancels_out_within_a_dampening_period_is_told_all_the_same() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let both = system("<location>attic</location><hostname>h</hostname>");
    change(&mut manager, &both).await;
    let mut listener = device.login("admin").await;
    establish(&mut listener, &dampened(10)).await;
    update(&mut listener).await;
    // Away and back; gone and there again; there and gone again.
    change(&mut manager, &location("cellar")).await;
    change(&mut manager, &location("attic")).await;
    change(&mut manager, &operate("delete", "hostname")).await;
    change(&mut manager, &system("<hostname>h</hostname>")).await;
    change(&mut manager, &system("<contact>me</contact>")).await;
    change(&mut manager, &operate("delete", "contact")).await;
    let expected = pairs(&[
        ("replace", LOCATION),
        ("replace", "/ietf-system:system/hostname"),
        ("delete", CONTACT),
    ]);
    assert_eq!(changes(&mut listener).await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_selected_does_not_begin_a_dampening_period() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let mut listener = device.login("admin").await;
    let parameters = dampened(1000).replace(
        "</on-change>",
        "<sync-on-start>false</sync-on-start></on-change>",
    );
    establish(&mut listener, &parameters).await;
    edit(&mut manager, 60).await;
    let begin = tokio::time::Instant::now();
    change(&mut manager, &location("attic")).await;
    assert_eq!(changes(&mut listener).await, pairs(&[("create", LOCATION)]));
    assert!(begin.elapsed().as_secs() < 2);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_the_user_moves_is_told_with_where_it_stands() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let search = |inside: &str| system(&format!("<dns-resolver>{inside}</dns-resolver>"));
    let three = "<search>a.example</search><search>b.example</search><search>c.example</search>";
    change(&mut manager, &search(three)).await;
    let mut listener = device.login("admin").await;
    establish(&mut listener, &running("")).await;
    update(&mut listener).await;
    let insert = |at: &str, value: &str| {
        search(&format!(
            r#"<search xmlns:y="urn:ietf:params:xml:ns:yang:1" y:insert="{at}">{value}</search>"#
        ))
    };
    let target = |name: &str| format!("/ietf-system:system/dns-resolver/search={name}.example");
    change(&mut manager, &insert("first", "c.example")).await;
    let moved = edits(&told(&mut listener).await);
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!(
        (moved[0].operation.as_str(), &moved[0].target),
        ("move", &target("c"))
    );
    assert_eq!(moved[0].place.as_deref(), Some("first"));
    let after = r#"after" y:value="c.example"#;
    change(&mut manager, &insert(after, "d.example")).await;
    let inserted = edits(&told(&mut listener).await);
    assert_eq!(
        (inserted[0].operation.as_str(), &inserted[0].target),
        ("insert", &target("d"))
    );
    let place = format!("after {}", target("c"));
    assert_eq!(inserted[0].place.as_deref(), Some(place.as_str()));
    assert!(inserted[0].value.as_ref().unwrap().contains("d.example"));
}

#[tokio::test]
async fn a_selection_by_values_is_told_of_what_comes_into_it_and_goes() {
    let selected = "/sys:system/sys:dns-resolver/sys:server[sys:udp-and-tcp/sys:port='53']";
    let parameters = datastore("running") + &xpath(selected) + &on_change("");
    let (_device, mut listener, mut manager) = both_of(&parameters).await;
    assert_eq!(update(&mut listener).await, "");
    let server = |port: u16| {
        system(&format!(
            "<dns-resolver><server><name>a</name><udp-and-tcp><address>192.0.2.1</address><port>{port}</port></udp-and-tcp></server></dns-resolver>"
        ))
    };
    let target = "/ietf-system:system/dns-resolver/server=a";
    change(&mut manager, &server(5353)).await;
    change(&mut manager, &server(53)).await;
    assert_eq!(changes(&mut listener).await, pairs(&[("insert", target)]));
    change(&mut manager, &server(5353)).await;
    assert_eq!(changes(&mut listener).await, pairs(&[("delete", target)]));
}

#[tokio::test(start_paused = true)]
async fn a_resynchronization_sends_all_there_is_and_counts_from_zero_again() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let id = establish(&mut listener, &running("")).await;
    update(&mut listener).await;
    let mut manager = device.login("admin").await;
    change(&mut manager, &location("attic")).await;
    changes(&mut listener).await;
    let resync = push("resync-subscription", &format!("<id>{id}</id>"));
    listener.rpc(&resync).await.unwrap();
    assert!(
        update(&mut listener)
            .await
            .contains("<location>attic</location>")
    );
    change(&mut manager, &location("cellar")).await;
    let told = told(&mut listener).await;
    assert!(told.contains("<patch-id>0</patch-id>"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_modified_subscription_goes_on_by_its_new_terms_and_says_them() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let id = establish(&mut listener, &running("")).await;
    update(&mut listener).await;
    let hostname = subtree(&system("<hostname/>"));
    let modify = format!("<id>{id}</id>{}{hostname}", datastore("running"));
    listener
        .rpc(&operation("modify-subscription", &modify))
        .await
        .unwrap();
    let modified = told(&mut listener).await;
    for part in [
        "<subscription-modified ",
        "<system ",
        "<hostname",
        "<dampening-period>0<",
        ">ds:running<",
    ] {
        assert!(modified.contains(part), "{part}: {modified}");
    }
    update(&mut listener).await;
    let mut manager = device.login("admin").await;
    change(&mut manager, &location("attic")).await;
    change(&mut manager, &system("<hostname>h</hostname>")).await;
    let expected = pairs(&[("create", "/ietf-system:system/hostname")]);
    assert_eq!(changes(&mut listener).await, expected);
    let dampening = push("on-change", "<dampening-period>1000</dampening-period>");
    let modify = format!("<id>{id}</id>{}{dampening}", datastore("running"));
    listener
        .rpc(&operation("modify-subscription", &modify))
        .await
        .unwrap();
    let modified = told(&mut listener).await;
    for part in [
        "<hostname",
        "<dampening-period>1000<",
        "<sync-on-start>true<",
    ] {
        assert!(
            modified.contains(part),
            "what is not given stays: {part}: {modified}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_slowly_gets_all_there_is_and_nobody_else_notices() {
    let device = Served::start();
    let mut slow = device.login("admin").await;
    let id = establish(&mut slow, &running("")).await;
    let mut manager = device.login("admin").await;
    // More than the log of changes and the stream to him hold.
    for number in 0..2000 {
        let long = format!("{number}-{}", "x".repeat(100));
        change(&mut manager, &location(&long)).await;
    }
    let mut last = String::new();
    let mut updates = 0;
    while !last.contains("1999-") {
        last = told(&mut slow).await;
        updates += usize::from(last.contains("<push-update "));
    }
    assert!(updates >= 2, "{updates}");
    let filter = format!(r#"<subscriptions xmlns="{SUBSCRIBED}"/>"#);
    let state = manager.get(Some(&filter)).await.unwrap();
    let lost: u64 = inside(&state, "excluded-event-records").parse().unwrap();
    assert!(lost > 100, "{state}");
    assert!(state.contains(&format!("<id>{id}</id>")), "{state}");
}

#[tokio::test(start_paused = true)]
async fn who_has_forbidden_updates_is_told_that_changes_are_missing() {
    let device = Served::start();
    let mut slow = device.login("admin").await;
    establish(&mut slow, &running("<sync-on-start>false</sync-on-start>")).await;
    let mut manager = device.login("admin").await;
    for number in 0..2000 {
        let long = format!("{number}-{}", "x".repeat(100));
        change(&mut manager, &location(&long)).await;
    }
    let mut incomplete = 0;
    loop {
        let told = told(&mut slow).await;
        assert!(told.contains("<push-change-update "), "{told}");
        incomplete += usize::from(told.contains("<incomplete-update/>"));
        if told.contains("1999-") {
            break;
        }
    }
    assert_eq!(incomplete, 1);
}

#[tokio::test]
async fn what_a_user_may_not_read_is_pruned_from_every_update() {
    let device = with_rules(&on_contact("deny")).await;
    let mut manager = device.login("admin").await;
    change(
        &mut manager,
        &system("<contact>secret</contact><location>attic</location>"),
    )
    .await;
    let mut bob = device.login("bob").await;
    establish(&mut bob, &running("")).await;
    let first = update(&mut bob).await;
    assert!(
        first.contains("attic") && !first.contains("contact"),
        "{first}"
    );
    change(&mut manager, &system("<contact>other</contact>")).await;
    change(&mut manager, &location("cellar")).await;
    assert_eq!(changes(&mut bob).await, pairs(&[("replace", LOCATION)]));
    // A filter that compares what he may not read finds nothing.
    let guess = xpath("/sys:system[sys:contact='other']/sys:location");
    establish(&mut bob, &(datastore("running") + &guess + &on_change(""))).await;
    assert_eq!(update(&mut bob).await, "");
}

#[tokio::test(start_paused = true)]
async fn an_entry_behind_a_hidden_one_does_not_tell_its_name() {
    let path = r#"<path xmlns:s="urn:ietf:params:xml:ns:yang:ietf-system">/s:system/s:dns-resolver/s:server[s:name='hidden']</path>"#;
    let device = with_rules(&rule("no-server", path, "deny")).await;
    let mut manager = device.login("admin").await;
    let server = |name: &str, attributes: &str| {
        let address = "<udp-and-tcp><address>192.0.2.1</address></udp-and-tcp>";
        let server = format!("<server {attributes}><name>{name}</name>{address}</server>");
        system(&format!("<dns-resolver>{server}</dns-resolver>"))
    };
    for name in ["hidden", "last"] {
        change(&mut manager, &server(name, "")).await;
    }
    let mut bob = device.login("bob").await;
    establish(&mut bob, &running("")).await;
    update(&mut bob).await;
    let mut other = device.login("bob").await;
    establish(&mut other, &running("<sync-on-start>false</sync-on-start>")).await;
    let behind = r#"xmlns:y="urn:ietf:params:xml:ns:yang:1" xmlns:s="urn:ietf:params:xml:ns:yang:ietf-system" y:insert="after" y:key="[s:name='hidden']""#;
    change(&mut manager, &server("first", behind)).await;
    // Only all there is shows where it stands.
    let all = update(&mut bob).await;
    assert!(!all.contains("hidden"), "{all}");
    assert!(
        all.find("first").unwrap() < all.find("last").unwrap(),
        "{all}"
    );
    // He has forbidden that.
    let told = told(&mut other).await;
    assert!(!told.contains("hidden"), "{told}");
    assert!(told.contains("<incomplete-update/>"), "{told}");
    let edits = edits(&told);
    assert_eq!(
        (edits[0].operation.as_str(), &edits[0].place),
        ("insert", &None)
    );
}

#[tokio::test(start_paused = true)]
async fn rules_that_change_take_away_what_was_seen_before() {
    let device = with_rules(&on_contact("permit")).await;
    let mut manager = device.login("admin").await;
    change(
        &mut manager,
        &system("<contact>me</contact><location>attic</location>"),
    )
    .await;
    let mut bob = device.login("bob").await;
    establish(&mut bob, &running("")).await;
    assert!(update(&mut bob).await.contains("<contact>me</contact>"));
    let mut other = device.login("bob").await;
    establish(&mut other, &running("<sync-on-start>false</sync-on-start>")).await;
    change(&mut manager, &nacm(&on_contact("deny"))).await;
    let again = update(&mut bob).await;
    assert!(
        again.contains("attic") && !again.contains("contact"),
        "{again}"
    );
    // He has forbidden updates: there is no other way to take it away.
    let ended = told(&mut other).await;
    assert!(ended.contains("<subscription-terminated "), "{ended}");
    assert!(ended.contains(":unchanging-selection</reason>"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_it_is_deleted_killed_or_over() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let first = establish(&mut listener, &running("")).await;
    update(&mut listener).await;
    let stop = device.clock.now() + std::time::Duration::from_secs(100);
    let stop = format!("<stop-time>{}</stop-time>", date(stop.into()));
    let second = establish(&mut listener, &(running("") + &stop)).await;
    update(&mut listener).await;
    let delete = operation("delete-subscription", &format!("<id>{first}</id>"));
    listener.rpc(&delete).await.unwrap();
    let mut manager = device.login("admin").await;
    change(&mut manager, &location("attic")).await;
    assert_eq!(changes(&mut listener).await, pairs(&[("create", LOCATION)]));
    tokio::time::sleep(std::time::Duration::from_secs(200)).await;
    let resync = push("resync-subscription", &format!("<id>{second}</id>"));
    let error = refused(&mut listener, &resync).await;
    let tag = "ietf-yang-push:no-such-subscription-resync";
    assert_eq!(error.app_tag.as_deref(), Some(tag));
    let third = establish(&mut listener, &running("")).await;
    update(&mut listener).await;
    let kill = operation("kill-subscription", &format!("<id>{third}</id>"));
    manager.rpc(&kill).await.unwrap();
    let ended = told(&mut listener).await;
    assert!(
        ended.contains("<reason>no-such-subscription</reason>"),
        "{ended}"
    );
}
