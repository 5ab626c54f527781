//! The command line over SSH, and `tether cli` as a program.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{ADMIN_PASSWORD, Device, SshSession, cloud_management, soon, system};

const BOB: &str =
    "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>";
const OPERATOR: &str = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>operator</name>
    <user-name>bob</user-name></group></groups></nacm>"#;

/// What a command shows over SSH, and its exit status.
async fn over_ssh(device: &Device, user: &str, password: &str, command: &str) -> (String, u32) {
    let address = device.agent().ssh_addresses()[0];
    let ssh = SshSession::open(address, user, password).await.unwrap();
    soon(ssh.exec(command)).await
}

#[tokio::test]
async fn one_command_over_ssh_shows_what_it_shows_and_ends() {
    let device = Device::start().await;
    let (shown, status) = over_ssh(
        &device,
        "admin",
        ADMIN_PASSWORD,
        "dis cloud-management state",
    )
    .await;
    assert!(
        shown.starts_with("Cloud connection state   : Unconnected\n"),
        "{shown}"
    );
    assert_eq!((shown.lines().count(), status), (9, 0));
    let (shown, status) = over_ssh(&device, "admin", ADMIN_PASSWORD, "show version").await;
    assert_eq!(
        shown,
        "show version\n^\n% Unrecognized command found at '^' position.\n"
    );
    assert_eq!(status, 1);
    device.stop().await;
}

#[tokio::test]
async fn several_lines_are_one_session_whose_changes_bear_the_name_of_the_user() {
    let mut device = Device::start().await;
    let lines =
        "system-view\ncloud-management keepalive 60\ndis cu | inc keep\nquit\nquit\nsysname x";
    let (shown, status) = over_ssh(&device, "admin", ADMIN_PASSWORD, lines).await;
    assert_eq!(
        (shown.as_str(), status),
        (" cloud-management keepalive 60\n", 0)
    );
    let filter = r#"<device-management xmlns="urn:tether:yang:device-management"><commit><id>2</id></commit></device-management>"#;
    let commit = device.session.get(Some(filter)).await.unwrap();
    for part in [
        "<user>admin</user>",
        "<source-host>127.0.0.1</source-host>",
        ":netconf-ssh<",
    ] {
        assert!(commit.contains(part), "{part}: {commit}");
    }
    device.stop().await;
}

#[tokio::test]
async fn an_operator_over_ssh_reads_and_may_not_edit() {
    let mut device = Device::start().await;
    device.commit(&[&system(BOB), OPERATOR].concat()).await;
    let code = cloud_management("<unbinding-code>4711</unbinding-code>");
    device.commit(&code).await;
    let lines = "display current-configuration\nsystem-view\ncloud-management keepalive 60\nreturn\nreset cloud-management tunnel";
    let (shown, status) = over_ssh(&device, "bob", "secret", lines).await;
    assert_eq!(
        shown.matches("% user \"bob\" may not").count(),
        2,
        "{shown}"
    );
    assert!(!shown.contains("4711"), "{shown}");
    assert_eq!(status, 1);
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(!running.contains("keepalive"), "{running}");
    device.stop().await;
}

#[tokio::test]
async fn a_shell_over_ssh_is_the_command_line_on_a_terminal() {
    let device = Device::start().await;
    let address = device.agent().ssh_addresses()[0];
    let ssh = SshSession::open(address, "admin", ADMIN_PASSWORD)
        .await
        .unwrap();
    let mut shell = soon(ssh.shell(24, 80)).await;
    soon(shell.wait_for("<Device> ")).await;
    shell.send("sys\r").await;
    soon(shell.wait_for("[Device] ")).await;
    // Help on the spot, with the line still there behind it.
    shell.send("cloud-management server p?").await;
    let help = soon(shell.wait_for("server p")).await;
    assert!(help.is_ascii());
    let help = soon(shell.wait_for("[Device] ")).await;
    for line in ["  password  Password for", "  port      TCP port number"] {
        assert!(help.contains(line), "{line}: {help}");
    }
    shell.send("ort 8443\r").await;
    soon(shell.wait_for("[Device] ")).await;
    // Words and values are completed.
    shell.send("dis cur cl\t| inc port\r").await;
    soon(shell.wait_for(" cloud-management server port 8443")).await;
    soon(shell.wait_for("[Device] ")).await;
    // Ctrl-C throws the line away, Ctrl-Z goes back to user view.
    shell.send("no such command\u{3}").await;
    soon(shell.wait_for("[Device] ")).await;
    shell.send("\u{1a}").await;
    soon(shell.wait_for("<Device> ")).await;
    // A long output stops at the end of each page of the window as it is now.
    shell.resize(12, 80).await;
    shell.send("display current-configuration\r").await;
    let page = soon(shell.wait_for("---- More ----")).await;
    assert_eq!(
        page.lines().count(),
        13,
        "the command, 11 lines, and that there are more: {page}"
    );
    shell.send("q").await;
    soon(shell.wait_for("<Device> ")).await;
    shell.send("quit\r").await;
    assert_eq!(soon(shell.end()).await, Some(0));
    device.stop().await;
}

#[tokio::test]
async fn a_shell_whose_channel_closes_is_gone_with_its_session() {
    let mut device = Device::start().await;
    let address = device.agent().ssh_addresses()[0];
    let ssh = SshSession::open(address, "admin", ADMIN_PASSWORD)
        .await
        .unwrap();
    let mut shell = soon(ssh.shell(24, 80)).await;
    soon(shell.wait_for("<Device> ")).await;
    let filter = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions><session><session-id/></session></sessions></netconf-state>"#;
    let sessions = async |device: &mut Device| {
        let sessions = device.session.get(Some(filter)).await.unwrap();
        sessions.matches("<session>").count()
    };
    assert_eq!(sessions(&mut device).await, 3);
    drop(shell);
    drop(ssh);
    soon(async {
        while sessions(&mut device).await != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    device.stop().await;
}

#[tokio::test]
async fn the_program_takes_commands_as_arguments_and_on_standard_input() {
    let device = Device::start().await;
    let cli = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tether"));
        command
            .arg("cli")
            .arg("--socket")
            .arg(device.agent().socket());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    };
    let given = cli()
        .args([
            "-c",
            "sys",
            "-c",
            "sysname R1",
            "-c",
            "dis cu | inc ^.sysname",
        ])
        .output();
    let given = soon(given).await.unwrap();
    assert_eq!(String::from_utf8(given.stdout).unwrap(), " sysname R1\n");
    assert!(given.status.success());
    let mut child = cli().spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(b"# a script\nsys\nundo sysname\nbogus")
        .await
        .unwrap();
    drop(input);
    let done = soon(child.wait_with_output()).await.unwrap();
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(shown.starts_with("bogus\n^\n% Unrecognized"), "{shown}");
    assert_eq!(done.status.code(), Some(1));
    device.stop().await;
}
