//! Sections 7.2 to 7.6 and 8.6: what an edit does at an error and with a test, copies, deletions, validation, locks.

use super::*;

const NC: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0""#;
/// Valid by itself at the edit, and refused as a whole: a rule needs an action.
const INCOMPLETE: &str = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><rule-list><name>x</name><rule><name>y</name></rule></rule-list></nacm>"#;

/// An edit with this in front of its config.
fn edit_with(target: &str, options: &str, config: &str) -> String {
    format!(
        "<edit-config><target><{target}/></target>{options}<config>{config}</config></edit-config>"
    )
}

fn test_option(target: &str, option: &str, config: &str) -> String {
    edit_with(
        target,
        &format!("<test-option>{option}</test-option>"),
        config,
    )
}

fn error_option(target: &str, option: &str, config: &str) -> String {
    edit_with(
        target,
        &format!("<error-option>{option}</error-option>"),
        config,
    )
}

async fn errors(session: &mut Session, operation: &str) -> Vec<ReportedError> {
    match session.rpc(operation).await {
        Err(ClientError::Refused(errors)) => errors,
        other => panic!("{operation}: {other:?}"),
    }
}

async fn start() -> (Served, Session) {
    let device = Served::start();
    let mut session = device.login("admin").await;
    edit(&mut session, "running", 100).await;
    (device, session)
}

async fn holds(session: &mut Session, datastore: &str, text: &str) -> bool {
    let config = session.get_config(datastore, None).await.unwrap();
    config.contains(text)
}

#[tokio::test(start_paused = true)]
async fn test_only_says_what_is_wrong_and_changes_nothing() {
    let (_device, mut session) = start().await;
    for target in ["running", "candidate"] {
        ok(
            &mut session,
            &test_option(target, "test-only", &keepalive(200)),
        )
        .await;
        let error = refused(&mut session, &test_option(target, "test-only", INCOMPLETE)).await;
        assert_eq!(error.error_type, "application");
        assert_eq!(interval(&mut session, target).await, 100);
        assert!(!holds(&mut session, target, "<name>x</name>").await);
    }
}

#[tokio::test(start_paused = true)]
async fn test_then_set_sets_what_passes_the_test_alone() {
    let (_device, mut session) = start().await;
    for target in ["candidate", "running"] {
        let good = test_option(target, "test-then-set", &keepalive(200));
        ok(&mut session, &good).await;
        assert_eq!(interval(&mut session, target).await, 200);
        let bad = [INCOMPLETE, &keepalive(300)].concat();
        refused(&mut session, &test_option(target, "test-then-set", &bad)).await;
        assert_eq!(interval(&mut session, target).await, 200);
        assert!(!holds(&mut session, target, "<name>x</name>").await);
    }
}

#[tokio::test(start_paused = true)]
async fn set_leaves_the_test_of_the_candidate_to_its_commit_and_running_valid() {
    let (_device, mut session) = start().await;
    for options in ["<test-option>set</test-option>", ""] {
        ok(&mut session, &edit_with("candidate", options, INCOMPLETE)).await;
        assert!(holds(&mut session, "candidate", "<name>x</name>").await);
        refused(&mut session, "<commit/>").await;
        refused(
            &mut session,
            "<validate><source><candidate/></source></validate>",
        )
        .await;
        session.discard_changes().await.unwrap();
        refused(&mut session, &edit_with("running", options, INCOMPLETE)).await;
        assert!(!holds(&mut session, "running", "<name>x</name>").await);
    }
}

