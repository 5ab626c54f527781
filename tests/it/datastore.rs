//! Configuration through the whole agent: refusals that leave no trace, locks, restarts.

use std::time::Duration;

use tempfile::TempDir;
use tether::agent::AgentError;
use tether::protocol::client::{Client, ClientError};

use crate::support::{
    ADMIN_PASSWORD, Device, PATIENCE, SERIAL, Session, SshSession, cloud_management, open, options,
    refused, registered, soon, start_agent, trust_anchor,
};

const INTERVAL: &str = r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval/></cloud-management>"#;

fn interval(seconds: u16) -> String {
    cloud_management(&format!(
        "<keepalive-interval>{seconds}</keepalive-interval>"
    ))
}

async fn config(session: &mut Session, datastore: &str) -> String {
    session.get_config(datastore, None).await.unwrap()
}

/// Waits until a session that ended has let go of what it held.
async fn when_free(session: &mut Session, target: &str) {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while let Err(error) = session.lock(target).await {
        assert!(tokio::time::Instant::now() < until, "{error}");
        pace.tick().await;
    }
}

#[tokio::test]
async fn a_commit_that_a_part_of_the_agent_refuses_leaves_no_trace() {
    let bad = [
        cloud_management("<server><vpn-instance>sixteen-octets-1</vpn-instance></server>"),
        cloud_management(
            "<server><ipv6><vpn-instance>sixteen-octets-1</vpn-instance></ipv6></server>",
        ),
        cloud_management(&trust_anchor("bad", "no certificate")),
        cloud_management(&trust_anchor(
            "bad",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        )),
    ];
    let mut device = Device::connected().await;
    let main = device.main_connection();
    for edit in bad {
        let running = config(&mut device.session, "running").await;
        for part in [&edit, &interval(77)] {
            let edited = device.session.edit_config("candidate", part).await;
            edited.unwrap();
        }
        let candidate = config(&mut device.session, "candidate").await;
        let error = refused(device.session.commit().await).remove(0);
        assert_eq!(error.tag, "invalid-value", "{edit}");
        assert!(error.path.is_some(), "{edit}");
        assert_eq!(config(&mut device.session, "running").await, running);
        // The work is still there, for the user to correct.
        assert_eq!(config(&mut device.session, "candidate").await, candidate);
        assert!(candidate.contains("77"));
        device.session.discard_changes().await.unwrap();
        let error = refused(device.session.edit_config("running", &edit).await).remove(0);
        assert_eq!(error.tag, "invalid-value", "{edit}");
        assert_eq!(config(&mut device.session, "running").await, running);
        assert_eq!(device.round_trip().await, main, "{edit}");
    }
    let before = config(&mut device.session, "running").await;
    let mut device = device.restart().await;
    assert_eq!(config(&mut device.session, "running").await, before);
    device.stop().await;
}

#[tokio::test]
async fn a_refused_commit_can_be_corrected_and_committed() {
    let mut device = Device::start().await;
    let long = cloud_management("<server><vpn-instance>sixteen-octets-1</vpn-instance></server>");
    for part in [long, interval(77)] {
        let edited = device.session.edit_config("candidate", &part).await;
        edited.unwrap();
    }
    refused(device.session.commit().await);
    let short = "<server><vpn-instance>red</vpn-instance></server>";
    device.commit_cloud(short).await;
    let running = config(&mut device.session, "running").await;
    assert!(running.contains(">77<") && running.contains(">red<"));
    device.stop().await;
}

