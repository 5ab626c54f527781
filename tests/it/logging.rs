//! The log: what is told, to whom, and how much of it. The agent runs on the thread of the test, which has a log of its own.

use russh::keys::{Algorithm, HashAlg, PrivateKey};
use tempfile::TempDir;
use tether::agent::Agent;
use tether::cli::session::Answer;
use tether::log::{Log, Setup, Sink};
use tether::protocol::client::ReportedError;
use tracing::subscriber::DefaultGuard;

use crate::support::{
    ADMIN_PASSWORD, Session, SshSession, cloud_management, open, options, refused, soon, system,
};

const PASSWORD: &str = "a-Pa55word-nobody-reads";

/// A device whose log is heard.
struct Logged {
    session: Session,
    agent: Agent,
    _directory: TempDir,
    _log: DefaultGuard,
}

fn management(content: &str) -> String {
    format!(
        r#"<device-management xmlns="urn:tether:yang:device-management">{content}</device-management>"#
    )
}

fn logging(content: &str) -> String {
    management(&format!("<logging>{content}</logging>"))
}

fn read_log(input: &str) -> String {
    let action = logging(&format!("<read-log>{input}</read-log>"));
    format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{action}</action>"#)
}

/// The values of a leaf, in their order.
fn values<'a>(xml: &'a str, leaf: &str) -> Vec<&'a str> {
    let (start, end) = (format!("<{leaf}>"), format!("</{leaf}>"));
    let after = xml.split(start.as_str()).skip(1);
    after
        .filter_map(|rest| Some(rest.split_once(end.as_str())?.0))
        .collect()
}

impl Logged {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let setup = Setup {
            sink: Sink::File(directory.path().join("log")),
            ..Setup::default()
        };
        let (log, subscriber) = Log::prepare(setup).unwrap();
        let guard = tracing::dispatcher::set_default(&subscriber);
        let password = Some(ADMIN_PASSWORD.to_owned());
        let started = Agent::start_with_log(options(directory.path()), password, log);
        let agent = soon(started).await.unwrap();
        Self {
            session: open(&agent).await,
            agent,
            _directory: directory,
            _log: guard,
        }
    }

    /// A session from afar of a user `op`, who is made with what else is configured.
    async fn open_op(&mut self, beside: &str) -> SshSession {
        let op = "<authentication><user><name>op</name><password>$0$op-Pa55word</password></user></authentication>";
        assert!(
            self.edit("running", &(system(op) + beside))
                .await
                .is_empty()
        );
        let address = self.agent.ssh_addresses()[0];
        let opened = SshSession::open(address, "op", "op-Pa55word").await;
        opened.unwrap()
    }

    async fn edit(&mut self, target: &str, config: &str) -> Vec<ReportedError> {
        match self.session.edit_config(target, config).await {
            Ok(_) => Vec::new(),
            refusal => refused(refusal),
        }
    }

    async fn read(&mut self, input: &str) -> String {
        format!("{:?}", self.session.rpc(&read_log(input)).await.unwrap())
            .replace("\\n", "")
            .replace("\\\"", "\"")
    }

    /// The messages of the audit, once one has these words.
    async fn audited(&mut self, words: &str) -> Vec<String> {
        self.told("audit", words).await
    }

    /// The messages of a part, once one has these words.
    async fn told(&mut self, part: &str, words: &str) -> Vec<String> {
        let input = format!("<module>{part}</module><most>1000</most>");
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(5));
        let waiting = async {
            loop {
                pace.tick().await;
                let log = self.read(&input).await;
                let messages: Vec<_> = values(&log, "message")
                    .into_iter()
                    .map(str::to_owned)
                    .collect();
                if messages.iter().any(|message| message.contains(words)) {
                    return messages;
                }
            }
        };
        soon(waiting).await
    }
}