/// Two errors with something good before, between and after them.
fn mixed() -> String {
    cloud_management(&format!(
        "<server><domain>a.example</domain><port>0</port></server>\
         <keepalive-interval>200</keepalive-interval>\
         <unbinding-code {NC} nc:operation=\"delete\"/>\
         <service><name>telemetry</name></service>"
    ))
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_stops_or_rolls_back_leaves_no_trace_and_tells_its_first_error() {
    let (_device, mut session) = start().await;
    for target in ["candidate", "running"] {
        for option in ["stop-on-error", "rollback-on-error"] {
            let error = refused(&mut session, &error_option(target, option, &mixed())).await;
            assert_eq!(error.tag, "invalid-value");
            assert!(error.path.unwrap().ends_with("port"));
            assert_eq!(interval(&mut session, target).await, 100);
            assert!(!holds(&mut session, target, "a.example").await);
        }
        let error = refused(&mut session, &edit_with(target, "", &mixed())).await;
        assert_eq!(error.tag, "invalid-value");
        assert!(!holds(&mut session, target, "a.example").await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_continues_does_what_can_be_done_and_tells_every_error() {
    let (_device, mut session) = start().await;
    for target in ["candidate", "running"] {
        let edit = error_option(target, "continue-on-error", &mixed());
        let told = errors(&mut session, &edit).await;
        let tags: Vec<_> = told.iter().map(|error| error.tag.as_str()).collect();
        assert_eq!(tags, ["invalid-value", "data-missing"]);
        assert_eq!(interval(&mut session, target).await, 200);
        for done in ["a.example", "<name>telemetry</name>"] {
            assert!(holds(&mut session, target, done).await, "{target} {done}");
        }
        assert!(!holds(&mut session, target, "<port>").await);
        session.discard_changes().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_continues_never_leaves_running_invalid_nor_tests_what_is_not_asked() {
    let (_device, mut session) = start().await;
    let config = [mixed(), INCOMPLETE.to_owned()].concat();
    let edit = error_option("running", "continue-on-error", &config);
    assert_eq!(errors(&mut session, &edit).await.len(), 3);
    assert_eq!(interval(&mut session, "running").await, 100);
    let tested = edit_with(
        "candidate",
        "<test-option>test-only</test-option><error-option>continue-on-error</error-option>",
        &mixed(),
    );
    assert_eq!(errors(&mut session, &tested).await.len(), 2);
    assert_eq!(interval(&mut session, "candidate").await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_copy_replaces_the_whole_from_a_datastore_and_from_the_request() {
    let (_device, mut session) = start().await;
    let copy = |source: &str, target: &str| {
        format!("<copy-config><target><{target}/></target><source>{source}</source></copy-config>")
    };
    let admin = session.get_config("running", None).await.unwrap();
    let (_, nacm) = admin.split_once("<nacm").unwrap();
    let nacm = format!("<nacm{}</nacm>", nacm.split_once("</nacm>").unwrap().0);
    let inline = |seconds| format!("<config>{nacm}{}</config>", keepalive(seconds));
    ok(&mut session, &copy(&inline(200), "candidate")).await;
    assert_eq!(interval(&mut session, "candidate").await, 200);
    assert_eq!(interval(&mut session, "running").await, 100);
    ok(&mut session, &copy("<running/>", "candidate")).await;
    assert_eq!(interval(&mut session, "candidate").await, 100);
    ok(&mut session, &copy(&inline(300), "running")).await;
    assert_eq!(interval(&mut session, "running").await, 300);
    let only = format!("<config>{nacm}</config>");
    ok(&mut session, &copy(&only, "candidate")).await;
    ok(&mut session, &copy("<candidate/>", "running")).await;
    assert_eq!(interval(&mut session, "running").await, 0);
    for (source, target, tag) in [
        ("<running/>", "running", "invalid-value"),
        ("<candidate/>", "candidate", "invalid-value"),
        (
            "<url>file:///etc/passwd</url>",
            "candidate",
            "unknown-element",
        ),
    ] {
        let error = refused(&mut session, &copy(source, target)).await;
        assert_eq!(error.tag, tag, "{source}");
    }
    let invalid = format!("<config>{INCOMPLETE}</config>");
    refused(&mut session, &copy(&invalid, "running")).await;
    assert!(holds(&mut session, "running", "<nacm").await);
}

#[tokio::test(start_paused = true)]
async fn a_url_is_nowhere_taken() {
    let (_device, mut session) = start().await;
    let url = "<url>file:///tmp/config.xml</url>";
    for operation in [
        format!("<edit-config><target><running/></target>{url}</edit-config>"),
        format!("<copy-config><target>{url}</target><source><running/></source></copy-config>"),
        format!("<delete-config><target>{url}</target></delete-config>"),
        format!("<validate><source>{url}</source></validate>"),
    ] {
        let error = refused(&mut session, &operation).await;
        assert_eq!(error.tag, "unknown-element", "{operation}");
        assert_eq!(error.info, [("bad-element".to_owned(), "url".to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn neither_running_nor_the_candidate_is_deleted() {
    let (_device, mut session) = start().await;
    for target in ["running", "candidate"] {
        let delete = format!("<delete-config><target><{target}/></target></delete-config>");
        let error = refused(&mut session, &delete).await;
        assert_eq!(error.tag, "operation-not-supported");
        assert_eq!(interval(&mut session, target).await, 100);
    }
}

#[tokio::test(start_paused = true)]
async fn every_source_is_validated() {
    let (_device, mut session) = start().await;
    let validate = |source: &str| format!("<validate><source>{source}</source></validate>");
    let good = format!("<config>{}</config>", keepalive(200));
    for source in ["<running/>", "<candidate/>", &good] {
        ok(&mut session, &validate(source)).await;
    }
    let wrong_value = format!("<config>{}</config>", keepalive(9));
    let incomplete = format!("<config>{INCOMPLETE}</config>");
    for source in [&wrong_value, &incomplete] {
        let error = refused(&mut session, &validate(source)).await;
        assert_eq!(error.error_type, "application");
        assert!(error.path.is_some(), "{error:?}");
    }
    assert_eq!(interval(&mut session, "running").await, 100);
}

/// RFC 6243, section 6: what `report-all-tagged` reported comes back as it was.
#[tokio::test(start_paused = true)]
async fn a_value_tagged_as_the_default_is_none_that_is_set() {
    let (_device, mut session) = start().await;
    let tagged = |value: u16, attributes: &str| {
        cloud_management(&format!(
            r#"<keepalive-interval xmlns:wd="urn:ietf:params:xml:ns:netconf:default:1.0" {NC} {attributes}>{value}</keepalive-interval>"#
        ))
    };
    for target in ["candidate", "running"] {
        for word in ["true", "1"] {
            edit(&mut session, target, 100).await;
            let default = tagged(180, &format!("wd:default=\"{word}\""));
            session.edit_config(target, &default).await.unwrap();
            assert_eq!(interval(&mut session, target).await, 0);
        }
        for word in ["false", "0"] {
            let plain = tagged(180, &format!("wd:default=\"{word}\""));
            session.edit_config(target, &plain).await.unwrap();
            assert_eq!(interval(&mut session, target).await, 180);
        }
        let refusals = [
            (tagged(200, "wd:default=\"true\""), "invalid-value"),
            (tagged(180, "wd:default=\"maybe\""), "bad-attribute"),
            (tagged(180, "wd:other=\"true\""), "unknown-attribute"),
            (
                tagged(180, "wd:default=\"true\" nc:operation=\"create\""),
                "data-exists",
            ),
        ];
        for (edit, tag) in refusals {
            let error = crate::support::refused(session.edit_config(target, &edit).await);
            assert_eq!(error[0].tag, tag, "{edit}");
            assert!(error[0].path.is_some());
            assert_eq!(interval(&mut session, target).await, 180);
        }
        let gone = tagged(180, "wd:default=\"true\" nc:operation=\"delete\"");
        session.edit_config(target, &gone).await.unwrap();
        assert_eq!(interval(&mut session, target).await, 0);
    }
    let copy = format!(
        "<copy-config><target><candidate/></target><source><config>{}</config></source></copy-config>",
        tagged(180, "wd:default=\"true\"")
    );
    ok(&mut session, &copy).await;
    assert_eq!(interval(&mut session, "candidate").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_modified_candidate_is_locked_by_nobody_until_it_is_committed_or_discarded() {
    let (device, mut session) = start().await;
    let mut other = device.login("admin").await;
    let lock = "<lock><target><candidate/></target></lock>";
    let unlock = "<unlock><target><candidate/></target></unlock>";
    for end in ["<commit/>", "<discard-changes/>"] {
        edit(&mut session, "candidate", 200).await;
        for session in [&mut session, &mut other] {
            let error = refused(session, lock).await;
            assert_eq!(
                (error.error_type.as_str(), error.tag.as_str()),
                ("protocol", "operation-failed")
            );
        }
        ok(&mut session, end).await;
        ok(&mut other, lock).await;
        ok(&mut other, unlock).await;
        edit(&mut session, "candidate", 300).await;
        ok(&mut session, end).await;
    }
}

#[tokio::test(start_paused = true)]
async fn under_another_sessions_lock_nothing_is_changed() {
    let (device, mut session) = start().await;
    let mut other = device.login("admin").await;
    ok(&mut session, "<lock><target><candidate/></target></lock>").await;
    edit(&mut session, "candidate", 200).await;
    let config = format!("<config>{}</config>", keepalive(300));
    let copy = format!(
        "<copy-config><target><candidate/></target><source>{config}</source></copy-config>"
    );
    let set = edit_with("candidate", "", &keepalive(300));
    for operation in ["<discard-changes/>", "<commit/>", &copy, &set] {
        let error = refused(&mut other, operation).await;
        assert_eq!(error.tag, "in-use", "{operation}");
    }
    assert_eq!(interval(&mut other, "candidate").await, 200);
    ok(&mut session, "<commit/>").await;
    ok(
        &mut session,
        "<unlock><target><candidate/></target></unlock>",
    )
    .await;
    ok(&mut session, "<lock><target><running/></target></lock>").await;
    edit(&mut other, "candidate", 300).await;
    let copy = copy.replace("candidate", "running");
    let set = set.replace("candidate", "running");
    let confirmed = "<commit><confirmed/></commit>";
    for operation in ["<commit/>", confirmed, &copy, &set] {
        let error = refused(&mut other, operation).await;
        assert_eq!(error.tag, "in-use", "{operation}");
    }
    ok(&mut session, "<unlock><target><running/></target></unlock>").await;
    ok(&mut other, "<commit/>").await;
    assert_eq!(interval(&mut session, "running").await, 300);
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_taken_once_and_given_back_by_its_holder() {
    let (device, mut session) = start().await;
    let mut other = device.login("admin").await;
    for target in ["running", "candidate"] {
        let lock = format!("<lock><target><{target}/></target></lock>");
        let unlock = format!("<unlock><target><{target}/></target></unlock>");
        let error = refused(&mut session, &unlock).await;
        assert_eq!(error.tag, "operation-failed");
        ok(&mut session, &lock).await;
        let holder = ("session-id".to_owned(), session.session_id().to_string());
        for session in [&mut session, &mut other] {
            let error = refused(session, &lock).await;
            assert_eq!(error.tag, "lock-denied");
            assert_eq!(error.info, std::slice::from_ref(&holder));
        }
        let error = refused(&mut other, &unlock).await;
        assert_eq!(error.tag, "operation-failed");
        ok(&mut session, &unlock).await;
        ok(&mut other, &lock).await;
        ok(&mut other, &unlock).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_goes_with_its_session_whatever_the_end() {
    for way in ["close", "drop", "kill", "idle"] {
        let (device, mut session) = start().await;
        let mut other = device.login("admin").await;
        session.lock("running").await.unwrap();
        session.lock("candidate").await.unwrap();
        edit(&mut session, "candidate", 200).await;
        match way {
            "close" => session.close().await.unwrap(),
            "drop" => drop(session),
            "kill" => {
                let kill = format!(
                    "<kill-session><session-id>{}</session-id></kill-session>",
                    session.session_id()
                );
                ok(&mut other, &kill).await;
            }
            _ => {
                let idle = tether::model::settings::Limits {
                    idle_timeout: Duration::from_secs(5),
                    ..Default::default()
                };
                device.limits.send_replace(std::sync::Arc::new(idle));
                for _ in 0..10 {
                    pass(1).await;
                    other.get_config("candidate", Some("")).await.unwrap();
                }
            }
        }
        for target in ["running", "candidate"] {
            let freed = async { while other.lock(target).await.is_err() {} };
            tokio::time::timeout(Duration::from_secs(20), freed)
                .await
                .unwrap();
        }
        // The candidate that it had locked is discarded (section 8.3.5.2).
        assert_eq!(interval(&mut other, "candidate").await, 100);
    }
}
