//! Service modules beside those of the agent: of other programs through the control socket, and of the test.

use std::time::Duration;

use tether::sim::cloud::{Channel, ServiceOffer, What};
use tether::transport::control::ControlError;
use tether::transport::control::service::program::{ServiceError, run};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{Device, SERIAL, soon};

const ECHO: &str = "echo";

/// `tether service echo -- COMMAND`, until it is told to stop.
struct Tool {
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServiceError>>,
}

impl Tool {
    fn start(device: &Device, name: &'static str, command: &str) -> Self {
        let socket = device.agent().control_socket().to_owned();
        let command = ["sh", "-c", command].map(str::to_owned);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let stop = async { drop(stopped.await) };
            run(&socket, name, &command, stop).await
        });
        Self { stop, running }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.running).await.unwrap().unwrap();
    }
}

/// A device whose cloud also lists `echo`.
async fn device() -> Device {
    let device = Device::connected().await;
    let services = ["netconf", "telemetry", ECHO].map(ServiceOffer::new);
    device.cloud.set_services(services);
    device
}

async fn echo_is_up(device: &Device, mark: u64) {
    let is_up = |what: &What| matches!(what, What::ServiceUp(service) if service == ECHO);
    device.cloud_sees(mark, is_up).await;
}

/// Waits until the cloud has heard this on the service.
async fn heard(device: &Device, text: &str) {
    let mut mark = 0;
    let more = |what: &What| matches!(what, What::Bytes { service, .. } if service == ECHO);
    while device.cloud.received(SERIAL, ECHO) != text.as_bytes() {
        mark = device.cloud_sees(mark, more).await.number;
    }
}

#[tokio::test]
async fn a_program_is_a_service_of_the_cloud_for_as_long_as_it_runs() {
    let mut device = device().await;
    let mark = device.cloud.mark();
    // It registers later than the handshake: the list is asked for again, with what there is now.
    let tool = Tool::start(&device, ECHO, "cat");
    device
        .cloud_sees(mark, |what| {
            matches!(what, What::ListRequested(Some(services)) if services == &[ECHO, "netconf", "telemetry"])
        })
        .await;
    echo_is_up(&device, mark).await;
    device
        .cloud
        .send_to_service(SERIAL, ECHO, &b"to and fro"[..])
        .unwrap();
    heard(&device, "to and fro").await;
    let state = device.state().await;
    assert!(state.is("subconnection[echo]/octets-in", "10"));
    assert!(state.is("subconnection[echo]/octets-out", "10"));
    let mark = device.cloud.mark();
    tool.stop().await;
    let left = |what: &What| matches!(what, What::PeerClosed { channel: Channel::Service(service), code: 1000, .. } if service == ECHO);
    device.cloud_sees(mark, left).await;
    device
        .wait_state(|state| !state.has_entry("subconnection[echo]"))
        .await;
    device.stop().await;
}

#[tokio::test]
async fn the_program_is_started_anew_for_each_connection_and_its_input_ends_with_the_last() {
    let device = device().await;
    let mark = device.cloud.mark();
    let log = device.directory().join("starts");
    // It notes its start, and the end of its input.
    let command = format!("echo begins >> {0}; cat; echo ends >> {0}", log.display());
    let tool = Tool::start(&device, ECHO, &command);
    echo_is_up(&device, mark).await;
    device
        .cloud
        .send_to_service(SERIAL, ECHO, &b"one"[..])
        .unwrap();
    heard(&device, "one").await;
    let mark = device.cloud.mark();
    device.cloud.close_service(SERIAL, ECHO, 1000).unwrap();
    echo_is_up(&device, mark).await;
    device
        .cloud
        .send_to_service(SERIAL, ECHO, &b"two"[..])
        .unwrap();
    heard(&device, "onetwo").await;
    let starts = std::fs::read_to_string(&log).unwrap();
    assert_eq!(starts, "begins\nends\nbegins\n");
    tool.stop().await;
    device.stop().await;
}

#[tokio::test]
async fn a_program_that_ends_closes_its_subconnection_after_its_last_word() {
    let device = device().await;
    let mark = device.cloud.mark();
    let tool = Tool::start(&device, ECHO, "echo farewell");
    heard(&device, "farewell\n").await;
    let left = |what: &What| matches!(what, What::PeerClosed { channel: Channel::Service(service), code: 1000, .. } if service == ECHO);
    device.cloud_sees(mark, left).await;
    tool.stop().await;
    device.stop().await;
}

#[tokio::test]
async fn a_service_whose_program_starts_anew_goes_on_counting_and_one_that_is_gone_is_not_shown() {
    let mut device = device().await.measured().await;
    for sum in [9, 18] {
        let tool = Tool::start(&device, ECHO, "echo farewell; cat");
        let of_this_one = "subconnection[echo]/octets-out";
        device.wait_state(|state| state.is(of_this_one, "9")).await;
        let shown =
            format!(r#"tether_subconnection_octets_total{{service="echo",direction="out"}} {sum}"#);
        let metrics = device.metrics().await;
        assert!(metrics.contains(&shown), "{shown}: {metrics:#?}");
        tool.stop().await;
        device
            .wait_state(|state| !state.has_entry("subconnection[echo]"))
            .await;
        let metrics = device.metrics().await.join("\n");
        assert!(!metrics.contains(ECHO), "{metrics}");
    }
    device.stop().await;
}

#[tokio::test]
async fn a_name_that_is_taken_and_a_name_that_is_none_are_refused() {
    let device = device().await;
    for (name, word) in [("telemetry", "already"), ("Not A Name", "no name")] {
        let refused = soon(Tool::start(&device, name, "cat").running)
            .await
            .unwrap();
        match refused {
            Err(ServiceError::Refused(ControlError::Refused(reason))) => {
                assert!(reason.contains(word), "{reason}");
            }
            other => panic!("not refused: {other:?}"),
        }
    }
    device.stop().await;
}

#[tokio::test]
async fn without_its_agent_the_tool_ends_and_says_so() {
    let device = device().await;
    let mark = device.cloud.mark();
    let tool = Tool::start(&device, ECHO, "cat");
    echo_is_up(&device, mark).await;
    device.stop().await;
    let ended = soon(tool.running).await.unwrap();
    assert!(matches!(ended, Err(ServiceError::AgentGone)), "{ended:?}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_an_error_of_the_tool() {
    let device = device().await;
    let socket = device.agent().control_socket().to_owned();
    let command = ["/nonexistent/command".to_owned()];
    let never = std::future::pending();
    let ended = soon(run(&socket, ECHO, &command, never)).await;
    assert!(
        matches!(ended, Err(ServiceError::Start { .. })),
        "{ended:?}"
    );
    device.stop().await;
}

#[tokio::test]
async fn a_command_that_reads_nothing_stalls_its_own_subconnection_alone() {
    let mut device = device().await;
    let mark = device.cloud.mark();
    let tool = Tool::start(&device, ECHO, "exec sleep 600");
    echo_is_up(&device, mark).await;
    // More than all buffers on the way hold.
    let flood = vec![0; 1 << 20];
    for _ in 0..16 {
        device
            .cloud
            .send_to_service(SERIAL, ECHO, flood.clone())
            .unwrap();
    }
    let main = device.main_connection();
    assert_eq!(device.round_trip().await, main);
    let state = device.state().await;
    let octets: u64 = state
        .get("subconnection[echo]/octets-in")
        .unwrap()
        .parse()
        .unwrap();
    assert!(octets <= 4 << 20, "{octets}");
    // SIGTERM ends a command that does not even look at its input.
    let begun = std::time::Instant::now();
    tool.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    device.stop().await;
}
