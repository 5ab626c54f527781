//! `cloud-management test`: what the action `test-connection` finds, in the words of an operator, as it finds it.

use std::time::Duration;

use chrono::{DateTime, Local};
use tokio::time::Instant;

use super::lists::{child, text};
use crate::model::status::{FailureReason, TestStep};
use crate::model::xml::Element;

/// What is said when the operator has seen enough.
pub(super) const GOES_ON: &str = "% Broken off. The test goes on by itself, and the tunnel is left alone: display cloud-management state verbose shows what the test finds.\n";
/// A test ends before: ten ways to servers (two of the primary, eight backups) of four steps that take 10 s at the most.
const DEADLINE: Duration = Duration::from_secs(420);
/// Columns of the names of steps.
const NAME: usize = 15;

/// A test that is looked on at, and what of it was shown.
#[derive(Debug)]
pub(super) struct Following {
    until: Instant,
    /// `started-at` of the test.
    test: Option<String>,
    /// Steps shown of each server.
    shown: Vec<usize>,
    /// Where servers failed.
    failed: Vec<String>,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            until: Instant::now() + DEADLINE,
            test: None,
            shown: Vec::new(),
            failed: Vec::new(),
        }
    }
}

/// What a look at the test has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is where it was.
    Nothing,
    /// These lines are new.
    Found(String),
    /// It is done, and every server can be reached.
    Passed(String),
    /// It is done, and not every server can be reached; or there is no telling.
    Failed(String),
}

impl Following {
    /// Looks at the state as it is now.
    pub(super) fn see(&mut self, roots: &[Element]) -> Step {
        let state = roots.iter().find_map(|root| child(root, "state"));
        let Some(test) = state.and_then(|state| child(state, "connection-test")) else {
            return Step::Failed("% You may not read what the test finds.\n".to_owned());
        };
        let started = text(test, "started-at").map(str::to_owned);
        if self.test.is_some() && self.test != started {
            return Step::Failed("% Another test has begun, which hides this one.\n".to_owned());
        }
        self.test = started;
        let found = self.new_lines(test);
        if !found.is_empty() {
            return Step::Found(found);
        }
        match text(test, "ended-at") {
            Some(_) => self.verdict(),
            None if Instant::now() > self.until => {
                let seconds = DEADLINE.as_secs();
                Step::Failed(format!("% The test is not done after {seconds} s.\n"))
            }
            None => Step::Nothing,
        }
    }

    fn verdict(&self) -> Step {
        match (self.shown.is_empty(), self.failed.is_empty()) {
            (true, _) => Step::Failed("% There is no server to test any more.\n".to_owned()),
            (_, true) => Step::Passed("The test passed.\n".to_owned()),
            _ => Step::Failed(format!("% The test failed: {}.\n", self.failed.join("; "))),
        }
    }

    fn new_lines(&mut self, test: &Element) -> String {
        let servers = test.children.iter().filter(|child| child.name == "server");
        let mut lines = String::new();
        for (number, server) in servers.enumerate() {
            if number == self.shown.len() {
                self.shown.push(0);
                lines.push_str(&heading(server));
            }
            for name in TestStep::ALL.iter().skip(self.shown[number]) {
                let steps = server.children.iter().filter(|child| child.name == "step");
                let found = steps
                    .clone()
                    .find(|step| text(step, "name") == Some(name.as_yang()));
                let Some(step) = found else { break };
                self.shown[number] += 1;
                lines.push_str(&shown(*name, step, server));
                if text(step, "failure-reason").is_some() {
                    let domain = text(server, "server-domain").unwrap_or_default();
                    self.failed.push(format!("{domain}, {}", name.as_display()));
                }
            }
        }
        lines
    }
}

fn heading(server: &Element) -> String {
    let domain = text(server, "server-domain").unwrap_or_default();
    let port = text(server, "server-port").unwrap_or_default();
    format!("Testing {domain}, port {port}\n")
}

/// The lines of one step.
fn shown(name: TestStep, step: &Element, server: &Element) -> String {
    let took = text(step, "duration").unwrap_or_default();
    let line = |name: &str, words: &str| format!("  {name:<NAME$}: {words}\n");
    let Some(reason) = text(step, "failure-reason") else {
        let found = found(name, server).map_or(String::new(), |found| format!(", {found}"));
        return line(name.as_display(), &format!("passed in {took} ms{found}"));
    };
    let reason = FailureReason::from_yang(reason);
    let words = reason.map_or("Unknown", FailureReason::as_display);
    let mut lines = line(
        name.as_display(),
        &format!("FAILED after {took} ms: {words}"),
    );
    if let Some(explanation) = text(step, "explanation") {
        lines.push_str(&line("  Cause", explanation));
    }
    if let Some(certificate) = certificate(server).filter(|_| name == TestStep::Tls) {
        lines.push_str(&line("  Shown", &certificate));
    }
    lines.push_str(&line("  What to do", reason.map_or("", advice)));
    lines
}

/// What a step that passed has found.
fn found(name: TestStep, server: &Element) -> Option<String> {
    match name {
        TestStep::Dns => {
            let all = server.children.iter();
            let addresses = all.filter(|child| child.name == "resolved-address");
            let addresses: Vec<_> = addresses.map(|child| child.text.as_str()).collect();
            (!addresses.is_empty()).then(|| addresses.join(", "))
        }
        TestStep::Tcp => Some(format!("connected to {}", text(server, "server-address")?)),
        TestStep::Tls => certificate(server),
        TestStep::Authentication => None,
    }
}

