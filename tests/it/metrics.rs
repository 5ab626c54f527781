//! The metrics of an agent. What is measured is kept for the whole process, so there is one test of it, and it asks for no
//! more than what this device has done. What services carry is their agent's own (`services.rs`).

use tether::sim::cloud::What;

use crate::support::Device;

/// The value of the sample that begins so.
fn value(lines: &[String], sample: &str) -> f64 {
    let mut found = lines.iter().filter_map(|line| line.strip_prefix(sample));
    let value = found.next();
    let value = value.unwrap_or_else(|| panic!("no {sample}: {lines:#?}"));
    value.trim().parse().unwrap()
}

#[tokio::test]
async fn a_device_tells_prometheus_of_its_tunnel_sessions_commits_and_subscriptions() {
    let mut device = Device::connected().await.measured().await;
    let subscribe = r#"<establish-subscription xmlns="urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications"><stream>NETCONF</stream></establish-subscription>"#;
    device.session.rpc(subscribe).await.unwrap();
    device
        .commit_cloud("<keepalive-interval>60</keepalive-interval>")
        .await;
    device.session.notification().await.unwrap();

    let lines = device.metrics().await;
    let at_least = |sample: &str, least: f64| {
        let value = value(&lines, sample);
        assert!(value >= least, "{sample}: {value}");
    };
    assert!((value(&lines, "tether_tunnel_established ") - 1.0).abs() < f64::EPSILON);
    for (sample, least) in [
        (r#"tether_tunnel_state{state="request-success"} "#, 1.0),
        ("tether_tunnel_establishments_total ", 1.0),
        (
            r#"tether_tunnel_step_duration_seconds_count{state="connecting"} "#,
            1.0,
        ),
        (
            r#"tether_subconnection_octets_total{service="telemetry",direction="out"} "#,
            1.0,
        ),
        (r#"tether_netconf_sessions{transport="local"} "#, 1.0),
        (
            r#"tether_netconf_rpcs_total{operation="edit-config",outcome="ok"} "#,
            1.0,
        ),
        (
            r#"tether_netconf_rpc_duration_seconds_bucket{operation="commit",le="+Inf"} "#,
            1.0,
        ),
        (
            r#"tether_commit_duration_seconds_count{phase="prepare"} "#,
            1.0,
        ),
        (
            r#"tether_commit_duration_seconds_count{phase="store"} "#,
            1.0,
        ),
        (
            r#"tether_commit_duration_seconds_count{phase="apply"} "#,
            1.0,
        ),
        ("tether_subscriptions ", 1.0),
        (r#"tether_notifications_total{outcome="sent"} "#, 1.0),
        ("tether_notifications_lost_total ", 0.0),
        ("tether_log_entries_lost_total ", 0.0),
    ] {
        at_least(sample, least);
    }

    let mark = device.cloud.mark();
    device.act("<reset-tunnel/>").await;
    device
        .cloud_sees(mark, |what| matches!(what, What::MainUp { .. }))
        .await;
    device.up().await;
    let lines = device.metrics().await;
    let downs = r#"tether_tunnel_downs_total{reason="reset-by-operator"} "#;
    assert!(value(&lines, downs) >= 1.0);
}
