//! Gives [`Inform`] sockets and a clock, one for each interface that is listed; decides nothing.

mod exchange;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::findings::Findings;
use super::inform::{Event, Inform, Link};
use super::message::{Answer, Question};
use super::options::{Discovered, Refused};
use crate::model::network::Network;
use exchange::{Exchange, Heard};

/// Reports of hooks that wait.
const REPORTS: usize = 16;
/// Answers of servers that wait; those that have one more wait with it.
const ANSWERS: usize = 16;
/// A report is taken within this; the discovery is not waiting for anything itself.
const REPORT_DEADLINE: Duration = Duration::from_secs(5);

/// What discovery works by.
pub struct Setup {
    /// The interfaces, in the user's order (`discovery/dhcp`).
    pub listed: watch::Receiver<Arc<Vec<String>>>,
    /// What they are like.
    pub network: watch::Receiver<Arc<Network>>,
    /// A random number each time.
    pub random: fn() -> u64,
}

/// Why a report of a hook does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The configuration does not name the interface.
    #[error("{0} is no interface of discovery/dhcp in the configuration")]
    NotListed(String),
    /// The agent ends, or is overrun.
    #[error("the agent does not take reports now")]
    Busy,
}

struct Report {
    interface: String,
    discovered: Discovered,
    taken: oneshot::Sender<Result<(), ReportError>>,
}

/// Where hooks of DHCP clients report. Cheap to clone.
#[derive(Clone)]
pub struct Reports(mpsc::Sender<Report>);

impl Reports {
    /// What a client has on an interface now, instead of what it had before. What is refused counts as not there.
    ///
    /// # Errors
    /// The interface is not listed, or nobody takes the report.
    pub async fn report(
        &self,
        interface: String,
        domain: Option<&str>,
        password: Option<&str>,
    ) -> Result<Vec<Refused>, ReportError> {
        let octets = (domain.map(str::as_bytes), password.map(str::as_bytes));
        let (discovered, refused) = Discovered::read(octets.0, octets.1);
        let (taken, answer) = oneshot::channel();
        let report = Report {
            interface,
            discovered,
            taken,
        };
        self.0.try_send(report).map_err(|_| ReportError::Busy)?;
        let answer = timeout(REPORT_DEADLINE, answer).await;
        let taken = answer.ok().and_then(Result::ok);
        taken.unwrap_or(Err(ReportError::Busy)).map(|()| refused)
    }
}

/// Starts discovery, which ends once `stop` says so: where hooks report, what has been found, and its task.
pub fn start(
    setup: Setup,
    stop: watch::Receiver<bool>,
) -> (Reports, watch::Receiver<Arc<Findings>>, JoinHandle<()>) {
    let (reports, reported) = mpsc::channel(REPORTS);
    let (findings, found) = watch::channel(Arc::default());
    let (heard, answers) = mpsc::channel(ANSWERS);
    let client = Client {
        setup,
        places: BTreeMap::new(),
        heard,
        findings,
        has_told: false,
    };
    let task = tokio::spawn(client.run(reported, answers, stop));
    (Reports(reports), found, task)
}

/// Discovery on one interface, with the sockets of the round that is under way.
#[derive(Default)]
struct Place {
    inform: Inform,
    exchange: Option<Exchange>,
}

struct Client {
    setup: Setup,
    places: BTreeMap<String, Place>,
    heard: mpsc::Sender<Heard>,
    findings: watch::Sender<Arc<Findings>>,
    /// Whether the log says that packet sockets are not permitted.
    has_told: bool,
}

impl Client {
    async fn run(
        mut self,
        mut reports: mpsc::Receiver<Report>,
        mut answers: mpsc::Receiver<Heard>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.list();
        loop {
            let due = self.places.values().filter_map(|place| place.inform.due());
            let due = due.min().map(Instant::from_std);
            tokio::select! {
                // The network before the reports: a report is about an address that is there already.
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Ok(()) = self.setup.listed.changed() => self.list(),
                Ok(()) = self.setup.network.changed() => self.look(),
                Some(report) = reports.recv() => self.take(report),
                Some((interface, answer)) = answers.recv() => self.hear(&interface, answer),
                () = until(due) => self.tick(),
            }
            self.publish();
        }
    }

