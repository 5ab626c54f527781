//! The network of the device as it changes: with links of the test's own, in a network namespace of its own.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;

use tether::model::network::Network;
use tether::netlink::watcher;
use tokio::sync::watch;

use crate::support::soon;

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "TETHER_TEST_IN_A_NAMESPACE";

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split_whitespace())
        .status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

/// Runs the test of this name once more, in a network namespace of its own, where there is one to be had.
fn again_inside(test: &str) {
    let probe = Command::new("unshare")
        .args(["--net", "ip", "link"])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network namespaces, or no `ip`, here");
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let mut inside = Command::new("unshare");
    inside
        .arg("--net")
        .arg(itself)
        .args(["--exact", test, "--nocapture"]);
    let output = inside.env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn until(
    network: &mut watch::Receiver<Arc<Network>>,
    wanted: impl Fn(&Network) -> bool,
) -> Arc<Network> {
    let reached = soon(network.wait_for(|network| wanted(network))).await;
    reached.unwrap().clone()
}

#[test]
fn links_addresses_and_routes_are_seen_as_they_come_and_go() {
    if std::env::var_os(INSIDE).is_none() {
        again_inside("network::links_addresses_and_routes_are_seen_as_they_come_and_go");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(comings_and_goings());
}

async fn comings_and_goings() {
    // Routes of IPv6 would come when they like.
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    let (stop, stopped) = watch::channel(false);
    let (mut network, task) = watcher::start(stopped);
    let near = IpAddr::from([192, 0, 2, 7]);
    let has = |name: &'static str| move |network: &Network| network.interfaces.contains_key(name);

    until(&mut network, has("lo")).await;
    ip("link add up0 address 02:00:00:00:00:07 type veth peer name far0");
    let seen = until(&mut network, has("up0")).await;
    let up0 = &seen.interfaces["up0"];
    assert_eq!(up0.hardware_address, Some([2, 0, 0, 0, 0, 7]));
    assert!(!up0.is_running && up0.addresses.is_empty(), "{up0:?}");

    ip("address add 192.0.2.7/24 dev up0");
    let seen = until(&mut network, |network| network.has_address(near)).await;
    assert!(!seen.interfaces["up0"].is_running);

    ip("link set far0 up");
    ip("link set up0 up");
    let seen = until(&mut network, |network| network.interfaces["up0"].is_running).await;
    ip("route add 198.51.100.0/24 via 192.0.2.1");
    let more = |routes: u64| move |network: &Network| network.route_changes > routes;
    let seen = until(&mut network, more(seen.route_changes)).await;
    ip("route del 198.51.100.0/24");
    until(&mut network, more(seen.route_changes)).await;

    // The far end goes down, and with it the carrier.
    ip("link set far0 down");
    until(&mut network, |network| {
        !network.interfaces["up0"].is_running
    })
    .await;
    ip("address del 192.0.2.7/24 dev up0");
    until(&mut network, |network| !network.has_address(near)).await;
    // A bridge stands for the device of a VRF, which not every kernel has.
    ip("link add red type bridge");
    until(&mut network, has("red")).await;
    ip("link del up0");
    until(&mut network, |network| {
        !network.interfaces.contains_key("up0")
    })
    .await;

    stop.send(true).unwrap();
    soon(task).await.unwrap();
}