#[tokio::test]
async fn who_changed_what_is_told_with_its_paths_and_without_its_values() {
    let mut device = Logged::start().await;
    let server = cloud_management(&format!(
        "<server><domain>cloud.example</domain><password>$0${PASSWORD}</password></server>"
    ));
    assert!(device.edit("candidate", &server).await.is_empty());
    device.session.commit().await.unwrap();
    let audit = device.audited("running changed").await.join("\n");
    assert!(
        audit.contains("rpc session=1 user=admin operation=edit-config on=candidate outcome=ok"),
        "{audit}"
    );
    assert!(
        audit.contains("rpc session=1 user=admin operation=commit outcome=ok"),
        "{audit}"
    );
    assert!(
        audit.contains("running changed session=1 user=admin by=netconf changes="),
        "{audit}"
    );
    assert!(audit.contains("server"), "{audit}");
    let whole = device.read("<most>1000</most>").await;
    assert!(
        !whole.contains(PASSWORD) && !whole.contains("$1$"),
        "{whole}"
    );
    device.agent.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_with_its_tag_and_path_and_not_with_its_words() {
    let mut device = Logged::start().await;
    let bad = cloud_management("<keepalive-interval>7777</keepalive-interval>");
    assert!(!device.edit("running", &bad).await.is_empty());
    let audit = device.audited("outcome=invalid-value").await.join("\n");
    assert!(
        audit.contains("operation=edit-config on=running"),
        "{audit}"
    );
    assert!(
        audit.contains("keepalive-interval") && !audit.contains("7777"),
        "{audit}"
    );
    device.agent.stop().await;
}

#[tokio::test]
async fn an_action_is_told_by_its_path_and_a_user_from_afar_by_his_address() {
    let mut device = Logged::start().await;
    let address = device.agent.ssh_addresses()[0];
    let mut afar = SshSession::open(address, "admin", ADMIN_PASSWORD)
        .await
        .unwrap();
    let reset = cloud_management("<unbind><code>code-nobody-reads</code></unbind>");
    let action = format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{reset}</action>"#);
    afar.session.rpc(&action).await.unwrap();
    let audit = device.audited("operation=action").await.join("\n");
    assert!(audit.contains("source=127.0.0.1 operation=action on=/cloud-management:cloud-management/unbind outcome=ok"), "{audit}");
    assert!(!audit.contains("code-nobody-reads"), "{audit}");
    device.agent.stop().await;
}

#[tokio::test]
async fn a_way_back_is_told_with_whereto() {
    let mut device = Logged::start().await;
    let interval = cloud_management("<keepalive-interval>60</keepalive-interval>");
    assert!(device.edit("running", &interval).await.is_empty());
    let back = management("<rollback-to><commit-id>1</commit-id></rollback-to>");
    let back = format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{back}</action>"#);
    device.session.rpc(&back).await.unwrap();
    let audit = device.audited("by=rollback-to").await.join("\n");
    let words = "running changed session=1 user=admin by=rollback-to back_to=1 changes=1 ";
    assert!(audit.contains(words), "{audit}");
    device.agent.stop().await;
}

#[tokio::test]
async fn levels_change_as_they_are_committed_for_all_and_for_one_part() {
    let mut device = Logged::start().await;
    let quiet = logging("<level>error</level>");
    assert!(device.edit("running", &quiet).await.is_empty());
    let contact = |contact: &str| system(&format!("<contact>{contact}</contact>"));
    assert!(device.edit("running", &contact("a")).await.is_empty());
    device.audited("contact").await;
    let told = device.told("datastore", "commit=2").await;
    assert!(
        told.iter().all(|line| !line.contains("commit=3")),
        "{told:?}"
    );
    let loud =
        logging("<level>error</level><module><name>datastore</name><level>info</level></module>");
    assert!(device.edit("running", &loud).await.is_empty());
    assert!(device.edit("running", &contact("b")).await.is_empty());
    device.told("datastore", "commit=5").await;
    device.agent.stop().await;
}

#[tokio::test]
async fn the_audit_goes_on_whatever_the_level_of_all_and_its_end_is_told() {
    let mut device = Logged::start().await;
    let quiet = logging("<level>error</level>");
    assert!(device.edit("running", &quiet).await.is_empty());
    device
        .audited("/device-management:device-management/logging/level")
        .await;
    let silent = logging("<module><name>audit</name><level>error</level></module>");
    assert!(device.edit("running", &silent).await.is_empty());
    let silent = device.audited("the audit is turned down").await;
    let contact = system("<contact>a</contact>");
    assert!(device.edit("running", &contact).await.is_empty());
    let audited = device.audited("the audit is turned down").await;
    assert_eq!(audited.len(), silent.len());
    device.agent.stop().await;
}

#[tokio::test]
async fn a_part_that_there_is_not_is_refused_and_changes_nothing() {
    let mut device = Logged::start().await;
    let errors = device
        .edit(
            "running",
            &logging("<module><name>tunel</name><level>debug</level></module>"),
        )
        .await;
    assert_eq!(errors[0].tag, "invalid-value");
    assert!(
        errors[0].path.as_ref().unwrap().contains("logging"),
        "{errors:?}"
    );
    assert!(
        errors[0].message.as_ref().unwrap().contains("tunnel"),
        "{errors:?}"
    );
    device.agent.stop().await;
}

#[tokio::test]
async fn the_log_is_read_in_parts() {
    let mut device = Logged::start().await;
    for contact in ["a", "b", "c"] {
        assert!(
            device
                .edit("running", &system(&format!("<contact>{contact}</contact>")))
                .await
                .is_empty()
        );
    }
    let all = device.read("").await;
    let numbers: Vec<u64> = values(&all, "number")
        .iter()
        .map(|number| number.parse().unwrap())
        .collect();
    assert!(numbers.len() > 3 && numbers.is_sorted(), "{all}");
    let last = numbers[numbers.len() - 3];
    let later = device.read(&format!("<after>{last}</after>")).await;
    assert!(
        values(&later, "number")
            .iter()
            .all(|number| number.parse::<u64>().unwrap() > last),
        "{later}"
    );
    let two = device.read("<most>2</most><module>audit</module>").await;
    assert_eq!(values(&two, "number").len(), 2, "{two}");
    assert!(
        values(&two, "module")
            .iter()
            .all(|module| *module == "audit"),
        "{two}"
    );
    let errors = device.read("<level>error</level>").await;
    assert!(values(&errors, "number").is_empty(), "{errors}");
    device.agent.stop().await;
}

#[tokio::test]
async fn the_log_is_displayed_on_the_command_line() {
    let mut device = Logged::start().await;
    let edited = device
        .edit("running", &system("<contact>a</contact>"))
        .await;
    assert!(edited.is_empty());
    device.audited("operation=edit-config").await;
    let mut cli = tether::cli::connect(device.agent.socket()).await.unwrap();
    let Answer::Done(shown) = soon(cli.line("dis log module audit", 0)).await.unwrap() else {
        panic!("not displayed")
    };
    let mut lines = shown.lines();
    assert!(lines.next().unwrap().starts_with("Log buffer"), "{shown}");
    assert!(lines.nth(1).unwrap().starts_with("No.  Time"), "{shown}");
    let times: Vec<_> = lines.map(|line| &line[..28]).collect();
    assert!(times.is_sorted() && times.len() > 1, "{shown}");
    assert!(
        shown.contains("  info   audit   running changed session=1 user=admin"),
        "{shown}"
    );
    let Answer::Done(reverse) = soon(cli.line("dis log reverse size 2", 0)).await.unwrap() else {
        panic!("not displayed")
    };
    let lines: Vec<_> = reverse.lines().collect();
    let number = |line: &str| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(lines.len(), 5, "{reverse}");
    assert!(number(lines[3]) > number(lines[4]), "{reverse}");
    device.agent.stop().await;
}

#[tokio::test]
async fn an_operator_may_not_read_the_log() {
    let mut device = Logged::start().await;
    let member = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>operator</name><user-name>op</user-name></group></groups></nacm>"#;
    let mut op = device.open_op(member).await;
    let errors = refused(op.session.rpc(&read_log("")).await);
    assert_eq!(errors[0].tag, "access-denied");
    let audit = device.audited("outcome=access-denied").await.join("\n");
    assert!(
        audit.contains("user=op source=127.0.0.1 operation=action"),
        "{audit}"
    );
    device.agent.stop().await;
}

#[tokio::test]
async fn an_operation_that_may_not_be_executed_is_told_although_it_only_looks() {
    let mut device = Logged::start().await;
    let mut op = device.open_op("").await;
    let errors = refused(op.session.get_config("running", None).await);
    assert_eq!(errors[0].tag, "access-denied");
    let audit = device.audited("operation=get-config").await.join("\n");
    assert!(audit.contains("outcome=access-denied"), "{audit}");
    // What is allowed and only looks is nobody's business.
    device.session.get_config("running", None).await.unwrap();
    let audit = device.audited("operation=get-config").await.join("\n");
    assert_eq!(audit.matches("operation=get-config").count(), 1, "{audit}");
    device.agent.stop().await;
}

#[tokio::test]
async fn a_refused_login_is_told_with_what_was_tried() {
    let mut device = Logged::start().await;
    let address = device.agent.ssh_addresses()[0];
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    assert!(
        SshSession::open_with_key(address, "admin", &key)
            .await
            .is_none()
    );
    let told = device.told("transport", "keys=1").await.join("\n");
    let fingerprint = key.public_key().fingerprint(HashAlg::Sha256);
    let words = format!(
        "ssh login refused user=admin method=publickey source=127.0.0.1 keys=1 key={fingerprint}"
    );
    assert!(told.contains(&words), "{words}: {told}");
    assert!(SshSession::open(address, "admin", "wrong").await.is_none());
    let words = "ssh login refused user=admin method=password source=127.0.0.1 failures=1";
    device.told("transport", words).await;
    device.agent.stop().await;
}

#[tokio::test]
async fn a_session_too_many_is_told_with_who_wanted_it() {
    let mut device = Logged::start().await;
    let one = management("<limits><sessions-per-user>1</sessions-per-user></limits>");
    assert!(device.edit("running", &one).await.is_empty());
    let address = device.agent.ssh_addresses()[0];
    let _refused = SshSession::by_hand(address, "admin", ADMIN_PASSWORD).await;
    let told = device
        .told("agent", "the session is refused")
        .await
        .join("\n");
    assert!(
        told.contains("user=admin source=127.0.0.1") && told.contains("sessions"),
        "{told}"
    );
    device.agent.stop().await;
}

#[tokio::test]
async fn each_step_towards_the_cloud_is_told_at_debug_and_what_it_failed_at_at_info() {
    let mut device = Logged::start().await;
    let steps = logging("<module><name>tunnel</name><level>debug</level></module>");
    assert!(device.edit("running", &steps).await.is_empty());
    // Nobody listens there, and nobody else gets the port.
    let refusing = tokio::net::TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = refusing.local_addr().unwrap().port();
    let server = cloud_management(&format!(
        "<server><domain>127.0.0.1</domain><port>{port}</port><password>$0${PASSWORD}</password></server>"
    ));
    assert!(device.edit("running", &server).await.is_empty());
    let told = device.told("tunnel", "reason=connect-failed").await;
    let told = told.join("\n");
    assert!(told.contains("device_state=connecting"), "{told}");
    assert!(told.contains(&format!("port={port}")), "{told}");
    assert!(!told.contains(PASSWORD), "{told}");
    // What subscribers are told, in fields under the names of the model.
    let changed =
        "connection-state-changed previous_connection_state=unconnected connection_state=request";
    assert!(told.contains(changed), "{told}");
    let outage = device.told("tunnel", "all-servers-failed").await.join("\n");
    let failed = format!("127.0.0.1:{port} connect-failed");
    assert!(outage.contains(&failed), "{outage}");
    device.agent.stop().await;
}

#[tokio::test]
async fn each_attempt_that_fails_is_told_with_its_own_server_and_reason() {
    let mut device = Logged::start().await;
    // Nobody listens there, and nobody else gets the port.
    let refusing = tokio::net::TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let port = refusing.local_addr().unwrap().port();
    let servers = cloud_management(&format!(
        "<server><domain>127.0.0.1</domain><source-ip>192.0.2.77</source-ip></server>\
         <backup-server><address-family>ipv4</address-family><domain>127.0.0.2</domain><port>{port}</port></backup-server>"
    ));
    assert!(device.edit("running", &servers).await.is_empty());
    let told = device.told("tunnel", "all-servers-failed").await;
    let failed = told
        .iter()
        .filter_map(|message| message.strip_prefix("an attempt to reach the cloud failed "));
    let failed: Vec<_> = failed.take(2).collect();
    assert_eq!(
        failed,
        [
            "reason=source-ip-missing domain=127.0.0.1 address=127.0.0.1 port=443".to_owned(),
            format!("reason=connect-failed domain=127.0.0.2 address=127.0.0.2 port={port}"),
        ]
    );
    device.agent.stop().await;
}
