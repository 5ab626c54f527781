use tempfile::TempDir;

use super::*;

fn options(directory: &Path) -> Options {
    Options {
        state_dir: Some(directory.to_owned()),
        ssh: vec!["127.0.0.1:0".parse().unwrap()],
        serial_number: Some("1".to_owned()),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_first_start_that_fails_leaves_the_next_one_the_first() {
    let directory = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = options(directory.path());
    busy.ssh = vec![taken.local_addr().unwrap()];
    let failed = Agent::start(busy, None).await.err().unwrap();
    assert!(matches!(failed, AgentError::Listen { .. }), "{failed}");
    // The password is told now, since nobody was told before.
    let agent = Agent::start(options(directory.path()), None).await.unwrap();
    assert!(agent.made_password().is_some());
    agent.stop().await;
}

#[tokio::test]
async fn a_factory_default_that_a_part_refuses_can_be_replaced() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("factory.xml");
    let factory = |vpn: &str| {
        format!(
            r#"<config><cloud-management xmlns="urn:tether:yang:cloud-management"><server><domain>a.example</domain>
            <vpn-instance>{vpn}</vpn-instance></server></cloud-management></config>"#
        )
    };
    let mut with_file = options(&directory.path().join("state"));
    with_file.factory_default = Some(file.clone());
    // Longer than the name of any device, which only the tunnel knows.
    std::fs::write(&file, factory("a-name-of-16-chr")).unwrap();
    assert!(Agent::start(with_file.clone(), None).await.is_err());
    std::fs::write(&file, factory("red")).unwrap();
    let agent = Agent::start(with_file, None).await.unwrap();
    agent.stop().await;
}
