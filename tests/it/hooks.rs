//! The hooks for DHCP clients: what each client was seen to hand over (busybox udhcpc 1.35, dhclient 4.4.3, dhcpcd 9.4.1,
//! systemd-networkd 252) is what the agent is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Characters that shells and clients like to change.
const PASSWORD: &str = r#"by'dhcp \"$x` 7"#;

/// A password as the sequence of its octets in decimal.
fn decimal(text: &str) -> String {
    let octets: Vec<String> = text.bytes().map(|octet| octet.to_string()).collect();
    octets.join(" ")
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|octet| format!("{octet:02x}")).collect()
}

/// Runs a script, or has it read as the scripts of some clients read theirs; what `tether` was called with, and what
/// came on its standard input.
fn told(hook: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Option<(String, String)> {
    let directory = TempDir::new().unwrap();
    let place = directory.path();
    let executable = |name: &str, text: &str| {
        let path = place.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    executable(
        "tether",
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >\"$TOLD\"/arguments\ncase \"$*\" in *--password-stdin) cat >\"$TOLD\"/password ;; esac\n",
    );
    fs::create_dir(place.join("leases")).unwrap();
    let lease = format!(
        "ADDRESS=192.0.2.7\nOPTION_252={}\nOPTION_253={}\n",
        hexadecimal(PASSWORD),
        hexadecimal("cloud.example")
    );
    // The loopback interface is number 1 everywhere.
    fs::write(place.join("leases/1"), lease).unwrap();
    let own = executable("default.script", "#!/bin/sh\nexit 0\n");
    let hook = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/hooks")
        .join(hook);
    let is_read = fs::metadata(&hook).unwrap().permissions().mode() & 0o111 == 0;
    let mut shell = Command::new("sh");
    match is_read {
        true => shell.args(["-ec", ". \"$0\""]),
        false => &mut shell,
    };
    let path = format!("{}:{}", place.display(), std::env::var("PATH").unwrap());
    let ran = shell
        .arg(&hook)
        .args(arguments)
        .env("PATH", path)
        .env("TOLD", place);
    let ran = ran
        .env("UDHCPC_SCRIPT", own)
        .env("TETHER_LEASES", place.join("leases"));
    let status = ran.envs(environment.iter().copied()).status().unwrap();
    assert!(status.success(), "{status}");
    let arguments = fs::read_to_string(place.join("arguments")).ok()?;
    let password = fs::read_to_string(place.join("password")).unwrap_or_default();
    Some((arguments.trim_end().to_owned(), password))
}

fn both(interface: &str) -> Option<(String, String)> {
    let arguments = format!("dhcp-event {interface} --domain=cloud.example --password-stdin");
    Some((arguments, PASSWORD.to_owned()))
}

fn neither(interface: &str) -> Option<(String, String)> {
    let arguments = format!("dhcp-event {interface} --domain= --password-stdin");
    Some((arguments, String::new()))
}

fn lost(interface: &str) -> Option<(String, String)> {
    Some((format!("dhcp-event {interface}"), String::new()))
}

#[test]
fn udhcpc_names_one_option_and_gives_the_other_in_hexadecimal() {
    let domain = hexadecimal("cloud.example");
    let values = [
        ("interface", "eth0"),
        ("wpad", PASSWORD),
        ("opt253", domain.as_str()),
    ];
    assert_eq!(told("udhcpc", &["bound"], &values), both("eth0"));
    assert_eq!(told("udhcpc", &["renew"], &values), both("eth0"));
    let none = [("interface", "eth0")];
    assert_eq!(told("udhcpc", &["renew"], &none), neither("eth0"));
    assert_eq!(told("udhcpc", &["deconfig"], &none), lost("eth0"));
    assert_eq!(told("udhcpc", &["nak"], &none), None);
}

#[test]
fn dhclient_gives_octets_in_decimal() {
    let (domain, password) = (decimal("cloud.example"), decimal(PASSWORD));
    let with = |reason: &str| {
        let values = [
            ("interface", "eth0"),
            ("reason", reason),
            ("new_cloud_domain", domain.as_str()),
            ("new_cloud_password", password.as_str()),
        ];
        told("dhclient", &[], &values)
    };
    for reason in ["BOUND", "RENEW", "REBIND", "REBOOT"] {
        assert_eq!(with(reason), both("eth0"), "{reason}");
    }
    for reason in ["EXPIRE", "FAIL", "RELEASE", "STOP"] {
        assert_eq!(with(reason), lost("eth0"), "{reason}");
    }
    assert_eq!(with("PREINIT"), None);
    let none = [("interface", "eth0"), ("reason", "RENEW")];
    assert_eq!(told("dhclient", &[], &none), neither("eth0"));
}

#[test]
fn dhcpcd_gives_text() {
    let with = |reason: &str| {
        let values = [
            ("interface", "eth0"),
            ("reason", reason),
            ("new_cloud_domain", "cloud.example"),
            ("new_cloud_password", PASSWORD),
        ];
        told("dhcpcd", &[], &values)
    };
    assert_eq!(with("BOUND"), both("eth0"));
    assert_eq!(with("EXPIRE"), lost("eth0"));
    assert_eq!(with("CARRIER"), None);
    let none = [("interface", "eth0"), ("reason", "REBIND")];
    assert_eq!(told("dhcpcd", &[], &none), neither("eth0"));
}

#[test]
fn the_lease_of_networkd_has_both_in_hexadecimal() {
    assert_eq!(told("networkd", &["lo"], &[]), both("lo"));
    assert_eq!(told("networkd", &[], &[("IFACE", "lo")]), both("lo"));
    let no_lease = [("TETHER_LEASES", "/nonexistent")];
    assert_eq!(told("networkd", &["lo"], &no_lease), lost("lo"));
}