/// `certificate of CN=cloud, valid until 2027-01-27`
fn certificate(server: &Element) -> Option<String> {
    let certificate = child(server, "server-certificate")?;
    let subject = text(certificate, "subject").filter(|subject| !subject.is_empty());
    let end = DateTime::parse_from_rfc3339(text(certificate, "not-after")?).ok()?;
    let end = end.with_timezone(&Local).format("%Y-%m-%d");
    let subject = subject.unwrap_or("no name");
    Some(format!("certificate of {subject}, valid until {end}"))
}

/// What an operator can do about a failure.
fn advice(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::DnsFailed => {
            "check the name and the DNS servers, or map the name with ip host"
        }
        FailureReason::ConnectFailed => {
            "check address, port and routes, and whether a firewall on the way lets TCP through"
        }
        FailureReason::Timeout => {
            "nothing answers: check address, port and routes, and whether a firewall drops packets"
        }
        FailureReason::TlsFailed => {
            "check the trust anchors, the name in the server's certificate, and the clock of the device"
        }
        FailureReason::CloudNotAuthentic => {
            "the server does not know the password: make sure that it is the right server, then set the password anew"
        }
        FailureReason::PasswordRefused => {
            "set the password that the cloud has for this device: cloud-management server password"
        }
        FailureReason::SerialNumberNotRegistered => {
            "add the serial number of this device to the cloud server"
        }
        FailureReason::BoundToAnotherUser => {
            "get a verification code from the cloud and send it: cloud-management unbinding-code"
        }
        FailureReason::AuthenticationFailed
        | FailureReason::RegistrationFailed
        | FailureReason::HandshakeFailed => "ask the operator of the cloud server why it refuses",
        FailureReason::Busy => "wait: the server asks to come back later",
        FailureReason::Protocol => {
            "make sure that the address and port are those of a cloud server, and no proxy is in between"
        }
        FailureReason::VpnInstanceMissing => {
            "create the VPN instance on this device, or configure another one with the domain"
        }
        FailureReason::SourceIpMissing => {
            "set the source address on an interface, or configure another one with the domain"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::xml::{Scope, parse};

    fn elements(test: &str) -> Vec<Element> {
        let xml = format!(
            "<cloud-management><state><connection-test><started-at>1</started-at>{test}</connection-test></state></cloud-management>"
        );
        parse(&xml, &Scope::default()).unwrap()
    }

    const SERVER: &str =
        "<number>1</number><server-domain>cloud.com</server-domain><server-port>443</server-port>";
    const DNS: &str = "<resolved-address>10.1.1.1</resolved-address><resolved-address>10.1.1.2</resolved-address>\
        <step><name>dns</name><duration>3</duration></step>";
    const TCP: &str = "<step><name>tcp</name><duration>9</duration><failure-reason>connect-failed</failure-reason>\
        <explanation>refused</explanation></step>";
    const END: &str = "<ended-at>2</ended-at>";

    #[tokio::test(start_paused = true)]
    async fn each_step_is_shown_once_as_it_ends() {
        let mut following = Following::default();
        let server = |steps: &str| format!("<server>{SERVER}{steps}</server>");
        assert_eq!(following.see(&elements("")), Step::Nothing);
        let begun = following.see(&elements(&server("")));
        assert_eq!(
            begun,
            Step::Found("Testing cloud.com, port 443\n".to_owned())
        );
        let dns = following.see(&elements(&server(DNS)));
        let expected = "  DNS            : passed in 3 ms, 10.1.1.1, 10.1.1.2\n";
        assert_eq!(dns, Step::Found(expected.to_owned()));
        assert_eq!(following.see(&elements(&server(DNS))), Step::Nothing);
        let all = server(&[DNS, TCP].concat()) + END;
        let Step::Found(tcp) = following.see(&elements(&all)) else {
            panic!("nothing found")
        };
        assert!(
            tcp.starts_with(
                "  TCP            : FAILED after 9 ms: Connect failed\n    Cause        : refused\n"
            ),
            "{tcp}"
        );
        let failed = "% The test failed: cloud.com, TCP.\n";
        assert_eq!(
            following.see(&elements(&all)),
            Step::Failed(failed.to_owned())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_that_is_another_one_or_never_ends_is_not_waited_for() {
        let mut following = Following::default();
        assert_eq!(following.see(&elements("")), Step::Nothing);
        let other = "<cloud-management><state><connection-test><started-at>9</started-at></connection-test></state></cloud-management>";
        let other = parse(other, &Scope::default()).unwrap();
        assert!(
            matches!(following.see(&other), Step::Failed(words) if words.contains("Another test"))
        );
        assert!(matches!(Following::default().see(&[]), Step::Failed(_)));
        tokio::time::advance(DEADLINE + Duration::from_secs(1)).await;
        assert!(
            matches!(following.see(&elements("")), Step::Failed(words) if words.contains("not done"))
        );
    }

    #[test]
    fn every_failure_has_an_advice() {
        for reason in FailureReason::ALL {
            assert!(!advice(*reason).is_empty(), "{reason:?}");
        }
    }
}
