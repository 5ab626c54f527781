//! The command line over SSH, and `tether cli` as a program.

mod terminal;

use std::process::Stdio;

use tether::cli::grammar::{COMMANDS, Command, Does, Show, View};
use tether::cli::session::Answer;
use tokio::io::AsyncWriteExt;
use tokio::process;

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
    for refused in [
        "display current-configuration\nsystem-view\ncloud-management keepalive 60",
        "reset cloud-management tunnel",
    ] {
        let (shown, status) = over_ssh(&device, "bob", "secret", refused).await;
        assert!(shown.contains("% user \"bob\" may not"), "{shown}");
        assert!(!shown.contains("4711"), "{shown}");
        assert_eq!(status, 1);
    }
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(!running.contains("keepalive"), "{running}");
    device.stop().await;
}

/// A value for each name of the syntax.
fn sample(name: &str) -> &'static str {
    match name {
        "commit-id" | "session-id" | "number" => "1",
        "interval" => "60",
        "port-number" => "8443",
        "ip-address" => "10.1.1.1",
        _ => "name.example",
    }
}

/// A command without what may be left out, and with the last of what may be chosen.
fn typed(command: &Command) -> String {
    let without = regex::Regex::new(r" \[ .*").unwrap();
    let chosen = regex::Regex::new(r"\{.*\| (.*) \}").unwrap();
    let value = regex::Regex::new(r"<([^>]+)>").unwrap();
    let line = without.replace(command.syntax, "");
    let line = chosen.replace(&line, "$1").into_owned();
    let filled = value.replace_all(&line, |name: &regex::Captures<'_>| sample(&name[1]));
    filled.into_owned()
}

#[tokio::test]
async fn an_operator_is_denied_each_command_that_edits_or_orders_something() {
    let mut device = Device::start().await;
    device.commit(&[&system(BOB), OPERATOR].concat()).await;
    let before = device.session.get_config("running", None).await.unwrap();
    let denied = COMMANDS.iter().filter(|command| match command.does {
        Does::Show(what) => what == Show::LogBuffer,
        Does::Enter(_) | Does::Quit | Does::Return | Does::Save => false,
        _ => command.views != [View::Exclusive],
    });
    let (in_user, in_system): (Vec<_>, Vec<_>) =
        denied.partition(|command| command.views.contains(&View::User));
    let ssh = device.ssh("bob", "secret").await;
    let in_system = in_system.iter().map(|command| (command, "system-view\n"));
    let in_user = in_user.iter().map(|command| (command, ""));
    let mut tried = 0;
    for (command, view) in in_user.chain(in_system) {
        let mut script = ssh.script().await;
        script.send(&format!("{view}{}", typed(command))).await;
        script.eof().await;
        soon(script.wait_for("% user \"bob\" may not")).await;
        assert_eq!(soon(script.end()).await, Some(1), "{}", command.syntax);
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
    let after = device.session.get_config("running", None).await.unwrap();
    assert_eq!(before, after);
    device.stop().await;
}

#[tokio::test]
async fn what_is_edited_on_the_command_line_is_told_with_the_name_of_the_user() {
    let mut device = Device::start().await;
    let carol = system(
        "<authentication><user><name>carol</name><password>$0$secret</password></user></authentication>",
    );
    let admins = OPERATOR
        .replace("operator", "admin")
        .replace("bob", "carol");
    device.commit(&[carol, admins].concat()).await;
    let mut listener = device.open().await;
    let subscribe =
        r#"<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>"#;
    listener.rpc(subscribe).await.unwrap();
    let mut local = tether::cli::connect(device.agent().socket()).await.unwrap();
    for line in ["system-view", "cloud-management keepalive 60"] {
        let answer = soon(local.line(line, 0)).await.unwrap();
        assert_eq!(answer, Answer::Done(String::new()));
    }
    let exclusive = "configure exclusive\nsysname R1\ncommit";
    for (script, user, leaf) in [
        ("", "admin", "keepalive-interval"),
        ("system-view\nsysname R2", "carol", "hostname"),
        (exclusive, "carol", "hostname"),
    ] {
        if !script.is_empty() {
            let (shown, status) = over_ssh(&device, user, "secret", script).await;
            assert_eq!((shown.as_str(), status), ("", 0));
        }
        let told = soon(async {
            loop {
                let event = listener.notification().await.unwrap();
                if event.contains("<netconf-config-change") && !event.contains("<datastore>") {
                    return event;
                }
            }
        })
        .await;
        assert!(
            told.contains(&format!("<username>{user}</username>")),
            "{told}"
        );
        assert!(told.contains(leaf), "{told}");
    }
    device.stop().await;
}

#[tokio::test]
async fn what_is_displayed_can_be_typed_again_on_another_device() {
    let mut device = Device::start().await;
    let server = "<server><domain>cloud.example.com</domain><vpn-instance>a b</vpn-instance><port>8443</port>\
        <ipv6><domain>2001:db8::1</domain><source-ip>2001:db8::2</source-ip></ipv6></server>";
    let rest = "<backup-server><address-family>ipv4</address-family><domain>b.example.com</domain><port>1</port>\
        <source-ip>10.0.0.1</source-ip></backup-server><keepalive-interval>60</keepalive-interval>\
        <unbinding-code>a \"b\"\\ c?\u{85}|\n#</unbinding-code>";
    device.commit_cloud(&[server, rest].concat()).await;
    let host = "<dns-resolver><host xmlns=\"urn:tether:yang:device-hosts\"><name>cloud.example.com</name>\
        <address>10.1.1.1</address></host></dns-resolver>";
    let name = format!("<hostname>{}.example.com</hostname>", "r".repeat(60));
    device.commit(&system(&[host, &name].concat())).await;
    let mut other = Device::start().await;
    let (shown, status) = over_ssh(
        &device,
        "admin",
        ADMIN_PASSWORD,
        "display current-configuration",
    )
    .await;
    assert_eq!(status, 0);
    let (typed, status) = over_ssh(
        &other,
        "admin",
        ADMIN_PASSWORD,
        &format!("system-view\n{shown}"),
    )
    .await;
    assert_eq!((typed.as_str(), status), ("", 0));
    let cloud = cloud_management("");
    let own = device
        .session
        .get_config("running", Some(&cloud))
        .await
        .unwrap();
    assert!(own.contains("unbinding-code"), "{own}");
    assert_eq!(
        own,
        other
            .session
            .get_config("running", Some(&cloud))
            .await
            .unwrap()
    );
    let (again, _) = over_ssh(
        &other,
        "admin",
        ADMIN_PASSWORD,
        "display current-configuration",
    )
    .await;
    let commands = |text: &str| text.split("# No command").next().unwrap().to_owned();
    assert_eq!(commands(&again), commands(&shown));
    device.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn nothing_that_a_manager_has_written_reaches_a_terminal_as_a_control_sequence() {
    let mut device = Device::start().await;
    let hostile = "x\u{9b}2J\u{202e}\n9  2019-01-27 14:18:40  admin";
    let commit = format!(
        "<edit-config><target><running/></target><config>{}</config>\
         <comment xmlns=\"urn:tether:yang:device-management\">{hostile}</comment></edit-config>",
        system("<contact>\u{9b}31m</contact><location>\u{85}there</location>")
    );
    device.session.rpc(&commit).await.unwrap();
    let all: Vec<_> = COMMANDS
        .iter()
        .filter(|command| matches!(command.does, Does::Show(_)) && command.views.len() == 3)
        .map(|command| typed(command).replace("commit 1", "commit 2"))
        .collect();
    let (shown, _) = over_ssh(&device, "admin", ADMIN_PASSWORD, &all.join("\n")).await;
    let is_control = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!shown.contains(is_control), "{shown:?}");
    let comment = r"x\u{9b}2J\u{202e}\n9  2019-01-27 14:18:40  admin";
    assert_eq!(
        shown.matches(comment).count(),
        2,
        "in the list and by itself: {shown}"
    );
    // What the operator himself has typed is shown again where it is wrong.
    let (shown, _) = over_ssh(&device, "admin", ADMIN_PASSWORD, "display \u{1b}]0;x\u{7}").await;
    assert!(shown.starts_with(r"display \u{1b}]0;x\u{7}"), "{shown:?}");
    device.stop().await;
}

#[tokio::test]
async fn a_script_stops_at_its_first_failure() {
    let mut device = Device::start().await;
    device.session.lock("candidate").await.unwrap();
    let lines = "system-view\nconfigure exclusive\nsysname HAZARD\n# a comment\n\nip host a.example 10.0.0.1\ncommit";
    let (shown, status) = over_ssh(&device, "admin", ADMIN_PASSWORD, lines).await;
    let shown: Vec<_> = shown.lines().collect();
    assert!(shown[0].contains("lock"), "{shown:?}");
    assert_eq!(
        shown[1..],
        ["% Stopped: 3 more commands were not done."],
        "{shown:?}"
    );
    assert_eq!(status, 1);
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(!running.contains("HAZARD"), "{running}");
    device.session.unlock("candidate").await.unwrap();
    // Also one that has got the lock: nothing of it is committed.
    let lines =
        "system-view\nconfigure exclusive\nsysname HAZARD\nip host a.example 10.0.0.256\ncommit";
    let (shown, status) = over_ssh(&device, "admin", ADMIN_PASSWORD, lines).await;
    assert!(
        shown.ends_with("% Stopped: 1 more command was not done.\n"),
        "{shown}"
    );
    assert_eq!(status, 1);
    for datastore in ["running", "candidate"] {
        let config = device.session.get_config(datastore, None).await.unwrap();
        assert!(!config.contains("HAZARD"), "{datastore}: {config}");
    }
    device.stop().await;
}

#[tokio::test]
async fn the_program_takes_commands_as_arguments_and_on_standard_input() {
    let device = Device::start().await;
    let cli = || {
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_tether"));
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

#[tokio::test]
async fn command_lines_have_a_bound_and_half_a_line_is_never_done() {
    let mut device = Device::start().await;
    let admin = device.ssh("admin", ADMIN_PASSWORD).await;
    let other = device.ssh("admin", ADMIN_PASSWORD).await;
    let mut scripts = Vec::new();
    for _ in 0..16 {
        let mut script = admin.script().await;
        let lines = "system-view\ndisplay cloud-management state | include Device\n";
        script.send(lines).await;
        soon(script.wait_for("Device state")).await;
        scripts.push(script);
    }
    let mut more = other.script().await;
    soon(more.wait_for("% too many command lines at a time (16 of one user, 32 in all)")).await;
    assert_eq!(soon(more.end()).await, Some(1));
    // A client that is cut off in the middle of a line has not said what it wants.
    scripts[0].send("cloud-management keepalive 60").await;
    drop(scripts);
    drop((admin, other));
    let filter = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions><session><session-id/></session></sessions></netconf-state>"#;
    soon(async {
        loop {
            let sessions = device.session.get(Some(filter)).await.unwrap();
            if sessions.matches("<session>").count() == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(!running.contains("keepalive"), "{running}");
    device.stop().await;
}
