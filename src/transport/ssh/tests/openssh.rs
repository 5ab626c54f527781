//! The real OpenSSH client against port 0. Skipped where it is not installed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use russh::keys::PublicKey;

use super::*;

/// One run of `ssh -s … netconf`: what it needs to know about the server, and where it keeps it.
struct OpenSsh {
    home: tempfile::TempDir,
    port: u16,
}

impl OpenSsh {
    async fn for_server(stage: &Stage) -> Option<Self> {
        if !Path::new("/usr/bin/ssh").exists() {
            return None;
        }
        let (ports, _running) = stage.listen(&["127.0.0.1:0"]).await;
        let port = ports[0];
        let home = tempfile::tempdir().unwrap();
        let known = format!("[127.0.0.1]:{port} {}\n", stage.host_key.public());
        std::fs::write(home.path().join("known_hosts"), known).unwrap();
        // OpenSSH takes a password from a program when it has no terminal.
        let askpass = home.path().join("askpass");
        std::fs::write(&askpass, "#!/bin/sh\necho \"$PASSWORD\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&askpass, mode).unwrap();
        Some(Self { home, port })
    }

    fn make_key(&self, kind: &str, bits: &str) -> UserEntry {
        let path = self.home.path().join("key");
        let _ = std::fs::remove_file(&path);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-b", bits, "-N", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let key = PublicKey::from_openssh(&public).unwrap();
        UserEntry {
            authorized_keys: vec![(key.algorithm().to_string(), key.to_bytes().unwrap())],
            ..user("alice")
        }
    }

    async fn run(&self, options: &[&str], password: &str, input: &str) -> Output {
        let known = self.home.path().join("known_hosts");
        let mut ssh = Command::new("/usr/bin/ssh")
            .args(["-F", "none", "-p", &self.port.to_string(), "-l", "alice"])
            .args(["-o", &format!("UserKnownHostsFile={}", known.display())])
            .args([
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "IdentitiesOnly=yes",
            ])
            .args(["-o", "ConnectTimeout=10", "-o", "NumberOfPasswordPrompts=2"])
            .args(options)
            .args(["-s", "127.0.0.1", "netconf"])
            .env("SSH_ASKPASS", self.home.path().join("askpass"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("PASSWORD", password)
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = ssh.stdin.take().unwrap();
        let input = input.to_owned();
        // A refused client has closed its end.
        std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let ended = tokio::task::spawn_blocking(move || ssh.wait_with_output());
        soon(ended).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn openssh_logs_in_with_a_password_and_ends_with_status_0() {
    let stage = Stage::new(echo());
    let Some(ssh) = OpenSsh::for_server(&stage).await else {
        return;
    };
    let output = ssh
        .run(&["-o", "PubkeyAuthentication=no"], "secret", "hello")
        .await;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "hello",
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn openssh_carries_much_in_both_directions() {
    let stage = Stage::new(echo());
    let Some(ssh) = OpenSsh::for_server(&stage).await else {
        return;
    };
    let much = "0123456789abcdef".repeat(1 << 20);
    let output = ssh
        .run(&["-o", "PubkeyAuthentication=no"], "secret", &much)
        .await;
    assert!(
        output.stdout == much.as_bytes(),
        "{} octets",
        output.stdout.len()
    );
}

#[tokio::test]
async fn openssh_logs_in_with_keys_of_every_kind() {
    let stage = Stage::new(echo());
    let Some(ssh) = OpenSsh::for_server(&stage).await else {
        return;
    };
    let kinds = [
        ("ed25519", "256"),
        ("ecdsa", "256"),
        ("ecdsa", "384"),
        ("ecdsa", "521"),
        ("rsa", "2048"),
    ];
    for (kind, bits) in kinds {
        let alice = ssh.make_key(kind, bits);
        stage.users.send_replace(Arc::new(Users::new(&[alice])));
        let key = format!("IdentityFile={}", ssh.home.path().join("key").display());
        let options = ["-o", &key, "-o", "PasswordAuthentication=no"];
        let output = ssh.run(&options, "", kind).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), kind, "{output:?}");
    }
}

#[tokio::test]
async fn openssh_is_refused_with_a_wrong_password() {
    let stage = Stage::new(echo());
    let Some(ssh) = OpenSsh::for_server(&stage).await else {
        return;
    };
    let output = ssh
        .run(&["-o", "PubkeyAuthentication=no"], "wrong", "")
        .await;
    assert_eq!(output.status.code(), Some(255));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("Permission denied"), "{error}");
    assert_eq!(stage.server.counters().failed_logins(), 2);
}
