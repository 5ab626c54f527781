//! Section 8.4: a commit that is taken back unless it is confirmed.

use super::*;
use crate::support::Device;

const CONFIRMED: &str = "<commit><confirmed/></commit>";

fn confirmed(timeout: u32, parameters: &str) -> String {
    format!("<commit><confirmed/><confirm-timeout>{timeout}</confirm-timeout>{parameters}</commit>")
}

/// A device whose running has 100, and a session that has put 200 into the candidate.
async fn start() -> (Served, Session) {
    let device = Served::start();
    let mut session = device.login("admin").await;
    edit(&mut session, "running", 100).await;
    edit(&mut session, "candidate", 200).await;
    (device, session)
}

async fn running(session: &mut Session) -> u16 {
    interval(session, "running").await
}

#[tokio::test(start_paused = true)]
async fn it_is_announced_with_its_feature() {
    let (_device, mut session) = start().await;
    let library = r#"<yang-library xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"/>"#;
    let library = session.get(Some(library)).await.unwrap();
    let (_, netconf) = library.split_once("<name>ietf-netconf</name>").unwrap();
    let (netconf, _) = netconf.split_once("</module>").unwrap();
    assert!(netconf.contains("<feature>confirmed-commit</feature>"));
    assert!(!netconf.contains("<feature>startup</feature>"));
    let capabilities = &session.server().capabilities;
    let has = |text: &str| capabilities.iter().any(|uri| uri.contains(text));
    assert!(has(
        "urn:ietf:params:netconf:capability:confirmed-commit:1.1"
    ));
    assert!(!has(":startup:") && !has(":url:"));
}

#[tokio::test(start_paused = true)]
async fn it_takes_effect_like_any_commit_and_the_candidate_is_running_then() {
    let (_device, mut session) = start().await;
    ok(&mut session, CONFIRMED).await;
    assert_eq!(running(&mut session).await, 200);
    assert_eq!(interval(&mut session, "candidate").await, 200);
}

