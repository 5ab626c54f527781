//! Shells over SSH: the command line on a terminal, what is typed ahead of it, and its places.

use super::{BOB, OPERATOR, over_ssh};
use crate::support::{ADMIN_PASSWORD, Device, Shell, SshSession, soon, system};

/// A shell of `admin`, in user view.
async fn shell(device: &Device, rows: u32) -> (SshSession, Shell) {
    let address = device.agent().ssh_addresses()[0];
    let ssh = SshSession::open(address, "admin", ADMIN_PASSWORD).await;
    let ssh = ssh.unwrap();
    let mut shell = soon(ssh.shell(rows, 80)).await;
    soon(shell.wait_for("<Device> ")).await;
    (ssh, shell)
}

#[tokio::test]
async fn a_shell_over_ssh_is_the_command_line_on_a_terminal() {
    let device = Device::start().await;
    let (_ssh, mut shell) = shell(&device, 24).await;
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
    let (ssh, shell) = shell(&device, 24).await;
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
async fn a_configuration_that_is_pasted_is_done_to_its_last_line() {
    let mut device = Device::start().await;
    let (_ssh, mut shell) = shell(&device, 24).await;
    shell
        .send("system-view\rsysname PASTED\rip host pasted.example 10.9.9.9\rundo sys")
        .await;
    soon(shell.wait_for("[PASTED] ip host pasted.example 10.9.9.9\n")).await;
    // What is no line yet is there to be finished.
    soon(shell.wait_for("[PASTED] undo sys")).await;
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(running.contains("pasted.example"), "{running}");
    shell.send("name\r").await;
    soon(shell.wait_for("[Device] ")).await;
    // More than the terminal holds.
    let hosts =
        (0..150).map(|n| format!("ip host a-host-with-a-long-name-{n}.example 10.0.0.{n}\n"));
    shell.send(&hosts.collect::<String>()).await;
    soon(shell.wait_for("name-149.example 10.0.0.149\n")).await;
    soon(shell.wait_for("[Device] ")).await;
    let running = device.session.get_config("running", None).await.unwrap();
    assert_eq!(running.matches("a-host-with-a-long-name").count(), 150);
    device.stop().await;
}

#[tokio::test]
async fn what_was_typed_ahead_is_no_key_for_a_page() {
    let mut device = Device::start().await;
    let (_ssh, mut shell) = shell(&device, 8).await;
    shell
        .send("display current-configuration\rsystem-view\r sysname PASTED\rquit\rdisplay current-configuration\r")
        .await;
    let shown = soon(shell.wait_for("[PASTED] quit\n")).await;
    assert!(!shown.contains("More"), "{shown}");
    assert!(
        shown.contains("return\n<Device> system-view\n[Device]  sysname PASTED\n"),
        "{shown}"
    );
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(running.contains("PASTED"), "{running}");
    // Behind the last one nothing was typed: it stops at its pages.
    soon(shell.wait_for("<PASTED> display current-configuration\n")).await;
    let page = soon(shell.wait_for("---- More ----")).await;
    assert_eq!(page.lines().count(), 8, "{page}");
    shell.send("q").await;
    soon(shell.wait_for("<PASTED> ")).await;
    device.stop().await;
}

#[tokio::test]
async fn a_shell_whose_session_is_ended_says_so_and_ends() {
    let device = Device::start().await;
    let (_ssh, mut shell) = shell(&device, 24).await;
    shell.send("display netconf ses").await;
    soon(shell.wait_for("display netconf ses")).await;
    // Behind that of the device and the first of the connection.
    let session = device.session.session_id() + 2;
    let (shown, status) = over_ssh(
        &device,
        "admin",
        ADMIN_PASSWORD,
        &format!("free netconf session {session}"),
    )
    .await;
    assert_eq!((shown.as_str(), status), ("", 0));
    soon(shell.wait_for("\ntether: the device has ended the session: another user has freed it"))
        .await;
    assert_eq!(soon(shell.end()).await, Some(1));
    device.stop().await;
}

#[tokio::test]
async fn one_user_leaves_shells_to_the_others() {
    let mut device = Device::start().await;
    device.commit(&[&system(BOB), OPERATOR].concat()).await;
    let bob = device.ssh("bob", "secret").await;
    let mut shells = Vec::new();
    for _ in 0..8 {
        let mut shell = bob.shell(24, 80).await;
        soon(shell.wait_for("<Device> ")).await;
        shells.push(shell);
    }
    let mut more = bob.shell(24, 80).await;
    soon(more.wait_for(
        "% too many command lines at a time (8 of one user, 32 in all); try again later\n",
    ))
    .await;
    assert_eq!(soon(more.end()).await, Some(1));
    let (_ssh, _shell) = shell(&device, 24).await;
    device.stop().await;
}

#[tokio::test]
async fn a_client_that_types_no_more_sees_all_that_he_has_asked_for() {
    let mut device = Device::start().await;
    let (_ssh, mut shell) = shell(&device, 8).await;
    // A page waits for nobody, and a line without an end is one.
    shell
        .send("system-view\rdisplay current-configuration\rsysname LAST")
        .await;
    shell.eof().await;
    let shown = soon(shell.wait_for("sysname LAST\n")).await;
    assert!(shown.contains("return\n[Device] sysname LAST\n"), "{shown}");
    assert_eq!(soon(shell.end()).await, Some(0));
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(running.contains("LAST"), "{running}");
    device.stop().await;
}

#[tokio::test]
async fn what_is_typed_before_the_shell_runs_waits_for_it_with_its_end() {
    let device = Device::start().await;
    let ssh = device.ssh("admin", ADMIN_PASSWORD).await;
    let mut shell = soon(ssh.shell(24, 80)).await;
    shell.send("display netconf sessions").await;
    shell.eof().await;
    soon(shell.wait_for("Login time")).await;
    assert_eq!(soon(shell.end()).await, Some(0));
    device.stop().await;
}

#[tokio::test]
async fn a_client_reads_why_it_is_not_served() {
    let mut device = Device::start().await;
    let limits = r#"<device-management xmlns="urn:tether:yang:device-management"><limits><sessions-per-user>2</sessions-per-user></limits></device-management>"#;
    device.commit(limits).await;
    let address = device.agent().ssh_addresses()[0];
    let why = "the device lets in no further session: there are too many, or too many of this user";
    let ssh = SshSession::open(address, "admin", ADMIN_PASSWORD).await;
    let mut shell = soon(ssh.unwrap().shell(24, 80)).await;
    soon(shell.wait_for(why)).await;
    assert_eq!(soon(shell.end()).await, Some(1));
    let (shown, status) =
        over_ssh(&device, "admin", ADMIN_PASSWORD, "display netconf sessions").await;
    assert!(shown.starts_with(&format!("% {why}")), "{shown}");
    assert_eq!(status, 1);
    // A line that has no end is not done.
    device.commit(&limits.replace('2', "9")).await;
    let long = format!("system-view\nsysname x{}", " ".repeat(70_000));
    let (shown, status) = over_ssh(&device, "admin", ADMIN_PASSWORD, &long).await;
    assert_eq!(
        (shown.as_str(), status),
        (
            "% line 2 is longer than 65536 octets: nothing of it is done\n",
            1
        )
    );
    device.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_keep_its_place() {
    let mut device = Device::start().await;
    let limits = r#"<device-management xmlns="urn:tether:yang:device-management"><limits><write-timeout>1</write-timeout></limits></device-management>"#;
    device.commit(limits).await;
    let address = device.agent().ssh_addresses()[0];
    let admin = ("admin", ADMIN_PASSWORD);
    let deaf = SshSession::deaf(address, admin, "display current-configuration");
    // The exit status needs no window.
    assert_eq!(soon(deaf).await, Some(1));
    device.stop().await;
}
