//! ietf-system (RFC 7317) and ietf-hardware (RFC 8348): what the device says of itself, what it holds, what it does.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tempfile::TempDir;
use tether::agent::options::Options;
use tether::protocol::xml::Document;

use crate::support::{ADMIN_PASSWORD, PATIENCE, Plain, SERIAL, options, refused, system};

const SYSTEM: &str = "urn:ietf:params:xml:ns:yang:ietf-system";
const HARDWARE: &str = "urn:ietf:params:xml:ns:yang:ietf-hardware";

async fn start(options: impl FnOnce(Options) -> Options) -> Plain {
    let directory = TempDir::new().unwrap();
    let options = options(self::options(directory.path()));
    Plain::start_in(directory, options).await.unwrap()
}

/// The text of the first element of this name.
fn leaf(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0.to_owned())
}

fn rpc(name: &str, content: &str) -> String {
    format!("<{name} xmlns=\"{SYSTEM}\">{content}</{name}>")
}

#[tokio::test]
async fn the_clock_and_the_platform_are_those_of_the_machine() {
    let mut device = start(|options| options).await;
    let filter = format!("<system-state xmlns=\"{SYSTEM}\"/>");
    let before = SystemTime::now() - Duration::from_secs(1);
    let state = device.session.get(Some(&filter)).await.unwrap();
    let after = SystemTime::now();
    let time = |name: &str| -> DateTime<Utc> { leaf(&state, name).unwrap().parse().unwrap() };
    let now = SystemTime::from(time("current-datetime"));
    assert!(before <= now && now <= after, "{state}");
    assert!(time("boot-datetime") <= time("current-datetime"));
    let kernel = nix::sys::utsname::uname().unwrap();
    for (name, expected) in [
        ("os-name", kernel.sysname()),
        ("os-release", kernel.release()),
        ("os-version", kernel.version()),
        ("machine", kernel.machine()),
    ] {
        let shown = Document::parse(state.as_bytes(), 16).unwrap();
        let platform = shown
            .root()
            .children()
            .find(|child| child.name() == "platform");
        let platform = platform.unwrap();
        let found = platform.children().find(|child| child.name() == name);
        assert_eq!(
            found.unwrap().leaf_text().unwrap(),
            expected.to_str().unwrap()
        );
    }
    device.stop().await;
}

#[tokio::test]
async fn the_chassis_bears_the_serial_number_that_was_given() {
    let mut device = start(|options| options).await;
    let filter = format!(
        "<hardware xmlns=\"{HARDWARE}\"><component><name>chassis</name></component></hardware>"
    );
    let shown = device.session.get(Some(&filter)).await.unwrap();
    assert_eq!(leaf(&shown, "serial-num").as_deref(), Some(SERIAL));
    assert!(shown.contains(":chassis</class>"), "{shown}");
    device.stop().await;
}

#[tokio::test]
async fn names_resolvers_and_users_are_held_across_a_restart() {
    let mut device = start(|options| options).await;
    let servers = "<dns-resolver><search>a.example</search><search>b.example</search>\
        <server><name>one</name><udp-and-tcp><address>192.0.2.1</address><port>5353</port></udp-and-tcp></server></dns-resolver>";
    let clock = "<clock><timezone-name>Europe/Berlin</timezone-name></clock>";
    let names =
        "<contact>ops@example.net</contact><hostname>edge-1</hostname><location>rack 7</location>";
    let user = "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>";
    device
        .commit(&system(&[names, clock, servers, user].concat()))
        .await;
    let directory = device.stop().await;
    let options = options(directory.path());
    let mut device = Plain::start_in(directory, options).await.unwrap();
    let filter = system("");
    let shown = device
        .session
        .get_config("running", Some(&filter))
        .await
        .unwrap();
    for part in [names, clock, servers] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("secret"), "{shown}");
    let hash = shown.split("<name>bob</name><password>").nth(1).unwrap();
    assert!(hash.starts_with("$6$"), "{hash}");
    device.stop().await;
}

#[tokio::test]
async fn values_that_the_models_refuse_are_refused() {
    let mut device = start(|options| options).await;
    for (content, tag) in [
        ("<hostname>no host</hostname>", "invalid-value"),
        (
            "<clock><timezone-utc-offset>1501</timezone-utc-offset></clock>",
            "invalid-value",
        ),
        ("<ntp/>", "unknown-element"),
        ("<radius/>", "unknown-element"),
        (
            "<dns-resolver><server><name>x</name></server></dns-resolver>",
            "data-missing",
        ),
    ] {
        let answer = match device
            .session
            .edit_config("candidate", &system(content))
            .await
        {
            Ok(()) => device.session.commit().await,
            refused => refused,
        };
        assert_eq!(refused(answer)[0].tag, tag, "{content}");
        device.session.discard_changes().await.unwrap();
    }
    device.stop().await;
}

#[tokio::test]
async fn without_a_command_the_system_is_neither_restarted_nor_shut_down_and_its_clock_not_set() {
    let mut device = start(|options| options).await;
    for call in [
        rpc("system-restart", ""),
        rpc("system-shutdown", ""),
        rpc(
            "set-current-datetime",
            "<current-datetime>2026-01-01T00:00:00Z</current-datetime>",
        ),
    ] {
        let errors = refused(device.session.rpc(&call).await);
        assert_eq!(errors[0].tag, "operation-not-supported", "{call}");
    }
    let wrong = rpc(
        "set-current-datetime",
        "<current-datetime>noon</current-datetime>",
    );
    assert_eq!(
        refused(device.session.rpc(&wrong).await)[0].tag,
        "invalid-value"
    );
    device.stop().await;
}

#[tokio::test]
async fn a_restart_runs_the_configured_command_for_those_who_may() {
    let folder = TempDir::new().unwrap();
    let sign = folder.path().join("restarted");
    let command = ["touch", sign.to_str().unwrap()].map(str::to_owned);
    let mut device = start(|options| Options {
        restart_command: command.into(),
        ..options
    })
    .await;
    let user = "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>";
    device.commit(&system(user)).await;
    let mut bob = device.ssh("bob", "secret").await;
    let errors = refused(bob.session.rpc(&rpc("system-restart", "")).await);
    assert_eq!(errors[0].tag, "access-denied");
    assert!(!sign.exists());
    let mut admin = device.ssh("admin", ADMIN_PASSWORD).await;
    admin.session.rpc(&rpc("system-restart", "")).await.unwrap();
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !sign.exists() {
        pace.tick().await;
        assert!(tokio::time::Instant::now() < until, "the command never ran");
    }
    device.stop().await;
}