#[tokio::test(start_paused = true)]
async fn without_a_confirmation_it_is_taken_back_after_ten_minutes() {
    let (_device, mut session) = start().await;
    ok(&mut session, CONFIRMED).await;
    pass(599).await;
    assert_eq!(running(&mut session).await, 200);
    pass(2).await;
    assert_eq!(running(&mut session).await, 100);
    // Nobody has touched the candidate: it is what running is.
    assert_eq!(interval(&mut session, "candidate").await, 100);
    let late = refused(&mut session, "<cancel-commit/>").await;
    assert_eq!(late.tag, "operation-failed");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_is_the_one_that_is_given() {
    let (_device, mut session) = start().await;
    ok(&mut session, &confirmed(5, "")).await;
    pass(4).await;
    assert_eq!(running(&mut session).await, 200);
    pass(2).await;
    assert_eq!(running(&mut session).await, 100);
}

#[tokio::test(start_paused = true)]
async fn the_longest_timeout_is_longer_than_anybody_waits() {
    let (_device, mut session) = start().await;
    ok(&mut session, &confirmed(u32::MAX, "")).await;
    pass(10 * 365 * 86_400).await;
    assert_eq!(running(&mut session).await, 200);
    ok(&mut session, "<cancel-commit/>").await;
    assert_eq!(running(&mut session).await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_time_confirms_also_without_a_change() {
    let (_device, mut session) = start().await;
    ok(&mut session, &confirmed(5, "")).await;
    pass(4).await;
    ok(&mut session, "<commit/>").await;
    pass(1000).await;
    session.close().await.unwrap();
    let mut other = _device.login("admin").await;
    assert_eq!(running(&mut other).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_confirming_commit_may_bring_changes() {
    let (_device, mut session) = start().await;
    ok(&mut session, &confirmed(5, "")).await;
    edit(&mut session, "candidate", 300).await;
    ok(&mut session, "<commit/>").await;
    pass(1000).await;
    assert_eq!(running(&mut session).await, 300);
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_starts_the_time_anew_with_and_without_changes() {
    let (_device, mut session) = start().await;
    ok(&mut session, &confirmed(10, "")).await;
    pass(8).await;
    ok(&mut session, &confirmed(20, "")).await;
    pass(18).await;
    edit(&mut session, "candidate", 300).await;
    ok(&mut session, &confirmed(5, "")).await;
    pass(4).await;
    assert_eq!(running(&mut session).await, 300);
    pass(2).await;
    // Back to before the first of them.
    assert_eq!(running(&mut session).await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_commit_without_a_change_can_be_followed_up_and_is_taken_back_with_it() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    ok(&mut session, &confirmed(10, "")).await;
    edit(&mut session, "candidate", 300).await;
    ok(&mut session, &confirmed(10, "")).await;
    pass(11).await;
    assert_eq!(running(&mut session).await, 0);
}

#[tokio::test(start_paused = true)]
async fn it_is_cancelled_by_the_session_that_issued_it() {
    let (device, mut session) = start().await;
    ok(&mut session, CONFIRMED).await;
    let mut other = device.login("admin").await;
    let error = refused(&mut other, "<cancel-commit/>").await;
    assert_eq!(error.tag, "operation-failed");
    ok(&mut session, "<cancel-commit/>").await;
    assert_eq!(running(&mut session).await, 100);
    let error = refused(&mut session, "<cancel-commit/>").await;
    assert_eq!(error.tag, "operation-failed");
    edit(&mut other, "running", 400).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_its_session_takes_it_back_whatever_that_end_is() {
    for way in ["close", "drop", "kill"] {
        let (device, mut session) = start().await;
        let mut other = device.login("admin").await;
        ok(&mut session, CONFIRMED).await;
        assert_eq!(running(&mut other).await, 200);
        match way {
            "close" => session.close().await.unwrap(),
            "drop" => drop(session),
            _ => {
                let kill = format!(
                    "<kill-session><session-id>{}</session-id></kill-session>",
                    session.session_id()
                );
                ok(&mut other, &kill).await;
            }
        }
        becomes(&mut other, 100).await;
        edit(&mut other, "running", 300).await;
    }
}

#[tokio::test]
async fn a_lost_ssh_connection_and_a_removed_user_are_ends_of_their_sessions_too() {
    let mut device = Device::start().await;
    let bob = crate::support::system(
        "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>",
    );
    let admin = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>admin</name><user-name>bob</user-name></group></groups></nacm>"#;
    device
        .commit(&[bob, admin.to_owned(), keepalive(100)].concat())
        .await;
    let mut lost = device.ssh("bob", "secret").await;
    edit(&mut lost.session, "candidate", 200).await;
    ok(&mut lost.session, CONFIRMED).await;
    assert_eq!(interval(&mut device.session, "running").await, 200);
    drop(lost);
    becomes(&mut device.session, 100).await;
    // The confirmed commit removes the very user who issued it: his session ends, and he is back.
    let mut bold = device.ssh("bob", "secret").await;
    let removal = crate::support::system(
        r#"<authentication><user xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"><name>bob</name></user></authentication>"#,
    );
    let whole = [removal, keepalive(300)].concat();
    bold.session.edit_config("candidate", &whole).await.unwrap();
    // The answer may not reach who is put out.
    drop(bold.session.rpc(CONFIRMED).await);
    bold.ended().await;
    becomes(&mut device.session, 100).await;
    device.ssh("bob", "secret").await;
    device.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_another_session_changes_nothing() {
    let (device, mut session) = start().await;
    ok(&mut session, CONFIRMED).await;
    device.login("admin").await.close().await.unwrap();
    drop(device.login("admin").await);
    pass(5).await;
    assert_eq!(running(&mut session).await, 200);
    ok(&mut session, "<commit/>").await;
}

#[tokio::test(start_paused = true)]
async fn with_a_token_it_outlives_its_session_and_is_taken_back_in_the_end() {
    let (device, mut session) = start().await;
    ok(&mut session, &confirmed(60, "<persist>t</persist>")).await;
    session.close().await.unwrap();
    let mut other = device.login("admin").await;
    pass(50).await;
    assert_eq!(running(&mut other).await, 200);
    pass(11).await;
    assert_eq!(running(&mut other).await, 100);
}

#[tokio::test(start_paused = true)]
async fn with_its_token_another_session_confirms() {
    let (device, mut session) = start().await;
    ok(&mut session, &confirmed(60, "<persist>t</persist>")).await;
    session.close().await.unwrap();
    let mut other = device.login("admin").await;
    ok(&mut other, "<commit><persist-id>t</persist-id></commit>").await;
    pass(1000).await;
    assert_eq!(running(&mut other).await, 200);
}

#[tokio::test(start_paused = true)]
async fn with_its_token_another_session_follows_up_and_gives_a_new_one() {
    let (device, mut session) = start().await;
    ok(&mut session, &confirmed(60, "<persist>t</persist>")).await;
    let mut other = device.login("admin").await;
    edit(&mut other, "candidate", 300).await;
    let follow_up = "<persist>u</persist><persist-id>t</persist-id>";
    ok(&mut other, &confirmed(60, follow_up)).await;
    let old = "<commit><persist-id>t</persist-id></commit>";
    assert_eq!(refused(&mut session, old).await.tag, "invalid-value");
    ok(
        &mut session,
        "<cancel-commit><persist-id>u</persist-id></cancel-commit>",
    )
    .await;
    assert_eq!(running(&mut session).await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_persist_id_is_invalid_and_changes_nothing() {
    let (_device, mut session) = start().await;
    let wrong = [
        "<commit><persist-id>x</persist-id></commit>".to_owned(),
        confirmed(60, "<persist-id>x</persist-id>"),
        "<cancel-commit><persist-id>x</persist-id></cancel-commit>".to_owned(),
    ];
    // With nothing pending, with something that has no token, and with something that has another.
    for pending in [None, Some(""), Some("<persist>t</persist>")] {
        if let Some(parameters) = pending {
            ok(&mut session, &confirmed(60, parameters)).await;
        }
        let before = running(&mut session).await;
        for operation in &wrong {
            let error = refused(&mut session, operation).await;
            assert_eq!(
                (error.error_type.as_str(), error.tag.as_str()),
                ("protocol", "invalid-value"),
                "{operation}"
            );
        }
        assert_eq!(running(&mut session).await, before);
    }
    pass(61).await;
    assert_eq!(running(&mut session).await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_missing_persist_id_is_refused_also_in_the_session_that_gave_the_token() {
    let (device, mut session) = start().await;
    ok(&mut session, &confirmed(60, "<persist>t</persist>")).await;
    let mut other = device.login("admin").await;
    for session in [&mut session, &mut other] {
        for operation in ["<commit/>", CONFIRMED] {
            assert_eq!(refused(session, operation).await.tag, "in-use");
        }
        let error = refused(session, "<cancel-commit/>").await;
        assert_eq!(error.tag, "operation-failed");
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_is_pending_others_can_neither_commit_nor_edit_running_nor_lock_it() {
    let (device, mut session) = start().await;
    let mut other = device.login("admin").await;
    ok(&mut session, CONFIRMED).await;
    edit(&mut other, "candidate", 300).await;
    let copy =
        "<copy-config><target><running/></target><source><candidate/></source></copy-config>";
    for operation in ["<commit/>", CONFIRMED, copy] {
        let error = refused(&mut other, operation).await;
        assert_eq!(error.tag, "in-use", "{operation}");
    }
    let edited = other.edit_config("running", &keepalive(300)).await;
    assert_eq!(crate::support::refused(edited)[0].tag, "in-use");
    let error = refused(&mut other, "<lock><target><running/></target></lock>").await;
    assert_eq!(error.tag, "lock-denied");
    let holder = ("session-id".to_owned(), session.session_id().to_string());
    assert_eq!(error.info, [holder]);
    // The one that issued it may do all of that, and it all goes back together.
    ok(&mut session, "<lock><target><running/></target></lock>").await;
    edit(&mut session, "running", 500).await;
    pass(601).await;
    assert_eq!(running(&mut session).await, 100);
}

#[tokio::test(start_paused = true)]
async fn running_is_not_locked_while_the_session_of_a_token_is_gone() {
    let (device, mut session) = start().await;
    ok(&mut session, &confirmed(60, "<persist>t</persist>")).await;
    session.close().await.unwrap();
    let mut other = device.login("admin").await;
    let lock = "<lock><target><running/></target></lock>";
    let denied = async {
        loop {
            let error = refused(&mut other, lock).await;
            assert_eq!(error.tag, "lock-denied");
            if error.info == [("session-id".to_owned(), "0".to_owned())] {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), denied)
        .await
        .unwrap();
    pass(61).await;
    ok(&mut other, lock).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_back_under_whatever_lock_and_no_candidate_is_touched() {
    let (device, mut session) = start().await;
    let mut other = device.login("admin").await;
    ok(&mut session, "<lock><target><running/></target></lock>").await;
    ok(&mut session, &confirmed(60, "<persist>t</persist>")).await;
    ok(&mut other, "<lock><target><candidate/></target></lock>").await;
    edit(&mut other, "candidate", 300).await;
    pass(61).await;
    assert_eq!(running(&mut other).await, 100);
    assert_eq!(interval(&mut other, "candidate").await, 300);
    let unlock = "<unlock><target><running/></target></unlock>";
    ok(&mut session, unlock).await;
    ok(&mut other, "<commit/>").await;
    assert_eq!(running(&mut other).await, 300);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_confirmed_commit_arms_nothing() {
    let (_device, mut session) = start().await;
    let incomplete = "<nacm xmlns=\"urn:ietf:params:xml:ns:yang:ietf-netconf-acm\"><rule-list><name>x</name><rule><name>y</name></rule></rule-list></nacm>";
    session.edit_config("candidate", incomplete).await.unwrap();
    let error = refused(&mut session, CONFIRMED).await;
    assert_eq!(error.error_type, "application");
    session.discard_changes().await.unwrap();
    let error = refused(&mut session, "<cancel-commit/>").await;
    assert_eq!(error.tag, "operation-failed");
    pass(601).await;
    assert_eq!(running(&mut session).await, 100);
}

#[tokio::test(start_paused = true)]
async fn the_rollback_needs_no_permission_and_its_operations_do() {
    let (device, mut session) = start().await;
    let mut nobody = device.login("nobody").await;
    ok(&mut session, CONFIRMED).await;
    let rules = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><write-default>deny</write-default><exec-default>deny</exec-default>
        <rule-list xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"><name>admin</name></rule-list></nacm>"#;
    session.edit_config("running", rules).await.unwrap();
    for operation in ["<commit/>", "<cancel-commit/>"] {
        for session in [&mut nobody, &mut session] {
            assert_eq!(refused(session, operation).await.tag, "access-denied");
        }
    }
    // Nobody may write any more, not even who issued it.
    pass(601).await;
    assert_eq!(running(&mut session).await, 100);
    edit(&mut session, "running", 300).await;
}

#[tokio::test]
async fn a_restart_takes_it_back_and_says_so_in_the_history() {
    for persist in ["", "<persist>t</persist>"] {
        let mut device = Device::start().await;
        device.commit(&keepalive(100)).await;
        let edited = device
            .session
            .edit_config("candidate", &keepalive(200))
            .await;
        edited.unwrap();
        let commit = confirmed(600, persist);
        device.session.rpc(&commit).await.unwrap();
        let running = device.session.get_config("running", None).await.unwrap();
        assert!(running.contains(">200<"));
        let mut device = device.restart().await;
        let running = device.session.get_config("running", None).await.unwrap();
        assert!(running.contains(">100<") && !running.contains(">200<"));
        // It is over: what is committed now stays.
        device.commit(&keepalive(300)).await;
        let mut device = device.restart().await;
        let running = device.session.get_config("running", None).await.unwrap();
        assert!(running.contains(">300<"));
        let (_, directory) = device.stop().await;
        let (store, _) = tether::datastore::store::Store::open(directory.path()).unwrap();
        let history = store.history().unwrap();
        let back: Vec<_> = history
            .iter()
            .filter(|record| record.source == "confirmed-commit")
            .map(|record| (record.session, record.user.as_str()))
            .collect();
        assert_eq!(back, [(None, "")]);
        assert_eq!(history.len(), 5);
    }
}

#[tokio::test]
async fn a_confirmed_one_survives_a_restart() {
    let mut device = Device::start().await;
    let edited = device
        .session
        .edit_config("candidate", &keepalive(200))
        .await;
    edited.unwrap();
    device.session.rpc(CONFIRMED).await.unwrap();
    device.session.commit().await.unwrap();
    let mut device = device.restart().await;
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(running.contains(">200<"));
    device.stop().await;
}

/// What it falls back to cannot be told: no configuration that nobody confirmed comes up.
#[tokio::test]
async fn a_start_that_cannot_tell_what_to_fall_back_to_is_refused_with_the_reason() {
    let device = Device::start().await;
    let (_, directory) = device.stop().await;
    for mark in [b"nonsense".as_slice(), b"1000", b""] {
        let (store, _) = tether::datastore::store::Store::open(directory.path()).unwrap();
        store
            .put_meta(&[("confirmed-commit".to_owned(), Some(mark.to_vec()))])
            .unwrap();
        drop(store);
        let options = crate::support::options(directory.path());
        let Err(error) = crate::support::start_agent(options).await else {
            panic!("it runs")
        };
        assert!(error.to_string().contains("falls back to"), "{error}");
    }
}