#[tokio::test]
async fn a_password_of_another_device_is_refused_at_the_edit() {
    let mut device = Device::start().await;
    let mut other = Device::start().await;
    other.configure_cloud().await;
    let filter = cloud_management("<server><password/></server>");
    let foreign = other.session.get_config("running", Some(&filter)).await;
    let error = refused(
        device
            .session
            .edit_config("candidate", &foreign.unwrap())
            .await,
    );
    assert_eq!(error[0].tag, "invalid-value");
    assert!(error[0].path.as_deref().unwrap().ends_with("password"));
    device.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_lock_keeps_the_others_out_until_it_is_given_back() {
    let mut device = Device::start().await;
    let mut other = device.open().await;
    let holder = device.session.session_id().to_string();
    device.session.lock("running").await.unwrap();
    device.session.lock("candidate").await.unwrap();
    for target in ["running", "candidate"] {
        let denied = refused(other.lock(target).await).remove(0);
        assert_eq!(denied.tag, "lock-denied");
        assert_eq!(denied.info, [("session-id".to_owned(), holder.clone())]);
        let in_use = refused(other.edit_config(target, &interval(20)).await);
        assert_eq!(in_use[0].tag, "in-use");
    }
    assert_eq!(refused(other.commit().await)[0].tag, "in-use");
    assert_eq!(refused(other.discard_changes().await)[0].tag, "in-use");
    device.commit(&interval(30)).await;
    device.session.unlock("running").await.unwrap();
    other.edit_config("running", &interval(40)).await.unwrap();
    device.session.unlock("candidate").await.unwrap();
    other.lock("candidate").await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn a_locked_candidate_goes_with_its_session() {
    let mut device = Device::start().await;
    let before = config(&mut device.session, "candidate").await;
    for in_order in [true, false] {
        let mut other = device.open().await;
        other.lock("candidate").await.unwrap();
        other.edit_config("candidate", &interval(33)).await.unwrap();
        match in_order {
            true => other.close().await.unwrap(),
            false => drop(other),
        }
        when_free(&mut device.session, "candidate").await;
        assert_eq!(config(&mut device.session, "candidate").await, before);
        device.session.unlock("candidate").await.unwrap();
    }
    device.stop().await;
}

#[tokio::test]
async fn a_changed_candidate_cannot_be_locked_by_another() {
    let mut device = Device::start().await;
    let mut other = device.open().await;
    device
        .session
        .edit_config("candidate", &interval(33))
        .await
        .unwrap();
    assert!(other.lock("candidate").await.is_err());
    device.session.discard_changes().await.unwrap();
    other.lock("candidate").await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn a_killed_session_has_let_go_when_the_answer_comes() {
    let mut device = Device::start().await;
    let mut other = device.open().await;
    other.lock("running").await.unwrap();
    let kill = format!(
        "<kill-session><session-id>{}</session-id></kill-session>",
        other.session_id()
    );
    device.session.rpc(&kill).await.unwrap();
    device.session.lock("running").await.unwrap();
    assert!(soon(other.get(None)).await.is_err());
    device.stop().await;
}

#[tokio::test]
async fn the_configuration_survives_a_restart() {
    let mut device = Device::start().await;
    device.configure_cloud().await;
    let before = config(&mut device.session, "running").await;
    device
        .session
        .edit_config("candidate", &interval(99))
        .await
        .unwrap();
    let mut device = device.restart().await;
    assert_eq!(config(&mut device.session, "running").await, before);
    assert_eq!(config(&mut device.session, "candidate").await, before);
    // With the key of the device its secrets still open.
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn the_configuration_survives_a_restart_after_two_hundred_commits() {
    let mut device = Device::start().await;
    for n in 0..200 {
        device
            .session
            .edit_config("running", &interval(10 + n))
            .await
            .unwrap();
    }
    for n in 0..5 {
        let host = crate::support::host(&format!("h{n}.com"), "127.0.0.1");
        device.commit(&host).await;
    }
    let before = config(&mut device.session, "running").await;
    assert!(before.contains(">209<"));
    let mut device = device.restart().await;
    assert_eq!(config(&mut device.session, "running").await, before);
    device.commit(&interval(300)).await;
    let mut device = device.restart().await;
    let after = device.session.get_config("running", Some(INTERVAL)).await;
    assert!(after.unwrap().contains(">300<"));
    device.stop().await;
}

#[tokio::test]
async fn the_first_start_makes_an_administrator_and_later_ones_do_not() {
    let directory = TempDir::new().unwrap();
    let agent = soon(tether::agent::Agent::start(options(directory.path()), None))
        .await
        .unwrap();
    let made = agent.made_password().unwrap().to_owned();
    assert!(made.len() >= 16);
    let address = agent.ssh_addresses()[0];
    assert!(SshSession::open(address, "admin", &made).await.is_some());
    soon(agent.stop()).await;
    let agent = start_agent(options(directory.path())).await.unwrap();
    assert_eq!(agent.made_password(), None);
    let address = agent.ssh_addresses()[0];
    assert!(SshSession::open(address, "admin", &made).await.is_some());
    let given = SshSession::open(address, "admin", ADMIN_PASSWORD).await;
    assert!(given.is_none());
    soon(agent.stop()).await;
}

#[tokio::test]
async fn the_factory_default_is_taken_at_the_first_start_alone() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("factory.xml");
    let write = |seconds| std::fs::write(&file, interval(seconds)).unwrap();
    let mut options = options(&directory.path().join("state"));
    options.factory_default = Some(file.clone());
    for written in [60, 70] {
        write(written);
        let agent = start_agent(options.clone()).await.unwrap();
        let mut session = open(&agent).await;
        let found = session.get_config("running", Some(INTERVAL)).await;
        assert!(found.unwrap().contains(">60<"));
        soon(agent.stop()).await;
    }
}

#[tokio::test]
async fn a_second_agent_on_the_same_directory_is_refused() {
    let mut device = Device::start().await;
    let second = start_agent(options(device.directory())).await;
    let Err(error) = second else {
        panic!("both run")
    };
    assert!(matches!(error, AgentError::Store(_)), "{error}");
    assert!(!error.to_string().contains('\n'));
    // The first one is none the worse for it, nor its socket.
    device.session.get(None).await.unwrap();
    device.open().await;
    device.stop().await;
}

#[tokio::test]
async fn a_changed_serial_number_drops_the_state_of_unbinding() {
    let mut device = Device::start_with(registered().unbinding_code("4711")).await;
    device.configure_cloud().await;
    device.up().await;
    device.act("<unbind><code>4711</code></unbind>").await;
    device
        .wait_state(|state| state.is("unbinding/status", "accepted"))
        .await;
    let mut other = options(device.directory());
    other.serial_number = Some("ANOTHER".into());
    let mut device = device.restart_with(other).await;
    let state = device.failed("serial-number-not-registered").await;
    assert!(state.is("unbinding/status", "none"));
    let same = options(device.directory());
    assert_eq!(same.serial_number.as_deref(), Some(SERIAL));
    device.stop().await;
}

#[tokio::test]
async fn the_socket_is_gone_with_the_agent_and_sessions_end() {
    let device = Device::start().await;
    let mut other = device.open().await;
    let socket = device.agent().socket().to_owned();
    device.stop().await;
    assert!(!socket.exists());
    let ended: Result<String, ClientError> = soon(other.get(None)).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn readers_and_writers_at_once_see_whole_commits() {
    let mut device = Device::start().await;
    let mut writers = Vec::new();
    for n in 0..4u16 {
        let mut session: Session = device.open().await;
        writers.push(tokio::spawn(async move {
            for round in 0..10u16 {
                let seconds = 10 + 100 * n + round;
                // Both leaves in one edit: nobody may ever see one without the other.
                let edit = cloud_management(&format!(
                    "<server><primary-return>{seconds}</primary-return></server><keepalive-interval>{seconds}</keepalive-interval>"
                ));
                session.edit_config("running", &edit).await.unwrap();
            }
        }));
    }
    for _ in 0..60 {
        let seen = config(&mut device.session, "running").await;
        let leaf = |name: &str| {
            let (_, after) = seen.split_once(&format!("<{name}>"))?;
            after.split_once('<').map(|(value, _)| value.to_owned())
        };
        assert_eq!(leaf("primary-return"), leaf("keepalive-interval"));
    }
    for writer in writers {
        soon(writer).await.unwrap();
    }
    device.stop().await;
}

/// Whoever connects and says nothing costs the others nothing.
#[tokio::test]
async fn a_silent_client_does_not_keep_the_agent_from_stopping() {
    let device = Device::start().await;
    let silent = tokio::net::UnixStream::connect(device.agent().socket());
    let _silent = silent.await.unwrap();
    let address = device.agent().ssh_addresses()[0];
    let _dialled = tokio::net::TcpStream::connect(address).await.unwrap();
    let other = tokio::net::UnixStream::connect(device.agent().socket());
    let mut other = Client::connect(other.await.unwrap(), PATIENCE)
        .await
        .unwrap();
    other.get(None).await.unwrap();
    let begun = std::time::Instant::now();
    device.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut wrong = options(directory.path());
    wrong.ssh.push(taken.local_addr().unwrap());
    for _ in 0..2 {
        let Err(error) = start_agent(wrong.clone()).await else {
            panic!("it runs")
        };
        assert!(matches!(error, AgentError::Listen { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    // Nor has it made a password that nobody was told.
    let agent = soon(tether::agent::Agent::start(options(directory.path()), None))
        .await
        .unwrap();
    assert!(agent.made_password().is_some());
    soon(agent.stop()).await;
}

#[tokio::test]
async fn the_first_registration_after_a_restart_tells_of_the_shutdown() {
    let device = Device::connected().await;
    let mark = device.cloud.mark();
    let mut device = device.restart().await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("shutdown"));
    assert!(device.up().await.is("last-down/reason", "shutdown"));
    device.stop().await;
}

#[tokio::test]
async fn every_address_is_served_and_told_with_its_real_port() {
    let directory = TempDir::new().unwrap();
    let mut two = options(directory.path());
    two.ssh.push("127.0.0.2:0".parse().unwrap());
    let agent = start_agent(two).await.unwrap();
    assert_eq!(agent.ssh_addresses().len(), 2);
    for address in agent.ssh_addresses() {
        assert_ne!(address.port(), 0);
        let admin = SshSession::open(*address, "admin", ADMIN_PASSWORD).await;
        assert!(admin.is_some());
    }
    soon(agent.stop()).await;
}

#[tokio::test]
async fn a_serial_number_that_nobody_gave_stays_the_same() {
    let directory = TempDir::new().unwrap();
    let mut nameless = options(directory.path());
    nameless.serial_number = None;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let agent = start_agent(nameless.clone()).await.unwrap();
        let mut session = open(&agent).await;
        let hardware = session
            .get(Some(
                r#"<hardware xmlns="urn:ietf:params:xml:ns:yang:ietf-hardware"/>"#,
            ))
            .await
            .unwrap();
        let (_, after) = hardware.split_once("<serial-num>").expect("no serial-num");
        seen.push(after.split('<').next().unwrap().to_owned());
        soon(agent.stop()).await;
    }
    assert!(!seen[0].is_empty());
    assert_eq!(seen[0], seen[1]);
}