    /// The configuration lists these interfaces now.
    fn list(&mut self) {
        let listed = self.setup.listed.borrow_and_update().clone();
        self.places
            .retain(|interface, _| listed.contains(interface));
        for interface in listed.iter() {
            self.places.entry(interface.clone()).or_default();
        }
        self.look();
    }

    /// The network is like this now.
    fn look(&mut self) {
        let network = self.setup.network.borrow_and_update().clone();
        for interface in self.interfaces() {
            self.tell(&interface, Event::Link(link(&network, &interface)));
        }
    }

    /// A server answered.
    fn hear(&mut self, interface: &str, answer: Answer) {
        let server = answer.server;
        debug!(interface, %server, "DHCPACK");
        for refused in &answer.refused {
            warn!(interface, %server, "{refused}");
        }
        self.tell(interface, Event::Answer(answer));
    }

    fn take(&mut self, report: Report) {
        let answer = match self.places.contains_key(&report.interface) {
            true => {
                debug!(interface = report.interface, "the DHCP client reports");
                self.tell(&report.interface, Event::HandedOver(report.discovered));
                self.publish();
                Ok(())
            }
            false => Err(ReportError::NotListed(report.interface)),
        };
        // The hook may have given up.
        let _ = report.taken.send(answer);
    }

    fn tick(&mut self) {
        for interface in self.interfaces() {
            self.tell(&interface, Event::Tick);
        }
    }

    fn interfaces(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    /// Tells one interface's discovery what happened, and sends what it wants to ask.
    fn tell(&mut self, interface: &str, event: Event) {
        let Some(place) = self.places.get_mut(interface) else {
            return;
        };
        let now = Instant::now().into_std();
        let question = place.inform.handle(event, now, (self.setup.random)());
        let open = place.inform.open_question();
        let is_over =
            |exchange: &mut Exchange| open.is_none_or(|(_, open)| open.xid != exchange.xid());
        drop(place.exchange.take_if(is_over));
        if let (Some(question), Some((index, _))) = (question, open)
            && let Err(error) = place.ask(interface, index, question, &self.heard)
        {
            self.complain(interface, &error);
        }
    }

    /// Without the permission there is no use in saying it at each try.
    fn complain(&mut self, interface: &str, error: &io::Error) {
        if error.kind() != io::ErrorKind::PermissionDenied {
            debug!(%error, interface, "DHCPINFORM cannot be sent");
        } else if !std::mem::replace(&mut self.has_told, true) {
            warn!(
                "DHCP options 252 and 253 cannot be asked for: it takes CAP_NET_RAW (systemd: \
                 AmbientCapabilities=CAP_NET_RAW) or root; what a DHCP client's hook hands over counts all the same"
            );
        }
    }

    fn publish(&self) {
        let found = |(interface, place): (&String, &Place)| {
            Some((interface.clone(), place.inform.finding()?))
        };
        let found: Findings = self.places.iter().filter_map(found).collect();
        self.findings.send_if_modified(|published| {
            let is_news = **published != found;
            if is_news {
                log_news(published, &found);
                *published = Arc::new(found);
            }
            is_news
        });
    }
}

fn log_news(before: &Findings, now: &Findings) {
    for (interface, finding) in now {
        if before.get(interface) != Some(finding) {
            let Discovered { domain, password } = &finding.discovered;
            let has_password = password.is_some();
            info!(interface, domain, has_password, "discovered by DHCP");
        }
    }
    for interface in before
        .keys()
        .filter(|&interface| !now.contains_key(interface))
    {
        info!(interface, "nothing is discovered by DHCP any more");
    }
}

impl Place {
    fn ask(
        &mut self,
        interface: &str,
        index: u32,
        question: Question,
        heard: &mpsc::Sender<Heard>,
    ) -> io::Result<()> {
        let exchange = match self.exchange.take() {
            Some(exchange) => exchange,
            None => Exchange::open(interface, index, question, heard.clone())?,
        };
        debug!(interface, xid = question.xid, "DHCPINFORM");
        self.exchange.insert(exchange).ask(question)
    }
}

/// What discovery can use of an interface.
fn link(network: &Network, interface: &str) -> Option<Link> {
    let interface = network.interfaces.get(interface)?;
    let address = interface.ipv4_address().filter(|_| interface.is_running)?;
    Some(Link {
        index: interface.index,
        hardware_address: interface.hardware_address,
        address,
    })
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
